"""Plain frozen data that crosses processes: what is wanted, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import ClassVar, Literal

Split = Literal["train", "val", "test"]
Subset = Literal["train", "validate", "test"]
Cut = Literal["smart", "exact", "keyframe", "none"]
Status = Literal["done", "failed", "postponed"]
Source = Literal["youtube", "mirror"]
ClipKey = tuple[str, float, float]

KEY = ["youtube_id", "time_start", "time_end"]
"""The columns that tell two clips apart in every table."""
SPLIT_OF: dict[Subset, Split] = {"train": "train", "validate": "val", "test": "test"}


class Category(StrEnum):
    """Why a clip is missing. The first group is YouTube's word that it is gone; the second may work later."""

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

    THROTTLED = "throttled"
    NETWORK = "network"
    SERVER_ERROR = "server_error"
    MEDIA_ERROR = "media_error"
    ENGINE_ERROR = "engine_error"
    TIMEOUT = "timeout"
    LOST_WORKER = "lost_worker"

    @property
    def gone(self) -> bool:
        """Whether asking again is unlikely to help."""
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


class ClipState(IntEnum):
    """What is known of a clip before a run, in the order in which they are tried."""

    NEVER_TRIED = 0
    MAY_WORK = 1
    WAS_GONE = 2
    ON_DISK = 3
    LINKED = 4
    """It was not, but now is, as another version's folder had it."""


@dataclass(frozen=True, slots=True)
class Clip:
    """One row of the annotations: a segment of a YouTube video, in seconds from its beginning."""

    youtube_id: str
    time_start: float
    time_end: float
    label: str
    """As annotated, with spaces; empty where the subset has no labels."""
    split: Split
    kind: ClassVar = "clip"

    @property
    def key(self) -> ClipKey:
        """What tells two clips apart: one video may have several segments, with different labels."""
        return (self.youtube_id, self.time_start, self.time_end)

    def __str__(self) -> str:
        return f"{self.youtube_id} {self.time_start:g}-{self.time_end:g} s"

    def failed(self, category: Category, reason: str) -> Outcome:
        """What to say of it where no worker lived to say anything."""
        return Outcome(self, "failed", category, reason)


@dataclass(frozen=True, slots=True)
class Shard:
    """One part of the clips, which has a run of its own: the first is 1 of so many."""

    number: int
    of: int

    @property
    def name(self) -> str:
        """`03of16`, as long for each of them, so that their files are listed in order."""
        return f"{self.number:0{len(str(self.of))}}of{self.of}"

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"


@dataclass(frozen=True, slots=True)
class Facts:
    """What the file of a clip is like; the size and the time of its last change tell whether it still is that file."""

    size: int
    """In bytes."""
    mtime_ns: int
    frames: int
    duration_s: float
    """Of the picture."""
    width: int
    height: int
    sound: bool
    sha256: str = ""
    """Where it was asked for."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one attempt at one clip.

    `postponed` means that YouTube or the line refused everybody: the clip goes back to the queue and has not failed.
    Times are in seconds, sizes in bytes.
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
    clip_bytes: int | None = None
    offset_s: float | None = None
    """First frame's time minus time_start: negative where the clip starts early, at a keyframe."""
    duration_s: float | None = None
    host: str = ""
    cut: Cut | None = None
    sound: bool | None = None
    """Whether the clip has any."""
    retry_after_s: float | None = None
    facts: Facts | None = None
    """Of a clip that was on disk, where they were looked for."""
    source: Source = "youtube"

    @property
    def item(self) -> Clip:
        return self.clip


@dataclass(frozen=True, slots=True)
class ArchiveListing:
    """What is known of an archive in one state, which the server calls `etag`; clips go by the names of their files."""

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
    """An archive of the mirror to be read, and the missing clips that are known to be in it."""

    url: str
    names: frozenset[str] = frozenset()
    all_known: bool = False
    """It holds no other one; else any of them may be in it."""
    rejected: frozenset[str] = frozenset()
    """Its clips that are not to be checked again."""
    kind: ClassVar = "archive"

    def failed(self, category: Category, reason: str) -> ArchiveResult:
        """What to say of it where no worker lived to say anything."""
        return ArchiveResult(self, "failed", category, reason)


@dataclass(frozen=True, slots=True)
class ArchiveProgress:
    """How far an archive has been read, in bytes, and the clip whose turn it is, if it is one that is wanted."""

    url: str
    position: int
    size: int
    name: str = ""


@dataclass(frozen=True, slots=True)
class ArchiveResult:
    """What came of reading an archive, besides its clips. `postponed` is as of a clip."""

    request: ArchiveRequest
    status: Status
    category: Category | None = None
    reason: str = ""
    retry_after_s: float | None = None
    listing: ArchiveListing | None = None
    """As far as it was read; None where nothing came."""

    @property
    def item(self) -> ArchiveRequest:
        return self.request


Item = Clip | ArchiveRequest
"""What a worker has in hand."""
Result = Outcome | ArchiveResult
"""What came of it in the end."""
PartialResult = Outcome | ArchiveProgress
"""What there is to say of an archive meanwhile."""
