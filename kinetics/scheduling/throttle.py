"""Decides when the next clip may go out: pure decisions from outcomes and a clock, without I/O and without sleeping.

The throttle of an address is a circuit breaker. While it is closed, clips go out, one at a time at first and twice as
many at once after every answer of YouTube. One refusal ("too many requests", the bot check, no connection) opens it:
nothing goes out until a pause is over. Then it is half-open, and one clip is the probe: an answer closes the breaker
again, a refusal makes the next pause longer. Where it opens again and again, clips are spread over time instead, as
densely as YouTube allows. docs/throttling.md has the states as a diagram.

All times are seconds of one clock that never goes back, such as time.monotonic().
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import Enum, auto

from kinetics.records import Category, Item, Result
from kinetics.scheduling.ban_learner import BAN_PAUSES_S, HOUR_S, Backoff, BanBackoff, SpacingLearner
from kinetics.scheduling.events import GaveUp, Pause, SpacingChanged

MAX_PLAYER_CALLS = 2
"""Clips that may wait for the answer to their player call at once, however many workers there are. A larger value lets
more calls meet a ban that is just beginning; a smaller one lets a slow answer hold up the other clips."""
ANSWERS_UNTIL_PROVEN = 3
"""Answers since the last refusal until refused clips are tried before new ones again. With fewer, more clips would be
refused during a ban in which YouTube answers a call now and then, and be blamed for it."""
ITEM_REFUSAL_LIMIT = 3
"""Refusals of one clip, while others are answered, that make it fail for itself. Each of them costs everybody a pause;
with a smaller limit an unlucky clip would fail that only came at the wrong time."""
ENGINE_ERROR_LIMIT = 25
"""Engine errors without an answer between them that end the run: the engines no longer understand YouTube. A larger
limit writes more living videos down as failed."""
RETRY_AFTER_CAP_S = 6 * HOUR_S
"""Longest pause in seconds that a server's Retry-After can ask for."""
NETWORK_PAUSES_S = (2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 300.0)
"""Seconds to pause after the first, second, ... network error in a row; the last one repeats. A longer last one goes on
later once the network is back."""
NETWORK_GIVE_UP_S = 2 * HOUR_S
"""Seconds of nothing but network errors after which the run ends."""
BAN_GIVE_UP_S = 24 * HOUR_S
"""Seconds of nothing but refusals after which the run ends. Four times the longest pause, so that each is tried."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What follows from an outcome."""

    outcome: Result
    """The outcome to record. A `postponed` one has become `failed` if this clip alone is refused."""
    requeue: bool = False
    """Whether the clip goes back to the queue."""
    pause: Pause | None = None
    spacing: SpacingChanged | None = None
    gave_up: GaveUp | None = None


class Unthrottled:
    """The throttle of work that asks no server: clips go out as fast as there are workers for them."""

    unproven = False

    def __init__(self, workers: int) -> None:
        self.workers = workers

    def wait(self, now: float, in_flight: int, in_player_call: int) -> float | None:
        return 0.0 if in_flight < self.workers else None

    def sent(self, now: float) -> None:
        """Do nothing: no server is asked."""

    def answered(self, *, sent: float, now: float) -> None:
        """Do nothing: no server is asked."""

    def returned(self, *, sent: float) -> None:
        """Do nothing: no server is asked."""

    def settle(
        self, outcome: Result, *, sent: float, now: float, answered: bool = False, last: bool = False
    ) -> Decision:
        return Decision(outcome)


class RefusedItems:
    """The clips that were refused, to find those that are refused for themselves: others are answered meanwhile.

    All hosts of a cluster share one, as an answer at any host counts.
    """

    def __init__(self) -> None:
        self._refused: dict[Item, tuple[int, int]] = {}  # its refusals, and all answers before the first of them
        self._answers = 0

    def __len__(self) -> int:
        return len(self._refused)

    def answered(self) -> None:
        """Count an answer to any clip."""
        self._answers += 1

    def clear(self, item: Item) -> None:
        """Forget a clip that is settled."""
        self._refused.pop(item, None)

    def refused(self, item: Item, last: bool) -> bool:
        """Count a refusal, and return whether this clip alone is refused; of the last clip of all that is assumed."""
        times, answers_before = self._refused.get(item, (0, self._answers))
        self._refused[item] = times + 1, answers_before
        return times + 1 >= ITEM_REFUSAL_LIMIT and (last or self._answers > answers_before)


class BreakerState(Enum):
    """The state of a throttle's circuit breaker."""

    CLOSED = auto()
    """Clips go out."""
    OPEN = auto()
    """Nothing goes out until the pause is over; then one clip, the probe."""
    HALF_OPEN = auto()
    """The probe is out, and everything else waits for what becomes of it."""


