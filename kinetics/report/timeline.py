"""The course of a download: clips an hour, the pauses, and the sessions between YouTube's refusals.

A clip is counted when it is made, which is an attempt with status `done`. Failed attempts are answers, too: they count
as attempts, and end a pause.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from kinetics.planning.estimate import busiest_hour
from kinetics.records import Category
from kinetics.report.attempts_so_far import (
    CATEGORIES,
    DONE,
    FAILED,
    NO_CODE,
    POSTPONED,
    AttemptColumns,
    AttemptNames,
    Names,
)

HOUR_S = 3600.0
DAY_S = 24 * HOUR_S
MIN_PAUSE_S = 30.0
"""Seconds: a shorter gap between two answers is not a pause."""
MIN_PAUSE_GAPS = 10.0
"""Multiple of the median gap: a gap shorter than this is not a pause, so that slow runs do not consist of pauses."""
STEP_WIDTHS_S = (10.0, 60.0, 300.0, 900.0, HOUR_S, 3 * HOUR_S, 6 * HOUR_S, DAY_S)
"""Widths of a curve's steps, in seconds; longer steps are multiples of a day."""
MAX_STEPS = 240
"""Approximate limit of a curve's steps. It bounds the size of the page, even if a clock was wrong by decades."""

PauseCause = Literal["throttled", "network", "stopped"]
PAUSE_CAUSES: dict[PauseCause, str] = {
    "throttled": "YouTube refused",
    "network": "no connection to YouTube",
    "stopped": "not running",
}
"""Each cause in the words that the reader sees."""


@dataclass(frozen=True, slots=True)
class Hour:
    """The results of the attempts that ended in one hour."""

    begin: datetime
    """A full hour of UTC, in local time."""
    done: int
    failed: int
    postponed: int
    bytes_received: int
    calls: int = 0
    """Player calls, as far as they were counted."""


@dataclass(frozen=True, slots=True)
class PausePeriod:
    """A period without an answer about any clip."""

    begin: datetime
    end: datetime
    cause: PauseCause

    @property
    def seconds(self) -> float:
        return (self.end - self.begin).total_seconds()


@dataclass(frozen=True, slots=True)
class Session:
    """The attempts that YouTube answered between two of its refusals of one machine."""

    begin: datetime
    end: datetime
    done: int
    failed: int
    throttled: bool
    """Whether it ended with a refusal; the last session may not have."""

    @property
    def attempts(self) -> int:
        return self.done + self.failed


@dataclass(frozen=True, slots=True)
class Curve:
    """Attempts an hour over time, in steps of the same width."""

    width_s: float
    """Of a step, in seconds."""
    begins: tuple[datetime, ...]
    done: tuple[float, ...]
    """Attempts an hour that made a clip, in each step."""
    failed: tuple[float, ...]
    """Attempts an hour that failed, in each step."""


@dataclass(frozen=True, slots=True)
class Timeline:
    """The course of a download, each part in order of time; empty if nothing was tried."""

    hours: tuple[Hour, ...]
    pauses: tuple[PausePeriod, ...]
    sessions: tuple[Session, ...]
    curve: Curve
    begin: datetime | None = None
    end: datetime | None = None
    done: int = 0
    """Clips that were made: attempts with status `done`."""
    most_calls: int = 0
    """Player calls within any one hour, at most."""

    @property
    def span_s(self) -> float:
        """Seconds from the start of the first attempt to the end of the last."""
        return (self.end - self.begin).total_seconds() if self.begin and self.end else 0.0

    def paused_s(self, *causes: PauseCause) -> float:
        """Seconds of the pauses that have one of these causes."""
        return sum(pause.seconds for pause in self.pauses if pause.cause in causes)

    @property
    def active_s(self) -> float:
        """Seconds of the span without any pause."""
        return self.span_s - self.paused_s(*PAUSE_CAUSES)

    @property
    def ran_s(self) -> float:
        """Seconds of the span with the pauses for YouTube and the network, but without the time between runs."""
        return self.span_s - self.paused_s("stopped")

    @property
    def per_hour(self) -> float:
        """Clips made in an hour of active time."""
        return self.done / self.active_s * HOUR_S if self.active_s > 0 else 0.0

    @property
    def per_hour_overall(self) -> float:
        """Clips made an hour, with the pauses of runs."""
        return self.done / self.ran_s * HOUR_S if self.ran_s > 0 else 0.0

    @property
    def calls_per_hour(self) -> float:
        """Player calls an hour, with the pauses of runs; a first hour that is not over counts as a whole one."""
        return sum(hour.calls for hour in self.hours) / max(self.ran_s, HOUR_S) * HOUR_S


