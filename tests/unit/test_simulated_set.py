"""A whole data set by a fake clock: the order of the planner, the published limit and the learner together."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import replace

import pytest

from kinetics.planning.gone_videos import GoneVideos
from kinetics.planning.living_first import LivingFirst
from kinetics.records import Category, Clip, Outcome, Thumbnail, Video
from kinetics.scheduling.call_pace import CallPace
from kinetics.scheduling.dispatch import Event
from kinetics.scheduling.throttle import Throttle
from tests.support.sweeps import first_of
from tests.unit.test_living_first import FakeLookup, everything, nothing, right, silent, swapped
from tests.unit.test_throttle import DAY, HOUR, Answer, FakeLimit, Run, done, steps

Says = Callable[[str], Thumbnail]


def video(number: int) -> Clip:
    """Every third video is dead, in no regular order."""
    return Clip(f"{'dead' if number * 7919 % 3 == 0 else 'live'}-{number:06}", 0.0, 10.0, "tai chi", "train")


def lives(clip: Clip) -> bool:
    return clip.youtube_id.startswith("live")


def player(says: Says | None, dead: Callable[[Clip], Outcome]) -> Answer:
    """A YouTube that answers by whether a video lives, and workers that ask for the thumbnails of unavailable ones."""
    came = list[str]()

    def answer(wanted: Clip, now: float) -> Outcome:
        if lives(wanted):
            came.append(wanted.youtube_id)
            return done(wanted)
        outcome = dead(wanted)
        if not (says and outcome.unconfirmed):
            return outcome
        living = tuple(says(one) for one in came[:3])
        return replace(outcome, thumbnail=says(wanted.youtube_id), living_thumbnails=living)

    return answer


def private(wanted: Clip) -> Outcome:
    return Outcome(wanted, "failed", Category.PRIVATE, "Private video", calls=1)


def bare(wanted: Clip) -> Outcome:
    return Outcome(wanted, "failed", Category.UNAVAILABLE, "Video unavailable", unconfirmed=True, calls=1)


def download(
    clips: Iterator[Clip],
    answer: Answer,
    says: Says | None,
    *,
    throttle: Throttle,
    until: float = float("inf"),
    enough: Callable[[Run], bool] = lambda run: False,
) -> Run:
    """Play a run in the planner's order; in the list's order if thumbnails are not asked for."""
    run = Run()
    if says is None:
        for _ in steps(run, throttle, clips, answer, until=until):
            pass
        return run
    lookup = FakeLookup(says)
    gone = GoneVideos((), (), lookup, lambda clip, thumbnail: None, known={})
    order = LivingFirst(clips, gone, lookup, clock=lambda: lookup.now)

    def play(items: Iterator[Clip | Video]) -> Generator[Event, None, None]:
        told = 0
        for _ in steps(run, throttle, items, answer, until=until):  # type: ignore[arg-type]  # no videos here
            lookup.now = run.now = max(lookup.now, run.now)
            yield from run.rows[told:]
            told = len(run.rows)
            yield None

    for _ in order.watching(play):
        if run.now >= until or enough(run):
            break
    return run


def had(run: Run) -> list[Outcome]:
    return [outcome for _, outcome in run.outcomes if outcome.status == "done"]


def limited(answer: Answer, limit: FakeLimit) -> Answer:
    """The same player behind a limit."""

    def answer_or_refuse(wanted: Clip, now: float) -> Outcome:
        decision = limit(wanted, now)
        return answer(wanted, now) if decision.status == "done" else decision

    return answer_or_refuse


PUBLISHED = (300, HOUR, HOUR)


@pytest.mark.parametrize("count", first_of([20_000, 100_000]))
def test_on_the_first_day_at_least_95_percent_of_the_living_clips_come_that_the_limit_allows(count: int) -> None:
    """Of a list that is longer than what comes in that day."""
    limit = FakeLimit(*PUBLISHED)
    run = download(
        map(video, range(count)), limited(player(right, private), limit), right, throttle=Throttle(16), until=DAY
    )
    assert len(had(run)) >= 0.95 * 7200
    assert len(limit.calls_in_ban) <= 1


@pytest.mark.soak
def test_until_the_living_are_had_nearly_every_call_of_the_whole_set_brings_a_clip() -> None:
    limit, count = FakeLimit(*PUBLISHED), 100_000
    living = sum(map(lives, map(video, range(count))))
    run = download(
        map(video, range(count)),
        limited(player(right, private), limit),
        right,
        throttle=Throttle(16),
        enough=lambda run: len(run.outcomes) >= living and len(had(run)) == living,
    )
    assert len(had(run)) == living
    assert living / len(run.sends) >= 0.97


MISLEADING = {"404 to all": nothing, "200 to all": everything, "swapped": swapped, "silent": silent}


@pytest.mark.parametrize("dead", [private, bare])
@pytest.mark.parametrize("says", MISLEADING.values(), ids=MISLEADING)
def test_thumbnails_that_mislead_change_no_end_and_cost_at_most_2_percent_more_calls(
    says: Says, dead: Callable[[Clip], Outcome]
) -> None:
    def run(says: Says | None) -> Run:
        throttle = Throttle(4, pace=CallPace(limited=False))
        return download(map(video, range(600)), player(says, dead), says, throttle=throttle)

    without, misled = run(None), run(says)
    assert (
        {one.clip for one in had(misled)}
        == {one.clip for one in had(without)}
        == {*filter(lives, map(video, range(600)))}
    )
    assert len(misled.outcomes) == 600
    assert len(misled.sends) + len(misled.controls) <= 1.02 * (len(without.sends) + len(without.controls))
