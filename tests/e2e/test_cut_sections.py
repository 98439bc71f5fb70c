"""A clip holds exactly the frames and the sound of its section, whatever the video; hostile files do no harm."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable, Mapping
from fractions import Fraction
from itertools import count, pairwise
from pathlib import Path
from threading import Event
from typing import Any

import av
import numpy as np
import pytest
import urllib3
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kinetics.errors import ClipError, Gone, MayWorkLater
from kinetics.media import cut as media
from kinetics.media.cut import copy_whole, cut_exact, cut_keyframe, cut_smart
from kinetics.media.fragment_index import HeaderSizes
from kinetics.media.remote_media import RemoteMedia
from kinetics.net import range_file
from kinetics.net.range_file import RangeFile
from kinetics.net.responses import MediaRefused
from kinetics.records import Category
from tests.support.cutting import (
    LONG,
    SMALL,
    USUAL,
    VARIANTS,
    Cutter,
    Disk,
    Played,
    Shape,
    assert_all_is_shown,
    cut_bytes,
    inputs_of,
    play,
)
from tests.support.sound import loudest_frequency
from tests.support.sweeps import soak_unless
from tests.youtube.boxes import boxes
from tests.youtube.encoder import pitch_at
from tests.youtube.picture import draw
from tests.youtube.videos import Video

SOURCES: list[tuple[str, Shape]] = [
    (name, shape) for name in VARIANTS for shape in ("progressive", "dash") if (name, shape) != ("vp9", "progressive")
]
SECTIONS = {"front": (0.0, 3.0), "middle": (7.0, 11.0), "between frames": (8.51, 11.49), "past the end": (16.0, 26.0)}
EVERY_SECTION = {("usual", "progressive"), ("begins at pts 1024", "dash"), ("vp9", "dash")}
CASES = [
    (name, shape, section)
    for name, shape in SOURCES
    for section in SECTIONS
    if section == "middle" or (name, shape) in EVERY_SECTION
]
ORDINARY = {
    *(("usual", "progressive", section) for section in SECTIONS),
    *((name, "dash", "middle") for name in VARIANTS if name != "no B-frames"),
}
"""Every section once, and every kind of video once."""


SWEEP = soak_unless(lambda *case: case in ORDINARY, *CASES)


def assert_in_step(played: Played, video: Video, first_s: float, end_s: float) -> None:
    """The sound of each second of the section is that of the same second of the video."""
    assert played.sound is not None
    for second in range(int(first_s) + 1, int(min(end_s, video.duration_s)) - 1):
        for begins, ends in ((0.15, 0.4), (0.6, 0.85)):
            window = slice(*(round((second + part - first_s) * played.rate) for part in (begins, ends)))
            assert loudest_frequency(played.sound[window], played.rate) == pytest.approx(pitch_at(second), abs=6)
    assert len(played.sound) / played.rate == pytest.approx(min(end_s, video.duration_s) - first_s, abs=0.12)


# -- exact -------------------------------------------------------------------------------------------------------------


BY_BOTH = {
    ("usual", "progressive", "between frames"),
    ("usual", "progressive", "past the end"),
    ("vp9", "dash", "middle"),
}
"""Cases that are also cut exactly in the ordinary run: the smart cut encodes the same way, only less."""


@pytest.mark.parametrize(
    ("name", "shape", "section", "cut"),
    soak_unless(
        lambda *case: case[:3] in (ORDINARY if case[3] is cut_smart else BY_BOTH),
        *((*case, cut) for case in CASES for cut in (cut_exact, cut_smart)),
    ),
)
def test_an_exact_clip_holds_the_frames_and_the_sound_of_its_section(
    name: str, shape: Shape, section: str, cut: Cutter, tmp_path: Path
) -> None:
    video, (start_s, end_s) = VARIANTS[name], SECTIONS[section]
    made = cut(inputs_of(video, shape, Disk()), start_s, end_s, tmp_path / "clip.mp4")
    played = play(tmp_path / "clip.mp4")

    first, stop = video.frame_at(start_s), min(video.frame_at(end_s), len(video.frame_times))
    assert played.counters == list(range(first, stop))
    expected = [float(time - video.frame_times[first]) for time in video.frame_times[first:stop]]
    assert played.times == pytest.approx(expected, abs=0.001)  # webm counts milliseconds
    assert played.times[0] == 0
    assert_all_is_shown(tmp_path / "clip.mp4", len(played.counters))

    assert made.frames == stop - first
    assert made.offset_s == pytest.approx(float(video.frame_times[first]) - start_s, abs=0.001)
    assert made.duration_s == pytest.approx(played.times[-1] + 1 / 30, abs=0.12)
    assert made.height == 360
    assert made.sound == video.sound == (played.sound is not None)
    if video.sound:
        assert_in_step(played, video, float(video.frame_times[first]), end_s)


ODD_SHAPES = {
    "header at the end": {},
    "fragments without an index": {"movflags": "empty_moov+default_base_moof+frag_keyframe"},
    "an index for each fragment": {"movflags": "dash+empty_moov+default_base_moof+frag_keyframe"},
    "fragments of both, one index": {"movflags": "dash+global_sidx+empty_moov+default_base_moof+frag_keyframe"},
}


@pytest.mark.parametrize("start", soak_unless(lambda start: start == 9, (0,), (9,), (16,)))
@pytest.mark.parametrize("options", ODD_SHAPES.values(), ids=ODD_SHAPES)
def test_a_file_in_a_shape_that_youtube_does_not_have_is_cut_exactly_too(
    options: dict[str, str], start: int, tmp_path: Path
) -> None:
    source = tmp_path / "odd.mp4"
    with av.open(str(USUAL.progressive.path)) as whole, av.open(str(source), "w", options=options) as odd:
        places = {stream.index: odd.add_stream_from_template(stream) for stream in whole.streams}
        for packet in whole.demux():
            if packet.dts is not None:
                packet.stream = places[packet.stream.index]
                odd.mux(packet)
    out = tmp_path / "clip.mp4"
    cut = cut_exact([RemoteMedia(RangeFile(Disk(), str(source)), "mp4", USUAL.duration_s)], start, start + 5, out)
    assert play(out).counters == list(range(USUAL.frame_at(start), min(USUAL.frame_at(start + 5), 600)))
    assert cut.sound


def test_a_file_that_ends_before_the_player_says_is_not_taken_for_a_whole_section(tmp_path: Path) -> None:
    source = RemoteMedia(RangeFile(Disk(), str(USUAL.progressive.path)), "mp4", 60.0)
    with pytest.raises(MayWorkLater, match="breaks off"):
        cut_exact([source], 15, 25, tmp_path / "clip.mp4")


@pytest.mark.parametrize("cut", [cut_exact, cut_smart, cut_keyframe])
@pytest.mark.parametrize(("name", "shape"), [("usual", "progressive"), ("usual", "dash"), ("vp9", "dash")])
@pytest.mark.parametrize("start_s", [20.0, pytest.param(25.0, marks=pytest.mark.soak), 23_780.0])
def test_a_section_past_the_end_is_gone_and_its_media_are_not_fetched(
    cut: Cutter, name: str, shape: Shape, start_s: float, tmp_path: Path
) -> None:
    session, video = Disk(), VARIANTS[name]
    with pytest.raises(Gone, match=r"the video is (20\.\d|19\.9) s long, the clip starts at") as caught:
        cut(inputs_of(video, shape, session), start_s, start_s + 10, tmp_path / "clip.mp4")
    assert caught.value.category is Category.PAST_END
    assert session.bytes_received <= 1 << 16, "the header alone"
    assert session.requests <= 2
    assert list(tmp_path.iterdir()) == []


def test_a_section_after_the_last_frame_is_gone(tmp_path: Path) -> None:
    with pytest.raises(Gone) as caught:
        cut_exact(inputs_of(USUAL, "dash", Disk()), 19.99, 29.99, tmp_path / "clip.mp4")
    assert caught.value.category is Category.PAST_END


# -- keyframe ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "shape", "section"), SWEEP)
def test_a_keyframe_clip_begins_at_the_keyframe_before_and_says_so(
    name: str, shape: Shape, section: str, tmp_path: Path
) -> None:
    video, (start_s, end_s) = VARIANTS[name], SECTIONS[section]
    made = cut_keyframe(inputs_of(video, shape, Disk()), start_s, end_s, tmp_path / "clip.mp4")
    played = play(tmp_path / "clip.mp4")

    first = max(key for key in video.keyframes if video.frame_times[key] <= Fraction(start_s))
    assert played.counters[0] == first
    assert played.counters == list(range(first, first + len(played.counters)))
    stop = min(video.frame_at(end_s), len(video.frame_times))
    assert stop <= first + len(played.counters) <= stop + 6, "up to the end, and what those frames are made from"
    assert played.times[0] == pytest.approx(0, abs=1e-6)
    assert_all_is_shown(tmp_path / "clip.mp4", len(played.counters))

    first_s = float(video.frame_times[first])
    assert made.offset_s == pytest.approx(first_s - start_s, abs=0.001)
    assert made.frames == len(played.counters)
    if video.sound:
        assert_in_step(played, video, first_s, end_s)


# -- open groups of pictures -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def open_gop(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Eight seconds whose keyframes, every 60 frames, are followed by frames that are shown before them."""
    path = tmp_path_factory.mktemp("open") / "gop.mp4"
    options = {"preset": "veryfast", "x264-params": "open-gop=1:keyint=60:min-keyint=60:scenecut=0:bframes=3:b-adapt=0"}
    with av.open(str(path), "w", options={"movflags": "faststart"}) as out:
        stream = out.add_stream("libx264", rate=30, options=options)
        stream.width, stream.height, stream.pix_fmt = 320, 180, "yuv420p"
        for index in range(240):
            luma = draw(index, 320, 180)
            grey = np.full((90, 320), 128, dtype=np.uint8)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(np.concatenate([luma, grey]), format="yuv420p")))
        out.mux(stream.encode(None))
    with av.open(str(path)) as given_:
        packets = [packet for packet in given_.demux(video=0) if packet.pts is not None]
    keys = [place for place, packet in enumerate(packets) if packet.is_keyframe]
    assert len(keys) >= 4
    assert (packets[keys[1] + 1].pts or 0) < (packets[keys[1]].pts or 0), "the groups are closed"
    return path.read_bytes()


