"""Version and subset to a table of clips; the official archive, fetched once and kept.

Every form in which the annotations are handed out becomes one table of text cells (`_read_csv`, `_read_json`), and one
set of rules says which of its rows are clips (`_usable`). What is left out is counted and named, never silently lost.
"""

from __future__ import annotations

import bz2
import codecs
import csv
import gzip
import io
import json
import lzma
import re
import ssl
import tarfile
import time
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, Literal
from urllib.parse import unquote
from urllib.request import getproxies, proxy_bypass

import numpy as np
import pandas as pd
import platformdirs
import urllib3
from urllib3.exceptions import HTTPError, ProtocolError
from urllib3.util import parse_url

from kinetics.errors import Fatal
from kinetics.records import SPLIT_OF, Clip, Subset
from kinetics.storage.layout import whole_or_absent

Progress = Callable[[int, int | None], None]

VERSIONS = {
    version: f"https://storage.googleapis.com/deepmind-media/Datasets/kinetics{version.replace('-', '_')}.tar.gz"
    for version in ("400", "600", "700", "700-2020")
}
"""The official archive of each version: a folder with {train,validate,test}.{csv,json}, about 25 MB."""

ALIASES = {
    "youtube_id": ("youtube_id", "video_id", "id"),
    "time_start": ("time_start", "start_time", "start"),
    "time_end": ("time_end", "end_time", "end"),
    "label": ("label", "class", "class_name"),
    "split": ("split", "subset"),
}
"""Our columns, in the order of Clip's fields, with the names that files give them; the first one found counts."""
NEEDED = ["youtube_id", "time_start", "time_end"]
SUBSET_WORDS: dict[str, Subset] = {
    "train": "train",
    "training": "train",
    "val": "validate",
    "validate": "validate",
    "validation": "validate",
    "test": "test",
    "testing": "test",
}

YOUTUBE_ID = re.compile(r"[A-Za-z0-9_-]{11}")
YOUTUBE_IDS = re.compile(r"[A-Za-z0-9_-]*")
MAX_SECONDS = 1_000_000
MAX_LABEL_BYTES = 200
MAX_CELL = 1 << 17
MAX_CELLS = 1 << 23
"""Of one file; the largest of Kinetics has 3 million as CSV, and 6 as JSON. So many take about 1.5 GB of memory."""
MAX_FILE = 1 << 28
"""Bytes of one file; the largest of Kinetics has about 150 MB, as JSON."""
MAX_ARCHIVE = 1 << 30
MAX_MEMBERS = 10_000
AT_ONCE = 1024
"""So many rows become plain values in one step, which is faster than one by one."""
MAX_SHOWN = 60
NAMED = 3
"""How many of the rows that it counts a warning names."""

CONNECT_S, READ_S, FETCH_S = 10, 30, 3600
PAUSES_S = (1, 4, 10)
"""The waits between the tries to fetch an archive."""
TRY_AGAIN = {408, 429, 500, 502, 503, 504}
BROKEN_ARCHIVE = (tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, OSError, ValueError, OverflowError)
DECOMPRESSORS: dict[bytes, Callable[[io.BytesIO], io.BufferedIOBase]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\0": lzma.open,
}
"""By the bytes with which a compressed file begins."""


@dataclass(frozen=True, slots=True)
class Annotations:
    """The wanted clips, in the order of their file, and what was left out of it."""

    frame: pd.DataFrame
    """Columns youtube_id, time_start and time_end (float64, seconds, to the millisecond), label ('' where there is
    none) and split (train, val or test), these two categorical; unique by (youtube_id, time_start, time_end, split)."""
    warnings: tuple[str, ...]
    """One text for each cause, with the number of rows and the first few of them."""

    def clips(self) -> Iterator[Clip]:
        """The rows as clips, made as they are asked for, so that memory does not grow with the list."""
        for first in range(0, len(self), AT_ONCE):
            rows = self.frame.iloc[first : first + AT_ONCE]
            yield from map(Clip, *(rows[column].tolist() for column in ALIASES))

    def __len__(self) -> int:
        return len(self.frame)


