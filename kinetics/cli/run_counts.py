"""The counts of a run, in which a clip may be tried with several sources."""

from __future__ import annotations

from collections import Counter

from kinetics.records import Category, Clip, Outcome


class RunCounts:
    """Counts the latest result of each clip; NOT_FOUND at the mirror never replaces another one."""

    def __init__(self) -> None:
        self.counts: Counter[Category | None] = Counter()
        """The number of clips by category; None counts those that are done."""
        self._failed: dict[Clip, Category] = {}

    def take(self, outcome: Outcome) -> None:
        """Count an attempt, unless the clip was only postponed."""
        before = self._failed.get(outcome.clip)
        if outcome.status == "postponed" or (before and outcome.category is Category.NOT_FOUND):
            return
        if before:
            self.counts[before] -= 1
        self.counts[outcome.category] += 1
        if outcome.category:
            self._failed[outcome.clip] = outcome.category
        else:
            self._failed.pop(outcome.clip, None)
