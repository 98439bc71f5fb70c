"""Learns from YouTube's bans how long they last, and how far apart clips have to go out so that none comes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from kinetics.scheduling.events import SpacingChanged

HOUR_S = 3600.0
BAN_PAUSES_S = (15.0, 60.0, HOUR_S, 2 * HOUR_S, 4 * HOUR_S, 6 * HOUR_S)
"""Seconds to pause after the first, second, ... refusal in a row, while the length of a ban is unknown; the last one
repeats. The first is enough for a hiccup. The later ones are long because a call during a ban may lengthen it: shorter
steps would end a short ban sooner, and would meet a long one with more calls."""
PACED_PAUSES_S = (60.0, 600.0, *BAN_PAUSES_S[2:])
"""The same where calls go out at an even pace, so that a hiccup is less likely. The second tells a ban of 10 minutes,
after which bursts bring the most, from a longer one, which a call after 10 minutes lengthens by that."""
HOLD_S = 24 * HOUR_S
"""Seconds for which no shorter spacing is tried once the pace of an hour without a refusal is known: each try that is
refused costs a ban."""
SPREAD_MARGIN = 1.0005
"""Factor of the spacing that went well, so that a call which goes out a moment early is not refused."""
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
    just_refused: bool = False
    """Whether the last time that was decided was refused, so that `lower` is still right."""

    @property
    def next_value(self) -> float | None:
        """The time to try next; None while no time was allowed."""
        if self.upper is None or self.upper <= self.close * self.lower:
            return self.upper
        return max(math.sqrt(self.lower * self.upper), self.upper / 1.5)

    def refused(self, tried: float) -> None:
        self.lower, self.just_refused = tried, True
        if self.upper is not None and self.upper <= tried:
            self.upper = None

    def allowed(self, tried: float, forget: float) -> None:
        """Take in that `tried` was allowed, and lower `lower` by the share `forget`, as limits change.

        While shorter times keep being allowed, `lower` falls faster, by a tenth.
        """
        shorter = self.upper is not None and tried < self.upper
        self.lower = min(self.lower, tried) * (1.0 - (0.1 if shorter and not self.just_refused else forget))
        self.upper, self.just_refused = tried, False


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


@dataclass
class BanBackoff:
    """Pauses that learn how long YouTube's bans last, so that few calls are made during one.

    A call during a ban may lengthen it, so what counts is the time without calls before one that is answered. A pause
    shorter than the shortest that worked is tried only while clips are not spread over time: then every burst ends in a
    ban, and a shorter pause pays.
    """

    refusals: int = 0
    """In a row."""
    first_refusal_at: float = 0.0
    """When the first of that row came."""
    search: BisectionSearch = field(default_factory=lambda: BisectionSearch(close=1.1))
    own_pause: float = 0.0
    """The last pause in seconds by these rules."""
    actual_pause: float = 0.0
    """The same, or what the server asked for if that was longer."""

    def refused(self, now: float, at_least: float, *, spread: bool, steps: Sequence[float]) -> float:
        """Return the seconds to pause after a refusal, at least `at_least`; `steps` are for bans of unknown length.

        `spread`: clips are spread over time.
        """
        self.first_refusal_at = self.first_refusal_at if self.refusals else now
        self.refusals += 1
        if self.refusals == 1:
            known = self.search.upper if spread else self.search.next_value
            self.own_pause = max(MIN_PAUSE_S, known or steps[0])
        else:
            self.search.refused(self.actual_pause)
            longer = next((step for step in steps if step > self.actual_pause), steps[-1])
            self.own_pause = self.search.upper or longer
        self.actual_pause = max(self.own_pause, at_least)
        return self.actual_pause

    def answered(self) -> None:
        # A pause that the server asked for says nothing about the length of other bans.
        if self.refusals and self.actual_pause == self.own_pause:
            self.search.allowed(self.own_pause, forget=0.002)
        self.refusals = 0


@dataclass
class SpacingLearner:
    """Learns how far apart clips have to go out so that YouTube, which counts them over some time, refuses none.

    After the second ban, the number of clips between two bans is spread over the time from ban to ban. If no further
    ban comes, nothing is lost, and the clips slowly go closer together. If one comes after as many clips as before,
    YouTube does not count over time: clips go out as fast as they can again, and are spread again much later.
    """

    seconds: float = 0.0
    """Seconds between two clips; 0 while they are not spread."""
    search: BisectionSearch = field(default_factory=lambda: BisectionSearch(close=1.05))
    patience: int = BANS_UNTIL_SPREAD
    """Bans before clips are spread; more after a spacing that was useless."""
    bans_to_go: int = BANS_UNTIL_SPREAD
    """How many of them are still to come."""
    allowance: int = 0
    """Clips between two bans, as far as is known, however fast they go out."""
    setbacks: int = 0
    """Spacings that were refused since one was last proven."""
    burst_began_at: float | None = None
    """When the first clip after the last ban went out; None before the first of all."""
    spaced_at: float = 0.0
    """When the present spacing began."""
    hold_until: float = 0.0
    """No shorter spacing is tried before this time."""
    ban_s: float = 0.0
    """Length of the last ban."""
    first_refusal_at: float | None = None
    """The first of the present ban; None while there is none."""
    last_refusal_at: float = 0.0
    short_bans_s: float = 0.0
    """Length of all bans since `burst_began_at`, between which too few clips went out to learn from."""
    refusals: int = 0
    """Calls during the present ban."""
    clips: int = 0
    """Clips since the last ban."""
    spaced_clips: int = 0
    """Clips since the present spacing began."""

    @classmethod
    def spread(cls, per_hour: float, refused_s: float, allowance: int, ban_s: float, now: float) -> SpacingLearner:
        """Return a learner that begins at the pace of an hour that went well, and keeps it for a day.

        Clips that went out every `refused_s` seconds were refused for `ban_s`, the last of `allowance` since a ban.
        """
        learner = cls(search=BisectionSearch(close=1.05, lower=refused_s), allowance=allowance, ban_s=ban_s)
        learner._space(SPREAD_MARGIN * HOUR_S / per_hour, now)
        learner.hold_until, learner.burst_began_at, learner.clips = now + HOLD_S, now, 1
        return learner

    def sent(self, now: float) -> None:
        self.burst_began_at = now if self.burst_began_at is None else self.burst_began_at
        self.clips += 1
        self.spaced_clips += 1
        if self.seconds and now >= self.hold_until and self.spaced_clips > PROOF_FACTOR * self.allowance:
            self.setbacks = 0
            self.search.allowed(self.seconds, min(0.1, FORGET * (now - self.spaced_at) / max(MIN_PAUSE_S, self.ban_s)))
            self._space(self.search.next_value or self.seconds, now)

    def refused(self, now: float) -> None:
        self.last_refusal_at = now
        self.refusals += 1
        if self.first_refusal_at is None:
            self.first_refusal_at = now

    def answered(self, now: float) -> SpacingChanged | None:
        """Take in an answer; the first one after a ban may change the spacing, and the change is returned."""
        if self.first_refusal_at is None:
            return None
        refused_at, self.first_refusal_at = self.first_refusal_at, None
        refused, self.refusals = self.refusals, 0
        began_at = refused_at if self.burst_began_at is None else self.burst_began_at
        before, burst_s, self.ban_s = self.seconds, refused_at - began_at, now - refused_at
        if self.clips < MIN_SAMPLES:
            self.clips -= refused  # where every other call is, they would count for much
            self.short_bans_s += self.ban_s
            self.spaced_clips = 0  # what was refused proves no spacing
            return None
        average_s = (burst_s + now - self.last_refusal_at) / self.clips  # the calls during the ban are left out
        if not before:
            self.allowance = self.clips
            let_through_s = burst_s - self.short_bans_s
            self.bans_to_go -= self.short_bans_s + self.ban_s > MIN_BAN_SHARE * let_through_s
            if not self.bans_to_go:
                self.search, self.setbacks = BisectionSearch(self.search.close, lower=let_through_s / self.clips), 0
                self._space(average_s, now)
        elif self._spacing_is_useless():
            self.patience *= 4
            self.bans_to_go = self.patience
            self._space(0.0, now)
        else:
            if burst_s < 10 * self.ban_s:  # a spacing was proven too soon: ask for more clips next time
                self.allowance = min(self.clips, 2 * self.allowance)
            self._space(self._wider(average_s), now)
        self.burst_began_at, self.clips, self.short_bans_s = now, 1, 0.0
        return SpacingChanged(self.seconds) if (before > 0) != (self.seconds > 0) else None

    def _spacing_is_useless(self) -> bool:
        """Whether the ban came as if the clips had not been spread, or comes at any spacing.

        What several short bans tell together is no such number of clips.
        """
        if self.search.upper is not None:
            return False
        as_before = not self.short_bans_s and self.clips <= 1.25 * self.allowance
        return self.setbacks == 2 or (self.setbacks == 0 and as_before)

    def _wider(self, average_s: float) -> float:
        """Return the spacing to try after the present one was refused."""
        self.search.refused(self.seconds)
        if self.search.next_value is not None:
            return self.search.next_value
        self.setbacks += 1
        if self.setbacks == 1:
            return 1.1 * self.seconds
        return max(average_s, 1.5 * self.seconds)

    def _space(self, seconds: float, now: float) -> None:
        self.seconds, self.spaced_at, self.spaced_clips = seconds, now, 0
