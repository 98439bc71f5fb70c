"""Where everything lives, and what is on disk."""

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

import platformdirs

from kinetics.errors import Fatal
from kinetics.humanize import without_password
from kinetics.records import SPLIT_OF, Clip, Cut, Split, Subset
from kinetics.storage.atomic import atomic_write, temporary_file
from kinetics.storage.object_store import ObjectStore

UNLABELED = "_unlabeled"
_NO_FOLDER = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG)


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths of one data set, `DIR/Kinetics<version>` and the tables beside it.

    The split folders hold clips and nothing else, because torchvision, MMAction2, PyTorchVideo, SlowFast and Hugging
    Face's videofolder take every folder below a split for a class and every file in it for a clip.

    With a URL the finished clips and the tables are there, under the same names. What can only be on this machine stays
    below `root`, a folder of its own: locks, unfinished files, and the tables while a run writes them.
    """

    root: Path
    version: str
    derived: str = ""
    """What is made from the clips, such as `frames`: it has a folder of the same form, beside theirs."""
    shard: str = ""
    """The part of the clips that a run is about, such as `03of16`: it has tables, locks and unfinished files of its
    own, since runs on other parts are at work in the same folder meanwhile."""
    url: str = ""
    """Where clips go, instead of `root`."""

    @property
    def folder(self) -> Path:
        return self.root / f"Kinetics{self.version}{self.derived and '_'}{self.derived}"

    @property
    def store(self) -> ObjectStore | None:
        """What is at the URL, if there is one."""
        return ObjectStore(self.url) if self.url else None

    @property
    def modules(self) -> tuple[str, ...]:
        """What a process needs that puts clips there."""
        return (*self.store.modules,) if self.store else ()

    def object_name(self, path: Path) -> str:
        """What the file that has this path is called at a URL."""
        return path.relative_to(self.root).as_posix()

    def display_path(self, path: Path) -> str:
        """Where a person finds the file, or folder, that has this path."""
        return f"{self.store}/{self.object_name(path)}" if self.store else str(path)

    def derived_layout(self, derived: str) -> Layout:
        """The layout of what is made from the clips."""
        return replace(self, derived=derived)

    @property
    def without_shard(self) -> Layout:
        """The layout of a run on all parts."""
        return replace(self, shard="")

    def shard_layouts(self, subset: Subset) -> list[Layout]:
        """The layouts of the runs whose tables tell of these clips: of one part its own, of all those of every part."""
        pattern = re.compile(rf"Kinetics{self.version}_{subset}_shard(\d+of\d+)_")
        found = () if self.shard else filter(None, map(pattern.match, names_in(self.root)))
        return [self, *(replace(self, shard=shard) for shard in sorted({match[1] for match in found}))]

    def clip(self, clip: Clip, suffix: str = ".mp4") -> Path:
        """The final path of a clip, or of what is made from it."""
        return self.folder / clip.split / label_folder(clip.label) / clip_name(*clip.key, suffix=suffix)

    @property
    def rejected_folder(self) -> Path:
        """Where clips go that were found unfit."""
        return self.folder / ".partial" / "rejected"

    def rejected(self, clip: Clip) -> Path:
        """Where this one goes."""
        return self.rejected_folder / self.clip(clip).relative_to(self.folder)

    def whole(self, youtube_id: str) -> Path:
        """The final path of a whole video (`--cut none`)."""
        return self.folder / "whole" / f"{youtube_id}.mp4"

    def target(self, clip: Clip, cut: Cut) -> Path:
        """Where the result for a clip goes."""
        return self.whole(clip.youtube_id) if cut == "none" else self.clip(clip)

    def partial(self, split: Split) -> Path:
        """Unfinished files of one split; one run at a time owns it."""
        return self._own / split

    def state_file(self, subset: Subset, name: str) -> Path:
        """A file of the program's own: a lock, or how far a task over the clips of a subset has come."""
        return self._own / f"{subset}.{name}"

    @property
    def _own(self) -> Path:
        return self.folder / ".partial" / (f"shard{self.shard}" if self.shard else "")

    def errors_log(self, subset: Subset) -> Path:
        return self.table(subset, "errors.log")

    def stats(self, subset: Subset) -> Path:
        return self.table(subset, "stats.csv")

    def table(self, subset: Subset, name: str) -> Path:
        """A file about a subset."""
        shard = f"shard{self.shard}_" if self.shard else ""
        return self.root / f"Kinetics{self.version}_{subset}_{shard}{name}"

    def clips_on_disk(self, folders: Iterable[tuple[Split, str]]) -> Iterator[set[str]]:
        """The names of what is in the folder of each split and label."""
        return map(set, self._names_in_all([self.folder / split / label_folder(label) for split, label in folders]))

    def wholes_on_disk(self) -> set[str]:
        """The ids whose whole video is there."""
        (names,) = self._names_in_all([self.folder / "whole"])
        return {name[:-4] for name in names if name.endswith(".mp4")}

    def _names_in_all(self, folders: Sequence[Path]) -> Iterable[list[str]]:
        return self.store.names_in_all(map(self.object_name, folders)) if self.store else map(names_in, folders)

    def folders(self, cut: Cut) -> list[Path]:
        """All folders of this machine in which results lie, whatever their labels."""
        if cut == "none":
            return [self.folder / "whole"] if (self.folder / "whole").is_dir() else []
        splits = [self.folder / split for split in SPLIT_OF.values()]
        return [folder / label for folder in splits for label in names_in(folder)]

    def discard_partial(self, subset: Subset) -> None:
        """Remove what an earlier run left unfinished. Only for the holder of the subset's lock."""
        shutil.rmtree(self.partial(SPLIT_OF[subset]), ignore_errors=True)

    @contextmanager
    def atomic_clip(self, clip: Clip, cut: Cut) -> Iterator[Path]:
        """Yield a temporary path; when the block ends well, what was written there becomes the result for a clip.

        It is whole or absent, at the URL as well. Raises Fatal where that cannot take it.
        """
        target, partial = self.target(clip, cut), self.partial(clip.split)
        if not self.store:
            with atomic_write(target, partial) as temporary:
                yield temporary
            return
        with temporary_file(target, partial) as temporary:
            yield temporary
            self.store.put(temporary, self.object_name(target))


