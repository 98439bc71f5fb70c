"""Ways to spoil a media file: its bytes in, those that are served in their place out."""

from __future__ import annotations

import random
import struct

from tests.youtube.boxes import Box, boxes
from tests.youtube.videos import MediaFile, Spoil


def first_half(data: bytes) -> bytes:
    """A file that was never written to its end, and does not know it."""
    return data[: len(data) // 2]


def another_file(file: MediaFile) -> Spoil:
    """That file in its place."""
    return lambda _: file.path.read_bytes()


def noise(data: bytes) -> bytes:
    return random.Random(len(data)).randbytes(len(data))


def zeros(data: bytes) -> bytes:
    return bytes(len(data))


def noise_for_samples(data: bytes) -> bytes:
    """Headers that are right in all they say, and nothing of what they say it about."""
    spoilt = bytearray(data)
    for box in boxes(data):
        if box.name == "mdat":
            spoilt[box.start + 8 : box.end] = noise(data[box.start + 8 : box.end])
    return bytes(spoilt)


def noise_behind_the_index(data: bytes) -> bytes:
    """A fragmented file whose fragments are none."""
    end = _box(data, "sidx").end
    return data[:end] + noise(data[end:])


def playlist(*urls: str) -> bytes:
    """An HLS playlist, for those who would follow one."""
    pieces = [f"#EXTINF:20,\n{url}" for url in urls]
    return "\n".join(["#EXTM3U", "#EXT-X-TARGETDURATION:20", *pieces, "#EXT-X-ENDLIST", ""]).encode()


def header_that_claims(size: int) -> Spoil:
    """A `moov` that says it has that many bytes, and has not."""

    def spoil(data: bytes) -> bytes:
        start = _box(data, "moov").start
        return data[:start] + struct.pack(">I", size) + data[start + 4 :]

    return spoil


def long_header(size: int) -> Spoil:
    """A fragmented file whose `moov` really has that many bytes, most of them padding."""

    def spoil(data: bytes) -> bytes:
        moov = _box(data, "moov")
        missing = size - (moov.end - moov.start)
        padding = struct.pack(">I4s", missing, b"free") + bytes(missing - 8)
        return header_that_claims(size)(data[: moov.end]) + padding + data[moov.end :]

    return spoil


def index_outside_the_file(data: bytes) -> bytes:
    """A `sidx` whose fragments begin where the file ends."""
    start = _box(data, "sidx").start
    place, form = (start + 28, ">Q") if data[start + 8] else (start + 24, ">I")
    (offset,) = struct.unpack_from(form, data, place)
    moved = struct.pack(form, offset + len(data))
    return data[:place] + moved + data[place + len(moved) :]


def _box(data: bytes, name: str) -> Box:
    return next(box for box in boxes(data) if box.name == name)
