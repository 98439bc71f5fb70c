"""What a download has come to: its clips by what became of them, and whether a re-run may get more."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from kinetics.planning.plan import Plan
from kinetics.records import Category
from kinetics.run.counts import RunCounts
from kinetics.scheduling.events import GaveUp
from kinetics.storage.layout import Layout
from kinetics.storage.ledger import Ledger


@dataclass(frozen=True, slots=True)
class RunResult:
    """What a download has come to, when it has ended by itself or because of an error."""

    layout: Layout
    plan: Plan
    counts: RunCounts
    ledgers: Sequence[Ledger]
    """Those of the subsets, in their order, which know what is missing and why."""
    gave_up: GaveUp | None = None
    """Why the run ended before all clips were tried, if it did."""
    all_read: bool = True
    """Whether every archive of the mirror that may hold a missing clip was read to its end."""

    @property
    def exit_code(self) -> int:
        """1 if a re-run may get more clips, else 0."""
        return exit_code(self.plan, self.counts.counts, self.gave_up, all_read=self.all_read)


def exit_code(plan: Plan, counts: Counter[Category | None], gave_up: GaveUp | None, *, all_read: bool) -> int:
    """Return 1 if a re-run may get more clips, else 0: clips that are gone or not offered are settled.

    `all_read`: every archive of the mirror that may hold a missing clip was read to its end. Else a clip without a
    result may be in one of the others, though it has failed.
    """
    may_work_later = any(category and not category.settled for category in +counts)
    tried = counts.total() if all_read else counts[None]
    return int(bool(gave_up or may_work_later or tried < plan.todo or plan.may_work_left_out))
