"""All wanted sections of a video cost one player call, and each has a file, a row and a verdict of its own."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

import pytest

from tests.support.sandbox import Sandbox, wait_until
from tests.youtube.log import Request
from tests.youtube.samples import template
from tests.youtube.server import LoopbackYouTube
from tests.youtube.world import FAILURES, MediaFault, Row, Scenario

MakeSandbox = Callable[..., Sandbox]
FAST = ("--cut", "keyframe", "--engine", "pytubefix")
"""What costs the processor least where the frames do not matter."""


def sections(videos: int, each: Sequence[tuple[int, int]] = ((2, 6), (4, 8), (13, 17))) -> list[Row]:
    """Rows of several sections a video, the first section of each video first."""
    return [Row("tai chi", f"sections{number:03d}", *section) for section in each for number in range(videos)]


def world_of(rows: Sequence[Row]) -> dict[str, Scenario]:
    return {row.youtube_id: Scenario(template(20)) for row in rows}


def count(sandbox: Sandbox) -> int:
    return len([*sandbox.data.rglob("*.mp4")])


def more_than(sandbox: Sandbox, clips: int) -> bool:
    return count(sandbox) > clips


def calls(sandbox: Sandbox) -> int:
    return sum(int(one["calls"]) for one in sandbox.attempts())


def test_three_sections_of_a_video_cost_one_call_one_header_and_no_byte_twice(make_sandbox: MakeSandbox) -> None:
    rows = sections(5)
    sandbox = make_sandbox(rows, world_of(rows))
    run = sandbox.run("--engine", "pytubefix")
    assert run.code == 0, run.err
    sandbox.assert_complete()
    assert run.player_calls == calls(sandbox) == 5 + 1
    first = {row.youtube_id: sorted(one.time_start for one in rows)[0] for row in rows}
    bearing = [one for one in sandbox.attempts() if int(one["calls"])]
    assert all(float(one["time_start"]) == first[one["youtube_id"]] for one in bearing)
    for video in first:
        media = [one for one in run.requests if one.kind == "media" and one.video_id == video]
        spans = [(one.itag, *one.range) for one in media if one.range]
        fetched = Counter((itag, byte) for itag, start, end in spans for byte in range(start, (end or 0) + 1))
        assert max(fetched.values()) == 1


def test_with_all_subsets_the_sections_of_a_video_in_several_lists_cost_one_call(make_sandbox: MakeSandbox) -> None:
    sandbox = make_sandbox([Row("tai chi", "sections000", 2, 6)], world_of(sections(1)), official=True)
    sandbox.world.annotate("700", "train", [Row("yoga", "sections000", 4, 8)])
    sandbox.world.annotate("700", "test", [Row("", "sections000", 13, 17)])
    run = sandbox.run(*FAST, "-s", "all")
    assert run.code == 0, run.err
    assert len([*sandbox.data.rglob("*.mp4")]) == 3
    assert run.kinds()["player"] == 1


def test_each_section_has_its_own_verdict(make_sandbox: MakeSandbox) -> None:
    rows = [*sections(1, ((2, 6), (25, 29))), Row("tai chi", "removed-vid", 2, 6), Row("tai chi", "removed-vid", 9, 13)]
    sandbox = make_sandbox(rows, {**world_of(rows), "removed-vid": Scenario(failure=FAILURES["removed"])})
    run = sandbox.run(*FAST)
    assert run.code == 0, run.err
    assert run.kinds()["player"] == 2
    ended = {(one["youtube_id"], one["time_start"]): (one["status"], one["category"]) for one in sandbox.attempts()}
    assert ended == {
        ("sections000", "2"): ("done", ""),
        ("sections000", "25"): ("failed", "past_end"),
        ("removed-vid", "2"): ("failed", "removed"),
        ("removed-vid", "9"): ("failed", "removed"),
    }


def test_a_lost_worker_charges_the_section_it_was_at(make_sandbox: MakeSandbox) -> None:
    rows = sections(1)
    stalls = Scenario(template(20), media_faults=(MediaFault("stall", after=1000, skip=2, times=1),))
    sandbox = make_sandbox(rows, {"sections000": stalls})
    run = sandbox.run(*FAST, "--timeout", "3")
    assert sorted(one["category"] for one in sandbox.attempts()) == ["", "", "timeout"]
    assert len({one["time_start"] for one in sandbox.attempts()}) == 3
    assert run.code == 1
    assert run.kinds()["player"] == 2, "the sections that are left cost one call together"


def test_an_address_that_expires_between_sections_is_resolved_anew_once(make_sandbox: MakeSandbox) -> None:
    rows = sections(1)
    expires = Scenario(template(20), media_faults=(MediaFault("status", 403, skip=4, times=1),))
    sandbox = make_sandbox(rows, {"sections000": expires})
    run = sandbox.run("--engine", "pytubefix")
    assert run.code == 0, run.err
    sandbox.assert_complete()
    assert run.kinds()["player"] == 2


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_300_sections_in_100_videos_killed_20_times_are_all_there_and_cost_a_call_more_a_video_for_each_kill(
    make_sandbox: MakeSandbox,
) -> None:
    killed_at_random_moments(make_sandbox, videos=100, kills=20)


def test_sections_are_neither_lost_nor_twice_where_the_run_is_killed(make_sandbox: MakeSandbox) -> None:
    killed_at_random_moments(make_sandbox, videos=8, kills=3)


def killed_at_random_moments(make_sandbox: MakeSandbox, videos: int, kills: int) -> None:
    rows, chance = sections(videos), random.Random(21)
    sandbox = make_sandbox(rows, world_of(rows))
    requests = list[Request]()
    for _ in range(kills):
        with LoopbackYouTube(sandbox.world) as youtube, sandbox.start(youtube, "--engine", "pytubefix") as process:
            there = count(sandbox)
            wait_until(partial(more_than, sandbox, there), "a new clip")
            time.sleep(chance.random())
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            requests += [one for one in youtube.requests if one.kind == "player"]
        if count(sandbox) == len(rows):
            break
    run = sandbox.run("--engine", "pytubefix")
    assert run.code == 0, run.err
    sandbox.assert_complete()
    done = Counter((one["youtube_id"], one["time_start"]) for one in sandbox.attempts() if one["status"] == "done")
    assert max(done.values()) == 1
    asked = Counter(one.video_id for one in [*requests, *run.requests] if one.kind == "player")
    assert sum(asked.values()) <= videos + 4 * kills, "each kill costs the videos in work a call, those of 4 workers"
    assert {row.youtube_id for row in rows} == set(asked)