@pytest.mark.parametrize(
    "start", soak_unless(lambda start: start in (45, 60), *((n,) for n in (0, 45, 58, 60, 61, 119, 120, 150, 179, 181)))
)
def test_open_groups_are_cut_right_too(open_gop: bytes, start: int, tmp_path: Path) -> None:
    def item() -> RemoteMedia:
        return RemoteMedia(RangeFile(Disk({"it": open_gop}), "it"), "mp4", 8.0)

    for cut in (cut_exact, cut_smart):
        cut([item()], start / 30, start / 30 + 1, tmp_path / "exact.mp4")
        assert play(tmp_path / "exact.mp4").counters == list(range(start, start + 30))
    made = cut_keyframe([item()], start / 30, start / 30 + 1, tmp_path / "copy.mp4")
    played = play(tmp_path / "copy.mp4")
    assert played.counters == list(range(played.counters[0], played.counters[0] + made.frames))
    assert played.counters[0] == pytest.approx(start + 30 * made.offset_s, abs=0.01)
    assert played.counters[0] <= start
    assert played.counters[-1] >= start + 29
    assert_all_is_shown(tmp_path / "copy.mp4", made.frames)


# -- none --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "shape"),
    soak_unless(
        lambda name, shape: name == "usual" or (name, shape) == ("vp9", "dash"),
        *(one for one in SOURCES if one[0] not in {"29.97", "no B-frames", "rotated"}),
    ),
)
def test_a_whole_video_has_every_frame_and_its_sound(name: str, shape: Shape, tmp_path: Path) -> None:
    video = VARIANTS[name]
    made = copy_whole(inputs_of(video, shape, Disk(), streaming=True), tmp_path / "whole.mp4")
    played = play(tmp_path / "whole.mp4")
    assert played.counters == list(range(len(video.frame_times)))
    assert made.frames == len(video.frame_times)
    assert made.duration_s == pytest.approx(video.duration_s, abs=0.15)
    assert_all_is_shown(tmp_path / "whole.mp4", len(played.counters))
    if video.sound:
        assert_in_step(played, video, 0, video.duration_s)


