"""The options of the command as one record: what each may be, and what it means."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Literal

from kinetics.records import Cut, ListChoice, PictureSettings, Retry, Shard, SourceChoice, Subset, Version
from kinetics.storage.ledger import PICTURE_FIELDS


class Command(StrEnum):
    """What the program does: each but the first is named by an option of its own."""

    DOWNLOAD = "download"
    REPORT = "report"
    LIST_CLASSES = "list-classes"
    VERIFY = "verify"
    FRAMES = "frames"
    SOUND = "sound"
    SHARDS = "shards"
    REPACK = "repack"
    LISTS = "lists"
    MANIFEST = "manifest"
    RESIZE = "resize"
    COMPARE = "compare"


ON_CLIPS = frozenset({*Command} - {Command.DOWNLOAD, Command.REPORT, Command.LIST_CLASSES, Command.COMPARE})
"""Commands that work on the clips on disk, so they need a folder, and clips in it rather than whole videos."""
ON_ALL_CLIPS = frozenset({Command.SHARDS, Command.REPACK, Command.LISTS})
"""Commands that write one set of files about all clips, so a part of the clips is of no use to them."""


@dataclass(frozen=True, slots=True)
class Options:
    """The options, with their defaults; each field is named as its option, unless its text says otherwise."""

    command: Command = Command.DOWNLOAD
    version: Version = "700"
    subset: Subset | Literal["all"] = "train"
    annotations: Path | None = None
    format: str | None = None
    clip_list: ListChoice = "all"
    refresh: bool = False
    classes: Sequence[str] | None = None
    only: Path | None = None
    limit: int | None = None
    sample: int | None = None
    seed: int = 0
    shard: Shard | None = None
    cut: Cut = "smart"
    source: SourceChoice = "youtube"
    max_height: int = 360
    """In pixels."""
    retry: Retry = "due"
    output: Path = Path()
    """The folder; with a URL, the folder on this machine for what cannot be there."""
    url: str = ""
    """The URL given to --output, empty for a folder."""
    workers: int | None = None
    scheduler: str | None = None
    engine: tuple[str, ...] = ("pytubefix", "yt-dlp")
    """The engines to ask, in this order."""
    timeout: float | None = None
    """In seconds."""
    rate: float | Literal["none"] | None = None
    """Clips an hour; `none` for no limit, None for what YouTube is said to allow a guest."""
    limit_rate: float | None = None
    """Bytes a second."""
    into_shards: int | None = None
    """Clips in each shard."""
    no_reuse: bool = False
    adopt: Path | None = None
    mix: bool = False
    no_thumbnails: bool = False
    cookies: Path | None = None
    proxy: str | None = None
    dry_run: bool = False
    quick: bool = False
    short_side: int | None = None
    """In pixels."""
    fps: float | None = None
    keyframes: int | None = None
    """The most frames from one to the next."""
    quality: int | None = None
    """1 to 100."""
    frames: float | Literal["all"] | None = None
    """Frames a second."""
    sound: Literal["wav", "mp3", "flac"] | None = None
    shards: int | None = None
    """Clips in each shard."""
    repack: int | None = None
    """Clips in each shard."""
    manifest: Path | None = None
    """The file to write it to; None for the one beside the data set's folder."""
    compare: tuple[Path, Path] | None = None

    @property
    def picture(self) -> PictureSettings:
        """What the pictures of clips are to be like; --short-side is about single frames with --frames."""
        return PictureSettings(None if self.command is Command.FRAMES else self.short_side, self.fps, self.keyframes)

    @property
    def per_hour(self) -> float | None:
        """The most clips an hour that the user allows; None without such a limit."""
        return None if self.rate == "none" else self.rate

    @property
    def narrowed(self) -> bool:
        """Whether only some of the annotated clips are wanted."""
        return bool(self.classes or self.only or self.limit or self.sample or self.shard)

    @property
    def whole_subset(self) -> bool:
        """Whether all clips of the published lists are wanted, as clips."""
        return not (self.annotations or self.narrowed) and self.cut != "none"

    @property
    def given_picture(self) -> list[str]:
        """The options on the picture that were given, as they are typed."""
        return [f"--{name.replace('_', '-')}" for name in PICTURE_FIELDS if getattr(self, name)]


def conflicts(options: Options) -> Iterator[str]:
    """Yield what is wrong with options that do not go together."""
    command = options.command
    if options.quick and command is not Command.VERIFY:
        yield "--quick belongs to --verify"
    if command is not Command.FRAMES and options.quality is not None:
        yield "--quality belongs to --frames"
    yield from _picture_conflicts(options)
    if command in ON_CLIPS and options.cut == "none":
        yield f"--{command} is for clips, and --cut none keeps whole videos"
    yield from _download_conflicts(options)
    yield from _annotations_conflicts(options)
    if command in ON_ALL_CLIPS and options.shard:
        yield f"--{command} is for all clips on disk together, and --shard is one part of them"
    yield from _mirror_conflicts(options)
    if options.url and command in ON_CLIPS | {Command.COMPARE}:
        yield f"--{command} works in a folder: copy the data set to one, and give that to -o"


def _picture_conflicts(options: Options) -> Iterator[str]:
    command, asked = options.command, options.given_picture
    if command is Command.RESIZE and not asked:
        yield "--resize takes --short-side, --fps or --keyframes, which say what the clips are to be like"
    allowed = {Command.DOWNLOAD, Command.RESIZE} | ({Command.FRAMES} if asked == ["--short-side"] else set())
    if asked and command not in allowed:
        yield f"{asked[-1]} belongs to a download or to --resize, not to --{command}"
    if asked and command is Command.DOWNLOAD and options.cut not in ("smart", "exact"):
        yield f"--cut {options.cut} copies the picture as it is: {asked[0]} needs --cut smart or exact"


def _download_conflicts(options: Options) -> Iterator[str]:
    no_clips = options.command is not Command.DOWNLOAD or options.cut == "none"
    if options.into_shards and no_clips:
        yield "--into-shards belongs to a download of clips, without --cut none"
    if options.into_shards and options.scheduler and options.url:
        yield "the workers of --scheduler share a folder with this machine: --into-shards needs -o DIR with it"
    if options.adopt and no_clips:
        yield "--adopt belongs to a download of clips, without --cut none"


def _annotations_conflicts(options: Options) -> Iterator[str]:
    if options.format and not options.annotations:
        yield "--format says what is in --annotations: give that as well"
    if options.annotations and (options.clip_list != "all" or options.refresh):
        yield "--clip-list and --refresh are about the published lists, and --annotations takes their place"
    if options.clip_list == "cvdf" and options.version == "700":
        yield "CVDF has no list of Kinetics-700: the one of 700-2020 is another data set's"


def _mirror_conflicts(options: Options) -> Iterator[str]:
    if options.source != "youtube" and options.cut == "none":
        yield "--cut none keeps whole videos, and the mirror has clips: leave out --source"
    if options.source != "youtube" and options.shard:
        yield "every part would read the same archives: run --source mirror without --shard first"
