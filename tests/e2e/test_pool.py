"""The pool, with real processes that really die. The jobs below are imported by the workers."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from multiprocessing import forkserver
from pathlib import Path
from typing import NoReturn

import pytest

from kinetics.errors import Fatal
from kinetics.records import ArchiveProgress, ArchiveRequest, ArchiveResult, Category, Clip, Outcome, Result
from kinetics.scheduling import awake_clock, pool, throttle, worker
from kinetics.scheduling.call_pace import CallPace
from kinetics.scheduling.dispatch import TICK_S, Event
from kinetics.scheduling.events import GaveUp
from kinetics.scheduling.pool import run
from kinetics.scheduling.throttle import MAX_PLAYER_CALLS, Decision, Throttle
from kinetics.scheduling.undecided import ALIKE_LIMIT
from kinetics.scheduling.worker import Job, Notify, Watchdog, Worker
from tests.support.commands import ROOT
from tests.support.sandbox import wait_until
from tests.support.sweeps import first_of

Report = Event
Program = Callable[..., subprocess.Popen[str]]
IMPORTED_BY = os.getpid()


def clip(number: int) -> Clip:
    return Clip(f"{number:011d}", 0.0, 10.0, "juggling balls", "train")


def clips(number: int) -> list[Clip]:
    return [clip(n) for n in range(number)]


def number_of(wanted: Clip) -> int:
    return int(wanted.youtube_id)


class Hurried(Throttle):
    """The throttle on a clock that runs a hundred times as fast: 10 s are 0.1 s."""

    def wait(self, now: float, out: int, in_player_call: int) -> float | None:
        wait = super().wait(now * 100, out, in_player_call)
        return wait and wait / 100

    def sent(self, now: float) -> None:
        super().sent(now * 100)

    def answered(self, *, sent: float, now: float) -> Decision:
        return super().answered(sent=sent * 100, now=now * 100)

    def settle(
        self, outcome: Result, *, sent: float, now: float, answered: bool = False, last: bool = False
    ) -> Decision:
        return super().settle(outcome, sent=sent * 100, now=now * 100, answered=answered, last=last)


def go(
    job: Job, wanted: Iterable[Clip], *, workers: int = 4, timeout_s: float = 60.0, throttle: Throttle | None = None
) -> Generator[Report, None, None]:
    return run(
        job,
        wanted,
        workers=workers,
        timeout_s=timeout_s,
        throttle=throttle or Hurried(workers, pace=CallPace(limited=False)),
    )


def outcomes(reports: Iterable[Report]) -> list[Outcome]:
    return [report for report in reports if isinstance(report, Outcome)]


def final(reports: Iterable[Report]) -> dict[int, Outcome]:
    """The last word on each clip; no clip may have two."""
    settled = [outcome for outcome in outcomes(reports) if outcome.status != "postponed"]
    verdicts = {number_of(outcome.clip): outcome for outcome in settled}
    assert len(verdicts) == len(settled)
    return verdicts


def until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.01)


def alive(pid: int) -> bool:
    """A zombie is not alive, but nor is it gone: the fork server has to reap it."""
    return Path(f"/proc/{pid}").exists()


def stat(pid: int) -> list[str]:
    """State, parent, group, session ... of a process; X for dead if there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ["X"] * 4


def running(pid: int) -> bool:
    return stat(pid)[0] not in "ZX"


def session(leader: int) -> list[int]:
    """The running processes of a session."""
    pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    return [pid for pid in pids if running(pid) and stat(pid)[3] == str(leader)]


# --- jobs ---


@dataclass(frozen=True)
class Each:
    """A job of one function; the outcome's `host` tells which process did it."""

    modules = (__name__,)
    function: Callable[[Clip, Callable[[], None]], Outcome | None]

    def open(self) -> Worker:
        def work(wanted: Clip, answered: Callable[[], None]) -> Outcome:
            return replace(self.function(wanted, answered) or Outcome(wanted, "done"), host=str(os.getpid()))

        return work


