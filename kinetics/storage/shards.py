"""What a subset's WebDataset shards hold: an index of their clips, and the clips that are about to be packed.

A shard under its final name is whole and never changes. The index beside the shards has a row for each clip; what it
lacks, or says wrongly, is read from the shards' own headers. So a deleted index costs time, and no clip.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
import tarfile
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kinetics.humanize import safe_cell, seconds_text
from kinetics.records import NO_CLASS, SPLIT_OF, Clip, PackedClip, Split, Subset
from kinetics.storage.atomic import cannot_read, cannot_write, write_csv
from kinetics.storage.layout import Layout, clip_name, clip_names, names_in

INDEX_FIELDS = (
    *("shard", "key", "youtube_id", "time_start", "time_end", "label", "class", "bytes", "mtime_ns", "offset"),
    "rejected",
)
"""The columns: size and modification time of the clip's file when it was packed, the time empty where it was downloaded
into the shard; where its bytes begin in the shard; and 1 once --verify has found the clip unfit."""
SHARD_LIMIT = 10**9
"""Maximum size of a shard, in bytes; only a single clip that is larger exceeds it."""
SAMPLE_OVERHEAD = 1 << 13
"""Upper bound, in bytes, for what a sample takes besides the clip: metadata, and the headers of three members."""
MAX_JSON = 1 << 20
"""Bytes of a sample's metadata; one that has more is not a sample of ours."""
MAX_SECONDS = 1e7
"""A clip's times are below this; it is beyond the longest video, and within what a clip's name can say."""
_NUMBER = r"(\d{6,})\.tar"
_NEEDED = ("shard", "key", "bytes", "mtime_ns", "offset", "rejected")
"""The columns that finding a clip takes."""


@dataclass(frozen=True, slots=True)
class PackedSample:
    """A sample in a shard: a clip, and where its file is in there."""

    clip: Clip
    class_number: int
    """NO_CLASS where it has none."""
    offset: int
    size: int

    @property
    def end(self) -> int:
        """Where the next member of the archive begins."""
        return self.offset + int(_in_blocks(self.size))

    def row(self, shard: str, mtime_ns: str = "") -> list[object]:
        """Return the sample's row of the index."""
        clip = self.clip
        times = seconds_text(clip.time_start), seconds_text(clip.time_end)
        about = safe_cell(clip.label), self.class_number, self.size, mtime_ns, self.offset, ""
        return [shard, sample_key(clip), clip.youtube_id, *times, *about]


def sample_key(clip: Clip) -> str:
    """Return the name of a clip's sample: WebDataset ends it at the first dot."""
    return clip_name(*clip.key, suffix="").replace(".", "_")


def sample_metadata(clip: Clip, class_number: int, about: Mapping[str, object] | None = None) -> dict[str, bytes]:
    """Return the members of a sample besides the clip, by their extension; `about` adds keys to the json."""
    known = {} if class_number == NO_CLASS else {"cls": str(class_number).encode()}
    fields = {
        "youtube_id": clip.youtube_id,
        "time_start": clip.time_start,
        "time_end": clip.time_end,
        "label": clip.label,
        "split": clip.split,
    }
    return {**known, "json": json.dumps({**fields, **(about or {})}).encode()}


def open_tar(file: IO[bytes]) -> tarfile.TarFile:
    """Return the archive to which samples are added from where the file stands; it has the plainest format of all."""
    return tarfile.TarFile(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT)


def add_sample(
    tar: tarfile.TarFile, clip: Clip, path: Path, class_number: int, about: Mapping[str, object] | None = None
) -> PackedSample:
    """Append a clip's file, after its class and its metadata. Raises OSError if it cannot be read or written."""
    with open(path, "rb") as file:
        for extension, content in sample_metadata(clip, class_number, about).items():
            member = _member(f"{sample_key(clip)}.{extension}", len(content))
            tar.addfile(member, io.BytesIO(content))
        size = os.fstat(file.fileno()).st_size
        tar.addfile(_member(f"{sample_key(clip)}.mp4", size), file)
    return PackedSample(clip, class_number, tar.offset - _in_blocks(size), size)


