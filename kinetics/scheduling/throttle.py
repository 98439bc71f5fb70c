"""When the next clip may go out: pure decisions from outcomes and a clock, without I/O and without sleeping.

Think of a door at YouTube. While it is open, clips go out one at a time at first, and twice as many at once after
every answer of YouTube. One refusal ("too many requests", the bot check, a dead line) closes it for everybody. After a
pause one clip goes and asks: an answer opens the door again, a refusal makes the next pause longer. Where the door
closes again and again, clips are spread over time instead, as densely as goes without a refusal.

All times are seconds of one clock that never goes back, such as time.monotonic().
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from kinetics.records import Category, Item, Result
from kinetics.scheduling.ban_learner import BAN_PAUSES_S, HOUR_S, Backoff, BanBackoff, SpacingLearner
from kinetics.scheduling.events import GaveUp, Pause, SpacingChanged

MAX_PLAYER_CALLS = 2
"""Clips at the player call at once, however many workers there are: so many can meet a door that is just closing."""
PROVEN = 3
"""So many answers since the last refusal show that the door is really open."""
REFUSALS = 3
"""So many refusals of one clip, while others are answered, are that clip's own affair."""
ENGINE_ERRORS = 25
"""So many engine errors without an answer between them mean that the engines no longer understand YouTube."""
RETRY_AFTER_CAP_S = 6 * HOUR_S
LINE_PAUSES_S = (2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 300.0)


@dataclass(frozen=True, slots=True)
class Decision:
    """What follows from an outcome."""

    outcome: Result
    """To be recorded. A `postponed` one has become `failed` if this clip alone is refused."""
    again: bool = False
    """The clip goes back to the queue."""
    pause: Pause | None = None
    spread: SpacingChanged | None = None
    gave_up: GaveUp | None = None


class Unthrottled:
    """For work at which nobody is asked: clips go out as fast as there are workers for them."""

    probing = False

    def __init__(self, workers: int) -> None:
        self.workers = workers

    def wait(self, now: float, in_flight: int, in_player_call: int) -> float | None:
        return 0.0 if in_flight < self.workers else None

    def sent(self, now: float) -> None:
        """It does not matter when."""

    def answered(self, *, sent: float, now: float) -> None:
        """It does not matter."""

    def returned(self, *, sent: float) -> None:
        """It does not matter."""

    def settle(
        self, outcome: Result, *, sent: float, now: float, answered: bool = False, last: bool = False
    ) -> Decision:
        return Decision(outcome)


class RefusedItems:
    """The clips that were refused, each perhaps for itself: if others are answered meanwhile, wherever they are."""

    def __init__(self) -> None:
        self._refused: dict[Item, tuple[int, int]] = {}  # how often, and the answers before the first time
        self._answers = 0

    def __len__(self) -> int:
        return len(self._refused)

    def answered(self) -> None:
        """Some clip was answered."""
        self._answers += 1

    def clear(self, item: Item) -> None:
        """This one is settled."""
        self._refused.pop(item, None)

    def refused(self, item: Item, last: bool) -> bool:
        """Whether the refusals are about this clip, not about everybody; of the last one that is assumed."""
        times, answers_before = self._refused.get(item, (0, self._answers))
        self._refused[item] = times + 1, answers_before
        return times + 1 >= REFUSALS and (last or self._answers > answers_before)


