"""What became of the clips of a run, where one may be tried by several ways."""

from __future__ import annotations

from collections import Counter

from kinetics.records import Category, Clip, Outcome


class RunCounts:
    """The last word on each clip. That the mirror lacks it is the weakest."""

    def __init__(self) -> None:
        self.counts: Counter[Category | None] = Counter()
        """How many clips are missing by each category; None: done."""
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
