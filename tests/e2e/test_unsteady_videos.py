"""A clip begins with the picture that is showing and lasts as annotated, in videos whose frames come at no steady rate.

Slide shows, gaps, pictures that end before their sound or begin after it, AV1 alone, and open groups of pictures.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import av
import numpy as np
import pytest
from av.video.frame import PictureType

from kinetics.errors import ClipError, Gone, MayWorkLater
from kinetics.media.cut import copy_whole, cut_exact, cut_keyframe, cut_smart
from kinetics.media.fragment_index import HeaderSizes
from kinetics.media.remote_media import RemoteMedia
from kinetics.media.section import EndsEarly
from kinetics.net.range_file import RangeFile
from kinetics.records import Category, Clip
from kinetics.youtube.download_job import DownloadClip
from kinetics.youtube.formats import Format, MediaSource, picture_duration
from kinetics.youtube.video_media import VideoMedia
from tests.e2e.test_readers import with_decord, with_opencv, with_pyav, with_torchcodec
from tests.support.cutting import Cutter, Disk, Shape, play
from tests.support.download_job import CLIP, attempt, job_in, youtube_with_the_clip
from tests.support.sandbox import frames
from tests.support.sound import loudest_frequency
from tests.support.sweeps import soak_unless
from tests.youtube.boxes import CLUSTER, boxes, elements
from tests.youtube.encoder import FRAGMENTED, pitch_at
from tests.youtube.picture import draw
from tests.youtube.server import LoopbackYouTube
from tests.youtube.spoils import another_file
from tests.youtube.videos import Video
from tests.youtube.world import Scenario

WIDTH, HEIGHT, RATE = 320, 180, 44_100
TICK = Fraction(1, 15_360)
FRAME_S = 1 / 30
LONGEST_FRAME_S = 0.1
"""A frame that shows longer is held, from the section's start and up to its end."""


@dataclass(frozen=True)
class Unsteady:
    """The recipe of a video: when its frames begin, which of them are keyframes, and how long the sound lasts."""

    name: str
    times: tuple[Fraction, ...]
    sound_s: int
    keyframe_every: int = 0
    codec: str = "libx264"
    params: str = "keyint=infinite:scenecut=0"
    end_s: float = 0.0
    """When the picture ends; 0: one frame after the last one begins."""

    def __str__(self) -> str:
        return self.name

    @property
    def picture_s(self) -> float:
        return self.end_s or float(self.times[-1] - self.times[0]) + FRAME_S

    def shown(self, start_s: float, end_s: float) -> list[tuple[int, float]]:
        """The number and the time of each frame that an exact clip has."""
        begins_s = [float(time - self.times[0]) for time in self.times]
        inside = [number for number, time in enumerate(begins_s) if start_s <= time < end_s]
        next_s = begins_s[inside[0]] if inside else end_s
        if next_s - start_s > LONGEST_FRAME_S:
            inside.insert(0, max(number for number, time in enumerate(begins_s) if time < start_s))
        return [(number, max(0.0, begins_s[number] - start_s)) for number in inside]


def steady(from_s: float, to_s: float) -> tuple[Fraction, ...]:
    return tuple(Fraction(number, 30) for number in range(round(30 * from_s), round(30 * to_s)))


OPEN = "open-gop=1:keyint=60:min-keyint=60:scenecut=0:bframes=3:b-adapt=0"
SLIDES = Unsteady("slide show", tuple(Fraction(10 * slide) for slide in range(4)), 40, keyframe_every=1)
FAR_KEYFRAMES = Unsteady("slide show of one keyframe", tuple(Fraction(10 * slide) for slide in range(4)), 40)
UNEVEN = Unsteady(
    "uneven slides", tuple(Fraction(tenths, 10) for tenths in (0, 20, 44, 62, 80, 82, 110, 140)), 16, keyframe_every=3
)
GAP = Unsteady("gap", (*steady(0, 3), *steady(8, 12)), 12, keyframe_every=60)
TWO = Unsteady("two frames", (Fraction(0), Fraction(13)), 20)
SHORT = Unsteady("picture shorter than sound", steady(0, 6), 12, keyframe_every=60)
LATE = Unsteady("first frame at 0.5 s", steady(0.5, 8.5), 9, keyframe_every=60)
AV1 = Unsteady("AV1", steady(0, 8), 8, keyframe_every=60, codec="libsvtav1")
VP9 = Unsteady("webm", GAP.times, 12, keyframe_every=60, codec="libvpx-vp9")
OPEN_GOP = Unsteady("open groups", steady(0, 8), 8, params=OPEN)
SECTIONS: dict[Unsteady, Sequence[tuple[float, float]]] = {
    SLIDES: ((12, 22), (3, 8), (10, 20)),
    FAR_KEYFRAMES: ((12, 22), (13, 18)),
    UNEVEN: ((3, 10), (6.2, 13.2)),
    GAP: ((4, 10), (1, 6), (4, 7)),
    TWO: ((2, 12), (10, 20)),
    SHORT: ((1, 5), (3, 9)),
    LATE: ((0, 5), (2, 7)),
    AV1: ((1.5, 5.5),),
    OPEN_GOP: ((1, 3.97), (2, 6), (59 / 30, 4.97)),
}
CUTTERS = (cut_smart, cut_exact, cut_keyframe)


