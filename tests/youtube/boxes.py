"""The outermost structure of media files: mp4 boxes, the DASH segment index, and the top of a WebM segment."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

CUES, CLUSTER, SEGMENT = 0x1C53BB6B, 0x1F43B675, 0x18538067


class Box(NamedTuple):
    """A box or element: its name, where it begins, and where it ends (the offset after its last byte)."""

    name: str
    start: int
    end: int


class Fragment(NamedTuple):
    """One entry of a segment index: where the fragment begins in the file, its bytes, and its time in seconds."""

    start: int
    size: int
    time_s: float
    duration_s: float
    starts_with_keyframe: bool


def boxes(data: bytes) -> list[Box]:
    """The top-level boxes of an mp4 file, in order."""
    found, at = [], 0
    while at < len(data):
        size, name = struct.unpack_from(">I4s", data, at)
        if size == 1:
            (size,) = struct.unpack_from(">Q", data, at + 8)
        found.append(Box(name.decode("latin-1"), at, at + size))
        at += size
    return found


def segment_index(data: bytes) -> list[Fragment]:
    """The fragments that the first `sidx` box lists. Raises StopIteration where there is none."""
    sidx = next(box for box in boxes(data) if box.name == "sidx")
    version, timescale = data[sidx.start + 8], struct.unpack_from(">I", data, sidx.start + 16)[0]
    (time, offset), at = (
        (struct.unpack_from(">II", data, sidx.start + 20), sidx.start + 28)
        if version == 0
        else (struct.unpack_from(">QQ", data, sidx.start + 20), sidx.start + 36)
    )
    (count,) = struct.unpack_from(">xxH", data, at)
    start, found = sidx.end + offset, []
    for size, duration, access in struct.iter_unpack(">III", data[at + 4 : at + 4 + 12 * count]):
        found.append(Fragment(start, size & 0x7FFFFFFF, time / timescale, duration / timescale, bool(access >> 31)))
        start, time = start + size, time + duration
    return found


def mp4_ranges(data: bytes) -> tuple[tuple[int, int], tuple[int, int]]:
    """The byte ranges (first, last) of the initialisation and of the index, as a player reply names them."""
    sidx = next(box for box in boxes(data) if box.name == "sidx")
    return (0, sidx.start - 1), (sidx.start, sidx.end - 1)


def webm_ranges(data: bytes) -> tuple[tuple[int, int], tuple[int, int]]:
    """The same for WebM: everything before the cues, and the cues. Raises StopIteration where they are not in front."""
    cues = next(element for element in elements(data) if element.name == f"{CUES:x}")
    return (0, cues.start - 1), (cues.start, cues.end - 1)


def elements(data: bytes) -> Iterator[Box]:
    """The EBML header and the children of the first segment; each name is the element's id in hexadecimal."""
    at = 0
    while at < len(data):
        id_length = 9 - data[at].bit_length()
        size_length = 9 - data[at + id_length].bit_length()
        identity = int.from_bytes(data[at : at + id_length])
        body = at + id_length + size_length
        size = int.from_bytes(data[at + id_length : body]) & ((1 << 7 * size_length) - 1)
        end = body if identity == SEGMENT else body + size
        yield Box(f"{identity:x}", at, end)
        at = end
