"""What an HTTP response means: proven ranges, entity tags, refusals, and connections that failed."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass

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

from kinetics.errors import ClipError, MayWorkLater, StopEveryone, retry_after
from kinetics.net.http import AllowedHosts, HttpSession
from kinetics.net.proxy import refused_login
from kinetics.records import Category

TRIES = 3
"""Consecutive requests without progress before a download is given up."""
BROKEN_TRIES = 5
"""The same for connections that broke, as some lines reset many of them. With fewer tries, more downloads would be
given up whose player call was answered."""
BROKEN_PATIENCE_S = 15.0
"""Seconds after which TRIES are enough for those, too: a connection that stalls costs 20 seconds."""
MIN_PROGRESS_BYTES = 1 << 12
"""Minimum new bytes for a request to count as progress; without it one byte a connection would retry without end."""
BACK_OFF_S = 0.5
"""Seconds before the second request; doubled for each further one."""
_ETAG = re.compile(r'"[!#-~]{1,200}"', re.ASCII)
_LENGTH = re.compile(r"\d{1,18}", re.ASCII)
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})", re.ASCII)
_NOT_CONNECTED = (ConnectTimeoutError, NameResolutionError, NewConnectionError, ProxyError)


class MediaRefused(MayWorkLater):
    """The media host refuses this URL (403, 404, 410); the one that another engine finds may be accepted."""


class MediaExpired(MediaRefused):
    """The media host refuses this URL after it has served it: its time may be over, and a new one may be accepted."""


class ConnectionBroken(MayWorkLater):
    """The connection broke inside a file or a reply; that says nothing of what was asked for."""


class Tries:
    """The consecutive requests of one download without progress, and the waits between them."""

    def __init__(self) -> None:
        self._count = 0
        self._since = 0.0

    def progressed(self) -> None:
        """Begin anew: a request brought some of the file."""
        self._count = 0

    def wait_or_raise(self, failure: ClipError, patience_s: float = 0.0) -> None:
        """Wait before the next request; raise `failure` if there were enough, and `patience_s` seconds are over."""
        now = time.monotonic()
        self._since = self._since if self._count else now
        self._count += 1
        waited_s = now - self._since
        broken = isinstance(failure, StopEveryone | ConnectionBroken)
        most = BROKEN_TRIES if broken and waited_s < BROKEN_PATIENCE_S else TRIES
        if self._count >= most and waited_s >= patience_s:
            raise failure
        time.sleep(BACK_OFF_S * 2 ** (self._count - 1))


class Changed(MayWorkLater):
    """The next bytes do not continue those received: the file was replaced, or the server starts from byte 0 again."""


def size_and_tag(session: HttpSession, url: str) -> tuple[int, str]:
    """Return the size of a file in bytes and its entity tag, without reading it. Raises what HttpStream does."""
    tries = Tries()
    while True:
        try:
            response = session.head(url)
            break
        except (HTTPError, OSError) as error:
            tries.wait_or_raise(no_reply(error, session.hosts))
    response.close()
    length = _LENGTH.fullmatch(response.headers.get("Content-Length", ""))
    if response.status != 200:
        raise refusal(response)
    if length is None:
        raise MayWorkLater(Category.MEDIA_ERROR, "the media host does not say how long the file is")
    return int(length[0]), entity_tag(response)


def entity_tag(response: urllib3.BaseHTTPResponse) -> str:
    """Return the entity tag of the file (RFC 9110, section 8.8.3); empty if there is none that can be sent back."""
    match = _ETAG.fullmatch(response.headers.get("ETag", ""))
    return match[0] if match else ""


@dataclass(frozen=True, slots=True)
class ContentRange:
    """The bytes that a response brings, of how many (RFC 9110, section 14.4)."""

    first: int
    last: int
    size: int

    def __str__(self) -> str:
        return f"bytes {self.first}-{self.last}/{self.size}"


def content_range(response: urllib3.BaseHTTPResponse) -> ContentRange:
    """Return the range that a partial response brings. Raises what the response means if it is not a partial one."""
    if response.status != 206:
        raise refusal(response)
    match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if match is None:
        raise MayWorkLater(Category.MEDIA_ERROR, "a partial reply that does not say which part it is")
    return ContentRange(*map(int, match.groups()))


def whole_range(response: urllib3.BaseHTTPResponse) -> ContentRange:
    """Return the range of a response with the whole file, from a host without ranges. Raises if it is not a file."""
    length = _LENGTH.fullmatch(response.headers.get("Content-Length", ""))
    if length is None or "html" in response.headers.get("Content-Type", "").lower():
        raise refusal(response)
    return ContentRange(0, int(length[0]) - 1, int(length[0]))


def no_reply(error: HTTPError | OSError, hosts: AllowedHosts) -> ClipError:
    """Return why no response came, if another request may help: the connection was refused, or it broke.

    Raises MayWorkLater for a URL that makes no sense, StopEveryone if there is no connection to anything or the
    certificate is not trusted, and Fatal if the proxy refuses the login.
    """
    cause = root_cause(error)
    if fatal := refused_login(cause):
        raise fatal from error
    if isinstance(error, LocationValueError):
        raise MayWorkLater(Category.MEDIA_ERROR, f"the media's URL makes no sense: {cause}") from error
    if isinstance(error, _NOT_CONNECTED) and not isinstance(_innermost(error), ConnectionError):
        raise StopEveryone(Category.NETWORK, f"cannot reach {hosts.name}'s media host: {cause}") from error
    if isinstance(error, SSLError) and "CERTIFICATE" in str(error).upper():
        raise StopEveryone(
            Category.NETWORK, f"the media host's certificate is not trusted (SSL_CERT_FILE?): {cause}"
        ) from error
    return StopEveryone(Category.NETWORK, f"no answer from {hosts.name}'s media host: {cause}")


def refusal(response: urllib3.BaseHTTPResponse) -> ClipError:
    """Return what the status of a response means that does not bring the bytes asked for."""
    status = response.status
    if status == 429:
        return StopEveryone(
            Category.THROTTLED, "HTTP 429 from the media host", retry_after(response.headers.get("Retry-After"))
        )
    if status == 412:
        return Changed(Category.MEDIA_ERROR, "the file changed during the download")
    if status in (403, 404, 410):
        return MediaRefused(Category.MEDIA_ERROR, f"HTTP {status} from the media host")
    if status == 200:
        kind = response.headers.get("Content-Type", "no content type")
        return MayWorkLater(Category.MEDIA_ERROR, f"asked for a range, was sent a whole document ({kind})")
    return MayWorkLater(Category.MEDIA_ERROR, f"HTTP {status} from the media host")


def root_cause(error: BaseException) -> str:
    """Return the innermost message."""
    innermost = _innermost(error)
    return str(innermost) or type(innermost).__name__


def _innermost(error: BaseException) -> BaseException:
    """Return the system's own error, which urllib3 wraps several times."""
    while True:
        inner = error.__cause__ or getattr(error, "original_error", None) or getattr(error, "reason", None)
        if not isinstance(inner, BaseException):
            return error
        error = inner
