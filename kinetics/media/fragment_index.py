"""An mp4 file's header: where its parts lie, and which bytes hold which seconds. Only the header is fetched."""

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
from kinetics.net.range_file import RangeFile
from kinetics.records import Category

WORTH_LEAVING = 1 << 14
"""A fragment's tail of fewer bytes is fetched too: a wrong guess would cost a request of its own."""
WHOLE_SHARE = 0.95
"""An index that ends before that part of the file is one of many, each of some fragments."""


@dataclass(frozen=True, slots=True)
class Fragment:
    """One entry of a fragment index; times in seconds, sizes and offsets in bytes."""

    time_s: Fraction
    duration_s: Fraction
    offset: int
    size: int

    def part(self, until_s: Fraction, keyframe_share: float) -> int:
        """About how many bytes hold what is shown before `until_s`; a keyframe at the front weighs more."""
        share = float((until_s - self.time_s) / self.duration_s) if self.duration_s else 1.0
        guess = math.ceil(self.size * (share + keyframe_share * (1.0 - share))) + 4096
        return guess if self.size - guess > WORTH_LEAVING else self.size


@dataclass(frozen=True, slots=True)
class FragmentIndex:
    """A file's header, and where its fragments are: none where it does not list them all, or has none."""

    stop: int
    """Where the header ends."""
    init: bytes
    """The initialisation segment of a fragmented file; empty for a file that has no fragments."""
    fragments: tuple[Fragment, ...] = ()


class HeaderSizes:
    """How long the headers of progressive files are, learnt from those that were read, for a guess at the next one's.

    Such a header lists every sample, so it grows with the video, as much as frame rate and interleaving make it: too
    short a guess costs a request, too long a one more bytes than the section itself may have.
    """

    FIXED, FIRST_GUESS, MARGIN, MEMORY = 1 << 10, 1100, 1.01, 8

    def __init__(self) -> None:
        self._a_second: deque[float] = deque(maxlen=self.MEMORY)

    def guess(self, duration_s: float | None) -> int:
        """So many bytes hold the header of a file of that length."""
        a_second = max(self._a_second) * self.MARGIN if self._a_second else self.FIRST_GUESS
        return 2 * self.FIXED + min(math.ceil(a_second * (duration_s or 0)), HEADER_GUESS_LIMIT)

    def learn(self, duration_s: float | None, size: int) -> None:
        if duration_s:
            self._a_second.append(max(0, size - self.FIXED) / duration_s)


def fragment_index(file: RangeFile, header_guess: int) -> FragmentIndex:
    """Fetch a file's header, whichever shape it has, and read its fragment index."""
    file.prefetch(0, header_guess)
    moov: tuple[int, int] | None = None
    for kind, start, _, stop in _top_boxes(file):
        if kind == b"sidx" and moov and stop - start <= SIDX_LIMIT:
            fragments = _fragments(_read(file, start, stop), stop)
            if fragments and fragments[-1].offset + fragments[-1].size >= WHOLE_SHARE * file.size:
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


def _top_boxes(file: RangeFile) -> Iterator[Box]:
    """Yield the boxes of a file until the end, or until there are too many: the demuxer may know better then."""

    def read(offset: int, count: int) -> bytes:
        return _read(file, offset, offset + count)

    try:
        yield from islice(boxes(read, 0, file.size, trailing=7), BOXES_LIMIT)
    except BadBoxes:
        raise MayWorkLater(Category.MEDIA_ERROR, "this is no mp4 file, or it is cut off") from None


def _fragments(box: bytes, anchor: int) -> tuple[Fragment, ...]:
    """Read a sidx box (ISO/IEC 14496-12, 8.16.3); empty if it indexes other indices rather than fragments."""
    version = box[8]
    (scale,) = struct.unpack_from(">I", box, 16)
    time, offset = struct.unpack_from(">QQ" if version else ">II", box, 20)
    entries = 40 if version else 32
    (count,) = struct.unpack_from(">H", box, entries - 2)
    if not scale or len(box) < entries + 12 * count:
        raise MayWorkLater(Category.MEDIA_ERROR, "the fragment index makes no sense")
    place = anchor + offset
    found = []
    for number in range(count):
        size, duration, _ = struct.unpack_from(">III", box, entries + 12 * number)
        if size >> 31:
            return ()
        found.append(Fragment(Fraction(time, scale), Fraction(duration, scale), place, size))
        time, place = time + duration, place + size
    return tuple(found)


def _read(file: RangeFile, start: int, stop: int) -> bytes:
    file.prefetch(start, stop)
    file.seek(start)
    data = b""
    while len(data) < stop - start:
        piece = file.read(stop - start - len(data))
        if not piece:
            raise MayWorkLater(Category.MEDIA_ERROR, "the header is cut off")
        data += piece
    return data
