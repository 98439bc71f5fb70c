"""The whole program when YouTube, or the line, says no to everybody: it waits, says so, goes on, and blames no clip."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import pairwise
from typing import Any

import pytest

from kinetics.scheduling.undecided import ALIKE_LIMIT
from tests.support.commands import PATIENCE_S
from tests.support.sandbox import Run, Sandbox, many_rows, wait_until
from tests.support.sweeps import first_of
from tests.youtube.log import Request
from tests.youtube.samples import template
from tests.youtube.server import LoopbackYouTube
from tests.youtube.world import FakeThrottle, PlayerFault, Scenario

WAITS = re.compile(
    r"(\d\d:\d\d:\d\d) (.*) -- all workers are paused until (?:\d\d \w+ )?(\d\d:\d\d:\d\d); then one clip is tried"
)


def pauses(text: str) -> list[tuple[str, timedelta]]:
    """What was said at each pause, and how long it is."""

    def length(begin: str, end: str) -> timedelta:
        whole = datetime.strptime(end, "%H:%M:%S") - datetime.strptime(begin, "%H:%M:%S")
        return whole % timedelta(days=1)

    return [(said, length(begin, end)) for begin, said, end in WAITS.findall(text)]


def knocks(run: Run) -> list[int]:
    """Calls that met the closed door, for each ban: those between two answers, without the one that closed it."""
    players = [request for request in run.requests if request.kind == "player"]
    rows, refused = [], 0
    for request in [*players, Request(0.0, "", "", "")]:
        if request.throttled:
            refused += 1
        elif refused:
            rows.append(refused - 1)
            refused = 0
    return rows


class TestOneBan:
    @pytest.mark.parametrize("kind", ["429", *(pytest.param(one, marks=pytest.mark.soak) for one in ("bot", "later"))])
    def test_too_many_pauses_everybody_and_no_clip_is_lost_or_called_gone(
        self, make_sandbox: Callable[..., Sandbox], kind: Any
    ) -> None:
        sandbox = make_sandbox(many_rows(32))
        sandbox.world.throttle = FakeThrottle(after=20, for_s=5.0, kind=kind)
        sandbox.world.latency_s = 0.3  # so that many would be asking when the door closes, if they were let
        run = sandbox.run("-w", "16", "--cut", "keyframe")
        assert (run.code, sandbox.errors()) == (0, {})
        assert len(sandbox.files()) == 32
        assert pauses(run.err)
        assert all(said.startswith("YouTube says: ") for said, _ in pauses(run.err))
        assert max(knocks(run)) <= 3
        assert "postponed" in {row["status"] for row in sandbox.attempts()}


class TestBans:
    def test_ban_after_ban_that_further_calls_extend_few_calls_meet_the_closed_door(
        self,
        make_sandbox: Callable[..., Sandbox],
    ) -> None:
        sandbox = make_sandbox(many_rows(60))
        sandbox.world.throttle = FakeThrottle(after=25, for_s=5.0, extend=True, again=True)
        run = sandbox.run("-w", "8", "--cut", "keyframe")
        assert (run.code, sandbox.errors()) == (0, {})
        assert len(sandbox.files()) == 60
        assert len(knocks(run)) >= 2
        assert max(knocks(run)) <= 3

    @pytest.mark.soak
    def test_a_run_that_begins_during_a_ban_asks_with_one_clip_and_says_until_when_it_waits(
        self,
        make_sandbox: Callable[..., Sandbox],
    ) -> None:
        sandbox = make_sandbox(many_rows(8))
        sandbox.world.throttle = FakeThrottle(after=0, for_s=5.0)
        run = sandbox.run("-w", "8", "--cut", "keyframe")
        assert (run.code, sandbox.errors()) == (0, {})
        assert sum(request.throttled for request in run.requests) == len(pauses(run.err)) == 1

    @pytest.mark.parametrize("form", first_of(["seconds", "date"]))
    def test_the_pause_is_at_least_what_retry_after_asks_for(
        self, make_sandbox: Callable[..., Sandbox], form: str
    ) -> None:
        sandbox = make_sandbox(many_rows(4))
        date = format_datetime(datetime.now(UTC) + timedelta(hours=3), usegmt=True)
        sandbox.world.throttle = FakeThrottle(after=2, for_s=9999, retry_after="10800" if form == "seconds" else date)
        with LoopbackYouTube(sandbox.world) as youtube, sandbox.start(youtube, "-w", "1") as process:
            assert process.stdout
            said = next(line for line in process.stdout if "all workers are paused" in line)
            process.kill()
            process.communicate()
        ((_, length),) = pauses(said)
        assert timedelta(hours=2, minutes=50) < length < timedelta(hours=3, minutes=5)


class TestOutages:
    @pytest.mark.parametrize(
        ("away_s", "at_start"),
        [(6.0, True), (6.0, False), pytest.param(60.0, False, marks=pytest.mark.soak)],
        ids=["absent at the start", "away mid-run", "away for a minute"],
    )
    def test_an_outage_is_waited_for_with_growing_pauses_and_marks_nothing_failed(
        self, make_sandbox: Callable[..., Sandbox], away_s: float, at_start: bool
    ) -> None:
        sandbox = make_sandbox(many_rows(24))
        sandbox.world.latency_s = 0.1
        sandbox.world.line_down = at_start
        text = ""
        with LoopbackYouTube(sandbox.world) as youtube, sandbox.start(youtube, "--cut", "keyframe") as process:
            assert process.stdout
            while not (at_start or sandbox.files()):
                time.sleep(0.02)
            sandbox.world.line_down = True
            for line in process.stdout:
                text += line
                if len(pauses(text)) == 1:  # it has noticed
                    threading.Timer(away_s, setattr, (sandbox.world, "line_down", False)).start()
            process.wait(PATIENCE_S)
        assert (process.returncode, sandbox.errors()) == (0, {}), text
        assert len(sandbox.files()) == 24
        assert all("cannot reach YouTube" in said for said, _ in pauses(text))
        lengths = [length for _, length in pauses(text)]
        assert len(lengths) >= 2
        assert all(later >= earlier for earlier, later in pairwise(lengths))
        assert {row["status"] for row in sandbox.attempts()} == {"done", "postponed"}

    def test_engines_that_no_longer_understand_youtube_pause_the_run_and_the_list_is_not_burnt_through(
        self,
        make_sandbox: Callable[..., Sandbox],
    ) -> None:
        rows = many_rows(60)
        video = template(12)
        changed = {row.youtube_id: Scenario(video, player_faults=(PlayerFault("no_streams"),)) for row in rows}
        sandbox = make_sandbox(rows, changed)
        text, tried = "", set[str]()
        with (
            LoopbackYouTube(sandbox.world) as youtube,
            sandbox.start(youtube, "-w", "4", "--cut", "keyframe") as process,
        ):
            assert process.stdout
            for line in process.stdout:
                text += line
                if pauses(text) and not tried:
                    tried = {request.video_id for request in youtube.requests if request.kind == "player"}
                    assert sandbox.errors() == {}
                    sandbox.world.scenarios |= {one: Scenario(video) for one in changed}  # YouTube is itself again
            process.wait(PATIENCE_S)
        assert "the engines may no longer understand YouTube" in text
        assert "pip install --upgrade pytubefix 'yt-dlp[default]'" in text
        assert ALIKE_LIMIT <= len(tried) <= ALIKE_LIMIT + 8
        assert (process.returncode, sandbox.errors(), len(sandbox.files())) == (0, {}, 60)


class TestStopped:
    def test_the_time_for_which_a_run_is_stopped_counts_for_no_clip(self, make_sandbox: Callable[..., Sandbox]) -> None:
        sandbox = make_sandbox(many_rows(6))
        sandbox.world.latency_s = 0.2
        more = ("--cut", "keyframe", "-w", "3", "--timeout", "12", "--engine", "pytubefix")
        with LoopbackYouTube(sandbox.world) as youtube, sandbox.start(youtube, *more) as process:
            wait_until(lambda: any(one.kind == "media" for one in youtube.requests), "a request for media")
            for sign, wait_s in ((signal.SIGSTOP, 16.0), (signal.SIGCONT, 0.0)):  # as Ctrl-Z and fg do
                os.killpg(process.pid, sign)
                time.sleep(wait_s)
            text, _ = process.communicate(timeout=PATIENCE_S)
        assert (process.returncode, sandbox.errors()) == (0, {}), text
        assert [row["status"] for row in sandbox.attempts()] == ["done"] * 6
