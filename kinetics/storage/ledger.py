"""The attempts table and the error log of one subset, which only the parent process writes."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self, TextIO

from kinetics.errors import Fatal
from kinetics.humanize import safe_cell, seconds_text
from kinetics.records import KEY, SPLIT_OF, Category, ClipKey, Outcome, Subset
from kinetics.storage.atomic import atomic_write, cannot_write, require_plain
from kinetics.storage.card_file import cards_of
from kinetics.storage.layout import Layout

PICTURE_FIELDS = ("short_side", "fps", "keyframes")
"""The last columns of the attempts table: what was asked for, as in PictureSettings."""
ERROR_FIELDS = ("youtube_id", "time_start", "time_end", "category", "reason", "time")
STATS_FIELDS = (
    *("time", "youtube_id", "time_start", "time_end", "label", "status", "category", "reason", "engine", "itag"),
    *("height", "resolve_s", "download_s", "cut_s", "bytes_received", "requests", "calls", "clip_bytes"),
    *("offset_s", "duration_s", "host", "cut", "sound", "source", "max_height"),
    *PICTURE_FIELDS,
)
"""The columns of the attempts table. Tables of earlier versions have fewer of them."""
STATS_DEFAULTS: Mapping[str, str] = {"source": "youtube"}
"""The value of a column that a table does not have; of a column not named here it is empty."""
_HEADER = ",".join(STATS_FIELDS).encode()
_CELL = rb'(?:"(?:[^"\0\r\n]++|"")*+"|[^",\0\r\n]*+)'
_ROWS = re.compile(
    rb"(?:%b,[A-Za-z0-9_-]{11}(?:,[0-9.]++){2},%b,(?:done|failed|postponed)%b\r?\n)*"
    % (_CELL, _CELL, (b"," + _CELL) * (len(STATS_FIELDS) - 6))  # repeated in the text, since a counted group is slower
)
_CATEGORIES = {category.value: category for category in Category}
LINE_LIMIT = 1 << 16
"""Bytes; a longer line is no row of ours. Files are examined in blocks of this size."""


class MissingClip(NamedTuple):
    """Why a clip is missing: a line of the error log."""

    category: Category
    reason: str
    time: str
    """When the attempt ended, as the log says it."""


def outlook(category: Category) -> str:
    """Return what a category means for another run, in words."""
    if category is Category.NOT_OFFERED:
        return "not offered"
    return "gone" if category.gone else "may work later"


class Ledger:
    """The missing clips of a subset with the reasons, and the record of every attempt.

    Use it with `with`, and hold the subset's lock. Every row is flushed when it is written, so a crash costs at most
    one line. A file with lines that are not ours is kept as `<name>.old` when it is written anew. The error logs of
    other runs on the subset, with other shards or with all of it, are read but never written.

    Raises Fatal if a file cannot be read or written.
    """

    def __init__(self, layout: Layout, subset: Subset) -> None:
        self.errors_log = layout.errors_log(subset)
        self.stats = layout.stats(subset)
        self._partial = layout.partial(SPLIT_OF[subset])
        self._cards, self._split = cards_of(layout), SPLIT_OF[subset]
        for table in (self.errors_log, self.stats):
            require_plain(table)
        with _fatal(self.errors_log):
            lines = [(_key(line), line) for line in _lines(self.errors_log)]
        self._missing = {key: line for key, line in lines if key}
        self._unrecognised_rows = any(not key and line.strip() for key, line in lines)
        others = (part.errors_log(subset) for part in layout.without_shard.shard_layouts(subset) if part != layout)
        self._newer_elsewhere = _newer(self._missing, others)
        self._files = ExitStack()
        self._errors: TextIO | None = None
        self._attempts: TextIO | None = None

    def __enter__(self) -> Self:
        self.compact()
        self._errors = self._open_to_append(self.errors_log)
        with _fatal(self.stats):
            self._repair_table()
        self._attempts = self._open_to_append(self.stats)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        moved = self._moved()
        self._files.close()
        if not moved:
            self.compact()

    @property
    def missing(self) -> Set[ClipKey]:
        """The clips that were missing after their last attempt, whichever run made it."""
        return self._missing.keys() | self._newer_elsewhere.keys()

    def missing_clip(self, key: ClipKey) -> MissingClip | None:
        """Return why a clip was missing after its last attempt, whichever run made it; None if it was not missing."""
        line = self._newer_elsewhere.get(key) or self._missing.get(key)
        if not line:
            return None
        category, reason, time = line.split("\t")[3:]
        return MissingClip(_CATEGORIES[category], reason, time)

    def failures(self) -> Mapping[ClipKey, str]:
        """Return the line of the error log of each clip that was missing after its last attempt, in whichever run."""
        return self._missing | self._newer_elsewhere

    def category(self, key: ClipKey) -> Category | None:
        """Return the category alone of a missing clip; None if it was not missing."""
        missing = self.missing_clip(key)
        return missing.category if missing else None

    def take_over(self, keys: Iterable[ClipKey]) -> None:
        """Copy clips' lines from other runs' logs into ours: they are clips of ours and still missing."""
        for key in keys if self._newer_elsewhere else ():
            if line := self._newer_elsewhere.pop(key, None):
                self._missing[key] = line

    def mark_present(self, key: ClipKey) -> None:
        """Remove a clip from the missing ones, since it is on disk."""
        self._missing.pop(key, None)
        self._newer_elsewhere.pop(key, None)

    def clips_changed(self) -> None:
        """Let the data set's card say that it is older than the clips; call it when some came or went."""
        for card in self._cards:
            card.clips_changed(self._split)

    def compact(self) -> None:
        """Rewrite the error log with one line for each clip that is still missing, unless it already is like that.

        If it has lines that are not ours, the old file is kept beside it.
        """
        content = "".join(line + "\n" for line in self._missing.values())
        with _fatal(self.errors_log):
            if content != _text(self.errors_log):
                with atomic_write(self.errors_log, self._partial, keep_old=self._unrecognised_rows) as temporary:
                    temporary.write_text(content, encoding="utf-8")
                self._unrecognised_rows = False

    def record(self, outcome: Outcome) -> None:
        """Write the row of an attempt, and a failure's line in the error log.

        In the log, YouTube's reason stays when the mirror lacks the clip as well, since it says more. That the mirror
        lacks a clip is recorded once only.
        """
        assert self._attempts and self._errors
        if outcome.category is Category.NOT_FOUND and self.category(outcome.clip.key) is Category.NOT_FOUND:
            return
        if moved := self._moved():
            raise Fatal(
                f"{moved} was moved, removed or replaced while the run was writing to it. "
                "Put its folder back to go on there, and run the command again."
            )
        now = datetime.now().astimezone().isoformat(timespec="seconds")
        clip, category, reason = outcome.clip, outcome.category or "", safe_cell(outcome.reason)
        segment = clip.youtube_id, seconds_text(clip.time_start), seconds_text(clip.time_end)
        row = [
            *(now, *segment, safe_cell(clip.label), outcome.status, category, reason),
            *(safe_cell(outcome.engine), safe_cell(outcome.itag), outcome.height),
            *(_round(seconds) for seconds in (outcome.resolve_s, outcome.download_s, outcome.cut_s)),
            *(outcome.bytes_received, outcome.requests, outcome.calls, outcome.clip_bytes),
            *(_round(seconds) for seconds in (outcome.offset_s, outcome.duration_s)),
            *(safe_cell(outcome.host), outcome.cut, None if outcome.sound is None else int(outcome.sound)),
            *(outcome.source, outcome.max_height, *outcome.picture.texts),
        ]
        with _fatal(self.stats):
            csv.writer(self._attempts, lineterminator="\n").writerow(row)
            self._attempts.flush()
        if outcome.status == "done":
            self.mark_present(clip.key)
            self.clips_changed()
        elif outcome.status == "failed" and not (category is Category.NOT_FOUND and clip.key in self.missing):
            self._newer_elsewhere.pop(clip.key, None)
            line = self._missing[clip.key] = "\t".join((*segment, category, reason, now))
            with _fatal(self.errors_log):
                self._errors.write(line + "\n")
                self._errors.flush()

    def _open_to_append(self, path: Path) -> TextIO:
        """Open a table until `_files` is closed; closing writes once more what could not be written before."""
        self._files.enter_context(_fatal(path))
        with _fatal(path):
            return self._files.enter_context(open(path, "a", encoding="utf-8", newline=""))

    def _moved(self) -> str:
        """Return which of our open files was moved or removed; rows written to it would be lost unnoticed."""
        for file in filter(None, (self._attempts, self._errors)):
            try:
                if not os.path.samestat(os.fstat(file.fileno()), os.stat(file.name)):
                    return file.name
            except FileNotFoundError:
                return file.name
        return ""

    def _repair_table(self) -> None:
        """Bring the attempts table into order: our header, and complete rows only; half a row at the end is cut off."""
        sound, foreign = _examined(self.stats)
        if foreign:
            with atomic_write(self.stats, self._partial, keep_old=True) as temporary, open(temporary, "wb") as table:
                table.write(_HEADER + b"\n")
                table.writelines(_rows(self.stats))
        elif sound:
            os.truncate(self.stats, sound)
        else:
            self.stats.write_bytes(_HEADER + b"\n")


