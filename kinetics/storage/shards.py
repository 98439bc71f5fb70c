"""What a subset's WebDataset shards hold: an index of their clips, and the clips that are about to be packed.

A shard under its final name is whole and never changes. The index beside the shards has a row for each clip; what it
lacks, or says wrongly, is read from the shards' own headers. So a deleted index costs time, and no clip.
"""

from __future__ import annotations

import csv
import io
import os
import re
import tarfile
from collections.abc import Container, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kinetics.records import NO_CLASS, SPLIT_OF, Clip, PackedClip, Split, Subset
from kinetics.storage.atomic import cannot_read, cannot_write, write_csv
from kinetics.storage.clip_names import clip_names
from kinetics.storage.layout import Layout, names_in
from kinetics.storage.tar_samples import SAMPLE_OVERHEAD, PackedSample, in_blocks, read_samples, sample_key, tar_size

INDEX_FIELDS = (
    *("shard", "key", "youtube_id", "time_start", "time_end", "label", "class", "bytes", "mtime_ns", "offset"),
    "rejected",
)
"""The columns: size and modification time of the clip's file when it was packed, the time empty where it was downloaded
into the shard; where its bytes begin in the shard; and 1 once --verify has found the clip unfit."""
_NUMBER = r"(\d{6,})\.tar"
_NEEDED = ("shard", "key", "bytes", "mtime_ns", "offset", "rejected")
"""The columns that finding a clip takes."""
_NUMBERS = ("bytes", "offset")
_REPEATED = ("shard", "label", "class", "mtime_ns", "rejected")
"""Columns with few different values, which are read faster as such."""


@dataclass(frozen=True, slots=True, eq=False)
class _Loaded:
    """What was found out about the shards of a subset."""

    rows: pd.DataFrame
    read: dict[str, list[list[object]]]
    """The rows of the shards that the index lacked or had wrong, by their names."""
    named: set[str]
    """The names of all shards in the index, there or not."""


