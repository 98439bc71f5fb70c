"""Fetches the official archive of a version, completely or not at all."""

from __future__ import annotations

import re
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

from urllib3.exceptions import HTTPError, ProtocolError

from kinetics.annotations.archives import ARCHIVE_ERRORS, MAX_FILE, decompress, regular_members
from kinetics.errors import ClipError, Fatal
from kinetics.humanize import counted
from kinetics.net.http import AllowedHosts, HttpSession
from kinetics.net.proxy import refused_login
from kinetics.net.responses import root_cause
from kinetics.storage.atomic import atomic_write

ProgressCallback = Callable[[int, int | None], None]
"""Called with the bytes received in this attempt, and with the size if the server announced it."""
VERSIONS = {
    version: f"https://storage.googleapis.com/deepmind-media/Datasets/kinetics{version.replace('-', '_')}.tar.gz"
    for version in ("400", "600", "700", "700-2020")
}
"""The URL of each version's official archive: a folder with {train,validate,test}.{csv,json}, about 25 MB."""
ARCHIVE_HOST = AllowedHosts("the host of the official archives", re.compile(r"storage\.googleapis\.com"))
FETCH_S = 3600
"""Seconds for one attempt, after which it is given up although data still arrive."""
PAUSES_S = (1, 4, 10)
"""Seconds to wait before each further attempt; there is one attempt more than waits."""
RETRY_STATUSES = {408, 429, 500, 502, 503, 504}
"""HTTP statuses after which another attempt may succeed."""


def fetch(
    url: str,
    into: Path,
    progress: ProgressCallback | None = None,
    notify: Callable[[str], None] | None = None,
) -> None:
    """Fetch a tar archive into a file, completely or not at all; each attempt reports its `progress` from 0 again.

    `notify` is told why an attempt failed, and when the next one begins.

    Raises Fatal if no attempt brings the complete archive, or the file cannot be written.
    """
    session, reason = HttpSession(hosts=ARCHIVE_HOST), ""
    for pause_s in (0, *PAUSES_S):
        if pause_s and notify:
            notify(f"no annotations yet ({reason}); trying again in {counted(pause_s, 'second')}")
        time.sleep(pause_s)
        try:
            with atomic_write(into) as temporary:
                _transfer(session, url, temporary, progress)
                if not _is_complete(temporary):
                    raise ProtocolError("the reply is not a complete tar archive")
            return
        except HTTPError as error:
            reason = root_cause(error)
            if refused := refused_login(reason):
                raise refused from error
        except ClipError as error:
            raise _unreachable(url, error.reason) from error
        except OSError as error:
            what = f"Cannot write {into}: {error.strerror or error}. Fix that"
            raise Fatal(f"{what}, choose another cache folder (XDG_CACHE_HOME), or use --annotations PATH.") from error
    raise _unreachable(url, reason)


def _transfer(session: HttpSession, url: str, into: Path, progress: ProgressCallback | None) -> None:
    """Make one attempt. Raises urllib3's HTTPError if another may succeed, else Fatal."""
    deadline = time.monotonic() + FETCH_S
    with session.get(url, {}) as reply, open(into, "wb") as file:
        if reply.status in RETRY_STATUSES:
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
                raise _unreachable(url, f"the reply did not end after {done:,} bytes")


def _unreachable(url: str, reason: str) -> Fatal:
    return Fatal(
        f"Cannot fetch the annotations from {url}: {reason}. "
        "Try again later, or download the file by hand and name it: --annotations PATH"
    )


def _is_complete(archive: Path) -> bool:
    try:
        with tarfile.open(fileobj=decompress(archive, archive.read_bytes()), mode="r:") as tar:
            regular_members(tar)
    except (*ARCHIVE_ERRORS, Fatal):
        return False
    return True