def tar_size(end: int) -> int:
    """Return the size of an archive whose last member ends there."""
    return -(-(end + 2 * tarfile.BLOCKSIZE) // tarfile.RECORDSIZE) * tarfile.RECORDSIZE


def read_samples(file: IO[bytes]) -> Iterator[PackedSample]:
    """Yield the samples of an archive that are whole, as far as it can be read; of other members nothing is said."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    key, about, number = "", dict[str, Any](), NO_CLASS
    with suppress(tarfile.TarError, OSError, ValueError), tarfile.open(fileobj=file, mode="r:") as tar:
        while (member := tar.next()) is not None:
            tar.members = []  # type: ignore[attr-defined] # which would keep every member of it
            name, _, extension = member.name.partition(".")
            if name != key:
                key, about, number = name, {}, NO_CLASS
            if not member.isreg() or member.offset_data + member.size > size:
                continue
            content = _content(tar, member) if extension in ("json", "cls") else b""
            if extension == "json":
                about = _fields(content)
            elif extension == "cls" and content.isdigit():
                number = int(content)
            elif extension == "mp4" and (clip := _clip(about)) and sample_key(clip) == key:
                yield PackedSample(clip, number, member.offset_data, member.size)


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

    def next_number(self) -> int:
        """Return the number of the next shard: no name is ever used again."""
        pattern = re.compile(rf"{self._prefix}-{_NUMBER}")
        indexed = self._read_index(self.index_path)["shard"].unique().tolist()
        found = filter(None, map(pattern.fullmatch, [*self._names(), *indexed]))
        return max((int(match[1]) for match in found), default=-1) + 1

    def rows(self, read: dict[str, list[list[object]]] | None = None) -> pd.DataFrame:
        """Return where the clips in the shards that are there are; rejected ones are left out.

        What was packed from files by --shards has a modification time, as the index says it. Of shards that were
        downloaded the rows are held against the shard's size; where they differ, or are missing, it is read. What was
        read is put into `read`, by the shard's name.
        """
        names = self._names()
        shards = [name for name in names if re.fullmatch(rf"{self.split}-(\d+of\d+-)?{_NUMBER}", name)]
        indexes = [name for name in names if re.fullmatch(rf"{self.split}(_\d+of\d+)?_index\.csv", name)]
        rows = pd.concat([_parsed(b""), *(self._read_index(self.folder / name) for name in indexes)], ignore_index=True)
        rows = rows[rows["shard"].isin(shards)]
        rejected = rows.loc[rows["rejected"], ["shard", "key"]]
        rows = rows[~rows["rejected"]]
        known = {*rows["shard"][rows["mtime_ns"] != ""]}
        downloaded = rows[rows["mtime_ns"] == ""]
        ends = (downloaded["offset"] + _in_blocks(downloaded["bytes"])).groupby(downloaded["shard"]).max()
        known |= {str(name) for name, end in ends.items() if self._has_size(str(name), tar_size(int(end)))}
        missing = [name for name in shards if name not in known]
        if missing:
            read = {} if read is None else read
            read |= {name: [*self._read_shard(name)] for name in missing}
            found = pd.DataFrame(chain(*read.values()), columns=[*INDEX_FIELDS]).astype({"rejected": bool})[[*_NEEDED]]
            rows = pd.concat([rows[rows["shard"].isin(known)], found], ignore_index=True)
        if len(rejected):
            pairs = {*zip(rejected["shard"], rejected["key"], strict=True)}
            rows = rows[[pair not in pairs for pair in zip(rows["shard"], rows["key"], strict=True)]]
        return rows.drop_duplicates("key", keep="last")

    def repaired(self) -> set[str]:
        """Return the keys of all clips in shards, once our index is as the shards are. Raises Fatal if it cannot be
        written.
        """
        known = self._read_index(self.index_path, INDEX_FIELDS)
        there = known[known["shard"].isin(self._names())]
        rows = self.rows(read := dict[str, list[list[object]]]())
        if read or len(there) < len(known) or not _ends_with_a_line(self.index_path):
            there = there[~there["shard"].isin(read)]
            kept = there.assign(rejected=there["rejected"].map({True: "1", False: ""}))[[*INDEX_FIELDS]]
            write_csv(self.index_path, INDEX_FIELDS, chain(kept.itertuples(index=False), *read.values()))
        return {*rows["key"]}

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
    ids, starts, ends = (frame[column].tolist() for column in ("youtube_id", "time_start", "time_end"))
    return (name.replace(".", "_") for name in clip_names(ids, starts, ends, ""))


def _ends_with_a_line(path: Path) -> bool:
    try:
        return path.read_bytes().endswith(b"\n")
    except FileNotFoundError:
        return False


def _in_blocks(size: Any) -> Any:
    """Return a size, or a column of sizes, rounded up to whole blocks of an archive."""
    return -(-size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE


def _member(name: str, size: int) -> tarfile.TarInfo:
    """Return the header of a member; it says nothing of the machine or the time, so that equal samples are equal."""
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o444
    return member


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member) if member.size <= MAX_JSON else None
    return file.read() if file else b""


def _fields(content: bytes) -> dict[str, Any]:
    with suppress(ValueError, RecursionError):
        found = json.loads(content)
        return found if isinstance(found, dict) else {}
    return {}


def _clip(about: Mapping[str, Any]) -> Clip | None:
    """Return the clip that a sample's metadata describe; None if they make no sense."""
    youtube_id, label, split = (about.get(name) for name in ("youtube_id", "label", "split"))
    times = about.get("time_start"), about.get("time_end")
    if not (isinstance(youtube_id, str) and isinstance(label, str) and split in SPLIT_OF.values()):
        return None
    if not all(isinstance(time, int | float) and 0 <= time < MAX_SECONDS for time in times):
        return None
    return Clip(youtube_id, float(times[0]), float(times[1]), label, split)  # type: ignore[arg-type]


def _parsed(content: bytes, columns: Sequence[str] = _NEEDED) -> pd.DataFrame:
    """Return the rows of an index that make sense."""
    try:
        rows = pd.read_csv(
            io.BytesIO(content),
            dtype=str,
            usecols=lambda name: name in columns,
            keep_default_na=False,
            on_bad_lines="skip",
            encoding_errors="replace",
        )
    except (ValueError, pd.errors.ParserError):  # nothing is in it, or no column of ours
        rows = pd.DataFrame()
    rows = rows.reindex(columns=[*columns], fill_value="").fillna("")
    for column in ("bytes", "offset"):
        rows[column] = pd.to_numeric(rows[column], errors="coerce").fillna(-1).astype(np.int64)
    rows["rejected"] = rows["rejected"] == "1"
    sound = (rows["mtime_ns"] != "") | ((rows["bytes"] >= 0) & (rows["offset"] >= tarfile.BLOCKSIZE))
    return rows[sound]