@dataclass(frozen=True, slots=True)
class _File:
    """One annotation file: how to name it to a person, its path, and what is in it."""

    name: str
    path: PurePath
    data: bytes


class _DamagedError(Fatal):
    """An archive cannot be read to its end."""


def load(
    version: str, subset: Subset | Literal["all"], path: Path | None = None, *, progress: Progress | None = None
) -> Annotations:
    """Load the clips of a subset from `path`: a CSV, a JSON, a folder of them, or a tar archive.

    Without a path, the official archive of the version is taken from the user's cache folder, and fetched into it the
    first time; meanwhile `progress(bytes_done, bytes_total or None)` is called. A single file that the user names is
    taken whole as the subset, whatever its split column says; with `all`, that column decides.

    Raises Fatal if there is nothing usable.
    """
    if path is not None:
        return _load(path, subset)
    archive = platformdirs.user_cache_path("kinetics-downloader") / VERSIONS[version].rpartition("/")[2]
    if archive.is_file():
        with suppress(_DamagedError):
            return _load(archive, subset)
    fetch(VERSIONS[version], archive, progress)
    return _load(archive, subset)


def classes_of(version: str, path: Path | None = None) -> list[str]:
    """The labels of a whole version, all its subsets together, sorted: a class is its place in this list.

    Of the file, if `path` is a single one. Raises Fatal if there is nothing usable.
    """
    single = path is not None and path.is_file() and path.suffix.lower() in (".csv", ".json", ".txt")
    labels = (load_list(path) if path and single else load(version, "all", path)).frame["label"]
    return sorted(label for label in labels.cat.categories if label)


def load_list(path: Path) -> Annotations:
    """The clips in one CSV or JSON file that chooses among others: what it says of their splits does not matter.

    Raises Fatal if there is nothing usable.
    """
    try:
        file = _File(str(path), path, _read(path, MAX_FILE))
    except OSError as error:
        raise Fatal(f"Cannot read the list of clips in {path}: {error.strerror or error}. Check the path.") from error
    cells, remarks = _cells(file)
    rows, left_out = _good_rows(cells, _same(cells, "train"), file.name)
    warnings = tuple(f"{path}: {remark}" for remark in (*remarks, *left_out))
    if rows.empty:
        raise Fatal(" ".join([f"{path} holds no usable row: name another file.", *warnings]))
    return Annotations(rows, warnings)


def _load(path: Path, subset: Subset | Literal["all"]) -> Annotations:
    wanted: Sequence[Subset] = list(SPLIT_OF) if subset == "all" else [subset]
    try:
        files = _files(path, wanted)
    except OSError as error:
        raise Fatal(f"Cannot read the annotations in {path}: {error.strerror or error}. Check the path.") from error
    warnings = [f"{path}: there is no file for {part} in it." for part in wanted if not {part, None} & files.keys()]
    frames = []
    for part, file in files.items():
        frame, remarks = _usable(file, part)
        frames += [] if frame.empty else [frame]
        warnings += [f"{file.name}: {remark}" for remark in remarks]
    if not frames:
        raise Fatal(" ".join([f"{path} holds no usable row: get it again, or name another file.", *warnings]))
    table = pd.concat(frames, ignore_index=True).astype({"label": "category", "split": "category"})
    return Annotations(table, tuple(warnings))


# --- finding the files ---


def _files(path: Path, wanted: Sequence[Subset]) -> dict[Subset | None, _File]:
    """The file of each wanted subset; under None a single file for all, whose rows say where they belong."""
    if path.is_dir():
        # One level down as well: that is where the official archive unpacks to.
        inside: dict[PurePath, Path] = {file.relative_to(path): file for file in [*path.iterdir(), *path.glob("*/*")]}
        chosen = _choose((name for name, file in inside.items() if file.is_file()), wanted, path)
        return {
            part: _File(f"{_shown(name)} in {path}", name, _read(inside[name], MAX_FILE))
            for part, name in chosen.items()
        }
    data = _read(path, MAX_ARCHIVE)
    if _is_archive(path, data):
        return _unpack(path, data, wanted)
    if len(data) > MAX_FILE:
        raise _too_large(str(path), MAX_FILE)
    return {wanted[0] if len(wanted) == 1 else None: _File(str(path), path, data)}