def _round(seconds: float | None) -> float | None:
    """Return seconds to the millisecond."""
    return None if seconds is None else round(seconds, 3)


@contextmanager
def _fatal(path: Path) -> Iterator[None]:
    """Turn an OSError into Fatal: a run must not go on without its tables, or nobody knows what was tried."""
    try:
        yield
    except OSError as error:
        raise cannot_write(error, path) from error


def _examined(table: Path) -> tuple[int, bool]:
    """Return how many bytes precede half a row at the end, and whether there is anything that is not ours."""
    try:
        with open(table, "rb") as file:
            header = file.readline(LINE_LIMIT)
            if not header.endswith(b"\n"):
                return 0, not _HEADER.startswith(header)
            if header.rstrip(b"\r\n") != _HEADER:
                return 0, True
            size, rest = len(header), b""
            while block := file.read(LINE_LIMIT):
                rest += block
                sound = _sound(rest)
                size, rest = size + sound, rest[sound:]
                half = rest.rstrip(b"\0")  # zeros at the end: blocks not written before a power cut
                if b"\n" in half or len(half) > LINE_LIMIT:
                    return size, True
                rest = rest[: len(half) + 1]
            return size, False
    except FileNotFoundError:
        return 0, False


def _sound(lines: bytes) -> int:
    """Return the length in bytes of the complete rows at the beginning, each with all of its cells."""
    match = _ROWS.match(lines)
    rows = match[0] if match else b""
    try:
        rows.decode()
    except UnicodeDecodeError:
        return 0
    return len(rows)


