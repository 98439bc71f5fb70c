"""Forks of a process that has imported what a command needs: each is as good as a process of its own."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.forks import Forks
from tests.support.sandbox import wait_until

FORKS = Forks("json", "signal")


def test_a_fork_has_its_own_environment_arguments_output_and_exit_code() -> None:
    code = "import os, sys; print(os.environ['ONE'], 'PATH' in os.environ, sys.argv); sys.exit('told ' + sys.argv[1])"
    for one in ("1", "2"):
        ended = FORKS.run(code, "script", one, env={"ONE": one})
        assert (ended.returncode, ended.stdout) == (1, f"{one} False ['script', '{one}']\n")
        assert ended.stderr == f"told {one}\n"
    assert FORKS.run("import os; os.kill(os.getpid(), 9)", "script", env={}).returncode == -9


def test_forks_run_side_by_side(tmp_path: Path) -> None:
    """Each of these ends only once the other one is there."""
    code = "import os, sys, time; open(sys.argv[1], 'x')\nwhile not os.path.exists(sys.argv[2]): time.sleep(0.01)"
    one, two = str(tmp_path / "one"), str(tmp_path / "two")
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(FORKS.run, code, "script", *names, env={}) for names in ((one, two), (two, one))]
        assert [ended.result().returncode for ended in both] == [0, 0]


def test_a_fork_that_does_not_end_is_killed() -> None:
    with pytest.raises(TimeoutError, match=r"process \d+ did not end within 0.5 s") as error:
        FORKS.run("import time; time.sleep(3600)", "script", env={}, timeout=0.5)
    pid = int(str(error.value).split()[1])
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), "the end of the fork")


@pytest.mark.parametrize("name", ["PYTHONPATH", "LC_ALL", "LD_PRELOAD"])
def test_what_python_reads_when_it_starts_needs_a_process_that_is_started(name: str) -> None:
    assert Forks.can_have({**os.environ, "XDG_CACHE_HOME": "elsewhere"})
    assert not Forks.can_have({**os.environ, name: "something else"})
