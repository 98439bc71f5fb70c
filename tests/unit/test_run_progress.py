"""How far a run is, as a bar, a callback and a file are told: what it counts, and what the time left is based on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from kinetics.planning.gone_videos import StillGone
from kinetics.records import ArchiveProgress, Category, Clip, Outcome
from kinetics.run.progress import BASED_ON_THIS_RUN, ProgressTracker
from kinetics.scheduling.events import Notice, Pause, SpacingChanged
from tests.unit.conftest import FakeTime


@pytest.fixture
def clips() -> Iterator[Clip]:
    return (Clip(f"-clip-{number:05}", 0.0, 10.0, "tai chi", "train") for number in range(99))


def test_each_clip_is_counted_once_and_the_counts_add_up(clips: Iterator[Clip]) -> None:
    tracker = ProgressTracker(9, wanted=20, on_disk=7)
    for status, category in (("done", None), ("failed", Category.NOT_OFFERED), ("failed", Category.TIMEOUT)):
        tracker.take(Outcome(next(clips), status, category, calls=2))  # type: ignore[arg-type]
    tracker.take(StillGone(next(clips).failed(Category.PRIVATE, "")))
    tracker.take(Outcome(next(clips), "postponed", Category.THROTTLED, calls=1))
    tracker.take(Notice("nothing of a clip"))
    now = tracker.progress
    assert (now.wanted, now.on_disk, now.todo) == (20, 8, 9)
    assert (now.done, now.gone, now.not_offered, now.failed) == (1, 1, 1, 1)
    assert (now.ended, now.left, now.calls) == (4, 5, 7)


def test_what_the_mirror_lacks_is_left_while_youtube_is_still_to_be_asked(clips: Iterator[Clip]) -> None:
    lacking = Outcome(next(clips), "failed", Category.NOT_FOUND, source="mirror")
    for provisional, left in ((True, 3), (False, 2)):
        tracker = ProgressTracker(3, provisional=provisional)
        tracker.take(lacking)
        assert (tracker.progress.gone, tracker.progress.left) == (3 - left, left)


def test_the_time_left_is_the_forecasts_until_a_clip_has_ended(run_clock: FakeTime, clips: Iterator[Clip]) -> None:
    assert ProgressTracker(3).progress.left_s is None
    tracker = ProgressTracker(3, expected_s=600.0, basis="published figures")
    run_clock.now += 60
    assert (tracker.progress.left_s, tracker.progress.basis) == (540.0, "published figures")
    tracker.take(Outcome(next(clips), "done"))
    assert (tracker.progress.left_s, tracker.progress.basis) == (120.0, BASED_ON_THIS_RUN)
    assert tracker.progress.clips_an_hour == 60.0
    for clip in (next(clips), next(clips)):
        tracker.take(Outcome(clip, "done"))
    assert tracker.progress.left_s == 0.0


def test_a_pause_is_told_until_it_is_over_and_only_if_everybody_is_in_it(run_clock: FakeTime) -> None:
    tracker, pause = ProgressTracker(3), Pause(Category.THROTTLED, "HTTP 429", 60.0)
    tracker.take(Pause(Category.THROTTLED, "HTTP 429", 60.0, host="10.0.0.7"))
    assert tracker.progress.pause is None
    tracker.take(pause)
    run_clock.now += 59
    now = tracker.progress
    assert (now.pause, now.pause_left_s) == (pause, 1.0)
    assert now.paused_until is not None
    run_clock.now += 1
    now = tracker.progress
    assert (now.pause, now.pause_left_s, now.paused_until) == (None, 0.0, None)


def test_the_pace_and_the_bytes_are_told(run_clock: FakeTime, clips: Iterator[Clip]) -> None:
    tracker = ProgressTracker(3, to_read=500)
    tracker.take(SpacingChanged(12.0, published=True))
    tracker.take(Outcome(next(clips), "done", bytes_received=400))
    for position in (300, 100, 250):  # the archive was restarted
        tracker.take(ArchiveProgress("https://mirror/one.tar", position, 500))
    run_clock.now += 10
    now = tracker.progress
    assert (now.allowed_an_hour, now.read, now.to_read) == (300.0, 250, 500)
    assert now.bytes_a_second == pytest.approx((400 + 300 + 150) / 10)
    tracker.take(SpacingChanged(0.0))
    assert tracker.progress.allowed_an_hour is None
