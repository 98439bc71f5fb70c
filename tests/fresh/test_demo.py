"""`python -m tests.youtube`, the demo, as a new user runs it."""

from __future__ import annotations

import csv
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from tests.support.commands import python
from tests.support.demo_session import DEMO, checkout_in, record
from tests.support.sandbox import wait_until
from tests.youtube.samples import MISHAPS, SAMPLE

pytestmark = pytest.mark.fresh


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    return checkout_in(tmp_path)


@pytest.mark.parametrize("columns", [80, 120])
def test_the_demo_has_a_pause_a_rerun_that_ends_with_0_and_a_report_in_lines_that_fit(
    checkout: Path, columns: int
) -> None:
    old = checkout / "demo" / "Kinetics400" / "val" / "zumba" / "made-up-00x_000000_000010.mp4"
    old.parent.mkdir(parents=True)
    old.touch()
    (checkout / "demo" / "MADE-UP.txt").touch()
    before = {*checkout.iterdir()}

    session = b"".join(record(checkout, columns, 24)).decode().replace(str(checkout), "/home/you/kinetics")

    assert "Traceback" not in session
    assert not old.exists(), "an earlier demo's clip"
    assert {*checkout.iterdir()} == before, "all is written in demo/"
    lines = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", session).replace("\r", "\n").splitlines()
    assert [line for line in lines if len(line.rstrip()) > columns] == []
    command = "$ python download.py -v 400 -s validate -o"
    shown = [line for line in lines if line.startswith("$ ")]
    assert shown == [f"{command} demo", f"{command} demo", f"{command} demo --report", f"{command} ~/kinetics"]
    assert session.index("paused by YouTube until") < session.index("Exit code 1") < session.index("Exit code 0")
    assert "demo/Kinetics400_validate_report.html" in lines

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
