"""What a run did when: clips an hour, the pauses, and the sessions between YouTube's refusals."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kinetics.records import Category

HOUR_S = 3600.0
PAUSE_S, PAUSE_GAPS = 30.0, 10.0
"""A pause lasts at least so long, and so many times the usual time from one answer to the next."""
DAY_S = 24 * HOUR_S
WIDTHS_S = (10.0, 60.0, 300.0, 900.0, HOUR_S, 3 * HOUR_S, 6 * HOUR_S, DAY_S)
POINTS = 240
"""A curve has about as many steps at most, also where a clock was wrong by decades."""

Cause = Literal["throttled", "network", "stopped"]
CAUSES: dict[Cause, str] = {
    "throttled": "YouTube refused",
    "network": "no line to YouTube",
    "stopped": "nothing ran",
}


@dataclass(frozen=True, slots=True)
class Hour:
    """What came of the attempts that ended in one hour."""

    begin: datetime
    done: int
    failed: int
    postponed: int
    bytes_received: int


@dataclass(frozen=True, slots=True)
class PausePeriod:
    """A time without an answer about any clip."""

    begin: datetime
    end: datetime
    cause: Cause

    @property
    def seconds(self) -> float:
        return (self.end - self.begin).total_seconds()


@dataclass(frozen=True, slots=True)
class Session:
    """The clips about which YouTube gave an answer between two of its refusals."""

    begin: datetime
    end: datetime
    done: int
    failed: int
    throttled: bool
    """It ended with a refusal; the last one may not have."""

    @property
    def clips(self) -> int:
        return self.done + self.failed


@dataclass(frozen=True, slots=True)
class Curve:
    """Clips an hour, in steps of the same width."""

    width_s: float
    begins: tuple[datetime, ...]
    done: tuple[float, ...]
    failed: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Timeline:
    """All of it, in the order of time; empty where nothing was tried."""

    hours: tuple[Hour, ...]
    pauses: tuple[PausePeriod, ...]
    sessions: tuple[Session, ...]
    curve: Curve
    begin: datetime | None = None
    end: datetime | None = None
    answered: int = 0

    @property
    def span_s(self) -> float:
        """From the first attempt to the end of the last."""
        return (self.end - self.begin).total_seconds() if self.begin and self.end else 0.0

    def paused_s(self, *causes: Cause) -> float:
        """How long it was paused, for these causes."""
        return sum(pause.seconds for pause in self.pauses if pause.cause in causes)

    @property
    def working_s(self) -> float:
        """Without any pause."""
        return self.span_s - self.paused_s(*CAUSES)

    @property
    def per_hour(self) -> float:
        """Answered clips in an hour of work, pauses left out."""
        return self.answered / self.working_s * HOUR_S if self.working_s > 0 else 0.0

    @property
    def per_hour_overall(self) -> float:
        """The same with YouTube's and the line's pauses, but without the time in which nothing ran."""
        ran_s = self.span_s - self.paused_s("stopped")
        return self.answered / ran_s * HOUR_S if ran_s > 0 else 0.0


def timeline(attempts: pd.DataFrame) -> Timeline:
    """Of attempts: ended (seconds since 1970), spent_s, status, category, host, bytes_received and source."""
    attempts = attempts.sort_values("ended", kind="stable")
    answers = attempts[attempts["status"] != "postponed"]
    begin_s, end_s = (attempts["ended"] - attempts["spent_s"]).min(), attempts["ended"].max()
    refused = attempts[attempts["status"] == "postponed"]
    if attempts.empty:
        return Timeline((), (), (), Curve(HOUR_S, (), (), ()))
    return Timeline(
        hours=_hours(attempts),
        pauses=_pauses(np.append(answers["ended"], end_s), refused),
        sessions=_sessions(answers[answers["source"] == "youtube"], refused),
        curve=_curve(answers),
        begin=_local(begin_s),
        end=_local(end_s),
        answered=len(answers),
    )


def _hours(attempts: pd.DataFrame) -> tuple[Hour, ...]:
    begins = attempts["ended"] // HOUR_S * HOUR_S
    counts = pd.crosstab(begins, attempts["status"]).reindex(columns=["done", "failed", "postponed"], fill_value=0)
    received = attempts.groupby(begins)["bytes_received"].sum()
    return tuple(
        Hour(_local(begin), done, failed, postponed, int(count))
        for begin, done, failed, postponed, count in zip(
            counts.index, *(counts[column].tolist() for column in counts), received, strict=True
        )
    )


def _pauses(ended: NDArray[np.float64], refused: pd.DataFrame) -> tuple[PausePeriod, ...]:
    """The gaps between answers that are too long to be usual, with their causes: the refusals that fall into them."""
    gaps = np.diff(ended)
    if not len(gaps):
        return ()
    places = np.flatnonzero(gaps >= max(PAUSE_S, PAUSE_GAPS * float(np.median(gaps))))
    begins, ends = ended[places], ended[places + 1]
    causes = np.full(len(places), "stopped", object)
    for category in (Category.NETWORK, Category.THROTTLED):
        times = refused["ended"][refused["category"] == category].to_numpy()
        causes[np.searchsorted(times, begins) < np.searchsorted(times, ends, "right")] = category.value
    return tuple(map(PausePeriod, map(_local, begins), map(_local, ends), causes))


def _sessions(answers: pd.DataFrame, refused: pd.DataFrame) -> tuple[Session, ...]:
    """Those of each host, since each is refused for itself."""
    found = [_sessions_of(its, refused[refused["host"] == host]) for host, its in answers.groupby("host")]
    return tuple(sorted(itertools.chain.from_iterable(found), key=lambda session: session.begin))


def _sessions_of(answers: pd.DataFrame, refused: pd.DataFrame) -> tuple[Session, ...]:
    """An answer belongs to the session in which its attempt began: several are under way when the door closes."""
    throttles = refused["ended"][refused["category"] == Category.THROTTLED].to_numpy()
    began = answers["ended"] - answers["spent_s"]
    before = np.searchsorted(throttles, began)
    found = (
        pd.DataFrame({"before": before, "began": began, "ended": answers["ended"], "done": answers["status"] == "done"})
        .groupby("before")
        .agg(begin=("began", "min"), end=("ended", "max"), done=("done", "sum"), clips=("done", "size"))
    )
    return tuple(
        Session(_local(begin), _local(end), done, clips - done, throttled)
        for begin, end, done, clips, throttled in zip(
            *(found[column].tolist() for column in found), (found.index < len(throttles)).tolist(), strict=True
        )
    )


def _curve(answers: pd.DataFrame) -> Curve:
    """In the narrowest steps of which `POINTS` are enough, from the widths that a person would choose, or days."""
    if answers.empty:
        return Curve(HOUR_S, (), (), ())
    ended = answers["ended"].to_numpy()
    span_s = ended[-1] - ended[0]
    width_s = next(
        (width_s for width_s in WIDTHS_S if span_s / width_s <= POINTS), span_s // POINTS // DAY_S * DAY_S + DAY_S
    )
    steps = (ended // width_s).astype(int)
    first, count = steps[0], steps[-1] - steps[0] + 1
    done = (answers["status"] == "done").to_numpy()
    rates = (np.bincount(steps[which] - first, minlength=count) * HOUR_S / width_s for which in (done, ~done))
    begins = tuple(_local((first + step) * width_s) for step in range(count))
    return Curve(width_s, begins, *map(tuple, (rate.tolist() for rate in rates)))


def _local(seconds: float) -> datetime:
    return datetime.fromtimestamp(float(seconds)).astimezone()
