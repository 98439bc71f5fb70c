"""The official archive of each version: fetched once, kept in the user's cache folder."""

from __future__ import annotations

import re
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

from urllib3.exceptions import HTTPError, ProtocolError

from kinetics.annotations.files import BROKEN_ARCHIVE, MAX_FILE, decompressed, regular_members
from kinetics.errors import ClipError, Fatal
from kinetics.net.http import AllowedHosts, HttpSession
from kinetics.net.proxy import refused_login
from kinetics.net.responses import root_cause
from kinetics.storage.atomic import atomic_write

ProgressCallback = Callable[[int, int | None], None]
VERSIONS = {
    version: f"https://storage.googleapis.com/deepmind-media/Datasets/kinetics{version.replace('-', '_')}.tar.gz"
    for version in ("400", "600", "700", "700-2020")
}
"""The official archive of each version: a folder with {train,validate,test}.{csv,json}, about 25 MB."""
ARCHIVE_HOST = AllowedHosts("the host of the official archives", re.compile(r"storage\.googleapis\.com"))
FETCH_S = 3600
"""Seconds after which a try to fetch an archive is given up, however slowly it still arrives."""
PAUSES_S = (1, 4, 10)
"""The waits between the tries to fetch an archive."""
TRY_AGAIN = {408, 429, 500, 502, 503, 504}


def fetch(url: str, into: Path, progress: ProgressCallback | None = None) -> None:
    """Fetch a tar archive, whole or not at all; `progress(bytes_done, bytes_total or None)` starts anew with each try.

    Raises Fatal if it cannot be had whole within a few tries.
    """
    session, reason = HttpSession(hosts=ARCHIVE_HOST), ""
    for pause in (0, *PAUSES_S):
        time.sleep(pause)
        try:
            with atomic_write(into) as temporary:
                _transfer(session, url, temporary, progress)
                if not _is_whole(temporary):
                    raise ProtocolError("what came is no whole tar archive")
            return
        except HTTPError as error:
            reason = root_cause(error)
            if refused := refused_login(reason):
                raise refused from error
        except ClipError as error:
            raise _unreachable(url, error.reason) from error
        except OSError as error:
            what = f"Cannot write {into}: {error.strerror or error}. Mend that"
            raise Fatal(f"{what}, choose another cache folder (XDG_CACHE_HOME), or use --annotations PATH.") from error
    raise _unreachable(url, reason)


def _transfer(session: HttpSession, url: str, into: Path, progress: ProgressCallback | None) -> None:
    """Try once. Raises urllib3's HTTPError if another try may help."""
    deadline = time.monotonic() + FETCH_S
    with session.get(url, {}) as reply, open(into, "wb") as file:
        if reply.status in TRY_AGAIN:
            raise ProtocolError(f"HTTP {reply.status} {reply.reason}")
        if reply.status != 200:
            raise _unreachable(url, f"HTTP {reply.status} {reply.reason}")
        length = reply.headers.get("Content-Length", "")
        total, done = int(length) if re.fullmatch(r"\d{1,15}", length, re.ASCII) else None, 0
        for block in session.body(reply, MAX_FILE + 1):
            done += file.write(block)
            if progress:
                progress(done, total)
            if done > MAX_FILE or time.monotonic() > deadline:
                raise _unreachable(url, f"no end after {done:,} bytes")


def _unreachable(url: str, reason: str) -> Fatal:
    return Fatal(
        f"Cannot fetch the annotations from {url}: {reason}. "
        "Try again later, or download the file by hand and name it: --annotations PATH"
    )


def _is_whole(archive: Path) -> bool:
    try:
        with tarfile.open(fileobj=decompressed(archive, archive.read_bytes()), mode="r:") as tar:
            regular_members(tar)
    except (*BROKEN_ARCHIVE, Fatal):
        return False
    return True
