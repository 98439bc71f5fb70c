"""What YouTube is said to allow is kept from the first call on, over restarts, and by all runs together."""

from __future__ import annotations

import fcntl
import itertools
import json
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from kinetics.records import Category
from kinetics.scheduling.call_budget import BURST, CallBudget
from kinetics.scheduling.call_pace import CallPace
from kinetics.scheduling.events import Pause, SpacingChanged
from kinetics.scheduling.shared_pace import SharedPace, restored
from kinetics.scheduling.throttle import Throttle
from kinetics.storage import atomic
from tests.unit.test_throttle import DAY, HOUR, FakeLimit, done, new_clips, refused, simulate, simulate_together

QUARTER = 900.0
MINUTE = 60.0
PUBLISHED = FakeLimit(300, HOUR, HOUR)


def spent(calls: int, at: float, *, every: float = 0.0) -> CallBudget:
    """A budget of which this many calls went out."""
    budget = CallBudget()
    for number in range(calls):
        budget.spend(1, at + number * every)
    return budget


def paces(gaps: CallBudget, start: float, until: float) -> list[float]:
    """When the calls go out that wait no longer than they have to."""
    now, times = start, list[float]()
    while now < until:
        gaps.spend(1, now)
        times.append(now)
        now += max(0.25, gaps.wait(now, now))
    return times


def fresh(limit: FakeLimit) -> FakeLimit:
    return replace(limit, calls_in_ban=[], counted=deque())


# --- the budget ---


def test_a_burst_goes_out_at_once_and_no_hour_has_more_calls_than_published() -> None:
    times = paces(CallBudget(), 1000.0, 1000.0 + 2 * HOUR)
    assert times[BURST - 1] - times[0] == pytest.approx((BURST - 1) * 0.25)
    assert all(later - earlier >= HOUR for earlier, later in zip(times, times[300:], strict=False))
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert max(gaps) < 75
    assert len(times) >= 0.99 * 600


def test_the_state_stays_small_however_fast_calls_go_out() -> None:
    assert len(spent(100_000, 0.0, every=0.2).calls) <= 362


def test_without_any_limit_the_pace_is_ten_times_the_published_one_within_twelve_hours() -> None:
    times = paces(CallBudget(), 0.0, 8 * HOUR)
    assert sum(at >= 7 * HOUR for at in times) >= 3000
    assert sum(at < 2 * HOUR for at in times) <= 600


def test_after_an_hour_without_calls_there_is_a_burst_again_and_idle_hours_make_nothing_grow() -> None:
    budget = spent(BURST, 0.0)
    assert budget.wait(10.0, 0.0) > 0
    budget.spend(1, 9 * HOUR)
    assert budget.wait(9 * HOUR, 9 * HOUR) == 0.0
    for number in range(BURST):
        budget.spend(1, 9 * HOUR + number)
    assert (budget.per_hour, budget.paced) == (300.0, True)


def test_hours_in_which_few_calls_go_out_make_nothing_grow() -> None:
    budget = spent(BURST, 0.0)
    for minute in range(5 * 60):
        budget.spend(1, HOUR + minute * MINUTE)
    assert budget.per_hour == 300.0


def test_a_hiccup_in_the_burst_hands_nothing_over() -> None:
    pace = CallPace()
    for number in range(100):
        pace.sent(number)
    pace.refused(100.0, 0.0, "try again later")
    pace.sent(115.0)
    assert pace.answered(116.0) is None
    assert not pace.budget.handed_over
    assert pace.wait(116.0) == 0.0


def test_a_call_for_a_second_client_counts_as_well() -> None:
    throttle = Throttle(4)
    throttle.sent(0.0)
    (clip,) = (next(new_clips()),)
    throttle.settle(replace(done(clip), calls=BURST + 1), sent=0.0, now=1.0)
    assert (throttle.wait(1.0, 0, 0) or 0) > 10
    assert [type(one) for one in throttle.news(1.0)] == [SpacingChanged]
    assert not [*throttle.news(2.0)], "told once"


@pytest.mark.parametrize("rate", [None, 36_000.0], ids=["none", "rate"])
def test_a_limit_of_the_users_and_none_at_all_take_the_place_of_the_published_one(rate: float | None) -> None:
    throttle = Throttle(16, rate, pace=None if rate else CallPace(limited=False))
    run = simulate(throttle, new_clips(), lambda wanted, now: done(wanted), until=MINUTE * 5)
    assert len(run.sends) >= 1000
    assert not run.news


