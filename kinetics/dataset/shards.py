"""Packs the clips on disk into WebDataset shards: tar archives in which each sample is a clip and its metadata."""

from __future__ import annotations

import csv
import os
import tarfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from kinetics.annotations.table import Annotations
from kinetics.humanize import safe_cell, seconds_text
from kinetics.records import NO_CLASS, SPLIT_OF, Clip, StableFacts, Subset
from kinetics.storage.atomic import atomic_write, cannot_write, write_csv
from kinetics.storage.layout import Layout
from kinetics.storage.shards import INDEX_FIELDS, packed_clips
from kinetics.storage.tar_samples import (
    SAMPLE_OVERHEAD,
    SHARD_LIMIT,
    add_sample,
    open_tar,
    sample_key,
    sample_metadata,
)
from kinetics.storage.video_table import known_videos


@dataclass(frozen=True, slots=True)
class ShardSample:
    """A clip that goes into a shard."""

    clip: Clip
    size: int
    """The size of its file, in bytes."""
    mtime_ns: int
    """The modification time of its file; a shard that was made of a file with another one is written again."""
    class_number: int
    """The index of its label among the classes, or NO_CLASS."""
    video: StableFacts | None = None
    """What is known of its video."""

    @property
    def key(self) -> str:
        return sample_key(self.clip)

    def metadata(self) -> dict[str, bytes]:
        """Return the sample's members besides the clip, by their extension."""
        return sample_metadata(self.clip, self.class_number, self.video)


class WebDatasetShards:
    """The shards of a subset, its samples in the order given, with at most `clips` clips and SHARD_LIMIT bytes each.

    `layout` is that of the clips, `target` that of the shards.
    """

    def __init__(
        self, layout: Layout, target: Layout, subset: Subset, samples: Iterable[ShardSample], clips: int
    ) -> None:
        self._layout, self._folder, self._subset = layout, target.folder, subset
        self._partial = target.partial(SPLIT_OF[subset])
        self._shards = [*_pack(samples, clips)]
        self._index_path = target.folder / f"{SPLIT_OF[subset]}_index.csv"
        self._indexed_ns, self._packed = _read_index(self._index_path)

    @property
    def count(self) -> int:
        return len(self._shards)

    @property
    def clips(self) -> int:
        return sum(map(len, self._shards))

    @property
    def bytes_to_write(self) -> int:
        """An upper bound for what `write` adds to the disk."""
        return sum(_size(shard) for path, shard in self._planned() if not self._is_written(path, shard))

    def write(self) -> Iterator[int]:
        """Write the shards that are missing or outdated; yields the number of clips of each shard once it is complete.

        Each shard is written atomically. At the end the index is written, and shards that are no longer planned are
        removed. Raises Fatal if a shard cannot be written.
        """
        for path, shard in self._planned():
            if not self._is_written(path, shard):
                try:
                    with (
                        atomic_write(path, self._partial) as temporary,
                        open(temporary, "wb") as file,
                        closing(open_tar(file)) as tar,
                    ):
                        for sample in shard:
                            with self._layout.clip_file(sample.clip) as clip_file:
                                add_sample(tar, sample.clip, clip_file, sample.class_number, sample.video)
                except OSError as error:
                    raise cannot_write(error, path) from error
            yield len(shard)
        write_csv(self._index_path, INDEX_FIELDS, self._index())
        planned = {path for path, _ in self._planned()}
        for path in self._folder.glob(f"{SPLIT_OF[self._subset]}-*.tar"):
            if path not in planned:
                path.unlink()

    def _planned(self) -> Iterator[tuple[Path, Sequence[ShardSample]]]:
        for number, shard in enumerate(self._shards):
            yield self._folder / f"{SPLIT_OF[self._subset]}-{number:06d}.tar", shard

    def _index(self) -> Iterator[list[object]]:
        for path, shard in self._planned():
            for sample in shard:
                clip = sample.clip
                times = seconds_text(clip.time_start), seconds_text(clip.time_end)
                yield [
                    path.name,
                    sample.key,
                    clip.youtube_id,
                    *times,
                    safe_cell(clip.label),
                    sample.class_number,
                    sample.size,
                    sample.mtime_ns,
                    *("", ""),
                ]

    def _is_written(self, path: Path, shard: Sequence[ShardSample]) -> bool:
        """Return whether a shard exists with these samples in this order, made of the clips' present files.

        What the index says of it counts if it is older than the index. Of another shard, such as a run leaves that was
        stopped, the times must tell: none of the clips is newer.
        """
        try:
            with tarfile.open(path, "r:") as tar:
                present = [*_members(tar)]
            written_ns = path.stat().st_mtime_ns
        except (OSError, tarfile.TarError):
            return False
        packed = self._packed.get(path.name) if written_ns <= self._indexed_ns else None
        if packed:
            current = packed == [(sample.key, str(sample.mtime_ns)) for sample in shard]
        else:
            current = max(sample.mtime_ns for sample in shard) <= written_ns
        return current and present == [
            (f"{sample.key}.{extension}", content)
            for sample in shard
            for extension, content in sorted({"mp4": sample.size, **sample.metadata()}.items())
        ]


def shard_samples(
    layout: Layout, frame: pd.DataFrame, classes: Sequence[str], *, with_videos: bool = True
) -> Iterator[ShardSample]:
    """Yield the clips of a table, in its order, as samples; clips whose files have just disappeared are left out.

    `with_videos`: with what is known of their videos. Raises Fatal if that cannot be read.
    """
    class_numbers = {label: number for number, label in enumerate(classes)}
    known, ids = dict[str, StableFacts](), {*frame["youtube_id"]} if with_videos else ()
    for subset in SPLIT_OF if ids else ():  # a list may have had the video in another subset
        known |= known_videos(layout, subset, ids)
    for clip in packed_clips(Annotations(frame, ()).clips(), frame, layout):
        if state := layout.clip_state(clip):
            yield ShardSample(clip, *state, class_numbers.get(clip.label, NO_CLASS), known.get(clip.youtube_id))


def _pack(samples: Iterable[ShardSample], clips: int) -> Iterator[list[ShardSample]]:
    shard, size = list[ShardSample](), tarfile.RECORDSIZE
    for sample in samples:
        if shard and (len(shard) == clips or size + sample.size + SAMPLE_OVERHEAD > SHARD_LIMIT):
            yield shard
            shard, size = [], tarfile.RECORDSIZE
        shard.append(sample)
        size += sample.size + SAMPLE_OVERHEAD
    if shard:
        yield shard


def _size(shard: Iterable[ShardSample]) -> int:
    return tarfile.RECORDSIZE + sum(sample.size + SAMPLE_OVERHEAD for sample in shard)


def _read_index(path: Path) -> tuple[int, dict[str, list[tuple[str, str]]]]:
    """Return the modification time of an index, and the key and the clip's modification time of each shard's samples.

    An index without these times, as older versions of this program wrote it, or a damaged one tells nothing.
    """
    packed = defaultdict[str, list[tuple[str, str]]](list)
    try:
        with open(path, newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                packed[row["shard"]].append((row["key"], row["mtime_ns"]))
            return os.fstat(file.fileno()).st_mtime_ns, packed
    except (OSError, ValueError, KeyError, csv.Error):
        return 0, {}


def _members(tar: tarfile.TarFile) -> Iterator[tuple[str, int | bytes]]:
    """Yield the name of each member of a shard, with its content, or with its size if it is a clip."""
    for member in tar:
        file = None if member.name.endswith(".mp4") else tar.extractfile(member)
        yield member.name, file.read() if file else member.size
