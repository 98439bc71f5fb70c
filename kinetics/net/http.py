"""Requests over HTTPS to allowed hosts: proxies, TLS, timeouts, redirects, and what a failed one means."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urljoin

import urllib3
from urllib3.util import Url, parse_url

from kinetics.errors import MayWorkLater
from kinetics.net.proxy import Proxy, proxy_for
from kinetics.net.rate_limit import RateLimiter
from kinetics.records import Category

CONNECT_TIMEOUT_S = 10.0
"""Seconds that a connection may take."""
READ_TIMEOUT_S = 20.0
"""Seconds without a byte after which a response is given up."""
REDIRECTS = 4
"""Requests for one URL, redirects included; media hosts send a request on two or three times."""
FILES_AT_ONCE = 2
"""Connections kept open to a host: a video and its sound are two files."""
CHUNK = 1 << 16
"""Bytes read from a response at a time, and so the step of the rate limit."""


@dataclass(frozen=True, slots=True)
class AllowedHosts:
    """The hosts that a session may ask, and their name for a person; URLs and redirects to others are not followed."""

    name: str
    pattern: re.Pattern[str]
    scheme: str = "https"
    port: int | None = 443
    """None: any."""

    def allow(self, url: Url) -> bool:
        """Whether a request may go to this address."""
        port = url.port or (443 if url.scheme == "https" else 80)
        return bool(url.scheme == self.scheme and self.port in (None, port) and self.pattern.fullmatch(url.host or ""))


YOUTUBE = AllowedHosts("YouTube", re.compile(r"(?:[a-z0-9-]+\.)*(?:googlevideo|youtube)\.com"))


class HttpSession:
    """The connections of one process to some hosts, kept open from request to request, and the traffic on them.

    Two threads may use it at once, for a video and its sound. TLS is always verified. The proxy and the certificates
    come from the usual environment variables.
    """

    def __init__(
        self, limit: RateLimiter | None = None, hosts: AllowedHosts = YOUTUBE, timeout_s: float | None = None
    ) -> None:
        self.hosts = hosts
        self._timeout_s = timeout_s  # if it is not the usual one
        self.bytes_received = 0
        self.requests = 0
        self.busy_s = 0.0
        """Seconds during which any request was in progress."""
        self._limit = limit
        self._lock = threading.Lock()
        self._at_work = 0
        self._since = 0.0
        self._pools: dict[Proxy | None, urllib3.PoolManager] = {}

    def get(self, url: str, headers: Mapping[str, str]) -> urllib3.BaseHTTPResponse:
        """Send one GET, following redirects among the hosts; the body is still to be read.

        Raises MayWorkLater for a URL that is not followed, Fatal for an unusable proxy, and urllib3's errors.
        """
        return self._ask("GET", url, headers)

    def head(self, url: str) -> urllib3.BaseHTTPResponse:
        """Send one HEAD, which brings no body. Raises what `get` does."""
        return self._ask("HEAD", url, {})

    def _ask(self, method: str, url: str, headers: Mapping[str, str]) -> urllib3.BaseHTTPResponse:
        target = url
        for _ in range(REDIRECTS):
            url = self._address(url, target)
            with self._lock:
                self.requests += 1
            response = self._pool(url).request(
                method,
                url,
                headers={**headers, "Accept-Encoding": "identity"},
                preload_content=False,
                decode_content=False,
                redirect=False,
                retries=False,
                timeout=urllib3.Timeout(
                    connect=self._timeout_s or CONNECT_TIMEOUT_S, read=self._timeout_s or READ_TIMEOUT_S
                ),
            )
            location = response.get_redirect_location()
            if not location:
                return response
            response.close()
            target = location
        raise MayWorkLater(Category.MEDIA_ERROR, f"redirected more than {REDIRECTS} times")

    def body(self, response: urllib3.BaseHTTPResponse, length: int) -> Iterator[bytes]:
        """Yield the first `length` bytes of a response in pieces, as fast as the rate limit allows."""
        while length and (piece := response.read1(min(CHUNK, length))):  # read() would lose what came before a cut
            length -= len(piece)
            with self._lock:
                self.bytes_received += len(piece)
            if self._limit:
                self._limit.acquire(len(piece))
            yield piece

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Count the time of the block as busy; time that two threads share counts once."""
        with self._lock:
            if not self._at_work:
                self._since = time.monotonic()
            self._at_work += 1
        try:
            yield
        finally:
            with self._lock:
                self._at_work -= 1
                if not self._at_work:
                    self.busy_s += time.monotonic() - self._since

    def _address(self, base: str, target: str) -> str:
        """Return the URL that a player reply, a list or a redirect names. Raises MayWorkLater for other hosts.

        It is parsed by the library that connects: urllib and urllib3 disagree about the host of `https://a\\@b/`.
        """
        try:
            url = parse_url(urljoin(base, target))
        except ValueError:
            url = parse_url("")
        if not self.hosts.allow(url):
            reason = f"refused to follow a URL outside {self.hosts.name}: {target[:80]}"
            raise MayWorkLater(Category.MEDIA_ERROR, reason)
        return url.url

    def _pool(self, url: str) -> urllib3.PoolManager:
        proxy = proxy_for(self.hosts.scheme, parse_url(url).host or "")
        with self._lock:
            if proxy not in self._pools:
                self._pools[proxy] = (
                    urllib3.ProxyManager(proxy.url, proxy_headers=proxy.headers, maxsize=FILES_AT_ONCE)
                    if proxy
                    else urllib3.PoolManager(maxsize=FILES_AT_ONCE)
                )
            return self._pools[proxy]
