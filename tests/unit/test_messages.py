"""What a run says before, during and after it, and the exit code that it leads to."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import pytest
from tqdm import tqdm

from kinetics.cli.parser import parse
from kinetics.cli.progress import ProgressBar, make_bar
from kinetics.cli.summary import summary
from kinetics.cli.terminal import wrapped
from kinetics.planning.estimate import Estimate
from kinetics.planning.gone_clips import LookedFor
from kinetics.planning.gone_videos import RunEvent, StillGone
from kinetics.planning.plan import ASK_AGAIN_DAYS, Plan, Retry
from kinetics.planning.reuse import FoundFiles
from kinetics.records import Category, Clip, ClipState, Outcome, Source
from kinetics.run.counts import RunCounts
from kinetics.run.messages import announcement, explanation, forecast, pause_in_short
from kinetics.run.progress import ProgressTracker
from kinetics.run.result import exit_code
from kinetics.scheduling.events import Pause, SpacingChanged
from kinetics.storage.layout import Layout
from kinetics.storage.ledger import Ledger

WHEN = f"after {ASK_AGAIN_DAYS} days, with newer engines, or with --retry all"


def plan_of(
    states: dict[ClipState, int],
    *,
    not_due: int = 0,
    retry: Retry = "due",
    source: Literal["youtube", "both"] = "youtube",
    confirmed: int = 0,
    looked_for: int = 0,
) -> Plan:
    """A plan with these numbers of clips in each state; the first of those that were not offered are not due.

    Of those that were gone, the first are confirmed, and the next ones looked for.
    """
    column = np.repeat(np.array([*states], np.uint8), [*states.values()])
    waiting = np.zeros(len(column), bool)
    waiting[np.flatnonzero(column == ClipState.NOT_OFFERED)[:not_due]] = True
    rows = [(f"-clip-{number:05}", 0.0, 10.0, "tai chi", "train") for number in range(len(column))]
    frame = pd.DataFrame(rows, columns=["youtube_id", "time_start", "time_end", "label", "split"])
    gone = np.flatnonzero(column == ClipState.WAS_GONE)
    waiting[gone[:confirmed]] = True
    look = LookedFor(gone[confirmed : confirmed + looked_for])
    return Plan(frame, column, waiting, {}, "smart", retry, source, 0, np.arange(len(frame)), looked_for=look)


def clips() -> Iterator[Clip]:
    return (Clip(f"-clip-{number:05}", 0.0, 10.0, "tai chi", "train") for number in itertools.count())


def counts_of(*categories: Category | None, calls: int = 0, source: Source = "youtube") -> RunCounts:
    """The counts of a run with a clip for each category, None for one that came; each took that number of calls."""
    counts = RunCounts()
    for clip, category in zip(clips(), categories, strict=False):
        counts.take(Outcome(clip, "failed" if category else "done", category, calls=calls, source=source))
    return counts


def announced(folder: Path, plan: Plan) -> list[str]:
    """The announcement's lines, without the name and the folder."""
    options = parse(["-v", "700", "-s", "train", "--retry", plan.retry])
    *lines, last = announcement(options, Layout(folder, "700"), plan, FoundFiles({}, {}, {}, {}, ())).splitlines()
    assert last == f"  folder: {folder}/Kinetics700"
    return [line.removeprefix("Kinetics700 train: ").strip() for line in lines]


def test_before_the_run_each_kind_of_clip_is_counted_and_what_is_asked_again_says_how_to_leave_it_out(
    tmp_path: Path,
) -> None:
    states = {ClipState.ON_DISK: 7, ClipState.MAY_WORK: 5, ClipState.NOT_OFFERED: 35, ClipState.WAS_GONE: 2}
    assert announced(tmp_path, plan_of(states)) == [
        "49 clips wanted, 7 on disk; 42 to do",
        "5  failed before but may work now",
        "35  not offered before",
        "2  gone before (asked for again; --retry transient leaves them out)",
    ]


def test_of_what_was_gone_it_says_how_much_is_asked_for_and_what_asking_for_all_would_cost(tmp_path: Path) -> None:
    states = {ClipState.ON_DISK: 40, ClipState.WAS_GONE: 14_400}
    assert announced(tmp_path, plan_of(states, confirmed=14_000, looked_for=300)) == [
        "14,440 clips wanted, 40 on disk; 400 to do",
        "14,400  gone before: 14,000 still gone by their missing thumbnails, 300 to look for by their thumbnails, "
        "100 to ask YouTube for (--retry all asks YouTube for all, in 2.0 days)",
    ]
    assert announced(tmp_path, plan_of(states, confirmed=14_400)) == [
        "14,440 clips wanted, 40 on disk; nothing to do",
        "14,400  gone before: 14,400 still gone by their missing thumbnails "
        "(--retry all asks YouTube for all, in 2.0 days)",
    ]