def _choose(names: Iterable[PurePath], wanted: Sequence[Subset], where: Path) -> dict[Subset, PurePath]:
    """The best file for each subset, by its name: the least deep, then the official name, then CSV before JSON.

    JSON comes last because it is keyed by video, and so holds only one segment of each.
    """
    ranked: dict[Subset, dict[tuple[int, bool, bool], list[PurePath]]] = defaultdict(lambda: defaultdict(list))
    for name in names:
        part, kind = _subset_in(name.stem), name.suffix.lower()
        hidden = any(step.startswith(".") for step in name.parts)  # macOS puts `._train.csv` beside `train.csv`
        if part and part in wanted and kind in {".csv", ".json"} and not hidden:
            ranked[part][len(name.parts), name.stem.lower() != part, kind != ".csv"].append(name)
    if not ranked:
        raise Fatal(f"{where} holds no CSV or JSON for {' or '.join(wanted)}. Name the file: --annotations FILE")
    best = {part: sorted(ranked[part][min(ranked[part])]) for part in wanted if part in ranked}
    for part, rivals in best.items():
        if len(rivals) > 1:
            listed = ", ".join(map(_shown, rivals[:10]))
            raise Fatal(f"{where} holds {len(rivals)} files for {part}: {listed}. Name one: --annotations FILE")
    return {part: rivals[0] for part, rivals in best.items()}


def _subset_in(text: str) -> Subset | None:
    """The one subset that a file name or a cell of the split column names, like `k400_val` or `holdout_test`."""
    found = {SUBSET_WORDS[word] for word in re.split(r"[\W_]+", text.lower()) if word in SUBSET_WORDS}
    return found.pop() if len(found) == 1 else None


