"""The program for Python, in a plain script without a guard: silent, orderly, and as the command does it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from tests.e2e.test_crashes import assert_nobody_left
from tests.support.commands import PATIENCE_S, ROOT
from tests.support.sandbox import ROWS, Sandbox
from tests.youtube.server import LoopbackYouTube
from tests.youtube.world import FAILURES, Scenario

DOWNLOADED = (*ROWS[:3], ROWS[4])
GONE = ROWS[5]
COUNT = """
    with open("begun.txt", "a") as file:
        file.write("once\\n")
"""
BEGIN = f"""{COUNT}
    import json, os, signal, sys, threading
    from pathlib import Path
    from kinetics.api import Fatal, clips, download, load

    ROWS, told = "rows.csv", {{}}
"""
"""What each script begins with; it has no `if __name__ == "__main__"`, and counts how often it is run."""
END = """
    Path("told.json").write_text(json.dumps(told))
"""


@pytest.fixture
def sandbox(tmp_path: Path) -> Sandbox:
    return Sandbox(tmp_path, (*DOWNLOADED, GONE), {GONE.youtube_id: Scenario(failure=FAILURES["private"])})


@pytest.fixture
def youtube(sandbox: Sandbox) -> Iterator[LoopbackYouTube]:
    with LoopbackYouTube(sandbox.world) as youtube:
        yield youtube


def run_script(sandbox: Sandbox, youtube: LoopbackYouTube, body: str) -> dict[str, Any]:
    """Run a script, which has to run once, to print nothing, and to leave no process; returns what it wrote down."""
    script = sandbox.folder / "script.py"
    script.write_text(dedent(BEGIN) + dedent(body) + dedent(END))
    with subprocess.Popen(
        [sys.executable, str(script)],
        cwd=sandbox.folder,
        env=youtube.env | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        out, _ = process.communicate(timeout=PATIENCE_S)
    assert (out, process.returncode) == ("", 0)
    assert_nobody_left(process)
    assert (sandbox.folder / "begun.txt").read_text() == "once\n"
    told: dict[str, Any] = json.loads((sandbox.folder / "told.json").read_text())
    return told


def test_a_script_without_a_guard_downloads_in_silence_and_again_in_another_thread(
    sandbox: Sandbox, youtube: LoopbackYouTube
) -> None:
    told = run_script(
        sandbox,
        youtube,
        """
        before, handlers, seen = dict(os.environ), [signal.getsignal(one) for one in (2, 15, 1)], []
        wanted = load("700", "validate", annotations=ROWS)
        result = download(wanted, "data", workers=2, cut="keyframe", progress=seen.append)
        told["first"] = [result.wanted, result.on_disk, result.new, result.may_get_more, result.stopped]
        told["failed"] = result.failed
        told["missing"] = [[str(clip), why.category, why.reason] for clip, why in result.missing()]
        told["last"] = [seen[-1].ended, seen[-1].left, seen[-1].on_disk, seen[-1].calls]
        told["on_disk"] = [one.on_disk for one in seen]
        told["same"] = [dict(os.environ) == before, [signal.getsignal(one) for one in (2, 15, 1)] == handlers]
        Path(next(clips(wanted, "data")).path).unlink()

        def again():
            told["again"] = download(wanted, Path("data"), workers=1, cut="keyframe").new
            train = load("700", "train", annotations=ROWS)
            shards = download(train, "shards", workers=1, cut="keyframe", into_shards=2)
            told["shards"] = [shards.new, Path(shards.folder).name]

        thread = threading.Thread(target=again)
        thread.start()
        thread.join()
        told["packed"] = [len(clip.read()) for clip in clips(load("700", "train", annotations=ROWS), "shards")]
        told["files"] = [clip.path.name for clip in clips(wanted, "data")]
        """,
    )
    assert told["first"] == [5, 4, 4, False, ""]
    assert told["failed"] == {"private": 1}
    assert told["missing"] == [
        ["n0t_basebal 49-59 s", "private", "Private video: Sign in if you've been granted access to this video"]
    ]
    assert told["last"][:3] == [5, 0, 4]
    assert told["last"][3] >= 4, "a player call for each video"
    assert told["on_disk"] == sorted(told["on_disk"])
    assert told["same"] == [True, True]
    assert told["again"] == 1
    assert told["shards"] == [4, "Kinetics700_shards"]
    assert len(told["packed"]) == 4
    assert min(told["packed"]) > 1000
    assert told["files"] == [f"{one.youtube_id}_{one.time_start:06d}_{one.time_end:06d}.mp4" for one in DOWNLOADED]


def test_ctrl_c_and_an_error_of_the_callback_end_the_run_in_order_and_it_goes_on(
    sandbox: Sandbox, youtube: LoopbackYouTube
) -> None:
    """As a notebook's stop button, the signal comes to the process while the run waits for its workers."""
    told = run_script(
        sandbox,
        youtube,
        """
        wanted = load("700", "validate", annotations=ROWS, limit=9)

        def stop(now):
            if now.done == 1:
                os.kill(os.getpid(), signal.SIGINT)

        def fail(now):
            if now.done == 1:
                raise ValueError("of the callback")

        for progress in (stop, fail):
            try:
                download(wanted, "data", workers=1, cut="keyframe", progress=progress)
            except (KeyboardInterrupt, ValueError) as error:
                told.setdefault("raised", []).append(type(error).__name__)
                told.setdefault("there", []).append(len([*clips(wanted, "data")]))
        told["rest"] = download(wanted, "data", workers=1, cut="keyframe").on_disk
        """,
    )
    assert told["raised"] == ["KeyboardInterrupt", "ValueError"]
    first, second = told["there"]
    assert 1 <= first < second < told["rest"] == len(DOWNLOADED)
    assert {*sandbox.errors()} == set(), "nothing is written beside the script"
    rows = (sandbox.folder / "data" / "Kinetics700_validate_stats.csv").read_text().splitlines()
    assert sum(",done," in row for row in rows) == len(DOWNLOADED), "each clip was fetched once"


def test_what_ends_a_run_is_a_fatal(sandbox: Sandbox, youtube: LoopbackYouTube) -> None:
    told = run_script(
        sandbox,
        youtube,
        """
        wanted = load("700", "validate", annotations=ROWS)
        Path("file").write_text("")

        def failing(*where, **options):
            try:
                download(wanted, *where, **options)
            except Fatal as error:
                return str(error)

        told["busy"] = []
        download(wanted, "data", workers=1, cut="keyframe", progress=lambda now: told["busy"].append(failing("data")))
        told["obstacle"] = failing("file")
        told["cookies"] = failing("data", cookies="missing.txt")
        told["proxy"] = [failing("data", proxy="http://nowhere.invalid:1"), download(wanted, "data").on_disk]
        """,
    )
    assert {*told["busy"]} == {
        f"another run is already working on Kinetics700 validate in {sandbox.folder}/data: "
        "wait for it to end, or choose another folder with -o"
    }
    assert "file" in told["obstacle"]
    assert "Cannot read the cookies in missing.txt" in told["cookies"]
    assert "is not found" in told["proxy"][0]
    assert told["proxy"][1] == 4, "the proxy of one run is not that of the next"


def test_the_script_of_these_tests_would_be_seen_if_it_ran_twice(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    spawns = "import multiprocessing\nmultiprocessing.get_context('spawn').Process().start()\n"
    script.write_text(dedent(COUNT) + spawns)
    subprocess.run([sys.executable, str(script)], cwd=tmp_path, capture_output=True, timeout=60, check=False)
    assert (tmp_path / "begun.txt").read_text() == "once\n" * 2
