"""The options of the command as one record: what each may be, and what it means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Literal

from kinetics.records import Cut, PictureSettings, Shard, Subset


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
    """The options as given, with their defaults; each field is named as its option, unless its text says otherwise."""

    command: Command
    version: str
    subset: Subset | Literal["all"]
    annotations: Path | None
    format: str | None
    clip_list: Literal["all", "official", "cvdf"]
    refresh: bool
    classes: Sequence[str] | None
    only: Path | None
    limit: int | None
    sample: int | None
    seed: int
    shard: Shard | None
    cut: Cut
    source: Literal["youtube", "mirror", "both"]
    max_height: int
    """In pixels."""
    retry: Literal["due", "all", "transient", "none"]
    output: Path
    """The folder; with a URL, the folder on this machine for what cannot be there."""
    url: str
    """The URL given to --output, empty for a folder."""
    workers: int | None
    scheduler: str | None
    engine: tuple[str, ...]
    """The engines to ask, in this order."""
    timeout: float | None
    """In seconds."""
    rate: float | Literal["none"] | None
    """Clips an hour; `none` for no limit, None for what YouTube is said to allow a guest."""
    limit_rate: float | None
    """Bytes a second."""
    into_shards: int | None
    """Clips in each shard."""
    no_reuse: bool
    adopt: Path | None
    mix: bool
    no_thumbnails: bool
    cookies: Path | None
    proxy: str | None
    dry_run: bool
    quick: bool
    short_side: int | None
    """In pixels."""
    fps: float | None
    keyframes: int | None
    """The most frames from one to the next."""
    quality: int | None
    """1 to 100."""
    frames: float | Literal["all"] | None
    """Frames a second."""
    sound: Literal["wav", "mp3", "flac"] | None
    shards: int | None
    """Clips in each shard."""
    repack: int | None
    """Clips in each shard."""
    manifest: Path | None
    """The file to write it to; None for the one beside the data set's folder."""
    compare: tuple[Path, Path] | None

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
