"""Plain frozen records that cross processes: clips and archives, and what became of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import date
from enum import IntEnum, StrEnum
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple

Split = Literal["train", "val", "test"]
Subset = Literal["train", "validate", "test"]
Cut = Literal["smart", "exact", "keyframe", "none"]
Status = Literal["done", "failed", "postponed"]
Source = Literal["youtube", "mirror", "folder"]
"""Where a clip comes from; `folder`: a file that another tool has made (--adopt)."""
ClipKey = tuple[str, float, float]
Thumbnail = Literal["there", "missing", "no answer"]
"""What the thumbnail host says of a video: it answers 404 for most videos that are gone, and 200 for living ones."""

ASKED_WITH = " (asked with "
"""Stands between YouTube's words and the engines' versions in the reason of a clip that is not offered."""
NO_CLASS = -1
"""The class number of a clip without a label."""
KEY = ["youtube_id", "time_start", "time_end"]
"""The columns that identify a clip in every table."""
SPLIT_OF: dict[Subset, Split] = {"train": "train", "validate": "val", "test": "test"}


class Category(StrEnum):
    """Why a clip is missing: YouTube said that it is gone; YouTube does not offer it to us; or it may work later."""

    UNAVAILABLE = "unavailable"
    PRIVATE = "private"
    TERMINATED = "terminated"
    REMOVED = "removed"
    COPYRIGHT = "copyright"
    TERMS = "terms"
    AGE_RESTRICTED = "age_restricted"
    MEMBERS_ONLY = "members_only"
    REGION_BLOCKED = "region_blocked"
    LIVE = "live"
    NOT_FOUND = "not_found"
    PAST_END = "past_end"

    NOT_OFFERED = "not_offered"
    """The video lives, but YouTube refuses it to every client that the engines pose as: made for kids, this country."""

    THROTTLED = "throttled"
    NETWORK = "network"
    SERVER_ERROR = "server_error"
    MEDIA_ERROR = "media_error"
    ENGINE_ERROR = "engine_error"
    TIMEOUT = "timeout"
    LOST_WORKER = "lost_worker"

    @property
    def gone(self) -> bool:
        """Whether YouTube said that this video, or this part of it, does not exist or is not shown."""
        return self.settled and self is not Category.NOT_OFFERED

    @property
    def settled(self) -> bool:
        """Whether a re-run has nothing to fetch: the clip is gone or not offered."""
        return self not in MAY_WORK_LATER


MAY_WORK_LATER = frozenset(
    {
        Category.THROTTLED,
        Category.NETWORK,
        Category.SERVER_ERROR,
        Category.MEDIA_ERROR,
        Category.ENGINE_ERROR,
        Category.TIMEOUT,
        Category.LOST_WORKER,
    }
)
GONE_VIDEO = frozenset(one for one in Category if one.gone) - {Category.NOT_FOUND, Category.PAST_END}
"""The categories that say of a whole video that it is gone: not that the mirror lacks a clip, nor that a video ends
before it."""


class ClipState(IntEnum):
    """What is known of a clip before a run; clips are tried in the order of the first four."""

    NEVER_TRIED = 0
    MAY_WORK = 1
    NOT_OFFERED = 2
    WAS_GONE = 3
    ON_DISK = 4
    LINKED = 5
    """It is on disk now, linked from another version's folder."""
    MOVED = 6
    """It is on disk now, moved to its place from elsewhere in the data set's folder."""
    ADOPTED = 7
    """It is on disk now, taken from a file that another tool has made."""


@dataclass(frozen=True, slots=True)
class Clip:
    """One row of the annotations: a segment of a YouTube video, its times in seconds from the video's beginning."""

    youtube_id: str
    time_start: float
    time_end: float
    label: str
    """As annotated, with spaces; empty where the subset has no labels."""
    split: Split
    again: bool = field(default=False, compare=False)
    """Whether it goes out again in this run because it was refused: then every client is asked."""
    kind: ClassVar = "clip"

    @property
    def key(self) -> ClipKey:
        """What identifies a clip: one video may have several segments, with different labels."""
        return (self.youtube_id, self.time_start, self.time_end)

    def __str__(self) -> str:
        return f"{self.youtube_id} {self.time_start:g}-{self.time_end:g} s"

    def failed(self, category: Category, reason: str) -> Outcome:
        """Return the outcome of a clip whose worker did not live to report one."""
        return Outcome(self, "failed", category, reason)


