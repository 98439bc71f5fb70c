"""Reads an annotation file into a table of clips.

`read_cells` turns every published form of the annotations into one table of text cells; `valid_rows` applies one set
of rules to say which of its rows are clips, and counts and names those that are left out.
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
from kinetics.humanize import letters_and_digits, quoted
from kinetics.records import KEY, SPLIT_OF, Clip, Subset

ALIASES = {
    "youtube_id": ("youtube_id", "video_id", "id"),
    "time_start": ("time_start", "start_time", "start"),
    "time_end": ("time_end", "end_time", "end"),
    "label": ("label", "class", "class_name"),
    "split": ("split", "subset"),
}
"""Our columns, in the order of Clip's fields, with the names that files give them; the first name found counts."""
REQUIRED_COLUMNS = KEY
YOUTUBE_ID = re.compile(r"[A-Za-z0-9_-]{11}")
YOUTUBE_IDS = re.compile(r"[A-Za-z0-9_-]*")
"""Any number of ids, one after the other."""
MAX_SECONDS = 1_000_000
"""The latest time in a video, in seconds; file names have six digits for it."""
MAX_LABEL_BYTES = 200
"""Maximum length of a label, in bytes of UTF-8; file systems allow a folder's name 255."""
MAX_CELL_CHARS = 1 << 17
"""Maximum length of a cell, in characters; a longer one is what an open quote makes of the following lines."""
MAX_CELLS = 1 << 23
"""Maximum number of cells of a file, which take about 1.5 GB of memory; the largest of Kinetics has 3 million as CSV
and 6 million as JSON."""
CLIPS_PER_BATCH = 1024
"""Rows that become plain values in one step, which is faster than one by one."""
MAX_NAMED_ROWS = 3
"""The number of rows that a warning names, of all those that it counts."""


@dataclass(frozen=True, slots=True)
class Annotations:
    """The wanted clips, in the order of their file, and the warnings about rows that were left out."""

    frame: pd.DataFrame
    """Columns youtube_id, time_start and time_end (float64, seconds, to the millisecond), label ('' where there is
    none) and split (train, val or test), these two categorical; unique by (youtube_id, time_start, time_end, split)."""
    warnings: tuple[str, ...]
    """One text for each cause, with the number of rows and the first few of them; shown to the user."""

    def clips(self) -> Iterator[Clip]:
        """Yield the rows as clips, made in batches so that memory does not grow with the list."""
        for first in range(0, len(self), CLIPS_PER_BATCH):
            rows = self.frame.iloc[first : first + CLIPS_PER_BATCH]
            yield from map(Clip, *(rows[column].tolist() for column in ALIASES))

    def __len__(self) -> int:
        return len(self.frame)


def usable_rows(file: AnnotationFile, subset: Subset | None) -> tuple[pd.DataFrame, list[str]]:
    """Return the rows of a file that are clips, as in Annotations.frame, and the warnings about it.

    All rows belong to `subset`; under None each row's own cell, or else the file's name, says to which.
    """
    cells, warnings = read_cells(file)
    if cells.empty:
        warnings.append("it holds no rows.")
    split, split_warnings = _splits(cells, file, subset)
    rows, left_out = valid_rows(cells, split, file.name)
    return rows, [*warnings, *split_warnings, *left_out]


def read_cells(file: AnnotationFile) -> tuple[pd.DataFrame, list[str]]:
    """Return all cells as stripped text under our column names, by line or entry number, and warnings.

    All columns but the ids are categorical: their texts repeat, so each is processed once. `label` and `split` are
    there if the file has them; `surplus` holds the first cell of a row beyond the header. Raises Fatal if the file is
    not annotations.
    """
    if len(file.data) - len(file.data.translate(None, b",\n\r[{\0")) > MAX_CELLS:
        raise Fatal(f"{file.name} has more than {MAX_CELLS:,} cells, too many for annotations. Name another file.")
    suffix = file.path.suffix.lower()
    start = file.data[:1000].removeprefix(codecs.BOM_UTF8).lstrip()
    is_json = suffix == ".json" or (suffix not in {".csv", ".txt"} and start.startswith((b"{", b"[")))
    return _read_json(file) if is_json else _read_csv(file)


