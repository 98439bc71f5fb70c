"""Of YouTube and the mirror the one is asked first with which both together are quicker, and then the other."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from pathlib import Path

import pandas as pd

from kinetics.annotations.table import Annotations
from kinetics.planning.estimate import Estimate
from kinetics.planning.gone_videos import RunEvent
from kinetics.planning.plan import Plan, make_plan
from kinetics.planning.sources import (
    MIRROR_BYTES_S,
    MirrorOffer,
    SourceRunner,
    compare_orders,
    run_sources,
)
from kinetics.records import Category, Clip, Outcome, Source
from kinetics.scheduling.dispatch import Event
from kinetics.scheduling.events import GaveUp, Notice
from kinetics.storage.layout import Layout
from kinetics.storage.ledger import Ledger

CLIPS = [Clip(f"-clip-{number:05}", number, number + 10.0, "tai chi", "train") for number in range(6)]
GAVE_UP = GaveUp(Category.THROTTLED, "too many requests")


def by_youtube(clips: int, gone_share: float = 0.25) -> Estimate:
    """At the pace that is said of guests: 300 clips an hour."""
    return Estimate(clips * 1e6, clips * 12.0, 0, gone_share)


def test_a_whole_set_is_asked_of_the_mirror_first() -> None:
    weighed = compare_orders(MirrorOffer(240_000, ((450 * 10**9, 234_000),), 0), by_youtube(240_000), settled=0)
    assert weighed.order == ("mirror", "youtube")
    assert weighed.mirror_s == 450e9 / MIRROR_BYTES_S
    assert weighed.seconds("mirror") < weighed.seconds("youtube")


def test_a_few_clips_that_may_be_in_any_of_many_archives_are_asked_of_youtube_first() -> None:
    archives = ((2 * 10**9, 50 / 240),) * 240
    assert compare_orders(MirrorOffer(50, archives, 0), by_youtube(50), settled=0).order == ("youtube", "mirror")


def test_a_few_clips_that_are_known_to_be_gone_are_asked_of_the_mirror_first() -> None:
    assert compare_orders(MirrorOffer(50, ((2 * 10**9, 50.0),), 0), by_youtube(50), settled=50).order == (
        "mirror",
        "youtube",
    )


def test_fewer_archives_are_needed_for_what_youtube_lacks_than_for_all() -> None:
    offered = MirrorOffer(100, ((1000, 100.0), (1000, 0.5)), 0)
    assert offered.size == 2000
    assert 1000 < offered.size_for(0.25) < 1200
    assert offered.size_for(1.0) == 2000
    assert offered.size_for(0.0) == 0


def test_offers_of_several_subsets_are_one() -> None:
    both = MirrorOffer(10, ((5, 9.0),), 1) + MirrorOffer(30, ((7, 21.0),), 2)
    assert (both.missing, both.size, both.share, both.unknown_sizes) == (40, 12, 0.75, 3)


def way(asked: list[list[Clip]], has: Sequence[int], gives_up: bool = False) -> SourceRunner:
    """A source that has some of the clips."""

    def ask(plan: Plan) -> Generator[Event, None, None]:
        asked.append([*plan.clips()])
        for clip in asked[-1]:
            if CLIPS.index(clip) in has:
                yield Outcome(clip, "done")
            elif not gives_up:
                yield Outcome(clip, "failed", Category.PRIVATE)
        if gives_up:
            yield GAVE_UP

    return ask


ORDER: Sequence[Source] = ("mirror", "youtube")


def both(mirror: SourceRunner, youtube: SourceRunner) -> dict[Source, SourceRunner]:
    return {"mirror": mirror, "youtube": youtube}


def plan(folder: Path) -> Plan:
    rows = [(*clip.key, clip.label, clip.split) for clip in CLIPS]
    frame = pd.DataFrame(rows, columns=["youtube_id", "time_start", "time_end", "label", "split"])
    layout = Layout(folder, "600")
    return make_plan(Annotations(frame, ()), layout, {"train": Ledger(layout, "train")}, "exact", "all")


def test_the_second_source_is_asked_for_what_the_first_did_not_give(tmp_path: Path) -> None:
    asked = list[list[Clip]]()
    events = [*run_sources(plan(tmp_path), ORDER, both(way(asked, [0, 2]), way(asked, [1, 2, 3])))]
    assert asked == [CLIPS, [CLIPS[number] for number in (1, 3, 4, 5)]]
    assert sum(isinstance(event, Outcome) and event.status == "done" for event in events) == 4


def test_the_second_source_is_not_asked_where_the_first_gave_all(tmp_path: Path) -> None:
    asked = list[list[Clip]]()
    assert len([*run_sources(plan(tmp_path), ORDER, both(way(asked, range(6)), way(asked, [])))]) == 6
    assert len(asked) == 1


def test_where_one_source_gives_up_the_other_is_asked_for_the_rest_and_the_run_says_so(tmp_path: Path) -> None:
    asked = list[list[Clip]]()
    sources = both(way(asked, [1]), way(asked, [0], gives_up=True))
    events = [*run_sources(plan(tmp_path), ["youtube", "mirror"], sources)]
    assert asked[1] == CLIPS[1:]
    (notice,) = (event for event in events if isinstance(event, Notice))
    assert "too many requests" in notice.text
    assert events[-1] == GAVE_UP


def test_a_source_that_gave_up_is_no_matter_once_the_other_has_given_the_rest(tmp_path: Path) -> None:
    asked = list[list[Clip]]()
    events = [*run_sources(plan(tmp_path), ORDER, both(way(asked, [0], gives_up=True), way(asked, range(6))))]
    assert GAVE_UP not in events


def test_where_the_mirror_gives_up_it_is_asked_again_once_after_youtube(tmp_path: Path) -> None:
    asked = list[list[Clip]]()
    turns = iter([way(asked, [0], gives_up=True), way(asked, [5])])

    def mirror(plan: Plan) -> Generator[RunEvent, None, None]:
        return next(turns)(plan)

    sources = both(mirror, way(asked, [1, 2]))
    events = [*run_sources(plan(tmp_path), ORDER, sources)]
    assert asked == [CLIPS, CLIPS[1:], CLIPS[3:]]
    assert not [event for event in events if isinstance(event, GaveUp)]


def test_a_mirror_that_gives_up_twice_ends_the_run_with_that(tmp_path: Path) -> None:
    asked = list[list[Clip]]()
    events = [*run_sources(plan(tmp_path), ORDER, both(way(asked, [], gives_up=True), way(asked, [1])))]
    assert len(asked) == 3
    assert events[-1] == GAVE_UP


def test_a_run_that_is_ended_early_ends_the_way_it_was_on(tmp_path: Path) -> None:
    ended = list[str]()

    def ask(plan: Plan) -> Generator[Event, None, None]:
        try:
            yield None
        finally:
            ended.append("yes")

    events = run_sources(plan(tmp_path), ["mirror"], {"mirror": ask})
    next(events)
    events.close()
    assert ended == ["yes"]