@dataclass(frozen=True, slots=True)
class Video:
    """Several wanted sections of one video, which one worker fetches with one player call."""

    clips: tuple[Clip, ...]
    """At least one; fetched in this order."""
    kind: ClassVar = "clip"

    @property
    def youtube_id(self) -> str:
        return self.clips[0].youtube_id

    def __str__(self) -> str:
        return f"{self.youtube_id}, {len(self.clips)} sections"

    def failed(self, category: Category, reason: str) -> Outcome:
        """Return the outcome of the section in work, whose worker did not live to report one."""
        return self.clips[0].failed(category, reason)

    def after(self, clip: Clip) -> Video | Clip | None:
        """Return what is left once the outcome of a section is known; None if nothing is."""
        return video_of([one for one in self.clips if one.key != clip.key or one.split != clip.split])


def video_of(clips: Sequence[Clip]) -> Video | Clip | None:
    """Return sections of one video as one item: a single one as the clip that it is, and None without any."""
    return Video((*clips,)) if len(clips) > 1 else next(iter(clips), None)


@dataclass(frozen=True, slots=True)
class FoundClip(Clip):
    """A clip that is missing at its place, with files elsewhere whose names say that they are it."""

    files: tuple[Path, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class PackedClip(Clip):
    """A clip that is in a WebDataset shard."""

    shard: Path = field(default=Path(), compare=False)
    offset: int = field(default=0, compare=False)
    """Where its file begins in the shard, in bytes."""
    size: int = field(default=0, compare=False)
    """In bytes."""
    mtime_ns: int = field(default=0, compare=False)
    """The modification time of the shard, and so the clip's."""


@dataclass(frozen=True, slots=True)
class Shard:
    """One part of the clips, with a run of its own; `number` counts from 1 to `of`."""

    number: int
    of: int

    @property
    def name(self) -> str:
        """`03of16`: padded, so that the files of all parts are listed in order."""
        return f"{self.number:0{len(str(self.of))}}of{self.of}"

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"


@dataclass(frozen=True, slots=True)
class PictureSettings:
    """What a clip's picture is to be like (`--short-side`, `--fps`, `--keyframes`); None: as in the source."""

    short_side: int | None = None
    """Pixels of the shorter side; a smaller picture stays as it is."""
    fps: float | None = None
    """Frames a second."""
    keyframes: int | None = None
    """The most frames from one keyframe to the next."""

    def __bool__(self) -> bool:
        return any((self.short_side, self.fps, self.keyframes))

    @property
    def texts(self) -> tuple[str, str, str]:
        """The fields as a table has them: short side, rate, keyframes, empty where they are None."""
        short_side, fps, keyframes = (f"{one:g}" if one else "" for one in (self.short_side, self.fps, self.keyframes))
        return short_side, fps, keyframes

    @property
    def name(self) -> str:
        """What tells clips made with these settings from others in names: `256`, `256_15fps`, `keyframes16`."""
        short_side, fps, keyframes = self.texts
        return "_".join(filter(None, (short_side, fps and f"{fps}fps", keyframes and f"keyframes{keyframes}")))


AS_IN_SOURCE = PictureSettings()


@dataclass(frozen=True, slots=True)
class Facts:
    """The measured facts about a clip's file; size and modification time tell whether it is still the same file."""

    size: int
    """In bytes."""
    mtime_ns: int
    frames: int
    duration_s: float
    """Of the picture track."""
    width: int
    height: int
    sound: bool
    sha256: str = ""
    """Empty unless it was asked for."""
    keyframes: int = 0
    """The most frames from one keyframe to the next, or to the end."""


class StableFacts(NamedTuple):
    """The facts about a video that hardly change from one answer to the next; None where no answer had them."""

    title: str | None
    channel: str | None
    language: str | None


@dataclass(frozen=True, slots=True)
class VideoFacts:
    """The facts about a video in an answer of YouTube's; None, or no keywords, where it says nothing.

    The texts are other people's: they may hold any character but half of one, and are data, never to be run or shown
    unescaped.
    """

    youtube_id: str
    title: str | None = None
    channel: str | None = None
    channel_id: str | None = None
    description: str | None = None
    keywords: tuple[str, ...] = ()
    views: int | None = None
    length_s: float | None = None
    category: str | None = None
    published: date | None = None
    language: str | None = None
    """Of the sound that the video was made with, as YouTube writes it: `en`, `pt-BR`."""
    width: int | None = None
    """In pixels, as `height` and `fps` of the format whose picture was taken."""
    height: int | None = None
    fps: float | None = None

    @property
    def stable(self) -> StableFacts:
        return StableFacts(self.title, self.channel, self.language)

    def completed_by(self, older: VideoFacts | None) -> VideoFacts:
        """Return these facts, with those of an older answer where this one has none."""
        if older is None:
            return self
        lacking = (one.name for one in fields(self) if getattr(self, one.name) in (None, ()))
        return replace(self, **{name: getattr(older, name) for name in lacking})


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of one attempt at one clip.

    `postponed` means that every request is refused, there is no connection, or it is open whether YouTube's word is
    about this clip: the clip goes back to the queue, or another outcome decides it later. Times are in seconds, sizes
    in bytes.
    """

    clip: Clip
    status: Status
    category: Category | None = None
    reason: str = ""
    engine: str = ""
    itag: str = ""
    """`134+140` where video and sound come from two formats."""
    height: int | None = None
    resolve_s: float | None = None
    download_s: float | None = None
    cut_s: float | None = None
    bytes_received: int = 0
    requests: int = 0
    """Requests for media; the engines' own calls are not counted."""
    calls: int = 0
    """Player calls, of any client, that this attempt made; the one for a visitor id counts as well."""
    clip_bytes: int | None = None
    offset_s: float | None = None
    """First frame's time minus time_start: negative where the clip starts early, at a keyframe."""
    duration_s: float | None = None
    host: str = ""
    cut: Cut | None = None
    sound: bool | None = None
    """Whether the clip has a sound track; None if unknown."""
    retry_after_s: float | None = None
    facts: Facts | None = None
    """The facts about a clip that was on disk, if the job measures them."""
    source: Source = "youtube"
    max_height: int | None = None
    """What the run asked for (`--max-height`); None where it did not choose, as at the mirror."""
    picture: PictureSettings = AS_IN_SOURCE
    """What the run asked for, too."""
    unconfirmed: bool = False
    """Whether YouTube called the video unavailable and said nothing else, as it does of every video in some blocks."""
    thumbnail: Thumbnail | None = None
    """The thumbnail of such a video; None if nobody asked."""
    living_thumbnails: tuple[Thumbnail, ...] = ()
    """Those of videos that came in this run, asked for beside it: they show whether the host can be believed."""
    notice: str = ""
    """What a person should know that concerns no single clip; several workers may find the same."""
    video: VideoFacts | None = None
    """What YouTube said of the video; only with the first of its sections in each split."""

    @property
    def item(self) -> Clip:
        return self.clip


@dataclass(frozen=True, slots=True)
class ControlCall:
    """A clip that came before, or is likely to come, and whose video is asked for without fetching it.

    If YouTube offers it, the failures before it are their own clips'; if not, they have a common cause.
    """

    clip: Clip
    kind: ClassVar = "control call"

    def failed(self, category: Category, reason: str) -> ControlResult:
        """Return the result of a control call whose worker did not live to report one."""
        return ControlResult(self, "failed", category, reason)


@dataclass(frozen=True, slots=True)
class ControlResult:
    """The result of a control call: `done` if the video's media were offered and could be read."""

    call: ControlCall
    status: Status
    category: Category | None = None
    reason: str = ""
    retry_after_s: float | None = None
    calls: int = 0
    """As in an Outcome."""

    @property
    def item(self) -> ControlCall:
        return self.call


@dataclass(frozen=True, slots=True)
class ArchiveListing:
    """What is known of an archive's content, as long as its entity tag is `etag`; clips are named by their files."""

    size: int
    """In bytes."""
    etag: str = ""
    names: frozenset[str] = frozenset()
    rejected: frozenset[str] = frozenset()
    """Those that do not decode, or do not have the right length."""
    complete: bool = False
    """Whether it holds no other clip that can be read."""


@dataclass(frozen=True, slots=True)
class ArchiveRequest:
    """An archive of the mirror to read, and the missing clips that are known to be in it."""

    url: str
    names: frozenset[str] = frozenset()
    all_known: bool = False
    """Whether it holds no other missing clip; else any of them may be in it."""
    rejected: frozenset[str] = frozenset()
    """Its clips that are not to be checked again."""
    kind: ClassVar = "archive"

    def failed(self, category: Category, reason: str) -> ArchiveResult:
        """Return the result of an archive whose worker did not live to report one."""
        return ArchiveResult(self, "failed", category, reason)


@dataclass(frozen=True, slots=True)
class ArchiveProgress:
    """How far an archive has been read, in bytes, and the wanted clip that is being extracted, if any."""

    url: str
    position: int
    size: int
    name: str = ""


@dataclass(frozen=True, slots=True)
class ArchiveResult:
    """The result of reading an archive, besides its clips. `postponed` means the same as for a clip."""

    request: ArchiveRequest
    status: Status
    category: Category | None = None
    reason: str = ""
    retry_after_s: float | None = None
    listing: ArchiveListing | None = None
    """The content as far as it was read; None if nothing arrived."""

    @property
    def item(self) -> ArchiveRequest:
        return self.request


Item = Clip | Video | ArchiveRequest | ControlCall
"""A unit of work."""
Result = Outcome | ArchiveResult | ControlResult
"""Its final result."""
PartialResult = Outcome | ArchiveProgress
"""What a worker reports while it reads an archive."""
