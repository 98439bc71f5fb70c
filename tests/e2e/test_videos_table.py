"""What YouTube says of the videos, through whole runs: it costs no call, and no kill loses it."""

from __future__ import annotations

import json
import os
import signal
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kinetics.errors import is_installed
from tests.support.sandbox import Sandbox, wait_until
from tests.youtube.samples import template
from tests.youtube.server import LoopbackYouTube
from tests.youtube.world import FAILURES, MediaFault, Row, Scenario

MakeSandbox = Callable[..., Sandbox]
FAST = ("--cut", "keyframe", "--engine", "pytubefix")
TITLE = 'a\nb\0c \u202edlrow\u2069 <script>alert("1")</script>'
ABOUT = {"videoDetails": {"title": TITLE, "author": "Someone", "shortDescription": "${HOME} %s {0}\x1b[31m"}}
needs_pyarrow = pytest.mark.skipif(not is_installed("pyarrow"), reason="pyarrow is not installed")


def rows_of(videos: int) -> list[Row]:
    return [Row("tai chi", f"-_video{number:04d}", 2, 4) for number in range(videos)]


def table(sandbox: Sandbox, subset: str = "validate") -> dict[str, dict[str, Any]]:
    from pyarrow import parquet  # noqa: PLC0415 - an extra package

    rows = parquet.read_table(sandbox.folder / f"Kinetics700_{subset}_videos.parquet").to_pylist()
    assert len({row["youtube_id"] for row in rows}) == len(rows)
    return {row["youtube_id"]: row for row in rows}


def journal(sandbox: Sandbox) -> Path:
    return sandbox.folder / "Kinetics700/.partial/validate.videos.jsonl"


@needs_pyarrow
def test_each_video_that_was_answered_has_a_row_and_no_call_more_is_made(make_sandbox: MakeSandbox) -> None:
    rows = [*rows_of(3), Row("tai chi", "hidden-vid0", 2, 4), Row("tai chi", "no-media-00", 2, 4)]
    world = {row.youtube_id: Scenario(template(20), about=ABOUT) for row in rows}
    world["hidden-vid0"] = Scenario(failure=FAILURES["private"], about=ABOUT)
    world["no-media-00"] = Scenario(template(20), about=ABOUT, media_faults=(MediaFault("status", 404),))
    sandbox = make_sandbox(rows, world)
    run = sandbox.run(*FAST)
    assert run.kinds()["player"] == len(rows)
    found = table(sandbox)
    assert {*found} == {*world}
    assert {(row["title"], row["channel"]) for row in found.values()} == {(TITLE, "Someone")}
    assert {row["description"] for row in found.values()} == {"${HOME} %s {0}\x1b[31m"}
    assert {(row["width"], row["height"]) for row in found.values()} == {(640, 360), (None, None)}
    assert "dlrow" not in run.out + run.err
    assert not journal(sandbox).exists()


@needs_pyarrow
def test_with_all_subsets_each_has_the_videos_of_its_own_clips(make_sandbox: MakeSandbox) -> None:
    world = {row.youtube_id: Scenario(template(20)) for row in rows_of(2)}
    sandbox = make_sandbox(rows_of(2), world, official=True)
    sandbox.world.annotate("700", "train", [Row("yoga", "-_video0000", 6, 8)])
    run = sandbox.run(*FAST, "-s", "all")
    assert (run.code, run.kinds()["player"]) == (0, 2), run.err
    assert {*table(sandbox)} == {*world}
    assert {*table(sandbox, "train")} == {"-_video0000"}
    assert not (sandbox.folder / "Kinetics700_test_videos.parquet").exists()


def test_a_run_that_is_killed_loses_no_answer_that_it_has_written_down(make_sandbox: MakeSandbox) -> None:
    rows = rows_of(30)
    sandbox = make_sandbox(rows, {row.youtube_id: Scenario(template(20), about=ABOUT) for row in rows})
    with sandbox.under_way(*FAST) as process:
        wait_until(lambda: sandbox.stats.exists() and len(sandbox.attempts()) >= 3, "3 attempts")
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    written = {json.loads(line)["youtube_id"] for line in journal(sandbox).read_text().splitlines() if line}
    *attempted, _ = [row["youtube_id"] for row in sandbox.attempts()]
    assert {*attempted} <= written, "an answer is written down right after the attempt's row"
    assert len(written) < len(rows)
    run = sandbox.run(*FAST, "--limit", "1")
    if is_installed("pyarrow"):
        assert {*table(sandbox)} >= written
    else:
        assert "pip install pyarrow" in run.out
        assert journal(sandbox).read_bytes().count(b"\n") >= len(written)


@needs_pyarrow
def test_the_title_is_data_in_shards_too_also_of_clips_that_a_kill_left_waiting(make_sandbox: MakeSandbox) -> None:
    rows = [*rows_of(8), Row("tai chi", "-_video0000", 6, 8)]
    world = {row.youtube_id: Scenario(template(20), about=ABOUT) for row in rows}
    sandbox = make_sandbox(rows, world)
    options = (*FAST, "--into-shards", "4", "-w", "1")
    waiting = sandbox.folder / "Kinetics700_shards/.partial/val.waiting"
    sandbox.world.latency_s = 0.1
    with LoopbackYouTube(sandbox.world) as youtube, sandbox.start(youtube, *options) as process:
        wait_until(lambda: len([*waiting.glob("*.mp4")]) > 2 or process.poll() is not None, "clips that wait")
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    assert [*waiting.glob("*.mp4")]
    sandbox.world.latency_s = 0
    assert sandbox.run(*options).code == 0
    said = dict[str, Any]()
    for shard in (sandbox.folder / "Kinetics700_shards").glob("*.tar"):
        with tarfile.open(shard) as tar:
            for name in tar.getnames():
                if name.endswith(".json") and (file := tar.extractfile(name)):
                    said[name] = json.loads(file.read())
    assert len(said) == len(rows)
    assert {(one["title"], one["channel"]) for one in said.values()} == {(TITLE, "Someone")}
    assert not any("description" in one for one in said.values())
    assert sandbox.run_here("--manifest").code == 0
    assert sandbox.run_here("--report", "--cut", "keyframe").code == 0
    for page in (sandbox.folder / "Kinetics700/README.md", *sandbox.folder.glob("*.html")):
        assert "dlrow" not in page.read_text()
        assert "alert(" not in page.read_text()
