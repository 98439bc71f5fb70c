"""Reads a remote mp4 file's header: where it ends, and which bytes hold which seconds. Only the header is fetched.

How many bytes a header may make us fetch is limited in boxes.py.
"""

from __future__ import annotations

import math
import struct
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice

from kinetics.errors import MayWorkLater
from kinetics.media.boxes import BOXES_LIMIT, HEADER_GUESS_LIMIT, MOOV_LIMIT, SIDX_LIMIT, BadBoxes, Box, boxes
from kinetics.net.range_file import MediaFile
from kinetics.records import Category

MIN_SKIPPED_BYTES = 1 << 14
"""Bytes at a fragment's end that are worth leaving out: fewer are fetched too, since a wrong guess costs a request."""
MIN_INDEXED_SHARE = 0.95
"""Share of the file that a fragment index must cover; one that covers less is one of several, and is passed over."""


@dataclass(frozen=True, slots=True)
class Fragment:
    """An entry of a fragment index; times in seconds, offset and size in bytes."""

    time_s: Fraction
    duration_s: Fraction
    offset: int
    size: int

    def bytes_until(self, until_s: Fraction, keyframe_share: float) -> int:
        """Estimate how many bytes hold what shows before `until_s`, of which the first keyframe takes that share."""
        share = float((until_s - self.time_s) / self.duration_s) if self.duration_s else 1.0
        guess = math.ceil(self.size * (share + keyframe_share * (1.0 - share))) + 4096
        return guess if self.size - guess > MIN_SKIPPED_BYTES else self.size


@dataclass(frozen=True, slots=True)
class FragmentIndex:
    """Where a file's header and its fragments are; no fragments if it has none or does not list them all."""

    stop: int
    """Offset of the first byte behind the header."""
    init: bytes
    """Initialisation segment of a fragmented file; empty for a file without fragments."""
    fragments: tuple[Fragment, ...] = ()


class HeaderSizes:
    """Guesses the length of a progressive file's header from those of the files before it.

    Such a header lists every sample, so it grows with the video, depending on frame rate and interleaving. Too short a
    guess costs a request; too long a one may cost more bytes than the section itself.
    """

    FIXED = 1 << 10
    """Bytes of a header that do not grow with the video."""
    FIRST_GUESS = 1100
    """Bytes a second of video before any header was read."""
    MARGIN = 1.01
    """Factor on the largest of the remembered headers."""
    MEMORY = 8
    """Headers remembered: the guess adapts after this number of smaller ones."""

    def __init__(self) -> None:
        self._bytes_per_s: deque[float] = deque(maxlen=self.MEMORY)

    def guess(self, duration_s: float | None) -> int:
        """Return how many bytes to fetch for the header of a video of that duration."""
        bytes_per_s = max(self._bytes_per_s) * self.MARGIN if self._bytes_per_s else self.FIRST_GUESS
        return 2 * self.FIXED + min(math.ceil(bytes_per_s * (duration_s or 0)), HEADER_GUESS_LIMIT)

    def learn(self, duration_s: float | None, size: int) -> None:
        if duration_s:
            self._bytes_per_s.append(max(0, size - self.FIXED) / duration_s)


def fragment_index(file: MediaFile, header_guess: int) -> FragmentIndex:
    """Fetch a file's header, of which the first request brings `header_guess` bytes, and read its fragment index.

    Raises MayWorkLater if it is no whole mp4 file, or claims a header beyond the limits in boxes.py.
    """
    file.prefetch(0, header_guess)
    moov: tuple[int, int] | None = None
    for kind, start, _, stop in _top_boxes(file):
        if kind == b"sidx" and moov and stop - start <= SIDX_LIMIT:
            fragments = _fragments(_read(file, start, stop), stop)
            if fragments and fragments[-1].offset + fragments[-1].size >= MIN_INDEXED_SHARE * file.size:
                return FragmentIndex(stop, _read(file, 0, moov[1]), fragments)
        if kind == b"moov":
            moov = start, stop
            if stop - start > MOOV_LIMIT:
                raise MayWorkLater(Category.MEDIA_ERROR, f"the header claims {stop - start:,} bytes")
            file.prefetch(start, stop + 16)
        if kind == b"moof" and moov:
            return FragmentIndex(start, _read(file, 0, moov[1]))
        if kind == b"mdat" and moov:
            break
    if moov is None:
        raise MayWorkLater(Category.MEDIA_ERROR, "this is no mp4 file: it has no moov box")
    return FragmentIndex(moov[1], b"")


def _top_boxes(file: MediaFile) -> Iterator[Box]:
    """Yield the boxes of a file, BOXES_LIMIT at most: what comes later is left to the demuxer.

    A few bytes behind the last box, fewer than a box's header has, are ignored, as demuxers do.
    """

    def read(offset: int, count: int) -> bytes:
        return _read(file, offset, offset + count)

    try:
        yield from islice(boxes(read, 0, file.size, trailing=7), BOXES_LIMIT)
    except BadBoxes:
        raise MayWorkLater(Category.MEDIA_ERROR, "this is no mp4 file, or it is cut off") from None


def _fragments(box: bytes, anchor: int) -> tuple[Fragment, ...]:
    """Read a sidx box (ISO/IEC 14496-12, 8.16.3); empty if it lists other indices rather than fragments.

    Its offsets count from `anchor`, the first byte behind it.
    """
    version = box[8]
    (scale,) = struct.unpack_from(">I", box, 16)
    time, offset = struct.unpack_from(">QQ" if version else ">II", box, 20)
    entries = 40 if version else 32
    (count,) = struct.unpack_from(">H", box, entries - 2)
    if not scale or len(box) < entries + 12 * count:
        raise MayWorkLater(Category.MEDIA_ERROR, "the fragment index makes no sense")
    position = anchor + offset
    found = []
    for number in range(count):
        size, duration, _ = struct.unpack_from(">III", box, entries + 12 * number)
        if size >> 31:
            return ()
        found.append(Fragment(Fraction(time, scale), Fraction(duration, scale), position, size))
        time, position = time + duration, position + size
    return tuple(found)


def _read(file: MediaFile, start: int, stop: int) -> bytes:
    file.prefetch(start, stop)
    file.seek(start)
    data = b""
    while len(data) < stop - start:
        piece = file.read(stop - start - len(data))
        if not piece:
            raise MayWorkLater(Category.MEDIA_ERROR, "the header is cut off")
        data += piece
    return data
