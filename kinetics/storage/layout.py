"""The paths of a data set, and which clips are on disk."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import platformdirs

from kinetics.errors import Fatal
from kinetics.humanize import without_password
from kinetics.records import SPLIT_OF, Clip, Cut, PackedClip, Split, Subset
from kinetics.storage.atomic import atomic_write, copy_part, obstacle, temporary_path
from kinetics.storage.object_store import ObjectStore

UNLABELED = "_unlabeled"
_NO_FOLDER = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG)


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths of one data set, `DIR/<name>` and the tables beside it.

    The split folders hold clips and nothing else, because torchvision, MMAction2, PyTorchVideo, SlowFast and Hugging
    Face's videofolder take every folder below a split for a class and every file in it for a clip.

    With a URL, the finished clips and the tables are there under the same names. Locks, unfinished files, and the
    tables while a run writes them stay on this machine, below `root`.
    """

    root: Path
    version: str
    derived: str = ""
    """The kind of files made from the clips, such as `frames`; they have a folder of the same structure beside it."""
    shard: str = ""
    """The shard of the clips that a run works on, such as `03of16`, with its own tables, locks and unfinished files;
    runs on other shards may use the same folder at the same time."""
    url: str = ""
    """Where the clips are, instead of below `root`."""
    data_set: str = ""
    """The name of another data set, whose clips these are; empty for Kinetics."""
    into_shards: bool = False
    """Whether finished clips wait to be packed into shards (--into-shards) instead of taking their places as files."""

    @property
    def name(self) -> str:
        """The name of the data set, with which its folder's and its tables' names begin: `Kinetics700`, or `HACS`."""
        return self.data_set or f"Kinetics{self.version}"

    @property
    def short_name(self) -> str:
        """The name where there is little space: `700`, or `HACS`."""
        return self.data_set or self.version

    def title(self, subset: Subset | Literal["all"]) -> str:
        """Return what a run is about, for a person: `Kinetics700 train, shard 3/16`."""
        number, _, of = self.shard.partition("of")
        return f"{self.name} {subset}" + (f", shard {int(number)}/{of}" if self.shard else "")

    @property
    def folder(self) -> Path:
        """The folder of the clips, or of the files made from them."""
        return self.root / f"{self.name}{self.derived and '_'}{self.derived}"

    @property
    def results_folder(self) -> Path:
        """The folder of what a run brings: the clips, or the shards."""
        return self.derived_layout("shards").folder if self.into_shards else self.folder

    @property
    def exists(self) -> bool:
        """Whether the folder of the data set is there, or an error log or attempts table of it."""
        names = {*(self.store.names_in("") if self.store else ()), *names_in(self.root)}
        tables = (one for one in names if one.startswith(f"{self.name}_") and one.endswith(("errors.log", "stats.csv")))
        return self.name in names or any(tables)

    @property
    def store(self) -> ObjectStore | None:
        """The object store at the URL, if there is one."""
        return ObjectStore(self.url) if self.url else None

    @property
    def modules(self) -> tuple[str, ...]:
        """The modules that a process must import to store clips."""
        return (*self.store.modules,) if self.store else ()

    def object_name(self, path: Path) -> str:
        """Return the name at the URL of the file with this path."""
        return path.relative_to(self.root).as_posix()

    def display_path(self, path: Path) -> str:
        """Return where a person finds the file or folder with this path: at the URL, if there is one."""
        return f"{self.store}/{self.object_name(path)}" if self.store else str(path)

    def derived_layout(self, derived: str) -> Layout:
        """Return the layout of files made from the clips."""
        return replace(self, derived=derived)

    @property
    def without_shard(self) -> Layout:
        """The layout of a run on the whole subset."""
        return replace(self, shard="")

    def shard_layouts(self, subset: Subset | Literal["all"]) -> list[Layout]:
        """Return the layouts of the runs whose tables cover our clips: our own, and of a whole subset every shard's."""
        pattern = re.compile(rf"{re.escape(self.name)}_{subset}_shard(\d+of\d+)_")
        found = () if self.shard else filter(None, map(pattern.match, names_in(self.root)))
        return [self, *(replace(self, shard=shard) for shard in sorted({match[1] for match in found}))]

    def clip(self, clip: Clip, suffix: str = ".mp4") -> Path:
        """Return the final path of a clip, or of the file made from it."""
        return self.folder / clip.split / label_folder(clip.label) / clip_name(*clip.key, suffix=suffix)

    @property
    def rejected_folder(self) -> Path:
        """The folder of the clips that `--verify` found unfit."""
        return self.folder / ".partial" / "rejected"

    def rejected(self, clip: Clip) -> Path:
        """Return the path of a clip that was found unfit."""
        return self.rejected_folder / self.clip(clip).relative_to(self.folder)

    def whole(self, youtube_id: str) -> Path:
        """Return the final path of a whole video (`--cut none`)."""
        return self.folder / "whole" / f"{youtube_id}.mp4"

    def target(self, clip: Clip, cut: Cut) -> Path:
        """Return the path of what is downloaded for a clip: the clip, or the whole video.

        It is the final one, unless the clip is to be packed into a shard.
        """
        if self.into_shards:
            return self.waiting_folder(clip.split) / clip_name(*clip.key)
        return self.whole(clip.youtube_id) if cut == "none" else self.clip(clip)

    def waiting_folder(self, split: Split) -> Path:
        """Return the folder of the clips that wait to be packed into shards; always on this machine."""
        return self.derived_layout("shards").partial(split).with_suffix(".waiting")

    def open_shard(self, split: Split) -> Path:
        """Return the path of the shard that is being written; always on this machine."""
        return self.derived_layout("shards").partial(split).with_suffix(".open.tar")

    @contextmanager
    def clip_file(self, clip: Clip) -> Iterator[Path]:
        """Yield the path of a clip's file; of one in a shard, a temporary copy with the shard's modification time.

        Raises OSError if there is none.
        """
        if not isinstance(clip, PackedClip):
            yield self.clip(clip)
            return
        with TemporaryDirectory(prefix="kinetics-") as folder:
            path = Path(folder, clip_name(*clip.key))
            copy_part(clip.shard, clip.offset, clip.size, path)
            os.utime(path, ns=(clip.mtime_ns, clip.mtime_ns))
            yield path

    def clip_state(self, clip: Clip) -> tuple[int, int] | None:
        """Return the size in bytes and the modification time of a clip's file; None if there is none."""
        if isinstance(clip, PackedClip):
            return clip.size, clip.mtime_ns
        try:
            status = os.stat(self.clip(clip))
        except OSError:
            return None
        return status.st_size, status.st_mtime_ns

    def partial(self, split: Split) -> Path:
        """Return the folder for unfinished files of one split; one run at a time owns it."""
        return self._state_folder / split

    def state_file(self, subset: Subset, name: str) -> Path:
        """Return the path of a lock or a journal for a subset."""
        return self._state_folder / f"{subset}.{name}"

    @property
    def _state_folder(self) -> Path:
        return self.folder / ".partial" / (f"shard{self.shard}" if self.shard else "")

    def errors_log(self, subset: Subset) -> Path:
        """Return the path of the error log."""
        return self.table(subset, "errors.log")

    def stats(self, subset: Subset) -> Path:
        """Return the path of the attempts table."""
        return self.table(subset, "stats.csv")

    def table(self, subset: Subset | Literal["all"], name: str) -> Path:
        """Return the path of a file about a subset, or about all of them, beside the folder of the clips."""
        shard = f"shard{self.shard}_" if self.shard else ""
        return self.root / f"{self.name}_{subset}_{shard}{name}"

    def clips_on_disk(self, folders: Iterable[tuple[Split, str]]) -> Iterator[set[str]]:
        """Yield the names of the files in the folder of each split and label."""
        return map(set, self._names_in_all([self.folder / split / label_folder(label) for split, label in folders]))

    def wholes_on_disk(self) -> set[str]:
        """Return the ids of the whole videos on disk."""
        (names,) = self._names_in_all([self.folder / "whole"])
        return {name[:-4] for name in names if name.endswith(".mp4")}

    def _names_in_all(self, folders: Sequence[Path]) -> Iterable[list[str]]:
        return self.store.names_in_all(map(self.object_name, folders)) if self.store else map(names_in, folders)

    def folders(self, cut: Cut) -> list[Path]:
        """Return all folders on this machine that contain results, whatever their labels."""
        if cut == "none":
            return [self.folder / "whole"] if (self.folder / "whole").is_dir() else []
        splits = [self.folder / split for split in SPLIT_OF.values()]
        return [folder / label for folder in splits for label in names_in(folder)]

    def discard_partial(self, subset: Subset) -> None:
        """Remove the unfinished files of an earlier run. The caller must hold the subset's lock."""
        shutil.rmtree(self.partial(SPLIT_OF[subset]), ignore_errors=True)

    @contextmanager
    def atomic_clip(self, clip: Clip, cut: Cut) -> Iterator[Path]:
        """Yield a temporary path; when the block ends without an error, the file there becomes the result for a clip.

        It appears complete or not at all, at the URL as well. Raises Fatal if it cannot be uploaded.
        """
        target, partial = self.target(clip, cut), self.partial(clip.split)
        if not self.store or self.into_shards:
            with atomic_write(target, partial) as temporary:
                yield temporary
            return
        with temporary_path(target, partial) as temporary:
            yield temporary
            self.store.put(temporary, self.object_name(target))


