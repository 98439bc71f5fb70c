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
from kinetics.records import SPLIT_OF, Category, ClipKey, Outcome, Subset

ERROR_FIELDS = ("youtube_id", "time_start", "time_end", "category", "reason", "time")
STATS_FIELDS = (
    *("time", "youtube_id", "time_start", "time_end", "label", "status", "category", "reason", "engine", "itag"),
    *("height", "resolve_s", "download_s", "cut_s", "bytes_received", "requests", "clip_bytes", "offset_s"),
    *("duration_s", "host"),
)
_CATEGORIES: Container[str] = {category.value for category in Category}
_STEERING = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]+")
"""Control characters, line ends, changes of direction, and halves of characters, which no file can hold."""
REASON_LIMIT = 400
LINE_LIMIT = 1 << 16
"""No row is longer, in bytes."""


class Ledger:
    """What is known of a subset's clips that are missing, and a row for every attempt.

    Open it with `with`, holding the subset's lock. Every row is flushed as it is written, so a crash costs at most one
    line. A file under our names that is none of ours is set aside, never mixed with ours nor lost.
    """

    def __init__(self, layout: Layout, subset: Subset) -> None:
        self.errors_log = layout.errors_log(subset)
        self.stats = layout.stats(subset)
        self._partial = layout.partial(SPLIT_OF[subset])
        self._missing = {key: line for line in _lines(self.errors_log) if (key := _key(line))}
        self._errors: TextIO | None = None
        self._attempts: TextIO | None = None

    def __enter__(self) -> Self:
        if not self._missing and _lines(self.errors_log):
            _set_aside(self.errors_log)
        self._compact()
        self._errors = open(self.errors_log, "a", encoding="utf-8", newline="")
        self._attempts = _open_table(self.stats)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in (self._errors, self._attempts):
            if file:
                file.close()
        self._compact()

    def category(self, key: ClipKey) -> Category | None:
        """Why the clip was missing when it was last tried; None if it never was."""
        line = self._missing.get(key)
        return Category(line.split("\t")[3]) if line else None

    def forget(self, key: ClipKey) -> None:
        """The clip is there after all."""
        self._missing.pop(key, None)

    def record(self, outcome: Outcome) -> None:
        """Write the row of an attempt; a failure also goes to the error log."""
        assert self._attempts and self._errors
        now = datetime.now().astimezone().isoformat(timespec="seconds")
        clip, category, reason = outcome.clip, outcome.category or "", _cell(outcome.reason)
        segment = clip.youtube_id, _number(clip.time_start), _number(clip.time_end)
        csv.writer(self._attempts, lineterminator="\n").writerow(
            [
                *(now, *segment, _cell(clip.label), outcome.status, category, reason),
                *(_cell(outcome.engine), _cell(outcome.itag), outcome.height),
                *(_round(seconds) for seconds in (outcome.resolve_s, outcome.download_s, outcome.cut_s)),
                *(outcome.bytes_received, outcome.requests, outcome.clip_bytes),
                *(_round(seconds) for seconds in (outcome.offset_s, outcome.duration_s)),
                _cell(outcome.host),
            ]
        )
        self._attempts.flush()
        if outcome.status == "done":
            self.forget(clip.key)
        elif outcome.status == "failed":
            line = self._missing[clip.key] = "\t".join((*segment, category, reason, now))
            self._errors.write(line + "\n")
            self._errors.flush()

    def _compact(self) -> None:
        """Write the log anew, unless it already has one line for each clip that is still missing, and no other."""
        lines = list(self._missing.values())
        if lines != _lines(self.errors_log):
            with whole_or_absent(self.errors_log, self._partial) as temporary:
                temporary.write_text("".join(line + "\n" for line in lines), encoding="utf-8")


def one_line(text: str) -> str:
    """Text from outside, fit for a table and a terminal: nothing that steers either, and not endless."""
    text = _STEERING.sub(" ", text).strip()
    return text if len(text) <= REASON_LIMIT else text[: REASON_LIMIT - 1] + "\u2026"


def _cell(text: str) -> str:
    """A spreadsheet runs a cell that begins like a formula; an apostrophe in front stops it."""
    text = one_line(text)
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text


def _number(seconds: float) -> str:
    return f"{seconds:.3f}".rstrip("0").rstrip(".")


def _round(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)


def _open_table(path: Path) -> TextIO:
    """Open the attempts table for appending, without the half line that a crash may have left."""
    header = ",".join(STATS_FIELDS)
    with open(path, "ab+") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - LINE_LIMIT))
        file.truncate(file.tell() + file.read().rfind(b"\n") + 1)
        file.seek(0)
        found = file.readline(LINE_LIMIT).decode(errors="replace").rstrip("\r\n")
    if found != header and path.stat().st_size:
        _set_aside(path)
    table = open(path, "a", encoding="utf-8", newline="")  # noqa: SIM115 - open as long as the ledger
    if found != header:
        table.write(header + "\n")
        table.flush()
    return table


def _set_aside(path: Path) -> None:
    """Rename to `<name>.old`, or `.old-2` and so on."""
    old = path.with_name(f"{path.name}.old")
    number = 1
    while old.exists():
        number += 1
        old = path.with_name(f"{path.name}.old-{number}")
    path.rename(old)


def _lines(path: Path) -> list[str]:
    """The whole lines of a file: what follows the last line end was cut by a crash."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]
    except FileNotFoundError:
        return []


def _key(line: str) -> ClipKey | None:
    """The clip that a line of the error log is about; None for a line that was edited into nonsense."""
    cells = line.split("\t")
    if len(cells) != len(ERROR_FIELDS) or cells[3] not in _CATEGORIES:
        return None
    try:
        return cells[0], float(cells[1]), float(cells[2])
    except ValueError:
        return None
