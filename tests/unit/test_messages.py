"""What a run says of clips that YouTube did not offer, and the exit code that they lead to."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import pytest

from kinetics.cli.download import exit_code
from kinetics.cli.messages import announcement, summary
from kinetics.cli.options import parse
from kinetics.cli.run_counts import RunCounts
from kinetics.cli.terminal import ProgressBar, make_bar
from kinetics.planning.plan import ASK_AGAIN_DAYS, Plan, Retry
from kinetics.records import Category, Clip, ClipState, Outcome
from kinetics.storage.layout import Layout
from kinetics.storage.ledger import Ledger

WHEN = f"after {ASK_AGAIN_DAYS} days, with newer engines, or with --retry all"


def plan_of(
    states: dict[ClipState, int],
    *,
    not_due: int = 0,
    retry: Retry = "due",
    source: Literal["youtube", "both"] = "youtube",
) -> Plan:
    """A plan with these numbers of clips in each state; the first of those that were not offered are not due."""
    column = np.repeat(np.array([*states], np.uint8), [*states.values()])
    waiting = np.zeros(len(column), bool)
    waiting[np.flatnonzero(column == ClipState.NOT_OFFERED)[:not_due]] = True
    rows = [(f"-clip-{number:05}", 0.0, 10.0, "tai chi", "train") for number in range(len(column))]
    frame = pd.DataFrame(rows, columns=["youtube_id", "time_start", "time_end", "label", "split"])
    return Plan(frame, column, waiting, {}, "smart", retry, source, 0)


def announced(folder: Path, plan: Plan) -> str:
    options = parse(["-v", "700", "-s", "train", "--retry", plan.retry])
    text = announcement(options, Layout(folder, "700"), plan, 0)
    return text.removeprefix("Kinetics700 train: ").partition(" -> ")[0]


def test_what_was_not_offered_is_counted_by_itself_before_the_run(tmp_path: Path) -> None:
    states = {ClipState.ON_DISK: 7, ClipState.MAY_WORK: 5, ClipState.NOT_OFFERED: 35, ClipState.WAS_GONE: 2}
    assert announced(tmp_path, plan_of(states)) == (
        "49 clips wanted, 7 on disk, 5 failed before but may work now, 35 not offered before, 2 gone before; 42 to do"
    )


def test_what_is_not_due_is_no_complaint(tmp_path: Path) -> None:
    states = {ClipState.ON_DISK: 25, ClipState.NOT_OFFERED: 35}
    assert announced(tmp_path, plan_of(states, not_due=35)) == (
        f"60 clips wanted, 25 on disk, 35 not offered before (asked again {WHEN}); nothing to do"
    )
    assert announced(tmp_path, plan_of(states, not_due=30)) == (
        f"60 clips wanted, 25 on disk, 35 not offered before (30 of them are asked again {WHEN}); 5 to do"
    )


def test_what_the_user_leaves_out_is_said(tmp_path: Path) -> None:
    states = {ClipState.NEVER_TRIED: 1, ClipState.NOT_OFFERED: 35, ClipState.WAS_GONE: 2}
    assert announced(tmp_path, plan_of(states, retry="transient")) == (
        "38 clips wanted, 0 on disk, 1 never tried, 35 not offered before, 2 gone before; "
        "1 to do (37 left out by --retry transient)"
    )


def test_with_both_sources_the_mirror_is_asked_at_once(tmp_path: Path) -> None:
    said = announced(tmp_path, plan_of({ClipState.NOT_OFFERED: 35}, not_due=35, source="both"))
    assert f"35 not offered before (asked for at the mirror alone now, at YouTube again {WHEN}); 35 to do" in said


@pytest.mark.parametrize("category", Category)
def test_only_what_may_work_later_makes_exit_code_1_and_a_command_to_go_on(tmp_path: Path, category: Category) -> None:
    plan, layout = plan_of({ClipState.NEVER_TRIED: 2}), Layout(tmp_path, "700")
    counts = Counter[Category | None]({None: 1, category: 1})
    text = summary(parse([]), layout, plan, counts, [Ledger(layout, "train")])
    assert exit_code(plan, counts, None, all_read=True) == (not category.settled)
    assert ("to go on: " in text) == (not category.settled)
    means = "not offered" if category is Category.NOT_OFFERED else "gone" if category.gone else "may work later"
    assert f"         1  {category:14}  {means}\n" in text


def test_nothing_but_clips_that_are_not_due_is_exit_code_0() -> None:
    plan = plan_of({ClipState.NOT_OFFERED: 35}, not_due=35)
    assert exit_code(plan, Counter(), None, all_read=True) == 0


@pytest.mark.parametrize(
    ("categories", "shown"),
    [
        ([], "2 done, 0 gone, 0 failed"),
        ([Category.PRIVATE, Category.TIMEOUT], "2 done, 1 gone, 1 failed"),
        ([Category.PRIVATE, *[Category.NOT_OFFERED] * 3], "2 done, 1 gone, 3 not offered, 0 failed"),
    ],
)
def test_the_bar_names_what_is_not_offered_once_there_is_any(categories: list[Category], shown: str) -> None:
    clips = (Clip(f"-clip-{number:05}", 0.0, 10.0, "tai chi", "train") for number in range(9))
    with make_bar("700 train", 9) as bar:
        progress = ProgressBar(bar, RunCounts())
        for category in (None, None, *categories):
            progress.show(Outcome(next(clips), "failed" if category else "done", category))
        assert bar.postfix == shown
        assert bar.n == 2 + len(categories)


def test_what_only_the_mirror_was_asked_for_and_lacks_completes_the_bar() -> None:
    """Clips that the mirror lacks count once YouTube was asked, but these it is not asked for."""
    clip = Clip("-clip-00000", 0.0, 10.0, "tai chi", "train")
    with make_bar("700 train", 1) as bar:
        progress = ProgressBar(bar, RunCounts(not_offered={clip.key}), provisional=True)
        progress.show(Outcome(clip, "failed", Category.NOT_FOUND, source="mirror"))
        assert (bar.postfix, bar.n) == ("0 done, 0 gone, 1 not offered, 0 failed", 1)