@pytest.mark.parametrize("shape", ["progressive", "dash"])
def test_a_whole_video_takes_few_requests_and_little_memory(shape: Shape, tmp_path: Path) -> None:
    session = Disk()
    inputs = inputs_of(LONG, shape, session, streaming=True)
    most, keep = 0, RangeFile._keep

    def weigh(self: RangeFile, start: int, data: bytes) -> tuple[int, bytes]:
        nonlocal most
        span = keep(self, start, data)
        most = max(most, sum(len(held) for _, held in self._spans))
        return span

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RangeFile, "_keep", weigh)
        copy_whole(inputs, tmp_path / "whole.mp4")
    assert session.requests <= 8
    assert session.bytes_received <= 1.1 * sum(item.file.size for item in inputs)
    assert most <= 2 * range_file.READ_AHEAD_LIMIT


# -- bytes and requests ------------------------------------------------------------------------------------------------


def needed(video: Video, shape: Shape, cut: Cutter, start_s: float, end_s: float) -> int:
    """The bytes of the samples from the keyframe at or before the start to the end, and of the clip's sound."""
    first_s = max(video.frame_times[key] for key in video.keyframes if video.frame_times[key] <= start_s)
    begins_s = {"video": first_s, "audio": first_s if cut is cut_keyframe else start_s}
    total = 0
    for file in [video.progressive] if shape == "progressive" else [video.dash_video, video.dash_audio]:
        with av.open(str(file.path)) as container:
            total += sum(
                packet.size
                for packet in container.demux()
                if packet.pts is not None and begins_s[packet.stream.type] <= packet.pts * packet.time_base < end_s
            )
    return total