@dataclass(frozen=True)
class ShardFolder:
    """The shards of one subset, in a folder or at a URL. A run on a shard of the clips writes files of its own."""

    layout: Layout
    subset: Subset

    @property
    def split(self) -> Split:
        return SPLIT_OF[self.subset]

    @property
    def folder(self) -> Path:
        """The folder of the shards; with a URL, that on this machine."""
        return self.layout.derived_layout("shards").folder

    @property
    def index_path(self) -> Path:
        """The index of the shards that a run on our layout writes."""
        return self.folder / f"{self.split}{self.layout.shard and f'_{self.layout.shard}'}_index.csv"

    def path(self, number: int) -> Path:
        """Return the path of a shard."""
        return self.folder / f"{self._prefix}-{number:06d}.tar"

    def rows(self) -> pd.DataFrame:
        """Return where the clips in the shards that are there are; rejected ones are left out.

        What was packed from files by --shards has a modification time, as the index says it. Of shards that were
        downloaded the rows are held against the shard's size; where they differ, or are missing, it is read.
        """
        return self._loaded().rows

    def repaired(self) -> tuple[set[str], int]:
        """Write our index anew if it is not as the shards are; return the keys of all clips and the next free number.

        Raises Fatal if the index cannot be written.
        """
        loaded = self._loaded()
        names = self._names()
        if loaded.read or not loaded.named <= names or _is_torn(self.index_path):
            known = self._read_index(self.index_path, INDEX_FIELDS)
            kept = known[known["shard"].isin(names.difference(loaded.read))]
            kept = kept.assign(rejected=kept["rejected"].map({True: "1", False: ""}))[[*INDEX_FIELDS]]
            write_csv(self.index_path, INDEX_FIELDS, chain(kept.itertuples(index=False), *loaded.read.values()))
        found = filter(None, map(re.compile(rf"{self._prefix}-{_NUMBER}").fullmatch, names | loaded.named))
        _cached.cache_clear()  # it was kept from the plan to here, and takes 100 MB for 650,000 clips
        return {*loaded.rows["key"]}, max((int(match[1]) for match in found), default=-1) + 1

    def reject(self, clip: PackedClip) -> None:
        """Note in our index that a clip is unfit, so that it counts as missing. Raises Fatal if that cannot be written.

        The shard stays as it is. If the index is lost, --verify finds the clip again.
        """
        row = PackedSample(clip, NO_CLASS, clip.offset, clip.size).row(clip.shard.name)
        self.append([[*row[:-1], "1"]])

    def append(self, rows: Iterable[Sequence[object]]) -> None:
        """Add rows to our index. Raises Fatal if it cannot be written."""
        lines = io.StringIO()
        csv.writer(lines, lineterminator="\n").writerows(rows)
        try:
            with open(self.index_path, "a", encoding="utf-8", newline="") as file:
                file.write(lines.getvalue() if file.tell() else f"{','.join(INDEX_FIELDS)}\n{lines.getvalue()}")
        except OSError as error:
            raise cannot_write(error, self.index_path) from error

    def keys(self, *, copies: bool = False) -> set[str]:
        """Return the keys of the clips that were downloaded into shards, packed or about to be.

        `copies`: also of those that were packed from files.
        """
        if not self.exists:
            return set()
        rows = self.rows()
        found = {*(rows if copies else rows[rows["mtime_ns"] == ""])["key"]}
        for part in {self.layout, *self.layout.without_shard.shard_layouts(self.subset)}:
            waiting = names_in(part.waiting_folder(self.split))
            found.update(name[:-4].replace(".", "_") for name in waiting if name.endswith(".mp4"))
            with suppress(OSError), open(part.open_shard(self.split), "rb") as file:
                found.update(sample_key(sample.clip) for sample in read_samples(file))
        return found

    def states(self) -> dict[str, tuple[int, int]]:
        """Return size and modification time, as `Layout.clip_state` does, of the clips downloaded into shards."""
        if not self.exists:
            return {}
        rows = self.rows()
        rows = rows[rows["mtime_ns"] == ""]
        mtimes = {name: (self.folder / name).stat().st_mtime_ns for name in rows["shard"].unique().tolist()}
        columns = (rows[column].tolist() for column in ("key", "bytes", "shard"))
        return {key: (size, mtimes[shard]) for key, size, shard in zip(*columns, strict=True)}

    def _loaded(self) -> _Loaded:
        if self.layout.store:
            return self._load()
        files = os.scandir(self.folder) if self.folder.is_dir() else ()
        return _cached(self, frozenset(_state(file) for file in files if file.name.endswith((".tar", ".csv"))))

    def _load(self) -> _Loaded:
        names = self._names()
        shards = sorted(name for name in names if re.fullmatch(rf"{self.split}-(\d+of\d+-)?{_NUMBER}", name))
        indexes = [name for name in names if re.fullmatch(rf"{self.split}(_\d+of\d+)?_index\.csv", name)]
        rows = pd.concat([_parsed(b""), *(self._read_index(self.folder / name) for name in indexes)], ignore_index=True)
        named = {*rows["shard"].unique().tolist()}
        rows = rows[rows["shard"].isin(shards)]
        rejected = rows.loc[rows["rejected"], ["shard", "key"]]
        rows = rows[~rows["rejected"]]
        of_files = rows["mtime_ns"] != ""
        known = {*rows["shard"][of_files].unique()}
        known |= {name for name, size in _sizes(rows[~of_files]) if self._has_size(name, size)}
        read = {name: [*self._read_shard(name)] for name in shards if name not in known}
        if read:
            found = pd.DataFrame(chain(*read.values()), columns=[*INDEX_FIELDS]).astype({"rejected": bool})
            rows = pd.concat([rows[rows["shard"].isin(known)], found[[*_NEEDED]]], ignore_index=True)
        if len(rejected):
            pairs = {*zip(rejected["shard"], rejected["key"], strict=True)}
            rows = rows[[pair not in pairs for pair in zip(rows["shard"], rows["key"], strict=True)]]
        return _Loaded(rows.drop_duplicates("key", keep="last"), read, named)

    @property
    def exists(self) -> bool:
        """Whether there is a folder of shards at all."""
        store, folder = self.layout.store, self.folder
        return bool(store and self.layout.object_name(folder) in store.names_in("")) or folder.is_dir()

    @property
    def _prefix(self) -> str:
        return f"{self.split}{self.layout.shard and f'-{self.layout.shard}'}"

    def _names(self) -> set[str]:
        store = self.layout.store
        return {*(store.names_in(self.layout.object_name(self.folder)) if store else ()), *names_in(self.folder)}

    def _has_size(self, name: str, size: int) -> bool:
        return bool(self.layout.store) or (self.folder / name).stat().st_size == size

    def _read_index(self, path: Path, columns: Sequence[str] = _NEEDED) -> pd.DataFrame:
        """Return the rows of one index; those that make no sense are left out."""
        contents = [path.read_bytes()] if path.exists() else []
        if store := self.layout.store:
            contents.append(store.read(self.layout.object_name(path)) or b"")
        return pd.concat([_parsed(content, columns) for content in (b"", *contents)], ignore_index=True)

    def _read_shard(self, name: str) -> Iterator[list[object]]:
        """Yield the rows of a shard that the index lacks."""
        path = self.folder / name
        try:
            if self.layout.store and not path.exists():
                with self.layout.store.open(self.layout.object_name(path)) as file:
                    yield from (sample.row(name) for sample in read_samples(file))
            else:
                with open(path, "rb") as file:
                    yield from (sample.row(name) for sample in read_samples(file))
        except OSError as error:
            raise cannot_read(error, path) from error


@lru_cache(maxsize=len(SPLIT_OF))
def _cached(folder: ShardFolder, state: object) -> _Loaded:
    """Return what is loaded of a folder, once for as long as its files are as they were."""
    return folder._load()


def _state(file: os.DirEntry[str]) -> tuple[str, int, int]:
    status = file.stat()
    return file.name, status.st_size, status.st_mtime_ns


