"""The program for Python: loads annotations, downloads their clips, and iterates over those that are on disk.

It does what the command does, by the same code, and prints nothing: what a run says goes to the logger `kinetics`.
docs/python.md shows how to use it.
"""

from __future__ import annotations

import io
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal, TypedDict, Unpack

from kinetics.errors import Fatal
from kinetics.net.proxy import VARIABLES, use_proxy
from kinetics.records import (
    NO_CLASS,
    Category,
    Clip,
    Cut,
    ListChoice,
    PackedClip,
    Retry,
    Shard,
    SourceChoice,
    Split,
    Subset,
    Version,
)
from kinetics.run.context import Context
from kinetics.run.listener import Listener, ShowProgress
from kinetics.run.messages import why_stopped
from kinetics.run.option_values import options_from
from kinetics.run.options import Options
from kinetics.run.packages import check_packages
from kinetics.run.progress import RunProgress
from kinetics.run.start import fatal_of, start
from kinetics.storage.atomic import read_part
from kinetics.storage.layout import clip_name, require_data_set
from kinetics.storage.ledger import MissingClip

if TYPE_CHECKING:
    import pandas as pd

    from kinetics.annotations.table import Annotations
    from kinetics.run.result import RunResult
    from kinetics.storage.layout import Layout

__all__ = [
    "Category",
    "Clip",
    "DownloadOptions",
    "DownloadResult",
    "Fatal",
    "LoadedClips",
    "MissingClip",
    "RunProgress",
    "Selection",
    "StoredClip",
    "clips",
    "download",
    "load",
]

LOG = logging.getLogger("kinetics")
LOG.addHandler(logging.NullHandler())  # without a handler, Python prints warnings to standard error
OPENBLAS = "OPENBLAS_NUM_THREADS"
"""A worker multiplies no matrices; where it cannot start the threads for that, it ends."""


class Selection(TypedDict, total=False):
    """Which clips: the options of the command with these names, which say what they mean.

    The proxy is for the published lists, and for the download, unless that is given another one.
    """

    annotations: Path | str | None
    format: str | None
    clip_list: ListChoice
    refresh: bool
    classes: Sequence[str] | None
    only: Path | str | None
    limit: int | None
    sample: int | None
    seed: int
    shard: Shard | str | None
    proxy: str | None


class DownloadOptions(TypedDict, total=False):
    """How clips are downloaded: the options of the command with these names, and with its defaults."""

    cut: Cut
    source: SourceChoice
    max_height: int
    short_side: int | None
    fps: float | None
    keyframes: int | None
    retry: Retry
    into_shards: int | None
    workers: int | None
    scheduler: str | None
    engine: Sequence[str] | str
    timeout: float | None
    rate: float | Literal["none"] | None
    limit_rate: float | str | None
    no_reuse: bool
    adopt: Path | str | None
    mix: bool
    no_thumbnails: bool
    cookies: Path | str | None
    proxy: str | None
    dry_run: bool


@dataclass(frozen=True)
class LoadedClips:
    """The clips of a version and subset, or of a list of one's own: what `load` returns."""

    given: Mapping[str, object]
    """The options that they were loaded with."""
    annotations: Annotations

    def __len__(self) -> int:
        return len(self.annotations)

    def __iter__(self) -> Iterator[Clip]:
        return self.annotations.clips()

    @property
    def frame(self) -> pd.DataFrame:
        """A table of the clips: youtube_id, time_start and time_end in seconds, label and split."""
        return self.annotations.frame.copy()

    @property
    def warnings(self) -> tuple[str, ...]:
        """One text for each cause for which rows were left out."""
        return self.annotations.warnings

    @cached_property
    def class_names(self) -> list[str]:
        """The names of all classes of the data set; a class number is an index into this list."""
        from kinetics.annotations.classes import classes_of  # noqa: PLC0415 - pandas takes a while

        options = options_from(self.given)
        return classes_of(options.version, options.annotations, options.format)


