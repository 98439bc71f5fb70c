"""What YouTube is said to allow a guest, kept from the first call on: a burst, then an even pace that slowly grows.

Where YouTube refuses calls that go out at this pace, what it does allow is learnt instead (ban_learner.py). Pure
decisions; all times are seconds of one clock, the throttle's.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto

from kinetics.scheduling.ban_learner import HOUR_S

PUBLISHED_PER_HOUR = 300.0
"""Player calls an hour that YouTube is said to allow a guest (yt-dlp's wiki). A larger value meets the first ban
sooner, if that is true; a smaller one wastes the first hours."""
BURST = 250
"""Player calls that go out as fast as the workers can, after an hour without any. Less than the published number, so
that the calls that are not counted beforehand, such as a second client's, do not end in a ban."""
SLOT_S = 10.0
"""Seconds for which calls are counted together. More saves memory, and frees an old call that much later."""
GROWTH = 1.5
"""Factor by which the pace grows each hour without a refusal. A larger one finds a higher limit sooner, and learns less
about a lower one when it is refused."""
QUIET_S = 2 * HOUR_S
"""Seconds without a refusal before the pace grows for the first time."""
USED = 0.8
"""Share of an hour's calls that must have gone out before the pace grows. An idle hour without a refusal proves
nothing."""
SHORT_BAN_S, LONG_BAN_S = 600.0, 1800.0
"""Bans below the first are answered by the pace that went well before; after a ban above the second, that pace is
kept for good. Between them, bursts that end in bans may bring more than any even pace, so the learner tries both."""
ALLOWED_HICCUPS = 2
"""Short bans that the pace of the hour before may meet without having grown. After more, the limit has changed, and
the learner finds the new one."""


class BanMeaning(Enum):
    """What a ban at an even pace says about YouTube's limit."""

    SLOWER = auto()
    """The pace has become what went well in the hour before, and grows again later."""
    TRY_BURSTS = auto()
    """Nobody knows whether even calls or bursts bring more: the learner finds out."""
    SPREAD = auto()
    """What went well in the hour before is the limit."""


@dataclass
class CallBudget:
    """The player calls that may go out now, from those of the last hour and how YouTube took them.

    BURST calls go out at once. Then they are spread so that no hour has more than `per_hour`, and go out evenly. A
    refusal ends this as soon as it is clear what it meant; then the budget limits nothing any more (`handed_over`).
    """

    calls: list[list[float]] = field(default_factory=list)
    """The calls of the last hour: when each slot began, and the number of calls in it; the oldest first."""
    per_hour: float = PUBLISHED_PER_HOUR
    """The most calls in any hour at present."""
    burst_used: bool = False
    """Whether BURST calls have gone out since the last hour without any."""
    handed_over: bool = False
    step_began_at: float | None = None
    """When `per_hour` last changed, or YouTube last refused a call; None before the first call."""
    grown: bool = False
    """Whether `per_hour` has grown since the last refusal."""
    proven: float = BURST
    """The largest number of calls in an hour that is known to go well."""
    hiccups: int = 0
    """Short bans at an even pace since it last grew."""
    refused_at: float | None = None
    """When the present ban began; None while there is none."""
    paced_ban: bool = False
    """Whether it began while calls were spread over time by this budget."""
    calls_before_ban: float = 0.0
    """Calls in the hour before it, or `proven` if those were fewer."""
    sent_since_ban: int = 0
    """Calls since the last ban, or ever."""

    @property
    def paced(self) -> bool:
        """Whether calls are spread over time by this budget."""
        return self.burst_used and not self.handed_over

    def wait(self, now: float, last_call_at: float) -> float:
        """Return the seconds until the next call may go out, where the last one went out at `last_call_at`."""
        self._forget(now)
        if not self.paced or not self.calls:
            return 0.0
        left = self.per_hour - self._count
        frees_at = self.calls[0][0] + SLOT_S + HOUR_S
        if left < 1:
            return frees_at - now
        return last_call_at + max(HOUR_S / self.per_hour, (frees_at - last_call_at) / left) - now

    def in_last_hour(self, now: float) -> int:
        """Return how many calls have gone out in the last hour, counted from the end of their slots."""
        return int(sum(calls for begin, calls in self.calls if begin + SLOT_S + HOUR_S > now))

    def left(self, now: float) -> int | None:
        """Return how many calls may still go out within the hour; None where this budget limits nothing any more."""
        return None if self.handed_over else max(0, int(self.per_hour) - self.in_last_hour(now))

    def spend(self, calls: int, now: float) -> None:
        """Take in that this many player calls have gone out."""
        self._forget(now)
        if not self.calls:
            self.step_began_at, self.burst_used, self.grown = now, False, False
        place = next((n for n in range(len(self.calls), 0, -1) if self.calls[n - 1][0] <= now), 0)
        if place and now < self.calls[place - 1][0] + SLOT_S:
            self.calls[place - 1][1] += calls
        else:
            self.calls.insert(place, [now, calls])
        self.sent_since_ban += calls
        self.burst_used = self.burst_used or self._count >= BURST
        self._grow(now)

    def refused(self, now: float) -> None:
        """Take in that YouTube refused a call for the pace of all."""
        if self.refused_at is None:
            self._forget(now)
            self.paced_ban = self.paced
            if not self.grown:
                self.proven = BURST
            surely = sum(calls for begin, calls in self.calls if begin > now - HOUR_S)  # one of them was refused
            self.refused_at, self.calls_before_ban = now, max(self.proven, surely - 1)
        self.step_began_at, self.grown = now, False

    def answered(self, now: float) -> BanMeaning | None:
        """Take in an answer; after a ban at an even pace, return what the ban meant."""
        if self.refused_at is None:
            return None
        ban_s, self.refused_at = now - self.refused_at, None
        if not self.paced_ban:
            self.sent_since_ban = 0
            return None
        self.hiccups += 1
        self.handed_over = ban_s >= SHORT_BAN_S or self.hiccups > ALLOWED_HICCUPS
        if ban_s >= LONG_BAN_S:
            return BanMeaning.SPREAD
        if self.handed_over:
            return BanMeaning.TRY_BURSTS
        self.per_hour, self.sent_since_ban = min(self.per_hour, self.calls_before_ban), 0
        return BanMeaning.SLOWER

    @property
    def _count(self) -> int:
        return int(sum(calls for _, calls in self.calls))

    def _forget(self, now: float) -> None:
        """Drop the calls that are older than an hour, counted from the end of their slots."""
        while self.calls and self.calls[0][0] + SLOT_S + HOUR_S <= now:
            del self.calls[0]

    def _grow(self, now: float) -> None:
        if not self.paced or self.refused_at is not None or self.step_began_at is None:
            return
        is_due = now >= self.step_began_at + (HOUR_S if self.grown else QUIET_S)
        if is_due and self._count >= USED * self.per_hour:
            self.proven, self.hiccups = self.per_hour, 0
            self.per_hour *= GROWTH
            self.step_began_at, self.grown = now, True
