"""When the next clip may go out: pure decisions from outcomes and a clock, without I/O and without sleeping.

Think of a door at YouTube. While it is open, clips go out one at a time at first, and one more at once for every clip
that YouTube answers. One refusal ("too many requests", the bot check, a dead line) closes it for everybody. After a
pause one clip goes and asks: an answer opens the door again, a refusal makes the next pause longer.

All times are seconds of one clock that never goes back, such as time.monotonic().
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from kinetics.records import Category, Clip, Outcome

HOUR_S = 3600.0
ASKING = 2
"""Clips at the player call at once, however many workers there are: so many can meet a door that is just closing."""
PROVEN = 3
"""So many answers since the last refusal show that the door is really open."""
REFUSALS = 3
"""So many refusals of one clip, while others are answered, are that clip's own affair."""
ENGINE_ERRORS = 25
"""So many engine errors without an answer between them mean that the engines no longer understand YouTube."""
RETRY_AFTER_CAP_S = 6 * HOUR_S


@dataclass(frozen=True, slots=True)
class Pause:
    """Everybody waits for `seconds`, then one clip goes and asks. `reason` is YouTube's own words, or the line's."""

    category: Category
    reason: str
    seconds: float


@dataclass(frozen=True, slots=True)
class GaveUp:
    """The run ends here: for too long there was no answer, or none that the engines understood."""

    category: Category
    reason: str


@dataclass(frozen=True, slots=True)
class Settled:
    """What follows from an outcome."""

    outcome: Outcome
    """To be recorded. A `postponed` one has become `failed` if this clip alone is refused."""
    again: bool = False
    """The clip goes back to the queue."""
    pause: Pause | None = None
    gave_up: GaveUp | None = None


class Pace:
    """Says when a clip may go out, and what each outcome means for all the others."""

    def __init__(self, workers: int, per_hour: float | None = None) -> None:
        self._workers = workers
        self._spacing = HOUR_S / per_hour if per_hour else 0.0
        self._not_before = -math.inf
        self._window = 1
        self._closed = False
        self._closed_at = -math.inf
        self._probing = False
        self._network = _Pauses(first=2.0, growth=2.0, longest=300.0, give_up=2 * HOUR_S)
        self._throttle = _BanPauses(first=10.0, growth=4.0, longest=HOUR_S, give_up=24 * HOUR_S)
        self._answers = 0
        self._answers_in_a_row = 0
        self._engine_errors = 0
        self._suspects: dict[Clip, tuple[int, int]] = {}

    @property
    def wary(self) -> bool:
        """Whether the next clip should rather be one that was never refused.

        So it is until the door has proven open. Before that, a video that is refused for itself would keep it closed
        for all, and one that is not would be blamed: where YouTube lets a call through now and then, some are refused.
        """
        return self._answers_in_a_row < PROVEN

    def wait(self, now: float, out: int, asking: int) -> float | None:
        """Seconds until the next clip may go out; None if not before an outcome, or an answer, is reported.

        `out` clips are out, `asking` of which have not had YouTube's answer to the player call yet.
        """
        if self._probing or asking >= ASKING or out >= (self._workers if self._closed else self._window):
            return None
        return max(0.0, self._not_before - now)

    def sent(self, now: float) -> None:
        """A clip has gone out."""
        self._not_before = now + self._spacing
        self._probing = self._closed

    def settle(self, outcome: Outcome, *, sent: float, now: float, last: bool = False) -> Settled:
        """Take in what became of a clip that went out at `sent`, and say what follows.

        `last`: there is no other clip to do, so nothing can show whether all are refused or only this one.
        """
        before_closing = sent <= self._closed_at  # it says nothing about the door as it is now
        probe = self._closed and not before_closing
        if probe:
            self._probing = False
        if outcome.status == "postponed":
            return Settled(outcome, again=True) if before_closing else self._refused(outcome, now, last)
        self._suspects.pop(outcome.clip, None)
        if outcome.status == "done" or (outcome.category and outcome.category.gone):
            self._engine_errors = 0
            if not before_closing:
                self._answered()
        elif outcome.category is Category.ENGINE_ERROR:
            self._engine_errors += 1
            if self._engine_errors >= ENGINE_ERRORS:
                return Settled(outcome, gave_up=GaveUp(Category.ENGINE_ERROR, outcome.reason))
        return Settled(outcome)

    def _answered(self) -> None:
        self._closed = False
        self._window = min(self._window + 1, self._workers)
        self._answers += 1
        self._answers_in_a_row += 1
        self._throttle.answered()
        self._network.answered()

    def _refused(self, outcome: Outcome, now: float, last: bool) -> Settled:
        if self._alone(outcome.clip, last and outcome.category is not Category.NETWORK):
            del self._suspects[outcome.clip]
            return Settled(outcome.but(status="failed"))
        if outcome.category is Category.NETWORK:
            category, pauses = Category.NETWORK, self._network
        else:
            category, pauses = Category.THROTTLED, self._throttle
            self._network.answered()  # a "no" came over the line, so the line is up
        if pauses.hopeless(now):
            return Settled(outcome, gave_up=GaveUp(category, outcome.reason))
        at_least = 0.0 if outcome.retry_after_s is None else min(outcome.retry_after_s + 1.0, RETRY_AFTER_CAP_S)
        seconds = pauses.refused(now, at_least)
        self._closed, self._closed_at = True, now
        self._not_before = max(self._not_before, now + seconds)
        self._window = 1
        self._answers_in_a_row = 0
        return Settled(outcome, again=True, pause=Pause(category, outcome.reason, seconds))

    def _alone(self, clip: Clip, last: bool) -> bool:
        """Whether the refusals are about this clip, not about everybody; of the last one that is assumed."""
        times, answers_before = self._suspects.get(clip, (0, self._answers))
        self._suspects[clip] = times + 1, answers_before
        return times + 1 >= REFUSALS and (last or self._answers > answers_before)


