"""WebDataset shards of the clips on disk."""

from __future__ import annotations

import importlib
import json
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from kinetics.annotations.table import Annotations
from kinetics.dataset.lists import NO_CLASS
from kinetics.errors import Fatal
from kinetics.humanize import safe_cell, seconds_text
from kinetics.records import SPLIT_OF, Clip, Subset
from kinetics.storage.atomic import atomic_write, cannot_write, write_csv
from kinetics.storage.layout import Layout

SHARD_LIMIT = 10**9
"""Of a shard, in bytes."""
MEMBERS_OVERHEAD = 1 << 13
"""No more is stored beside a clip: the headers and padding of its three members, its class, and what is said of it."""
INDEX_FIELDS = ("shard", "key", "youtube_id", "time_start", "time_end", "label", "class", "bytes")


@dataclass(frozen=True, slots=True)
class ShardSample:
    """A clip on its way into a shard."""

    clip: Clip
    path: Path
    size: int
    mtime_ns: int
    number: int
    """Of its class; NO_CLASS where it has no label."""

    @property
    def key(self) -> str:
        """Of the sample: a dot would end it."""
        return self.path.stem.replace(".", "_")

    def said(self) -> dict[str, bytes]:
        """What stands beside the clip, by the ending of its name."""
        clip = self.clip
        about = {
            "youtube_id": clip.youtube_id,
            "time_start": clip.time_start,
            "time_end": clip.time_end,
            "label": clip.label,
            "split": clip.split,
        }
        known = {} if self.number == NO_CLASS else {"cls": str(self.number).encode()}
        return {"json": json.dumps(about).encode(), **known}

    def sample(self) -> dict[str, object]:
        """As WebDataset's writer takes it."""
        return {"__key__": self.key, "mp4": self.path.read_bytes(), **self.said()}


class WebDatasetShards:
    """The shards of a subset's clips, in the order given: as many clips in each as fit."""

    def __init__(self, layout: Layout, subset: Subset, members: Iterable[ShardSample], clips: int) -> None:
        self._folder, self._subset = layout.derived_layout("shards").folder, subset
        self._partial = layout.derived_layout("shards").partial(SPLIT_OF[subset])
        self._shards = [*_packed(members, clips)]

    @property
    def count(self) -> int:
        return len(self._shards)

    @property
    def clips(self) -> int:
        return sum(map(len, self._shards))

    @property
    def bytes_to_write(self) -> int:
        """At most."""
        return sum(_size(shard) for path, shard in self._planned() if not _is_written(path, shard))

    def write(self) -> Iterator[int]:
        """Write what is not there yet; yields how many clips are in each shard, once it is there.

        Each shard is whole or absent. At last the index is written, and shards of an earlier plan are removed.
        """
        writer_of = _tar_writer()
        for path, shard in self._planned():
            if not _is_written(path, shard):
                try:
                    with (
                        atomic_write(path, self._partial) as temporary,
                        open(temporary, "wb") as file,
                        writer_of(file, encoder=False, mtime=0, user="", group="") as writer,
                    ):
                        for member in shard:
                            writer.write(member.sample())
                except OSError as error:
                    raise cannot_write(error, path) from error
            yield len(shard)
        write_csv(self._folder / f"{SPLIT_OF[self._subset]}_index.csv", INDEX_FIELDS, self._index())
        planned = {path for path, _ in self._planned()}
        for path in self._folder.glob(f"{SPLIT_OF[self._subset]}-*.tar"):
            if path not in planned:
                path.unlink()

    def _planned(self) -> Iterator[tuple[Path, Sequence[ShardSample]]]:
        for place, shard in enumerate(self._shards):
            yield self._folder / f"{SPLIT_OF[self._subset]}-{place:06d}.tar", shard

    def _index(self) -> Iterator[list[object]]:
        for path, shard in self._planned():
            for member in shard:
                clip = member.clip
                times = seconds_text(clip.time_start), seconds_text(clip.time_end)
                yield [
                    path.name,
                    member.key,
                    clip.youtube_id,
                    *times,
                    safe_cell(clip.label),
                    member.number,
                    member.size,
                ]


def _tar_writer() -> Any:
    try:
        return importlib.import_module("webdataset").TarWriter
    except ImportError as error:
        raise Fatal(f"--shards needs webdataset ({error}): pip install webdataset") from error


def _packed(members: Iterable[ShardSample], clips: int) -> Iterator[list[ShardSample]]:
    shard, size = list[ShardSample](), tarfile.RECORDSIZE
    for member in members:
        if shard and (len(shard) == clips or size + member.size + MEMBERS_OVERHEAD > SHARD_LIMIT):
            yield shard
            shard, size = [], tarfile.RECORDSIZE
        shard.append(member)
        size += member.size + MEMBERS_OVERHEAD
    if shard:
        yield shard


def _size(shard: Iterable[ShardSample]) -> int:
    return tarfile.RECORDSIZE + sum(member.size + MEMBERS_OVERHEAD for member in shard)


def _is_written(path: Path, shard: Sequence[ShardSample]) -> bool:
    """Whether a shard is there, with these clips in this order, and what is to be said of them; none is newer."""
    try:
        with tarfile.open(path, "r:") as tar:
            there = [*_members(tar)]
        made_ns = path.stat().st_mtime_ns
    except (OSError, tarfile.TarError):
        return False
    return max(member.mtime_ns for member in shard) <= made_ns and there == [
        (f"{member.key}.{ending}", content)
        for member in shard
        for ending, content in sorted({"mp4": member.size, **member.said()}.items())
    ]


def _members(tar: tarfile.TarFile) -> Iterator[tuple[str, int | bytes]]:
    """The names in a shard, each with what it holds; of a clip, its size."""
    for member in tar:
        file = None if member.name.endswith(".mp4") else tar.extractfile(member)
        yield member.name, file.read() if file else member.size


def shard_samples(layout: Layout, frame: pd.DataFrame, classes: Sequence[str]) -> Iterator[ShardSample]:
    """The clips of a table, in its order, on their way into shards; those that have just gone are left out."""
    numbers = {label: number for number, label in enumerate(classes)}
    for clip in Annotations(frame, ()).clips():
        path = layout.clip(clip)
        with suppress(FileNotFoundError):
            status = path.stat()
            yield ShardSample(clip, path, status.st_size, status.st_mtime_ns, numbers.get(clip.label, NO_CLASS))