@dataclass(frozen=True, slots=True)
class StoredClip:
    """A clip that is on disk: a file of its own, or a part of a WebDataset shard."""

    youtube_id: str
    time_start: float
    """In seconds, as `time_end`."""
    time_end: float
    label: str
    """Its class, as annotated; empty where the subset has no labels."""
    class_number: int
    """The index of that in `LoadedClips.class_names`, the same for every choice of clips; -1 without a label."""
    split: Split
    file: str
    """The path of the file, or of the shard; `path` is the same as a Path, which takes longer to make."""
    offset: int | None = None
    """Where it begins in the shard, in bytes; None for a file of its own."""
    size: int | None = None
    """In bytes, of a clip in a shard."""

    @property
    def path(self) -> Path:
        """The path of the file, or of the shard."""
        return Path(self.file)

    def read(self) -> bytes:
        """Return the bytes of the mp4 file. Raises OSError if they are not there any more."""
        if self.offset is None or self.size is None:
            return self.path.read_bytes()
        return read_part(self.path, self.offset, self.size)

    def open(self) -> BinaryIO:
        """Return the mp4 file, open to read. Raises OSError if it is not there any more."""
        return io.BytesIO(self.read()) if self.offset is not None else open(self.path, "rb")


@dataclass(frozen=True)
class DownloadResult:
    """What a download has come to."""

    wanted: int
    """How many clips it was about."""
    on_disk: int
    """How many of these are there now."""
    new: int
    """How many of these were fetched."""
    failed: Mapping[Category, int]
    """How many clips failed in this run, by category."""
    may_get_more: bool
    """Whether the same call may get more clips: the command's exit code is 1 then, and else 0."""
    stopped: str
    """Why the run ended before all clips were tried, and what to do; empty if it did not."""
    folder: str
    """The folder or URL of the clips, or of their shards."""
    _run: RunResult = field(repr=False)

    def missing(self) -> Iterator[tuple[Clip, MissingClip | None]]:
        """Yield each wanted clip that is not on disk, and why, in YouTube's own words; None if it was not tried yet."""
        from kinetics.planning.plan import on_disk  # noqa: PLC0415 - pandas takes a while

        run, plan = self._run, self._run.plan
        absent = ~on_disk(plan.frame, run.layout, plan.cut)
        for clip in plan.clips_in(absent.nonzero()[0].tolist()):
            yield clip, run.ledgers[clip.split].missing_clip(clip.key)


class _Log(Listener):
    """Logs what a run says, and calls a function with its progress."""

    def __init__(self, progress: ShowProgress | None = None) -> None:
        self._progress = progress

    def tell(self, text: str) -> None:
        for line in text.splitlines():
            LOG.info(line.strip())

    def notice(self, text: str) -> None:
        LOG.info(text)

    def warn(self, text: str) -> None:
        LOG.warning(text)

    @contextmanager
    def showing(self, what: str, total: int, *, done: str = "done", failed: str = "failed") -> Iterator[ShowProgress]:
        """Pass the progress on."""
        yield self._progress or (lambda progress: None)

    def ended(self, result: RunResult) -> None:
        """Log what has come of it, also if an error follows."""
        LOG.info(f"{result.on_disk:,} of {result.plan.wanted:,} clips on disk")


def load(
    version: Version = "700", subset: Subset | Literal["all"] = "train", **selection: Unpack[Selection]
) -> LoadedClips:
    """Return the clips of the published lists, or of `annotations`, by the options of the command with these names.

    Raises Fatal if there are none, or for an option that the command would not take either.
    """
    given = {"version": version, "subset": subset, **selection}
    options = options_from(given)
    with _own_environment(), _only_fatal(options):
        check_packages(options)
        use_proxy(options.proxy)
        return LoadedClips(given, Context(options, _Log()).annotations)