def local_folder(url: str) -> Path:
    """Return the folder on this machine for the locks and unfinished files of a data set at a URL."""
    shown = without_password(url)
    readable = re.sub(r"[^A-Za-z0-9.]+", "-", shown)[:60].strip("-.")
    digest = hashlib.sha256(shown.encode()).hexdigest()[:10]
    return platformdirs.user_state_path("kinetics-downloader") / f"{readable}-{digest}"


def clip_name(youtube_id: str, time_start: float, time_end: float, suffix: str = ".mp4") -> str:
    """Return `<id>_<start>_<end>.mp4`, as MMAction2 names clips."""
    return f"{youtube_id}_{time_stamp(time_start)}_{time_stamp(time_end)}{suffix}"


@lru_cache(maxsize=1024)  # some hundred labels, but a path is built for each of 650,000 clips
def label_folder(label: str) -> str:
    """Return the folder name of a label: spaces become underscores, since list files are split at spaces."""
    folder = label.replace(" ", "_") if label else UNLABELED
    try:
        os.fsencode(folder)
    except UnicodeEncodeError:
        raise Fatal(
            f"The label {label!a} cannot name a folder: file names are {sys.getfilesystemencoding()} here. "
            "Choose a UTF-8 locale, such as LC_ALL=C.UTF-8, and run the command again."
        ) from None
    return folder