def _sizes(rows: pd.DataFrame) -> Iterator[tuple[str, int]]:
    """Yield the size that each shard has by its rows, unless these leave a gap in which another clip may be."""
    rows = rows.drop_duplicates(["shard", "offset"])
    ends = rows["offset"] + in_blocks(rows["bytes"])
    gaps = rows["offset"] - ends.groupby(rows["shard"]).shift(fill_value=0)
    without_gaps = gaps.between(1, SAMPLE_OVERHEAD).groupby(rows["shard"]).all()
    for shard, end in ends.groupby(rows["shard"]).max()[without_gaps].items():
        yield str(shard), tar_size(int(end))


def has_downloaded(layout: Layout, subset: Subset) -> bool:
    """Return whether there are shards of a subset that clips were downloaded into."""
    folder = ShardFolder(layout, subset)
    return folder.exists and bool((folder.rows()["mtime_ns"] == "").any())


def in_shards(frame: pd.DataFrame, layout: Layout) -> NDArray[np.bool_]:
    """Return whether the clip of each row is in a shard that it was downloaded into, or about to be packed.

    For a run that downloads into shards itself, what was packed from files counts as well.
    """
    found = np.zeros(len(frame), bool)
    for subset, split in SPLIT_OF.items():
        rows = np.flatnonzero(frame["split"] == split)
        keys = ShardFolder(layout, subset).keys(copies=layout.into_shards) if len(rows) else ()
        if keys:
            found[rows] = _have_keys(frame.iloc[rows], keys)
    return found


def with_places(frame: pd.DataFrame, layout: Layout, in_folder: NDArray[np.bool_]) -> pd.DataFrame:
    """Return the clips that are in the folder or in shards; those of the latter have `shard`, `offset` and `size`.

    What waits to be packed is left out.
    """
    parts = [frame[in_folder]]
    for subset, split in SPLIT_OF.items():
        folder = ShardFolder(layout, subset)
        left = frame[~in_folder & (frame["split"] == split).to_numpy()]
        if left.empty or not folder.exists:
            continue
        rows = folder.rows()
        rows = rows[rows["mtime_ns"] == ""]
        places = rows.rename(columns={"bytes": "size"})[["key", "shard", "offset", "size"]]
        keys = pd.Series([*keys_of(left)], left.index, dtype=object)
        found = left.assign(key=keys).reset_index(names="row").merge(places, on="key").set_index("row")
        parts.append(found.drop(columns="key"))
    if len(parts) == 1:
        return parts[0]
    found, types = pd.concat(parts), {column: frame[column].dtype for column in ("split", "label")}
    return found.loc[frame.index.intersection(found.index, sort=False)].astype(types)


def packed_clips(clips: Iterable[Clip], frame: pd.DataFrame, layout: Layout) -> Iterator[Clip]:
    """Yield the clips of a frame of `with_places`, those in shards as PackedClip."""
    if "shard" not in frame:
        yield from clips
        return
    folder, mtimes = layout.derived_layout("shards").folder, dict[str, int]()
    places = (frame[column].tolist() for column in ("shard", "offset", "size"))
    for clip, shard, offset, size in zip(clips, *places, strict=True):
        if not isinstance(shard, str):
            yield clip
            continue
        if shard not in mtimes:
            mtimes[shard] = (folder / shard).stat().st_mtime_ns
        yield PackedClip(
            clip.youtube_id,
            clip.time_start,
            clip.time_end,
            clip.label,
            clip.split,
            shard=folder / shard,
            offset=int(offset),
            size=int(size),
            mtime_ns=mtimes[shard],
        )


def _have_keys(frame: pd.DataFrame, keys: Container[str]) -> list[bool]:
    return [key in keys for key in keys_of(frame)]


def keys_of(frame: pd.DataFrame) -> Iterator[str]:
    """Yield the keys of the clips of a table."""
    return (name.replace(".", "_") for name in clip_names(frame, ""))


def _is_torn(path: Path) -> bool:
    """Return whether a crash cost the end of a table's last line, so that no row can be added."""
    try:
        return not path.read_bytes().endswith(b"\n")
    except FileNotFoundError:
        return False


def _parsed(content: bytes, columns: Sequence[str] = _NEEDED) -> pd.DataFrame:
    """Return the rows of an index that make sense."""
    try:
        rows = pd.read_csv(
            io.BytesIO(content),
            dtype={name: "category" if name in _REPEATED else str for name in INDEX_FIELDS if name not in _NUMBERS},
            usecols=lambda name: name in columns,
            keep_default_na=False,
            na_values=dict.fromkeys(_NUMBERS, ""),
            on_bad_lines="skip",
            encoding_errors="replace",
        )
    except (ValueError, pd.errors.ParserError):  # nothing is in it, or no column of ours
        rows = pd.DataFrame()
    rows = rows.reindex(columns=[*columns])
    for column in columns:
        if column in _NUMBERS:
            numbers = pd.to_numeric(rows[column], errors="coerce")
            rows[column] = numbers.where(numbers.between(0, 2**53), -1).astype(np.int64)
        else:
            rows[column] = rows[column].astype(object).fillna("")
    rows["rejected"] = rows["rejected"] == "1"
    sound = (rows["mtime_ns"] != "") | ((rows["bytes"] >= 0) & (rows["offset"] >= tarfile.BLOCKSIZE))
    return rows[sound]
