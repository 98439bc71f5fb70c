"""The attempts tables of a report as columns of numbers, to which new rows are added while a run writes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kinetics.records import KEY, Category, Split
from kinetics.report.clip_rows import ClipRows
from kinetics.storage.attempts import errors_of, parse_lines, seconds_since_1970
from kinetics.storage.growing_file import GrowingFile

STEPS = ("resolve", "download", "cut")
"""The steps of an attempt; the attempts table has a column of seconds for each."""
CATEGORIES = tuple(Category)
NO_CODE = -1
"""The code of a text that is missing, or that is none of those that are known."""
DONE, FAILED, POSTPONED = range(3)
_STATUSES = {"done": DONE, "failed": FAILED, "postponed": POSTPONED}
_CATEGORY_CODES = {category.value: code for code, category in enumerate(CATEGORIES)}
NAMED = ("engine", "itag", "host", "source")
"""The columns of names, of which attempts have codes."""
_NUMBERS = (*(f"{step}_s" for step in STEPS), "bytes_received", "requests", "calls", "clip_bytes")
_COLUMNS = ("time", *KEY, "status", "category", *NAMED, *_NUMBERS)
_REPEATED = tuple(column for column in _COLUMNS if column not in ("time", "youtube_id"))
"""Columns in which a text is in many rows."""


class Names:
    """Texts and the code of each, in the order in which they were first seen."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self._codes: dict[str, int] = {}

    def code(self, text: str) -> int:
        """Return the code of a text."""
        if text not in self._codes:
            self._codes[text] = len(self.texts)
            self.texts.append(text)
        return self._codes[text]

    def find(self, text: str) -> int:
        """Return the code of a text; NO_CODE if it was not seen."""
        return self._codes.get(text, NO_CODE)


@dataclass(frozen=True, slots=True)
class AttemptNames:
    """The names that attempts have codes of."""

    engine: Names = field(default_factory=Names)
    itag: Names = field(default_factory=Names)
    host: Names = field(default_factory=Names)
    source: Names = field(default_factory=Names)


@dataclass(frozen=True, slots=True)
class AttemptColumns:
    """Attempts, one in each place of these arrays; a number that is damaged or missing is NaN, or NO_CODE."""

    row: NDArray[np.int32]
    """The row of the clip in the annotations, or UNKNOWN."""
    ended: NDArray[np.float64]
    """In seconds since 1970."""
    status: NDArray[np.int8]
    category: NDArray[np.int8]
    """The place in CATEGORIES."""
    engine: NDArray[np.int32]
    """The code of its name, as are the next three."""
    itag: NDArray[np.int32]
    host: NDArray[np.int32]
    source: NDArray[np.int32]
    resolve_s: NDArray[np.float64]
    download_s: NDArray[np.float64]
    cut_s: NDArray[np.float64]
    bytes_received: NDArray[np.float64]
    requests: NDArray[np.float64]
    calls: NDArray[np.float64]
    clip_bytes: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.row)

    @property
    def spent_s(self) -> NDArray[np.float64]:
        """The seconds of all steps that were timed."""
        return np.nan_to_num(self.resolve_s) + np.nan_to_num(self.download_s) + np.nan_to_num(self.cut_s)

    def take(self, chosen: NDArray[np.bool_] | NDArray[np.intp]) -> AttemptColumns:
        """Return some of the attempts."""
        if chosen.dtype == bool and chosen.all():
            return self  # copying all columns of 650,000 attempts takes a tenth of a second
        return AttemptColumns(*(getattr(self, field.name)[chosen] for field in fields(self)))

    @staticmethod
    def joined(parts: Sequence[AttemptColumns]) -> AttemptColumns:
        """Return the attempts of all parts, in this order."""
        if len(parts) == 1:
            return parts[0]
        return AttemptColumns(
            *(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(AttemptColumns))
        )

    @staticmethod
    def empty() -> AttemptColumns:
        """Return no attempts."""
        types = {"row": np.int32, "status": np.int8, "category": np.int8, **dict.fromkeys(NAMED, np.int32)}
        return AttemptColumns(*(np.zeros(0, types.get(field.name, np.float64)) for field in fields(AttemptColumns)))


