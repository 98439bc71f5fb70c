"""Fetches the official archive of a version, completely or not at all."""

from __future__ import annotations

import re
import ssl
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from urllib.request import getproxies, proxy_bypass

import urllib3
from urllib3.exceptions import HTTPError, ProtocolError
from urllib3.util import parse_url

from kinetics.annotations.files import ARCHIVE_ERRORS, MAX_FILE, decompress, regular_members
from kinetics.errors import Fatal
from kinetics.storage.atomic import whole_or_absent

ProgressCallback = Callable[[int, int | None], None]
"""Called with the bytes received in this attempt, and with the size if the server announced it."""
VERSIONS = {
    version: f"https://storage.googleapis.com/deepmind-media/Datasets/kinetics{version.replace('-', '_')}.tar.gz"
    for version in ("400", "600", "700", "700-2020")
}
"""The URL of each version's official archive: a folder with {train,validate,test}.{csv,json}, about 25 MB."""
CONNECT_S, READ_S, FETCH_S = 10, 30, 3600
"""Timeouts in seconds: to connect, between two reads, and for a whole attempt."""
PAUSES_S = (1, 4, 10)
"""Seconds to wait before each further attempt; there is one attempt more than waits."""
RETRY_STATUSES = {408, 429, 500, 502, 503, 504}
"""HTTP statuses after which another attempt may succeed."""


def fetch(url: str, into: Path, progress: ProgressCallback | None = None) -> None:
    """Fetch a tar archive into a file, completely or not at all; each attempt reports its `progress` from 0 again.

    Raises Fatal if no attempt brings the complete archive, or the file cannot be written.
    """
    reason = ""
    for pause in (0, *PAUSES_S):
        time.sleep(pause)
        try:
            with whole_or_absent(into) as temporary:
                _transfer(url, temporary, progress)
                if not _is_complete(temporary):
                    raise ProtocolError("the reply is not a complete tar archive")
            return
        except HTTPError as error:
            reason = str(error)
        except OSError as error:
            what = f"Cannot write {into}: {error.strerror or error}. Fix that"
            raise Fatal(f"{what}, choose another cache folder (XDG_CACHE_HOME), or use --annotations PATH.") from error
    raise _unreachable(url, reason)


def _transfer(url: str, into: Path, progress: ProgressCallback | None) -> None:
    """Make one attempt. Raises urllib3's HTTPError if another may succeed, else Fatal."""
    deadline = time.monotonic() + FETCH_S
    with (
        _client(url) as client,
        client.request("GET", url, preload_content=False, retries=False, redirect=False) as reply,
        open(into, "wb") as file,
    ):
        if reply.status in RETRY_STATUSES:
            raise ProtocolError(f"HTTP {reply.status} {reply.reason}")
        if reply.status != 200:
            raise _unreachable(url, f"HTTP {reply.status} {reply.reason}")
        length = reply.headers.get("Content-Length", "")
        total, done = int(length) if re.fullmatch(r"\d{1,15}", length, re.ASCII) else None, 0
        # Not stream(), which waits for full blocks: with bytes that trickle in, it would not check the deadline.
        while block := reply.read1(1 << 16, decode_content=False):
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


def _client(url: str) -> urllib3.PoolManager:
    """Return an HTTP client that uses the environment's proxy and certificate variables and always verifies TLS."""
    settings: dict[str, Any] = {
        "timeout": urllib3.Timeout(connect=CONNECT_S, read=READ_S),
        "ssl_context": ssl.create_default_context(),
    }
    target = parse_url(url)
    proxy = getproxies().get(target.scheme or "")
    if not proxy or proxy_bypass(target.host or ""):
        return urllib3.PoolManager(**settings)
    try:
        address = parse_url(proxy if "://" in proxy else f"http://{proxy}")
        login = urllib3.make_headers(proxy_basic_auth=unquote(address.auth)) if address.auth else None
        return urllib3.ProxyManager(address._replace(auth=None).url, proxy_headers=login, **settings)
    except ValueError:  # not chained, and the address not shown, because it may contain a password
        what = f"The environment's {target.scheme}_proxy is not an http:// address"
        raise Fatal(f"{what}. Correct it or unset it.") from None


def _is_complete(archive: Path) -> bool:
    try:
        with tarfile.open(fileobj=decompress(archive, archive.read_bytes()), mode="r:") as tar:
            regular_members(tar)
    except (*ARCHIVE_ERRORS, Fatal):
        return False
    return True
