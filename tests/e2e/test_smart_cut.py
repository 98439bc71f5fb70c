"""The smart cut copies what can be copied, joins what was encoded so that no reader is misled, and else encodes all."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import pytest

from kinetics.media import encode as pictures
from kinetics.media import smart_cut as smart
from kinetics.media.avc import IDR, AvcConfig
from kinetics.media.cut import cut_exact, cut_smart
from kinetics.media.remote_media import RemoteMedia
from kinetics.net.range_file import RangeFile
from tests.support.cutting import VARIANTS, Disk, Shape, assert_all_is_shown, inputs_of, play
from tests.support.h264 import encoded, record, remuxed
from tests.youtube.videos import Video

BOTH_ENDS = Video(duration_s=60)


def samples(path: Path) -> list[bytes]:
    with av.open(str(path)) as clip:
        return [bytes(packet) for packet in clip.demux(video=0) if packet.size]


def cut(content: bytes, start_s: float, end_s: float, out: Path, *, exactly: bool = False) -> None:
    source = RemoteMedia(RangeFile(Disk({"it": content}), "it"), "mp4", 6.0)
    (cut_exact if exactly else cut_smart)([source], start_s, end_s, out)


@pytest.mark.parametrize("shape", ["progressive", "dash"])
@pytest.mark.parametrize(
    "start_s", [1.0, 7.5, *(pytest.param(start_s, marks=pytest.mark.soak) for start_s in (20.2, 33.3, 41.0))]
)
def test_most_samples_are_the_videos_own_to_the_byte(start_s: float, shape: Shape, tmp_path: Path) -> None:
    out = tmp_path / "clip.mp4"
    cut_smart(inputs_of(BOTH_ENDS, shape, Disk()), start_s, start_s + 10, out)
    file = BOTH_ENDS.progressive if shape == "progressive" else BOTH_ENDS.dash_video
    own = set(samples(file.path))
    copies = sum(sample in own for sample in samples(out))
    first = min(key for key in BOTH_ENDS.keyframes if key >= BOTH_ENDS.frame_at(start_s))
    assert copies >= BOTH_ENDS.frame_at(start_s + 10) - first - 6
    assert_all_is_shown(out, 300)


FEW = range(31, 62, 15)
"""The tenths of a second at which sections begin in an ordinary run."""


@pytest.mark.parametrize(
    ("name", "tenths"),
    [
        ("usual", FEW),
        *(pytest.param(name, range(31, 62, 3), marks=pytest.mark.soak) for name in VARIANTS if name != "vp9"),
    ],
)
def test_every_start_and_end_gives_the_frames_and_times_that_encoding_all_gives(
    name: str, tenths: range, tmp_path: Path
) -> None:
    """Tenths of a second, so that sections begin and end at, before and behind every kind of picture."""
    video = VARIANTS[name]
    for tenth in tenths:
        start_s, end_s = tenth / 10, tenth / 10 + 4.9
        cut_smart(inputs_of(video, "dash", Disk()), start_s, end_s, tmp_path / "smart.mp4")
        played = play(tmp_path / "smart.mp4")
        first, stop = video.frame_at(start_s), video.frame_at(end_s)
        begin_s = float(video.frame_times[first])
        if video.vfr and played.counters[0] == first - 1:  # the one that is showing, where the next one begins late
            assert begin_s - start_s > 1 / 30
            first, begin_s = first - 1, start_s
        assert played.counters == list(range(first, stop)), (start_s, end_s)
        expected = [max(0.0, float(time) - begin_s) for time in video.frame_times[first:stop]]
        assert played.times == pytest.approx(expected, abs=1e-4), (start_s, end_s)
        assert_all_is_shown(tmp_path / "smart.mp4", stop - first)


def test_parameter_sets_of_both_encoders_stand_in_the_header_under_numbers_of_their_own(tmp_path: Path) -> None:
    cut_smart(inputs_of(BOTH_ENDS, "progressive", Disk()), 1, 11, tmp_path / "clip.mp4")
    config = record(tmp_path / "clip.mp4")
    assert (len(config.sps), len(config.pps)) == (2, 2)
    assert config.profile == record(BOTH_ENDS.progressive.path).profile
    kinds = {kind for sample in samples(tmp_path / "clip.mp4") for kind in config.nal_types(sample)}
    assert IDR in kinds
    assert not kinds & {7, 8}, "parameter sets amid the pictures"


def test_a_section_that_needs_no_encoder_is_a_plain_copy(tmp_path: Path) -> None:
    content = encoded(tmp_path / "source.mp4", {"x264-params": "bframes=0"})
    cut(content, 2, 4, tmp_path / "clip.mp4")
    own = set(samples(tmp_path / "source.mp4"))
    assert all(sample in own for sample in samples(tmp_path / "clip.mp4"))
    assert len(record(tmp_path / "clip.mp4").sps) == 1


TAKEN = {"a number that ours would have": "sps-id=1", "the highest number": "sps-id=31"}


@pytest.mark.parametrize("params", TAKEN.values(), ids=TAKEN)
def test_a_number_that_the_source_has_is_not_taken(params: str, tmp_path: Path) -> None:
    content = encoded(tmp_path / "source.mp4", {"x264-params": params})
    cut(content, 1.5, 3.5, tmp_path / "clip.mp4")
    assert play(tmp_path / "clip.mp4").counters == list(range(45, 105))
    assert len(record(tmp_path / "clip.mp4").sps) == 2


PROFILES = {"baseline": "baseline", "main": "main", "high": "high"}


MORE = ("", "bframes=8:b-pyramid=normal:ref=4", "weightp=2:trellis=2:bframes=3:b-adapt=2")
TOGETHER = {("baseline", MORE[0]), ("main", MORE[1]), ("high", MORE[2])}
"""Each profile and each order of pictures once; the other pairs are for `-m soak`."""


@pytest.mark.parametrize(
    ("profile", "more"),
    [
        pytest.param(profile, more, marks=() if (profile, more) in TOGETHER else pytest.mark.soak)
        for profile in PROFILES.values()
        for more in MORE
    ],
)
def test_any_profile_and_order_of_pictures_is_joined_right(profile: str, more: str, tmp_path: Path) -> None:
    content = encoded(
        tmp_path / "source.mp4", {"profile": profile, "x264-params": "" if profile == "baseline" else more}
    )
    for start in (31, 45, 59, 60):
        cut(content, start / 30, start / 30 + 2.1, tmp_path / "clip.mp4")
        assert play(tmp_path / "clip.mp4").counters == list(range(start, start + 63)), start
    assert len(record(tmp_path / "clip.mp4").sps) in (1, 2)


UNFIT: dict[str, tuple[dict[str, str], str]] = {
    "ten bits": ({"profile": "high10"}, "yuv420p10le"),
    "colour in full": ({"profile": "high444"}, "yuv444p"),
    "parameter sets amid the pictures": ({"x264-params": "repeat-headers=1"}, "yuv420p"),
    "fields": ({"x264-params": "interlaced=1"}, "yuv420p"),
    "frames that pass for fields": ({"x264-params": "fake-interlaced=1"}, "yuv420p"),
    "open groups": ({"x264-params": "open-gop=1:bframes=3:b-adapt=0"}, "yuv420p"),
    "no keyframe inside": ({"x264-params": "keyint=infinite"}, "yuv420p"),
}


@pytest.mark.parametrize(("options", "pix_fmt"), UNFIT.values(), ids=UNFIT)
def test_what_cannot_be_joined_is_encoded_as_a_whole(options: dict[str, str], pix_fmt: str, tmp_path: Path) -> None:
    content = encoded(tmp_path / "source.mp4", options, pix_fmt=pix_fmt)
    cut(content, 1.5, 3.5, tmp_path / "smart.mp4")
    cut(content, 1.5, 3.5, tmp_path / "exact.mp4", exactly=True)
    assert play(tmp_path / "smart.mp4").counters == list(range(45, 105))
    assert samples(tmp_path / "smart.mp4") == samples(tmp_path / "exact.mp4")


def test_a_source_with_sets_that_disagree_is_encoded_as_a_whole(tmp_path: Path) -> None:
    encoded(tmp_path / "source.mp4", {})
    encoded(tmp_path / "other.mp4", {"x264-params": "sps-id=3:bframes=0:dpb-size=4"}, seconds=1)
    config, other = record(tmp_path / "source.mp4"), record(tmp_path / "other.mp4")
    both = replace(config, sps=config.sps + other.sps, pps=config.pps + other.pps)
    cut(remuxed(tmp_path / "source.mp4", tmp_path / "both.mp4", both), 1.5, 3.5, tmp_path / "clip.mp4")
    assert play(tmp_path / "clip.mp4").counters == list(range(45, 105))
    assert len(record(tmp_path / "clip.mp4").sps) == 1


def test_no_more_than_one_frame_waits_for_the_encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All frames up to a keyframe would be a gigabyte, if the picture is large and the keyframe far."""
    decode, prepare = pictures.decoded_frames, pictures.encoder_frame
    events: list[tuple[str, int | None]] = []

    def decoded(video: Any, packets: Any) -> Iterator[Any]:
        for frame in decode(video, packets):
            events.append(("decoded", frame.pts))
            yield frame

    def prepared(frame: Any, encoder: Any, origin: int) -> Any:
        events.append(("encoded", frame.pts))
        return prepare(frame, encoder, origin)

    monkeypatch.setattr(smart, "decoded_frames", decoded)
    monkeypatch.setattr(smart, "encoder_frame", prepared)
    cut_smart(inputs_of(BOTH_ENDS, "progressive", Disk()), 1, 11, tmp_path / "clip.mp4")
    encoded = {pts for event, pts in events if event == "encoded"}
    waiting = list(itertools.accumulate((1 if event == "decoded" else -1) for event, pts in events if pts in encoded))
    assert len(encoded) > 100
    assert max(waiting) <= 2


def test_records_that_make_no_sense_are_refused() -> None:
    whole = AvcConfig(
        77, 64, 30, 4, (bytes.fromhex("674d401eeca05017fcb0"),), (bytes.fromhex("68ce04f2"),), b""
    ).to_bytes()
    assert AvcConfig.parse(whole).to_bytes() == whole
    for length in range(len(whole)):
        with pytest.raises(ValueError):
            AvcConfig.parse(whole[:length])