@dataclass(frozen=True)
class Meeting:
    """A job whose clips end once four workers have had one; each worker leaves a file in the folder."""

    folder: Path
    modules = (__name__,)

    def open(self) -> Worker:
        def work(wanted: Clip, answered: Callable[[], None]) -> Outcome:
            (self.folder / str(os.getpid())).touch()
            answered()
            wait_until(lambda: len([*self.folder.iterdir()]) == 4, "four workers that have a clip")
            return Outcome(wanted, "done", host=str(os.getpid()))

        return work


def nothing(wanted: Clip, answered: Callable[[], None]) -> None:
    pass


def a_moment(wanted: Clip, answered: Callable[[], None]) -> None:
    time.sleep(0.01)
    answered()
    time.sleep(0.02)


def an_instant(wanted: Clip, answered: Callable[[], None]) -> None:
    time.sleep(0.002)
    answered()
    time.sleep(0.004)


def a_while(wanted: Clip, answered: Callable[[], None]) -> None:
    answered()
    time.sleep(1.1)


def killed_now_and_then(wanted: Clip, answered: Callable[[], None]) -> None:
    answered()
    if number_of(wanted) % 10 == 7:
        os.kill(os.getpid(), signal.SIGKILL)


def exits_with_3(wanted: Clip, answered: Callable[[], None]) -> None:
    if number_of(wanted) == 3:
        os._exit(3)


def stuck_at_3(wanted: Clip, answered: Callable[[], None]) -> None:
    if number_of(wanted) == 3:
        time.sleep(3600)


def stuck_from_3(wanted: Clip, answered: Callable[[], None]) -> None:
    answered()
    if number_of(wanted) >= 3:
        time.sleep(3600)


class ForeignError(Exception):
    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")

    def __reduce__(self) -> NoReturn:
        raise TypeError("does not pickle")


def foreign_error_at_3(wanted: Clip, answered: Callable[[], None]) -> None:
    if number_of(wanted) == 3:
        raise ForeignError(1, 2)


def disk_full_at_3(wanted: Clip, answered: Callable[[], None]) -> None:
    if number_of(wanted) == 3:
        raise Fatal("The disk is full: make room, then run again.")


def refused_at_3(wanted: Clip, answered: Callable[[], None]) -> Outcome | None:
    return Outcome(wanted, "postponed", Category.THROTTLED, "Sign in.") if number_of(wanted) == 3 else None


def not_understood_after_5(wanted: Clip, answered: Callable[[], None]) -> Outcome | None:
    if number_of(wanted) <= 5:
        answered()
        time.sleep(0.5 if number_of(wanted) == 5 else 0.0)
        return None
    return Outcome(wanted, "failed", Category.ENGINE_ERROR, "No video formats found!")


def imported_here(wanted: Clip, answered: Callable[[], None]) -> Outcome:
    return Outcome(wanted, "done", reason=str(os.getpid() == IMPORTED_BY))


def the_parent(wanted: Clip, answered: Callable[[], None]) -> Outcome:
    return Outcome(wanted, "done", reason=f"{os.getppid()} {IMPORTED_BY}")


def the_proxy(wanted: Clip, answered: Callable[[], None]) -> Outcome:
    return Outcome(wanted, "done", reason=os.environ.get("HTTPS_PROXY", "none"))


@dataclass(frozen=True)
class InParts:
    """A job that takes archives of clips: each has as many as it has names; one whose URL is `stuck` hangs then."""

    modules = (__name__,)

    def open(self) -> Worker:
        def work(need: ArchiveRequest, notify: Notify) -> ArchiveResult:
            notify()
            for place, name in enumerate(sorted(need.names)):
                time.sleep(0.3)
                notify(ArchiveProgress(need.url, place, len(need.names), name))
                notify(Outcome(clip(int(name)), "done"))
            if need.url == "stuck":
                time.sleep(3600)
            return ArchiveResult(need, "done")

        return work


