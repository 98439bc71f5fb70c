"""A list of another data set, downloaded and worked on by the whole program."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.sandbox import Sandbox
from tests.youtube.world import Row

ROWS = [Row("tai chi", "-tai-chi--1", 3, 13), Row("dog barking, growling", "_dog_barks_", 0, 10)]
COPY = ("--cut", "keyframe", "-w", "1")
"""What costs the processor least."""


@dataclass
class VggSoundSandbox(Sandbox):
    """A list as VGGSound's, in a file whose name does not say so."""

    @property
    def name(self) -> str:
        return "VGGSound"

    def write_csv(self, rows: Iterable[Row]) -> None:
        with open(self.csv, "w", newline="") as file:
            csv.writer(file).writerows((row.youtube_id, row.time_start, row.label, "val") for row in rows)

    def command(self, *more: str) -> list[str]:
        return super().command("--format", "vggsound", *more)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> VggSoundSandbox:
    """The data set as the command makes it."""
    sandbox = VggSoundSandbox(tmp_path_factory.mktemp("made"), ROWS)
    run = sandbox.run(*COPY)
    assert (run.code, sandbox.errors()) == (0, {}), run.err
    return sandbox


def test_its_clips_and_tables_have_the_data_sets_name_and_a_second_run_asks_nobody(made: VggSoundSandbox) -> None:
    assert made.files() == sorted(map(made.path, ROWS))
    assert {row["status"] for row in made.attempts()} == {"done"}
    assert not [*made.folder.glob("Kinetics*")]
    again = made.run_here(*COPY)
    assert (again.code, again.requests) == (0, [])
    assert "VGGSound validate: 2 clips wanted, 2 on disk; nothing to do" in again.out


def test_reports_and_lists_are_about_it(made: VggSoundSandbox) -> None:
    report = made.run_here("--report")
    assert (report.code, report.out.partition("\n")[0]) == (0, "VGGSound validate: 2 of 2 clips on disk (100%)")
    assert '<p class="kicker">VGGSound <span>validate</span></p>' in (
        made.folder / "VGGSound_validate_report.html"
    ).read_text("utf-8")
    assert made.run_here("--lists").code == 0
    lists = made.folder / "VGGSound_lists"
    assert (lists / "classes.txt").read_text() == "dog barking, growling\ntai chi\n"
    lines = (lists / "mmaction2" / "vggsound_val_list_videos.txt").read_text().splitlines()
    assert sorted(lines) == [
        "val/dog_barking,_growling/_dog_barks__000000_000010.mp4 0",
        "val/tai_chi/-tai-chi--1_000003_000013.mp4 1",
    ]


@pytest.mark.soak
def test_what_an_earlier_version_put_into_the_folder_of_kinetics_stays_there(
    made: VggSoundSandbox, tmp_path: Path
) -> None:
    shutil.copytree(made.data, tmp_path / "Kinetics700")
    run = VggSoundSandbox(tmp_path, ROWS).run(*COPY)
    assert (run.code, run.requests) == (0, [])
    assert "Kinetics700 validate: 2 clips wanted, 2 on disk; nothing to do" in run.out
    line = f"{tmp_path}/Kinetics700 has clips of this list of VGGSound, so it stays there"
    assert [said.startswith(line) for said in run.err.splitlines()].count(True) == 1
    assert not [*tmp_path.glob("VGGSound*")]
