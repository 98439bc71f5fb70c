"""A file over HTTP that is read once from its beginning, and resumed where the connection was cut."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import urllib3
from urllib3.exceptions import HTTPError

from kinetics.errors import ClipError, MayWorkLater, StopEveryone
from kinetics.net.http import HttpSession
from kinetics.net.responses import (
    MIN_PROGRESS_BYTES,
    Changed,
    Tries,
    content_range,
    entity_tag,
    no_reply,
    root_cause,
    whole_range,
)
from kinetics.records import Category

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

RESUME_PATIENCE_S = 45.0
"""Minimum seconds before a stream that has begun is given up: all of it would have to be fetched again."""


class HttpStream(io.RawIOBase):
    """A file at a URL that is read once, from its beginning on, with one request as long as the connection holds.

    A cut stream is resumed at the byte where it was cut, with If-Match on the entity tag of the file (`RangeFile` would
    send a request for every 4 MiB, and wait for each). The bytes are those stored on the server, also where it names a
    content coding: it says of some gzip files that they are plain files, coded by gzip. `on_data` is called when bytes
    arrive.

    Raises StopEveryone (429, no connection), MediaRefused (403, 404, 410), Changed, and MayWorkLater (anything else).
    """

    def __init__(self, session: HttpSession, url: str, on_data: Callable[[], None] = lambda: None) -> None:
        super().__init__()
        self.size: int | None = None
        """The size of the whole file in bytes, once any have arrived."""
        self.etag = ""
        """The entity tag of the file; empty if the server sends none."""
        self.position = 0
        """Bytes received."""
        self._session = session
        self._url = url
        self._on_data = on_data
        self._response: urllib3.BaseHTTPResponse | None = None
        self._pieces: Iterator[bytes] = iter(())
        self._piece = memoryview(b"")
        self._tries = Tries()
        self._tried_at = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Read some of the bytes received, or wait for more; none at the end of the file."""
        if self.closed:  # or it would connect again
            raise ValueError("read of a closed stream")
        view = memoryview(buffer).cast("B")
        if not self._piece:
            with self._session.busy():
                self._piece = memoryview(self._next_piece())
        piece, self._piece = self._piece[: len(view)], self._piece[len(view) :]
        view[: len(piece)] = piece
        return len(piece)

    def peek(self, count: int) -> bytes:
        """Return the next `count` bytes, which can still be read; fewer only at the end of the file."""
        with self._session.busy():
            while len(self._piece) < count and (more := self._next_piece()):
                self._piece = memoryview(bytes(self._piece) + more)
        return bytes(self._piece[:count])

    def close(self) -> None:
        """Close the connection: a response may be half read."""
        self._close_response()
        super().close()

    def _next_piece(self) -> bytes:
        while self.position != self.size:
            failure = self._begin() if self._response is None else None
            if failure is None:
                try:
                    piece, cause = next(self._pieces, b""), "the reply ended there"
                except (HTTPError, OSError) as error:
                    piece, cause = b"", root_cause(error)
                if piece:
                    self.position += len(piece)
                    self._on_data()
                    return piece
                failure = MayWorkLater(Category.MEDIA_ERROR, f"the connection broke at byte {self.position}: {cause}")
            self._close_response()
            self._wait_or_raise(failure)
        return b""

    def _begin(self) -> ClipError | None:
        """Request everything not received yet; return the error to raise if another request does not help."""
        headers = {"Range": f"bytes={self.position}-", **({"If-Match": self.etag} if self.etag else {})}
        try:
            self._response = response = self._session.get(self._url, headers)
        except (HTTPError, OSError) as error:
            try:
                return no_reply(error, self._session.hosts)
            except StopEveryone as unreachable:
                if not self.position:
                    raise
                return unreachable
        if response.status >= 500:
            return MayWorkLater(Category.SERVER_ERROR, f"HTTP {response.status} from the media host")
        whole = response.status == 200
        part, etag = whole_range(response) if whole else content_range(response), entity_tag(response)
        if whole and self.position:
            raise Changed(
                Category.MEDIA_ERROR, f"asked for bytes {self.position}-, was sent the file from its beginning"
            )
        if part.first != self.position or not part.first <= part.last < part.size:
            raise MayWorkLater(Category.MEDIA_ERROR, f"asked for bytes {self.position}-, was sent '{part}'")
        if self.size is not None and (self.size, self.etag) != (part.size, etag):
            raise Changed(Category.MEDIA_ERROR, "the file changed during the download")
        self.size, self.etag = part.size, etag
        self._pieces = self._session.body(response, part.last + 1 - part.first)
        return None

    def _wait_or_raise(self, failure: ClipError) -> None:
        if self.position - self._tried_at >= MIN_PROGRESS_BYTES:
            self._tries.progressed()
        self._tried_at = self.position
        self._tries.wait_or_raise(failure, RESUME_PATIENCE_S if self.position else 0.0)

    def _close_response(self) -> None:
        if self._response is not None:
            self._response.close()  # a connection whose response was read to its end stays open all the same
            self._response, self._pieces = None, iter(())
