"""The walker of mp4 boxes: every box of a sound file, and nothing that a wrong size claims."""

from __future__ import annotations

import io
import struct

import pytest

from kinetics.media.boxes import BOXES_LIMIT, BadBoxes, Box, boxes


def box(kind: bytes, content: bytes = b"") -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind) + content


def long_box(kind: bytes, content: bytes = b"", size: int | None = None) -> bytes:
    return struct.pack(">I4sQ", 1, kind, 16 + len(content) if size is None else size) + content


class File:
    """A file in memory that counts the bytes read from it."""

    def __init__(self, data: bytes) -> None:
        self.data = io.BytesIO(data)
        self.reads = list[tuple[int, int]]()

    def __call__(self, offset: int, count: int) -> bytes:
        self.reads.append((offset, count))
        self.data.seek(offset)
        return self.data.read(count)


def walked(data: bytes, start: int = 0, stop: int | None = None, trailing: int = 0) -> list[Box]:
    return list(boxes(File(data), start, len(data) if stop is None else stop, trailing=trailing))


def test_boxes_follow_one_another() -> None:
    assert walked(box(b"ftyp", b"isom") + box(b"free") + box(b"mdat", bytes(9))) == [
        Box(b"ftyp", 0, 8, 12),
        Box(b"free", 12, 20, 20),
        Box(b"mdat", 20, 28, 37),
    ]


def test_an_empty_parent_has_none() -> None:
    assert walked(b"") == []


def test_a_size_may_have_64_bits() -> None:
    assert walked(long_box(b"mdat", b"abc") + box(b"free")) == [Box(b"mdat", 0, 16, 19), Box(b"free", 19, 27, 27)]


def test_size_0_reaches_to_the_end_of_the_parent() -> None:
    data = box(b"free") + struct.pack(">I4s", 0, b"mdat") + bytes(99)
    assert walked(data)[-1] == Box(b"mdat", 8, 16, len(data))
    assert walked(data, stop=50)[-1] == Box(b"mdat", 8, 16, 50)


def test_the_boxes_of_a_parent_are_walked_from_its_content() -> None:
    data = box(b"free") + box(b"moov", box(b"mvhd", bytes(5)) + box(b"trak")) + box(b"mdat")
    moov = walked(data)[1]
    assert [child.kind for child in walked(data, moov.content, moov.end)] == [b"mvhd", b"trak"]


@pytest.mark.parametrize(
    "data",
    [
        struct.pack(">I4s", 7, b"free") + bytes(9),
        struct.pack(">I4s", 18, b"free") + bytes(9),
        struct.pack(">I4s", 0xFFFFFFFF, b"free"),
        long_box(b"free", size=0x7FFFFFFFFFFFFFFF),
        long_box(b"free", size=0xFFFFFFFFFFFFFFFF),
        long_box(b"free", size=15),
        struct.pack(">I4s", 1, b"free"),
        struct.pack(">I4sI", 1, b"free", 16),
        box(b"free") + bytes(7),
        b"\0",
    ],
)
def test_a_size_that_cannot_be_is_refused(data: bytes) -> None:
    with pytest.raises(BadBoxes):
        walked(data)


def test_a_box_longer_than_its_parent_is_refused_though_the_file_goes_on() -> None:
    with pytest.raises(BadBoxes):
        walked(box(b"free", bytes(8)) + bytes(99), stop=15)


def test_what_is_behind_the_last_box_is_passed_over_only_if_asked_for() -> None:
    data = box(b"free") + bytes(7)
    assert walked(data, trailing=7) == [Box(b"free", 0, 8, 8)]
    with pytest.raises(BadBoxes):
        walked(data, trailing=6)


def test_a_parent_has_a_limited_number_of_boxes() -> None:
    fewest = box(b"free") * BOXES_LIMIT
    assert len(walked(fewest[8:])) == BOXES_LIMIT - 1
    file = File(fewest * 100)
    with pytest.raises(BadBoxes):
        list(boxes(file, 0, 8 * 100 * BOXES_LIMIT))
    assert len(file.reads) == BOXES_LIMIT


def test_only_sizes_and_kinds_are_read_and_only_of_the_boxes_asked_for() -> None:
    file = File(box(b"ftyp", bytes(100)) + long_box(b"mdat", bytes(100)) + box(b"moov", bytes(100)))
    walk = boxes(file, 0, 332)
    assert file.reads == []
    next(walk)
    assert file.reads == [(0, 8)]
    next(walk)
    assert file.reads == [(0, 8), (108, 8), (116, 8)]
