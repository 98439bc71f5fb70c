"""Every reader sees the same frames in a clip, in turn and at random: the numbers in the pictures tell."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from kinetics.media.cut import cut_exact, cut_keyframe, cut_smart
from tests.support.cutting import VARIANTS, Cutter, Disk, Shape, inputs_of
from tests.youtube.picture import read_counter

SECTIONS = ((3.3, 4.8), (8.51, 10.49), (0.0, 1.5))
FEWER = 1
"""Of them, for all but the usual kind of video."""
PICKED = 8
"""Frames of each clip that are read at random: seeking to each takes as long as to read half of the clip."""
NAMES = ("usual", "29.97", "variable frame rate", "begins at pts 1024", "no B-frames", "silent")


def with_pyav(path: Path) -> list[int]:
    with av.open(str(path)) as clip:
        return [read_counter(frame.to_ndarray(format="gray")) for frame in clip.decode(video=0)]


def with_ffmpeg(path: Path) -> list[int]:
    program = pytest.importorskip("imageio_ffmpeg").get_ffmpeg_exe()
    command = [
        program,
        "-v",
        "error",
        "-i",
        str(path),
        "-fps_mode",
        "passthrough",
        "-f",
        "rawvideo",
        "-pix_fmt",
        "gray",
        "-",
    ]
    ended = subprocess.run(command, capture_output=True, check=True)
    assert not ended.stderr, "ffmpeg complains of the file"
    return [read_counter(picture) for picture in np.frombuffer(ended.stdout, np.uint8).reshape(-1, 360, 640)]


def with_opencv(path: Path) -> list[int]:
    clip = pytest.importorskip("cv2").VideoCapture(str(path))
    found = []
    while (read := clip.read())[0]:
        found.append(read_counter(read[1]))
    return found


def with_decord(path: Path) -> list[int]:
    clip = pytest.importorskip("decord").VideoReader(str(path), num_threads=1)
    counters = [read_counter(picture) for picture in clip.get_batch(range(len(clip))).asnumpy()]
    assert_at_random(counters, lambda index: clip[index].asnumpy())
    return counters


def with_torchcodec(path: Path) -> list[int]:
    try:
        from torchcodec.decoders import VideoDecoder  # noqa: PLC0415 - not everywhere, and it looks for FFmpeg itself
    except (ImportError, RuntimeError, OSError) as error:
        pytest.skip(f"torchcodec cannot be used here: {str(error)[:80]}")
    clip = VideoDecoder(str(path), num_ffmpeg_threads=1)
    counters = [read_counter(picture.permute(1, 2, 0).numpy()) for picture in clip]
    assert_at_random(counters, lambda index: clip[index].permute(1, 2, 0).numpy())
    return counters


def assert_at_random(counters: list[int], picture: Callable[[int], Any]) -> None:
    """Frames read in no order, as a loader for training does, are those read in turn: else an index is off."""
    places = np.random.default_rng(1).permutation(len(counters))[:PICKED].tolist()
    assert [read_counter(picture(place)) for place in places] == [counters[place] for place in places]


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, list[int]]:
    """Clips of every kind, and the numbers of the frames that each should have."""
    folder, made = tmp_path_factory.mktemp("clips"), dict[Path, list[int]]()
    shapes: tuple[Shape, ...] = ("progressive", "dash")
    cutters: tuple[Cutter, ...] = (cut_smart, cut_exact, cut_keyframe)
    for place, name in enumerate(NAMES):
        usual = name == "usual"
        for number, (start_s, end_s) in enumerate(SECTIONS if usual else SECTIONS[:FEWER]):
            for cut in cutters if usual else cutters[:1]:
                path = folder / f"{name}-{number}-{cut.__name__}.mp4"
                video = VARIANTS[name]
                cut(inputs_of(video, shapes[(place + number) % 2], Disk()), start_s, end_s, path)
                frames = range(video.frame_at(start_s), video.frame_at(end_s))
                made[path] = with_pyav(path) if cut is cut_keyframe else list(frames)
    return made


@pytest.mark.parametrize("read", [with_pyav, with_ffmpeg, with_opencv, with_decord, with_torchcodec])
def test_a_reader_sees_every_frame_of_every_clip_in_its_place(
    read: Callable[[Path], list[int]], clips: dict[Path, list[int]]
) -> None:
    for path, frames in clips.items():
        assert frames == list(range(frames[0], frames[0] + len(frames)))
        assert read(path) == frames, path.name