def build_timeline(attempts: AttemptColumns, names: AttemptNames) -> Timeline:
    """Return the timeline of attempts."""
    if not len(attempts):
        return Timeline((), (), (), Curve(HOUR_S, (), (), ()))
    if (np.diff(attempts.ended) < 0).any():
        attempts = attempts.take(np.argsort(attempts.ended, kind="stable"))
    postponed = attempts.status == POSTPONED
    answers, refused = attempts.take(~postponed), attempts.take(postponed)
    return Timeline(
        hours=_hours(attempts),
        pauses=_pauses(np.append(answers.ended, attempts.ended[-1]), refused),
        sessions=_sessions(answers.take(answers.source == names.source.find("youtube")), refused, names.host),
        curve=_curve(answers),
        begin=_local((attempts.ended - attempts.spent_s).min()),
        end=_local(attempts.ended[-1]),
        done=int((answers.status == DONE).sum()),
        most_calls=busiest_hour(attempts.ended, np.nan_to_num(attempts.calls)),
    )


def _hours(attempts: AttemptColumns) -> tuple[Hour, ...]:
    numbers = attempts.ended // HOUR_S
    starts = np.flatnonzero(np.diff(numbers, prepend=-np.inf))
    counts = [np.add.reduceat((attempts.status == status).astype(int), starts) for status in (DONE, FAILED, POSTPONED)]
    sums = [np.add.reduceat(np.nan_to_num(sizes), starts) for sizes in (attempts.bytes_received, attempts.calls)]
    columns = (column.astype(int).tolist() for column in (*counts, *sums))
    return tuple(
        Hour(_local(number * HOUR_S), *figures) for number, *figures in zip(numbers[starts], *columns, strict=True)
    )


def _pauses(ended: NDArray[np.float64], refused: AttemptColumns) -> tuple[PausePeriod, ...]:
    """Return the unusually long gaps between answers; the cause of each is the kind of refusal that falls into it."""
    gaps = np.diff(ended)
    if not len(gaps):
        return ()
    pauses = np.flatnonzero(gaps >= max(MIN_PAUSE_S, MIN_PAUSE_GAPS * float(np.median(gaps))))
    begins, ends = ended[pauses], ended[pauses + 1]
    causes = np.full(len(pauses), "stopped", object)
    no_connection = refused.category == CATEGORIES.index(Category.NETWORK)
    for cause, chosen in (("network", no_connection), ("throttled", ~no_connection)):  # a block has many categories
        times = refused.ended[chosen]
        causes[np.searchsorted(times, begins) < np.searchsorted(times, ends, "right")] = cause
    return tuple(map(PausePeriod, map(_local, begins), map(_local, ends), causes))


def _sessions(answers: AttemptColumns, refused: AttemptColumns, hosts: Names) -> tuple[Session, ...]:
    """Return the sessions of all hosts: YouTube refuses each host separately."""
    codes = sorted((code for code in np.unique(answers.host) if code != NO_CODE), key=lambda code: hosts.texts[code])
    by_host = [
        _sessions_of_host(answers.take(answers.host == code), refused.take(refused.host == code)) for code in codes
    ]
    return tuple(sorted(itertools.chain.from_iterable(by_host), key=lambda session: session.begin))


def _sessions_of_host(answers: AttemptColumns, refused: AttemptColumns) -> tuple[Session, ...]:
    """Return the sessions of one host.

    An answer belongs to the session in which its attempt began, as several attempts are in progress at a refusal.
    """
    throttles = refused.ended[refused.category == CATEGORIES.index(Category.THROTTLED)]
    began = answers.ended - answers.spent_s
    number = np.searchsorted(throttles, began)  # of refusals before it
    attempts = np.bincount(number, minlength=len(throttles) + 1)
    done = np.bincount(number[answers.status == DONE], minlength=len(attempts))
    begins, ends = np.full(len(attempts), np.inf), np.full(len(attempts), -np.inf)
    np.minimum.at(begins, number, began)
    np.maximum.at(ends, number, answers.ended)
    return tuple(
        Session(
            _local(begins[one]), _local(ends[one]), int(done[one]), int(attempts[one] - done[one]), one < len(throttles)
        )
        for one in np.flatnonzero(attempts).tolist()
    )


def _curve(answers: AttemptColumns) -> Curve:
    """Return the attempts an hour in the narrowest of `STEP_WIDTHS_S`, or days, of which `MAX_STEPS` are enough."""
    if not len(answers):
        return Curve(HOUR_S, (), (), ())
    ended = answers.ended
    span_s = ended[-1] - ended[0]
    width_s = next(
        (width_s for width_s in STEP_WIDTHS_S if span_s / width_s <= MAX_STEPS),
        span_s // MAX_STEPS // DAY_S * DAY_S + DAY_S,
    )
    steps = (ended // width_s).astype(int)
    first, count = steps[0], steps[-1] - steps[0] + 1
    done = answers.status == DONE
    rates = (np.bincount(steps[chosen] - first, minlength=count) * HOUR_S / width_s for chosen in (done, ~done))
    begins = tuple(_local((first + step) * width_s) for step in range(count))
    return Curve(width_s, begins, *map(tuple, (rate.tolist() for rate in rates)))


def _local(seconds: float) -> datetime:
    return datetime.fromtimestamp(float(seconds)).astimezone()
