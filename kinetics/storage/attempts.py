"""Reads the attempts tables: one row for each attempt at a clip. Each shard of a subset has a table of its own."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pandas as pd

from kinetics.errors import Fatal
from kinetics.humanize import error_words
from kinetics.records import GONE_VIDEO, KEY, Category, Subset
from kinetics.storage.atomic import cannot_read
from kinetics.storage.layout import Layout
from kinetics.storage.ledger import LINE_LIMIT, STATS_DEFAULTS, Ledger

LAST_S = 2**33
"""The last time that counts, in seconds since 1970: in the year 2242. A clock that is wrong may say the year 9999, and
a report would draw all the hours until then."""
BLOCK_BYTES = 1 << 22
"""Bytes of a table that are parsed at once where it is read in blocks; they take about ten times as much memory."""


def read(paths: Iterable[Path], columns: Sequence[str], *, last_bytes: int | None = None) -> pd.DataFrame:
    """Return some columns of some tables, as text; without rows if there is no table.

    A column missing from a table reads as its default, which is empty except for `source`. With `last_bytes`, only the
    rows that begin that close to the end of a table are read. A run may be writing to the tables at the same time.
    Raises Fatal if one cannot be read.
    """
    needed = [*dict.fromkeys([*columns, "time"])]
    return sort_by_time([_read(path, needed, last_bytes) for path in paths])[[*columns]]


def sort_by_time(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return the rows of several runs' tables in the order of the column `time`.

    A single table keeps its order, even if the clock of its run was changed.
    """
    if len(tables) == 1:
        return tables[0]
    table = pd.concat(tables, ignore_index=True)
    times = pd.to_datetime(table["time"], utc=True, format="ISO8601", errors="coerce")
    return table.iloc[times.sort_values(kind="stable", na_position="first").index].reset_index(drop=True)


def seconds_since_1970(times: pd.Series[str]) -> pd.Series[float]:
    """Return the times of a table in seconds since 1970, NaN for a text that is no time, or one of another age."""
    read = pd.to_datetime(times, utc=True, format="ISO8601", errors="coerce")
    seconds: pd.Series[float] = (read - pd.Timestamp(0, tz="UTC").as_unit("s")).dt.total_seconds()
    return seconds.where(seconds.between(0, LAST_S))


def read_in_blocks(path: Path, columns: Sequence[str]) -> Iterator[pd.DataFrame]:
    """Yield the rows of one table as `read` returns them, block by block, so that memory stays small."""
    with errors_of(path), open(path, "rb") as file:
        header = file.readline(LINE_LIMIT)
        while block := file.read(BLOCK_BYTES):
            yield _parsed(header + block + file.readline(LINE_LIMIT), columns)


def _read(path: Path, columns: Sequence[str], last_bytes: int | None) -> pd.DataFrame:
    with errors_of(path):
        return _parsed(path.read_bytes() if last_bytes is None else _header_and_end(path, last_bytes), columns)
    return pd.DataFrame(columns=[*columns], dtype=str)


def parse_lines(header: bytes, lines: bytes, columns: Sequence[str], repeated: Sequence[str]) -> pd.DataFrame:
    """Return the rows in some lines of a table as `read` does, but the `repeated` columns as categorical ones.

    Texts that are in many rows are read much faster so. Each line is a row by itself: a quote that one leaves open does
    not reach into the next.
    """
    types = {name: "category" if name in repeated else "object" for name in columns}
    try:
        table = _parsed(header + lines, columns, types)
        if b'"' not in lines or len(table) == lines.count(b"\n"):
            return table
    except pd.errors.ParserError:
        if b'"' not in lines:
            raise
    closed = b"".join(line for line in lines.splitlines(keepends=True) if _is_closed(line))
    return _parsed(header + closed, columns, types)


def _is_closed(line: bytes) -> bool:
    """Return whether a line ends outside of quotes."""
    try:
        return len([*csv.reader([line.decode(errors="replace")], strict=True)]) == 1
    except csv.Error:
        return False


def _parsed(content: bytes, columns: Sequence[str], types: Mapping[str, str] | type[str] = str) -> pd.DataFrame:
    """Return the rows of a table in these columns; those that it does not have hold their defaults."""
    table = pd.read_csv(
        io.BytesIO(content[: content.rfind(b"\n") + 1]),  # the rest is a row that is being written
        usecols=lambda name: name in columns,
        index_col=False,  # else too many cells in the first row shift all the others
        dtype=types,
        keep_default_na=False,
        on_bad_lines="skip",
        encoding_errors="replace",
    )
    defaults = {column: STATS_DEFAULTS.get(column, "") for column in columns if column not in table}
    return table.assign(**defaults)[[*columns]]


@contextmanager
def errors_of(path: Path) -> Iterator[None]:
    """Turn the errors of reading a table into Fatal; a table that is not there, or empty, has no rows."""
    try:
        yield
    except (FileNotFoundError, pd.errors.EmptyDataError):
        return
    except OSError as error:
        raise cannot_read(error, path) from error
    except (ValueError, pd.errors.ParserError) as error:
        raise Fatal(
            f"Cannot read {path}: {error_words(error)}. Fix it or move it away, and run the command again."
        ) from error


def _header_and_end(path: Path, size: int) -> bytes:
    """Return the first line of a file, and the lines that begin in the last `size` bytes of it."""
    with open(path, "rb") as file:
        header = file.readline(LINE_LIMIT)
        start = max(len(header), file.seek(0, os.SEEK_END) - size)
        file.seek(start)
        if start > len(header):
            file.readline()
        return header + file.read()


def last_successes(
    layout: Layout,
    subset: Subset,
    columns: Sequence[str] = ("duration_s", "sound", "itag", "cut", "offset_s", "source"),
    *,
    whole: bool = False,
) -> pd.DataFrame:
    """Return the last successful attempt at each clip, or, if `whole`, at each whole video.

    The columns are youtube_id, time_start, time_end and the given ones, as text but for those with seconds and `sound`,
    which are numbers (NaN if unknown). Raises Fatal if a table cannot be read.
    """
    tables = (part.stats(subset) for part in layout.without_shard.shard_layouts(subset))
    table = read(tables, [*dict.fromkeys([*KEY, "status", "cut", *columns])])
    table = table[(table["status"] == "done") & ((table["cut"] == "none") == whole)][[*KEY, *columns]]
    for column in {"time_start", "time_end", "duration_s", "sound"}.intersection(table):
        table[column] = pd.to_numeric(table[column], errors="coerce")
    return table.drop_duplicates("youtube_id" if whole else KEY, keep="last")


def gone_videos(layout: Layout, subset: Subset, ledger: Ledger) -> Mapping[str, Category]:
    """Return the videos that YouTube has called gone, and not shown since, each with the category.

    The attempts tables decide; what only the ledger knows counts as well. Raises Fatal if a table cannot be read.
    """
    said = {key[0]: category for key in ledger.missing if (category := ledger.category(key))}
    tables = (part.stats(subset) for part in layout.without_shard.shard_layouts(subset))
    table = read(tables, ["youtube_id", "status", "category", "source"])
    shown = (table["status"] == "done") & (table["source"] == "youtube")
    settled = (table["status"] == "failed") & table["category"].isin([one for one in Category if one.settled])
    last = table[shown | settled].drop_duplicates("youtube_id", keep="last")
    for youtube_id, category in zip(last["youtube_id"], last["category"], strict=True):
        said[youtube_id] = Category(category) if category else Category.NOT_OFFERED
    return {video: one for video, one in said.items() if one in GONE_VIDEO}
