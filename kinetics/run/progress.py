"""How far a run is: its counts, its pace, the time left, and the pause that it is in."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from kinetics.planning.gone_videos import StillGone
from kinetics.records import ArchiveProgress, Category, Outcome
from kinetics.run.counts import RunCounts
from kinetics.scheduling.ban_learner import HOUR_S
from kinetics.scheduling.events import Pause, SpacingChanged

if TYPE_CHECKING:
    from kinetics.planning.gone_videos import RunEvent

BASED_ON_THIS_RUN = "the clips of this run so far"


@dataclass(frozen=True, slots=True)
class RunProgress:
    """How far a run is, at one moment."""

    wanted: int
    """All clips that the run is about."""
    on_disk: int
    """Those that are there, before this run or through it."""
    todo: int
    """Those that were to do when it began."""
    done: int
    gone: int
    not_offered: int
    failed: int
    """Those that failed and may work later."""
    calls: int
    """Player calls so far."""
    left_s: float | None
    """The seconds that are left, pauses included; None where nothing is known of that."""
    basis: str
    """What that is based on, for a person."""
    pause: Pause | None
    """The pause that everybody is in."""
    pause_left_s: float
    paused_until: datetime | None
    """When that pause ends, in local time."""
    allowed_an_hour: float | None
    """The clips an hour to which the run keeps, if it does."""
    clips_an_hour: float
    """The clips that came, for each hour of the run, its pauses included."""
    bytes_a_second: float
    """Of what arrived, without the time of pauses."""
    read: int
    """Bytes of the mirror's archives that have been read."""
    to_read: int
    """Bytes of all those that are to be read."""

    @property
    def ended(self) -> int:
        """How many of the clips to do have a result."""
        return self.done + self.gone + self.not_offered + self.failed

    @property
    def left(self) -> int:
        """How many of the clips to do have none yet."""
        return self.todo - self.ended


class _Clock:
    """The times of a run: how long it has been at work, and how long what is left will take, pauses included."""

    def __init__(self) -> None:
        self._began = self._counted = self._paused_from = self._paused_until = time.monotonic()
        self._earlier_pauses_s = 0.0

    def count(self) -> None:
        """Take in that a clip has ended now."""
        self._counted = time.monotonic()

    def pause(self, seconds: float) -> None:
        """Take in that a pause begins now; it may replace one that is not over."""
        now = time.monotonic()
        self._earlier_pauses_s += max(0.0, min(now, self._paused_until) - self._paused_from)
        self._paused_from, self._paused_until = now, now + seconds

    @property
    def pause_left_s(self) -> float:
        return max(0.0, self._paused_until - time.monotonic())

    @property
    def elapsed_s(self) -> float:
        """Seconds since the beginning."""
        return max(1e-3, time.monotonic() - self._began)

    @property
    def active_s(self) -> float:
        """Seconds since the beginning, without pauses."""
        now = time.monotonic()
        paused_s = self._earlier_pauses_s + min(now, self._paused_until) - self._paused_from
        return max(1e-3, now - self._began - paused_s)

    def left_s(self, ended: int, left: int) -> float:
        """Return the seconds until `left` more clips have ended, at the rate of those that have.

        The rate is that of the moment in which the last clip ended, or will be able to go on: so a pause adds its
        length once, and the time counts down while it lasts.
        """
        at = max(self._counted, self._paused_until)
        return max(0.0, (at - self._began) * left / ended + at - time.monotonic())


class ProgressTracker:
    """Takes in the events of a run, and knows its progress at any moment.

    `expected_s`: the seconds that the run is expected to take, and `basis` on which. `provisional`: what the mirror
    lacks is still to be asked for elsewhere. `to_read`: bytes of the mirror's archives.
    """

    def __init__(
        self,
        todo: int,
        counts: RunCounts | None = None,
        *,
        wanted: int = 0,
        on_disk: int = 0,
        expected_s: float | None = None,
        basis: str = "",
        provisional: bool = False,
        to_read: int = 0,
    ) -> None:
        self._todo, self._wanted, self._on_disk = todo, wanted or todo, on_disk
        self.counts = counts or RunCounts()
        self._expected_s, self._basis = expected_s, basis
        self._provisional = provisional
        self._to_read = to_read
        self._clock = _Clock()
        self._pause: Pause | None = None
        self._paused_until: datetime | None = None
        self._allowed_an_hour: float | None = None
        self._bytes = 0
        self._positions = dict[str, int]()
        self._read = 0

    def take(self, event: RunEvent) -> None:
        """Take in what has happened; of several hosts, the pause or the spacing of one is not that of the run."""
        match event:
            case Outcome():
                self._take_outcome(event)
            case StillGone():
                self.counts.still_gone += 1
                self._take_outcome(event.outcome)
            case ArchiveProgress():
                arrived = event.position - self._positions.get(event.url, 0)
                self._positions[event.url] = event.position
                self._read += arrived
                self._bytes += max(0, arrived)  # an archive may have been restarted
            case Pause(host=""):
                self._clock.pause(event.seconds)
                self._pause, self._paused_until = event, datetime.now() + timedelta(seconds=event.seconds)
            case SpacingChanged(host=""):
                self._allowed_an_hour = HOUR_S / event.seconds if event.seconds else None

    def _take_outcome(self, outcome: Outcome) -> None:
        self._bytes += outcome.bytes_received if outcome.source == "youtube" else 0
        self.counts.take(outcome)
        if outcome.status != "postponed":  # a clip that was is still to come
            self._clock.count()

    @property
    def progress(self) -> RunProgress:
        """The progress at this moment."""
        counts, clock = self.counts.counts, self._clock
        lacking = counts[Category.NOT_FOUND] if self._provisional else 0  # still to be asked for elsewhere
        done, gone, not_offered = counts[None], self.counts.gone - lacking, counts[Category.NOT_OFFERED]
        ended = counts.total() - lacking
        pause_left_s = clock.pause_left_s
        expected_s = None if self._expected_s is None else max(0.0, self._expected_s - clock.elapsed_s)
        return RunProgress(
            wanted=self._wanted,
            on_disk=self._on_disk + done,
            todo=self._todo,
            done=done,
            gone=gone,
            not_offered=not_offered,
            failed=ended - done - gone - not_offered,
            calls=self.counts.calls,
            left_s=clock.left_s(ended, self._todo - ended) if ended else expected_s,
            basis=BASED_ON_THIS_RUN if ended else self._basis,
            pause=self._pause if pause_left_s else None,
            pause_left_s=pause_left_s,
            paused_until=self._paused_until if pause_left_s else None,
            allowed_an_hour=self._allowed_an_hour,
            clips_an_hour=done * HOUR_S / clock.elapsed_s,
            bytes_a_second=self._bytes / clock.active_s,
            read=self._read,
            to_read=max(self._read, self._to_read),
        )