@dataclass(frozen=True)
class Opening:
    """A job whose workers fail at their start: each leaves a line in `log` and then does as `how` says."""

    modules = (__name__,)
    log: Path
    how: Callable[[], None]

    def open(self) -> Worker:
        with self.log.open("a") as file:
            file.write("opened\n")
        self.how()
        return lambda wanted, answered: Outcome(wanted, "done")


def slowly() -> None:
    time.sleep(TICK_S + 0.2)


def raises() -> None:
    raise ValueError("no engine here")


def raises_fatal() -> None:
    raise Fatal("No engine is installed: pip install pytubefix")


def dies() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True)
class Door:
    """A job that logs when each call began, was answered or refused, and ended; it refuses those in `refuse`."""

    modules = (__name__,)
    log: Path
    refuse: range

    def open(self) -> Worker:
        return self.work

    def work(self, wanted: Clip, answered: Callable[[], None]) -> Outcome:
        call = self.note("begin", wanted)
        time.sleep(0.01)
        if call in self.refuse:
            self.note("refusal", wanted)
            return Outcome(wanted, "postponed", Category.THROTTLED, "Try again later.")
        self.note("answer", wanted)
        answered()
        time.sleep(0.03)
        self.note("end", wanted)
        return Outcome(wanted, "done")

    def note(self, what: str, wanted: Clip) -> int:
        """Log a line; return how many lines of its kind were there before."""
        with self.log.open("a+") as file:
            os.lockf(file.fileno(), os.F_LOCK, 0)
            file.seek(0)
            before = sum(line.startswith(what) for line in file)
            file.write(f"{what} {time.monotonic()} {number_of(wanted)}\n")
            file.flush()
            return before

    def events(self) -> list[tuple[str, float, int]]:
        lines = (line.split() for line in self.log.read_text().splitlines())
        return [(what, float(when), int(number)) for what, when, number in lines]


# --- all clips, once ---


def test_every_clip_comes_out_once_and_all_workers_have_work(tmp_path: Path) -> None:
    done = final(go(Meeting(tmp_path), clips(60)))
    assert {outcome.status for outcome in done.values()} == {"done"}
    assert set(done) == set(range(60))
    assert len({outcome.host for outcome in done.values()}) == 4


def test_nothing_to_do_starts_nothing() -> None:
    assert list(go(Each(nothing), [])) == []
    assert not multiprocessing.active_children()


def test_one_clip_starts_one_worker_however_long_that_takes(tmp_path: Path) -> None:
    for _ in go(Opening(tmp_path / "log", slowly), clips(1), workers=16):
        assert len(multiprocessing.active_children()) <= 1


def test_clips_are_read_as_they_go_out_so_the_list_may_be_endless() -> None:
    read = 0

    def endless() -> Iterator[Clip]:
        nonlocal read
        while True:
            read += 1
            yield clip(read)

    with closing(go(Each(nothing), endless(), workers=4)) as reports:
        for settled, _ in enumerate(itertools.islice(filter(None, reports), 2000)):
            assert read - settled <= 4 + 1


def test_while_nothing_comes_there_is_a_tick() -> None:
    reports = list(go(Each(a_while), clips(1)))
    assert reports.count(None) >= 2
    assert len(outcomes(reports)) == 1


def test_there_is_a_tick_too_while_the_rate_holds_the_next_clip_back() -> None:
    reports = list(go(Each(nothing), clips(2), workers=1, throttle=Throttle(1, per_hour=3600)))
    first, second = (number for number, report in enumerate(reports) if report)
    assert second - first > 2


# --- workers that die ---


def test_a_killed_worker_costs_exactly_the_clip_in_its_hand() -> None:
    verdicts = final(go(Each(killed_now_and_then), clips(200)))
    lost = {number for number, outcome in verdicts.items() if outcome.status == "failed"}
    assert lost == set(range(7, 200, 10))
    assert set(verdicts) == set(range(200))
    reasons = Counter((verdicts[number].category, verdicts[number].reason) for number in lost)
    reason = "the worker process was killed (signal 9) while it worked on this clip"
    assert reasons == {(Category.LOST_WORKER, reason): len(lost)}


