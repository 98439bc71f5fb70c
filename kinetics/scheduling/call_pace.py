"""All that is known about the player calls of one address: how many went out, how YouTube took them, what to wait for.

Pure state and decisions, of plain fields, so that several runs can share them through a file (shared_pace.py).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from kinetics.scheduling.ban_learner import BAN_PAUSES_S, HOUR_S, PACED_PAUSES_S, BanBackoff, SpacingLearner
from kinetics.scheduling.call_budget import BanMeaning, CallBudget
from kinetics.scheduling.events import SpacingChanged

PROBE_S = 20.0
"""Seconds for which other runs wait while one finds out whether a ban is over. The answer ends it sooner."""


class CallCount(NamedTuple):
    """The player calls of an address."""

    spent: int
    """In the last hour."""
    left: int | None
    """Those that may still go out within the hour; None where no number of calls an hour is kept to."""


class Pacing(Protocol):
    """What a throttle has to know about the player calls of its address; see CallPace."""

    @property
    def interval_s(self) -> float: ...

    @property
    def published(self) -> bool: ...

    def pause(self, now: float) -> tuple[float, str]: ...

    def calls(self, now: float) -> CallCount: ...

    def wait(self, now: float) -> float: ...

    def sent(self, now: float) -> None: ...

    def spend(self, calls: int, now: float) -> None: ...

    def refused(self, now: float, at_least: float, reason: str) -> float: ...

    def answered(self, now: float) -> SpacingChanged | None: ...

    def close(self, now: float) -> None: ...


@dataclass
class CallPace(Pacing):
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
        return HOUR_S / self.budget.per_hour if self.published else self.spacing.seconds

    @property
    def published(self) -> bool:
        """Whether clips are spread over time by what YouTube is said to allow."""
        return self.limited and self.budget.paced

    def pause(self, now: float) -> tuple[float, str]:
        """Return for how many seconds all runs wait after a refusal, and YouTube's words for it."""
        return (max(0.0, self.paused_until - now), self.pause_reason) if self.pause_reason else (0.0, "")

    def calls(self, now: float) -> CallCount:
        """Return the calls of the last hour, and those that are left."""
        return CallCount(self.budget.in_last_hour(now), self.budget.left(now) if self.limited else None)

    def wait(self, now: float) -> float:
        """Return the seconds until the next clip may go out."""
        limited_s = self.budget.wait(now, self.last_call_at) if self.limited else 0.0
        return max(0.0, limited_s, self.last_call_at + self.spacing.seconds - now, self.paused_until - now)

    def sent(self, now: float) -> None:
        """Take in that a clip has gone out."""
        self.spacing.sent(now)
        self.note(now)

    def note(self, now: float) -> None:
        """Take in the call of a clip that did not go out at this pace."""
        self.budget.spend(1, now)
        self.last_call_at = max(self.last_call_at, now)

    def spend(self, calls: int, now: float) -> None:
        """Take in that a clip cost this many player calls more than the one that was counted when it went out."""
        self.budget.spend(calls, now)

    def refused(self, now: float, at_least: float, reason: str) -> float:
        """Take in that YouTube refused everybody; returns the seconds to pause, at least `at_least`.

        Where another run has begun a pause meanwhile, the refusal is of the same ban.
        """
        pause_s = self.pause(now)[0]
        if pause_s > at_least:
            return pause_s
        self.budget.refused(now)
        paced = self.limited and self.budget.paced_ban
        if not paced:
            self.spacing.refused(now)
        steps = PACED_PAUSES_S if paced else BAN_PAUSES_S
        pause_s = self.bans.refused(now, at_least, spread=bool(self.spacing.seconds), steps=steps)
        self.begin_pause(now + pause_s, reason)
        return pause_s

    def begin_pause(self, until: float, reason: str) -> None:
        """Have all runs wait."""
        self.paused_until, self.pause_reason = max(self.paused_until, until), reason or "refused"

    def begin_probe(self, now: float) -> None:
        """Have all runs wait for what becomes of a clip that goes out now."""
        self.paused_until, self.pause_reason = now + PROBE_S, ""

    def end_pause(self) -> None:
        """Let all runs go on."""
        self.paused_until, self.pause_reason = 0.0, ""

    def close(self, now: float) -> None:
        """Do nothing: all that is known is in memory."""

    @property
    def in_ban(self) -> bool:
        """Whether the last call that was decided was refused."""
        return self.bans.refusals > 0

    def answered(self, now: float) -> SpacingChanged | None:
        """Take in an answer; the first one after a ban may change the spacing, and the change is returned."""
        if not self.in_ban:
            return None
        self.bans.answered()
        self.end_pause()
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
