"""A file over HTTP that is read like one on disk: only what is read is fetched, and every answer is proven."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

import urllib3
from urllib3.exceptions import HTTPError

from kinetics.errors import ClipError, MayWorkLater
from kinetics.net.http import HttpSession
from kinetics.net.responses import (
    MIN_PROGRESS_BYTES,
    ConnectionBroken,
    MediaExpired,
    MediaRefused,
    Tries,
    content_range,
    no_reply,
    root_cause,
)
from kinetics.records import Category

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


READ_AHEAD = 1 << 16
"""Minimum bytes fetched by a read that was not prefetched; doubled while such reads follow one another."""
READ_AHEAD_WHOLE = 1 << 20
"""The same for a file that is read from end to end."""
READ_AHEAD_LIMIT = 1 << 22
"""Bytes up to which it doubles, and so about what a streamed file keeps in memory."""
KEPT_LIMIT = 1 << 28
"""Bytes of one file that are kept in memory; a header that asks for more of it is not believed."""


class Seekable(io.RawIOBase):
    """A file of known size that can be read anywhere; derived classes read at `_position`."""

    _position = 0

    @property
    def size(self) -> int:
        """The size of the file in bytes."""
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


class MediaFile(Protocol):
    """A file of media that is read anywhere, wherever it is."""

    @property
    def size(self) -> int:
        """The size of the file in bytes."""

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int: ...

    def read(self, size: int = -1) -> bytes | None: ...

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Read some bytes; 0 at the end of the file."""

    def prefetch(self, start: int, stop: int) -> None:
        """Make the bytes from `start` up to `stop` ready to be read."""

    def is_cached(self, position: int) -> bool:
        """Whether the byte at `position` can be read without a request."""


class RangeFile(Seekable):
    """A file at a URL that is read like one on disk.

    `prefetch` brings what will be needed with one request; a read of anything else costs a request of its own. No byte
    is fetched twice, unless `streaming` is set, for files that are read once from end to end: then what is well behind
    the reader is dropped.

    Raises StopEveryone (429, no connection), MediaRefused (403, 404, 410) and MayWorkLater (anything else).
    """

    def __init__(
        self, session: HttpSession, url: str, headers: Mapping[str, str] | None = None, *, streaming: bool = False
    ) -> None:
        super().__init__()
        self._session = session
        self._url = url
        self._headers = dict(headers or {})
        self._streaming = streaming
        self._least = READ_AHEAD_WHOLE if streaming else READ_AHEAD
        self._size: int | None = None
        self._spans: list[tuple[int, bytes]] = []
        self._ahead = self._least

    @property
    def size(self) -> int:
        """The size of the whole file in bytes, as the server says."""
        if self._size is None:
            self.prefetch(0, self._least)
        assert self._size is not None
        return self._size

    @property
    def kept_bytes(self) -> int:
        """Bytes that are kept in memory."""
        return sum(len(data) for _, data in self._spans)

    def prefetch(self, start: int, stop: int) -> None:
        """Cache the bytes from `start` up to `stop`, with one request for each gap between those cached already."""
        while start < (stop if self._size is None else min(stop, self._size)):
            span = self._span(start)
            if span is None:
                following = min((first for first, _ in self._spans if first > start), default=stop)
                with self._session.busy():
                    span = self._keep(start, self._fetch(start, min(stop, following)))
            start = span[0] + len(span[1])

    def is_cached(self, position: int) -> bool:
        """Whether the byte at `position` can be read without a request."""
        return self._span(position) is not None

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Read what is cached here, or fetch some; fewer bytes than asked for do not mean the end of the file."""
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
        follows = start > 0 and self.is_cached(start - 1)
        self._ahead = min(self._ahead * 2, READ_AHEAD_LIMIT) if follows else self._least
        stop = start + max(wanted, self._ahead)
        stop = min([stop, *(first for first, _ in self._spans if first > start)])
        self.prefetch(start, stop)
        return self._span(start) or (start, b"")

    def _span(self, position: int) -> tuple[int, bytes] | None:
        return next((span for span in self._spans if span[0] <= position < span[0] + len(span[1])), None)

    def _keep(self, start: int, data: bytes) -> tuple[int, bytes]:
        if self._streaming:
            del self._spans[:-1]
        self._spans.append((start, data))
        return self._spans[-1]

    def _fetch(self, start: int, stop: int) -> bytes:
        """Return the bytes from `start` up to `stop` or the end of the file, at least one."""
        held = 0 if self._streaming else self.kept_bytes
        if held + stop - start > KEPT_LIMIT:
            raise MayWorkLater(Category.MEDIA_ERROR, f"the section would need more than {KEPT_LIMIT >> 20} MiB")
        data, tries = bytearray(), Tries()
        while True:
            held = len(data)
            failure = self._continue(data, start, stop)
            if self._size is not None and start + len(data) >= min(stop, self._size):
                return bytes(data)
            if len(data) >= held + MIN_PROGRESS_BYTES:
                tries.progressed()
            tries.wait_or_raise(failure)

    def _continue(self, data: bytearray, start: int, stop: int) -> ClipError:
        """Append what one request brings; return the error to raise if another request does not help."""
        first = start + len(data)
        try:
            response = self._session.get(self._url, {**self._headers, "Range": f"bytes={first}-{stop - 1}"})
        except (HTTPError, OSError) as error:
            return no_reply(error, self._session.hosts)
        try:
            if response.status >= 500:
                return MayWorkLater(Category.SERVER_ERROR, f"HTTP {response.status} from the media host")
            stop = self._proven(response, first, stop)
            for piece in self._session.body(response, stop - first):
                data += piece
        except (HTTPError, OSError) as error:
            cause = root_cause(error)
        else:
            cause = "the reply ended there"
        finally:
            response.close()  # a connection whose response was read to its end stays open all the same
        return ConnectionBroken(Category.MEDIA_ERROR, f"the connection broke at byte {start + len(data)}: {cause}")

    def _proven(self, response: urllib3.BaseHTTPResponse, first: int, stop: int) -> int:
        """Return where the range ends that this response brings. Raises MayWorkLater if it is not the one asked for."""
        try:
            part = content_range(response)
        except MediaRefused as error:
            raise MediaExpired(error.category, error.reason) if self._size is not None else error from None
        coding = response.headers.get("Content-Encoding", "identity").strip().lower()
        if coding != "identity":
            raise MayWorkLater(Category.MEDIA_ERROR, f"asked for plain bytes, was sent them as {coding!r}")
        if part.first != first or not first <= part.last < part.size or part.last >= stop:
            raise MayWorkLater(Category.MEDIA_ERROR, f"asked for bytes {first}-{stop - 1}, was sent '{part}'")
        if self._size not in (None, part.size):
            reason = f"the file changed from {self._size} to {part.size} bytes during the download"
            raise MayWorkLater(Category.MEDIA_ERROR, reason)
        self._size = part.size
        return part.last + 1