def test_a_run_whose_only_open_clips_are_confirmed_dead_is_exit_code_0() -> None:
    plan = plan_of({ClipState.ON_DISK: 3, ClipState.WAS_GONE: 5}, confirmed=5)
    assert plan.todo == 0
    assert exit_code(plan, Counter(), None, all_read=True) == 0


def test_the_summary_counts_what_is_still_gone_without_having_been_asked_for(tmp_path: Path) -> None:
    tracker = ProgressTracker(3)
    for clip in itertools.islice(clips(), 2):
        tracker.take(StillGone(clip.failed(Category.PRIVATE, "")))
    plan = plan_of({ClipState.WAS_GONE: 3}, looked_for=3)
    text = summary(parse([]), Layout(tmp_path, "700"), plan, tracker.counts, [])
    assert (
        "         2  private         gone\n         2  of them not asked for: their thumbnails are still missing"
        in text
    )
    assert "1  not tried yet" in text


def test_one_clip_is_not_called_clips(tmp_path: Path) -> None:
    assert announced(tmp_path, plan_of({ClipState.NEVER_TRIED: 1})) == [
        "1 clip wanted, 0 on disk; 1 to do",
        "1  never tried",
    ]


def test_what_is_not_due_is_no_complaint(tmp_path: Path) -> None:
    states = {ClipState.ON_DISK: 25, ClipState.NOT_OFFERED: 35}
    assert announced(tmp_path, plan_of(states, not_due=35)) == [
        "60 clips wanted, 25 on disk; nothing to do",
        f"35  not offered before (asked again {WHEN})",
    ]
    assert announced(tmp_path, plan_of(states, not_due=30)) == [
        "60 clips wanted, 25 on disk; 5 to do",
        f"35  not offered before (30 of them are asked again {WHEN})",
    ]


def test_what_the_user_leaves_out_is_said(tmp_path: Path) -> None:
    states = {ClipState.NEVER_TRIED: 1, ClipState.NOT_OFFERED: 35, ClipState.WAS_GONE: 2}
    assert announced(tmp_path, plan_of(states, retry="transient")) == [
        "38 clips wanted, 0 on disk; 1 to do",
        "1  never tried",
        "35  not offered before",
        "2  gone before",
        "37  left out by --retry transient",
    ]


def test_with_both_sources_the_mirror_is_asked_at_once(tmp_path: Path) -> None:
    said = announced(tmp_path, plan_of({ClipState.NOT_OFFERED: 35}, not_due=35, source="both"))
    assert said == [
        "35 clips wanted, 0 on disk; 35 to do",
        f"35  not offered before (asked for at the mirror alone now, at YouTube again {WHEN})",
    ]


@pytest.mark.parametrize("typed", [["--retry", "none"], ["--retry=none"], ["--ret", "none"]])
def test_the_command_to_type_after_retry_none_is_one_that_does_something(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, typed: list[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["download.py", "-v", "700", *typed, "-w", "4"])
    plan = plan_of({ClipState.MAY_WORK: 2, ClipState.ON_DISK: 1}, retry="none")
    text = summary(parse(typed), Layout(tmp_path, "700"), plan, RunCounts(), [])
    assert text.splitlines()[1:] == ["to try 2 clips that may work now: python download.py -v 700 -w 4"]


def test_the_command_to_type_when_youtube_has_no_more_is_the_mirrors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["download.py", "-v", "700"])
    counts, layout = counts_of(None, Category.PRIVATE), Layout(tmp_path, "700")
    plan = plan_of({ClipState.NEVER_TRIED: 2})
    told = {
        name: summary(parse(options), layout, plan, counts, []).splitlines()[-1]
        for name, options in {"youtube": [], "both": ["--source", "both"], "whole": ["--cut", "none"]}.items()
    }
    assert told.pop("youtube") == "the mirror may have the rest: python download.py -v 700 --source both"
    told["HACS"] = summary(parse([]), replace(layout, data_set="HACS"), plan, counts, [])
    assert not [line for line in told.values() if "python" in line], "it was asked, or has no such videos"


def test_a_complete_data_set_names_no_command(tmp_path: Path) -> None:
    text = summary(parse([]), Layout(tmp_path, "700"), plan_of({ClipState.ON_DISK: 2}), RunCounts(), [])
    assert text == "Kinetics700 train: 2 of 2 on disk, 0 of them new"


def told_calls(folder: Path, counts: RunCounts) -> list[str]:
    """The lines of a summary on player calls."""
    plan = plan_of({ClipState.NEVER_TRIED: counts.counts.total()})
    lines = summary(parse([]), Layout(folder, "700"), plan, counts, []).splitlines()
    return [line for line in lines if "call" in line]


