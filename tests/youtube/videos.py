"""Video files in YouTube's shapes, made with PyAV, each frame numbered.

A `Video` is a recipe. Its files are made when first asked for, in a cache folder below the system's temporary folder
under a name that depends on the recipe, and shared by all processes; one encode serves every shape by stream copy.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import random
import shutil
import tempfile
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cache, cached_property, lru_cache
from pathlib import Path
from typing import Literal

import av

from tests.youtube.boxes import mp4_ranges, webm_ranges
from tests.youtube.encoder import make_files

RECIPE_VERSION = 1
"""Raise it when the generator changes what it makes, so that no old file is served from the cache."""
PICTURE_ITAGS = {
    "h264": {144: 160, 240: 133, 360: 134, 480: 135, 720: 136, 1080: 137},
    "vp9": {144: 278, 240: 242, 360: 243, 480: 244, 720: 247, 1080: 248},
}
HEAD_BYTES = 1 << 20
"""The header and the index of a fragmented file lie well within these."""

ByteRange = tuple[int, int]
Spoil = Callable[[bytes], bytes]
"""Turns a file's bytes into those that are served in their place."""


@dataclass(frozen=True)
class MediaFile:
    """One file as YouTube would serve it."""

    itag: int
    path: Path
    mime_type: str
    video: Video
    init_range: ByteRange | None = None
    index_range: ByteRange | None = None
    spoil: Spoil | None = None

    @property
    def shape(self) -> Literal["dash", "progressive", "webm"]:
        if self.index_range is None:
            return "progressive"
        return "dash" if self.path.suffix == ".mp4" else "webm"

    @property
    def headers(self) -> Mapping[str, str]:
        """What is said of it beside its type and its size: nothing."""
        return {}

    @property
    def has_picture(self) -> bool:
        return self.mime_type.startswith("video/")

    @cached_property
    def size(self) -> int:
        return len(_spoilt(self.path, self.spoil)) if self.spoil else self.path.stat().st_size

    def read(self, first: int, last: int) -> bytes:
        """The bytes first..last."""
        if self.spoil:
            return _spoilt(self.path, self.spoil)[first : last + 1]
        with open(self.path, "rb") as content:
            content.seek(first)
            return content.read(last - first + 1)