def local_folder(url: str) -> Path:
    """The folder on this machine for what belongs to a data set at a URL but cannot be there."""
    shown = without_password(url)
    readable = re.sub(r"[^A-Za-z0-9.]+", "-", shown)[:60].strip("-.")
    unmistakable = hashlib.sha256(shown.encode()).hexdigest()[:10]
    return platformdirs.user_state_path("kinetics-downloader") / f"{readable}-{unmistakable}"


def clip_name(youtube_id: str, time_start: float, time_end: float, suffix: str = ".mp4") -> str:
    """`<id>_<start>_<end>.mp4`, as MMAction2 names clips."""
    return f"{youtube_id}_{_stamp(time_start)}_{_stamp(time_end)}{suffix}"


@lru_cache(maxsize=1024)  # there are some hundred labels, and a path is made for each of 650,000 clips
def label_folder(label: str) -> str:
    """The folder of a label: spaces become underscores, since list files are split at spaces."""
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
def _stamp(seconds: float) -> str:
    """Six digits; a fractional time keeps its milliseconds, so that no two clips share a name."""
    return f"{int(seconds):06d}" if float(seconds).is_integer() else f"{seconds:010.3f}"


def free_space(folder: Path) -> int:
    """Return how many bytes are free on the disk where a folder is, or will be."""
    return shutil.disk_usage(next(place for place in (folder, *folder.parents) if place.exists())).free


def names_in(folder: Path) -> list[str]:
    """The names of what lies in a folder; none if there is no such folder."""
    try:
        return os.listdir(folder)
    except OSError as error:
        if error.errno not in _NO_FOLDER:
            raise
        return []
