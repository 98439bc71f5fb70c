"""Learns from YouTube's bans how long they last, and how far apart clips have to go out so that none comes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from kinetics.scheduling.events import SpacingChanged

HOUR_S = 3600.0
BAN_PAUSES_S = (15.0, 60.0, HOUR_S, 2 * HOUR_S, 4 * HOUR_S, 6 * HOUR_S)
"""Seconds to pause after the first, second, ... refusal in a row, while the length of a ban is unknown; the last one
repeats. The first is enough for a hiccup. The later ones are long because a call during a ban may lengthen it: shorter
steps would end a short ban sooner, and would meet a long one with more calls."""
BANS_UNTIL_SPREAD = 2
"""Bans before clips are spread over time. With 1, a ban that never comes again would slow down the rest of the run."""
MIN_SAMPLES = 10
"""Clips needed between two bans before a rate is estimated from them. With fewer, a clip that is refused for itself
would be taken for a rate limit."""
MIN_BAN_SHARE = 0.1
"""Length of a ban, as a share of the time between two, from which clips are spread. A shorter ban costs less than
spreading would."""
PROOF_FACTOR = 1.5
"""Clips that must go out without a ban to prove a spacing, as a multiple of those between the last two bans. A smaller
factor tries shorter spacings sooner, and proves some that are too short."""
MIN_PAUSE_S = 1.0
"""Shortest pause in seconds that the learner tries after a refusal."""
FORGET = 0.0007
"""Decay of the spacing's lower bound per ban duration, so that a raised limit is found again: about one in 30 ban
durations is lost to a spacing that turns out too short. A larger value finds a new limit sooner, and loses more."""


@dataclass
class BisectionSearch:
    """Finds by bisection the shortest time, in seconds, that YouTube allows, from what it refused and allowed."""

    close: float
    """Ratio of `upper` to `lower` at which the search ends."""
    lower: float = 0.0
    """The longest time that was refused."""
    upper: float | None = None
    """The shortest time that was allowed; None while none was."""

    @property
    def next_value(self) -> float | None:
        """The time to try next; None while no time was allowed."""
        if self.upper is None or self.upper <= self.close * self.lower:
            return self.upper
        return max(math.sqrt(self.lower * self.upper), self.upper / 1.5)

    def refused(self, tried: float) -> None:
        self.lower = tried
        if self.upper is not None and self.upper <= tried:
            self.upper = None

    def allowed(self, tried: float, forget: float) -> None:
        """Take in that `tried` was allowed, and lower `lower` by the share `forget`, as limits change.

        While shorter times keep being allowed, `lower` falls faster, by a tenth.
        """
        shorter = self.upper is not None and tried < self.upper
        self.upper = tried
        self.lower = min(self.lower, tried) * (1.0 - (0.1 if shorter else forget))


class Backoff:
    """The growing pauses, in seconds, after refusals of one kind that follow one another."""

    def __init__(self, steps: Sequence[float], give_up_s: float) -> None:
        self._steps = steps
        self._give_up_s = give_up_s
        self._refusals = 0  # in a row
        self._first_refusal_at = 0.0  # the first of that row

    def refused(self, now: float, at_least: float) -> float:
        """Return the pause that follows a refusal: the backoff's own, or `at_least` if that is longer."""
        if not self._refusals:
            self._first_refusal_at = now
        self._refusals += 1
        return max(self._next_pause(), at_least)

    def _next_pause(self) -> float:
        return self._steps[min(self._refusals, len(self._steps)) - 1]

    def answered(self) -> None:
        self._refusals = 0

    def exhausted(self, now: float) -> bool:
        """Whether nothing but refusals came for `give_up_s` seconds, so that the run should end."""
        return self._refusals > 0 and now - self._first_refusal_at >= self._give_up_s


class BanBackoff(Backoff):
    """Pauses that learn how long YouTube's bans last, so that few calls are made during one.

    A call during a ban may lengthen it, so what counts is the time without calls before one that is answered. A pause
    shorter than the shortest that worked is tried only while clips are not spread over time: then every burst ends in a
    ban, and a shorter pause pays.
    """

    def __init__(self, steps: Sequence[float], give_up_s: float, spacing: SpacingLearner) -> None:
        super().__init__(steps, give_up_s)
        self._spacing = spacing
        self._search = BisectionSearch(close=1.1)
        self._own_pause = 0.0  # the last pause by these rules ...
        self._actual_pause = 0.0  # ... and what became of it where the server asked for a longer one

    def refused(self, now: float, at_least: float) -> float:
        self._actual_pause = super().refused(now, at_least)
        return self._actual_pause

    def _next_pause(self) -> float:
        search = self._search
        if self._refusals == 1:
            known = search.upper if self._spacing.seconds else search.next_value
            self._own_pause = max(MIN_PAUSE_S, known or self._steps[0])
        else:
            search.refused(self._actual_pause)
            longer = next((step for step in self._steps if step > self._actual_pause), self._steps[-1])
            self._own_pause = search.upper or longer
        return self._own_pause

    def answered(self) -> None:
        # A pause that the server asked for says nothing about the length of other bans.
        if self._refusals and self._actual_pause == self._own_pause:
            self._search.allowed(self._own_pause, forget=0.002)
        super().answered()


