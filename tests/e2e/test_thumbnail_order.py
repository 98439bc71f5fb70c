"""The whole program, with a YouTube that allows few calls: none goes to a dead video while living ones wait."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable
from typing import get_args

import pytest

from tests.support.commands import PATIENCE_S
from tests.support.sandbox import Run, Sandbox, many_rows, wait_until
from tests.support.sweeps import first_of
from tests.youtube.samples import scenarios_of
from tests.youtube.server import LoopbackYouTube
from tests.youtube.world import FAILURES, FakeThrottle, Row, Scenario, ThumbnailMode

MakeSandbox = Callable[..., Sandbox]
COPY = ("--cut", "keyframe", "-w", "2", "--engine", "pytubefix")
PRIVATE = Scenario(failure=FAILURES["private"])
DEAD = random.Random(3).sample(range(40), 16)


def some_dead(make_sandbox: MakeSandbox) -> Sandbox:
    """40 clips, of which 16 are private."""
    rows = many_rows(40)
    return make_sandbox(rows, {rows[number].youtube_id: PRIVATE for number in DEAD})


def asked(run: Run) -> list[str]:
    return [request.video_id for request in run.requests if request.kind == "player"]


def test_of_12_calls_at_least_10_bring_a_clip_where_two_of_five_videos_are_dead(make_sandbox: MakeSandbox) -> None:
    sandbox = some_dead(make_sandbox)
    sandbox.world.throttle = FakeThrottle(after=11, for_s=3600.0)  # and the call for a visitor id
    with LoopbackYouTube(sandbox.world) as youtube, sandbox.start(youtube, *COPY, "-w", "4") as process:
        wait_until(lambda: sum(path.suffix == ".mp4" for path in sandbox.files()) >= 10, "10 clips")
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE_S)
    dead = {sandbox.rows[number].youtube_id for number in DEAD}
    assert sum(request.video_id in dead for request in youtube.requests if request.kind == "player") <= 1


MODES = [mode for mode in get_args(ThumbnailMode) if mode != "as usual"]


@pytest.mark.parametrize("mode", first_of(sorted(MODES, key=lambda mode: mode != "swapped")))
def test_thumbnails_that_mislead_change_no_clip_and_cost_no_call(
    make_sandbox: MakeSandbox, mode: ThumbnailMode
) -> None:
    sandbox = some_dead(make_sandbox)
    sandbox.world.thumbnails = mode
    run = sandbox.run(*COPY)
    assert (run.code, len(sandbox.files()), len(sandbox.errors())) == (0, 24, 16), run.err
    assert len(asked(run)) == len({*asked(run)}) == 40, "as many as with --no-thumbnails"


def confirmed(sandbox: Sandbox) -> list[str]:
    table = sandbox.folder / f"{sandbox.name}_validate_thumbnails.csv"
    return sorted(line.split(",")[0] for line in table.read_text().splitlines() if ",missing," in line)


def test_a_re_run_asks_for_no_video_that_its_thumbnail_says_is_gone_and_first_for_one_that_is_back(
    make_sandbox: MakeSandbox,
) -> None:
    rows = many_rows(24)
    dead = [row.youtube_id for row in rows[4:16]]
    sandbox = make_sandbox(rows, {**dict.fromkeys(dead, PRIVATE)})
    sandbox.write_csv(rows[:20])
    assert sandbox.run(*COPY).code == 0
    assert confirmed(sandbox) == sorted(dead), "of the first run already"
    log = sandbox.errors_log.read_text()

    again = sandbox.run_here(*COPY)
    assert (again.code, again.requests, sandbox.errors_log.read_text()) == (0, [], log), "it ends at once"
    assert "12 still gone by their missing thumbnails" in again.out

    table = sandbox.folder / f"{sandbox.name}_validate_thumbnails.csv"
    table.write_text("".join(line for line in table.open() if not line.startswith((dead[5], dead[6]))))
    sandbox.world.scenarios |= scenarios_of([Row("tai chi", dead[5], *rows[9][2:])])
    sandbox.write_csv(rows)
    back = sandbox.run(*COPY)
    assert asked(back) == [dead[5], *(row.youtube_id for row in rows[20:])]
    assert "1  of them not asked for: their thumbnails are still missing" in back.out
    assert (back.code, len(sandbox.files())) == (0, 13)
    assert confirmed(sandbox) == sorted({*dead} - {dead[5]})
