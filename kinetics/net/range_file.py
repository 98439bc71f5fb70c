"""Files over HTTP: only what is read is fetched, every answer is proven, a cut one is resumed."""

from __future__ import annotations

import fcntl
import io
import os
import re
import struct
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
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
from urllib3.util import parse_url

from kinetics.errors import ClipError, MayWorkLater, StopEveryone, retry_after
from kinetics.records import Category

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

CONNECT_TIMEOUT_S = 10.0
READ_TIMEOUT_S = 20.0
TRIES = 3
"""In a row that bring next to nothing."""
NEXT_TO_NOTHING = 1 << 12
"""Fewer new bytes do not count as progress: else a host that sends one at a time is asked for ever."""
BACK_OFF_S = 0.5
UNDER_WAY_S = 45.0
"""At least so long a stream is tried for of which something has come: it would have to come again."""
REDIRECTS = 4
FILES_AT_ONCE = 2
"""A video and its sound: so many connections to a host are kept."""
CHUNK = 1 << 16
READ_AHEAD = 1 << 16
"""What a read that nobody foresaw fetches at least, in bytes; it doubles while such reads follow one another."""
READ_AHEAD_WHOLE = 1 << 20
"""The same for a file that is read from end to end."""
READ_AHEAD_LIMIT = 1 << 22
KEPT_LIMIT = 1 << 28
"""Bytes of one file that a section may make us hold: more is a header that lies."""
QUEUE_LIMIT_S = 600.0
"""No line is spoken for that far ahead: such a number is what an earlier run left, or the clock was set back."""

_ETAG = re.compile(r'"[!#-~]{1,200}"', re.ASCII)
_LENGTH = re.compile(r"\d{1,18}", re.ASCII)
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})", re.ASCII)
_LINE_DOWN = (ConnectTimeoutError, NameResolutionError, NewConnectionError, ProxyError)


@dataclass(frozen=True, slots=True)
class Hosts:
    """Where a line may lead, and what a person calls that; a reply or a redirect to any other host is not followed."""

    name: str
    pattern: re.Pattern[str]


YOUTUBE = Hosts("YouTube", re.compile(r"(?:[a-z0-9-]+\.)*(?:googlevideo|youtube)\.com"))


class MediaRefused(MayWorkLater):
    """The media host refuses this address (403, 404, 410): another engine's may be accepted."""


class Changed(MayWorkLater):
    """What would come next does not belong to what is here: the file is another one, or it begins anew."""


class Line:
    """The connections of one worker process to the media hosts, kept alive across clips, and what they carried.

    Two threads may use it at once, for a video and its sound. TLS is always verified. The proxy and the certificates
    come from the usual environment variables.
    """

    def __init__(self, limit: Limit | None = None, hosts: Hosts = YOUTUBE) -> None:
        self.hosts = hosts
        self.bytes_received = 0
        self.requests = 0
        self.busy_s = 0.0
        """How long anything was under way."""
        self._limit = limit
        self._lock = threading.Lock()
        self._at_work = 0
        self._since = 0.0
        self._pools: dict[str | None, urllib3.PoolManager] = {}

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
                self._limit.spend(len(piece))
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
        if url.scheme != "https" or url.port not in (None, 443) or not self.hosts.pattern.fullmatch(url.host or ""):
            reason = f"refused to follow an address outside {self.hosts.name}: {target[:80]}"
            raise MayWorkLater(Category.MEDIA_ERROR, reason)
        return url.url

    def _pool(self, url: str) -> urllib3.PoolManager:
        host = parse_url(url).host or ""
        proxy = None if urllib.request.proxy_bypass(host) else urllib.request.getproxies().get("https")
        with self._lock:
            if proxy not in self._pools:
                self._pools[proxy] = (
                    urllib3.ProxyManager(proxy, maxsize=FILES_AT_ONCE)
                    if proxy
                    else urllib3.PoolManager(maxsize=FILES_AT_ONCE)
                )
            return self._pools[proxy]


def use_proxy(url: str | None) -> None:
    """Let all that this process and its children fetch go through this proxy, if any: every client looks there."""
    if url:
        os.environ.update(dict.fromkeys(("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"), url))


