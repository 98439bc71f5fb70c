"""Faults of the machine: a run ends in one line with exit code 2, or goes on as if there were none; no clip fails."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from kinetics.errors import Fatal
from kinetics.records import Category, Clip, Outcome
from kinetics.scheduling.dispatch import Event
from kinetics.scheduling.events import Notice
from kinetics.scheduling.pool import run
from kinetics.scheduling.throttle import Unthrottled
from kinetics.scheduling.worker import Worker
from tests.support.sandbox import Sandbox, assert_stopped, many_rows
from tests.support.sweeps import first_of

COPY = ("--cut", "keyframe", "-w", "2")
"""What costs the processor least."""


@dataclass(frozen=True)
class ShortOfMemory:
    """A job in a folder where every worker at an item has a file; where there are more than `room`, it is killed."""

    folder: Path
    room: int
    modules = (__name__,)

    def open(self) -> Worker:
        def work(clip: Clip, answered: Callable[[], None]) -> Outcome:
            at_work = self.folder / str(os.getpid())
            at_work.touch()
            answered()
            time.sleep(0.02)
            for process in self.folder.iterdir():
                if not Path(f"/proc/{process.name}").exists():
                    process.unlink(missing_ok=True)
            if len([*self.folder.iterdir()]) > self.room:
                os.kill(os.getpid(), signal.SIGKILL)
            at_work.unlink(missing_ok=True)
            return Outcome(clip, "done")

        return work


def results(job: ShortOfMemory, count: int, workers: int, seen: list[Event]) -> Iterator[Outcome]:
    wanted = (Clip(f"{number:011d}", 0.0, 1.0, "a", "val") for number in range(count))
    for event in run(job, wanted, workers=workers, timeout_s=60.0, throttle=Unthrottled(workers)):
        seen.append(event)
        if isinstance(event, Outcome):
            yield event


@pytest.mark.parametrize("workers", first_of([6, 1]))
def test_promise_5_where_every_worker_is_killed_the_run_ends_after_few_clips(tmp_path: Path, workers: int) -> None:
    lost, seen = list[Outcome](), list[Event]()
    with pytest.raises(Fatal, match="5 worker processes in a row were killed at work, the last ones alone"):
        lost.extend(results(ShortOfMemory(tmp_path, 0), 200, workers, seen))
    outcomes = [event for event in seen if isinstance(event, Outcome)]
    assert {outcome.category for outcome in outcomes} == {Category.LOST_WORKER}
    assert len(outcomes) <= 25
    assert bool([event for event in seen if isinstance(event, Notice)]) is (workers > 1)


@pytest.mark.soak
def test_promise_5_a_run_whose_workers_are_all_killed_ends_in_one_line(tmp_path: Path) -> None:
    sandbox = Sandbox(tmp_path, many_rows(40))
    sandbox.world.latency_s = 60.0
    killer = tmp_path / "killer"
    killer.mkdir()
    (killer / "sitecustomize.py").write_text(
        "import os, threading\n"
        "os.register_at_fork(after_in_child=lambda: threading.Timer(0.5, os.kill, (os.getpid(), 9)).start())\n"
    )
    run = sandbox.run(*COPY, "--engine", "pytubefix", env={"PYTHONPATH": str(killer)})
    assert_stopped(run, "killed")
    assert len(sandbox.attempts()) <= 25
    assert {row["category"] for row in sandbox.attempts()} <= {Category.LOST_WORKER}
    assert sandbox.files() == []


@pytest.mark.soak
def test_promise_5_where_memory_is_short_for_all_workers_fewer_go_on(tmp_path: Path) -> None:
    seen = list[Event]()
    outcomes = [*results(ShortOfMemory(tmp_path, 1), 60, 6, seen)]
    lost = [outcome for outcome in outcomes if outcome.status == "failed"]
    assert len(outcomes) == 60
    assert {outcome.category for outcome in lost} == {Category.LOST_WORKER}
    said = [event.text for event in seen if isinstance(event, Notice)]
    assert said
    assert said[-1].startswith("5 worker processes in a row were killed at work, as when memory is short: ")


@pytest.fixture
def few(tmp_path: Path) -> Sandbox:
    return Sandbox(tmp_path, many_rows(2))


def limited_processes(most: int) -> tuple[str, ...]:
    """A command that lets another one have that many processes and threads.

    The limit counts all that a user has, and does not hold for root: so it is a user of this test alone, who may open
    root's files.
    """
    if os.geteuid() != 0 or not shutil.which("setpriv") or not shutil.which("prlimit"):
        pytest.skip("only root can become another user, by setpriv, whose processes prlimit limits")
    able, user = "-all,+dac_override,+dac_read_search", f"--reuid={100_000 + os.getpid()}"
    abilities = (f"--inh-caps={able}", f"--ambient-caps={able}", f"--bounding-set={able}")
    kept = "--securebits=+no_setuid_fixup"  # else access() would not count them
    return ("prlimit", f"--nproc={most}", "setpriv", user, "--clear-groups", kept, *abilities)


@pytest.mark.parametrize("most", first_of([7, 1, 2, 3, 4, 5, 6, 8, 9, 10, 11]))
def test_promise_5_where_nothing_can_be_started_the_run_ends_and_names_the_limit(tmp_path: Path, most: int) -> None:
    sandbox = Sandbox(tmp_path, many_rows(12), prefix=limited_processes(most))
    run = sandbox.run("--cut", "keyframe")
    if run.code:  # 11 may do
        assert_stopped(run, "No more processes or threads", f"this user may have {most} (ulimit -u)", "-w")
    assert sandbox.errors() == {} or {reason for _, reason in sandbox.errors().values()} == {"not tried yet"}
    assert not sandbox.stats.exists() or {row["status"] for row in sandbox.attempts()} <= {"done"}
    assert {*sandbox.files()} <= {*map(sandbox.path, sandbox.rows)}
    sandbox.prefix = ()
    assert sandbox.run(*COPY).code == 0
    assert sandbox.files() == sorted(map(sandbox.path, sandbox.rows))


@pytest.mark.parametrize(
    ("limit", "enough"),
    [("as=1200", True), ("as=300", False)]
    + [
        pytest.param(limit, enough, marks=pytest.mark.soak)
        for limit, enough in (("data=200", True), ("data=30", False))
    ]
    + [pytest.param(f"as={most}", None, marks=pytest.mark.soak) for most in range(50, 450, 25)]
    + [pytest.param(f"data={most}", None, marks=pytest.mark.soak) for most in range(20, 220, 20)],
)
def test_promise_5_a_limit_on_memory_is_kept_to_or_named(tmp_path: Path, limit: str, enough: bool | None) -> None:
    if not shutil.which("prlimit"):
        pytest.skip("prlimit is not installed")
    kind, mebibytes = limit.split("=")
    sandbox = Sandbox(tmp_path, many_rows(2), prefix=("prlimit", f"--{kind}={int(mebibytes) << 20}"))
    run = sandbox.run(*COPY)
    assert enough is None or enough == (run.code == 0), run.err
    if run.code == 0:
        assert sandbox.files() == sorted(map(sandbox.path, sandbox.rows))
    else:
        assert_stopped(run, "too little memory", "ulimit")
        assert not sandbox.stats.exists() or {row["status"] for row in sandbox.attempts()} <= {"done"}


def test_a_folder_for_temporary_files_that_is_too_long_for_sockets_costs_no_clip(few: Sandbox) -> None:
    folder = few.folder.joinpath("t" * 90)
    folder.mkdir()
    run = few.run(*COPY, env={"TMPDIR": str(folder)})
    assert run.code == 0, run.err
    assert few.files() == sorted(map(few.path, few.rows))


def test_a_python_that_leaves_the_scripts_folder_out_of_its_search_path_runs_the_program(few: Sandbox) -> None:
    run = few.run(*COPY, env={"PYTHONSAFEPATH": "1"})
    assert run.code == 0, run.err
    assert few.files() == sorted(map(few.path, few.rows))
