"""What other programs read: list files, WebDataset shards, the manifest."""

from __future__ import annotations

import csv
import importlib
import io
import json
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import pandas as pd

from kinetics.annotations.table import Annotations
from kinetics.errors import Fatal
from kinetics.records import KEY, SPLIT_OF, Clip, ClipKey, Facts, Split, Subset
from kinetics.storage import attempts
from kinetics.storage.layout import Layout, cannot_write, whole_or_absent, write_whole
from kinetics.storage.ledger import number, safe_cell

SHARD_LIMIT = 10**9
"""Of a shard, in bytes."""
MEMBERS_OVERHEAD = 1 << 13
"""No more is stored beside a clip: the headers and padding of its three members, its class, and what is said of it."""
MANIFEST_FIELDS = (
    *("youtube_id", "time_start", "time_end", "label", "split", "bytes", "sha256", "frames", "duration", "width"),
    *("height", "itag", "cut", "offset", "source"),
)
INDEX_FIELDS = ("shard", "key", "youtube_id", "time_start", "time_end", "label", "class", "bytes")
NO_CLASS = -1
HUGGING_FACE: Mapping[Split, str] = {"train": "train", "val": "validation", "test": "test"}
"""What its `datasets` calls the splits."""


def write_lists(layout: Layout, subset: Subset, frame: pd.DataFrame, classes: Sequence[str]) -> list[Path]:
    """Write list files of these clips, and the classes; returns the files.

    Each line of a list is `<path> <class>`, the path from the data set's folder on, where every reader has a prefix
    for it. A class is its place in `classes`; -1 stands for a clip without a label.
    """
    folder, split = layout.beside("lists").folder, SPLIT_OF[subset]
    classes_of = {label: number for number, label in enumerate(classes)}
    lines = [
        f"{layout.clip(clip).relative_to(layout.folder)} {classes_of.get(clip.label, NO_CLASS)}\n"
        for clip in Annotations(frame, ()).clips()
    ]
    texts = {
        folder / "mmaction2" / f"kinetics{layout.version}_{split}_list_videos.txt": lines,
        folder / "pytorchvideo" / f"{split}.txt": lines,
        folder / "slowfast" / f"{split}.csv": lines,
        folder / "classes.txt": [f"{label}\n" for label in classes],
        folder / "labels.json": [json.dumps(classes_of, indent=1, ensure_ascii=False), "\n"],
        layout.folder / ".huggingface.yaml": [*_splits_for_hugging_face(layout)],
    }
    for path, text in texts.items():
        write_whole(path, text)
    return [*texts]


def _splits_for_hugging_face(layout: Layout) -> Iterator[str]:
    """Say which folder is which split: left to guess, it takes `val/training_dog` for a part of `train`."""
    yield "configs:\n- config_name: default\n  data_files:\n"
    for split, name in HUGGING_FACE.items():
        if (layout.folder / split).is_dir():
            yield f'  - {{split: {name}, path: "{split}/**"}}\n'


def write_manifest(layout: Layout, subset: Subset, frame: pd.DataFrame, facts: Mapping[ClipKey, Facts]) -> Path:
    """Write the manifest of those of these clips of which the facts are known, in the order of the annotations."""
    path = layout.table(subset, "manifest.csv")
    how = ("itag", "cut", "offset_s", "source")
    frame = frame.merge(attempts.made(layout, subset), "left", on=KEY).fillna(dict.fromkeys(how, ""))
    rows = (
        _manifest_row(clip, facts[clip.key], made)
        for clip, *made in zip(Annotations(frame, ()).clips(), *(frame[column].tolist() for column in how), strict=True)
        if clip.key in facts
    )
    _write_table(path, MANIFEST_FIELDS, rows)
    return path


def _manifest_row(clip: Clip, facts: Facts, made: Sequence[str]) -> list[object]:
    return [
        *(clip.youtube_id, number(clip.time_start), number(clip.time_end), safe_cell(clip.label), clip.split),
        *(facts.size, facts.sha256, facts.frames, number(facts.duration_s), facts.width, facts.height),
        *made,
    ]


@dataclass(frozen=True, slots=True)
class Member:
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