def told(value: object) -> str:
    return str(getattr(value, "__name__", value))


CASES = soak_unless(
    lambda video, shape, section, cut: (
        (shape, cut) == ("dash", cut_smart)
        or (section == SECTIONS[video][0] and (cut is cut_exact or (shape, cut) == ("dash", cut_keyframe)))
    ),
    *(
        (video, shape, section, cut)
        for video, sections in SECTIONS.items()
        for shape in ("progressive", "dash")
        for section in sections
        for cut in CUTTERS
    ),
)


# -- making them -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("unsteady")


@cache
def files_of(video: Unsteady, folder: Path) -> dict[str, bytes]:
    """The video in one file, its picture alone and its sound alone."""
    root = Path(mkdtemp(dir=folder))
    encode(video, root / "source.mp4")
    split = {"picture": ("video", "frag_keyframe", {"min_frag_duration": "1900000"}), "sound": ("audio", "", {})}
    copy(root / "source.mp4", root / "both.mp4", ("video", "audio"), {"movflags": "faststart"})
    for name, (kind, flag, options) in split.items():
        flags = f"{FRAGMENTED}+delay_moov{flag and '+' + flag}"
        more = options or {"frag_duration": "4875000"}
        copy(root / "source.mp4", root / f"{name}.mp4", (kind,), {"movflags": flags} | more)
    return {name: (root / f"{name}.mp4").read_bytes() for name in ("both", *split)}


