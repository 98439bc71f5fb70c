"""The official archive of each version: fetched once, kept in the user's cache folder."""

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

from kinetics.annotations.files import BROKEN_ARCHIVE, MAX_FILE, decompressed, regular_members
from kinetics.errors import Fatal
from kinetics.storage.atomic import atomic_write

ProgressCallback = Callable[[int, int | None], None]
VERSIONS = {
    version: f"https://storage.googleapis.com/deepmind-media/Datasets/kinetics{version.replace('-', '_')}.tar.gz"
    for version in ("400", "600", "700", "700-2020")
}
"""The official archive of each version: a folder with {train,validate,test}.{csv,json}, about 25 MB."""
CONNECT_S, READ_S, FETCH_S = 10, 30, 3600
PAUSES_S = (1, 4, 10)
"""The waits between the tries to fetch an archive."""
TRY_AGAIN = {408, 429, 500, 502, 503, 504}


def fetch(url: str, into: Path, progress: ProgressCallback | None = None) -> None:
    """Fetch a tar archive, whole or not at all; `progress(bytes_done, bytes_total or None)` starts anew with each try.

    Raises Fatal if it cannot be had whole within a few tries.
    """
    reason = ""
    for pause in (0, *PAUSES_S):
        time.sleep(pause)
        try:
            with atomic_write(into) as temporary:
                _transfer(url, temporary, progress)
                if not _is_whole(temporary):
                    raise ProtocolError("what came is no whole tar archive")
            return
        except HTTPError as error:
            reason = str(error)
        except OSError as error:
            what = f"Cannot write {into}: {error.strerror or error}. Mend that"
            raise Fatal(f"{what}, choose another cache folder (XDG_CACHE_HOME), or use --annotations PATH.") from error
    raise _unreachable(url, reason)


def _transfer(url: str, into: Path, progress: ProgressCallback | None) -> None:
    """One try. Raises urllib3's HTTPError where another may help."""
    deadline = time.monotonic() + FETCH_S
    with (
        _client(url) as client,
        client.request("GET", url, preload_content=False, retries=False, redirect=False) as reply,
        open(into, "wb") as file,
    ):
        if reply.status in TRY_AGAIN:
            raise ProtocolError(f"HTTP {reply.status} {reply.reason}")
        if reply.status != 200:
            raise _unreachable(url, f"HTTP {reply.status} {reply.reason}")
        length = reply.headers.get("Content-Length", "")
        total, done = int(length) if re.fullmatch(r"\d{1,15}", length, re.ASCII) else None, 0
        # Not stream(), which waits for whole blocks: with a slow drip the deadline would never be looked at.
        while block := reply.read1(1 << 16, decode_content=False):
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


def _client(url: str) -> urllib3.PoolManager:
    """An HTTP client that heeds the proxy and certificate variables of the environment, and always checks TLS."""
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
    except ValueError:  # not chained, and the address not shown: a password may stand in it
        raise Fatal(f"The environment's {target.scheme}_proxy is no http:// address. Mend it or unset it.") from None


def _is_whole(archive: Path) -> bool:
    try:
        with tarfile.open(fileobj=decompressed(archive, archive.read_bytes()), mode="r:") as tar:
            regular_members(tar)
    except (*BROKEN_ARCHIVE, Fatal):
        return False
    return True