class Limit:
    """So many bytes a second for all workers together.

    They share one number in a file, the moment until which the line is spoken for; a lock on the file orders them, and
    goes with a worker that dies. It does not tell one worker's threads apart, so they have another.
    """

    def __init__(self, path: Path, bytes_per_s: float) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT)  # open as long as the worker lives
        self._bytes_per_s = bytes_per_s
        self._lock = threading.Lock()

    def spend(self, count: int) -> None:
        """Take `count` bytes' worth of time on the line, and wait until it begins."""
        with self._lock:
            fcntl.flock(self._file, fcntl.LOCK_EX)
            try:
                now = time.time()
                (taken_until,) = struct.unpack("d", os.pread(self._file, 8, 0).ljust(8, b"\0"))
                begins = taken_until if now <= taken_until <= now + QUEUE_LIMIT_S else now
                os.pwrite(self._file, struct.pack("d", begins + count / self._bytes_per_s), 0)
            finally:
                fcntl.flock(self._file, fcntl.LOCK_UN)
        time.sleep(begins - now)


class Seekable(io.RawIOBase):
    """A file of known size that can be read anywhere; whoever derives from it reads at `_position`."""

    _position = 0

    @property
    def size(self) -> int:
        """In bytes."""
        raise NotImplementedError

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position}.get(whence)
        self._position = max(0, offset + (self.size if base is None else base))
        return self._position

    def tell(self) -> int:
        return self._position

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True


