"""A clip in an mkv or a webm becomes an mp4 with the same frames: copied if an mp4 can hold them, else transcoded."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from kinetics.errors import MayWorkLater
from kinetics.media.check import whole_clip
from kinetics.media.remux import to_mp4
from kinetics.records import Clip
from tests.support.sandbox import frames
from tests.youtube.picture import draw

CLIP = Clip("-_abcDEF012", 7.0, 9.0, "tai chi", "val")
RATE, FRAMES, SOUND_RATE, SOUND_FRAME = 10, 20, 48_000, 960


def film(path: Path, picture: str, sound: str | None = None) -> Path:
    """A matroska file of 2 s with numbered frames."""
    with av.open(str(path), "w", format="matroska") as target:
        video = target.add_stream(picture, rate=RATE)
        assert isinstance(video, av.VideoStream)
        video.width, video.height, video.pix_fmt = 160, 120, "yuv420p"
        audio = target.add_stream(sound, rate=SOUND_RATE) if sound else None
        for frame in pictures():
            target.mux(video.encode(frame))
        target.mux(video.encode(None))
        if audio:
            assert isinstance(audio, av.AudioStream)
            for piece in silence():
                target.mux(audio.encode(piece))
            target.mux(audio.encode(None))
    return path


def pictures() -> Iterator[av.VideoFrame]:
    for number in range(FRAMES):
        luma = np.concatenate([draw(number, 160, 120), np.full((60, 160), 128, np.uint8)])
        frame = av.VideoFrame.from_ndarray(luma, format="yuv420p")
        frame.pts, frame.time_base = number, Fraction(1, RATE)
        yield frame


def silence() -> Iterator[av.AudioFrame]:
    for number in range(2 * SOUND_RATE // SOUND_FRAME):
        piece = av.AudioFrame.from_ndarray(np.zeros((1, 2 * SOUND_FRAME), np.int16), format="s16", layout="stereo")
        piece.sample_rate, piece.pts, piece.time_base = SOUND_RATE, number * SOUND_FRAME, Fraction(1, SOUND_RATE)
        yield piece


@pytest.mark.parametrize(
    ("picture", "sound", "becomes"),
    [
        pytest.param("libx264", "libopus", ["h264", "aac"], id="H.264 with B-frames, which has no decoding times"),
        pytest.param("libvpx-vp9", None, ["vp9"], id="VP9"),
        pytest.param("libvpx", "libopus", ["h264", "aac"], id="VP8, which no mp4 holds"),
    ],
)
def test_every_frame_of_a_matroska_file_comes_into_the_mp4(
    tmp_path: Path, picture: str, sound: str | None, becomes: list[str]
) -> None:
    out = tmp_path / "clip.mp4"
    to_mp4(film(tmp_path / "clip.mkv", picture, sound), out)
    assert whole_clip(out, CLIP).sound == (sound is not None)
    assert frames(out) == list(range(FRAMES))
    with av.open(str(out)) as container:
        assert [stream.codec_context.name for stream in container.streams] == becomes


@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.9])
def test_half_a_file_or_none_is_refused(tmp_path: Path, share: float) -> None:
    source = film(tmp_path / "clip.mkv", "libx264")
    source.write_bytes(source.read_bytes()[: int(share * source.stat().st_size)])
    with pytest.raises(MayWorkLater):
        to_mp4(source, tmp_path / "clip.mp4")
        whole_clip(tmp_path / "clip.mp4", CLIP)
