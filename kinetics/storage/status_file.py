"""The status file of a run, which it writes every few seconds for whoever watches from elsewhere."""

from __future__ import annotations

import json
import math
import os
import socket
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from kinetics.errors import Fatal
from kinetics.records import Subset
from kinetics.storage.atomic import move, temporary_path
from kinetics.storage.layout import Layout
from kinetics.storage.user_files import read_limited

STATUS = "status.json"
FORMAT = 1
"""Of the file; one of another format is taken for none."""
MAX_BYTES = 1 << 20
"""Bytes of the largest file that is read; it has some 2 kB, and 100 bytes for each host of a cluster."""
STALE_S, STALE_INTERVALS = 60.0, 5
"""A status of another machine counts for that many of its intervals, and at least for these seconds. For longer, a run
that was killed would seem to be at work; for less, one whose disk is slow would seem to have ended."""
ALL_SUBSETS: Literal["all"] = "all"
RunState = Literal["running", "paused", "ended"]


@dataclass(frozen=True, slots=True)
class StatusCounts:
    """The clips of a run."""

    wanted: int
    """All clips that the run is about."""
    on_disk: int
    """Those that are there, before this run or through it."""
    todo: int
    """Those that were to do when it began."""
    done: int
    """Those that it has made."""
    gone: int
    not_offered: int
    failed: int
    """Those that failed and may work later."""
    left: int
    """Those of `todo` that have no result yet."""
    by_category: Mapping[str, int]
    """Those that it did not get, by category."""


@dataclass(frozen=True, slots=True)
class StatusPause:
    """The pause that all workers are in."""

    until: datetime
    category: str
    reason: str
    """In the server's own words, or those of the network error."""
    server: str


@dataclass(frozen=True, slots=True)
class StatusCalls:
    """The player calls of one address in the last hour, those of other runs included."""

    address: str
    spent: int
    left: int | None
    """Those that may still go out within the hour; null where no number of calls an hour is kept to."""


@dataclass(frozen=True, slots=True)
class RunStatus:
    """How far a run is, as its status file says it."""

    format: int
    program: str
    """The program's version."""
    title: str
    """What the run is about: data set, subset and shard."""
    pid: int
    host: str
    started: datetime
    written: datetime
    interval_s: float
    """Seconds after which the file is written again, while the run is at work."""
    state: RunState
    exit_code: int | None
    """Null while the run is at work."""
    why: str
    """Why it ended before all clips were tried, if it did."""
    counts: StatusCounts
    clips_an_hour: float
    bytes_a_second: float
    pause: StatusPause | None
    calls: Sequence[StatusCalls]
    left_s: float | None
    """Seconds that are left, pauses included; null where nothing is known of that."""
    basis: str
    """What they are based on."""


def write_status(path: Path, status: RunStatus, partial: Path) -> None:
    """Write a status file, which appears whole; it is made in the folder `partial`. Raises OSError if it cannot be.

    It is not synced, so that a busy disk does not hold up the run: after a power cut there is a new one, or none.
    """
    with temporary_path(path, partial) as temporary:
        temporary.write_text(
            json.dumps(asdict(status), indent=1, default=_time_text) + "\n", "utf-8", "backslashreplace"
        )
        move(temporary, path)


def read_status(path: Path) -> RunStatus | None:
    """Return what a status file says; None if there is none, or if it is damaged, or of another version."""
    try:
        if not path.is_file():
            return None  # a pipe would be waited for
        found = json.loads(read_limited(path, MAX_BYTES))
        status: RunStatus = _restored(RunStatus, found)
    except (OSError, ValueError, TypeError, LookupError, OverflowError, RecursionError, Fatal):
        return None
    return status if status.format == FORMAT else None


def statuses(layout: Layout, subsets: Sequence[Subset]) -> list[RunStatus]:
    """Return what the status files of runs on these subsets, on all of them, and on shards say."""
    names = (*subsets, ALL_SUBSETS)
    paths = (part.table(name, STATUS) for name in names for part in layout.shard_layouts(name))
    return [status for status in map(read_status, paths) if status]


def alive(found: Sequence[RunStatus]) -> list[RunStatus]:
    """Return the statuses of the runs that are at work."""
    now = datetime.now().astimezone()
    return [status for status in found if is_alive(status, now)]


def is_alive(status: RunStatus, now: datetime) -> bool:
    """Return whether the run of a status is at work: its process is there, or on another machine it wrote lately."""
    if status.state == "ended":
        return False
    if status.host == socket.gethostname():
        try:
            os.kill(status.pid, 0)
        except ProcessLookupError:
            return False
        except (OSError, OverflowError):
            return True  # another user's
        return True
    return (now - status.written).total_seconds() < max(STALE_S, STALE_INTERVALS * status.interval_s)


def _time_text(value: object) -> str:
    if not isinstance(value, datetime):
        raise TypeError(f"{type(value).__name__} has no place in a status file")
    return value.isoformat(timespec="seconds")


def _restored(kind: Any, found: Any) -> Any:
    """Return a value of this type from what JSON has of it. Raises ValueError, TypeError or LookupError if it is none.

    Fields that are not known are left out, so that a later version can add some.
    """
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if isinstance(kind, type) and is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        return kind(**{field.name: _restored(hints[field.name], found[field.name]) for field in fields(kind)})
    if origin is types.UnionType:
        return None if found is None else _restored(arguments[0], found)
    if kind == Sequence[StatusCalls]:
        return [_restored(StatusCalls, one) for one in found]
    if kind == Mapping[str, int]:
        return {name: _plain(int, count) for name, count in found.items()}
    return found if origin is Literal and found in arguments else _plain(kind, found)


def _plain(kind: Any, found: Any) -> Any:
    """Return a time, a number or a text. Raises ValueError or TypeError if it is none."""
    if kind is datetime and datetime.fromisoformat(found).tzinfo:
        return datetime.fromisoformat(found).astimezone()
    if kind is float and type(found) in (int, float) and math.isfinite(found):
        return float(found)
    return found if type(found) is kind else _refuse(found)


def _refuse(found: object) -> Any:
    raise ValueError(f"{found!r} has no place in a status file")