@pytest.mark.parametrize("most", first_of([15, 60]))
def test_workers_killed_at_random_cost_no_more_than_a_clip_a_try_each(most: int) -> None:
    kills = handed_out = 0
    chance = random.Random(7)

    ended = threading.Event()

    def killer() -> None:
        nonlocal kills
        while kills < most and not ended.is_set():
            before = handed_out
            time.sleep(chance.uniform(0.0, 0.07))
            while handed_out == before and not ended.is_set():  # a worker that was ready came between
                time.sleep(0.01)
            # not the last ones: where starts are slow, none would ever get ready, and the run would say so and stop
            if len(workers := multiprocessing.active_children()) >= 3:
                with suppress(ProcessLookupError, ValueError):  # the pool has just found it dead
                    os.kill(chance.choice(workers).pid or 0, signal.SIGKILL)
                    kills += 1

    def numbers() -> Iterator[int]:
        nonlocal handed_out
        for number in itertools.takewhile(lambda number: number < 25 * most or kills < most, itertools.count()):
            handed_out += 1
            yield number

    thread = threading.Thread(target=killer, daemon=True)
    thread.start()
    try:
        verdicts = final(go(Each(an_instant), map(clip, numbers())))
    finally:
        ended.set()
        thread.join()
    lost = [outcome for outcome in verdicts.values() if outcome.status == "failed"]
    assert len(verdicts) >= 25 * most
    assert set(verdicts) == set(range(len(verdicts)))
    assert 0 < len(lost) <= kills
    assert {outcome.category for outcome in lost} == {Category.LOST_WORKER}