def test_a_run_says_what_its_clips_cost_in_player_calls(tmp_path: Path) -> None:
    counts = counts_of(*[None] * 1900, *[Category.PRIVATE] * 100, Category.PAST_END, Category.TIMEOUT, calls=2)
    assert told_calls(tmp_path, counts) == [
        "2.11 player calls a clip: 4,004 calls, 200 of them for videos that are gone"
    ], "of a video that ends before the clip, other clips may come"
    assert told_calls(tmp_path, counts_of(None, Category.REMOVED, calls=1)) == [
        "2.00 player calls a clip: 2 calls, 1 of them for a video that is gone"
    ]
    assert told_calls(tmp_path, counts_of(None, calls=1)) == ["1.00 player calls a clip: 1 call"]


def test_without_a_clip_there_are_no_calls_a_clip(tmp_path: Path) -> None:
    assert told_calls(tmp_path, counts_of(Category.TIMEOUT, calls=1)) == ["1 player call"]


def test_where_no_call_was_made_as_with_the_mirror_nothing_is_said_of_calls(tmp_path: Path) -> None:
    assert told_calls(tmp_path, counts_of(None, None, source="mirror")) == []


TO_COME = Estimate(12e9, 3 * 86_400.0, 400, 0.25, calls=26_000.4, pace="300 an hour as published")


def test_the_forecast_names_the_calls_and_what_their_pace_rests_on() -> None:
    assert forecast(TO_COME, seconds=TO_COME.seconds, share=1.0) == (
        "about 12.0 GB and 3.0 days to come (26,000 player calls, 300 an hour as published), "
        "by the last 400 attempts here"
    )
    one = replace(TO_COME, calls=1.0, pace="")
    assert "(1 player call), by" in forecast(one, seconds=one.seconds, share=1.0)


def test_where_the_mirror_makes_up_the_time_no_player_calls_are_named() -> None:
    assert "call" not in forecast(TO_COME, seconds=3600.0, share=0.9)


@pytest.mark.parametrize("category", Category)
def test_only_what_may_work_later_makes_exit_code_1_and_a_command_to_go_on(tmp_path: Path, category: Category) -> None:
    plan, layout = plan_of({ClipState.NEVER_TRIED: 2}), Layout(tmp_path, "700")
    counts = counts_of(None, category)
    text = summary(parse([]), layout, plan, counts, [Ledger(layout, "train")])
    assert exit_code(plan, counts.counts, None, all_read=True) == (not category.settled)
    assert ("to go on: " in text) == (not category.settled)
    means = "not offered" if category is Category.NOT_OFFERED else "gone" if category.gone else "may work later"
    assert f"         1  {category:14}  {means}\n" in text


def test_nothing_but_clips_that_are_not_due_is_exit_code_0() -> None:
    plan = plan_of({ClipState.NOT_OFFERED: 35}, not_due=35)
    assert exit_code(plan, Counter(), None, all_read=True) == 0