def _rows(table: Path) -> Iterator[bytes]:
    """Yield the rows of a table in our columns, by the names in its header, or by position if it has no header."""
    names: tuple[str, ...] = STATS_FIELDS
    for number, line in enumerate(_lines_in_pieces(table)):
        if number == 0 and (in_header := _column_names(line)):
            names = in_header
        elif line.endswith(b"\n"):
            row = line.rstrip(b"\r\n") + b"\n" if names == STATS_FIELDS else _by_name(line, names)
            if _sound(row):
                yield row


def _column_names(line: bytes) -> tuple[str, ...]:
    """Return the column names in a line; none if it is not the header of an attempts table."""
    try:
        (names,) = csv.reader([line.decode("utf-8-sig").rstrip("\r\n")])
    except (csv.Error, ValueError):
        return ()
    return tuple(names) if {"time", *KEY, "status"}.issubset(names) else ()


def _by_name(line: bytes, names: Sequence[str]) -> bytes:
    """Return a row in our columns from a line with the given ones; empty if the number of cells differs."""
    try:
        (cells,) = csv.DictReader([line.decode().rstrip("\r\n")], names)
    except (csv.Error, ValueError):
        return b""
    if None in cells or None in cells.values():
        return b""
    row = io.StringIO()
    writer = csv.DictWriter(row, STATS_FIELDS, restval="", extrasaction="ignore", lineterminator="\n")
    writer.writerow({**STATS_DEFAULTS, **cells})
    return row.getvalue().encode()


def _lines_in_pieces(path: Path) -> Iterator[bytes]:
    """Yield the lines of a file, lines longer than LINE_LIMIT in pieces; none if there is no file."""
    try:
        with open(path, "rb") as file:
            yield from iter(lambda: file.readline(LINE_LIMIT), b"")
    except FileNotFoundError:
        return


def _lines(path: Path) -> list[str]:
    """Return the complete lines of a file, without half a line that a crash left at the end."""
    return _text(path).split("\n")[:-1]


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return ""


def _newer(known: Mapping[ClipKey, str], logs: Iterable[Path]) -> dict[ClipKey, str]:
    """Return the last line of each clip in several logs, if it is later than the line already known."""
    found = dict[ClipKey, str]()
    for log in logs:
        with _fatal(log):
            lines = {key: line for line in _lines(log) if (key := _key(line))}
        for key, line in lines.items():
            before = found.get(key) or known.get(key)
            if before is None or _time(before) < _time(line):
                found[key] = line
    return found


def _time(line: str) -> float:
    """Return when a line of the error log was written, as `_seconds`."""
    return _seconds(line.rpartition("\t")[2])


def _seconds(time: str) -> float:
    """Return a time of the error log in seconds since 1970; 0 if it is none."""
    try:
        return datetime.fromisoformat(time).timestamp()
    except (ValueError, OverflowError):
        return 0.0


def _key(line: str) -> ClipKey | None:
    """Return the clip of a line of the error log; None if it is not a line of ours."""
    cells = line.split("\t")
    if len(cells) != len(ERROR_FIELDS) or cells[3] not in _CATEGORIES:
        return None
    try:
        return cells[0], float(cells[1]), float(cells[2])
    except ValueError:
        return None