def test_workers_have_the_environment_of_their_run_and_not_that_of_the_first_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Several runs in one process share a fork server, and each may have another proxy, or none."""
    seen = list[str]()
    for proxy in ("http://one:3128", ""):
        monkeypatch.setenv("HTTPS_PROXY", proxy) if proxy else monkeypatch.delenv("HTTPS_PROXY")
        seen += [one.reason for one in outcomes(go(Each(the_proxy), clips(1)))]
    assert seen == ["http://one:3128", "none"]


def test_the_exit_code_of_a_lost_worker_is_told() -> None:
    verdicts = final(go(Each(exits_with_3), clips(6)))
    assert verdicts[3].reason == "the worker process ended (exit code 3) while it worked on this clip"
    assert sum(outcome.status == "done" for outcome in verdicts.values()) == 5


def test_a_worker_that_dies_while_idle_costs_nothing() -> None:
    hosts = []
    for report in go(Each(nothing), clips(12), workers=1):
        if isinstance(report, Outcome):
            assert report.status == "done"
            hosts.append(int(report.host))
            os.kill(hosts[-1], signal.SIGKILL)
            until(lambda: not alive(hosts[-1]))
    assert len(set(hosts)) == 12


def test_a_stuck_worker_is_stopped_at_its_deadline_and_its_clip_timed_out() -> None:
    pids = set()
    verdicts = {}
    for report in go(Each(stuck_at_3), clips(8), workers=2, timeout_s=0.7):
        pids |= {process.pid for process in multiprocessing.active_children()}
        if isinstance(report, Outcome):
            verdicts[number_of(report.clip)] = report
    assert verdicts[3].category is Category.TIMEOUT
    assert verdicts[3].reason == "not finished after 0.7 s; the worker process was stopped"
    assert sum(outcome.status == "done" for outcome in verdicts.values()) == 7
    assert not any(alive(pid) for pid in pids if pid)


def with_a_watchdog(work: Callable[[Watchdog], None], meanwhile: Callable[[int], None] = lambda pid: None) -> int:
    """Do something in a process of its own, with a watchdog of a second; return its exit code."""
    if not (child := os.fork()):
        signal.signal(signal.SIGALRM, signal.SIG_DFL)  # which belongs to pytest-timeout
        worker.WATCH_EVERY_S, awake_clock.MOST_BETWEEN_READINGS_S = 0.02, 0.1
        work(Watchdog(1.0))
        os._exit(0)
    meanwhile(child)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def one_item(watchdog: Watchdog) -> None:
    watchdog.begin()
    time.sleep(30.0)


def parts_and_a_long_rest(watchdog: Watchdog) -> None:
    for _ in range(4):
        watchdog.begin()
        time.sleep(0.4)
    watchdog.end()
    time.sleep(1.3)


def most_of_its_time(watchdog: Watchdog) -> None:
    watchdog.begin()
    time.sleep(0.5)


def stopped_for_a_while(process: int) -> None:
    time.sleep(0.1)
    os.kill(process, signal.SIGSTOP)
    time.sleep(1.5)
    os.kill(process, signal.SIGCONT)


def test_an_orphan_ends_itself_once_its_item_has_taken_its_time_and_no_pause_or_sleep_counts() -> None:
    assert with_a_watchdog(one_item) == -signal.SIGALRM
    assert with_a_watchdog(parts_and_a_long_rest) == 0
    assert with_a_watchdog(most_of_its_time, stopped_for_a_while) == 0


def test_an_exception_that_cannot_be_pickled_costs_its_clip_alone() -> None:
    verdicts = final(go(Each(foreign_error_at_3), clips(8)))
    assert verdicts[3].category is Category.LOST_WORKER
    assert "ForeignError: 1 and 2" in verdicts[3].reason
    assert sum(outcome.status == "done" for outcome in verdicts.values()) == 7


def test_a_killed_fork_server_disturbs_nobody() -> None:
    server = forkserver._forkserver
    verdicts = {}
    killed = 0
    for report in go(Each(a_moment), clips(100)):
        if isinstance(report, Outcome):
            verdicts[number_of(report.clip)] = report
            if len(verdicts) in (30, 70) and server._forkserver_pid:  # type: ignore[attr-defined]
                os.kill(server._forkserver_pid, signal.SIGKILL)  # type: ignore[attr-defined]
                killed += 1
                os.kill(int(report.host), signal.SIGKILL)  # so that the next one has to be started by a new server
    assert killed == 2
    assert set(verdicts) == set(range(100))
    assert sum(outcome.status == "failed" for outcome in verdicts.values()) <= 2
    assert not multiprocessing.active_children()


def test_a_stuck_worker_is_stopped_even_when_the_fork_server_is_gone() -> None:
    pids = set()
    for report in go(Each(stuck_at_3), clips(12), workers=3, timeout_s=0.7):
        pids |= {process.pid for process in multiprocessing.active_children()}
        if isinstance(report, Outcome) and number_of(report.clip) == 2:
            os.kill(forkserver._forkserver._forkserver_pid, signal.SIGKILL)  # type: ignore[attr-defined]
    until(lambda: not any(running(pid) for pid in pids if pid))


# --- workers that do not start ---


def test_a_part_that_is_done_gives_the_rest_of_an_item_all_the_time_again() -> None:
    need = ArchiveRequest("url", frozenset(map(str, range(5))))
    events = [event for event in run(InParts(), [need], workers=1, timeout_s=1.0, throttle=Hurried(1)) if event]
    assert [type(event) for event in events] == [ArchiveProgress, Outcome] * 5 + [ArchiveResult], "in their order"
    (harvest,) = (event for event in events if isinstance(event, ArchiveResult))
    assert (harvest.request, harvest.status) == (need, "done")


def test_an_item_that_hangs_between_two_parts_costs_itself_one_try_and_not_what_it_brought() -> None:
    need = ArchiveRequest("stuck", frozenset("12"))
    events = [event for event in run(InParts(), [need], workers=1, timeout_s=1.0, throttle=Hurried(1)) if event]
    assert [number_of(event.clip) for event in events if isinstance(event, Outcome)] == [1, 2]
    assert isinstance(events[-1], ArchiveResult)
    assert (events[-1].request, events[-1].status, events[-1].category) == (need, "failed", Category.TIMEOUT)


@pytest.mark.parametrize(
    ("how", "said", "tries"),
    [
        (raises, "ValueError: no engine here", pool.FAILED_START_LIMIT),
        (dies, r"was killed \(signal 9\) before it was ready", pool.FAILED_START_LIMIT),
        (raises_fatal, "^No engine is installed: pip install pytubefix$", 1),
    ],
)
def test_workers_that_cannot_start_end_the_run_and_not_the_list(
    tmp_path: Path, how: Callable[[], None], said: str, tries: int
) -> None:
    log = tmp_path / "log"
    read = iter(clips(100))
    with pytest.raises(Fatal, match=said):
        assert not outcomes(go(Opening(log, how), read))
    assert len(log.read_text().splitlines()) == tries
    assert len(list(read)) >= 98


def test_what_no_clip_can_get_past_ends_the_run_with_the_workers_words() -> None:
    reports = []
    with pytest.raises(Fatal, match=r"^The disk is full: make room, then run again\.$"):
        for report in go(Each(disk_full_at_3), clips(1000)):
            reports.append(report)
    assert all(outcome.status == "done" for outcome in outcomes(reports))
    assert not multiprocessing.active_children()


# --- the throttle, as the workers see it ---


def test_no_more_than_two_ask_at_once_while_all_workers_work(tmp_path: Path) -> None:
    door = Door(tmp_path / "log", refuse=range(0))
    final(go(door, clips(100), workers=8))
    in_player_call, working, most_asking, most_working = 0, 0, 0, 0
    for what, _, _ in door.events():
        in_player_call += {"begin": 1, "answer": -1}.get(what, 0)
        working += {"begin": 1, "end": -1}.get(what, 0)
        most_asking, most_working = max(most_asking, in_player_call), max(most_working, working)
    assert most_asking <= MAX_PLAYER_CALLS
    assert most_working > MAX_PLAYER_CALLS


def test_postponed_clips_come_again_and_all_arrive(tmp_path: Path) -> None:
    door = Door(tmp_path / "log", refuse=range(10, 12))
    reports = list(go(door, clips(30), workers=8))
    assert {outcome.status for outcome in final(reports).values()} == {"done"}
    assert set(final(reports)) == set(range(30))
    assert sum(outcome.status == "postponed" for outcome in outcomes(reports)) == 2


def test_after_a_refusal_nobody_goes_out_until_the_pause_is_over_and_then_one_alone(tmp_path: Path) -> None:
    events: list[tuple[str, float]] = []

    class Watched(Hurried):
        def sent(self, now: float) -> None:
            events.append(("sent", now))
            super().sent(now)

        def answered(self, *, sent: float, now: float) -> Decision:
            events.append((f"back {sent}", now))
            return super().answered(sent=sent, now=now)

        def settle(
            self, outcome: Result, *, sent: float, now: float, answered: bool = False, last: bool = False
        ) -> Decision:
            settled = super().settle(outcome, sent=sent, now=now, answered=answered, last=last)
            events.append((f"back {sent}", now))
            if settled.pause:
                events.append(("pause", now + settled.pause.seconds / 100))
            return settled

    door = Door(tmp_path / "log", refuse=range(10, 12))
    final(go(door, clips(30), workers=8, throttle=Watched(8)))
    names = [name for name, _ in events]
    assert names.count("sent") == sum(what == "begin" for what, _, _ in door.events())
    pauses = [number for number, name in enumerate(names) if name == "pause"]
    assert pauses
    for number in pauses:
        probe = names.index("sent", number)
        sent = events[probe][1]
        assert sent >= events[number][1]
        assert "sent" not in names[probe + 1 : names.index(f"back {sent}")]


def test_a_new_clip_is_the_one_to_ask_after_a_pause_and_the_refused_one_follows_before_the_rest(
    tmp_path: Path,
) -> None:
    door = Door(tmp_path / "log", refuse=range(5, 6))
    final(go(door, clips(12), workers=1))
    order = [number for what, _, number in door.events() if what == "begin"]
    assert order[:12] == [0, 1, 2, 3, 4, 5, 6, 7, 8, 5, 9, 10]


def test_a_clip_that_alone_is_refused_comes_out_as_failed() -> None:
    verdicts = final(go(Each(refused_at_3), clips(30), workers=1))
    assert replace(verdicts.pop(3), host="") == Outcome(clip(3), "failed", Category.THROTTLED, "Sign in.")
    assert {outcome.status for outcome in verdicts.values()} == {"done"}


def test_clips_that_all_fail_alike_go_back_to_the_queue_and_end_the_run_if_that_does_not_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(throttle, "CAUSE_PAUSES_S", (10.0,))
    monkeypatch.setattr(throttle, "CAUSE_GIVE_UP_S", 30.0)
    reports = list(go(Each(not_understood_after_5), clips(1000)))
    assert reports[-1] == GaveUp(Category.ENGINE_ERROR, "No video formats found!", alike=1)
    assert {number for number, outcome in final(reports).items() if outcome.status == "failed"} == set()
    assert len(final(reports)) <= 5 + ALIKE_LIMIT + 4
    assert final(reports)[5].status == "done"


# --- nothing left behind ---


def test_closing_early_leaves_no_worker_and_no_open_file() -> None:
    final(go(Each(nothing), clips(1)))  # the fork server's own files are there to stay
    files = sorted(os.listdir("/proc/self/fd"))
    for _ in range(3):
        reports = go(Each(a_moment), itertools.cycle(clips(10)))
        for _ in itertools.islice(filter(None, reports), 30):
            pids = [process.pid for process in multiprocessing.active_children()]
        reports.close()
        assert pids
        assert not any(alive(pid) for pid in pids if pid)
        assert sorted(os.listdir("/proc/self/fd")) == files


def test_closing_ends_all_workers_at_once_in_the_midst_of_what_they_do() -> None:
    reports = go(Each(stuck_from_3), clips(20))
    assert set(final(itertools.islice(filter(None, reports), 3))) == {0, 1, 2}
    until(lambda: next(reports) is None and len(multiprocessing.active_children()) == 4)
    pids = [process.pid for process in multiprocessing.active_children()]
    began = time.monotonic()
    reports.close()
    assert time.monotonic() - began < 2 * pool.JOIN_TIMEOUT_S  # one after the other, three would take 3 JOIN_TIMEOUT_S
    assert not any(alive(pid) for pid in pids if pid)


def test_lost_workers_leave_no_open_file_and_no_zombie() -> None:
    final(go(Each(nothing), clips(1)))
    files = sorted(os.listdir("/proc/self/fd"))
    pids = set()
    for _ in go(Each(killed_now_and_then), clips(100)):
        pids |= {process.pid for process in multiprocessing.active_children()}
    assert len(pids) > 10
    assert not any(alive(pid) for pid in pids if pid)
    assert sorted(os.listdir("/proc/self/fd")) == files


def test_an_error_in_the_callers_own_list_leaves_no_worker() -> None:
    def list_with_a_hole() -> Iterator[Clip]:
        yield from clips(20)
        raise OSError("the list is gone")

    with pytest.raises(OSError, match="the list is gone"):
        list(go(Each(a_moment), list_with_a_hole()))
    assert not multiprocessing.active_children()


# --- whole programs ---

PROGRAM = """
import sys
sys.path.insert(0, {root!r})
from kinetics.scheduling import processes
from tests.e2e.test_pool import *
if __name__ != "__main__":
    open({log!r}, "a").write("run again")
