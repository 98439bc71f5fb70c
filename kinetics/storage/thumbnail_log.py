"""The table of what the thumbnail host said of videos that YouTube called gone, which only the parent process writes.

A damaged line is left out: that costs one more request for a thumbnail.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

import pandas as pd

from kinetics.records import SPLIT_OF, Subset, Thumbnail
from kinetics.storage.atomic import atomic_write, cannot_read, cannot_write, require_plain
from kinetics.storage.attempts import seconds_since_1970
from kinetics.storage.layout import Layout

THUMBNAILS = "thumbnails.csv"
"""How the table's name ends."""
FIELDS = ("youtube_id", "thumbnail", "time")
_HEADER = ",".join(FIELDS)
_SAID = ("there", "missing")


class ThumbnailLog:
    """Writes what is seen of one subset's thumbnails; reads that of every run on the subset, with whatever shard.

    Use it with `with` to write, and hold the subset's lock. Every row is flushed when it is written. Raises Fatal if
    the table cannot be read or written.
    """

    def __init__(self, layout: Layout, subset: Subset) -> None:
        self._path = layout.table(subset, THUMBNAILS)
        require_plain(self._path)
        self._partial = layout.partial(SPLIT_OF[subset])
        others = (part.table(subset, THUMBNAILS) for part in layout.without_shard.shard_layouts(subset))
        self._paths = [self._path, *(path for path in others if path != self._path)]
        self._file: TextIO | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the table, and write it anew with one line for each video."""
        if not self._file:
            return
        try:
            self._file.close()
            with atomic_write(self._path, self._partial) as temporary:
                _last([self._path]).to_csv(temporary, columns=[*FIELDS], index=False, lineterminator="\n")
        except OSError as failure:
            raise cannot_write(failure, self._path) from failure

    def sightings(self) -> pd.DataFrame:
        """Return what was seen last of each video: `youtube_id`, `thumbnail`, and `seen_s` in seconds since 1970.

        It is read anew each time, and not kept.
        """
        return _last(self._paths).drop(columns="time").reset_index(drop=True)

    def note(self, youtube_id: str, thumbnail: Thumbnail) -> None:
        """Add what has just been seen."""
        row = f"{youtube_id},{thumbnail},{datetime.now().astimezone().isoformat(timespec='seconds')}"
        try:
            if not self._file:
                if self._path.exists():  # without half a line that a crash left at the end
                    os.truncate(self._path, self._path.read_bytes().rfind(b"\n") + 1)
                self._file = open(self._path, "a", encoding="utf-8")  # noqa: SIM115 - until the end of the run
                if not self._file.tell():
                    row = f"{_HEADER}\n{row}"
            self._file.write(row + "\n")
            self._file.flush()
        except OSError as error:
            raise cannot_write(error, self._path) from error


def _last(paths: Iterable[Path]) -> pd.DataFrame:
    """Return the latest sighting of each video in some tables, with `seen_s`, the earliest first."""
    seen = pd.concat([_read(path) for path in paths], ignore_index=True)
    seen["seen_s"] = seconds_since_1970(seen["time"])
    seen = seen[seen["seen_s"].notna() & seen["thumbnail"].isin(_SAID)]
    return seen.sort_values("seen_s", kind="stable").drop_duplicates("youtube_id", keep="last")


def _read(path: Path) -> pd.DataFrame:
    try:
        whole_lines, _, _ = path.read_bytes().rpartition(b"\n")
        return pd.read_csv(
            io.BytesIO(whole_lines),
            names=[*FIELDS],
            index_col=False,
            dtype=str,
            quoting=csv.QUOTE_NONE,
            keep_default_na=False,
            on_bad_lines="skip",
            encoding_errors="replace",
        )
    except (FileNotFoundError, pd.errors.EmptyDataError, pd.errors.ParserError):
        return pd.DataFrame(columns=[*FIELDS], dtype=str)
    except OSError as error:
        raise cannot_read(error, path) from error