class Throttle:
    """Decides when a clip may go out from one address, and what each answer and outcome means for all the others.

    `workers` is how many there can be at once at present; `per_hour` is the most clips to send in an hour. Where there
    are several addresses, they share `refused_items`.
    """

    def __init__(self, workers: int, per_hour: float | None = None, refused_items: RefusedItems | None = None) -> None:
        self.workers = workers
        self._min_spacing_s = HOUR_S / per_hour if per_hour else 0.0
        self._spacing = SpacingLearner()
        self._not_before = -math.inf
        self._window = 1  # clips that may be out at once while the breaker is closed
        self._state = BreakerState.CLOSED
        self._opened_at = -math.inf
        self._opened_by_media = False  # the player call was answered, the media were refused
        self._network_backoff = Backoff(NETWORK_PAUSES_S, NETWORK_GIVE_UP_S)
        self._ban_backoff = BanBackoff(BAN_PAUSES_S, BAN_GIVE_UP_S, self._spacing)
        self._answers_in_a_row = 0
        self._engine_errors = 0
        self._refused_items = RefusedItems() if refused_items is None else refused_items

    @property
    def unproven(self) -> bool:
        """Whether the next clip should be one that was never refused, as too few answers came since the last refusal.

        Until then a video that is refused for itself would open the breaker again for all. And where YouTube answers a
        call now and then during a ban, a clip that is only unlucky would be blamed for its refusals.
        """
        return self._answers_in_a_row < ANSWERS_UNTIL_PROVEN

    def wait(self, now: float, in_flight: int, in_player_call: int) -> float | None:
        """Return the seconds until the next clip may go out; None if an outcome or an answer has to come first.

        `in_flight` clips are out, `in_player_call` of which have not had YouTube's answer to the player call yet.
        """
        if (
            self._state is BreakerState.HALF_OPEN
            or in_player_call >= MAX_PLAYER_CALLS
            or in_flight >= (self._window if self._state is BreakerState.CLOSED else self.workers)
        ):
            return None
        return max(0.0, self._not_before - now)

    def sent(self, now: float) -> None:
        """Take in that a clip has gone out: the probe, if the breaker is open."""
        self._spacing.sent(now)
        self._not_before = now + max(self._min_spacing_s, self._spacing.seconds)
        if self._state is BreakerState.OPEN:
            self._state = BreakerState.HALF_OPEN

    def answered(self, *, sent: float, now: float) -> SpacingChanged | None:
        """Take in that YouTube has answered the player call of a clip that went out at `sent`.

        Where the media are refused, such an answer does not close the breaker: only a clip that is fetched does.
        """
        self._engine_errors = 0
        if self._sent_before_opening(sent) or (self._state is not BreakerState.CLOSED and self._opened_by_media):
            return None
        return self._proceed(now)

    def returned(self, *, sent: float) -> None:
        """Take in that no outcome will ever come of a clip that went out at `sent`; after a probe comes another."""
        if self._state is BreakerState.HALF_OPEN and not self._sent_before_opening(sent):
            self._state = BreakerState.OPEN

    def settle(
        self, outcome: Result, *, sent: float, now: float, answered: bool = False, last: bool = False
    ) -> Decision:
        """Take in the outcome of a clip that went out at `sent`, and return what follows.

        `answered`: YouTube's answer to its player call was reported before. `last`: there is no other clip to do, so
        nothing can show whether all are refused or only this one.
        """
        before_opening = self._sent_before_opening(sent)
        is_probe = self._state is not BreakerState.CLOSED and not before_opening
        if is_probe:
            self._state = BreakerState.OPEN
        if outcome.status == "postponed":
            return Decision(outcome, requeue=True) if before_opening else self._refused(outcome, now, answered, last)
        self._refused_items.clear(outcome.item)
        if outcome.status == "done" or (outcome.category and outcome.category.gone):
            self._engine_errors = 0
            if is_probe or not (answered or before_opening):
                return Decision(outcome, spacing=self._proceed(now))
        elif outcome.category is Category.ENGINE_ERROR:
            self._engine_errors += 1
            if self._engine_errors >= ENGINE_ERROR_LIMIT:
                return Decision(outcome, gave_up=GaveUp(Category.ENGINE_ERROR, outcome.reason))
        return Decision(outcome)

    def _sent_before_opening(self, sent: float) -> bool:
        """Whether a clip went out before the breaker last opened, and so says nothing about how things are now."""
        return sent <= self._opened_at

    def _proceed(self, now: float) -> SpacingChanged | None:
        """Close the breaker, and let twice as many clips out at once as before."""
        self._state = BreakerState.CLOSED
        self._window = min(2 * self._window, self.workers)
        self._refused_items.answered()
        self._answers_in_a_row += 1
        self._ban_backoff.answered()
        self._network_backoff.answered()
        return self._spacing.answered(now)

    def _refused(self, outcome: Result, now: float, answered: bool, last: bool) -> Decision:
        """Open the breaker for a pause, unless this clip alone is refused or it is time to give up."""
        if self._refused_items.refused(outcome.item, last and outcome.category is not Category.NETWORK):
            self._refused_items.clear(outcome.item)
            return Decision(replace(outcome, status="failed"))
        if outcome.category is Category.NETWORK:
            category, backoff = Category.NETWORK, self._network_backoff
        else:
            category, backoff = Category.THROTTLED, self._ban_backoff
            self._network_backoff.answered()  # a refusal is a reply, so the network works
            self._spacing.refused(now)
        if backoff.exhausted(now):
            return Decision(outcome, gave_up=GaveUp(category, outcome.reason))
        at_least = 0.0 if outcome.retry_after_s is None else min(outcome.retry_after_s + 1.0, RETRY_AFTER_CAP_S)
        pause_s = backoff.refused(now, at_least)
        self._state, self._opened_at, self._opened_by_media = BreakerState.OPEN, now, answered
        self._not_before = max(self._not_before, now + pause_s)
        self._window = 1
        self._answers_in_a_row = 0
        return Decision(outcome, requeue=True, pause=Pause(category, outcome.reason, pause_s))