else:
    try:
        print("imported", flush=True)
        for report in go(Each({job}), map(clip, range({number}))):
            if isinstance(report, Outcome) and report.status == "done":
                print(report.host, report.reason, flush=True)
                {then}
    except KeyboardInterrupt:
        sys.exit(130)
"""


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    """Start a program that runs a pool, from another folder and in a session of its own."""
    started = []

    def start(job: str = "a_moment", number: int = 10**9, then: str = "") -> subprocess.Popen[str]:
        script = tmp_path / "program.py"
        script.write_text(PROGRAM.format(root=str(ROOT), log=str(tmp_path / "log"), job=job, number=number, then=then))
        process = subprocess.Popen(
            [sys.executable, str(script)],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        for pid in session(process.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.communicate()


@pytest.mark.parametrize("after_s", first_of([0.05, 0.5, 0.0, 0.15], 2))
def test_ctrl_c_at_any_moment_ends_all_and_prints_nothing(program: Program, after_s: float) -> None:
    process = program()
    assert process.stdout
    process.stdout.readline()
    time.sleep(after_s)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert (process.returncode, errors) == (130, "")
    until(lambda: not session(process.pid))


WARMED = """
import sys, time
sys.path.insert(0, {root!r})
from kinetics.scheduling import processes
from tests.e2e.test_pool import *
if __name__ == "__main__":
    try:
        processes.warm_up(Each(imported_here).modules)
        print(forkserver._forkserver._forkserver_pid, flush=True)
        {then}
    except KeyboardInterrupt:
        sys.exit(130)
