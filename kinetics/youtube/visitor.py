"""The visitor id that all runs of a day on this host send to YouTube with their player calls."""

from __future__ import annotations

import fcntl
import os
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

import platformdirs

from kinetics.net.proxy import proxy_for
from kinetics.storage.atomic import atomic_write

MAX_AGE_S = 24 * 3600.0
"""Age in seconds from which an id is no longer used. It is never replaced to get around a limit."""


def visitor_file() -> Path:
    """Return where this user's runs on this host keep the visitor id, one for each address that they ask from."""
    proxy = proxy_for("https", "www.youtube.com")
    address = quote(proxy.url, safe="") if proxy else "direct"
    return platformdirs.user_cache_path("kinetics-downloader") / f"visitor_{platform.node()}_{address}"


class VisitorId:
    """One visitor id for all processes that share a file; it is requested once a day, and when it is turned away.

    Where the file cannot be read or written, this process has an id of its own.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._own = ""

    def get(self, request: Callable[[], str], refused: str = "") -> str:
        """Return the id that all processes send, or, if that is still the `refused` one, what `request` brings.

        While one process requests an id, the others wait for it.
        """
        if self._latest() in ("", refused):
            with self._locked():
                if self._latest() in ("", refused):
                    self._share(request())
        return self._own

    def _latest(self) -> str:
        if self._file:
            with suppress(OSError, ValueError):
                if time.time() - self._file.stat().st_mtime > MAX_AGE_S:
                    return ""
                self._own = self._file.read_text("ascii") or self._own
        return self._own

    def _share(self, new: str) -> None:
        self._own = new
        if self._file:
            with suppress(OSError, ValueError), atomic_write(self._file) as temporary:
                temporary.write_text(new, "ascii")

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the lock of the file's folder, if there is one to hold; the system releases it if the process dies."""
        folder = None
        try:
            with suppress(OSError):
                if self._file:
                    self._file.parent.mkdir(parents=True, exist_ok=True)
                    folder = os.open(self._file.parent, os.O_RDONLY)
                    fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        finally:
            if folder is not None:
                os.close(folder)
