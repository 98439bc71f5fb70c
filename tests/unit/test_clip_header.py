"""What the header of a file says is what decoding it finds; and whatever the file is, it costs little to look."""

from __future__ import annotations

import os
import struct
import tracemalloc
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kinetics.errors import MayWorkLater
from kinetics.media import clip_header as header
from kinetics.media.check import read_facts
from kinetics.media.clip_header import read_header
from kinetics.records import Category
from tests.support.dataset import PLAIN, ROTATED, SILENT, UPRIGHT
from tests.youtube.videos import Video

MEMORY = 1 << 18
"""Of a look at a header: far more than 16 KiB of buffer and some numbers, far less than a file."""


def box(kind: bytes, *content: bytes) -> bytes:
    data = b"".join(content)
    return struct.pack(">I4s", 8 + len(data), kind) + data


@pytest.fixture(scope="module")
def plain() -> bytes:
    return PLAIN.progressive.path.read_bytes()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "clip.mp4"


@pytest.mark.parametrize(
    "video", [PLAIN, SILENT, UPRIGHT, ROTATED, Video(duration_s=2, moving=False, fps=Fraction(30_000, 1001), vfr=True)]
)
def test_it_says_what_decoding_finds(video: Video) -> None:
    path = video.progressive.path
    said, facts = read_header(path), read_facts(path)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.duration and stream.time_base
        assert said.picture.duration_s == pytest.approx(float(stream.duration * stream.time_base), abs=0.001)
        assert said.picture.samples == sum(1 for _ in container.decode(stream)) == len(video.frame_times)
        assert (said.picture.width, said.picture.height) == (stream.width, stream.height)
    assert (said.sound is not None) == video.sound == facts.sound
    assert said.faststart
    assert (facts.size, facts.mtime_ns) == (path.stat().st_size, path.stat().st_mtime_ns)
    assert (facts.frames, facts.duration_s) == (said.picture.samples, said.picture.duration_s)


def test_a_file_that_is_cut_off_is_refused_wherever_it_is_cut(plain: bytes, file: Path) -> None:
    behind_header = plain.index(b"mdat") + 16
    file.write_bytes(plain)
    lengths = [*range(behind_header), *range(behind_header, len(plain), 5003), len(plain) - 1]
    for length in sorted(lengths, reverse=True):
        os.truncate(file, length)
        with pytest.raises(MayWorkLater, match=r"cut off|empty|no picture") as caught:
            read_header(file)
        assert caught.value.category is Category.MEDIA_ERROR


@pytest.mark.parametrize("content", [b"", b"<html>Not found</html>" * 99, bytes(9999), b"\xff" * 9999, box(b"moov")])
def test_what_is_no_clip_is_refused(content: bytes, file: Path) -> None:
    file.write_bytes(content)
    with pytest.raises(MayWorkLater):
        read_header(file)


def test_a_fragmented_file_has_no_frames_in_its_header() -> None:
    with pytest.raises(MayWorkLater, match="no frames"):
        read_facts(PLAIN.dash_video.path)


@pytest.mark.parametrize("make", [Path.mkdir, lambda path: path.symlink_to(path), lambda path: None])
def test_what_cannot_be_read_is_the_systems_error(make: Callable[[Path], None], file: Path) -> None:
    make(file)
    with pytest.raises(OSError, match=str(file)):
        read_header(file)


def test_a_pipe_is_not_waited_for(file: Path) -> None:
    os.mkfifo(file)
    with pytest.raises(MayWorkLater, match="empty"):
        read_header(file)


def looked_at(path: Path) -> int:
    """Take a look, whatever it says; returns the most memory that it took."""
    tracemalloc.start()
    try:
        read_facts(path)
    except MayWorkLater:
        pass
    finally:
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    return most


@given(st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_damage_to_a_header_raises_anything_else_or_takes_memory(
    plain: bytes, file: Path, data: st.DataObject
) -> None:
    content, reach = bytearray(plain[:20_000]), plain.index(b"mdat")
    content[reach - 4 : reach] = struct.pack(">I", len(content) - reach + 4)  # whole, and quick to write
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.integers(0, reach))
        piece = data.draw(st.binary(min_size=1, max_size=8) | st.sampled_from([b"\0\0\0\1", b"\0\0\0\0", b"\xff" * 8]))
        content[place : place + len(piece)] = piece
    file.write_bytes(content[: data.draw(st.just(len(content)) | st.integers(0, len(content)))])
    assert looked_at(file) < MEMORY


def test_boxes_in_boxes_without_end_take_no_memory_and_are_looked_at_once(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Siblings in front of each nested box: what waits to be looked at would grow with the file."""
    nest = b""
    for _ in range(100):
        nest = box(b"mdia", *[box(b"mdia")] * 50, nest)
    file.write_bytes(box(b"moov", *[box(b"trak", nest)] * 20) + box(b"mdat", bytes(9)))
    reads, read = list[int](), header._read
    monkeypatch.setattr(header, "_read", lambda *args: reads.append(1) or read(*args))  # type: ignore[func-returns-value]
    assert looked_at(file) < MEMORY
    assert len(reads) <= file.stat().st_size / 8


def test_only_the_header_is_read_however_large_the_file(plain: bytes, file: Path) -> None:
    io = Path("/proc/self/io")
    if not io.exists():
        pytest.skip("this system does not count what is read")
    size, place = 3 << 30, plain.index(b"mdat") - 4
    file.write_bytes(plain[:place] + struct.pack(">I4sQ", 1, b"mdat", size - place))
    os.truncate(file, size)

    def bytes_read() -> int:
        return int(io.read_text().split()[1])

    before = bytes_read()
    assert read_header(file).picture.samples == len(PLAIN.frame_times)
    assert bytes_read() - before < 1 << 17
