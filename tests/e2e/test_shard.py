"""Shards as a job array runs them: several at the same time on one folder, and what is told of them together."""

from __future__ import annotations

import csv
import errno
import fcntl
import os
import re
import shlex
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from kinetics.errors import Fatal
from kinetics.storage.layout import Layout
from kinetics.storage.locks import share_subset
from tests.support.commands import PATIENCE_S
from tests.support.sandbox import ROWS, Sandbox, many_rows
from tests.youtube.server import LoopbackYouTube
from tests.youtube.world import FAILURES, Scenario

COPY = ("--cut", "keyframe", "-w", "1")
GONE = ROWS[1]
MakeSandbox = Callable[..., Sandbox]


def tables(sandbox: Sandbox, name: str) -> list[Path]:
    """Of all runs, each shard's and the one's on all."""
    return sorted(sandbox.folder.glob(f"Kinetics700_validate_*{name}"))


def attempts(sandbox: Sandbox) -> Counter[tuple[str, str, str]]:
    """How often each clip was tried, and how that ended."""
    rows = [row for path in tables(sandbox, "stats.csv") for row in csv.DictReader(path.read_text().splitlines())]
    return Counter((row["youtube_id"], row["time_start"], row["status"]) for row in rows)


def in_array(sandbox: Sandbox, of: int) -> list[tuple[int, str]]:
    """Run all shards at once, each by the command of a job array; their exit codes, and what they said."""
    with LoopbackYouTube(sandbox.world) as youtube:
        tasks = [
            subprocess.Popen(
                f"exec {shlex.join(sandbox.command(*COPY))} --shard $SLURM_ARRAY_TASK_ID/{of}",
                shell=True,
                env=youtube.env | {"SLURM_ARRAY_TASK_ID": str(number)},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for number in range(1, of + 1)
        ]
        said = [task.communicate(timeout=PATIENCE_S)[0] for task in tasks]
    return [(task.returncode, out) for task, out in zip(tasks, said, strict=True)]


@pytest.mark.parametrize("of", [2, pytest.param(5, marks=pytest.mark.soak)])
def test_shards_at_the_same_time_give_what_one_run_gives_and_each_clip_is_tried_and_told_once(
    make_sandbox: MakeSandbox, of: int
) -> None:
    rows = [*ROWS[:4], *many_rows(8 * of)]
    sandbox = make_sandbox(rows, {GONE.youtube_id: Scenario(failure=FAILURES["private"])})
    got = [row for row in rows if row != GONE]

    told = []
    for code, out in in_array(sandbox, of):
        assert code == 0, out
        told += re.findall(rf"Kinetics700 validate, shard \d/{of}: (\d+) of (\d+) on disk, \1 of them new", out)
    assert [sum(map(int, counts)) for counts in zip(*told, strict=True)] == [len(got), len(rows)]
    assert sandbox.files() == sorted(sandbox.path(row) for row in got)
    tried = {(row.youtube_id, str(row.time_start), "failed" if row == GONE else "done") for row in rows}
    assert attempts(sandbox) == dict.fromkeys(tried, 1)
    assert len(tables(sandbox, "stats.csv")) == len(tables(sandbox, "errors.log")) == of
    failures = [line.split("\t")[0] for path in tables(sandbox, "errors.log") for line in path.read_text().splitlines()]
    assert failures == [GONE.youtube_id]

    report = sandbox.run_here("--report", "--cut", "keyframe")
    assert f"{len(got)} of {len(rows)} clips on disk" in report.out
    assert "1 gone, 0 may work later, 0 not tried yet" in report.out
    assert f"engine pytubefix: {len(got)} done" in report.out
    manifest = sandbox.run_here("--manifest")
    assert (manifest.code, f"{len(got)} clips" in manifest.out) == (0, True)
    with open(sandbox.folder / "Kinetics700_validate_manifest.csv", newline="") as file:
        listed = [*csv.DictReader(file)]
    assert [(row["youtube_id"], row["time_start"]) for row in listed] == [
        (row.youtube_id, str(row.time_start)) for row in got
    ]
    assert {row["cut"] for row in listed} == {"keyframe"}, "each shard's table knows how its clips were made"

    assert "nothing to do\n         1  gone before: 1 still gone" in sandbox.run_here(*COPY, "--dry-run").out
    planned = sandbox.run_here(*COPY, "--dry-run", "--no-thumbnails").out
    assert "1 to do\n         1  gone before" in planned
    assert f"folder: {sandbox.folder}/Kinetics700\n" in planned
    assert f"by the last {len(rows)} attempts here" in planned
    before = {path: path.read_bytes() for path in tables(sandbox, "stats.csv")}
    again = sandbox.run_here(*COPY, "--retry", "none")
    assert (again.code, again.requests) == (0, []), again.out
    assert f"{len(got)} on disk; nothing to do\n         1  gone before" in again.out
    assert sandbox.errors().keys() == {GONE.youtube_id}, "the log of a run on all clips is complete"
    assert {path: path.read_bytes() for path in tables(sandbox, "stats.csv")} == before
    for code, out in in_array(sandbox, of):
        assert code == 0, out
    assert attempts(sandbox) == dict.fromkeys(tried, 1), "what is gone is known to all shards, by its thumbnail"


@pytest.mark.parametrize(
    ("first", "second", "busy"),
    [
        (("--shard", "1/2"), (), "validate in"),
        pytest.param(("--shard", "1/2"), ("--shard", "1/2"), "validate, shard 1/2, in", marks=pytest.mark.soak),
        pytest.param((), ("--shard", "1/2"), "validate in", marks=pytest.mark.soak),
    ],
)
def test_a_second_run_on_any_clips_of_the_first_refuses_in_one_line(
    make_sandbox: MakeSandbox, first: tuple[str, ...], second: tuple[str, ...], busy: str
) -> None:
    sandbox = make_sandbox(many_rows(100))
    with sandbox.under_way(*COPY, *first) as process:
        ran = subprocess.run(sandbox.command(*COPY, *second), capture_output=True, text=True, check=False)
        assert process.poll() is None, "the first one is still at work"
    assert (ran.returncode, ran.stderr.count("\n")) == (2, 1), ran.stderr
    assert f"another run is already working on Kinetics700 {busy}" in ran.stderr


def test_where_the_file_system_knows_no_such_locks_each_run_has_its_own_lock_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(file: int, kind: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", flock)
    layout = Layout(tmp_path, "700", shard="1of2")
    layout.state_file("train", "lock").parent.mkdir(parents=True)
    code = errno.ENOSYS
    with share_subset(layout.without_shard, "train"):
        code = errno.EIO
        with pytest.raises(Fatal, match="Input/output error"), share_subset(layout.without_shard, "train"):
            pass
