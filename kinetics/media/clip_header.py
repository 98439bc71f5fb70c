"""What the header of a clip on disk says: how long it is, how many frames. Nothing is decoded.

The file may be anything: what makes no sense is named, and nothing beyond the file is read (ISO/IEC 14496-12).
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from kinetics.errors import MayWorkLater
from kinetics.records import Category

BOXES_LIMIT = 64
"""Our files have eight at most in one place."""
PARENTS = {b"mdia": b"trak", b"minf": b"mdia", b"stbl": b"minf"}
"""Where what we look for in a track is; nothing is looked for deeper, however deep the boxes go."""
READ_AT_ONCE = 1 << 14
"""That holds the header of a clip of 10 s."""


@dataclass(frozen=True, slots=True)
class Track:
    """A stream of the file; width and height in pixels, 0 where there is no picture."""

    kind: str
    """`vide`, `soun` or another handler."""
    duration_s: float
    """As it is shown: what an edit list leaves out is not counted."""
    samples: int
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Header:
    """What is said of a whole file that has a picture."""

    duration_s: float
    """Of the longest track, as it is shown."""
    picture: Track
    sound: Track | None
    media_behind: bool
    """The header stands in front of the media, so that a player can begin with the first bytes."""


def read_header(path: Path) -> Header:
    """Raises MayWorkLater where this is no whole mp4 file with a picture, OSError where it is unreadable."""
    try:
        with open(path, "rb", buffering=READ_AT_ONCE, opener=_without_waiting) as file:
            return _header(file)
    except (ValueError, struct.error):
        raise _unfit("it is cut off, or no mp4 file") from None


def _header(file: BinaryIO) -> Header:
    size = os.fstat(file.fileno()).st_size
    if not size:
        raise _unfit("it is empty")
    kinds, traks, scale, duration = [], list[tuple[int, int]](), 0, 0
    for kind, start, stop in _boxes(file, 0, size):
        kinds.append(kind)
        for part, first, last in _boxes(file, start, stop) if kind == b"moov" else ():
            if part == b"mvhd":
                scale, duration = _clock(_read(file, first, 32))
            elif part == b"trak":
                traks.append((first, last))
    tracks = [_track(file, first, last, scale) for first, last in traks]
    pictures = [track for track in tracks if track.width and track.height]
    picture = max(pictures, key=lambda track: min(track.width, track.height), default=None)
    if picture is None or b"mdat" not in kinds:
        raise _unfit("it has no picture")
    sound = next((track for track in tracks if track.kind == "soun"), None)
    main = [kind for kind in kinds if kind in (b"moov", b"mdat")]
    return Header(_seconds(duration, scale), picture, sound, media_behind=main == [b"moov", b"mdat"])


def _track(file: BinaryIO, start: int, stop: int, scale: int) -> Track:
    kind, duration, samples, width, height = "", 0, 0, 0, 0
    places = [(b"trak", start, stop)]
    while places:
        parent, begin, end = places.pop()
        for box, first, last in _boxes(file, begin, end):
            if PARENTS.get(box) == parent:
                places.append((box, first, last))
            elif box == b"tkhd":
                duration = _length(_read(file, first, 36), 20, 28)
                width, height = struct.unpack(">II", _read(file, last - 8, 8))
            elif box == b"hdlr":
                kind = _read(file, first + 8, 4).decode("latin-1")
            elif box in (b"stsz", b"stz2"):
                (samples,) = struct.unpack(">I", _read(file, first + 8, 4))
    return Track(kind, _seconds(duration, scale), samples, width / 65536, height / 65536)


def _boxes(file: BinaryIO, place: int, stop: int) -> Iterator[tuple[bytes, int, int]]:
    """The boxes that fill a part of a file: kind, where the content begins, and its end. ValueError if they do not."""
    for _ in range(BOXES_LIMIT):
        if place == stop:
            return
        size, kind = struct.unpack(">I4s", _read(file, place, 8))
        content = place + 8
        if size == 1:
            (size,) = struct.unpack(">Q", _read(file, content, 8))
            content += 8
        end = place + size if size else stop
        if not content <= end <= stop:
            raise ValueError
        yield kind, content, end
        place = end
    raise ValueError


def _clock(mvhd: bytes) -> tuple[int, int]:
    """The ticks of a second, in which the whole file and its tracks are measured, and how many the file lasts."""
    (scale,) = struct.unpack_from(">I", mvhd, 20 if mvhd[:1] != b"\0" else 12)
    return scale, _length(mvhd, 16, 24)


def _length(box: bytes, short_at: int, long_at: int) -> int:
    """A length at one of two places: a box of another version than 0 has longer numbers."""
    (ticks,) = struct.unpack_from(">Q", box, long_at) if box[:1] != b"\0" else struct.unpack_from(">I", box, short_at)
    return int(ticks)


def _seconds(ticks: int, scale: int) -> float:
    return ticks / scale if scale else 0.0


def _read(file: BinaryIO, start: int, count: int) -> bytes:
    file.seek(start)
    return file.read(count)


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # for somebody at the other end, if it is a pipe


def _unfit(reason: str) -> MayWorkLater:
    return MayWorkLater(Category.MEDIA_ERROR, reason)