class RangeFile(Seekable):
    """A file at a URL that is read like one on disk.

    `prefetch` says what will be needed, so that one request brings it; a read of anything else costs a request of its
    own. No byte is fetched twice, unless `forget` is set: then what lies well behind the reader is dropped, for files
    that are read once from end to end.

    Raises StopEveryone (429, no line), MediaRefused (403, 404, 410) and MayWorkLater (anything else).
    """

    def __init__(self, line: Line, url: str, headers: Mapping[str, str] | None = None, *, forget: bool = False) -> None:
        super().__init__()
        self._line = line
        self._url = url
        self._headers = dict(headers or {})
        self._forget = forget
        self._least = READ_AHEAD_WHOLE if forget else READ_AHEAD
        self._size: int | None = None
        self._spans: list[tuple[int, bytes]] = []
        self._ahead = self._least

    @property
    def size(self) -> int:
        """Of the whole file, in bytes, as the server says."""
        if self._size is None:
            self.prefetch(0, self._least)
        assert self._size is not None
        return self._size

    def prefetch(self, start: int, stop: int) -> None:
        """Have the bytes from `start` up to `stop` at hand, with one request for each gap in what is there already."""
        while start < (stop if self._size is None else min(stop, self._size)):
            span = self._span(start)
            if span is None:
                following = min((first for first, _ in self._spans if first > start), default=stop)
                with self._line.busy():
                    span = self._keep(start, self._fetch(start, min(stop, following)))
            start = span[0] + len(span[1])

    def at_hand(self, position: int) -> bool:
        """Whether the byte there can be read without a request."""
        return self._span(position) is not None

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Read what is at hand here, or fetch some; fewer bytes than asked for are no sign of the end."""
        view = memoryview(buffer).cast("B")
        if not len(view) or (self._size is not None and self._position >= self._size):
            return 0
        span = self._span(self._position)
        if span is None:
            span = self._read_on(len(view))
        offset = self._position - span[0]
        piece = span[1][offset : offset + len(view)]
        view[: len(piece)] = piece
        self._position += len(piece)
        return len(piece)

    def _read_on(self, wanted: int) -> tuple[int, bytes]:
        start = self._position
        follows = start > 0 and self.at_hand(start - 1)
        self._ahead = min(self._ahead * 2, READ_AHEAD_LIMIT) if follows else self._least
        stop = start + max(wanted, self._ahead)
        stop = min([stop, *(first for first, _ in self._spans if first > start)])
        self.prefetch(start, stop)
        return self._span(start) or (start, b"")

    def _span(self, position: int) -> tuple[int, bytes] | None:
        return next((span for span in self._spans if span[0] <= position < span[0] + len(span[1])), None)

    def _keep(self, start: int, data: bytes) -> tuple[int, bytes]:
        if self._forget:
            del self._spans[:-1]
        self._spans.append((start, data))
        return self._spans[-1]

    def _fetch(self, start: int, stop: int) -> bytes:
        """The bytes from `start` up to `stop` or the end of the file, at least one."""
        held = 0 if self._forget else sum(len(data) for _, data in self._spans)
        if held + stop - start > KEPT_LIMIT:
            raise MayWorkLater(Category.MEDIA_ERROR, f"the section would need more than {KEPT_LIMIT >> 20} MiB")
        data = bytearray()
        tries = 0
        while True:
            held = len(data)
            trouble = self._continue(data, start, stop)
            if self._size is not None and start + len(data) >= min(stop, self._size):
                return bytes(data)
            tries = 1 if len(data) >= held + NEXT_TO_NOTHING else tries + 1
            if tries >= TRIES:
                raise trouble
            time.sleep(BACK_OFF_S * 2 ** (tries - 1))

    def _continue(self, data: bytearray, start: int, stop: int) -> ClipError:
        """Append what one request brings; return what to say if asking again does not help."""
        first = start + len(data)
        try:
            response = self._line.get(self._url, {**self._headers, "Range": f"bytes={first}-{stop - 1}"})
        except (HTTPError, OSError) as error:
            return _no_reply(error, self._line.hosts)
        try:
            if response.status >= 500:
                return MayWorkLater(Category.SERVER_ERROR, f"HTTP {response.status} from the media host")
            stop = self._proven(response, first, stop)
            for piece in self._line.body(response, stop - first):
                data += piece
        except (HTTPError, OSError) as error:
            cause = _root(error)
        else:
            cause = "the reply ended there"
        finally:
            response.close()  # of no effect on a connection whose reply was read to its end: that one is kept
        return MayWorkLater(Category.MEDIA_ERROR, f"the connection broke at byte {start + len(data)}: {cause}")

    def _proven(self, response: urllib3.BaseHTTPResponse, first: int, stop: int) -> int:
        """The end of what this reply brings, if it is what was asked for."""
        part = _part(response)
        coding = response.headers.get("Content-Encoding", "identity").strip().lower()
        if coding != "identity":
            raise MayWorkLater(Category.MEDIA_ERROR, f"asked for plain bytes, was sent them as {coding!r}")
        if part.first != first or not first <= part.last < part.size or part.last >= stop:
            raise MayWorkLater(Category.MEDIA_ERROR, f"asked for bytes {first}-{stop - 1}, was sent '{part}'")
        if self._size not in (None, part.size):
            reason = f"the file changed from {self._size} to {part.size} bytes on the way"
            raise MayWorkLater(Category.MEDIA_ERROR, reason)
        self._size = part.size
        return part.last + 1


class Stream(io.RawIOBase):
    """A file at a URL that is read once, from its beginning on, with one request as long as the connection holds.

    A cut one is resumed where it was cut, by the entity tag of the file that was begun. `RangeFile` would ask for every
    4 MiB anew, and wait for each answer. The bytes are those of the file as it is kept, also where the server calls
    that a coding: it says of some packed files that they are plain ones, coded by gzip. `heard` is called whenever some
    have come.

    Raises StopEveryone (429, no line), MediaRefused (403, 404, 410), Changed, and MayWorkLater (anything else).
    """

    def __init__(self, line: Line, url: str, heard: Callable[[], None] = lambda: None) -> None:
        super().__init__()
        self.size: int | None = None
        """Of the whole file, once anything has come."""
        self.etag = ""
        """What the server calls this state of the file; empty if it does not say."""
        self.position = 0
        """How many bytes have come."""
        self._line = line
        self._url = url
        self._heard = heard
        self._response: urllib3.BaseHTTPResponse | None = None
        self._pieces: Iterator[bytes] = iter(())
        self._piece = memoryview(b"")
        self._tries = 0
        self._tried_at = 0
        self._since = 0.0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Read some of what has come, or wait for more; nothing is the end of the file."""
        if self.closed:  # or it would connect again
            raise ValueError("read of a closed stream")
        view = memoryview(buffer).cast("B")
        if not self._piece:
            with self._line.busy():
                self._piece = memoryview(self._next_piece())
        piece, self._piece = self._piece[: len(view)], self._piece[len(view) :]
        view[: len(piece)] = piece
        return len(piece)

    def peek(self, count: int) -> bytes:
        """The next bytes, which stay to be read; fewer only at the end of the file."""
        with self._line.busy():
            while len(self._piece) < count and (more := self._next_piece()):
                self._piece = memoryview(bytes(self._piece) + more)
        return bytes(self._piece[:count])

    def close(self) -> None:
        """Let go of the connection: it may be in the midst of a reply."""
        self._hang_up()
        super().close()

    def _next_piece(self) -> bytes:
        while self.position != self.size:
            trouble = self._begin() if self._response is None else None
            if trouble is None:
                try:
                    piece, cause = next(self._pieces, b""), "the reply ended there"
                except (HTTPError, OSError) as error:
                    piece, cause = b"", _root(error)
                if piece:
                    self.position += len(piece)
                    self._heard()
                    return piece
                trouble = MayWorkLater(Category.MEDIA_ERROR, f"the connection broke at byte {self.position}: {cause}")
            self._hang_up()
            self._again_or_not(trouble)
        return b""

    def _begin(self) -> ClipError | None:
        """Ask for all that has not come yet; return what to say if asking again does not help."""
        headers = {"Range": f"bytes={self.position}-", **({"If-Match": self.etag} if self.etag else {})}
        try:
            self._response = response = self._line.get(self._url, headers)
        except (HTTPError, OSError) as error:
            try:
                return _no_reply(error, self._line.hosts)
            except StopEveryone as no_line:
                if not self.position:
                    raise
                return no_line
        if response.status >= 500:
            return MayWorkLater(Category.SERVER_ERROR, f"HTTP {response.status} from the media host")
        whole = response.status == 200
        part, etag = _all(response) if whole else _part(response), _entity_tag(response)
        if whole and self.position:
            raise Changed(
                Category.MEDIA_ERROR, f"asked for bytes {self.position}-, was sent the file from its beginning"
            )
        if part.first != self.position or not part.first <= part.last < part.size:
            raise MayWorkLater(Category.MEDIA_ERROR, f"asked for bytes {self.position}-, was sent '{part}'")
        if self.size is not None and (self.size, self.etag) != (part.size, etag):
            raise Changed(Category.MEDIA_ERROR, "the file changed on the way")
        self.size, self.etag = part.size, etag
        self._pieces = self._line.body(response, part.last + 1 - part.first)
        return None

    def _again_or_not(self, trouble: ClipError) -> None:
        if not self._tries or self.position - self._tried_at >= NEXT_TO_NOTHING:
            self._tries, self._since = 0, time.monotonic()
        self._tries += 1
        self._tried_at = self.position
        patient = self.position and time.monotonic() - self._since < UNDER_WAY_S
        if self._tries >= TRIES and not patient:
            raise trouble
        time.sleep(BACK_OFF_S * 2 ** (self._tries - 1))

    def _hang_up(self) -> None:
        if self._response is not None:
            self._response.close()  # of no effect on a connection whose reply was read to its end: that one is kept
            self._response, self._pieces = None, iter(())


