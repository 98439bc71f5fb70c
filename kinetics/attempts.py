"""The attempts table, read: what was made of each clip, and how."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from kinetics.errors import Fatal
from kinetics.layout import Layout
from kinetics.records import KEY, Subset


def read(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """Some columns of a table, as text; without rows if there is none. It may be written to meanwhile.

    Raises Fatal where it cannot be read.
    """
    try:
        content = path.read_bytes()
        table = pd.read_csv(
            io.BytesIO(content[: content.rfind(b"\n") + 1]),  # what follows is a row that is just being written
            usecols=lambda name: name in columns,
            dtype=str,
            keep_default_na=False,
            on_bad_lines="skip",
            encoding_errors="replace",
        )
        return table.reindex(columns=[*columns], fill_value="")
    except (FileNotFoundError, pd.errors.EmptyDataError):
        return pd.DataFrame(columns=[*columns], dtype=str)
    except (OSError, ValueError, pd.errors.ParserError) as error:
        raise Fatal(f"Cannot read {path}: {error}. Mend it, or move it away.") from error


def made(layout: Layout, subset: Subset) -> pd.DataFrame:
    """How each clip was made that was, the last time: duration_s and sound (NaN if unknown), itag, cut and offset_s.

    By youtube_id, time_start and time_end, in seconds.
    """
    columns = [*KEY, "status", "duration_s", "sound", "itag", "cut", "offset_s"]
    table = read(layout.stats(subset), columns)
    table = table[table["status"] == "done"].drop(columns="status")
    for column in ("time_start", "time_end", "duration_s", "sound"):
        table[column] = pd.to_numeric(table[column], errors="coerce")
    return table.drop_duplicates(KEY, keep="last")