def download(
    wanted: LoadedClips,
    output: Path | str = ".",
    *,
    progress: Callable[[RunProgress], object] | None = None,
    **options: Unpack[DownloadOptions],
) -> DownloadResult:
    """Download the clips that are missing in a folder, or at a URL; returns when the run has ended.

    `progress` is called in this thread, after each result and about twice a second. Raises Fatal if the run cannot go
    on: another run is at work there, the disk is full, an option that the command would not take. Ctrl-C, or an
    exception of `progress`, ends the run in order: what came is whole, the tables say what is missing.
    """
    given = options_from({**wanted.given, "output": output, **options})
    with _own_environment(), _only_fatal(given):
        context = start(given, _Log(progress), wanted.annotations)
        from kinetics.run import download as run  # noqa: PLC0415 - by now what the workers need is being imported

        ended = run.download(context)
    layout = ended.layout
    return DownloadResult(
        wanted=ended.plan.wanted,
        on_disk=ended.on_disk,
        new=ended.counts.counts[None],
        failed={category: count for category, count in (+ended.counts.counts).items() if category},
        may_get_more=bool(ended.exit_code),
        stopped=why_stopped(ended.gave_up) if ended.gave_up else "",
        folder=layout.display_path(layout.results_folder),
        _run=ended,
    )


def clips(wanted: LoadedClips, output: Path | str = ".") -> Iterator[StoredClip]:
    """Return those of the clips that are on disk in a folder, one by one, in the order of the annotations.

    Raises Fatal for a URL, or if there is no such data set in the folder.
    """
    from kinetics.planning.plan import scan  # noqa: PLC0415 - pandas takes a while
    from kinetics.storage.shards import with_places  # noqa: PLC0415

    options = options_from({**wanted.given, "output": output})
    if options.url:
        raise Fatal("clips() reads a folder: copy the data set to one, and give that.")
    with _only_fatal(options):
        layout = Context(options, _Log(), wanted.annotations).layout
        frame = wanted.annotations.frame
        found = with_places(frame, layout, scan(frame, layout)[0])
        if found.empty:
            require_data_set(layout, tables_suffice=False)
        return _stored(found, layout, wanted.class_names)


def _stored(found: pd.DataFrame, layout: Layout, class_names: Sequence[str]) -> Iterator[StoredClip]:
    """Yield the clips of a table of `with_places`."""
    from kinetics.annotations.table import Annotations  # noqa: PLC0415 - pandas takes a while
    from kinetics.storage.shards import packed_clips  # noqa: PLC0415

    numbers, folders = {name: number for number, name in enumerate(class_names)}, dict[tuple[Split, str], str]()
    for clip in packed_clips(Annotations(found, ()).clips(), found, layout):
        about = (*clip.key, clip.label, numbers.get(clip.label, NO_CLASS), clip.split)
        if isinstance(clip, PackedClip):
            yield StoredClip(*about, str(clip.shard), clip.offset, clip.size)
            continue
        folder = folders.get((clip.split, clip.label))
        if folder is None:
            folder = folders[clip.split, clip.label] = str(layout.clip(clip).parent)
        yield StoredClip(*about, f"{folder}{os.sep}{clip_name(*clip.key)}")


@contextmanager
def _only_fatal(options: Options) -> Iterator[None]:
    """Turn the errors that are a fault of the machine into Fatal, as the command does."""
    try:
        yield
    except (ImportError, MemoryError, OSError, RuntimeError) as error:
        fault = fatal_of(error, options)
        if not fault:
            raise
        raise fault from error


@contextmanager
def _own_environment() -> Iterator[None]:
    """Leave the environment as it was: a run sets the proxy there, for itself and its workers."""
    names = (*VARIABLES, OPENBLAS)
    before = {name: os.environ[name] for name in names if name in os.environ}
    os.environ.setdefault(OPENBLAS, "1")
    try:
        yield
    finally:
        for name in names:
            os.environ.pop(name, None)
        os.environ.update(before)
