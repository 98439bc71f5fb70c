"""The command that compares two data sets, and what its lists are good for."""

from __future__ import annotations

import csv
from pathlib import Path

from tests.support.commands import download, run_here
from tests.unit.test_compare import A, B, write


def test_the_command_shows_the_table_and_its_list_of_common_clips_can_be_given_to_only(tmp_path: Path) -> None:
    a, b = write(tmp_path / "a.csv", A), write(tmp_path / "b.csv", B)
    ran = download("-o", str(tmp_path), "--compare", str(a), str(b))
    assert (ran.returncode, ran.stderr) == (0, "")
    assert [line.split() for line in ran.stdout.splitlines()[1:4]] == [
        ["1", "1", "0", "1", "yoga"],
        ["1", "0", "1", "0", "tai", "chi"],
        ["2", "1", "2", "1", "all", "classes"],
    ]
    with open(tmp_path / "Kinetics_compare.csv", newline="") as file:
        assert len([*csv.DictReader(file)]) == 6
    common = str(tmp_path / "Kinetics_common.csv")
    ran = run_here("-o", str(tmp_path), "--annotations", str(a), "--only", common, "--dry-run")
    assert ran.returncode == 0
    assert [line.partition("a.csv: ")[2] for line in ran.stderr.splitlines()] == [
        "1 row without a label: unlabelled, in _unlabeled."
    ]
    assert "3 clips wanted" in ran.stdout