# --- simulated days ---


def test_on_the_first_day_nearly_all_that_is_allowed_comes_with_one_ban() -> None:
    limit = fresh(PUBLISHED)
    run = simulate(Throttle(16), new_clips(), limit, until=DAY)
    assert len(run.outcomes) >= 0.95 * 7200
    assert len(limit.calls_in_ban) <= 1


@pytest.mark.parametrize("ban_s", [5.0, 60.0])
def test_short_bans_cost_little_on_the_first_day(ban_s: float) -> None:
    run = simulate(Throttle(16), new_clips(), FakeLimit(300, HOUR, ban_s), until=DAY)
    assert len(run.outcomes) >= 0.97 * 7200


@pytest.mark.soak
@pytest.mark.parametrize("days", [7, 21])
def test_later_days_are_as_good(days: int) -> None:
    run = simulate(Throttle(16), new_clips(), fresh(PUBLISHED), until=days * DAY)
    assert len(run.outcomes) >= 0.94 * 7200 * days


def test_a_restart_every_quarter_of_an_hour_changes_little() -> None:
    limit, clips, came = fresh(PUBLISHED), new_clips(), 0
    pace = CallPace()
    for number in range(int(DAY / QUARTER)):
        begin = number * QUARTER
        run = simulate(Throttle(16, pace=pace), clips, limit, start=begin, until=begin + QUARTER)
        came += len(run.outcomes)
        pace = restored(json.loads(json.dumps(asdict(pace))), begin + QUARTER)
    assert came >= 0.97 * 0.95 * 7200
    assert len(limit.calls_in_ban) <= 1


# --- the file ---


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(atomic, "_sync", lambda path: None)  # a thousand times, for nothing
    return tmp_path / "cache" / "calls.json"


@pytest.mark.parametrize(
    ("seconds", "share"), [(3.5 * HOUR, 0.95), pytest.param(DAY, 0.95, marks=pytest.mark.soak)], ids=["hours", "day"]
)
def test_two_runs_at_once_get_as_much_as_one_with_one_ban(file: Path, seconds: float, share: float) -> None:
    alone = len(simulate(Throttle(16), new_clips(), fresh(PUBLISHED), until=seconds).outcomes)
    limit = fresh(PUBLISHED)
    throttles = [Throttle(8, pace=SharedPace(file, "here")) for _ in range(2)]
    runs = simulate_together(throttles, new_clips(), limit, until=seconds)
    together = [len(run.outcomes) for run in runs]
    assert sum(together) >= share * alone
    assert min(together) > 0.2 * sum(together)
    assert len(limit.calls_in_ban) <= 1
    assert any(isinstance(one, Pause) and one.of_another_run for run in runs for one in run.news)


def test_a_run_that_starts_in_a_pause_says_so_first_and_waits_for_its_end(file: Path) -> None:
    earlier = Throttle(4, pace=SharedPace(file, "here"))
    earlier.sent(0.0)
    earlier._pace.refused(1.0, 600.0, "Sign in.")
    later = Throttle(4, pace=SharedPace(file, "here"))
    (pause,) = later.news(100.0)
    assert isinstance(pause, Pause)
    assert (pause.reason, pause.of_another_run, pause.seconds) == ("Sign in.", True, 501.0)
    assert later.wait(100.0, 0, 0) == 501.0
    assert later.wait(601.5, 0, 0) == 0.0
    lifted = Throttle(4, pace=SharedPace(file, "here", limited=False))
    assert (not [*lifted.news(100.0)], lifted.wait(100.0, 0, 0)) == (True, 0.0)


def test_what_two_runs_are_refused_in_one_ban_is_one_refusal(file: Path) -> None:
    one, other = (Throttle(4, pace=SharedPace(file, "here")) for _ in range(2))
    first, second, third = itertools.islice(new_clips(), 3)
    assert one.settle(refused(first), sent=0.0, now=1.0).pause == Pause(Category.THROTTLED, "", 15.0)
    other.sent(0.0)
    met = other.settle(refused(second), sent=0.0, now=2.0).pause
    assert met and met.seconds == 14.0
    later = Throttle(4, pace=SharedPace(file, "here"))
    assert [*later.news(3.0)]
    assert later.settle(refused(third), sent=0.5, now=4.0).pause is None, "it went out before the pause"