@pytest.mark.parametrize(
    ("cut", "shape", "most_requests", "most"),
    soak_unless(
        lambda cut, shape, *_: (cut, shape) in {(cut_smart, "dash"), (cut_keyframe, "progressive")},
        *(
            (cut, *limits)
            for limits in (("progressive", 2, 1.4), ("dash", 4, 1.15))
            for cut in (cut_exact, cut_smart, cut_keyframe)
        ),
    ),
)
def test_little_more_is_fetched_than_the_sections_need(
    cut: Cutter, shape: Shape, most_requests: int, most: float, tmp_path: Path
) -> None:
    """In the sum over sections from front to end; of a progressive file the header alone is a third of what they need.

    YouTube's fragments are a group of pictures each.
    """
    received, wanted, sizes, requests = 0, 0, HeaderSizes(), list[int]()
    sizes.learn(LONG.duration_s, LONG.progressive.path.read_bytes().index(b"mdat"))
    for start_s in (*range(0, 230, 46 if cut is cut_smart else 23), 229):
        session = Disk()
        cut(inputs_of(LONG, shape, session, sizes=sizes), start_s, start_s + 10, tmp_path / "clip.mp4")
        requests.append(session.requests)
        spans = sorted(session.asked)
        assert all(one[0] != two[0] or one[2] <= two[1] for one, two in pairwise(spans)), "some byte came twice"
        received += session.bytes_received
        wanted += needed(LONG, shape, cut, start_s, start_s + 10)
    assert received <= most * wanted
    assert sum(requests) <= most_requests * len(requests) + 1, "a guess may be wrong, but seldom"


def test_the_sound_is_fetched_while_the_picture_is(tmp_path: Path) -> None:
    asked = {"picture": Event(), "sound": Event()}

    class Waiting(Disk):
        """The section's bytes of the one come only once those of the other are asked for."""

        def get(self, url: str, headers: Mapping[str, str]) -> urllib3.BaseHTTPResponse:
            mine, other = ("sound", "picture") if url == sound else ("picture", "sound")
            if not headers["Range"].startswith("bytes=0-"):
                asked[mine].set()
                assert asked[other].wait(20), f"the {mine} came before the {other} was asked for"
            return super().get(url, headers)

    sound = str(LONG.dash_audio.path)
    cut_keyframe(inputs_of(LONG, "dash", Waiting()), 63, 73, tmp_path / "clip.mp4")


@pytest.mark.parametrize("shape", ["progressive", "dash"])
def test_the_header_is_fetched_as_far_as_it_goes(shape: Shape, tmp_path: Path) -> None:
    """By the player's word, or as long as the last one of its kind: not a guess that is safe for any."""
    sizes, session = HeaderSizes(), Disk()
    for _ in range(2):
        session.asked.clear()
        cut_keyframe(inputs_of(LONG, shape, session, sizes=sizes), 63, 73, tmp_path / "clip.mp4")
    headers = {url: stop for url, first, stop in session.asked if not first}
    for file in [LONG.progressive] if shape == "progressive" else [LONG.dash_video, LONG.dash_audio]:
        content = file.path.read_bytes()
        size = file.index_range[1] + 1 if file.index_range else content.index(b"mdat") - 4
        assert size <= headers[str(file.path)] <= 1.02 * size


# -- hostile media -----------------------------------------------------------------------------------------------------


def box(kind: bytes, body: bytes = b"", size: int | None = None) -> bytes:
    return struct.pack(">I4s", 8 + len(body) if size is None else size, kind) + body


def head(shape: Shape) -> int:
    """Where the media begins."""
    return next(one.start for one in boxes(SMALL[shape]) if one.name in ("mdat", "moof"))