def encode(video: Unsteady, path: Path) -> None:
    options = {
        "libx264": {"preset": "ultrafast", "forced-idr": "1", "x264-params": video.params},
        "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8", "g": "9999", "lag-in-frames": "0"},
        "libsvtav1": {"preset": "13", "crf": "55", "g": "60", "svtav1-params": "lp=1"},
    }[video.codec]
    with av.open(str(path), "w") as out:
        picture = out.add_stream(video.codec, rate=30, options=options)
        assert isinstance(picture, av.VideoStream)
        picture.width, picture.height, picture.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        picture.time_base = picture.codec_context.time_base = TICK
        sound = out.add_stream("aac", rate=RATE)
        assert isinstance(sound, av.AudioStream)
        sound.layout = "stereo"
        grey = np.full((HEIGHT // 2, WIDTH), 128, np.uint8)
        for number, time in enumerate(video.times):
            frame = av.VideoFrame.from_ndarray(np.concatenate([draw(number, WIDTH, HEIGHT), grey]), format="yuv420p")
            frame.pts, frame.time_base = round(time / TICK), TICK
            is_keyframe = video.keyframe_every and number % video.keyframe_every == 0
            frame.pict_type = PictureType.I if is_keyframe else PictureType.NONE
            out.mux(picture.encode(frame))
        out.mux(picture.encode(None))
        for second in range(video.sound_s):
            wave = 0.3 * np.sin(2 * np.pi * pitch_at(second) * np.arange(RATE) / RATE)
            samples = av.AudioFrame.from_ndarray(np.stack([wave, wave]).astype(np.float32), "fltp", "stereo")
            samples.sample_rate, samples.time_base, samples.pts = RATE, Fraction(1, RATE), second * RATE
            out.mux(sound.encode(samples))
        out.mux(sound.encode(None))


def copy(source: Path, target: Path, kinds: tuple[str, ...], options: dict[str, str]) -> None:
    with av.open(str(source)) as given, av.open(str(target), "w", options=options) as out:
        chosen = [stream for stream in given.streams if stream.type in kinds]
        copies = {stream.index: out.add_stream_from_template(stream, opaque=True) for stream in chosen}
        for packet in given.demux(chosen):
            if packet.dts is not None:
                packet.stream = copies[packet.stream.index]
                out.mux(packet)


def inputs_of(video: Unsteady, shape: Shape, folder: Path, line: Disk | None = None) -> list[RemoteMedia]:
    line = line or Disk()
    line.contents = files_of(video, folder)
    names = ("both",) if shape == "progressive" else ("picture", "sound")
    return [
        RemoteMedia(RangeFile(line, name), "mp4", video.sound_s, video.picture_s, progressive=name == "both")
        for name in names
    ]


def media_of(content: bytes, duration_s: float, picture_s: float | None = None) -> list[RemoteMedia]:
    return [RemoteMedia(RangeFile(Disk({"it": content}), "it"), "mp4", duration_s, picture_s)]


# -- frames, length and sound ------------------------------------------------------------------------------------------


def assert_sounds_like(video: Unsteady, path: Path, first_s: float, length_s: float) -> None:
    """The sound lasts as long as the picture and is that of the same time of the file."""
    sound, rate = play(path)[3:]
    assert sound is not None
    assert len(sound) / rate == pytest.approx(length_s, abs=0.12)
    begins_s = first_s + float(video.times[0])
    for second in range(int(begins_s) + 1, int(begins_s + length_s) - 1):
        window = slice(*(round((second + part - begins_s) * rate) for part in (0.2, 0.8)))
        assert loudest_frequency(sound[window], rate) == pytest.approx(pitch_at(second), abs=6)


@pytest.mark.parametrize(("video", "shape", "section", "cut"), CASES, ids=told)
def test_a_clip_begins_with_what_is_showing_and_lasts_as_annotated(
    video: Unsteady, shape: Shape, section: tuple[float, float], cut: Cutter, folder: Path
) -> None:
    (start_s, end_s), out = section, folder / "clip.mp4"
    made = cut(inputs_of(video, shape, folder), start_s, end_s, out)
    played, first_s = play(out), start_s + made.offset_s
    length_s = min(end_s, video.picture_s) - first_s
    if cut is cut_keyframe:
        assert first_s <= start_s
        assert float(video.times[played.counters[0]] - video.times[0]) == pytest.approx(first_s, abs=1e-3)
        assert played.counters == list(range(played.counters[0], played.counters[-1] + 1))
        assert played.counters[-1] >= video.shown(start_s, end_s)[-1][0]
        assert made.duration_s >= length_s - FRAME_S
        assert made.duration_s <= length_s + LONGEST_FRAME_S + FRAME_S
    else:
        assert made.offset_s == pytest.approx(0, abs=1e-3)
        assert played.counters == [number for number, _ in video.shown(start_s, end_s)]
        assert played.times == pytest.approx([time for _, time in video.shown(start_s, end_s)], abs=1e-3)
        assert made.duration_s == pytest.approx(length_s, abs=FRAME_S + 1e-3)
    assert made.frames == len(played.counters)
    assert_sounds_like(video, out, first_s, length_s)


@pytest.mark.parametrize("shape", [pytest.param("progressive", marks=pytest.mark.soak), "dash"])
@pytest.mark.parametrize("video", SECTIONS, ids=str)
def test_the_whole_of_such_a_video_is_copied(video: Unsteady, shape: Shape, folder: Path, tmp_path: Path) -> None:
    made = copy_whole(inputs_of(video, shape, folder), tmp_path / "whole.mp4")
    played = play(tmp_path / "whole.mp4")
    assert played.counters == list(range(len(video.times)))
    assert made.duration_s == pytest.approx(video.picture_s, abs=FRAME_S)
    assert played.sound is not None
    assert len(played.sound) / played.rate == pytest.approx(video.sound_s, abs=0.12)


@pytest.fixture(scope="module")
def clips(folder: Path) -> dict[Path, list[int]]:
    """A clip of each kind and each cut, and the numbers of its frames."""
    made: dict[Path, list[int]] = {}
    for video, sections in SECTIONS.items():
        paths = {cut: folder / f"{video.name}-{cut.__name__}.mp4" for cut in CUTTERS}
        for cut, path in paths.items():
            cut(inputs_of(video, "dash", folder), *sections[0], path)
        whole = folder / f"{video.name}-copy_whole.mp4"
        copy_whole(inputs_of(video, "dash", folder), whole)
        made |= {path: with_pyav(path) for path in (*paths.values(), whole)}
    return made


COPIES_OF_AV1 = ("AV1-cut_keyframe.mp4", "AV1-copy_whole.mp4")
COPIES_OF_OPEN_GROUPS = ("open groups-cut_keyframe.mp4", "open groups-copy_whole.mp4")
UNREADABLE: dict[Callable[[Path], list[int]], tuple[str, ...]] = {
    with_opencv: COPIES_OF_AV1,
    with_decord: (*COPIES_OF_AV1, *COPIES_OF_OPEN_GROUPS),
}
"""What stream copies keep of their source and these readers do not know: the FFmpeg in both has no decoder for AV1, and
decord seeks in open groups to the wrong frame."""


@pytest.mark.parametrize("read", [with_opencv, with_decord, with_torchcodec])
def test_a_reader_sees_every_frame_of_such_clips(
    read: Callable[[Path], list[int]], clips: dict[Path, list[int]]
) -> None:
    for path, numbers in clips.items():
        if path.name in UNREADABLE.get(read, ()):
            continue
        assert read(path) == numbers, path.name


@pytest.mark.parametrize("video", [OPEN_GOP, AV1], ids=str)
def test_a_steady_video_costs_no_request_more_unless_frames_are_stored_behind_the_end(
    video: Unsteady, folder: Path, tmp_path: Path
) -> None:
    line = Disk()
    cut_smart(inputs_of(video, "dash", folder, line), 1.5, 3.5, tmp_path / "clip.mp4")
    assert line.requests <= 4


def test_a_clip_shorter_than_the_decoder_waits_for_plays(folder: Path) -> None:
    """Its one reader of the first frame reads to the file's end, before the first sound is read."""
    made = cut_exact(inputs_of(SHORT, "dash", folder), 1, 1.06, folder / "clip.mp4")
    assert (made.frames, made.sound) == (2, True)


# -- a gap, and damage -------------------------------------------------------------------------------------------------


def with_gap_before_fragment(content: bytes, number: int, gap_s: int, listed_in: int) -> bytes:
    """A fragmented file whose fragments from one on begin later; the index counts the gap to one of the fragments."""
    changed, fragment = bytearray(content), 0
    for one in boxes(content):
        if one.name == "moof":
            if fragment >= number:
                at = content.index(b"tfdt", one.start) + 8
                struct.pack_into(">Q", changed, at, struct.unpack_from(">Q", content, at)[0] + gap_s * TICK.denominator)
            fragment += 1
        elif one.name == "sidx":
            (scale,) = struct.unpack_from(">I", content, one.start + 16)
            at = one.start + (44 if content[one.start + 8] else 36) - 4 + 12 * listed_in + 4
            struct.pack_into(">I", changed, at, struct.unpack_from(">I", content, at)[0] + gap_s * scale)
    return bytes(changed)


@pytest.mark.parametrize("cut", [cut_smart, cut_exact])
@pytest.mark.parametrize("listed_in", [0, 1], ids=["in the fragment before", "in the fragment after"])
@pytest.mark.parametrize("section", [(4, 9), (3, 5), (1, 4)], ids=["over the start", "all", "over the end"])
def test_a_gap_between_fragments_is_a_gap(
    cut: Cutter, listed_in: int, section: tuple[int, int], folder: Path, tmp_path: Path
) -> None:
    content = with_gap_before_fragment(files_of(SHORT, folder)["picture"], 1, 4, listed_in)
    times = (*steady(0, 2), *steady(6, 10))
    made = cut(media_of(content, 10), *section, tmp_path / "clip.mp4")
    expected = Unsteady("", times, 0).shown(*section)
    played = play(tmp_path / "clip.mp4")
    assert played.counters == [number for number, _ in expected]
    assert played.times == pytest.approx([time for _, time in expected], abs=1e-3)
    assert made.duration_s == pytest.approx(section[1] - section[0], abs=FRAME_S)


@pytest.mark.parametrize("cut", CUTTERS)
@pytest.mark.parametrize("section", [(1, 3), (2.5, 5), (1, 5)], ids=["over the end", "over the start", "inside"])
def test_a_fragment_that_cannot_be_read_is_no_gap(
    cut: Cutter, section: tuple[float, float], folder: Path, tmp_path: Path
) -> None:
    content = files_of(SHORT, folder)["picture"]
    damaged = [one for one in boxes(content) if one.name == "moof"][1]
    content = content[: damaged.start + 4] + b"free" + content[damaged.start + 8 :]
    with pytest.raises(MayWorkLater) as caught:
        cut(media_of(content, 6), *section, tmp_path / "clip.mp4")
    assert caught.value.category is Category.MEDIA_ERROR


@pytest.mark.parametrize("cut", CUTTERS)
@pytest.mark.parametrize("name", ["both", "picture"])
def test_a_slide_show_that_breaks_off_is_damaged(cut: Cutter, name: str, folder: Path, tmp_path: Path) -> None:
    """The slide that shows in the section is there, but the file ends before the next one that the header lists."""
    whole = files_of(SLIDES, folder)[name]
    with av.open(str(path_of(whole, tmp_path))) as container:
        places = [packet.pos for packet in container.demux(video=0) if packet.size and packet.pos]
    content = whole[: places[1] - 40]
    with pytest.raises(ClipError) as caught:
        cut(media_of(content, SLIDES.sound_s, SLIDES.picture_s), 5, 15, tmp_path / "clip.mp4")
    assert caught.value.category is Category.MEDIA_ERROR


@pytest.fixture(scope="module")
def webm(folder: Path) -> bytes:
    """The picture of a video with a gap from 3 to 8 s."""
    encode(VP9, folder / "source.mkv")
    copy(folder / "source.mkv", folder / "picture.webm", ("video",), {"cues_to_front": "1"})
    return (folder / "picture.webm").read_bytes()


def test_a_gap_in_a_webm_is_a_gap(webm: bytes, folder: Path) -> None:
    for start_s, end_s in ((4, 10), (1, 6), (4, 7)):
        inputs = [RemoteMedia(RangeFile(Disk({"it": webm}), "it"), "webm", 12.0)]
        made = cut_smart(inputs, start_s, end_s, folder / "clip.mp4")
        expected = VP9.shown(start_s, end_s)
        assert play(folder / "clip.mp4").counters == [number for number, _ in expected]
        assert play(folder / "clip.mp4").times == pytest.approx([time for _, time in expected], abs=2e-3)
        assert made.duration_s == pytest.approx(end_s - start_s, abs=FRAME_S)


def test_a_cluster_of_a_webm_that_cannot_be_read_is_no_gap(webm: bytes, folder: Path) -> None:
    """The cluster of the frames after the gap; the next one is found again."""
    damaged = [one for one in elements(webm) if one.name == f"{CLUSTER:x}"]
    with av.open(str(folder / "picture.webm")) as container:
        keyframes = [packet for packet in container.demux(video=0) if packet.size and packet.is_keyframe]
    place = next(one for one in damaged if one.start <= (keyframes[2].pos or 0) < one.end)
    content = webm[: place.start] + bytes(place.end - place.start) + webm[place.end :]
    with pytest.raises(MayWorkLater):
        cut_smart([RemoteMedia(RangeFile(Disk({"it": content}), "it"), "webm", 12.0)], 1, 10.5, folder / "clip.mp4")


def path_of(content: bytes, folder: Path) -> Path:
    (folder / "whole.mp4").write_bytes(content)
    return folder / "whole.mp4"


# -- where a video ends ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", CUTTERS)
@pytest.mark.parametrize("shape", ["progressive", "dash"])
def test_a_section_after_the_picture_is_past_the_end(cut: Cutter, shape: Shape, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(Gone) as caught:
        cut(inputs_of(SHORT, shape, folder), 7, 10, tmp_path / "clip.mp4")
    assert caught.value.category is Category.PAST_END


@pytest.mark.parametrize("section", [(7, 10), (3, 9)], ids=["after the end", "over the end"])
def test_a_picture_shorter_than_the_reply_says_is_not_believed_alone(
    section: tuple[int, int], folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(EndsEarly) as caught:
        cut_smart(media_of(files_of(SHORT, folder)["picture"], 12), *section, tmp_path / "clip.mp4")
    assert caught.value.category is Category.MEDIA_ERROR
    assert caught.value.total_s == pytest.approx(6)


def test_sound_in_the_same_file_shows_that_it_is_whole(folder: Path, tmp_path: Path) -> None:
    content = files_of(SHORT, folder)["both"]
    made = cut_smart(media_of(content, 12), 3, 9, tmp_path / "clip.mp4")
    assert made.duration_s == pytest.approx(3, abs=FRAME_S)
    with pytest.raises(Gone):
        cut_smart(media_of(content, 12), 7, 10, tmp_path / "clip.mp4")


def test_the_longest_file_of_the_picture_alone_says_how_long_it_lasts() -> None:
    def one(video: str, audio: str, duration_s: float | None) -> Format:
        return Format("1", "u", "mp4", video, audio, duration_s=duration_s)

    sound, both = one("", "a", 30.0), one("v", "a", 30.0)
    assert picture_duration([one("v", "", 15.0), one("v", "", 14.9), sound, both], 30.0) == 15.0
    assert picture_duration([one("v", "", 15.0), one("v", "", 30.0)], 30.0) == 30.0
    assert picture_duration([one("v", "", None), sound, both], 30.0) == 30.0
    assert picture_duration([one("v", "", 31.0)], 30.0) == 30.0
    assert picture_duration([both], None) is None


# -- what a second file says -------------------------------------------------------------------------------------------


def test_the_same_picture_with_another_sound_is_no_second_file() -> None:
    picture = Format("134", "picture", "mp4", "v", "")
    first = MediaSource("", (picture, Format("140", "sound", "mp4", "", "a")), 20.0)
    second = replace(first, formats=(picture, Format("139", "other", "mp4", "", "a")))

    class Search:
        def next_source(self) -> MediaSource:
            return first

        def after(self, source: MediaSource, failure: MayWorkLater) -> MediaSource:
            if source == first:
                return second
            raise failure

    def fail(source: MediaSource, files: Sequence[RemoteMedia]) -> None:
        assert source in (first, second)
        raise EndsEarly("", Fraction(10))

    search: Any = Search()
    with pytest.raises(EndsEarly):
        VideoMedia(search, Disk(), HeaderSizes()).use(fail)


FULL, SMALLER = Video(duration_s=20), Video(duration_s=20, width=426, height=240)
CUT_SHORT = {134: Video(duration_s=10), 133: Video(duration_s=10, width=426, height=240)}


@pytest.fixture
def youtube(monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopbackYouTube]:
    with youtube_with_the_clip(monkeypatch) as running:
        yield running


@pytest.fixture
def job(tmp_path: Path) -> Iterator[DownloadClip]:
    with job_in(tmp_path) as job:
        yield job


def offer(youtube: LoopbackYouTube, *short_itags: int) -> None:
    """Replies that say 20 s of every file, some of which are whole files of 10 s."""
    spoilt = {itag: another_file(CUT_SHORT[itag].dash_video) for itag in short_itags}
    youtube.world.scenarios[CLIP.youtube_id] = Scenario(FULL, renditions=(SMALLER,), spoilt=spoilt)


def clip_at(start_s: float, end_s: float) -> Clip:
    return replace(CLIP, time_start=start_s, time_end=end_s)


def test_one_short_format_among_longer_ones_is_a_bad_format(youtube: LoopbackYouTube, job: DownloadClip) -> None:
    offer(youtube, 134)
    clip = clip_at(12.0, 15.0)
    outcome = attempt(job, clip)
    assert (outcome.status, outcome.itag) == ("done", "133+140")
    assert frames(job.layout.clip(clip)) == list(range(360, 450))


def test_a_second_file_that_ends_there_shows_where_the_video_ends(youtube: LoopbackYouTube, job: DownloadClip) -> None:
    offer(youtube, 134, 133)
    outcome = attempt(job, clip_at(12.0, 15.0))
    assert (outcome.status, outcome.category) == ("failed", Category.PAST_END)
    clip = clip_at(6.0, 16.0)
    outcome = attempt(job, clip)
    assert outcome.status == "done"
    assert outcome.duration_s == pytest.approx(4, abs=FRAME_S)
    assert frames(job.layout.clip(clip)) == list(range(180, 300))
