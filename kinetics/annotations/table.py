"""An annotation file becomes a table of clips.

Every form in which the annotations are handed out becomes one table of text cells (`_read_csv`, `_read_json`), and
one set of rules says which of its rows are clips (`usable_rows`). What is left out is counted and named.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from kinetics.annotations.files import AnnotationFile, subset_in
from kinetics.errors import Fatal
from kinetics.humanize import quoted
from kinetics.records import SPLIT_OF, Clip, Subset

ALIASES = {
    "youtube_id": ("youtube_id", "video_id", "id"),
    "time_start": ("time_start", "start_time", "start"),
    "time_end": ("time_end", "end_time", "end"),
    "label": ("label", "class", "class_name"),
    "split": ("split", "subset"),
}
"""Our columns, in the order of Clip's fields, with the names that files give them; the first one found counts."""
NEEDED = ["youtube_id", "time_start", "time_end"]
YOUTUBE_ID = re.compile(r"[A-Za-z0-9_-]{11}")
YOUTUBE_IDS = re.compile(r"[A-Za-z0-9_-]*")
MAX_SECONDS = 1_000_000
MAX_LABEL_BYTES = 200
MAX_CELL = 1 << 17
MAX_CELLS = 1 << 23
"""Of one file; the largest of Kinetics has 3 million as CSV, and 6 as JSON. So many take about 1.5 GB of memory."""
AT_ONCE = 1024
"""So many rows become plain values in one step, which is faster than one by one."""
NAMED = 3
"""How many of the rows that it counts a warning names."""


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


def read_cells(file: AnnotationFile) -> tuple[pd.DataFrame, list[str]]:
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


def _read_csv(file: AnnotationFile) -> tuple[pd.DataFrame, list[str]]:
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


def _read_json(file: AnnotationFile) -> tuple[pd.DataFrame, list[str]]:
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
        there = ", ".join(map(quoted, header[:10])) or "none"
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


def usable_rows(file: AnnotationFile, part: Subset | None) -> tuple[pd.DataFrame, list[str]]:
    """The rows of a file that are clips, as in Annotations.frame, and what to warn of."""
    cells, remarks = read_cells(file)
    if cells.empty:
        remarks.append("it holds no rows.")
    split, differs = _splits(cells, file, part)
    rows, left_out = good_rows(cells, split, file.name)
    return rows, [*remarks, *differs, *left_out]


def good_rows(cells: pd.DataFrame, split: pd.Series[str], name: str) -> tuple[pd.DataFrame, list[str]]:
    """Return the rows that are clips, as in Annotations.frame, and one warning for each cause of those left out."""
    label = cells["label"] if "label" in cells else constant_column(cells, "")
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


def _splits(cells: pd.DataFrame, file: AnnotationFile, part: Subset | None) -> tuple[pd.Series[str], list[str]]:
    """The split of each row, missing where its cell names none, and what to warn of."""
    named = {text: subset_in(text) for text in cells["split"].cat.categories} if "split" in cells else {}
    found = {subset for subset in named.values() if subset}
    if part is None and found:
        return cells["split"].map({text: SPLIT_OF[subset] for text, subset in named.items() if subset}), []
    part = part or subset_in(file.path.stem)
    if part is None:
        raise Fatal(
            f"Neither a split column nor its name says which subset {file.name} holds. "
            "Choose it: -s train, -s validate or -s test."
        )
    # Few-shot files keep the original split in this column, so it does not overrule the person who named the file.
    differs = f"its split column says {' and '.join(sorted(found))}, but all rows are taken as {part}."
    return constant_column(cells, SPLIT_OF[part]), [differs] if found - {part} else []


def constant_column(cells: pd.DataFrame, text: str) -> pd.Series[Any]:
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
    few = [f"{bad.index.name} {at} ({', '.join(map(quoted, cells))})" for at, *cells in bad.head(NAMED).itertuples()]
    more = f" and {len(bad) - NAMED:,} more" if len(bad) > NAMED else ""
    return [f"{len(bad):,} row{'s' * (len(bad) > 1)} left out, {cause}: {', '.join(few)}{more}."]