@lru_cache(maxsize=4096)
def time_stamp(seconds: float) -> str:
    """Return a time as six digits; a fractional time keeps its milliseconds, so that no two clips share a name."""
    return f"{int(seconds):06d}" if float(seconds).is_integer() else f"{seconds:010.3f}"


def free_space(folder: Path) -> int:
    """Return how many bytes are free on the disk where a folder is, or will be."""
    return shutil.disk_usage(next(place for place in (folder, *folder.parents) if place.exists())).free


def check_folder(folder: Path) -> None:
    """Raise Fatal if a folder can neither be written to nor be made; nothing is made here."""
    require_no_obstacle(folder)
    there = next(place for place in (folder, *folder.parents) if os.path.lexists(place))
    if not os.access(there, os.W_OK | os.X_OK):
        remedy = "Change its permissions or choose another folder with -o, and run the command again."
        raise Fatal(f"Cannot write to {there}. {remedy}")


def require_no_obstacle(folder: Path) -> None:
    """Raise Fatal if what stands at a folder's name, or on the way there, is none, or a link that leads nowhere."""
    if what := obstacle(folder, folder=True):
        remedy = "Move it away or choose another folder with -o, and run the command again."
        raise Fatal(f"{what}. {remedy}")


def require_data_set(layout: Layout, *, tables_suffice: bool) -> None:
    """Raise Fatal if there is no such data set, as after a mistyped `-o`; nothing is made here.

    Its folder must be there, or, where they suffice, one of its tables.
    """
    if layout.exists if tables_suffice else layout.folder.is_dir():
        return
    lacks = f"neither a folder {layout.name} nor a table of it" if tables_suffice else f"no folder {layout.name}"
    what = f"{layout.store or layout.root} has no {layout.name} data set: {lacks}"
    raise Fatal(f"{what}. Check -o and {'--annotations' if layout.data_set else '-v'}.")


def names_in(folder: Path) -> list[str]:
    """Return the names in a folder; none if there is no such folder."""
    try:
        return os.listdir(folder)
    except OSError as error:
        if error.errno not in _NO_FOLDER:
            raise
        return []