def with_index(*, version: int = 0, scale: int = 1000, time: int = 0, offset: int = 0, sizes: Iterable[int]) -> bytes:
    """The DASH file with another fragment index; every fragment lasts five seconds."""
    entries = b"".join(struct.pack(">III", size, 5 * scale & 0xFFFFFFFF, 1 << 31) for size in sizes)
    times = struct.pack(">QQ" if version else ">II", time, offset)
    body = bytes([version, 0, 0, 0]) + struct.pack(">II", 1, scale) + times
    body += struct.pack(">HH", 0, len(entries) // 12) + entries
    old = next(one for one in boxes(SMALL["dash"]) if one.name == "sidx")
    return SMALL["dash"][: old.start] + box(b"sidx", body) + SMALL["dash"][old.end :]


LISTS = {
    "HLS": b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n",
    "concat": b"ffconcat version 1.0\nfile /etc/passwd\n",
    "DASH manifest": b'<?xml version="1.0"?><MPD><BaseURL>file:///etc/passwd</BaseURL></MPD>',
    "SDP": b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nm=video 9 RTP/AVP 96\n",
}
HUGE = 5 << 30
HOSTILE: dict[str, bytes] = {
    "empty but for a byte": b"\0",
    "zeroes": bytes(100_000),
    "garbage": np.random.default_rng(0).bytes(100_000),
    "HTML": b"<!DOCTYPE html><html><body>Before you continue to YouTube</body></html>" * 100,
    **LISTS,
    "HLS behind an mp4's front": box(b"ftyp", b"isom\0\0\0\0") + LISTS["HLS"],
    "no moov": box(b"ftyp", b"isom\0\0\0\0") + box(b"mdat", bytes(1000)),
    "a moov of 50 MB that is not there": box(b"ftyp", b"isom\0\0\0\0") + box(b"moov", bytes(1000), 50 << 20),
    "a moov of 5 GB": box(b"ftyp", b"isom\0\0\0\0") + box(b"moov", struct.pack(">Q", HUGE) + bytes(1000), 1),
    "a box of size 0": box(b"ftyp", b"", 0) + bytes(1000),
    "boxes of sizes 1 to 7": b"".join(box(b"free", b"", size) for size in range(1, 8)) + bytes(1000),
    "a long size of 0": box(b"ftyp", bytes(8), 1) + bytes(1000),
    "a long size that wraps": box(b"ftyp", b"\xff" * 8, 1) + bytes(1000),
    "empty boxes without end": box(b"free") * 100_000,
    "an empty moov": box(b"ftyp", b"isom\0\0\0\0") + box(b"moov") + box(b"mdat", bytes(1000)),
    "an empty moov and a fragment": box(b"ftyp", b"isom\0\0\0\0") + box(b"moov") + box(b"moof") + box(b"mdat"),
    "an index in front of the moov": SMALL["dash"][24:28] + SMALL["dash"],
    "an index that points outside": with_index(sizes=[10_000_000] * 4),
    "an index with a far offset": with_index(version=1, offset=1 << 62, sizes=[1000] * 4),
    "an index of 2 GB fragments": with_index(sizes=[(1 << 31) - 1] * 4),
    "an index without unit": with_index(scale=0, sizes=[1000] * 4),
    "an index with the largest unit": with_index(scale=(1 << 32) - 1, sizes=[1000] * 4),
    "an index of nothing": with_index(sizes=[])[:3000],
    "an index that is cut": SMALL["dash"][:-1000][: head("dash") - 10],
    "a progressive file's header alone": SMALL["progressive"][: head("progressive")],
    "a DASH file's header alone": SMALL["dash"][: head("dash")],
    "a progressive file, cut off in the section": SMALL["progressive"][: len(SMALL["progressive"]) * 2 // 5],
    "a DASH file, cut off in the section": SMALL["dash"][: len(SMALL["dash"]) * 2 // 5],
}


@pytest.mark.parametrize("cut", [cut_exact, cut_smart, cut_keyframe])
@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_no_video_is_a_media_error(name: str, cut: Cutter, tmp_path: Path) -> None:
    for container in ("mp4", "webm"):
        with pytest.raises(ClipError) as caught:
            cut_bytes(HOSTILE[name], tmp_path, cut, container)
        assert caught.value.category is Category.MEDIA_ERROR, "a damaged file is no reason to call a video too short"
        assert "root:" not in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [with_index(sizes=[0] * 4), with_index(version=1, time=(1 << 64) - 1, sizes=[1000] * 4)],
    ids=["points at itself", "begins at the end of time"],
)
def test_an_index_that_leaves_out_most_of_the_file_is_not_believed(content: bytes, tmp_path: Path) -> None:
    cut_bytes(content, tmp_path, cut_exact)
    assert play(tmp_path / "clip.mp4").counters == list(range(USUAL.frame_at(7), USUAL.frame_at(9)))


@pytest.mark.parametrize("name", [name for name in HOSTILE if "an index" not in name])
def test_what_is_no_video_is_no_whole_one_either(name: str, tmp_path: Path) -> None:
    for container in ("mp4", "webm"):
        item = RemoteMedia(RangeFile(Disk({"it": HOSTILE[name]}), "it", streaming=True), container, 20.0)
        with pytest.raises(ClipError) as caught:
            copy_whole([item], tmp_path / "whole.mp4")
        assert caught.value.category is Category.MEDIA_ERROR


@pytest.mark.parametrize("shape", ["progressive", "dash"])
def test_media_that_break_off_in_the_section_are_said_to(shape: Shape, tmp_path: Path) -> None:
    """The header is whole, and promises more than is there; the file's size is that of what is there."""
    content = SMALL[shape][: len(SMALL[shape]) * 2 // 5] + bytes(1)
    with pytest.raises(MayWorkLater):
        cut_bytes(content, tmp_path)


@pytest.mark.parametrize("shape", ["progressive", "dash"])
def test_a_section_of_zeroes_is_a_media_error(shape: Shape, tmp_path: Path) -> None:
    content = SMALL[shape][: head(shape)]
    with pytest.raises(MayWorkLater):
        cut_bytes(content + bytes(len(SMALL[shape]) - len(content)), tmp_path, cut_exact)


def test_a_refusal_in_the_midst_of_it_keeps_its_own_kind(tmp_path: Path) -> None:
    class Refusing(Disk):
        refuse_after = 0
        numbers = count()

        def get(self, url: str, headers: Mapping[str, str]) -> urllib3.BaseHTTPResponse:
            if next(self.numbers) == self.refuse_after:
                return urllib3.HTTPResponse(io.BytesIO(), {}, 403, preload_content=False)
            return super().get(url, headers)

    session = Refusing()
    for session.refuse_after in range(4):
        session.numbers = count()
        with pytest.raises(MediaRefused):
            cut_exact(inputs_of(LONG, "dash", session), 63, 65, tmp_path / "clip.mp4")
    for session.refuse_after in range(3):
        session.numbers = count()
        with pytest.raises(MediaRefused):
            copy_whole(inputs_of(LONG, "progressive", session, streaming=True), tmp_path / "whole.mp4")


MUTATIONS = st.tuples(
    st.sampled_from(["progressive", "dash"]),
    st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=8)), min_size=1, max_size=6),
)