def _read(path: Path, limit: int) -> bytes:
    with open(path, "rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise _too_large(str(path), limit)
    return data


def _too_large(name: str, limit: int) -> Fatal:
    return Fatal(f"{name} has more than {limit >> 20} MiB, too much for annotations. Name another file.")


def _is_archive(path: Path, data: bytes) -> bool:
    named = path.suffix.lower() in {".tar", ".gz", ".tgz"}
    return named or data.startswith((*DECOMPRESSORS,)) or data[257:262] == b"ustar"


def _unpack(path: Path, data: bytes, wanted: Sequence[Subset]) -> dict[Subset | None, _File]:
    """Read the wanted members into memory: nothing that an archive holds is ever written to disk."""
    files: dict[Subset | None, _File] = {}
    try:
        with tarfile.open(fileobj=_decompressed(path, data), mode="r:") as tar:
            inside = _regular_members(tar)
            for part, name in _choose(inside, wanted, path).items():
                shown = f"{_shown(name)} in {path}"
                member = tar.extractfile(inside[name]) if inside[name].size <= MAX_FILE else None
                if member is None:
                    raise _too_large(shown, MAX_FILE)
                files[part] = _File(shown, name, member.read())
    except BROKEN_ARCHIVE as error:
        raise _DamagedError(f"{path} is damaged, cut short, or no tar archive. Get it again.") from error
    return files


def _decompressed(path: Path, data: bytes) -> io.BytesIO:
    """An archive's own bytes, all of them: the check sum stands behind the last one.

    They are counted here, since tarfile would let a few megabytes that are packed well enough fill the memory.
    """
    unpack = next((unpack for magic, unpack in DECOMPRESSORS.items() if data.startswith(magic)), None)
    if unpack is not None:
        with unpack(io.BytesIO(data)) as packed:
            data = packed.read(MAX_ARCHIVE + 1)
    if len(data) > MAX_ARCHIVE:
        raise _too_large(str(path), MAX_ARCHIVE)
    return io.BytesIO(data)


def _regular_members(tar: tarfile.TarFile) -> dict[PurePath, tarfile.TarInfo]:
    """The regular files inside an archive's own folder.

    Links and devices are no annotations, and tarfile's data filter refuses names that lead out of the folder.
    """
    # Python 3.11.0 to 3.11.3 lack the filter, and can do without: a name only picks what is read into memory.
    data_filter = getattr(tarfile, "data_filter", lambda member, _: member)
    inside: dict[PurePath, tarfile.TarInfo] = {}
    for number, member in enumerate(tar):
        if number == MAX_MEMBERS:  # also where a negative size leads tarfile round and round
            raise tarfile.ReadError
        if member.isreg():
            with suppress(tarfile.TarError):
                inside[PurePath(data_filter(member, "/archive").name)] = member
    return inside


# --- reading them as text ---


def _cells(file: _File) -> tuple[pd.DataFrame, list[str]]:
    """All cells as stripped text under our column names, by line or entry number, and what to warn of.

    All but the ids are categorical: what they hold repeats, so that each text is looked at once. `label` and `split`
    are there if the file has them; `surplus` holds what a row has beyond the header.
    """
    if len(file.data) - len(file.data.translate(None, b",\n\r[{\0")) > MAX_CELLS:
        raise Fatal(f"{file.name} has more than {MAX_CELLS:,} cells, too many for annotations. Name another file.")
    kind = file.path.suffix.lower()
    start = file.data[:1000].removeprefix(codecs.BOM_UTF8).lstrip()
    is_json = kind == ".json" or (kind not in {".csv", ".txt"} and start.startswith((b"{", b"[")))
    return _read_json(file) if is_json else _read_csv(file)


def _read_csv(file: _File) -> tuple[pd.DataFrame, list[str]]:
    data = file.data.removeprefix(codecs.BOM_UTF8).replace(b"\0", "\ufffd".encode())
    data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n") + b"\n"
    lines = csv.reader(io.TextIOWrapper(io.BytesIO(data), "utf-8", errors="replace"))
    try:
        header = next((cells for cells in lines if any(cell.strip() for cell in cells)), [])
    except csv.Error as error:
        raise Fatal(f"{file.name} is no CSV: {error}. Name another file.") from error
    columns = _columns(header, file.name)
    body = data.split(b"\n", lines.line_num)[-1]
    # pandas takes the width of the table from its lines: this one has a column more than the header, for surplus cells.
    ruler = b"," * len(header) + b"\n"
    # Text as it stands: an id may look like a number, a label like NA.
    kinds: dict[int, Any] = dict.fromkeys([*columns.values(), len(header)], "category")
    kinds[columns["youtube_id"]] = object
    try:
        table = pd.read_csv(
            io.BytesIO(ruler + body),
            header=None,
            names=range(len(header) + 1),
            usecols=[*kinds],
            dtype=kinds,
            na_filter=False,
            skip_blank_lines=False,  # so that row numbers are line numbers
            low_memory=False,  # with it pandas 2 measures the width chunk by chunk
            encoding_errors="replace",
        )
    except pd.errors.ParserError as error:
        raise Fatal(f"{file.name} is no CSV: {error}. Is a quote left open? Mend it, or name another file.") from error
    swallowed = body.count(b"\n") + 1 - len(table)
    remarks = [f"{swallowed:,} line ends stand inside quoted cells. Is a quote left open?"] if swallowed else []
    table = table.rename(columns={at: name for name, at in columns.items()} | {len(header): "surplus"})
    table.index = pd.RangeIndex(lines.line_num, lines.line_num + len(table), name="line")
    return _without_blanks(_stripped(table)), remarks


def _read_json(file: _File) -> tuple[pd.DataFrame, list[str]]:
    try:
        content = json.loads(file.data.decode("utf-8-sig", errors="replace"))
        records = list(_records(content.get("database", content) if isinstance(content, dict) else content))
    except (ValueError, TypeError, RecursionError) as error:
        raise Fatal(f"{file.name} is no annotation JSON: {error}. Get it again, or name another file.") from error
    names = list(dict.fromkeys(name for record in records for name in record))
    columns = _columns(names, file.name)
    table = {column: [_text(record.get(names[at])) for record in records] for column, at in columns.items()}
    index = pd.RangeIndex(1, len(records) + 1, name="entry")
    return _stripped(pd.DataFrame({**table, "surplus": ""}, index=index, dtype=object)), []


def _records(content: object) -> Iterator[dict[str, Any]]:
    """The rows of a list of records, or of an object that maps each id to its annotation or annotations."""
    if isinstance(content, list):
        yield from map(_object, content)
    elif isinstance(content, dict):
        for youtube_id, value in content.items():
            entry = _object(value)
            annotations = entry.get("annotations")
            for each in annotations if isinstance(annotations, list) and annotations else [annotations]:
                annotation = _object(each)
                segment = annotation.get("segment")
                start, end = segment if isinstance(segment, list) and len(segment) == 2 else (None, None)
                label, split = annotation.get("label"), entry.get("subset")
                yield {"youtube_id": youtube_id, "time_start": start, "time_end": end, "label": label, "split": split}
    else:
        raise TypeError("it is neither a list nor an object")


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    if value is None:
        return ""
    if not isinstance(value, str | int | float):
        return f"\x1a{type(value).__name__}"  # no rule below lets it pass: a list where a label belongs is a bad row
    return str(value).replace("\0", "\ufffd")  # pandas 2 takes texts that differ behind a NUL for the same


def _columns(header: Sequence[str], name: str) -> dict[str, int]:
    """Where our columns stand in a header; case, spaces, hyphens and underscores do not matter."""
    squeezed = [_squeezed(title) for title in header]
    found: dict[str, int] = {}
    for column, aliases in ALIASES.items():
        places = [squeezed.index(alias) for alias in map(_squeezed, aliases) if alias in squeezed]
        if places:
            found[column] = places[0]
    missing = [column for column in NEEDED if column not in found]
    if missing:
        there = ", ".join(map(_shown, header[:10])) or "none"
        raise Fatal(f"{name} lacks the columns {', '.join(missing)} (found: {there}). Mend it, or name another file.")
    return found


def _squeezed(title: str) -> str:
    return re.sub(r"[\W_]+", "", title.lower())


def _stripped(table: pd.DataFrame) -> pd.DataFrame:
    """The cells without the spaces around them, as categories but for the ids."""
    ids = table["youtube_id"]
    together = "".join(ids)
    if " " in together or not together.isprintable():  # which other spaces are not; nearly always there are none
        ids = pd.Series([*map(str.strip, ids)], index=table.index, dtype=object)
    return pd.DataFrame({name: ids if name == "youtube_id" else _categories(cells) for name, cells in table.items()})


def _categories(column: pd.Series[str]) -> pd.Series[str]:
    codes, texts = pd.factorize(column)
    merged, stripped = pd.factorize(np.array([text.strip() for text in texts], dtype=object))
    return pd.Series(pd.Categorical.from_codes(merged[codes], pd.Index(stripped, dtype=object)), index=column.index)


def _without_blanks(table: pd.DataFrame) -> pd.DataFrame:
    """The rows that hold anything."""
    without_id = table[table["youtube_id"] == ""]
    return table.drop(without_id.index[(without_id == "").all(axis=1)])


# --- which rows are clips ---


def _usable(file: _File, part: Subset | None) -> tuple[pd.DataFrame, list[str]]:
    """The rows of a file that are clips, as in Annotations.frame, and what to warn of."""
    cells, remarks = _cells(file)
    if cells.empty:
        remarks.append("it holds no rows.")
    split, differs = _splits(cells, file, part)
    rows, left_out = _good_rows(cells, split, file.name)
    return rows, [*remarks, *differs, *left_out]


def _good_rows(cells: pd.DataFrame, split: pd.Series[str], name: str) -> tuple[pd.DataFrame, list[str]]:
    label = cells["label"] if "label" in cells else _same(cells, "")
    rows = pd.DataFrame(
        {
            "youtube_id": cells["youtube_id"],
            "time_start": _seconds(cells["time_start"]),
            "time_end": _seconds(cells["time_end"]),
            "label": label,
            "split": split,
        }
    )
    in_order = rows["time_start"] < rows["time_end"]
    fit = np.array([*map(_can_be_folder, label.cat.categories)], dtype=bool)
    rules = [
        ("there are more cells than in the header", ["youtube_id", "surplus"], cells["surplus"] == ""),
        ("the id is not 11 of A-Z a-z 0-9 _ -", ["youtube_id"], _are_ids(cells["youtube_id"])),
        (f"the times are not 0 <= start < end <= {MAX_SECONDS} s", ["time_start", "time_end"], in_order),
        ("the label cannot be the name of a folder", ["label"], pd.Series(fit[label.cat.codes], index=cells.index)),
        ("the split is none of train, validate and test", ["split"], split.notna()),
    ]
    remarks = list[str]()
    good = pd.Series(True, index=cells.index)
    for cause, columns, passed in rules:
        bad = cells[good & ~passed].astype(object)
        if bad.map(len).gt(MAX_CELL).any(axis=None):
            raise Fatal(f"{name} has a cell of more than {MAX_CELL:,} characters. Is a quote left open? Mend it.")
        remarks += _left_out(bad.reindex(columns=columns), cause)
        good &= passed
    rows, repeats = _without_repeats(rows[good])
    rows["label"] = rows["label"].cat.remove_unused_categories()  # a label that was left out is none
    return rows.astype({"youtube_id": str}), [*remarks, *repeats]


def _splits(cells: pd.DataFrame, file: _File, part: Subset | None) -> tuple[pd.Series[str], list[str]]:
    """The split of each row, missing where its cell names none, and what to warn of."""
    named = {text: _subset_in(text) for text in cells["split"].cat.categories} if "split" in cells else {}
    found = {subset for subset in named.values() if subset}
    if part is None and found:
        return cells["split"].map({text: SPLIT_OF[subset] for text, subset in named.items() if subset}), []
    part = part or _subset_in(file.path.stem)
    if part is None:
        raise Fatal(
            f"Neither a split column nor its name says which subset {file.name} holds. "
            "Choose it: -s train, -s validate or -s test."
        )
    # Few-shot files keep the original split in this column, so it does not overrule the person who named the file.
    differs = f"its split column says {' and '.join(sorted(found))}, but all rows are taken as {part}."
    return _same(cells, SPLIT_OF[part]), [differs] if found - {part} else []


def _same(cells: pd.DataFrame, text: str) -> pd.Series[Any]:
    """A categorical column with one text in all rows."""
    return pd.Series(text, index=cells.index, dtype=pd.CategoricalDtype([text]))


def _are_ids(column: pd.Series[str]) -> pd.Series[bool]:
    """Which cells are ids; nearly always all are, so that is looked at first."""
    if {*map(len, column)} <= {11} and YOUTUBE_IDS.fullmatch("".join(column)):
        return pd.Series(True, index=column.index)
    return column.map(YOUTUBE_ID.fullmatch).notna()


def _seconds(column: pd.Series[str]) -> pd.Series[float]:
    """A column of text as times to the millisecond, NaN where it is none."""
    seconds = pd.Series(pd.to_numeric(column.cat.categories.to_numpy(), errors="coerce"), dtype="float64")
    seconds = seconds.where(seconds.between(0, MAX_SECONDS)).round(3) + 0.0  # no -0.0, which prints as another time
    return seconds.take(column.cat.codes.to_numpy()).set_axis(column.index)


def _can_be_folder(label: str) -> bool:
    """Whether a label is one plain and visible name, or empty: clips without a label have their own folder."""
    plain = label.isprintable() and not label.startswith(".") and "/" not in label and "\\" not in label
    return plain and len(label.encode()) <= MAX_LABEL_BYTES


def _without_repeats(rows: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """The first row of each clip, and what to warn of."""
    clip = ["youtube_id", "time_start", "time_end"]
    ids = rows["youtube_id"]
    again = rows[ids.isin(ids[ids.duplicated()])].astype({"label": object, "split": object})
    twins = again[again.duplicated([*clip, "split"], keep=False)]
    kept = twins.groupby([*clip, "split"])["label"].transform("first")
    repeats = twins.assign(kept=kept)[twins.duplicated([*clip, "split"])]
    same = repeats["label"] == repeats["kept"]
    return rows.drop(repeats.index), [
        *_left_out(repeats.loc[same, clip], "an earlier row has the same clip"),
        *_left_out(repeats.loc[~same, [*clip, "label", "kept"]], "an earlier row labels the same clip as given last"),
    ]


def _left_out(bad: pd.DataFrame, cause: str) -> list[str]:
    """The warning about bad rows, if there are any, with the cells at fault of the first few."""
    if bad.empty:
        return []
    few = [f"{bad.index.name} {at} ({', '.join(map(_shown, cells))})" for at, *cells in bad.head(NAMED).itertuples()]
    more = f" and {len(bad) - NAMED:,} more" if len(bad) > NAMED else ""
    return [f"{len(bad):,} row{'s' * (len(bad) > 1)} left out, {cause}: {', '.join(few)}{more}."]


def _shown(value: object) -> str:
    """Something from outside, fit for a terminal: escaped and cut."""
    text = str(value)
    text = text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 3] + "..."
    return text if isinstance(value, float) else repr(text)


# --- the official archive ---


def fetch(url: str, into: Path, progress: Progress | None = None) -> None:
    """Fetch a tar archive, whole or not at all; `progress(bytes_done, bytes_total or None)` starts anew with each try.

    Raises Fatal if it cannot be had whole within a few tries.
    """
    reason = ""
    for pause in (0, *PAUSES_S):
        time.sleep(pause)
        try:
            with whole_or_absent(into) as temporary:
                _transfer(url, temporary, progress)
                if not _is_whole(temporary):
                    raise ProtocolError("what came is no whole tar archive")
            return
        except HTTPError as error:
            reason = str(error)
        except OSError as error:
            what = f"Cannot write {into}: {error.strerror or error}. Mend that"
            raise Fatal(f"{what}, choose another cache folder (XDG_CACHE_HOME), or use --annotations PATH.") from error
    raise _unreachable(url, reason)


def _transfer(url: str, into: Path, progress: Progress | None) -> None:
    """One try. Raises urllib3's HTTPError where another may help."""
    deadline = time.monotonic() + FETCH_S
    with (
        _client(url) as client,
        client.request("GET", url, preload_content=False, retries=False, redirect=False) as reply,
        open(into, "wb") as file,
    ):
        if reply.status in TRY_AGAIN:
            raise ProtocolError(f"HTTP {reply.status} {reply.reason}")
        if reply.status != 200:
            raise _unreachable(url, f"HTTP {reply.status} {reply.reason}")
        length = reply.headers.get("Content-Length", "")
        total, done = int(length) if re.fullmatch(r"\d{1,15}", length, re.ASCII) else None, 0
        # Not stream(), which waits for whole blocks: with a slow drip the deadline would never be looked at.
        while block := reply.read1(1 << 16, decode_content=False):
            done += file.write(block)
            if progress:
                progress(done, total)
            if done > MAX_FILE or time.monotonic() > deadline:
                raise _unreachable(url, f"no end after {done:,} bytes")


def _unreachable(url: str, reason: str) -> Fatal:
    return Fatal(
        f"Cannot fetch the annotations from {url}: {reason}. "
        "Try again later, or download the file by hand and name it: --annotations PATH"
    )


def _client(url: str) -> urllib3.PoolManager:
    """An HTTP client that heeds the proxy and certificate variables of the environment, and always checks TLS."""
    settings: dict[str, Any] = {
        "timeout": urllib3.Timeout(connect=CONNECT_S, read=READ_S),
        "ssl_context": ssl.create_default_context(),
    }
    target = parse_url(url)
    proxy = getproxies().get(target.scheme or "")
    if not proxy or proxy_bypass(target.host or ""):
        return urllib3.PoolManager(**settings)
    try:
        address = parse_url(proxy if "://" in proxy else f"http://{proxy}")
        login = urllib3.make_headers(proxy_basic_auth=unquote(address.auth)) if address.auth else None
        return urllib3.ProxyManager(address._replace(auth=None).url, proxy_headers=login, **settings)
    except ValueError:  # not chained, and the address not shown: a password may stand in it
        raise Fatal(f"The environment's {target.scheme}_proxy is no http:// address. Mend it or unset it.") from None


def _is_whole(archive: Path) -> bool:
    try:
        with tarfile.open(fileobj=_decompressed(archive, archive.read_bytes()), mode="r:") as tar:
            _regular_members(tar)
    except (*BROKEN_ARCHIVE, Fatal):
        return False
    return True
