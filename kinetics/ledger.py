"""The attempts table and the error log of one subset. The parent process alone writes them; the disk decides."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Container
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

from kinetics.layout import Layout, whole_or_absent
from kinetics.records import SPLIT_OF, Category, Clip, ClipKey, Outcome, Subset

ERROR_FIELDS = ("youtube_id", "time_start", "time_end", "category", "reason", "time")
STATS_FIELDS = (
    *("time", "youtube_id", "time_start", "time_end", "label", "status", "category", "reason", "engine", "itag"),
    *("height", "resolve_s", "download_s", "cut_s", "bytes_received", "requests", "clip_bytes", "offset_s"),
    *("duration_s", "host"),
)
_CATEGORIES: Container[str] = {category.value for category in Category}
REASON_LIMIT = 400
LINE_LIMIT = 1 << 16
"""No row is longer, in bytes."""


class Ledger:
    """What is known of a subset's clips that are missing, and a row for every attempt.

    Open it with `with`, holding the subset's lock. Every row is flushed as it is written, so a crash costs at most one
    line, which is repaired when the tables are next opened.
    """

    def __init__(self, layout: Layout, subset: Subset) -> None:
        self.errors_log = layout.errors_log(subset)
        self.stats = layout.stats(subset)
        self._partial = layout.partial(SPLIT_OF[subset])
        self._missing = {key: line for line in _lines(self.errors_log) if (key := _key(line))}
        self._errors: TextIO | None = None
        self._attempts: TextIO | None = None

    def __enter__(self) -> Self:
        self._write_errors_log()
        self._errors = open(self.errors_log, "a", encoding="utf-8", newline="")
        self._attempts = _open_table(self.stats)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in (self._errors, self._attempts):
            if file:
                file.close()
        self._write_errors_log()

    def category(self, clip: Clip) -> Category | None:
        """Why the clip was missing when it was last tried; None if it never was."""
        line = self._missing.get(clip.key)
        return Category(line[3]) if line else None

    def forget(self, clip: Clip) -> None:
        """The clip is there after all."""
        self._missing.pop(clip.key, None)

    def record(self, outcome: Outcome) -> None:
        """Write the row of an attempt; a failure also goes to the error log."""
        now = datetime.now().astimezone().isoformat(timespec="seconds")
        assert self._attempts and self._errors
        csv.writer(self._attempts, lineterminator="\n").writerow(_attempt(outcome, now))
        self._attempts.flush()
        if outcome.status == "done":
            self._missing.pop(outcome.clip.key, None)
        elif outcome.status == "failed":
            clip = outcome.clip
            times = _number(clip.time_start), _number(clip.time_end)
            line = (clip.youtube_id, *times, outcome.category or "", one_line(outcome.reason), now)
            self._missing[clip.key] = line
            self._errors.write("\t".join(line) + "\n")
            self._errors.flush()

    def _write_errors_log(self) -> None:
        """Write the log anew: one line for each clip that is still missing."""
        if not self._missing and not self.errors_log.exists():
            return
        with whole_or_absent(self.errors_log, self._partial) as temporary:
            temporary.write_text("".join("\t".join(line) + "\n" for line in self._missing.values()), encoding="utf-8")


def one_line(text: str) -> str:
    """Text from outside, fit for a table and a terminal: no control characters, and not endless."""
    text = re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+", " ", text).strip()
    return text if len(text) <= REASON_LIMIT else text[: REASON_LIMIT - 1] + "\u2026"


def _attempt(outcome: Outcome, now: str) -> list[object]:
    clip = outcome.clip
    return [
        *(now, clip.youtube_id, _number(clip.time_start), _number(clip.time_end), _cell(clip.label), outcome.status),
        *(outcome.category or "", _cell(outcome.reason), outcome.engine, outcome.itag, outcome.height),
        *(_round(value) for value in (outcome.resolve_s, outcome.download_s, outcome.cut_s)),
        *(outcome.bytes_received, outcome.requests, outcome.clip_bytes),
        *(_round(value) for value in (outcome.offset_s, outcome.duration_s)),
        outcome.host,
    ]


def _cell(text: str) -> str:
    """A spreadsheet runs a cell that begins like a formula; an apostrophe in front stops it."""
    text = one_line(text)
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text


def _number(seconds: float) -> str:
    return f"{seconds:.3f}".rstrip("0").rstrip(".")


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def _open_table(path: Path) -> TextIO:
    """Open the attempts table for appending, without the half line that a crash may have left."""
    with open(path, "ab+") as file:
        size = file.seek(0, os.SEEK_END)
        tail_start = max(0, size - LINE_LIMIT)
        file.seek(tail_start)
        whole = tail_start + file.read().rfind(b"\n") + 1
        if whole < size:
            file.truncate(whole)
    table = open(path, "a", encoding="utf-8", newline="")  # noqa: SIM115 - open as long as the ledger
    if not whole:
        csv.writer(table, lineterminator="\n").writerow(STATS_FIELDS)
        table.flush()
    return table


def _lines(path: Path) -> list[tuple[str, ...]]:
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return []
    return [tuple(line.split("\t")) for line in text.split("\n")]


def _key(line: tuple[str, ...]) -> ClipKey | None:
    """The clip that a line of the error log is about; None for a line that was cut or edited into nonsense."""
    if len(line) != len(ERROR_FIELDS) or line[3] not in _CATEGORIES:
        return None
    try:
        return line[0], float(line[1]), float(line[2])
    except ValueError:
        return None