class Throttle:
    """Says when a clip may go out from one address, and what each answer and outcome means for all the others.

    `workers` are so many as there can be at once at present. Where there are several addresses, they have the
    `suspects` in common.
    """

    def __init__(self, workers: int, per_hour: float | None = None, suspects: RefusedItems | None = None) -> None:
        self.workers = workers
        self._least_spacing_s = HOUR_S / per_hour if per_hour else 0.0
        self._spacing = SpacingLearner()
        self._not_before = -math.inf
        self._window = 1
        self._closed = False
        self._closed_at = -math.inf
        self._closed_by_media = False
        self._probe_in_flight = False
        self._network = Backoff(LINE_PAUSES_S, 2 * HOUR_S)
        self._throttle = BanBackoff(BAN_PAUSES_S, 24 * HOUR_S, self._spacing)
        self._answers_in_a_row = 0
        self._engine_errors = 0
        self._suspects = RefusedItems() if suspects is None else suspects

    @property
    def probing(self) -> bool:
        """Whether the next clip should rather be one that was never refused.

        So it is until the door has proven open. Before that, a video that is refused for itself would keep it closed
        for all, and one that is not would be blamed: where YouTube lets a call through now and then, some are refused.
        """
        return self._answers_in_a_row < PROVEN

    def wait(self, now: float, in_flight: int, in_player_call: int) -> float | None:
        """Seconds until the next clip may go out; None if not before an outcome, or an answer, is reported.

        `in_flight` clips are out, `in_player_call` of which have not had YouTube's answer to the player call yet.
        """
        if (
            self._probe_in_flight
            or in_player_call >= MAX_PLAYER_CALLS
            or in_flight >= (self.workers if self._closed else self._window)
        ):
            return None
        return max(0.0, self._not_before - now)

    def sent(self, now: float) -> None:
        """A clip has gone out."""
        self._spacing.sent(now)
        self._not_before = now + max(self._least_spacing_s, self._spacing.seconds)
        self._probe_in_flight = self._closed

    def answered(self, *, sent: float, now: float) -> SpacingChanged | None:
        """Take in that YouTube has answered the player call of a clip that went out at `sent`."""
        self._engine_errors = 0
        before_closing = sent <= self._closed_at
        return None if before_closing or (self._closed and self._closed_by_media) else self._proceed(now)

    def returned(self, *, sent: float) -> None:
        """Take in that nobody will ever tell of a clip that went out at `sent`."""
        if sent > self._closed_at:
            self._probe_in_flight = False

    def settle(
        self, outcome: Result, *, sent: float, now: float, answered: bool = False, last: bool = False
    ) -> Decision:
        """Take in what became of a clip that went out at `sent`, and say what follows.

        `answered`: YouTube's answer to its player call was reported before. `last`: there is no other clip to do, so
        nothing can show whether all are refused or only this one.
        """
        before_closing = sent <= self._closed_at  # it says nothing about the door as it is now
        probe = self._closed and not before_closing
        if probe:
            self._probe_in_flight = False
        if outcome.status == "postponed":
            return Decision(outcome, again=True) if before_closing else self._refused(outcome, now, answered, last)
        self._suspects.clear(outcome.item)
        if outcome.status == "done" or (outcome.category and outcome.category.gone):
            self._engine_errors = 0
            if probe or not (answered or before_closing):
                return Decision(outcome, spread=self._proceed(now))
        elif outcome.category is Category.ENGINE_ERROR:
            self._engine_errors += 1
            if self._engine_errors >= ENGINE_ERRORS:
                return Decision(outcome, gave_up=GaveUp(Category.ENGINE_ERROR, outcome.reason))
        return Decision(outcome)

    def _proceed(self, now: float) -> SpacingChanged | None:
        """Open the door, or let twice as many clips out through the open one; few ask at once all the same."""
        self._closed = self._probe_in_flight = False
        self._window = min(2 * self._window, self.workers)
        self._suspects.answered()
        self._answers_in_a_row += 1
        self._throttle.answered()
        self._network.answered()
        return self._spacing.answered(now)

    def _refused(self, outcome: Result, now: float, answered: bool, last: bool) -> Decision:
        if self._suspects.refused(outcome.item, last and outcome.category is not Category.NETWORK):
            self._suspects.clear(outcome.item)
            return Decision(replace(outcome, status="failed"))
        if outcome.category is Category.NETWORK:
            category, pauses = Category.NETWORK, self._network
        else:
            category, pauses = Category.THROTTLED, self._throttle
            self._network.answered()  # a "no" came over the line, so the line is up
            self._spacing.refused(now)
        if pauses.hopeless(now):
            return Decision(outcome, gave_up=GaveUp(category, outcome.reason))
        at_least = 0.0 if outcome.retry_after_s is None else min(outcome.retry_after_s + 1.0, RETRY_AFTER_CAP_S)
        seconds = pauses.refused(now, at_least)
        self._closed, self._closed_at, self._closed_by_media = True, now, answered
        self._not_before = max(self._not_before, now + seconds)
        self._window = 1
        self._answers_in_a_row = 0
        return Decision(outcome, again=True, pause=Pause(category, outcome.reason, seconds))