def size_and_tag(line: Line, url: str) -> tuple[int, str]:
    """How many bytes a file has, and what the server calls its state, without reading it. Raises what a Stream does."""
    try:
        response = line.head(url)
    except (HTTPError, OSError) as error:
        raise _no_reply(error, line.hosts) from error
    response.close()
    length = _LENGTH.fullmatch(response.headers.get("Content-Length", ""))
    if response.status != 200:
        raise _refusal(response)
    if length is None:
        raise MayWorkLater(Category.MEDIA_ERROR, "the media host does not say how long the file is")
    return int(length[0]), _entity_tag(response)


def _entity_tag(response: urllib3.BaseHTTPResponse) -> str:
    """What the server calls this state of the file, if that is fit to be sent back; else nothing."""
    match = _ETAG.fullmatch(response.headers.get("ETag", ""))
    return match[0] if match else ""


@dataclass(frozen=True, slots=True)
class _Part:
    """Which bytes of how many a partial reply brings (RFC 9110, section 14.4)."""

    first: int
    last: int
    size: int

    def __str__(self) -> str:
        return f"bytes {self.first}-{self.last}/{self.size}"


def _part(response: urllib3.BaseHTTPResponse) -> _Part:
    """Raises what a reply means that is no partial one."""
    if response.status != 206:
        raise _refusal(response)
    match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if match is None:
        raise MayWorkLater(Category.MEDIA_ERROR, "a partial reply that does not say which part it is")
    return _Part(*map(int, match.groups()))


def _all(response: urllib3.BaseHTTPResponse) -> _Part:
    """What a reply of the whole file brings, of a host that knows no ranges. Raises what it means if it is no file."""
    length = _LENGTH.fullmatch(response.headers.get("Content-Length", ""))
    if length is None or "html" in response.headers.get("Content-Type", "").lower():
        raise _refusal(response)
    return _Part(0, int(length[0]) - 1, int(length[0]))


def _no_reply(error: HTTPError | OSError, hosts: Hosts) -> ClipError:
    """Why no reply came, where asking again may help; raised where it will not."""
    cause = _root(error)
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


def _refusal(response: urllib3.BaseHTTPResponse) -> ClipError:
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


def _root(error: BaseException) -> str:
    """The innermost message: urllib3 wraps what the system said several times over."""
    while error.__cause__ is not None or isinstance(getattr(error, "reason", None), BaseException):
        error = error.__cause__ or error.reason  # type: ignore[attr-defined]
    return str(error) or type(error).__name__
