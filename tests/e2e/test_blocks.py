"""The whole program when YouTube refuses everybody in whatever words, or single videos for good: nothing is guessed."""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence

import pytest

from kinetics.records import Category
from kinetics.scheduling.undecided import ALIKE_LIMIT
from tests.support.commands import PATIENCE_S
from tests.support.sandbox import Run, Sandbox, many_rows
from tests.support.sweeps import first_of
from tests.youtube.samples import template
from tests.youtube.server import LoopbackYouTube
from tests.youtube.world import (
    FAILURES,
    NEWER_FAILURES,
    FakeThrottle,
    PlayerFault,
    Row,
    Scenario,
    ThumbnailMode,
)

MakeSandbox = Callable[..., Sandbox]
COPY = ("--cut", "keyframe", "-w", "2")
"""What costs the processor least."""
ENGINE = ("--engine", "pytubefix")
"""Where the point is not which engine is asked: to import yt-dlp costs half a second in each worker."""
BLOCKS_IN = (
    *("bare", "not available", "unknown sentence", "content", "something went wrong", "vpn", "sign in"),
    *("later, as a subreason", "bot"),
)
"""Ways to refuse everybody."""
NOT_OFFERED = Scenario(failure=NEWER_FAILURES["not offered"])
DEAD = Scenario(failure=FAILURES["unavailable"])
TERMINATED = Scenario(failure=FAILURES["unavailable"], thumbnail=True)


def among(rows: Sequence[Row], scenario: Scenario, numbers: Sequence[int]) -> dict[str, Scenario]:
    """Worlds in which some of the rows' videos are odd."""
    return {rows[number].youtube_id: scenario for number in numbers}


def categories(sandbox: Sandbox) -> Counter[str]:
    return Counter(category for category, _ in sandbox.errors().values())


def watched(sandbox: Sandbox, *options: str, seconds: float = PATIENCE_S) -> tuple[Run, set[str]]:
    """A run, and every category that its log has ever had meanwhile."""
    seen = set[str]()
    with LoopbackYouTube(sandbox.world) as youtube, sandbox.start(youtube, *options) as process:
        deadline = time.monotonic() + seconds
        while process.poll() is None and time.monotonic() < deadline:
            seen |= {*categories(sandbox)}
            time.sleep(0.1)
        process.kill()
        out, _ = process.communicate()
        return Run(process.returncode, out, out, list(youtube.requests)), seen | {*categories(sandbox)}


@pytest.mark.parametrize("words", first_of(BLOCKS_IN))
def test_a_block_in_whatever_words_makes_no_living_video_gone_and_all_come(
    make_sandbox: MakeSandbox, words: str
) -> None:
    sandbox = make_sandbox(many_rows(50))
    sandbox.world.throttle = FakeThrottle(after=12, for_s=15.0, kind=words)
    run, seen = watched(sandbox, *COPY, "-w", "4")
    assert not [category for category in seen if Category(category).settled], run.out
    assert (run.code, sandbox.errors()) == (0, {}), run.out
    assert len(sandbox.files()) == 50
    assert "all workers are paused until" in run.out


def test_media_that_are_refused_to_everybody_pause_the_run_and_no_clip_is_in_the_log(make_sandbox: MakeSandbox) -> None:
    """Among videos that are gone, or whose player fails for itself."""
    rows = many_rows(70)
    odd = among(rows, Scenario(failure=FAILURES["private"]), range(3, 70, 7))
    odd |= among(rows, Scenario(template(20), player_faults=(PlayerFault("status", 503),)), range(5, 70, 11))
    sandbox = make_sandbox(rows, odd)
    sandbox.write_csv(rows[:3])
    assert sandbox.run(*COPY).code == 0, "to be asked for again instead of any three others, which may all be odd"
    sandbox.write_csv(rows)
    sandbox.world.media_status = 403
    text, tried = "", set[str]()
    with LoopbackYouTube(sandbox.world) as youtube, sandbox.start(youtube, *COPY, "-w", "4", *ENGINE) as process:
        assert process.stdout
        for line in process.stdout:
            text += line
            if "paused until" in line and not tried:
                asked = {request.video_id for request in youtube.requests if request.kind == "media"}
                tried = asked - {*odd}
                assert {*categories(sandbox)} <= {"private", "server_error"}
                sandbox.world.media_status = None
        process.wait(PATIENCE_S)
    assert ALIKE_LIMIT <= len(tried) <= ALIKE_LIMIT + 8
    assert text.count("HTTP 403 from the media host") == 1, text
    assert (process.returncode, {*categories(sandbox)}) == (1, {"private", "server_error"})
    assert len(sandbox.files()) == len(rows) - len(odd)


def test_what_is_not_offered_keeps_no_re_run_from_what_failed_in_passing(make_sandbox: MakeSandbox) -> None:
    """48 clips, of which 30 are not offered to any client, and the last 5 fail in passing."""
    rows = many_rows(48)
    odd = among(rows, NOT_OFFERED, range(13, 43))
    odd |= among(rows, Scenario(template(20), player_faults=(PlayerFault("status", 503, times=2),)), range(43, 48))
    sandbox = make_sandbox(rows, odd)
    first = sandbox.run(*COPY)
    assert first.code == 1
    assert categories(sandbox) == {"not_offered": 30, "server_error": 5}
    assert "paused" not in first.err, "a video that came before was offered again"
    second = sandbox.run(*COPY)
    assert (second.code, categories(sandbox)) == (0, {"not_offered": 30})
    assert len(sandbox.files()) == 18
    assert "30  not offered" in second.out
    asked = {request.video_id for request in second.requests if request.kind == "player"}
    assert asked == {row.youtube_id for row in rows[43:]}, "nobody asks again so soon for what is not offered"


