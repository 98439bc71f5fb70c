"""The attempts tables, read: what was made of each clip, and how. Runs on parts of a subset have one each."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from kinetics.errors import Fatal
from kinetics.records import KEY, Subset
from kinetics.storage.layout import Layout
from kinetics.storage.ledger import LINE_LIMIT, STATS_DEFAULTS


def read(paths: Iterable[Path], columns: Sequence[str], *, last_bytes: int | None = None) -> pd.DataFrame:
    """Return some columns of some tables, as text; without rows if there is none. They may be written to meanwhile.

    A column that a table lacks has its default in every row, which is empty but for `source`. `last_bytes`: only the
    rows that begin in the last so many bytes of each table. Raises Fatal where one cannot be read.
    """
    needed = [*dict.fromkeys([*columns, "time"])]
    return sort_by_time([_read(path, needed, last_bytes) for path in paths])[[*columns]]


def sort_by_time(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """What several runs wrote, in the order of their column `time`.

    What one run alone wrote stays as it stands, whatever its clock did meanwhile.
    """
    if len(tables) == 1:
        return tables[0]
    table = pd.concat(tables, ignore_index=True)
    times = pd.to_datetime(table["time"], utc=True, format="ISO8601", errors="coerce")
    return table.iloc[times.sort_values(kind="stable", na_position="first").index].reset_index(drop=True)


def _read(path: Path, columns: Sequence[str], last_bytes: int | None) -> pd.DataFrame:
    try:
        content = path.read_bytes() if last_bytes is None else _header_and_end(path, last_bytes)
        table = pd.read_csv(
            io.BytesIO(content[: content.rfind(b"\n") + 1]),  # what follows is a row that is just being written
            usecols=lambda name: name in columns,
            index_col=False,  # else a first row of too many cells would move all others aside
            dtype=str,
            keep_default_na=False,
            on_bad_lines="skip",
            encoding_errors="replace",
        )
        lacking = {column: STATS_DEFAULTS.get(column, "") for column in columns if column not in table}
        return table.assign(**lacking)[[*columns]]
    except (FileNotFoundError, pd.errors.EmptyDataError):
        return pd.DataFrame(columns=[*columns], dtype=str)
    except (OSError, ValueError, pd.errors.ParserError) as error:
        raise Fatal(f"Cannot read {path}: {error}. Mend it, or move it away.") from error


def _header_and_end(path: Path, size: int) -> bytes:
    """Return the first line of a file, and the lines that begin in the last `size` bytes of it."""
    with open(path, "rb") as file:
        header = file.readline(LINE_LIMIT)
        start = max(len(header), file.seek(0, os.SEEK_END) - size)
        file.seek(start)
        if start > len(header):
            file.readline()
        return header + file.read()


def last_successes(layout: Layout, subset: Subset) -> pd.DataFrame:
    """How each clip was made that was, the last time.

    By youtube_id, time_start and time_end: duration_s and sound (NaN if unknown), itag, cut, offset_s and source. Times
    are in seconds.
    """
    columns = [*KEY, "status", "duration_s", "sound", "itag", "cut", "offset_s", "source"]
    table = read((part.stats(subset) for part in layout.without_shard.shard_layouts(subset)), columns)
    table = table[table["status"] == "done"].drop(columns="status")
    for column in ("time_start", "time_end", "duration_s", "sound"):
        table[column] = pd.to_numeric(table[column], errors="coerce")
    return table.drop_duplicates(KEY, keep="last")
