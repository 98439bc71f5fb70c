"""Reads the header of a clip on disk: its duration, its frames, its size in pixels (ISO/IEC 14496-12).

Nothing is decoded. The file may be hostile: what is no whole mp4 file is refused, and only the header is read.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

from kinetics.errors import MayWorkLater
from kinetics.media.boxes import Box, ReadAt, boxes
from kinetics.records import Category

PARENTS = {b"mdia": b"trak", b"minf": b"mdia", b"stbl": b"minf"}
"""The boxes of a track that are walked, each with the only parent in which it is; so a hostile nest of boxes has no
effect on the depth of the walk."""
READ_BUFFER = 1 << 14
"""Bytes of a read from disk; enough for the header of a 10 s clip, so that it costs one read."""


@dataclass(frozen=True, slots=True)
class Track:
    """A track of the file; width and height in pixels, 0 for a track without a picture."""

    kind: str
    """Handler type: `vide`, `soun` or another."""
    duration_s: float
    """Presented duration: what an edit list leaves out is not counted."""
    samples: int
    width: float
    height: float
    keyframes: int
    """The most samples from one that can be decoded alone to the next, or to the end."""


@dataclass(frozen=True, slots=True)
class ClipHeader:
    """The facts in the header of a whole file that has a picture."""

    duration_s: float
    """Presented duration of the longest track."""
    picture: Track
    sound: Track | None
    faststart: bool
    """The header precedes the media, so that a player can start after the first bytes."""


def read_header(path: Path) -> ClipHeader:
    """Read a file's header. Raises MayWorkLater if it is no whole mp4 file with a picture, OSError if unreadable."""
    try:
        with open(path, "rb", buffering=READ_BUFFER, opener=_open_nonblocking) as file:
            return _header(file)
    except (ValueError, struct.error):
        raise _media_error("it is cut off, or no mp4 file") from None


def _header(file: BinaryIO) -> ClipHeader:
    size = os.fstat(file.fileno()).st_size
    if not size:
        raise _media_error("it is empty")
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
        raise _media_error("it has no picture")
    sound = next((track for track in tracks if track.kind == "soun"), None)
    order = [kind for kind in kinds if kind in (b"moov", b"mdat")]
    return ClipHeader(_seconds(duration, scale), picture, sound, faststart=order == [b"moov", b"mdat"])


def _track(read: ReadAt, trak: Box, scale: int) -> Track:
    kind, duration, samples, width, height = "", 0, 0, 0, 0
    keyframes: Sequence[int] | None = None
    parents = [trak]
    while parents:
        parent = parents.pop()
        for box in boxes(read, parent.content, parent.end):
            if PARENTS.get(box.kind) == parent.kind:
                parents.append(box)
            elif box.kind == b"tkhd":
                duration = _duration(read(box.content, 36), 20, 28)
                width, height = struct.unpack(">II", read(box.end - 8, 8))
            elif box.kind == b"hdlr":
                kind = read(box.content + 8, 4).decode("latin-1")
            elif box.kind in (b"stsz", b"stz2"):
                (samples,) = struct.unpack(">I", read(box.content + 8, 4))
            elif box.kind == b"stss":
                (count,) = struct.unpack(">I", read(box.content + 4, 4))
                numbers = read(box.content + 8, min(4 * count, box.end - box.content - 8))
                keyframes = struct.unpack(f">{len(numbers) // 4}I", numbers[: len(numbers) & ~3])
    longest = _longest_distance(keyframes, samples)
    return Track(kind, _seconds(duration, scale), samples, width / 65536, height / 65536, longest)


def _longest_distance(keyframes: Sequence[int] | None, samples: int) -> int:
    """Return the most samples from a keyframe to the next one, or to the end; without a list all are keyframes."""
    if keyframes is None:
        return min(1, samples)
    return max((after - before for before, after in pairwise([1, *keyframes, samples + 1])), default=samples)


def _clock(mvhd: bytes) -> tuple[int, int]:
    """Return the ticks of a second and the duration in ticks, from the content of an `mvhd` box."""
    (scale,) = struct.unpack_from(">I", mvhd, 20 if mvhd[:1] != b"\0" else 12)
    return scale, _duration(mvhd, 16, 24)


def _duration(box: bytes, short_at: int, long_at: int) -> int:
    """Return a box's duration in ticks; a box of another version than 0 has 64-bit numbers, so another offset."""
    (ticks,) = struct.unpack_from(">Q", box, long_at) if box[:1] != b"\0" else struct.unpack_from(">I", box, short_at)
    return int(ticks)


def _seconds(ticks: int, scale: int) -> float:
    return ticks / scale if scale else 0.0


def _read(file: BinaryIO, start: int, count: int) -> bytes:
    file.seek(start)
    return file.read(count)


def _open_nonblocking(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # opening a pipe would wait for its writer


def _media_error(reason: str) -> MayWorkLater:
    return MayWorkLater(Category.MEDIA_ERROR, reason)