def test_a_re_run_to_which_nothing_comes_asks_again_for_a_clip_on_disk_and_pauses_nobody(
    make_sandbox: MakeSandbox,
) -> None:
    rows = many_rows(34)
    sandbox = make_sandbox(rows, among(rows, NOT_OFFERED, range(4, 34)))
    sandbox.write_csv(rows[:4])
    assert sandbox.run(*COPY).code == 0
    before = {path: path.stat().st_mtime_ns for path in sandbox.files()}
    sandbox.write_csv(rows)
    run = sandbox.run(*COPY)
    assert (run.code, categories(sandbox)) == (0, {"not_offered": 30})
    assert "paused" not in run.err
    assert {path: path.stat().st_mtime_ns for path in sandbox.files()} == before, "it is asked for, not fetched"


@pytest.mark.soak
def test_what_is_not_offered_at_the_beginning_of_a_list_is_told_from_a_block_too(make_sandbox: MakeSandbox) -> None:
    """Nothing has come yet, and nothing is on disk: any other clip of the list will do."""
    rows = many_rows(200)
    sandbox = make_sandbox(rows, among(rows, NOT_OFFERED, range(30)))
    run = sandbox.run(*COPY)
    assert (run.code, categories(sandbox)) == (0, {"not_offered": 30})
    assert len(sandbox.files()) == 170


@pytest.mark.parametrize("count", first_of([ALIKE_LIMIT + 5, 60, 400]))
def test_dead_videos_in_a_row_that_their_thumbnails_confirm_pause_nobody(make_sandbox: MakeSandbox, count: int) -> None:
    rows = many_rows(count + 8)
    sandbox = make_sandbox(rows, among(rows, DEAD, range(6, count + 6)))
    run = sandbox.run(*COPY)
    assert (run.code, categories(sandbox)) == (0, {"unavailable": count})
    assert "paused" not in run.err
    assert {reason for _, reason in sandbox.errors().values()} == {"Video unavailable"}


@pytest.mark.parametrize("count", first_of([30, 600]))
def test_a_dead_video_whose_thumbnail_stays_is_gone_all_the_same_and_pauses_nobody(
    make_sandbox: MakeSandbox, count: int
) -> None:
    rows = many_rows(count)
    odd = among(rows, TERMINATED, range(20, count, 100))
    sandbox = make_sandbox(rows, odd)
    run = sandbox.run(*COPY)
    assert (run.code, {*sandbox.errors()}) == (0, {*odd})
    assert {*sandbox.errors().values()} == {("unavailable", "Video unavailable (its thumbnail is still there)")}
    assert "paused" not in run.err


MODES: tuple[ThumbnailMode, ...] = ("all 404", "all 200", "503", "hang up", "silent")


@pytest.mark.parametrize("mode", first_of(MODES))
def test_a_thumbnail_host_that_misleads_or_does_not_answer_changes_no_verdict(
    make_sandbox: MakeSandbox, mode: ThumbnailMode
) -> None:
    rows = many_rows(40)
    odd = among(rows, DEAD, range(4, 36, 8))
    sandbox = make_sandbox(rows, odd)
    sandbox.world.thumbnails = mode
    run, seen = watched(sandbox, *COPY)
    assert seen <= {"unavailable"}
    assert (run.code, {*sandbox.errors()}) == (0, {*odd}), run.out
    assert len(sandbox.files()) == 36
    assert run.out.count("thumbnail host") == (0 if mode == "all 200" else 1)


def test_no_thumbnails_asks_nobody_for_them(make_sandbox: MakeSandbox) -> None:
    rows = many_rows(6)
    sandbox = make_sandbox(rows, among(rows, DEAD, [2]))
    run = sandbox.run(*COPY, "--no-thumbnails")
    assert (run.code, categories(sandbox)) == (0, {"unavailable": 1})
    assert run.kinds()["thumbnail"] == 0


def test_a_doubt_has_no_line_in_the_log_and_a_postponed_row_until_a_later_call_is_answered(
    make_sandbox: MakeSandbox,
) -> None:
    rows = many_rows(1)
    sandbox = make_sandbox(rows, among(rows, DEAD, [0]))
    run = sandbox.run(*COPY)
    assert (run.code, categories(sandbox)) == (1, {"throttled": 1}), "nothing else was answered"
    assert [row["status"] for row in sandbox.attempts()] == ["postponed", "failed"]


@pytest.mark.soak
def test_a_block_that_lasts_is_named_and_ctrl_c_loses_nothing(make_sandbox: MakeSandbox) -> None:
    sandbox = make_sandbox(many_rows(60))
    sandbox.world.throttle = FakeThrottle(after=12, for_s=3600.0, kind="unknown sentence")
    with LoopbackYouTube(sandbox.world) as youtube, sandbox.start(youtube, *COPY) as process:
        assert process.stdout
        assert any("failed alike" in line for line in process.stdout)
        assert sandbox.errors() == {}
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130
    sandbox.world.throttle = None
    assert sandbox.run(*COPY).code == 0
    assert len(sandbox.files()) == 60
