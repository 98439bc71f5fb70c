"""The counts of a run, in which a clip may be tried with several sources."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container

from kinetics.records import GONE_VIDEO, Category, Clip, ClipKey, Outcome


class RunCounts:
    """Counts the latest result of each clip; NOT_FOUND at the mirror never replaces another one.

    `not_offered`: clips that only the mirror is asked for, as YouTube did not offer them a short while ago. Where the
    mirror lacks them as well, that is still the reason why they are missing.
    """

    def __init__(self, not_offered: Container[ClipKey] = ()) -> None:
        self.counts: Counter[Category | None] = Counter()
        """The number of clips by category; None counts those that are done."""
        self.calls = 0
        """Player calls of all attempts, the postponed ones included."""
        self.calls_for_gone = 0
        """Those of attempts that found their videos gone."""
        self.from_youtube = 0
        """The number of clips that came from YouTube, which the calls were made for."""
        self.still_gone = 0
        """Those among them that were not asked for: missing thumbnails say that they are still gone."""
        self._failed: dict[Clip, Category] = {}
        self._not_offered = not_offered

    @property
    def gone(self) -> int:
        """The number of clips that are gone, at YouTube or at the mirror."""
        return sum(count for category, count in self.counts.items() if category and category.gone)

    def take(self, outcome: Outcome) -> None:
        """Count an attempt, and the clip unless it was only postponed."""
        self.calls += outcome.calls
        self.calls_for_gone += outcome.calls if outcome.category in GONE_VIDEO else 0
        self.from_youtube += outcome.status == "done" and outcome.source == "youtube"
        before, category = self._failed.get(outcome.clip), outcome.category
        if outcome.status == "postponed" or (before and category is Category.NOT_FOUND):
            return
        if category is Category.NOT_FOUND and outcome.clip.key in self._not_offered:
            category = Category.NOT_OFFERED
        if before:
            self.counts[before] -= 1
        self.counts[category] += 1
        if category:
            self._failed[outcome.clip] = category
        else:
            self._failed.pop(outcome.clip, None)
