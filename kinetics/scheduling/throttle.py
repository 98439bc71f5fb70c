"""When the next clip may go out: pure decisions from outcomes and a clock, without I/O and without sleeping.

Think of a door at YouTube. While it is open, clips go out one at a time at first, and twice as many at once after
every answer of YouTube. One refusal ("too many requests", the bot check, a dead line) closes it for everybody. After a
pause one clip goes and asks: an answer opens the door again, a refusal makes the next pause longer. Where the door
closes again and again, clips are spread over time instead, as densely as goes without a refusal.

All times are seconds of one clock that never goes back, such as time.monotonic().
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from kinetics.records import Category, Item, Result

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
LINE_PAUSES_S = (2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 300.0)
BAN_PAUSES_S = (15.0, 60.0, HOUR_S, 2 * HOUR_S, 4 * HOUR_S, 6 * HOUR_S)
"""The first is enough for a hiccup; then few calls meet the closed door, as each may keep it closed for longer."""
BANS_UNTIL_SPREAD = 2
"""One ban may stay the only one."""
FEWEST = 10
"""With fewer clips between them, two bans tell nothing of a rate: one clip may be refused for itself."""
TRIFLE = 0.1
"""A shorter ban, as a share of the time between two, costs too little for clips to be spread."""
PROOF = 1.5
"""So many times the clips between two bans without a further one show that a spacing is enough."""
LEAST_PAUSE_S = 1.0
FORGET = 0.0007
"""The share of `too_short` that is forgotten in the time of a ban, as limits change: so about one in 30 bans' times is
lost to a spacing that turns out too short."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Everybody waits for `seconds`, then one clip goes and asks. `reason` is YouTube's own words, or the line's.

    Everybody: at `place`, where there are several.
    """

    category: Category
    reason: str
    seconds: float
    place: str = ""
    server: str = "YouTube"


@dataclass(frozen=True, slots=True)
class Spread:
    """From now on one clip goes out every `seconds`, or slowly more often; 0: as fast as they can."""

    seconds: float
    place: str = ""
    server: str = "YouTube"


@dataclass(frozen=True, slots=True)
class GaveUp:
    """The run ends here: for too long there was no answer, or none that the engines understood."""

    category: Category
    reason: str
    server: str = "YouTube"


@dataclass(frozen=True, slots=True)
class Settled:
    """What follows from an outcome."""

    outcome: Result
    """To be recorded. A `postponed` one has become `failed` if this clip alone is refused."""
    again: bool = False
    """The clip goes back to the queue."""
    pause: Pause | None = None
    spread: Spread | None = None
    gave_up: GaveUp | None = None


class NoPace:
    """For work at which nobody is asked: clips go out as fast as there are workers for them."""

    wary = False

    def __init__(self, workers: int) -> None:
        self.workers = workers

    def wait(self, now: float, out: int, asking: int) -> float | None:
        return 0.0 if out < self.workers else None

    def sent(self, now: float) -> None:
        """It does not matter when."""

    def answered(self, *, sent: float, now: float) -> None:
        """It does not matter."""

    def returned(self, *, sent: float) -> None:
        """It does not matter."""

    def settle(
        self, outcome: Result, *, sent: float, now: float, answered: bool = False, last: bool = False
    ) -> Settled:
        return Settled(outcome)


class Suspects:
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


class Pace:
    """Says when a clip may go out from one address, and what each answer and outcome means for all the others.

    `workers` are so many as there can be at once at present. Where there are several addresses, they have the
    `suspects` in common.
    """

    def __init__(self, workers: int, per_hour: float | None = None, suspects: Suspects | None = None) -> None:
        self.workers = workers
        self._least_spacing_s = HOUR_S / per_hour if per_hour else 0.0
        self._spacing = _Spacing()
        self._not_before = -math.inf
        self._window = 1
        self._closed = False
        self._closed_at = -math.inf
        self._closed_by_media = False
        self._probing = False
        self._network = _Pauses(LINE_PAUSES_S, 2 * HOUR_S)
        self._throttle = _BanPauses(BAN_PAUSES_S, 24 * HOUR_S, self._spacing)
        self._answers_in_a_row = 0
        self._engine_errors = 0
        self._suspects = Suspects() if suspects is None else suspects

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
        if self._probing or asking >= ASKING or out >= (self.workers if self._closed else self._window):
            return None
        return max(0.0, self._not_before - now)

    def sent(self, now: float) -> None:
        """A clip has gone out."""
        self._spacing.sent(now)
        self._not_before = now + max(self._least_spacing_s, self._spacing.seconds)
        self._probing = self._closed

    def answered(self, *, sent: float, now: float) -> Spread | None:
        """Take in that YouTube has answered the player call of a clip that went out at `sent`."""
        self._engine_errors = 0
        before_closing = sent <= self._closed_at
        return None if before_closing or (self._closed and self._closed_by_media) else self._proceed(now)

    def returned(self, *, sent: float) -> None:
        """Take in that nobody will ever tell of a clip that went out at `sent`."""
        if sent > self._closed_at:
            self._probing = False

    def settle(
        self, outcome: Result, *, sent: float, now: float, answered: bool = False, last: bool = False
    ) -> Settled:
        """Take in what became of a clip that went out at `sent`, and say what follows.

        `answered`: YouTube's answer to its player call was reported before. `last`: there is no other clip to do, so
        nothing can show whether all are refused or only this one.
        """
        before_closing = sent <= self._closed_at  # it says nothing about the door as it is now
        probe = self._closed and not before_closing
        if probe:
            self._probing = False
        if outcome.status == "postponed":
            return Settled(outcome, again=True) if before_closing else self._refused(outcome, now, answered, last)
        self._suspects.clear(outcome.item)
        if outcome.status == "done" or (outcome.category and outcome.category.gone):
            self._engine_errors = 0
            if probe or not (answered or before_closing):
                return Settled(outcome, spread=self._proceed(now))
        elif outcome.category is Category.ENGINE_ERROR:
            self._engine_errors += 1
            if self._engine_errors >= ENGINE_ERRORS:
                return Settled(outcome, gave_up=GaveUp(Category.ENGINE_ERROR, outcome.reason))
        return Settled(outcome)

    def _proceed(self, now: float) -> Spread | None:
        """Open the door, or let twice as many clips out through the open one; few ask at once all the same."""
        self._closed = self._probing = False
        self._window = min(2 * self._window, self.workers)
        self._suspects.answered()
        self._answers_in_a_row += 1
        self._throttle.answered()
        self._network.answered()
        return self._spacing.answered(now)

    def _refused(self, outcome: Result, now: float, answered: bool, last: bool) -> Settled:
        if self._suspects.refused(outcome.item, last and outcome.category is not Category.NETWORK):
            self._suspects.clear(outcome.item)
            return Settled(outcome.but(status="failed"))
        if outcome.category is Category.NETWORK:
            category, pauses = Category.NETWORK, self._network
        else:
            category, pauses = Category.THROTTLED, self._throttle
            self._network.answered()  # a "no" came over the line, so the line is up
            self._spacing.refused(now)
        if pauses.hopeless(now):
            return Settled(outcome, gave_up=GaveUp(category, outcome.reason))
        at_least = 0.0 if outcome.retry_after_s is None else min(outcome.retry_after_s + 1.0, RETRY_AFTER_CAP_S)
        seconds = pauses.refused(now, at_least)
        self._closed, self._closed_at, self._closed_by_media = True, now, answered
        self._not_before = max(self._not_before, now + seconds)
        self._window = 1
        self._answers_in_a_row = 0
        return Settled(outcome, again=True, pause=Pause(category, outcome.reason, seconds))


@dataclass
class _Learnt:
    """A time that is to be as short as YouTube allows, learnt by bisection from what it refused and what it allowed."""

    close: float
    """As a ratio: the search ends when the two are so close."""
    too_short: float = 0.0
    """The longest that was refused."""
    enough: float | None = None
    """The shortest that was allowed; None while there is none."""

    @property
    def next(self) -> float | None:
        """What to try next."""
        if self.enough is None or self.enough <= self.close * self.too_short:
            return self.enough
        return max(math.sqrt(self.too_short * self.enough), self.enough / 1.5)

    def refused(self, tried: float) -> None:
        self.too_short = tried
        if self.enough is not None and self.enough <= tried:
            self.enough = None

    def allowed(self, tried: float, forget: float) -> None:
        """`forget` is the share of `too_short` that is forgotten, as limits change; much of it while that goes well."""
        shorter = self.enough is not None and tried < self.enough
        self.enough = tried
        self.too_short = min(self.too_short, tried) * (1.0 - (0.1 if shorter else forget))


class _Pauses:
    """The growing pauses of one kind of refusal, in seconds."""

    def __init__(self, steps: Sequence[float], give_up_s: float) -> None:
        self._steps = steps
        self._give_up_s = give_up_s
        self._refusals = 0  # in a row, since then
        self._since = 0.0

    def refused(self, now: float, at_least: float) -> float:
        """The pause that follows a refusal."""
        if not self._refusals:
            self._since = now
        self._refusals += 1
        return max(self._next(), at_least)

    def _next(self) -> float:
        return self._steps[min(self._refusals, len(self._steps)) - 1]

    def answered(self) -> None:
        self._refusals = 0

    def hopeless(self, now: float) -> bool:
        return self._refusals > 0 and now - self._since >= self._give_up_s


class _BanPauses(_Pauses):
    """Pauses that learn how long YouTube stays closed, so that few calls meet the closed door.

    A call during a ban may lengthen it, so what counts is the silence before a call. A shorter one than is known to be
    enough is tried only while clips go out in bursts, which bans end: there it pays.
    """

    def __init__(self, steps: Sequence[float], give_up_s: float, spacing: _Spacing) -> None:
        super().__init__(steps, give_up_s)
        self._spacing = spacing
        self._learnt = _Learnt(close=1.1)
        self._own = self._latest = 0.0  # the pause by these rules, and what it was once the server had its say

    def refused(self, now: float, at_least: float) -> float:
        self._latest = super().refused(now, at_least)
        return self._latest

    def _next(self) -> float:
        learnt = self._learnt
        if self._refusals == 1:
            known = learnt.enough if self._spacing.seconds else learnt.next
            self._own = max(LEAST_PAUSE_S, known or self._steps[0])
        else:
            learnt.refused(self._latest)
            self._own = learnt.enough or next((s for s in self._steps if s > self._latest), self._steps[-1])
        return self._own

    def answered(self) -> None:
        if self._refusals and self._latest == self._own:  # a pause that the server asked for tells nothing of others
            self._learnt.allowed(self._own, forget=0.002)
        super().answered()


class _Spacing:
    """Learns how far apart clips have to go out so that YouTube refuses none, where it counts them over some time.

    After the second ban, as many clips as went out between two bans are spread over the time from ban to ban. If there
    is no further ban, nothing is lost, and they can slowly go closer together. If it comes after as many clips as
    before, YouTube does not count that way: they go out as fast as they can again, and are spread again much later.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self._learnt = _Learnt(close=1.05)
        self._patience = self._bans_to_go = BANS_UNTIL_SPREAD
        self._allowance = 0  # clips that YouTube lets through, as far as is known, before it minds how fast they come
        self._setbacks = 0  # spacings that were refused since one was last proven enough
        self._opened_at = math.inf
        self._spaced_at = self._ban_s = 0.0
        self._refused_at: float | None = None
        self._asked_at = 0.0  # when it was last refused
        self._sent = self._sent_spaced = 0  # since the door opened, and since the present spacing began

    def sent(self, now: float) -> None:
        self._opened_at = min(self._opened_at, now)
        self._sent += 1
        self._sent_spaced += 1
        if self.seconds and self._sent_spaced > PROOF * self._allowance:
            self._setbacks = 0
            self._learnt.allowed(self.seconds, min(0.1, FORGET * (now - self._spaced_at) / self._ban_s))
            self._space(self._learnt.next or self.seconds, now)

    def refused(self, now: float) -> None:
        self._asked_at = now
        if self._refused_at is None:
            self._refused_at = now

    def answered(self, now: float) -> Spread | None:
        """What changes with this answer: something may, if it is the first one after a ban."""
        if self._refused_at is None:
            return None
        refused_at, self._refused_at = self._refused_at, None
        if self._sent < FEWEST:
            return None
        before, open_s, self._ban_s = self.seconds, refused_at - self._opened_at, now - refused_at
        average_s = (open_s + now - self._asked_at) / self._sent  # as if nobody had asked in vain
        if not before:
            self._allowance = self._sent
            self._bans_to_go -= self._ban_s > TRIFLE * open_s
            if not self._bans_to_go:
                self._learnt, self._setbacks = _Learnt(self._learnt.close, too_short=open_s / self._sent), 0
                self._space(average_s, now)
        elif self._as_if_unspread():
            self._patience *= 4
            self._bans_to_go = self._patience
            self._space(0.0, now)
        else:
            if open_s < 10 * self._ban_s:  # a spacing was called enough too soon
                self._allowance = min(self._sent, 2 * self._allowance)
            self._space(self._wider(average_s), now)
        self._opened_at, self._sent = now, 1
        return Spread(self.seconds) if (before > 0) != (self.seconds > 0) else None

    def _as_if_unspread(self) -> bool:
        """Whether the ban came as if the clips had not been spread, or comes at whatever spacing."""
        if self._learnt.enough is not None:
            return False
        return self._setbacks == 2 or (self._setbacks == 0 and self._sent <= 1.25 * self._allowance)

    def _wider(self, average_s: float) -> float:
        self._learnt.refused(self.seconds)
        if self._learnt.next is not None:
            return self._learnt.next
        self._setbacks += 1
        if self._setbacks == 1:
            return 1.1 * self.seconds
        return max(average_s, 1.5 * self.seconds)

    def _space(self, seconds: float, now: float) -> None:
        self.seconds, self._spaced_at, self._sent_spaced = seconds, now, 0