def _read_csv(file: AnnotationFile) -> tuple[pd.DataFrame, list[str]]:
    data = file.data.removeprefix(codecs.BOM_UTF8).replace(b"\0", "\ufffd".encode())
    data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n") + b"\n"
    lines = csv.reader(io.TextIOWrapper(io.BytesIO(data), "utf-8", errors="replace"))
    try:
        header = next((cells for cells in lines if any(cell.strip() for cell in cells)), [])
    except csv.Error as error:
        raise Fatal(f"{file.name} is not a CSV file: {error}. Name another file.") from error
    columns = _columns(header, file.name)
    body = data.split(b"\n", lines.line_num)[-1]
    # pandas takes the width of the table from its lines: this one has one column more than the header, for `surplus`.
    width_line = b"," * len(header) + b"\n"
    # Plain text: an id may look like a number, a label like NA.
    dtypes: dict[int, Any] = dict.fromkeys([*columns.values(), len(header)], "category")
    dtypes[columns["youtube_id"]] = object
    try:
        table = pd.read_csv(
            io.BytesIO(width_line + body),
            header=None,
            names=range(len(header) + 1),
            usecols=[*dtypes],
            dtype=dtypes,
            na_filter=False,
            skip_blank_lines=False,  # so that row numbers are line numbers
            low_memory=False,  # with it pandas 2 measures the width chunk by chunk
            encoding_errors="replace",
        )
    except pd.errors.ParserError as error:
        what = f"{file.name} is not a CSV file: {error}. Is a quote left open?"
        raise Fatal(f"{what} Close it, or name another file.") from error
    breaks = body.count(b"\n") + 1 - len(table)
    warnings = [f"{breaks:,} line breaks are inside quoted cells. Is a quote left open?"] if breaks else []
    table = table.rename(columns={at: name for name, at in columns.items()} | {len(header): "surplus"})
    table.index = pd.RangeIndex(lines.line_num, lines.line_num + len(table), name="line")
    return _without_blanks(_stripped(table)), warnings


def _read_json(file: AnnotationFile) -> tuple[pd.DataFrame, list[str]]:
    try:
        content = json.loads(file.data.decode("utf-8-sig", errors="replace"))
        records = list(_records(content.get("database", content) if isinstance(content, dict) else content))
    except (ValueError, TypeError, RecursionError) as error:
        what = f"{file.name} is not an annotation JSON file: {error}"
        raise Fatal(f"{what}. Download it again, or name another file.") from error
    names = list(dict.fromkeys(name for record in records for name in record))
    columns = _columns(names, file.name)
    table = {column: [_text(record.get(names[at])) for record in records] for column, at in columns.items()}
    index = pd.RangeIndex(1, len(records) + 1, name="entry")
    return _stripped(pd.DataFrame({**table, "surplus": ""}, index=index, dtype=object)), []


def _records(content: object) -> Iterator[dict[str, Any]]:
    """Yield the rows of a list of records, or of an object that maps each id to its annotation or annotations."""
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
        return f"\x1a{type(value).__name__}"  # no rule allows \x1a: a list in the place of a label makes a bad row
    return str(value).replace("\0", "\ufffd")  # pandas 2 takes texts that differ only behind a NUL for equal


def _columns(header: Sequence[str], file_name: str) -> dict[str, int]:
    """Return the index in a header of each of our columns that it has. Raises Fatal if a required one is missing.

    Case, spaces, hyphens and underscores do not matter.
    """
    titles = [letters_and_digits(title) for title in header]
    found: dict[str, int] = {}
    for column, aliases in ALIASES.items():
        indices = [titles.index(alias) for alias in map(letters_and_digits, aliases) if alias in titles]
        if indices:
            found[column] = indices[0]
    missing = [column for column in REQUIRED_COLUMNS if column not in found]
    if missing:
        present = ", ".join(map(quoted, header[:10])) or "none"
        what = f"{file_name} lacks the columns {', '.join(missing)} (found: {present})"
        raise Fatal(f"{what}. Correct the file, or name another one.")
    return found


def _stripped(table: pd.DataFrame) -> pd.DataFrame:
    """Return the cells without the spaces around them; all columns but the ids become categorical."""
    ids = table["youtube_id"]
    joined = "".join(ids)
    if " " in joined or not joined.isprintable():  # other white space is not printable; there is rarely any
        ids = pd.Series([*map(str.strip, ids)], index=table.index, dtype=object)
    return pd.DataFrame({name: ids if name == "youtube_id" else _categories(cells) for name, cells in table.items()})


def _categories(column: pd.Series[str]) -> pd.Series[str]:
    codes, texts = pd.factorize(column)
    merged, stripped = pd.factorize(np.array([text.strip() for text in texts], dtype=object))
    return pd.Series(pd.Categorical.from_codes(merged[codes], pd.Index(stripped, dtype=object)), index=column.index)