class SpacingLearner:
    """Learns how far apart clips have to go out so that YouTube, which counts them over some time, refuses none.

    After the second ban, the number of clips between two bans is spread over the time from ban to ban. If no further
    ban comes, nothing is lost, and the clips slowly go closer together. If one comes after as many clips as before,
    YouTube does not count over time: clips go out as fast as they can again, and are spread again much later.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        """Seconds between two clips; 0 while they are not spread."""
        self._search = BisectionSearch(close=1.05)
        self._patience = self._bans_to_go = BANS_UNTIL_SPREAD
        self._allowance = 0  # clips between two bans, as far as is known, however fast they go out
        self._setbacks = 0  # spacings that were refused since one was last proven
        self._burst_began_at = math.inf
        self._spaced_at = self._ban_s = 0.0
        self._first_refusal_at: float | None = None  # of the present ban; None while there is none
        self._last_refusal_at = 0.0
        self._short_bans_s = 0.0  # of bans since `_burst_began_at`, between which too few clips went out to learn from
        self._refused = 0  # calls during the present ban
        self._sent = self._sent_spaced = 0  # clips since the last ban, and since the present spacing began

    def sent(self, now: float) -> None:
        self._burst_began_at = min(self._burst_began_at, now)
        self._sent += 1
        self._sent_spaced += 1
        if self.seconds and self._sent_spaced > PROOF_FACTOR * self._allowance:
            self._setbacks = 0
            self._search.allowed(self.seconds, min(0.1, FORGET * (now - self._spaced_at) / self._ban_s))
            self._space(self._search.next_value or self.seconds, now)

    def refused(self, now: float) -> None:
        self._last_refusal_at = now
        self._refused += 1
        if self._first_refusal_at is None:
            self._first_refusal_at = now

    def answered(self, now: float) -> SpacingChanged | None:
        """Take in an answer; the first one after a ban may change the spacing, and the change is returned."""
        if self._first_refusal_at is None:
            return None
        refused_at, self._first_refusal_at = self._first_refusal_at, None
        refused, self._refused = self._refused, 0
        before, burst_s, self._ban_s = self.seconds, refused_at - self._burst_began_at, now - refused_at
        if self._sent < MIN_SAMPLES:
            self._sent -= refused  # where every other call is, they would count for much
            self._short_bans_s += self._ban_s
            self._sent_spaced = 0  # what was refused proves no spacing
            return None
        average_s = (burst_s + now - self._last_refusal_at) / self._sent  # the calls during the ban are left out
        if not before:
            self._allowance = self._sent
            let_through_s = burst_s - self._short_bans_s
            self._bans_to_go -= self._short_bans_s + self._ban_s > MIN_BAN_SHARE * let_through_s
            if not self._bans_to_go:
                self._search, self._setbacks = BisectionSearch(self._search.close, lower=let_through_s / self._sent), 0
                self._space(average_s, now)
        elif self._spacing_is_useless():
            self._patience *= 4
            self._bans_to_go = self._patience
            self._space(0.0, now)
        else:
            if burst_s < 10 * self._ban_s:  # a spacing was proven too soon: ask for more clips next time
                self._allowance = min(self._sent, 2 * self._allowance)
            self._space(self._wider(average_s), now)
        self._burst_began_at, self._sent, self._short_bans_s = now, 1, 0.0
        return SpacingChanged(self.seconds) if (before > 0) != (self.seconds > 0) else None

    def _spacing_is_useless(self) -> bool:
        """Whether the ban came as if the clips had not been spread, or comes at any spacing.

        What several short bans tell together is no such number of clips.
        """
        if self._search.upper is not None:
            return False
        as_before = not self._short_bans_s and self._sent <= 1.25 * self._allowance
        return self._setbacks == 2 or (self._setbacks == 0 and as_before)

    def _wider(self, average_s: float) -> float:
        """Return the spacing to try after the present one was refused."""
        self._search.refused(self.seconds)
        if self._search.next_value is not None:
            return self._search.next_value
        self._setbacks += 1
        if self._setbacks == 1:
            return 1.1 * self.seconds
        return max(average_s, 1.5 * self.seconds)

    def _space(self, seconds: float, now: float) -> None:
        self.seconds, self._spaced_at, self._sent_spaced = seconds, now, 0
