"""The error logs of a report: the last failure of each clip, to which new lines are added while a run writes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kinetics.humanize import without_numbers
from kinetics.records import Split
from kinetics.report.attempts_so_far import CATEGORIES, Names, seconds_of
from kinetics.report.clip_rows import UNKNOWN, ClipRows
from kinetics.storage.attempts import errors_of
from kinetics.storage.growing_file import GrowingFile
from kinetics.storage.ledger import ERROR_FIELDS

_CODES = {category.value: code for code, category in enumerate(CATEGORIES)}


@dataclass(frozen=True, slots=True)
class FailureColumns:
    """Failures, one in each place of these arrays."""

    row: NDArray[np.int64]
    """The row of the clip in the annotations."""
    category: NDArray[np.int64]
    """The place in CATEGORIES."""
    text: NDArray[np.int64]
    """The code of the reason without numbers and ids."""
    time: NDArray[np.float64]
    """In seconds since 1970; NaN for a text that is no time."""

    def take(self, chosen: NDArray[np.bool_] | NDArray[np.intp]) -> FailureColumns:
        """Return some of the failures."""
        return FailureColumns(self.row[chosen], self.category[chosen], self.text[chosen], self.time[chosen])

    @staticmethod
    def joined(parts: Sequence[FailureColumns]) -> FailureColumns:
        """Return the failures of all parts, in this order."""
        return FailureColumns(
            np.concatenate([one.row for one in parts]),
            np.concatenate([one.category for one in parts]),
            np.concatenate([one.text for one in parts]),
            np.concatenate([one.time for one in parts]),
        )

    @staticmethod
    def empty() -> FailureColumns:
        """Return no failures."""
        nothing = np.zeros(0, np.int64)
        return FailureColumns(nothing, nothing, nothing, np.zeros(0))


@dataclass
class _Log:
    """One error log, as far as it was read."""

    file: GrowingFile
    split: Split
    columns: FailureColumns = field(default_factory=FailureColumns.empty)


class FailuresSoFar:
    """The failures in the error logs of a report, as far as these were read.

    Lines without a known category, and those of other clips, are left out.
    """

    def __init__(self, clips: ClipRows) -> None:
        self._clips = clips
        self._logs = dict[Path, _Log]()
        self._texts = Names()

    @property
    def texts(self) -> Sequence[str]:
        """The reasons by their codes."""
        return self._texts.texts

    def read_on(self, logs: Mapping[Split, Sequence[Path]]) -> bool:
        """Take in the new lines of the logs of each split; return whether anything has changed.

        Raises Fatal if a log cannot be read.
        """
        wanted = {path: split for split, paths in logs.items() for path in paths}
        changed = not self._logs.keys() <= wanted.keys()
        self._logs = {path: self._logs.get(path) or _Log(GrowingFile(path), split) for path, split in wanted.items()}
        for log in self._logs.values():
            with errors_of(log.file.path):
                void, blocks = log.file.new_lines()
                if void:  # it was compacted: all is read anew, so that no reason is kept that nobody gives any more
                    self._logs, self._texts = {}, Names()
                    self.read_on(logs)
                    return True
                parts = [self._parsed(lines, log.split) for lines in blocks]
                if parts:
                    changed, log.columns = True, FailureColumns.joined([log.columns, *parts])
        return changed

    def last_of_each_clip(
        self, logs: Mapping[Split, Sequence[Path]], missing: NDArray[np.bool_], got: NDArray[np.float64]
    ) -> FailureColumns:
        """Return the last failure of each missing clip that was tried, in the order of the annotations.

        `got`: when the clip of each row was last made, or NaN. A failure in one run's log does not count if another run
        got the clip later, as that run never writes to this log.
        """
        last = np.full(len(missing), UNKNOWN, np.int64)
        several, parts, count = list[bool](), list[FailureColumns](), 0
        for paths in logs.values():
            columns = FailureColumns.joined([self._logs[path].columns for path in paths])
            if len(paths) > 1:
                nan_first = np.where(np.isnan(columns.time), -np.inf, columns.time)
                columns = columns.take(np.argsort(nan_first, kind="stable"))
            last[columns.row] = count + np.arange(len(columns.row))
            count += len(columns.row)
            several += [len(paths) > 1] * len(columns.row)
            parts.append(columns)
        found = FailureColumns.joined(parts).take(last[(last != UNKNOWN) & missing])
        of_several = np.array(several, bool)[last[(last != UNKNOWN) & missing]]
        outdated = of_several & (got[found.row] > found.time)
        return found.take(~outdated)

    def _parsed(self, lines: bytes, split: Split) -> FailureColumns:
        fields = [line.removesuffix("\r").split("\t") for line in lines.decode(errors="replace").split("\n")]
        rows = [one for one in fields if len(one) == len(ERROR_FIELDS) and one[3] in _CODES]
        if not rows:
            return FailureColumns.empty()
        ids, starts, ends, categories, reasons, times = zip(*rows, strict=True)
        segments = (pd.to_numeric(pd.Series(texts), errors="coerce").to_numpy(float) for texts in (starts, ends))
        texts = [
            self._texts.code(without_numbers(reason.replace(youtube_id, "..") if youtube_id else reason))
            for youtube_id, reason in zip(ids, reasons, strict=True)
        ]
        columns = FailureColumns(
            self._clips.find(split, pd.Series(ids, dtype=object), *segments),
            np.array([_CODES[category] for category in categories], np.int64),
            np.array(texts, np.int64),
            seconds_of(pd.Series(times)),
        )
        return columns.take(columns.row != UNKNOWN)
