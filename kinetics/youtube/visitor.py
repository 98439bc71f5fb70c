"""The visitor id that the processes of a run send to YouTube with their player calls."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from kinetics.storage.atomic import atomic_write


class VisitorId:
    """One visitor id for all processes that share a file; it is requested once, and once more when it is turned away.

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
                folder = os.open(self._file.parent, os.O_RDONLY) if self._file else None
                if folder is not None:
                    fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        finally:
            if folder is not None:
                os.close(folder)
