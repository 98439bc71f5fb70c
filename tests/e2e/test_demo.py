"""`python -m tests.youtube`, the demo, as a new user runs it."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.commands import ROOT, python
from tests.support.sandbox import wait_until
from tests.youtube.samples import MISHAPS, SAMPLE

DEMO = [sys.executable, "-m", "tests.youtube"]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder that looks like the project's, so that the demo can write to it."""
    for name in ("download.py", "kinetics", "tests", "requirements.txt"):
        (tmp_path / name).symlink_to(ROOT / name)
    return tmp_path


def test_the_demo_has_a_pause_a_rerun_that_ends_with_0_and_a_report(checkout: Path) -> None:
    old = checkout / "demo" / "Kinetics400" / "val" / "zumba" / "made-up-00x_000000_000010.mp4"
    old.parent.mkdir(parents=True)
    old.touch()
    (checkout / "demo" / "MADE-UP.txt").touch()
    before = {*checkout.iterdir()}

    ended = subprocess.run(DEMO, cwd=checkout, capture_output=True, text=True, timeout=240, check=False)

    assert ended.returncode == 0, ended.stderr
    assert "Traceback" not in ended.stderr
    assert not old.exists(), "an earlier demo's clip"
    assert {*checkout.iterdir()} == before, "all is written in demo/"
    command = "$ python download.py -v 400 -s validate -o"
    shown = [line for line in ended.stdout.splitlines() if line.startswith("$ ")]
    assert shown == [f"{command} demo", f"{command} demo", f"{command} demo --report", f"{command} ~/kinetics"]
    assert ended.stdout.index("Exit code 1") < ended.stdout.index("Exit code 0")
    assert "demo/Kinetics400_validate_report.html" in ended.stdout.splitlines()

    gone = {name for name, scenario in MISHAPS.items() if scenario.failure}
    there = {row.youtube_id for row in SAMPLE["validate"]} - gone
    assert {path.name[:11] for path in (checkout / "demo").rglob("*.mp4")} == there
    assert 30 <= len(SAMPLE["validate"]) <= 40
    with open(checkout / "demo" / "Kinetics400_validate_stats.csv", newline="") as file:
        attempts = [row["category"] for row in csv.DictReader(file)]
    assert "throttled" in attempts, "a pause"
    assert attempts.count("server_error") == 3, "what fails in passing"


def test_ctrl_c_ends_the_demo_with_130(checkout: Path) -> None:
    with subprocess.Popen(
        DEMO, cwd=checkout, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    ) as process:
        try:
            wait_until(lambda: any((checkout / "demo").rglob("*.mp4")) or process.poll() is not None, "a first clip")
            os.killpg(process.pid, signal.SIGINT)
            said, _ = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130, said
    assert "Traceback" not in said
    assert "python -m tests.youtube" in said.splitlines()[-2]


def test_without_any_package_the_demo_says_in_one_line_what_to_install() -> None:
    ended = python("-S", "-m", "tests.youtube")
    assert ended.returncode == 2
    [line] = ended.stderr.splitlines()
    assert "pip install -r requirements.txt trustme" in line


def test_options_without_a_command_are_refused() -> None:
    ended = python("-m", "tests.youtube", "--mirror")
    assert ended.returncode == 2
    assert "name a command after --" in ended.stderr