def _without_blanks(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows in which any cell has text."""
    without_id = table[table["youtube_id"] == ""]
    return table.drop(without_id.index[(without_id == "").all(axis=1)])


def valid_rows(cells: pd.DataFrame, split: pd.Series[str], file_name: str) -> tuple[pd.DataFrame, list[str]]:
    """Return the rows that are clips, as in Annotations.frame, and a warning for each cause of rows left out.

    `split` has a row's split, or NaN. Raises Fatal if a row that is left out has a cell above MAX_CELL_CHARS.
    """
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
    usable = np.array([*map(_can_be_folder, label.cat.categories)], dtype=bool)
    rules = [
        ("there are more cells than in the header", ["youtube_id", "surplus"], cells["surplus"] == ""),
        ("the id is not 11 of A-Z a-z 0-9 _ -", ["youtube_id"], _are_ids(cells["youtube_id"])),
        (f"the times are not 0 <= start < end <= {MAX_SECONDS} s", ["time_start", "time_end"], in_order),
        ("the label cannot be the name of a folder", ["label"], pd.Series(usable[label.cat.codes], index=cells.index)),
        ("the split is not train, validate or test", ["split"], split.notna()),
    ]
    warnings = list[str]()
    good = pd.Series(True, index=cells.index)
    for cause, columns, passed in rules:
        bad = cells[good & ~passed].astype(object)
        if bad.map(len).gt(MAX_CELL_CHARS).any(axis=None):
            what = f"{file_name} has a cell of more than {MAX_CELL_CHARS:,} characters. Is a quote left open?"
            raise Fatal(f"{what} Close it, or name another file.")
        warnings += _left_out(bad.reindex(columns=columns), cause)
        good &= passed
    rows, repeats = _without_repeats(rows[good])
    rows["label"] = rows["label"].cat.remove_unused_categories()  # labels of rows that were left out
    return rows.astype({"youtube_id": str}), [*warnings, *repeats]


def _splits(cells: pd.DataFrame, file: AnnotationFile, subset: Subset | None) -> tuple[pd.Series[str], list[str]]:
    """Return the split of each row, NaN where its cell names none, and warnings. Raises Fatal if nothing names one."""
    named = {text: subset_in(text) for text in cells["split"].cat.categories} if "split" in cells else {}
    found = {one for one in named.values() if one}
    if subset is None and found:
        return cells["split"].map({text: SPLIT_OF[one] for text, one in named.items() if one}), []
    subset = subset or subset_in(file.path.stem)
    if subset is None:
        raise Fatal(
            f"Neither a split column nor its name says which subset {file.name} holds. "
            "Choose it: -s train, -s validate or -s test."
        )
    # Few-shot files keep the original split in this column, so it does not overrule the person who named the file.
    differs = f"its split column says {' and '.join(sorted(found))}, but all rows are taken as {subset}."
    return constant_column(cells, SPLIT_OF[subset]), [differs] if found - {subset} else []


def constant_column(cells: pd.DataFrame, text: str) -> pd.Series[Any]:
    """Return a categorical column with the same text in all rows."""
    return pd.Series(text, index=cells.index, dtype=pd.CategoricalDtype([text]))


def _are_ids(column: pd.Series[str]) -> pd.Series[bool]:
    """Tell for each cell whether it is an id. Nearly always all are, so that is tested first."""
    if {*map(len, column)} <= {11} and YOUTUBE_IDS.fullmatch("".join(column)):
        return pd.Series(True, index=column.index)
    return column.map(YOUTUBE_ID.fullmatch).notna()


def _seconds(column: pd.Series[str]) -> pd.Series[float]:
    """Return a column of text as seconds, rounded to milliseconds; NaN if not from 0 to MAX_SECONDS."""
    seconds = pd.Series(pd.to_numeric(column.cat.categories.to_numpy(), errors="coerce"), dtype="float64")
    seconds = (
        seconds.where(seconds.between(0, MAX_SECONDS)).round(3) + 0.0
    )  # makes 0.0 of -0.0, which prints differently
    return seconds.take(column.cat.codes.to_numpy()).set_axis(column.index)


def _can_be_folder(label: str) -> bool:
    """Return whether a label is a plain, visible name, or empty: clips without a label have their own folder."""
    plain = label.isprintable() and not label.startswith(".") and "/" not in label and "\\" not in label
    return plain and len(label.encode()) <= MAX_LABEL_BYTES


def _without_repeats(rows: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Return the first row of each clip, and the warnings about the others."""
    ids = rows["youtube_id"]
    candidates = rows[ids.isin(ids[ids.duplicated()])].astype({"label": object, "split": object})
    groups = candidates[candidates.duplicated([*KEY, "split"], keep=False)]
    kept = groups.groupby([*KEY, "split"])["label"].transform("first")
    repeats = groups.assign(kept=kept)[groups.duplicated([*KEY, "split"])]
    same = repeats["label"] == repeats["kept"]
    return rows.drop(repeats.index), [
        *_left_out(repeats.loc[same, KEY], "an earlier row has the same clip"),
        *_left_out(repeats.loc[~same, [*KEY, "label", "kept"]], "an earlier row gives the clip the label shown last"),
    ]


def _left_out(bad: pd.DataFrame, cause: str) -> list[str]:
    """Return the warning about bad rows, with the cells at fault of the first few; nothing if there are none."""
    if bad.empty:
        return []
    first = bad.head(MAX_NAMED_ROWS).itertuples()
    named = [f"{bad.index.name} {number} ({', '.join(map(quoted, cells))})" for number, *cells in first]
    more = f" and {len(bad) - MAX_NAMED_ROWS:,} more" if len(bad) > MAX_NAMED_ROWS else ""
    return [f"{len(bad):,} row{'s' * (len(bad) > 1)} left out, {cause}: {', '.join(named)}{more}."]
