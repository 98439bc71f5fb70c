"""The command line that chooses clips: what it says, and that bad input writes nothing."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support.commands import run_here
from tests.support.sweeps import first_of
from tests.unit.test_select import LABELS, ROWS, write


def choose(tmp_path: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the command on a list of 20 clips."""
    annotated = write(tmp_path / "list.csv", ROWS)
    return run_here("-o", str(tmp_path / "out"), "--annotations", str(annotated), *options)


def test_the_classes_are_listed_with_their_counts(tmp_path: Path) -> None:
    here = tmp_path / "out" / "Kinetics700" / "train" / "tai_chi" / f"{ROWS[3][1]}_000000_000010.mp4"
    here.parent.mkdir(parents=True)
    here.touch()
    ran = choose(tmp_path, "--list-classes")
    assert ran.returncode == 0
    assert [line.split(maxsplit=2) for line in ran.stdout.splitlines()[1:-1]] == [
        ["5", str(int(label == "tai chi")), label] for label in sorted(LABELS)
    ]
    assert ran.stdout.splitlines()[-1].split() == ["20", "1", "in", "4", "classes"]


def test_a_choice_is_what_the_run_is_about(tmp_path: Path) -> None:
    ran = choose(tmp_path, "--classes", "tai_chi", "juggling balls", "--limit", "2", "--dry-run")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "4 clips wanted" in ran.stdout


@pytest.mark.parametrize(
    "bad",
    first_of(
        [["--classes", "no such"], ["--only", "missing.csv"], ["--limit", "0"], ["--compare", "a.csv", "b.csv"]], 2
    ),
    ids=" ".join,
)
def test_bad_input_gets_one_clear_line_exit_2_and_nothing_is_written(tmp_path: Path, bad: list[str]) -> None:
    ran = choose(tmp_path, *bad)
    assert ran.returncode == 2
    assert len(ran.stderr.splitlines()) == 1
    assert ran.stderr.startswith("error: ")
    assert not (tmp_path / "out").exists()