class Shards:
    """The shards of a subset's clips, in the order given: as many clips in each as fit."""

    def __init__(self, layout: Layout, subset: Subset, members: Iterable[Member], clips: int) -> None:
        self._folder, self._subset = layout.beside("shards").folder, subset
        self._partial = layout.beside("shards").partial(SPLIT_OF[subset])
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
                        whole_or_absent(path, self._partial) as temporary,
                        open(temporary, "wb") as file,
                        writer_of(file, encoder=False, mtime=0, user="", group="") as writer,
                    ):
                        for member in shard:
                            writer.write(member.sample())
                except OSError as error:
                    raise cannot_write(error, path) from error
            yield len(shard)
        _write_table(self._folder / f"{SPLIT_OF[self._subset]}_index.csv", INDEX_FIELDS, self._index())
        planned = {path for path, _ in self._planned()}
        for path in self._folder.glob(f"{SPLIT_OF[self._subset]}-*.tar"):
            if path not in planned:
                path.unlink()

    def _planned(self) -> Iterator[tuple[Path, Sequence[Member]]]:
        for place, shard in enumerate(self._shards):
            yield self._folder / f"{SPLIT_OF[self._subset]}-{place:06d}.tar", shard

    def _index(self) -> Iterator[list[object]]:
        for path, shard in self._planned():
            for member in shard:
                clip = member.clip
                times = number(clip.time_start), number(clip.time_end)
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


def _packed(members: Iterable[Member], clips: int) -> Iterator[list[Member]]:
    shard, size = list[Member](), tarfile.RECORDSIZE
    for member in members:
        if shard and (len(shard) == clips or size + member.size + MEMBERS_OVERHEAD > SHARD_LIMIT):
            yield shard
            shard, size = [], tarfile.RECORDSIZE
        shard.append(member)
        size += member.size + MEMBERS_OVERHEAD
    if shard:
        yield shard


def _size(shard: Iterable[Member]) -> int:
    return tarfile.RECORDSIZE + sum(member.size + MEMBERS_OVERHEAD for member in shard)


def _is_written(path: Path, shard: Sequence[Member]) -> bool:
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


def keep_terms(folder: Path, terms: Mapping[str, object]) -> None:
    """See to it that all in a folder is made in the same way. Raises Fatal if what is there was made in another."""
    path = folder / "terms.json"
    if not any((folder / split).exists() for split in SPLIT_OF.values()):
        write_whole(path, [json.dumps(terms), "\n"])
    try:
        before = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise Fatal(f"Cannot read {path}: {error}. It says how {folder} was made: remove both.") from error
    if before != terms:
        said = ", ".join(f"{name} {value}" for name, value in before.items())
        raise Fatal(f"{folder} was made with {said}: choose the same, or move it away.")


def members_of(layout: Layout, frame: pd.DataFrame, classes: Sequence[str]) -> Iterator[Member]:
    """The clips of a table, in its order, on their way into shards; those that have just gone are left out."""
    numbers = {label: number for number, label in enumerate(classes)}
    for clip in Annotations(frame, ()).clips():
        path = layout.clip(clip)
        with suppress(FileNotFoundError):
            status = path.stat()
            yield Member(clip, path, status.st_size, status.st_mtime_ns, numbers.get(clip.label, NO_CLASS))


def write_silent(layout: Layout, subset: Subset, silent: Iterable[Clip], suffix: str) -> Path:
    """Add clips to the list of those without sound; returns it. Its lines are paths in the data set's folder.

    A clip that has come to have sound since, in a file of that suffix, is listed no longer.
    """
    path, sounds = layout.table(subset, "silent.txt"), layout.beside("sound").folder
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    before = [line for line in lines if not (sounds / line).with_suffix(suffix).exists()]
    found = {str(layout.clip(clip).relative_to(layout.folder)) for clip in silent}
    write_whole(path, [f"{line}\n" for line in sorted(found.union(before))])
    return path


def _write_table(path: Path, fields: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    write_whole(path, _csv_lines(chain([fields], rows)))


def _csv_lines(rows: Iterable[Sequence[object]]) -> Iterator[str]:
    line = io.StringIO()
    writer = csv.writer(line, lineterminator="\n")
    for row in rows:
        writer.writerow(row)
        yield line.getvalue()
        line.seek(0)
        line.truncate()
