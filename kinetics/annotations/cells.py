"""Reads an annotation file, in whatever encoding and with whatever separator, into a table of text cells."""

from __future__ import annotations

import codecs
import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import pandas as pd

from kinetics.annotations.files import AnnotationFile
from kinetics.annotations.headers import (
    ACTIVITYNET,
    MAX_OTHER_COLUMNS,
    FileFormat,
    Header,
    UnknownHeaderError,
    match_row,
    match_titles,
    no_columns,
)
from kinetics.errors import Fatal

MAX_JSON_CELLS, MAX_CSV_CELLS = 1 << 23, 1 << 24
"""Maximum number of cells of a file, which take about 1.5 GB of memory; the largest of Kinetics has 6 million as JSON
and 3 million as CSV, the lists of HACS and AudioSet 9 and 13 million as CSV."""
MAX_COLUMNS = 10_000
"""Maximum number of columns of a CSV file; each costs far more memory than a cell."""
SEPARATORS = ",;\t"
"""What stands between the cells of a CSV file; the first one with which the header is understood counts."""
MAX_LINES_ABOVE = 1000
"""Blank lines and comments above a header, after which it is not looked for any more."""
UNICODE_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
"""The encodings other than UTF-8 that a file may have, by the byte order mark with which it begins."""


@dataclass(frozen=True, slots=True)
class Cells:
    """All rows of a file that are not blank, as stripped text, and what is odd about the file."""

    header: Header
    table: pd.DataFrame
    """Columns `youtube_id`, the indices of the header's other columns, and `surplus`, the first cell of a row beyond
    the header; by line or entry number. All but the ids are categorical: their texts repeat, so each is processed
    once."""
    warnings: list[str]


def read_cells(file: AnnotationFile, named: FileFormat | None = None) -> Cells:
    """Return the cells of a file of the named format, or else of the format that its header or first row shows.

    The columns that are not known are read as well if the file has no label. Raises Fatal if it is not annotations.
    """
    data = as_utf8(file.data)
    ends = b",\n\r[{\0" if is_json(file, data) else SEPARATORS.encode() + b"\n\r\0"
    limit = MAX_JSON_CELLS if is_json(file, data) else MAX_CSV_CELLS
    if len(data) - len(data.translate(None, ends)) > limit:
        raise Fatal(f"{file.name} has more than {limit:,} cells, too many for annotations. Name another file.")
    return _read_json(file, data, named) if is_json(file, data) else _read_csv(file, data, named)


def is_json(file: AnnotationFile, data: bytes) -> bool:
    """Return whether a file is JSON, by its name or else by the beginning of its text."""
    suffix = file.path.suffix.lower()
    return suffix == ".json" or (suffix not in {".csv", ".txt"} and data[:1000].lstrip().startswith((b"{", b"[")))


def as_utf8(data: bytes) -> bytes:
    """Return a text in UTF-8, without a byte order mark; a text without one is taken for UTF-8."""
    for mark, encoding in UNICODE_MARKS.items():
        if data.startswith(mark):
            return data.decode(encoding, errors="replace").encode("utf-8", errors="replace")
    return data.removeprefix(codecs.BOM_UTF8)


def _read_csv(file: AnnotationFile, data: bytes, named: FileFormat | None) -> Cells:
    data = data.replace(b"\0", "\ufffd".encode())
    data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n") + b"\n"
    header, separator, lines_above = _find_header(file, data, named)
    body, width = data.split(b"\n", lines_above)[-1], len(header.titles)
    # pandas takes the width of the table from its lines: this one has one column more than the header, for `surplus`.
    width_line = separator.encode() * width + b"\n"
    # Plain text: an id may look like a number, a label like NA.
    dtypes: dict[int, Any] = dict.fromkeys([*_columns_to_read(header, file.name), width], "category")
    (id_column,) = header.columns["youtube_id"][:1]
    dtypes[id_column] = object
    try:
        table = pd.read_csv(
            io.BytesIO(width_line + body),
            sep=separator,
            skipinitialspace=b'"' in body and b' "' in body,  # it takes time, and matters in front of quotes only
            header=None,
            names=range(width + 1),
            usecols=[*dtypes],
            dtype=dtypes,
            na_filter=False,
            skip_blank_lines=False,  # so that row numbers are line numbers
            low_memory=False,  # with it pandas 2 measures the width chunk by chunk
            encoding_errors="replace",
        )
    except pd.errors.ParserError as error:
        if "out of memory" in str(error):
            raise MemoryError from error
        what = f"{file.name} is not a CSV file: {error}. Is a quote left open?"
        raise Fatal(f"{what} Close it, or name another file.") from error
    breaks = body.count(b"\n") + 1 - len(table)
    warnings = [f"{breaks:,} line breaks are inside quoted cells. Is a quote left open?"] if breaks else []
    table = table.rename(columns={id_column: "youtube_id", width: "surplus"})
    table.index = pd.RangeIndex(lines_above, lines_above + len(table), name="line")
    return Cells(header, _without_blanks(_stripped(table)), warnings)


