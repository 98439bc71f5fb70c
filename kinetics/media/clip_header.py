"""What the header of a clip on disk says: how long it is, how many frames. Nothing is decoded.

The file may be anything: what makes no sense is named, and nothing beyond the file is read (ISO/IEC 14496-12).
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

from kinetics.errors import MayWorkLater
from kinetics.media.boxes import Box, ReadAt, boxes
from kinetics.records import Category

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
    read = partial(_read, file)
    kinds, traks, scale, duration = [], list[Box](), 0, 0
    for box in boxes(read, 0, size):
        kinds.append(box.kind)
        for part in boxes(read, box.content, box.end) if box.kind == b"moov" else ():
            if part.kind == b"mvhd":
                scale, duration = _clock(read(part.content, 32))
            elif part.kind == b"trak":
                traks.append(part)
    tracks = [_track(read, trak, scale) for trak in traks]
    pictures = [track for track in tracks if track.width and track.height]
    picture = max(pictures, key=lambda track: min(track.width, track.height), default=None)
    if picture is None or b"mdat" not in kinds:
        raise _unfit("it has no picture")
    sound = next((track for track in tracks if track.kind == "soun"), None)
    main = [kind for kind in kinds if kind in (b"moov", b"mdat")]
    return Header(_seconds(duration, scale), picture, sound, media_behind=main == [b"moov", b"mdat"])


def _track(read: ReadAt, trak: Box, scale: int) -> Track:
    kind, duration, samples, width, height = "", 0, 0, 0, 0
    parents = [trak]
    while parents:
        parent = parents.pop()
        for box in boxes(read, parent.content, parent.end):
            if PARENTS.get(box.kind) == parent.kind:
                parents.append(box)
            elif box.kind == b"tkhd":
                duration = _length(read(box.content, 36), 20, 28)
                width, height = struct.unpack(">II", read(box.end - 8, 8))
            elif box.kind == b"hdlr":
                kind = read(box.content + 8, 4).decode("latin-1")
            elif box.kind in (b"stsz", b"stz2"):
                (samples,) = struct.unpack(">I", read(box.content + 8, 4))
    return Track(kind, _seconds(duration, scale), samples, width / 65536, height / 65536)


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
