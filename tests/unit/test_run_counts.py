"""The last word on a clip counts, and counts once."""

from __future__ import annotations

from dataclasses import replace

from kinetics.records import Category, Clip, Outcome
from kinetics.run.counts import RunCounts

CLIP, OTHER = (Clip(f"-clip-{number:05}", 0.0, 10.0, "tai chi", "train") for number in range(2))
DONE, PRIVATE = Outcome(CLIP, "done"), Outcome(CLIP, "failed", Category.PRIVATE)
LACKING = Outcome(CLIP, "failed", Category.NOT_FOUND, source="mirror")


def counted(*outcomes: Outcome) -> dict[Category | None, int]:
    tally = RunCounts()
    for outcome in outcomes:
        tally.take(outcome)
    return dict(+tally.counts)


def test_each_clip_counts_by_what_came_of_it() -> None:
    assert counted(DONE, Outcome(OTHER, "failed", Category.TIMEOUT)) == {None: 1, Category.TIMEOUT: 1}


def test_a_clip_that_was_postponed_is_still_to_come() -> None:
    assert counted(Outcome(CLIP, "postponed", Category.THROTTLED)) == {}


def test_a_clip_that_one_source_has_is_not_missing_though_the_other_lacks_it() -> None:
    assert counted(LACKING, DONE) == {None: 1}
    assert counted(PRIVATE, DONE) == {None: 1}


def test_youtube_s_word_on_a_clip_weighs_more_than_that_the_mirror_lacks_it() -> None:
    assert counted(LACKING, PRIVATE) == counted(PRIVATE, LACKING) == {Category.PRIVATE: 1}
    assert counted(LACKING) == {Category.NOT_FOUND: 1}


def test_a_clip_that_only_the_mirror_is_asked_for_and_lacks_is_still_not_offered() -> None:
    counts = RunCounts(not_offered={CLIP.key})
    for outcome in (LACKING, replace(LACKING, clip=OTHER)):
        counts.take(outcome)
    assert counts.counts == {Category.NOT_OFFERED: 1, Category.NOT_FOUND: 1}
    assert counts.gone == 1
    counts.take(DONE)
    assert dict(+counts.counts) == {None: 1, Category.NOT_FOUND: 1}


def test_every_attempts_calls_count_and_those_for_gone_videos_apart() -> None:
    counts = RunCounts()
    for outcome in (
        replace(DONE, calls=2),
        replace(DONE, clip=OTHER, calls=0),  # another section of the same video
        Outcome(OTHER, "postponed", Category.THROTTLED, calls=3),
        Outcome(CLIP, "failed", Category.PAST_END, calls=5),
        replace(PRIVATE, calls=7),
        replace(LACKING, calls=0),
        Outcome(CLIP, "done", source="mirror"),
    ):
        counts.take(outcome)
    assert (counts.calls, counts.calls_for_gone, counts.from_youtube) == (17, 7, 2)