def mutated(shape: Shape, changes: list[tuple[float, bytes]]) -> bytes:
    """The file with some bytes of its header changed."""
    content = bytearray(SMALL[shape])
    reach = head(shape) + (200 if shape == "dash" else 0)
    for place, piece in changes:
        at = int(place * reach)
        content[at : at + len(piece)] = piece
    return bytes(content[: len(SMALL[shape])])


def survive(folder: Path, given_: tuple[Shape, list[tuple[float, bytes]]], cut: Cutter) -> None:
    try:
        made = cut_bytes(mutated(*given_), folder, cut)
    except ClipError:
        return
    assert made.frames > 0


SLOW_IS_FINE = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


@settings(deadline=None, derandomize=True, suppress_health_check=SLOW_IS_FINE)
@given(MUTATIONS)
def test_a_header_with_changed_bytes_gives_a_clip_or_a_reason(tmp_path: Path, mutation: Any) -> None:
    survive(tmp_path, mutation, cut_keyframe)


# -- a disk that is full -----------------------------------------------------------------------------------------------


def test_a_folder_that_is_not_there_is_not_the_medias_fault(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        cut_keyframe(inputs_of(USUAL, "dash", Disk()), 7, 12, tmp_path / "absent" / "clip.mp4")


def test_a_clip_that_lost_its_end_is_not_taken_for_whole(tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    cut_keyframe(inputs_of(USUAL, "dash", Disk()), 7, 12, clip)
    assert media.probe(clip, 0.0).frames > 0
    clip.write_bytes(clip.read_bytes()[:-1])
    with pytest.raises(MayWorkLater, match="cut off"):
        media.probe(clip, 0.0)
