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
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    LocationValueError,
    NameResolutionError,
    NewConnectionError,
    ProxyError,
    SSLError,
)
from urllib3.util import Url, parse_url

from kinetics.errors import ClipError, MayWorkLater, StopEveryone, retry_after
from kinetics.net.proxy import Proxy, proxy_for, refused_login
from kinetics.net.rate_limit import RateLimiter
from kinetics.records import Category

CONNECT_TIMEOUT_S = 10.0
READ_TIMEOUT_S = 20.0
TRIES = 3
"""In a row that bring next to nothing."""
MIN_PROGRESS_BYTES = 1 << 12
"""Fewer new bytes do not count as progress: else a host that sends one at a time is asked for ever."""
BACK_OFF_S = 0.5
REDIRECTS = 4
FILES_AT_ONCE = 2
"""A video and its sound: so many connections to a host are kept."""
CHUNK = 1 << 16
_ETAG = re.compile(r'"[!#-~]{1,200}"', re.ASCII)
_LENGTH = re.compile(r"\d{1,18}", re.ASCII)
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})", re.ASCII)
_LINE_DOWN = (ConnectTimeoutError, NameResolutionError, NewConnectionError, ProxyError)


@dataclass(frozen=True, slots=True)
class AllowedHosts:
    """Where a line may lead, and what a person calls that; a reply or a redirect to any other host is not followed."""

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


class MediaRefused(MayWorkLater):
    """The media host refuses this address (403, 404, 410): another engine's may be accepted."""


class Changed(MayWorkLater):
    """What would come next does not belong to what is here: the file is another one, or it begins anew."""


