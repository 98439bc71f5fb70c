"""The walker of mp4 boxes (ISO/IEC 14496-12, 4.2), and how much of what a header claims is trusted.

A file may be hostile: every size is checked before anything is read because of it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

BOXES_LIMIT = 64
"""Boxes side by side, in a file or in one parent, before the walk is given up; without it, a hostile file of empty
boxes costs a read for every 8 bytes. YouTube's files and ours have eight at most."""
MOOV_LIMIT = 1 << 26
"""Bytes of a remote file's `moov` box; a file that claims more is refused before they are fetched (64 MiB). The header
of a progressive file grows by about 1,100 bytes a second of video."""
SIDX_LIMIT = 1 << 20
"""Bytes of a remote file's fragment index; a longer one is passed over, and the file read without it (1 MiB)."""
HEADER_GUESS_LIMIT = 1 << 24
"""Bytes of a header that are fetched unseen because the player says how long the video or the header is (16 MiB).

What is missing beyond a guess costs one more request. `range_file.KEPT_LIMIT` bounds header and section together."""


class BadBoxes(ValueError):
    """The boxes do not fill their part of the file: it is cut off, damaged or no mp4 file."""


class Box(NamedTuple):
    """A box of an mp4 file; the offsets are in bytes from the start of the file."""

    kind: bytes
    start: int
    content: int
    """Where its content begins, behind size and kind."""
    end: int


ReadAt = Callable[[int, int], bytes]
"""Returns the bytes of a file at an offset: offset and count, in bytes. Fewer bytes mean the end of the file."""


def boxes(read: ReadAt, start: int, stop: int, *, trailing: int = 0) -> Iterator[Box]:
    """Yield the boxes that fill a file or a parent box from `start` to `stop`. Raises BadBoxes if they do not.

    Only sizes and kinds are read, each when its box is asked for: 8 bytes, and 8 more for a 64-bit size. `trailing` is
    how many bytes behind the last box are passed over.
    """
    for _ in range(BOXES_LIMIT):
        if stop - start <= trailing:
            return
        size, kind = _unpacked(">I4s", read(start, 8))
        content = start + 8
        if size == 1:
            (size,) = _unpacked(">Q", read(content, 8))
            content += 8
        end = start + size if size else stop
        if not content <= end <= stop:
            raise BadBoxes
        yield Box(kind, start, content, end)
        start = end
    raise BadBoxes


def _unpacked(layout: str, data: bytes) -> tuple[Any, ...]:
    if len(data) < struct.calcsize(layout):
        raise BadBoxes
    return struct.unpack(layout, data)
