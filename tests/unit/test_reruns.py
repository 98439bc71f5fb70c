"""Running it again always gets further: simulated runs over the real planner, whatever the order of the clips.

A simulated run tries the clips in the order of its plan. It ends where the throttle would end it: when 25 clips failed
in one way with no success between. Refusals that a clip is known for from earlier runs do not count.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Set
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kinetics.annotations.table import Annotations
from kinetics.planning.plan import Plan, make_plan
from kinetics.records import Category, Clip, ClipKey, ClipState, Outcome, Retry
from kinetics.storage.layout import Layout, clip_name
from kinetics.storage.ledger import Ledger
from tests.support.sweeps import soak_unless

ENGINES = "pytubefix 11.2.1, yt-dlp 2026.10.26"
ALIKE_LIMIT = 25


def clips(count: int, what: str) -> list[Clip]:
    return [Clip(f"{what:_<7}{number:04}", 0.0, 10.0, "tai chi", "train") for number in range(count)]


def planned(folder: Path, logged: dict[Clip, Category], retry: Retry) -> Plan:
    """The plan of a re-run, after a run that left these failures in the log."""
    layout = Layout(folder, "700")
    with Ledger(layout, "train") as ledger:
        for clip, category in logged.items():
            asked = f" (asked with {ENGINES})" if category is Category.NOT_OFFERED else ""
            ledger.record(Outcome(clip, "failed", category, f"This video is not available{asked}"))
    rows = [(*clip.key, clip.label, clip.split) for clip in logged]
    frame = pd.DataFrame(rows, columns=["youtube_id", "time_start", "time_end", "label", "split"])
    ledgers = {"train": Ledger(layout, "train")}
    return make_plan(Annotations(frame, ()), layout, ledgers, "smart", retry, engines=ENGINES)  # type: ignore[arg-type]


def in_another_order(plan: Plan, seed: int) -> Plan:
    """The same plan, as if the clips were annotated in a random order."""
    order = np.random.default_rng(seed).permutation(len(plan.frame))
    return replace(plan, frame=plan.frame.iloc[order], states=plan.states[order], not_due=plan.not_due[order])


def tried(plan: Plan, fails: dict[ClipKey, Category]) -> Iterator[Clip]:
    """The clips that a simulated run tries; those that are not in `fails` succeed."""
    alike = Counter[Category]()
    for clip in plan.clips():
        yield clip
        category = fails.get(clip.key)
        if category is None:
            alike.clear()
        elif plan.known.get(clip.key) is not category:
            alike[category] += 1
            if alike[category] == ALIKE_LIMIT:
                return


def after(plan: Plan, done: Iterable[Clip], seed: int) -> Plan:
    """The plan of the next run, which has an order of its own."""
    return replace(plan.with_on_disk({clip_name(*clip.key) for clip in done}), seed=seed)


@pytest.mark.parametrize(
    ("refused", "passing", "seeds", "retry"),
    soak_unless(
        lambda refused, passing, seeds, retry: seeds == 100,
        *((*sizes, retry) for sizes in ((35, 5, 100), (430, 20, 1_000)) for retry in ("due", "all")),
    ),
)
def test_two_re_runs_reach_every_clip_that_may_work_beside_many_that_are_not_offered(
    tmp_path: Path, retry: Retry, refused: int, passing: int, seeds: int
) -> None:
    """The flaky half of what may work fails once more; nothing that is not offered keeps a run from it."""
    never, flaky = clips(refused, "never"), clips(passing, "flaky")
    logged = dict.fromkeys(never, Category.NOT_OFFERED) | dict.fromkeys(flaky, Category.TIMEOUT)
    base = planned(tmp_path, logged, retry)
    refusals = {clip.key: Category.NOT_OFFERED for clip in never}
    again = refusals | {clip.key: Category.TIMEOUT for clip in flaky[::2]}
    stuck = 0
    for seed in range(seeds):
        first = in_another_order(base, seed)
        reached = {*tried(replace(first, seed=seed), again)}
        assert len(reached) == base.todo, "refusals that are known end no run"
        got = reached & {*flaky[1::2]}
        got |= {*tried(after(first, got, seed + seeds), refusals)} & {*flaky}
        stuck += got != {*flaky}
    assert stuck == 0


def runs_until(plan: Plan, wanted: Set[Clip], fails: dict[ClipKey, Category], seeds: Iterable[int]) -> int:
    """How many re-runs it takes to get all of these clips."""
    got = set[Clip]()
    for number, seed in enumerate(seeds, 1):
        got |= wanted & {*tried(after(plan, got, seed), fails)}
        if got == wanted:
            return number
    pytest.fail(f"{len(wanted - got)} clips were never reached")


def test_a_pile_that_fails_alike_in_every_run_hides_nothing_for_ever(tmp_path: Path) -> None:
    """As in a log from before there was "not offered": whatever the run stops at, the next one begins elsewhere."""
    never, flaky = clips(35, "never"), clips(5, "flaky")
    base = planned(tmp_path, dict.fromkeys([*never, *flaky], Category.ENGINE_ERROR), "due")
    assert base.count(ClipState.MAY_WORK) == 40
    fails = {clip.key: Category.ENGINE_ERROR for clip in never}
    runs = [runs_until(base, {*flaky}, fails, range(20 * seed, 20 * seed + 20)) for seed in range(300)]
    assert max(runs) <= 12
    assert sum(runs) / len(runs) < 3