def _find_header(file: AnnotationFile, data: bytes, named: FileFormat | None) -> tuple[Header, str, int]:
    """Return the header of a CSV file, its separator, and the number of lines down to it.

    A comment may be the header, as it is in AudioSet. Raises Fatal if there is none.
    """
    titles = list[str]()
    for separator in SEPARATORS:
        text = io.TextIOWrapper(io.BytesIO(data), "utf-8", errors="replace")
        lines, lines_above = csv.reader(text, delimiter=separator, skipinitialspace=True), 0
        try:
            for row in islice(lines, MAX_LINES_ABOVE):
                if len(row) > MAX_COLUMNS:
                    raise Fatal(f"{file.name} has {len(row):,} columns, too many for annotations. Name another file.")
                if any(cell.strip() for cell in row):
                    if header := match_titles(row, named):
                        return header, separator, lines.line_num
                    # Excel writes `sep=;` above the header.
                    if not row[0].lstrip().startswith(("#", "sep=")):
                        if header := match_row(row, file.name, named):
                            return header, separator, lines_above
                        titles = row if len(row) > len(titles) else titles
                        break
                lines_above = lines.line_num
        except csv.Error as error:
            raise UnknownHeaderError(f"{file.name} is not a CSV file: {error}. Name another file.") from error
    raise no_columns(titles, file.name, named)


def _columns_to_read(header: Header, file_name: str) -> list[int]:
    """Return the columns that are read: without a label, all that may hold one. Raises Fatal if these are too many."""
    others = [] if header.columns.get("label") or "label" not in header.format.columns else header.others
    if len(others) > MAX_OTHER_COLUMNS:
        raise Fatal(f"{file_name} has {len(others):,} columns of unknown meaning. Remove those that are not needed.")
    return [*dict.fromkeys([*others, *(index for indices in header.columns.values() for index in indices)])]


def _read_json(file: AnnotationFile, data: bytes, named: FileFormat | None) -> Cells:
    try:
        content = json.loads(data.decode("utf-8", errors="replace"))
        if isinstance(content, dict) and "database" in content:
            content, named = content["database"], named or ACTIVITYNET
        records = list(_records(content))
    except (ValueError, TypeError, RecursionError) as error:
        what = f"{file.name} is not an annotation JSON file: {error}"
        raise Fatal(f"{what}. Download it again, or name another file.") from error
    names = list(dict.fromkeys(name for record in records for name in record))
    header = match_titles(names, named)
    if header is None:
        raise no_columns(names, file.name, named)
    columns: dict[Any, Any] = {
        at: [_text(record.get(names[at])) for record in records] for at in _columns_to_read(header, file.name)
    }
    index = pd.RangeIndex(1, len(records) + 1, name="entry")
    table = pd.DataFrame(columns | {"surplus": ""}, index=index, dtype=object)
    return Cells(header, _stripped(table.rename(columns={header.columns["youtube_id"][0]: "youtube_id"})), [])


def _records(content: object) -> Iterator[dict[str, Any]]:
    """Yield the rows of a list of records, or of an object that maps each id to its annotation or annotations."""
    if isinstance(content, list):
        yield from map(_object, content)
    elif isinstance(content, dict):
        for youtube_id, value in content.items():
            entry = _object(value)
            annotations = entry.pop("annotations", None)
            for each in annotations if isinstance(annotations, list) and annotations else [annotations]:
                row = {"youtube_id": None, "time_start": None, "time_end": None, **entry, **_object(each)}
                row["youtube_id"], segment = youtube_id, row.pop("segment", None)
                if isinstance(segment, list) and len(segment) == 2:
                    row["time_start"], row["time_end"] = segment
                yield row
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


def _stripped(table: pd.DataFrame) -> pd.DataFrame:
    """Return the cells without the spaces around them; all columns but the ids become categorical."""
    ids = table["youtube_id"]
    joined = "".join(ids.tolist())
    if " " in joined or not joined.isprintable():  # other white space is not printable; there is rarely any
        ids = pd.Series([*map(str.strip, ids)], index=table.index, dtype=object)
    return pd.DataFrame({name: ids if name == "youtube_id" else _categories(cells) for name, cells in table.items()})


def _categories(column: pd.Series[str]) -> pd.Series[str]:
    codes, texts = pd.factorize(column)
    merged, stripped = pd.factorize(np.array([text.strip() for text in texts], dtype=object))
    return pd.Series(pd.Categorical.from_codes(merged[codes], pd.Index(stripped, dtype=object)), index=column.index)


def _without_blanks(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows in which any cell has text."""
    if all(table["youtube_id"].tolist()):
        return table
    without_id = table[table["youtube_id"] == ""]
    return table.drop(without_id.index[(without_id == "").all(axis=1)])
