"""Decoders that keep strictly to H.264 show every frame of a smart cut: its parameter sets promise the same buffer.

Where an IDR picture activates a set with another `max_dec_frame_buffering`, a decoder may drop what it has not shown
yet (ITU-T H.264, C.4.4). OpenH264 does so where `max_num_ref_frames` falls. FFmpeg never does.
"""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import pytest

from kinetics.media.cut import cut_smart
from kinetics.media.remote_media import RemoteMedia
from kinetics.net.range_file import RangeFile
from tests.support.cutting import VARIANTS, Disk, Shape, inputs_of, play
from tests.support.h264 import (
    Promise,
    encoded,
    encoded_by_openh264,
    openh264,
    promises,
    record,
    shown_by_openh264,
    without_vui,
)
from tests.support.sweeps import first_of

SECONDS = 4
SECTIONS = ((0.5, 3.43), (0.7, 2.1), (1.0, 2.5))
"""Seconds: both ends are encoded, or one of them; there is a keyframe at each whole second."""


class Sample(NamedTuple):
    params: str = ""
    fps: int = 30
    profile: str = "high"
    joined: bool = True
    """Whether both encodings are in the clips, rather than one for all frames."""
    vui: bool = True


SAMPLES = {
    "as x264 has it": Sample(),
    "no bitstream restriction": Sample(vui=False),
    "B-pyramid": Sample("bframes=8:b-pyramid=normal:ref=4", 60),
    "1 reference": Sample("ref=1:bframes=2:b-pyramid=none", 50),
    "baseline": Sample(profile="baseline", fps=25),
    "main": Sample(profile="main", fps=25),
    "CAVLC": Sample("cabac=0", 60),
    "no B-frames": Sample("bframes=0:ref=3"),
    "8 references": Sample("ref=8:bframes=2", 25),
    "16 references": Sample("ref=16"),
    "open GOP": Sample("open-gop=1:bframes=3:b-adapt=0", joined=False),
    "2 references": Sample("ref=2", 50),
    "3 references": Sample("ref=3:b-pyramid=strict", 25),
    "5 references": Sample("ref=5:bframes=5", 60),
    "6 references": Sample("ref=6", profile="main"),
    "7 references": Sample("ref=7:weightp=2", 50),
    "a high level": Sample("level=51"),
    "no restriction at a high level": Sample("level=42:bframes=2", vui=False),
    "baseline without restriction": Sample("ref=4", profile="baseline", vui=False),
    "more buffering than references": Sample("ref=2:dpb-size=5"),
}
"""60 clips, with the three sections of each."""


class Clip(NamedTuple):
    path: Path
    frames: range
    """The numbers that its frames should have."""
    sample: Sample
    source: set[Promise]


@pytest.fixture(scope="module")
def clips(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[Clip]:
    """The clips of a sample."""
    sample, folder = SAMPLES[request.param], tmp_path_factory.mktemp("clips")
    path, found = folder / "source.mp4", []
    options = {"profile": sample.profile, "x264-params": sample.params}
    content = encoded(path, options, seconds=SECONDS, fps=sample.fps)
    if not sample.vui:
        content = without_vui(path, path := folder / "without.mp4")
    for start_s, end_s in SECTIONS:
        out = folder / f"{start_s}.mp4"
        frames = cut(content, start_s, end_s, out, sample.fps)
        found.append(Clip(out, frames, sample, promises(path)))
    return found


def cut(content: bytes, start_s: float, end_s: float, out: Path, fps: int) -> range:
    """Cut a section, and return the numbers of the frames that it should have."""
    cut_smart([RemoteMedia(RangeFile(Disk({"it": content}), "it"), "mp4", float(SECONDS))], start_s, end_s, out)
    start, stop = (Fraction(str(seconds)) * fps for seconds in (start_s, end_s))
    return range(math.ceil(start), math.ceil(stop))


every_sample = pytest.mark.parametrize("clips", first_of(SAMPLES, 4), indirect=True)


@every_sample
def test_all_parameter_sets_of_a_clip_promise_the_buffer_of_the_source(clips: list[Clip]) -> None:
    for clip in clips:
        assert len(promises(clip.path)) == 1, clip.path
        assert play(clip.path).counters == list(clip.frames), clip.path
    both_ends = clips[0]
    if both_ends.sample.joined:
        assert len(record(both_ends.path).sps) == 2
        assert promises(both_ends.path) == both_ends.source


@pytest.fixture
def _openh264() -> None:
    if openh264() is None:
        pytest.skip("no GStreamer with OpenH264: gst-launch-1.0, openh264dec or openh264enc is missing")


@pytest.mark.usefixtures("_openh264")
@every_sample
def test_openh264_shows_all_frames_of_a_clip(clips: list[Clip]) -> None:
    for clip in clips:
        assert_openh264_shows_all(clip.path, clip.frames)


@pytest.mark.usefixtures("_openh264")
@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("usual", "progressive"),
        *(pytest.param(name, "dash", marks=pytest.mark.soak) for name in VARIANTS if name not in ("vp9", "rotated")),
    ],
)
def test_openh264_shows_all_frames_of_a_clip_from_a_file_like_youtubes(name: str, shape: Shape, tmp_path: Path) -> None:
    video, out = VARIANTS[name], tmp_path / "clip.mp4"
    for start_s, end_s in ((3.3, 5.8), (8.51, 10.49)):
        cut_smart(inputs_of(video, shape, Disk()), start_s, end_s, out)
        assert len(promises(out)) == 1
        assert_openh264_shows_all(out, range(video.frame_at(start_s), video.frame_at(end_s)))


@pytest.mark.usefixtures("_openh264")
def test_openh264_shows_all_frames_of_a_clip_that_it_encoded_itself(tmp_path: Path) -> None:
    content = encoded_by_openh264(tmp_path, seconds=SECONDS, fps=30)
    for start_s, end_s in SECTIONS:
        out = tmp_path / "clip.mp4"
        frames = cut(content, start_s, end_s, out, 30)
        assert promises(out) == promises(tmp_path / "source.mp4")
        assert_openh264_shows_all(out, frames)


WAITING = 2
"""Frames that are decoded but not shown yet when the next keyframe comes: none of the samples reorders more."""


def assert_openh264_shows_all(path: Path, frames: range) -> None:
    """All frames, in any order.

    Before 2.4.1, OpenH264 overwrites pictures that wait where a keyframe is decoded, in any file, and shows a later one
    twice instead (fixed by its pull request 3707). None may be lost, though.
    """
    shown = shown_by_openh264(path)
    assert len(shown) == len(frames), path
    overwritten = {frames[index] - back for index in play(path).keyframes for back in range(1, WAITING + 1)}
    assert set(frames) - set(shown) <= overwritten, path
    assert set(shown) <= set(frames), path
