"""A file over HTTP that is read once from its beginning, and resumed where the connection was cut."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import urllib3
from urllib3.exceptions import (
    HTTPError,
)

from kinetics.errors import ClipError, MayWorkLater, StopEveryone
from kinetics.records import Category

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer
from kinetics.net.http import (
    BACK_OFF_S,
    MIN_PROGRESS_BYTES,
    TRIES,
    Changed,
    HttpSession,
    content_range,
    entity_tag,
    no_reply,
    root_cause,
    whole_range,
)

RESUME_PATIENCE_S = 45.0
"""At least so long a stream is tried for of which something has come: it would have to come again."""


class HttpStream(io.RawIOBase):
    """A file at a URL that is read once, from its beginning on, with one request as long as the connection holds.

    A cut one is resumed where it was cut, by the entity tag of the file that was begun. `RangeFile` would ask for every
    4 MiB anew, and wait for each answer. The bytes are those of the file as it is kept, also where the server calls
    that a coding: it says of some packed files that they are plain ones, coded by gzip. `on_data` is called whenever
    bytes arrive.

    Raises StopEveryone (429, no line), MediaRefused (403, 404, 410), Changed, and MayWorkLater (anything else).
    """

    def __init__(self, line: HttpSession, url: str, on_data: Callable[[], None] = lambda: None) -> None:
        super().__init__()
        self.size: int | None = None
        """Of the whole file, once anything has come."""
        self.etag = ""
        """What the server calls this state of the file; empty if it does not say."""
        self.position = 0
        """How many bytes have come."""
        self._line = line
        self._url = url
        self._on_data = on_data
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
                    piece, cause = b"", root_cause(error)
                if piece:
                    self.position += len(piece)
                    self._on_data()
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
                return no_reply(error, self._line.hosts)
            except StopEveryone as no_line:
                if not self.position:
                    raise
                return no_line
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
            raise Changed(Category.MEDIA_ERROR, "the file changed on the way")
        self.size, self.etag = part.size, etag
        self._pieces = self._line.body(response, part.last + 1 - part.first)
        return None

    def _again_or_not(self, trouble: ClipError) -> None:
        if not self._tries or self.position - self._tried_at >= MIN_PROGRESS_BYTES:
            self._tries, self._since = 0, time.monotonic()
        self._tries += 1
        self._tried_at = self.position
        patient = self.position and time.monotonic() - self._since < RESUME_PATIENCE_S
        if self._tries >= TRIES and not patient:
            raise trouble
        time.sleep(BACK_OFF_S * 2 ** (self._tries - 1))

    def _hang_up(self) -> None:
        if self._response is not None:
            self._response.close()  # of no effect on a connection whose reply was read to its end: that one is kept
            self._response, self._pieces = None, iter(())