@dataclass(frozen=True)
class Video:
    """The recipe of one video.

    `rotation` is the display rotation in degrees, counter-clockwise; width and height are those of the stored picture.
    Without an `edit_list` the picture of a video with B-frames starts at pts 1024, as some of YouTube's do, else at 0.
    With `vfr` the gaps between frames vary from one to three frame times. `moving=False` makes a still picture but for
    the counter, which encodes in half the time. `crf` sets the picture's bitrate:
    22 gives about 430 kbit/s, and 560 with the sound, amid those of YouTube's 134 and 18. With `repeats` the video is a
    shorter one, several times over, which makes a long one in seconds: its frames are then numbered anew each time.
    """

    duration_s: float = 60
    fps: Fraction | int = 30
    width: int = 640
    height: int = 360
    sound: bool = True
    codec: Literal["h264", "vp9"] = "h264"
    fragment_s: tuple[float, float] = (4.8, 5.3)
    """Each fragment's length is drawn from here; it starts with a keyframe."""
    shortest_gop_s: float = 2.0
    """Half of the fragments have a second keyframe, nowhere nearer to another one than this."""
    bframes: int = 2
    edit_list: bool = True
    vfr: bool = False
    rotation: int = 0
    moving: bool = True
    crf: int = 22
    seed: int = 0
    repeats: int = field(default=1, repr=False)
    pitch: int = field(default=0, repr=False)
    """Hz by which the tone of the sound is higher than another video's."""

    def __str__(self) -> str:
        """Tells recipes apart; what was added to them later only where it is used, so that older files stay valid."""
        later = (f" x {self.repeats}" if self.repeats > 1 else "", f" + {self.pitch} Hz" if self.pitch else "")
        return repr(self) + "".join(later)

    @property
    def once(self) -> Video:
        """What is repeated."""
        return replace(self, duration_s=self.duration_s / self.repeats, repeats=1)

    @property
    def quality(self) -> int:
        """What YouTube calls 360p: the shorter side, nearest standard size."""
        return min(PICTURE_ITAGS["h264"], key=lambda lines: abs(lines - min(self.width, self.height)))

    @property
    def picture_itag(self) -> int:
        """The itag of the picture alone."""
        return PICTURE_ITAGS[self.codec][self.quality]

    @property
    def sample_rate(self) -> int:
        """Samples a second of the sound: AAC has CD's, Opus knows only 48 kHz."""
        return 44_100 if self.codec == "h264" else 48_000

    @property
    def time_base(self) -> Fraction:
        """Of the picture's timestamps: 1/15360 s at 30 fps, 1/30000 s at 29.97, as YouTube's files have it."""
        fps = Fraction(self.fps)
        return Fraction(1, fps.numerator * (512 if fps.denominator == 1 else 1))

    @property
    def progressive(self) -> MediaFile:
        """Itag 18: H.264 and AAC interleaved in one mp4, its header in front."""
        return self.files[18]

    @property
    def dash_video(self) -> MediaFile:
        """Itag 134 at 360p (or 243 for VP9): the picture alone, fragmented, with an index in front."""
        return self.files[self.picture_itag]

    @property
    def dash_audio(self) -> MediaFile:
        """Itag 140 (or 251 for Opus): the sound alone, fragmented, with an index in front."""
        return self.files[140 if self.codec == "h264" else 251]

    @property
    def files(self) -> dict[int, MediaFile]:
        """Every file of this video, by itag."""
        return _made(self)

    @cached_property
    def frame_times(self) -> list[Fraction]:
        """When each frame is shown, in seconds from the first one."""
        if not self.vfr:
            return [index / Fraction(self.fps) for index in range(round(self.duration_s * self.fps))]
        rng, tick, times = random.Random(self.seed), 0, []
        while tick < self.duration_s * self.fps:
            times.append(tick / Fraction(self.fps))
            tick += rng.choice((1, 1, 1, 2, 3))
        return times

    def frame_at(self, seconds: float) -> int:
        """The number of the first frame shown at or after that time."""
        return bisect_left(self.frame_times, Fraction(seconds).limit_denominator(1_000_000))

    def counter(self, index: int) -> int:
        """The number that is drawn on a frame."""
        return index % (len(self.frame_times) // self.repeats)

    @cached_property
    def keyframes(self) -> list[int]:
        """The numbers of the keyframes, in order."""
        if self.repeats > 1:
            once = self.once
            starts = range(0, len(self.frame_times), len(once.frame_times))
            return [start + keyframe for start in starts for keyframe in once.keyframes]
        return sorted({self.frame_at(time) for time in self._keyframe_times()} & set(range(len(self.frame_times))))

    def _keyframe_times(self) -> Iterator[float]:
        rng, start = random.Random(self.seed), 0.0
        while start < self.duration_s:
            length = rng.uniform(*self.fragment_s)
            yield start
            if length > 2 * self.shortest_gop_s and rng.random() < 0.5:
                yield start + rng.uniform(self.shortest_gop_s, length - self.shortest_gop_s)
            start += length


@lru_cache(maxsize=32)
def _spoilt(path: Path, spoil: Spoil) -> bytes:
    return spoil(path.read_bytes())


@cache
def _made(video: Video) -> dict[int, MediaFile]:
    recipe = f"{RECIPE_VERSION} {av.__version__} {video}"
    root = Path(tempfile.gettempdir()) / f"loopback-youtube-{os.getuid()}"
    folder = root / hashlib.sha256(recipe.encode()).hexdigest()[:20]
    root.mkdir(mode=0o700, exist_ok=True)
    with open(f"{folder}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the end of the process, or of the block, gives it back
        if not folder.exists():
            _make(video, folder)
    describe = _mp4_files if video.codec == "h264" else _webm_files
    return {file.itag: file for file in describe(video, folder)}


def _make(video: Video, folder: Path) -> None:
    unfinished = Path(tempfile.mkdtemp(prefix="making-", dir=folder.parent))
    try:
        make_files(video, unfinished)
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _mp4_files(video: Video, folder: Path) -> Iterator[MediaFile]:
    picture, sound = _h264_codec(folder / "picture.mp4"), "mp4a.40.2"
    both = f"{picture}, {sound}" if video.sound else picture
    if video.quality == 360:
        yield MediaFile(18, folder / "both.mp4", f'video/mp4; codecs="{both}"', video)
    yield _adaptive(video.picture_itag, folder / "picture.mp4", f'video/mp4; codecs="{picture}"', video, mp4_ranges)
    if video.sound:
        yield _adaptive(140, folder / "sound.mp4", f'audio/mp4; codecs="{sound}"', video, mp4_ranges)


def _webm_files(video: Video, folder: Path) -> Iterator[MediaFile]:
    yield _adaptive(video.picture_itag, folder / "picture.webm", 'video/webm; codecs="vp9"', video, webm_ranges)
    if video.sound:
        yield _adaptive(251, folder / "sound.webm", 'audio/webm; codecs="opus"', video, webm_ranges)


def _adaptive(
    itag: int, path: Path, mime_type: str, video: Video, ranges: Callable[[bytes], tuple[ByteRange, ByteRange]]
) -> MediaFile:
    with open(path, "rb") as file:
        return MediaFile(itag, path, mime_type, video, *ranges(file.read(HEAD_BYTES)))


def _h264_codec(path: Path) -> str:
    with av.open(str(path)) as media:
        extradata = media.streams.video[0].codec_context.extradata
    assert extradata is not None
    return f"avc1.{extradata[1:4].hex()}"