"""


@pytest.fixture
def warmed(tmp_path: Path) -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    """Start a program that warms up, says the fork server's id, and then does something else."""
    started = []

    def start(then: str) -> subprocess.Popen[str]:
        script = tmp_path / "warmed.py"
        script.write_text(WARMED.format(root=str(ROOT), then=then))
        pipe = subprocess.PIPE
        command = [sys.executable, str(script)]
        started.append(subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, start_new_session=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_workers_come_from_what_was_warmed_up_before(warmed: Callable[[str], subprocess.Popen[str]]) -> None:
    process = warmed("print(*(one.reason for one in outcomes(go(Each(the_parent), clips(1)))))")
    printed, errors = process.communicate(timeout=60)
    server, parent, importer = printed.split()
    assert (process.returncode, errors) == (0, "")
    assert server == parent == importer


@pytest.mark.parametrize("then", first_of(["raise KeyboardInterrupt", "pass", "time.sleep(0.5)", "os._exit(2)"], 2))
def test_warming_up_without_a_run_leaves_nothing_behind(
    warmed: Callable[[str], subprocess.Popen[str]], then: str
) -> None:
    process = warmed(then)
    _, errors = process.communicate(timeout=60)
    assert errors == ""
    until(lambda: not session(process.pid))


def test_idle_workers_end_with_their_parent(program: Program) -> None:
    process = program(then="time.sleep(3600)")
    assert process.stdout
    process.stdout.readline()
    assert int(process.stdout.readline()) in session(process.pid)
    process.kill()
    _, errors = process.communicate(timeout=20)
    assert errors == ""
    until(lambda: not session(process.pid))


def test_killed_helpers_of_multiprocessing_print_nothing(program: Program) -> None:
    kill = (
        "import multiprocessing.resource_tracker as tracker;"
        "os.kill(forkserver._forkserver._forkserver_pid, 9); os.kill(tracker._resource_tracker._pid, 9);"
        "os.kill(int(report.host), 9)"
    )
    process = program(number=6, then=kill)
    printed, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")
    assert len(printed.splitlines()) > 3


def test_workers_do_not_run_the_script_again_and_find_everything_imported(program: Program, tmp_path: Path) -> None:
    process = program(job="imported_here", number=8)
    printed, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")
    assert [line.split()[1] for line in printed.splitlines()[1:]] == ["False"] * 8
    assert not (tmp_path / "log").exists()