class AttemptsSoFar:
    """The attempts in one table, as far as it was read.

    Rows without a time or a known status are left out. New names get codes in `names`.
    """

    def __init__(self, path: Path, split: Split, clips: ClipRows, names: AttemptNames) -> None:
        self._file = GrowingFile(path)
        self._split, self._clips, self._names = split, clips, names
        self._header = b""
        self.columns = AttemptColumns.empty()

    def read_on(self) -> bool:
        """Take in the new rows; return whether anything has changed. Raises Fatal if the table cannot be read."""
        changed, parts = False, list[AttemptColumns]()
        with errors_of(self._file.path):
            void, blocks = self._file.new_lines()
            if void:
                changed, self._header, self.columns = True, b"", AttemptColumns.empty()
            for lines in blocks:
                rows = lines if self._header else self._without_header(lines)
                if rows:
                    parts.append(self._parsed(rows))
        if not parts:
            return changed
        self.columns = AttemptColumns.joined([self.columns, *parts])
        return True

    def _without_header(self, lines: bytes) -> bytes:
        """Take in the header, which is the first line that is not empty; return what follows it."""
        header, newline, rows = lines.lstrip(b"\r\n").partition(b"\n")
        self._header = header + newline
        return rows

    def _parsed(self, lines: bytes) -> AttemptColumns:
        table = parse_lines(self._header, lines, _COLUMNS, _REPEATED)
        status, category = _codes(table["status"], _STATUSES), _codes(table["category"], _CATEGORY_CODES)
        ended = seconds_of(table["time"])
        sound = ~np.isnan(ended) & (status != NO_CODE)
        rows = self._clips.find(self._split, table["youtube_id"], *(_numbers(table[column]) for column in KEY[1:]))
        return AttemptColumns(
            rows.astype(np.int32),
            ended,
            status,
            category,
            *(self._named(table[column]) for column in NAMED),  # type: ignore[arg-type]
            *(_numbers(table[column]) for column in _NUMBERS),
        ).take(sound)

    def _named(self, column: pd.Series) -> NDArray[np.int32]:
        """Return the codes of texts; a table from before the mirror has no sources."""
        category = column.astype("category")
        default = "youtube" if column.name == "source" else ""
        names: Names = getattr(self._names, str(column.name))
        known = [names.code(str(text) or default) for text in category.cat.categories]
        return np.array([*known, NO_CODE], np.int32)[category.cat.codes]


def _codes(column: pd.Series, known: dict[str, int]) -> NDArray[np.int8]:
    """Return the codes of texts."""
    category = column.astype("category")
    codes = [known.get(str(text), NO_CODE) for text in category.cat.categories]
    return np.array([*codes, NO_CODE], np.int8)[category.cat.codes]


def _numbers(column: pd.Series) -> NDArray[np.float64]:
    """Return texts as numbers, NaN for what is none. Each text is read once, as most are in many rows."""
    category = column.astype("category")
    numbers = pd.to_numeric(pd.Series(category.cat.categories.astype(object)), errors="coerce").to_numpy(float)
    values = np.full(len(numbers) + 1, np.nan)
    values[:-1][np.isfinite(numbers)] = numbers[np.isfinite(numbers)]
    return values[category.cat.codes]


def seconds_of(times: pd.Series) -> NDArray[np.float64]:
    """Return times as seconds since 1970, NaN for a text that is no time."""
    return np.asarray(seconds_since_1970(times), np.float64)


def in_order_of_time(parts: Sequence[AttemptColumns]) -> AttemptColumns:
    """Return the attempts of several runs on one subset in the order of time.

    Those of a single table keep their order, even if the clock of its run was changed.
    """
    joined = AttemptColumns.joined(parts)
    return joined if len(parts) == 1 else joined.take(np.argsort(joined.ended, kind="stable"))