class FakeTime:
    """A clock for the bar: monotonic time that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeTime:
    fake = FakeTime()
    monkeypatch.setattr("kinetics.run.progress.time", fake)
    return fake


class ShownRun:
    """A run of some clips whose progress a bar shows."""

    def __init__(self, bar: tqdm[None], tracker: ProgressTracker | None = None) -> None:
        self.tracker = tracker or ProgressTracker(bar.total)
        self._bar = ProgressBar(bar)

    def take(self, *events: RunEvent) -> None:
        for event in events:
            self.tracker.take(event)
            self._bar.show(self.tracker.progress)


def test_what_a_run_keeps_to_without_having_been_refused_is_told_and_how_to_lift_it() -> None:
    said = explanation(SpacingChanged(12.0, published=True))
    assert said.partition(" ")[2] == (
        "YouTube is said to allow a guest about 300 clips an hour: they go out one by one now, slowly more; "
        "--rate none lifts this"
    )
    assert "300 clips an hour at node7:" in explanation(SpacingChanged(12.0, host="node7", published=True))


def test_a_pause_that_another_run_met_is_told_as_such() -> None:
    said = explanation(Pause(Category.THROTTLED, "Sign in.", 60.0, of_another_run=True))
    assert "YouTube said to another run: Sign in. (rate limit; normal)" in said
    assert said.endswith("then one clip is tried (--rate none asks at once)")


def test_while_clips_are_spread_the_bar_says_so() -> None:
    with make_bar("700 train", 9) as bar:
        run, each = ShownRun(bar), clips()
        run.take(SpacingChanged(12.0, published=True), Outcome(next(each), "done"))
        assert "about 300 an hour" in bar.postfix
        run.take(SpacingChanged(0.0), Outcome(next(each), "done"))
        assert "an hour" not in bar.postfix


@pytest.mark.parametrize(
    ("categories", "shown"),
    [
        ([], "2 done"),
        ([Category.PRIVATE, Category.TIMEOUT], "2 done, 1 gone, 1 failed"),
        ([Category.PRIVATE, *[Category.NOT_OFFERED] * 3], "2 done, 1 gone, 3 not offered"),
    ],
)
def test_the_bar_names_what_there_is(categories: list[Category], shown: str) -> None:
    each = clips()
    with make_bar("700 train", 2 + len(categories)) as bar:
        run = ShownRun(bar)
        for category in (None, None, *categories):
            run.take(Outcome(next(each), "failed" if category else "done", category))
        assert bar.postfix == shown
        assert bar.n == 2 + len(categories)


def test_what_only_the_mirror_was_asked_for_and_lacks_completes_the_bar() -> None:
    """Clips that the mirror lacks count once YouTube was asked, but these it is not asked for."""
    clip = next(clips())
    with make_bar("700 train", 1) as bar:
        run = ShownRun(bar, ProgressTracker(1, RunCounts(not_offered={clip.key}), provisional=True))
        run.take(Outcome(clip, "failed", Category.NOT_FOUND, source="mirror"))
        assert (bar.postfix, bar.n) == ("0 done, 1 not offered", 1)


def test_time_left_and_speed_hold_under_a_pause(clock: FakeTime) -> None:
    """Ten of a hundred clips in ten minutes, then a pause of an hour: ten clips in 70 minutes from then on."""
    each = clips()
    with make_bar("700 train", 100) as bar:
        run = ShownRun(bar)

        def left() -> str:
            run._bar._set_postfix(run.tracker.progress)
            return str(bar.postfix)

        for _ in range(10):
            clock.now += 60
            run.take(Outcome(next(each), "done", bytes_received=60_000_000))
        assert left() == "10 done, 90.0 minutes left, 1.0 MB/s"
        clock.now += 30
        assert left() == "10 done, 89.5 minutes left, 1.0 MB/s", "it counts down between clips"
        run.take(Pause(Category.THROTTLED, "HTTP 429", 3570.0))
        assert left().startswith("59:30 paused by YouTube until ")
        assert left().endswith(" (rate limit; normal)")
        clock.now += 3569
        assert left().startswith("0:01 paused"), "it counts down"
        clock.now += 1
        assert left() == "10 done, 10.5 hours left, 1.0 MB/s", "70 minutes for ten clips, and the speed of before"
        clock.now += 60
        run.take(Outcome(next(each), "done", bytes_received=60_000_000))
        assert left() == "11 done, 9.6 hours left, 1.0 MB/s"


def test_a_pause_of_one_host_among_several_is_no_pause_of_the_bar(clock: FakeTime) -> None:
    with make_bar("700 train", 100) as bar:
        run, each = ShownRun(bar), clips()
        run.take(Outcome(next(each), "done"), Pause(Category.THROTTLED, "HTTP 429", 60.0, host="10.0.0.7"))
        run.take(Outcome(next(each), "done"))
        assert "paused" not in bar.postfix
        assert run.tracker.progress.pause is None


@pytest.mark.parametrize(
    ("pause", "said"),
    [
        (Pause(Category.THROTTLED, "HTTP 429", 5.0), "paused by YouTube until 14:05 (rate limit; normal)"),
        (Pause(Category.NETWORK, "no route", 5.0), "no connection; next try at 14:05"),
        (Pause(Category.MEDIA_ERROR, "HTTP 403", 5.0, alike=25), "paused until 14:05 (clips failed alike)"),
    ],
)
def test_the_bar_says_in_a_few_words_what_everybody_waits_for(pause: Pause, said: str) -> None:
    assert pause_in_short(pause, datetime.now().replace(hour=14, minute=5)) == said


def test_on_a_terminal_lines_are_broken_between_words_and_commands_are_left_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.argv", ["download.py"])
    command = "to go on: python download.py --annotations a/very/long/path/to/a/list/of/clips.csv -o /a/long/folder"
    text = "  " + "word " * 30 + "\n" + command + "\n\nshort"
    *lines, says, typed, empty, last = wrapped(text, 40).splitlines()
    assert [line for line in lines if len(line) > 40] == []
    assert [line[:6] for line in lines] == ["  word", *["      "] * (len(lines) - 1)], "a continued line is indented"
    assert " ".join(lines).split() == ["word"] * 30
    assert (f"{says} {typed.strip()}", empty, last) == (command, "", "short")
    assert wrapped(command, 200) == command
