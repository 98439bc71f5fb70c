"""All that is known about the player calls of one address: how many went out, how YouTube took them, what to wait for.

Pure state and decisions, of plain fields, so that several runs can share them through a file (shared_pace.py).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from kinetics.scheduling.ban_learner import BAN_PAUSES_S, HOUR_S, PACED_PAUSES_S, BanBackoff, SpacingLearner
from kinetics.scheduling.call_budget import BanMeaning, CallBudget
from kinetics.scheduling.events import SpacingChanged


class Pacing(Protocol):
    """What a throttle has to know about the player calls of its address; see CallPace."""

    def wait(self, now: float) -> float: ...

    def sent(self, now: float) -> None: ...

    def spend(self, calls: int, now: float) -> None: ...

    def refused(self, now: float, at_least: float, reason: str) -> float: ...

    def answered(self, now: float) -> SpacingChanged | None: ...


@dataclass
class CallPace:
    """The pace of the player calls of one address. `limited`: what YouTube is said to allow is kept from the start."""

    limited: bool = True
    budget: CallBudget = field(default_factory=CallBudget)
    spacing: SpacingLearner = field(default_factory=SpacingLearner)
    bans: BanBackoff = field(default_factory=BanBackoff)
    last_call_at: float = 0.0
    """When the last clip went out."""
    paused_until: float = 0.0
    """When the present pause ends: that of a refusal, or while another run finds out whether a ban is over."""
    pause_reason: str = ""
    """YouTube's words for it; empty while there is none, or its probe is out."""

    @property
    def interval_s(self) -> float:
        """Seconds between two clips; 0 while they go out as fast as the workers can."""
        if self.limited and self.budget.paced:
            return HOUR_S / self.budget.per_hour
        return self.spacing.seconds

    def wait(self, now: float) -> float:
        """Return the seconds until the next clip may go out, pauses aside."""
        limited_s = self.budget.wait(now, self.last_call_at) if self.limited else 0.0
        return max(0.0, limited_s, self.last_call_at + self.spacing.seconds - now)

    def sent(self, now: float) -> None:
        """Take in that a clip has gone out."""
        self.spacing.sent(now)
        self.budget.spend(1, now)
        self.last_call_at = now

    def spend(self, calls: int, now: float) -> None:
        """Take in that a clip cost this many player calls more than the one that was counted when it went out."""
        self.budget.spend(calls, now)

    def refused(self, now: float, at_least: float, reason: str) -> float:
        """Take in that YouTube refused everybody; returns the seconds to pause, at least `at_least`."""
        self.budget.refused(now)
        paced = self.limited and self.budget.paced_ban
        if not paced:
            self.spacing.refused(now)
        steps = PACED_PAUSES_S if paced else BAN_PAUSES_S
        pause_s = self.bans.refused(now, at_least, spread=bool(self.spacing.seconds), steps=steps)
        self.paused_until, self.pause_reason = max(self.paused_until, now + pause_s), reason
        return pause_s

    @property
    def in_ban(self) -> bool:
        """Whether the last call that was decided was refused."""
        return self.bans.refusals > 0

    def answered(self, now: float) -> SpacingChanged | None:
        """Take in an answer; the first one after a ban may change the spacing, and the change is returned."""
        if not self.in_ban:
            return None
        self.bans.answered()
        self.paused_until, self.pause_reason = 0.0, ""
        refused_at = self.budget.refused_at or now
        meaning = self.budget.answered(now) if self.limited else None
        if meaning is BanMeaning.SPREAD:
            self.spacing = SpacingLearner.spread(
                per_hour=self.budget.calls_before_ban,
                refused_s=HOUR_S / self.budget.per_hour,
                allowance=self.budget.sent_since_ban,
                ban_s=now - refused_at,
                now=now,
            )
            return SpacingChanged(self.spacing.seconds)
        if meaning is BanMeaning.TRY_BURSTS:
            self.spacing = SpacingLearner(burst_began_at=now, clips=1)
        if meaning:
            return None
        changed = self.spacing.answered(now)
        self.budget.handed_over = self.budget.handed_over or bool(self.spacing.seconds)
        return changed