def test_of_two_runs_that_may_send_at_the_same_moment_one_does(file: Path) -> None:
    one, other = SharedPace(file, "here"), SharedPace(file, "here")
    one.spend(BURST, 0.0)
    one.sent(0.0)
    now = one.wait(0.0) + 1.0
    assert other.wait(now) == 0.0
    assert one.wait(now) > 1.0
    assert other.wait(now) == 0.0, "its turn stays its own until it is used"


def test_calls_at_a_rate_of_the_users_are_noted_for_the_next_run(file: Path) -> None:
    lifted = SharedPace(file, "here", limited=False)
    for number in range(BURST):
        lifted.sent(number / 100)
    lifted.close(3.0)
    assert SharedPace(file, "here").wait(3.0) > 10.0
    assert SharedPace(file, "elsewhere").wait(3.0) == 0.0, "each address has calls of its own"


def test_calls_are_written_at_most_once_a_second_and_all_of_them_at_the_end(file: Path) -> None:
    pace, versions = SharedPace(file, "here"), set[int]()
    for number in range(100):
        pace.sent(number / 50)
        versions.add(file.stat().st_mtime_ns)
    assert len(versions) <= 3
    pace.close(2.0)
    (state,) = json.loads(file.read_text())["addresses"].values()
    assert sum(calls for _, calls in state["budget"]["calls"]) == 100


def test_an_address_that_was_not_used_for_two_days_is_forgotten(file: Path) -> None:
    SharedPace(file, "old").sent(0.0)
    SharedPace(file, "new").sent(49 * HOUR)
    assert [*json.loads(file.read_text())["addresses"]] == ["new"]


def damaged(change: Callable[[dict[str, Any]], object]) -> Callable[[str], str]:
    def damage(text: str) -> str:
        found = json.loads(text)
        change(found)
        return json.dumps(found)

    return damage


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "",
        lambda text: "[1, 2]",
        lambda text: "\0" * 100,
        lambda text: "[" * 100_000,
        damaged(lambda found: found.update(format=99)),
        damaged(lambda found: found.update(addresses=[])),
        damaged(lambda found: found["addresses"]["here"].pop("bans")),
        damaged(lambda found: found["addresses"]["here"]["budget"].update(per_hour=0)),
        damaged(lambda found: found["addresses"]["here"]["budget"].update(calls="many")),
        damaged(lambda found: found["addresses"]["here"]["budget"].update(calls=[[0, -5]])),
        damaged(lambda found: found["addresses"]["here"]["spacing"].update(seconds=float("inf"))),
        damaged(lambda found: found["addresses"]["here"]["spacing"].update(seconds=1e9)),
    ],
)
def test_a_damaged_file_counts_as_none_and_is_replaced(file: Path, damage: Callable[[str], str]) -> None:
    first = SharedPace(file, "here")
    first.spend(BURST, 0.0)
    first.sent(0.0)
    file.write_text(damage(file.read_text()))
    pace = SharedPace(file, "here")
    assert pace.wait(1.0) == 0.0 or pace.wait(1.0) < HOUR
    pace.sent(2.0)
    assert json.loads(file.read_text())["addresses"]["here"]


def test_a_run_that_reads_a_damaged_file_goes_on_with_what_it_knows(file: Path) -> None:
    pace = SharedPace(file, "here")
    pace.spend(BURST, 0.0)
    pace.sent(0.0)
    file.write_text("{")
    assert pace.wait(1.0) > 10.0


def test_what_is_in_the_future_is_dropped(file: Path) -> None:
    pace = SharedPace(file, "here")
    pace.spend(BURST, DAY)
    pace.sent(DAY)
    pace.refused(DAY, 600.0, "Sign in.")
    assert SharedPace(file, "here").wait(0.0) == 0.0


def test_a_file_that_cannot_be_written_costs_nothing_but_the_memory(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where a folder should be")
    pace = SharedPace(tmp_path / "cache" / "calls.json", "here")
    for number in range(BURST):
        pace.sent(number / 10)
    assert pace.wait(BURST / 10) > 10.0


def test_a_file_system_without_locks_is_done_without(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(*args: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    SharedPace(file, "here").sent(0.0)
    assert json.loads(file.read_text())["addresses"]["here"]["last_call_at"] == 0.0


def test_a_run_that_is_killed_while_it_writes_leaves_the_last_state(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pace = SharedPace(file, "here")
    pace.sent(0.0)
    before = file.read_text()

    def killed(*args: object) -> None:
        raise SystemExit

    monkeypatch.setattr(atomic, "move", killed)
    with pytest.raises(SystemExit):
        pace.sent(5.0)
    assert file.read_text() == before
