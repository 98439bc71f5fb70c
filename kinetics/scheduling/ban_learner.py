"""Learns from YouTube's bans how long they last, and how far apart clips have to go out so that none comes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from kinetics.scheduling.events import SpacingChanged

HOUR_S = 3600.0
BAN_PAUSES_S = (15.0, 60.0, HOUR_S, 2 * HOUR_S, 4 * HOUR_S, 6 * HOUR_S)
"""The first is enough for a hiccup; then few calls meet the closed door, as each may keep it closed for longer."""
BANS_UNTIL_SPREAD = 2
"""One ban may stay the only one."""
MIN_SAMPLES = 10
"""With fewer clips between them, two bans tell nothing of a rate: one clip may be refused for itself."""
MIN_BAN_SHARE = 0.1
"""A shorter ban, as a share of the time between two, costs too little for clips to be spread."""
PROOF_FACTOR = 1.5
"""So many times the clips between two bans without a further one show that a spacing is enough."""
LEAST_PAUSE_S = 1.0
FORGET = 0.0007
"""The share of `lower` that is forgotten in the time of a ban, as limits change: so about one in 30 bans' times is
lost to a spacing that turns out too short."""


@dataclass
class BisectionSearch:
    """A time that is to be as short as YouTube allows, learnt by bisection from what it refused and what it allowed."""

    close: float
    """As a ratio: the search ends when the two are so close."""
    lower: float = 0.0
    """The longest that was refused."""
    enough: float | None = None
    """The shortest that was allowed; None while there is none."""

    @property
    def next(self) -> float | None:
        """What to try next."""
        if self.enough is None or self.enough <= self.close * self.lower:
            return self.enough
        return max(math.sqrt(self.lower * self.enough), self.enough / 1.5)

    def refused(self, tried: float) -> None:
        self.lower = tried
        if self.enough is not None and self.enough <= tried:
            self.enough = None

    def allowed(self, tried: float, forget: float) -> None:
        """`forget` is the share of `lower` that is forgotten, as limits change; much of it while that goes well."""
        shorter = self.enough is not None and tried < self.enough
        self.enough = tried
        self.lower = min(self.lower, tried) * (1.0 - (0.1 if shorter else forget))


class Backoff:
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


class BanBackoff(Backoff):
    """Pauses that learn how long YouTube stays closed, so that few calls meet the closed door.

    A call during a ban may lengthen it, so what counts is the silence before a call. A shorter one than is known to be
    enough is tried only while clips go out in bursts, which bans end: there it pays.
    """

    def __init__(self, steps: Sequence[float], give_up_s: float, spacing: SpacingLearner) -> None:
        super().__init__(steps, give_up_s)
        self._spacing = spacing
        self._learnt = BisectionSearch(close=1.1)
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


class SpacingLearner:
    """Learns how far apart clips have to go out so that YouTube refuses none, where it counts them over some time.

    After the second ban, as many clips as went out between two bans are spread over the time from ban to ban. If there
    is no further ban, nothing is lost, and they can slowly go closer together. If it comes after as many clips as
    before, YouTube does not count that way: they go out as fast as they can again, and are spread again much later.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self._learnt = BisectionSearch(close=1.05)
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
        if self.seconds and self._sent_spaced > PROOF_FACTOR * self._allowance:
            self._setbacks = 0
            self._learnt.allowed(self.seconds, min(0.1, FORGET * (now - self._spaced_at) / self._ban_s))
            self._space(self._learnt.next or self.seconds, now)

    def refused(self, now: float) -> None:
        self._asked_at = now
        if self._refused_at is None:
            self._refused_at = now

    def answered(self, now: float) -> SpacingChanged | None:
        """What changes with this answer: something may, if it is the first one after a ban."""
        if self._refused_at is None:
            return None
        refused_at, self._refused_at = self._refused_at, None
        if self._sent < MIN_SAMPLES:
            return None
        before, open_s, self._ban_s = self.seconds, refused_at - self._opened_at, now - refused_at
        average_s = (open_s + now - self._asked_at) / self._sent  # as if nobody had asked in vain
        if not before:
            self._allowance = self._sent
            self._bans_to_go -= self._ban_s > MIN_BAN_SHARE * open_s
            if not self._bans_to_go:
                self._learnt, self._setbacks = BisectionSearch(self._learnt.close, lower=open_s / self._sent), 0
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
        return SpacingChanged(self.seconds) if (before > 0) != (self.seconds > 0) else None

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
