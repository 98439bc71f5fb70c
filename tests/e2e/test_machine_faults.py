"""Faults of the machine: a run ends in one line with exit code 2, or goes on as if there were none; no clip fails."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.support.sandbox import Sandbox, assert_stopped, many_rows

COPY = ("--cut", "keyframe", "-w", "2")
"""What costs the processor least."""


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


@pytest.mark.parametrize(
    "most", [1, 7, *(pytest.param(most, marks=pytest.mark.soak) for most in (2, 3, 4, 5, 6, 8, 9, 10, 11))]
)
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
    [("as=1200", True), ("data=200", True), ("as=300", False), ("data=30", False)]
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