class HttpSession:
    """The connections of one worker process to the media hosts, kept alive across clips, and what they carried.

    Two threads may use it at once, for a video and its sound. TLS is always verified. The proxy and the certificates
    come from the usual environment variables.
    """

    def __init__(self, limit: RateLimiter | None = None, hosts: AllowedHosts = YOUTUBE) -> None:
        self.hosts = hosts
        self.bytes_received = 0
        self.requests = 0
        self.busy_s = 0.0
        """How long anything was under way."""
        self._limit = limit
        self._lock = threading.Lock()
        self._at_work = 0
        self._since = 0.0
        self._pools: dict[Proxy | None, urllib3.PoolManager] = {}

    def get(self, url: str, headers: Mapping[str, str]) -> urllib3.BaseHTTPResponse:
        """Ask once, following redirects among the hosts; the body is still to be read.

        Raises MayWorkLater for an address that is not followed, and urllib3's errors.
        """
        return self._ask("GET", url, headers)

    def head(self, url: str) -> urllib3.BaseHTTPResponse:
        """The same, without a body."""
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
                timeout=urllib3.Timeout(connect=CONNECT_TIMEOUT_S, read=READ_TIMEOUT_S),
            )
            location = response.get_redirect_location()
            if not location:
                return response
            response.close()
            target = location
        raise MayWorkLater(Category.MEDIA_ERROR, f"redirected more than {REDIRECTS} times")

    def body(self, response: urllib3.BaseHTTPResponse, length: int) -> Iterator[bytes]:
        """The first `length` bytes of a reply, in pieces, at the pace that the limit allows."""
        while length and (piece := response.read1(min(CHUNK, length))):  # read() would lose what came before a cut
            length -= len(piece)
            with self._lock:
                self.bytes_received += len(piece)
            if self._limit:
                self._limit.acquire(len(piece))
            yield piece

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Count the time of the block; where two threads are in one, once."""
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
        """Where a player reply, a list or a redirect leads to, if that is one of the hosts.

        It is read by the very parser that dials: urllib and urllib3 disagree about the host of `https://a\\@b/`.
        """
        try:
            url = parse_url(urljoin(base, target))
        except ValueError:
            url = parse_url("")
        if not self.hosts.allow(url):
            reason = f"refused to follow an address outside {self.hosts.name}: {target[:80]}"
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


def size_and_tag(line: HttpSession, url: str) -> tuple[int, str]:
    """How many bytes a file has, and what the server calls its state, without reading it. Raises what a Stream does."""
    try:
        response = line.head(url)
    except (HTTPError, OSError) as error:
        raise no_reply(error, line.hosts) from error
    response.close()
    length = _LENGTH.fullmatch(response.headers.get("Content-Length", ""))
    if response.status != 200:
        raise refusal(response)
    if length is None:
        raise MayWorkLater(Category.MEDIA_ERROR, "the media host does not say how long the file is")
    return int(length[0]), entity_tag(response)


def entity_tag(response: urllib3.BaseHTTPResponse) -> str:
    """What the server calls this state of the file, if that is fit to be sent back; else nothing."""
    match = _ETAG.fullmatch(response.headers.get("ETag", ""))
    return match[0] if match else ""


@dataclass(frozen=True, slots=True)
class ContentRange:
    """Which bytes of how many a partial reply brings (RFC 9110, section 14.4)."""

    first: int
    last: int
    size: int

    def __str__(self) -> str:
        return f"bytes {self.first}-{self.last}/{self.size}"


def content_range(response: urllib3.BaseHTTPResponse) -> ContentRange:
    """Raises what a reply means that is no partial one."""
    if response.status != 206:
        raise refusal(response)
    match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if match is None:
        raise MayWorkLater(Category.MEDIA_ERROR, "a partial reply that does not say which part it is")
    return ContentRange(*map(int, match.groups()))


def whole_range(response: urllib3.BaseHTTPResponse) -> ContentRange:
    """What a reply of the whole file brings, of a host that knows no ranges. Raises what it means if it is no file."""
    length = _LENGTH.fullmatch(response.headers.get("Content-Length", ""))
    if length is None or "html" in response.headers.get("Content-Type", "").lower():
        raise refusal(response)
    return ContentRange(0, int(length[0]) - 1, int(length[0]))


def no_reply(error: HTTPError | OSError, hosts: AllowedHosts) -> ClipError:
    """Why no reply came, where asking again may help; raised where it will not."""
    cause = root_cause(error)
    if fatal := refused_login(cause):
        raise fatal from error
    if isinstance(error, LocationValueError):
        raise MayWorkLater(Category.MEDIA_ERROR, f"the media's address makes no sense: {cause}") from error
    if isinstance(error, _LINE_DOWN) and not _hung_up(error):
        raise StopEveryone(Category.NETWORK, f"no line to {hosts.name}'s media host: {cause}") from error
    if isinstance(error, SSLError) and "CERTIFICATE" in str(error).upper():
        raise StopEveryone(
            Category.NETWORK, f"the media host's certificate is not trusted (SSL_CERT_FILE?): {cause}"
        ) from error
    return StopEveryone(Category.NETWORK, f"no answer from {hosts.name}'s media host: {cause}")


def _hung_up(error: HTTPError) -> bool:
    """Whether the connection stood: urllib3 blames the proxy for a media host that hangs up behind it."""
    return isinstance(error, ProxyError) and isinstance(error.original_error, ConnectionError)


def refusal(response: urllib3.BaseHTTPResponse) -> ClipError:
    """Return what the status of a reply means that does not bring the bytes asked for."""
    status = response.status
    if status == 429:
        return StopEveryone(
            Category.THROTTLED, "HTTP 429 from the media host", retry_after(response.headers.get("Retry-After"))
        )
    if status == 412:
        return Changed(Category.MEDIA_ERROR, "the file changed on the way")
    if status in (403, 404, 410):
        return MediaRefused(Category.MEDIA_ERROR, f"HTTP {status} from the media host")
    if status == 200:
        kind = response.headers.get("Content-Type", "no content type")
        return MayWorkLater(Category.MEDIA_ERROR, f"asked for a range, was sent a whole document ({kind})")
    return MayWorkLater(Category.MEDIA_ERROR, f"HTTP {status} from the media host")


def root_cause(error: BaseException) -> str:
    """The innermost message: urllib3 wraps what the system said several times over."""
    while error.__cause__ is not None or isinstance(getattr(error, "reason", None), BaseException):
        error = error.__cause__ or error.reason  # type: ignore[attr-defined]
    return str(error) or type(error).__name__
