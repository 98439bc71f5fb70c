"""Faults of the machine: a run ends in one line with exit code 2, or goes on as if there were none; no clip fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.sandbox import Sandbox, many_rows

COPY = ("--cut", "keyframe", "-w", "2")
"""What costs the processor least."""


@pytest.fixture
def few(tmp_path: Path) -> Sandbox:
    return Sandbox(tmp_path, many_rows(2))


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