@dataclass
class _Pauses:
    """The growing pauses of one kind of refusal, in seconds."""

    first: float
    growth: float
    longest: float
    give_up: float
    since: float | None = None
    """When the present row of refusals began."""
    latest: float = 0.0

    def refused(self, now: float, at_least: float) -> float:
        """The pause that follows a refusal."""
        if self.since is None:
            self.since = now
            pause = self._opening()
        else:
            pause = self._longer()
        self.latest = max(pause, at_least)
        return self.latest

    def answered(self) -> None:
        self.since = None

    def hopeless(self, now: float) -> bool:
        return self.since is not None and now - self.since >= self.give_up

    def _opening(self) -> float:
        return self.first

    def _longer(self) -> float:
        return min(self.latest * self.growth, self.longest)


@dataclass
class _BanPauses(_Pauses):
    """Pauses that learn how long YouTube stays closed, so that few calls meet the closed door.

    A call during a ban may lengthen it, so what counts is the silence before a call. `too_short` is the longest silence
    that was refused, `enough` the shortest that was answered. A new ban begins with a pause between the two, until they
    are close; then with `enough`, where nobody asks in vain. As bans change, `too_short` is slowly forgotten, so that
    now and then a shorter pause is tried; quickly, while that goes well.
    """

    too_short: float = 0.0
    enough: float | None = None

    def answered(self) -> None:
        if self.since is not None:
            shorter = self.enough is not None and self.latest < self.enough
            self.enough = min(self.latest, self.longest)
            self.too_short = min(self.too_short, self.latest) * (0.9 if shorter else 0.99)
        super().answered()

    def _opening(self) -> float:
        if self.enough is None:
            return self.first
        if self.enough <= 1.25 * self.too_short:
            return self.enough
        return max(self.first, math.sqrt(self.too_short * self.enough))

    def _longer(self) -> float:
        self.too_short = self.latest
        if self.enough is not None and self.enough > self.latest:
            return self.enough
        self.enough = None
        return super()._longer()
