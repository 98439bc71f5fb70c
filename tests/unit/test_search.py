"""The archives that may hold missing clips are asked for until they hold none, and no more often than that."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from pathlib import Path

import pytest

from kinetics.mirror.catalog import BASE, REPLACEMENTS, ArchiveIndex, Labels
from kinetics.mirror.search import BLAMED, TRIES, MirrorSearch
from kinetics.records import ArchiveListing, ArchiveProgress, ArchiveRequest, ArchiveResult, Category, Clip, Outcome
from kinetics.scheduling.dispatch import Event
from kinetics.scheduling.events import GaveUp, Notice, Pause
from kinetics.storage.layout import clip_name

A, B = f"{BASE}400/train/part_0.tar.gz", f"{BASE}400/train/part_1.tar.gz"
CLIPS = [Clip(f"-clip-{number:05}", number, number + 10.0, "tai chi", "train") for number in range(6)]
NAMES = [clip_name(*clip.key) for clip in CLIPS]
Reading = Callable[[ArchiveRequest], Iterable[Event]]


class House:
    """Archives that are read in this process: what comes of each is what the test says."""

    def __init__(self, **readings: Reading) -> None:
        self.readings = {{"a": A, "b": B}[name]: reading for name, reading in readings.items()}
        self.asked: list[list[ArchiveRequest]] = []

    def __call__(self, needs: Iterable[ArchiveRequest]) -> Generator[Event, None, None]:
        self.asked.append([*needs])
        for need in self.asked[-1]:
            yield from self.readings[need.url](need)

    @property
    def urls(self) -> list[list[str]]:
        return [[need.url for need in needs] for needs in self.asked]


def holds(*numbers: int, unfit: Iterable[int] = (), size: int = 1000, exhausted: bool = True) -> Reading:
    """An archive that is read to its end."""

    def read(need: ArchiveRequest) -> Iterator[Event]:
        for number in numbers:
            if number in unfit:
                yield Outcome(CLIPS[number], "failed", Category.NOT_FOUND, "unfit", source="mirror")
            else:
                yield Outcome(CLIPS[number], "done", source="mirror")
        names = frozenset(NAMES[number] for number in numbers)
        contents = ArchiveListing(size, '"e"', names, frozenset(NAMES[number] for number in unfit), exhausted)
        yield ArchiveResult(need, "done", contents=contents)

    return read


def fails(category: Category = Category.SERVER_ERROR, at: int | None = None) -> Reading:
    def read(need: ArchiveRequest) -> Iterator[Event]:
        if at is not None and NAMES[at] not in need.unfit:
            yield ArchiveProgress(need.url, 500, 1000, NAMES[at])
        yield ArchiveResult(need, "failed", category, "it broke")

    return read


def in_turn(*readings: Reading) -> Reading:
    """What comes of an archive each time that it is read."""
    left = iter(readings)

    def read(need: ArchiveRequest) -> Iterable[Event]:
        return next(left)(need)

    return read


@pytest.fixture
def index(tmp_path: Path) -> ArchiveIndex:
    return ArchiveIndex(tmp_path)


def gathered(index: ArchiveIndex, house: House, wanted: Iterable[int] = range(6)) -> tuple[MirrorSearch, list[Event]]:
    gathering = MirrorSearch([A, B], index, {NAMES[number] for number in wanted}, Labels())
    return gathering, [*gathering.run(house)]


def done(events: Iterable[Event]) -> list[int]:
    return [CLIPS.index(event.clip) for event in events if isinstance(event, Outcome) and event.status == "done"]


def test_each_archive_is_read_once_and_what_it_holds_is_known_to_the_next_search(index: ArchiveIndex) -> None:
    house = House(a=holds(0, 1), b=holds(2, 3))
    gathering, events = gathered(index, house)
    assert (done(events), house.urls) == ([0, 1, 2, 3], [[A, B]])
    assert gathering.missing == {*NAMES[4:]}
    assert gathering.exhausted

    again, _ = gathered(index, house, wanted=(4, 5))
    assert again.exhausted
    assert house.urls == [[A, B]], "nothing that is missing is anywhere"
    house.asked.clear()
    gathered(index, house, wanted=(3, 5))
    assert house.asked == [[ArchiveRequest(B, frozenset({NAMES[3]}), all_known=True)]]


def test_the_search_ends_with_the_last_clip_that_is_missing(index: ArchiveIndex) -> None:
    house = House(a=holds(0, 1), b=fails())
    gathering, events = gathered(index, house, wanted=(0, 1))
    assert done(events) == [0, 1]
    assert not any(isinstance(event, ArchiveResult | Notice) for event in events)
    assert gathering.exhausted


def test_a_clip_that_is_in_two_archives_is_had_once(index: ArchiveIndex) -> None:
    _, events = gathered(index, House(a=holds(0, 1), b=holds(1, 2)))
    assert done(events) == [0, 1, 2]


def test_a_clip_that_was_had_is_not_missing_because_another_archive_has_it_unfit(index: ArchiveIndex) -> None:
    _, events = gathered(index, House(a=holds(0, 1), b=holds(1, unfit=[1])))
    assert [event.status for event in events if isinstance(event, Outcome)] == ["done", "done"]


def test_a_clip_that_is_unfit_in_one_archive_is_had_from_another(index: ArchiveIndex) -> None:
    index.keep(B, ArchiveListing(1000, '"e"', frozenset({NAMES[1]}), exhausted=True))
    index.keep(A, ArchiveListing(1000, '"e"', frozenset({NAMES[1]}), exhausted=True))
    house = House(a=holds(1, unfit=[1]), b=holds(1))
    gathering, events = gathered(index, house, wanted=[1])
    assert (done(events), house.urls) == ([1], [[A], [B]])
    assert gathering.unfit == {NAMES[1]}


def test_an_archive_that_cannot_be_read_is_asked_for_again_and_then_named(index: ArchiveIndex) -> None:
    house = House(a=fails(), b=holds(2))
    gathering, events = gathered(index, house)
    assert house.urls == [[A, B]] + [[A]] * (TRIES - 1)
    assert not gathering.exhausted, "it may hold what is missing"
    assert [event.text for event in events if isinstance(event, Notice)] == [f"{A} cannot be read: it broke"]
    assert gathering.unread == {A: "it broke"}


def test_an_archive_that_no_list_names_need_not_be_there(index: ArchiveIndex) -> None:
    (extra,) = REPLACEMENTS["400"]
    house = House(a=holds(0))
    house.readings[extra] = fails()
    gathering = MirrorSearch([extra, A], index, {*NAMES}, Labels())
    assert not [event for event in gathering.run(house) if isinstance(event, Notice)]
    assert gathering.exhausted


def test_an_archive_that_can_be_read_the_second_time_is_none_the_worse(index: ArchiveIndex) -> None:
    gathering, events = gathered(index, House(a=in_turn(fails(), holds(0)), b=holds(2)))
    assert done(events) == [2, 0]
    assert gathering.exhausted


def test_a_clip_at_which_workers_are_lost_is_left_out(index: ArchiveIndex) -> None:
    lost = fails(Category.LOST_WORKER, at=1)
    house = House(a=in_turn(lost, lost, holds(0, 2)), b=holds())
    gathering, events = gathered(index, house)
    assert done(events) == [0, 2]
    assert [next(iter(needs)).unfit for needs in house.asked] == [frozenset()] * BLAMED + [frozenset({NAMES[1]})]
    assert gathering.exhausted
    found = index.find(A)
    assert found
    assert found.unfit == {NAMES[1]}, "in the next run, too"


def test_each_of_some_clips_at_which_workers_are_lost_is_left_out_and_the_archive_is_read(index: ArchiveIndex) -> None:
    first, second = fails(Category.LOST_WORKER, at=1), fails(Category.TIMEOUT, at=2)
    house = House(a=in_turn(first, first, second, second, holds(0, 3)), b=holds())
    assert done(gathered(index, house)[1]) == [0, 3]


def test_an_archive_that_no_longer_has_what_it_is_known_for_is_asked_once(index: ArchiveIndex) -> None:
    index.keep(A, ArchiveListing(1000, '"e"', frozenset({NAMES[1]}), exhausted=True))
    house = House(a=in_turn(holds()), b=holds())
    gathering, _ = gathered(index, house, wanted=[1])
    assert house.urls == [[A]]
    assert gathering.exhausted


def test_what_came_of_an_archive_before_it_broke_is_kept(index: ArchiveIndex) -> None:
    def breaks(need: ArchiveRequest) -> Iterator[Event]:
        yield Outcome(CLIPS[0], "done", source="mirror")
        yield ArchiveResult(
            need, "failed", Category.MEDIA_ERROR, "cut", contents=ArchiveListing(9, '"e"', frozenset(NAMES[:1]))
        )

    gathering, events = gathered(index, House(a=breaks, b=holds()))
    assert done(events) == [0]
    assert NAMES[0] not in gathering.missing
    found = index.find(A)
    assert found
    assert (found.names, found.exhausted) == (frozenset(NAMES[:1]), False)


def test_damage_is_told_and_what_is_behind_it_is_not_asked_for_again(index: ArchiveIndex) -> None:
    def damaged(need: ArchiveRequest) -> Iterator[Event]:
        yield ArchiveResult(
            need, "done", Category.MEDIA_ERROR, "the archive is damaged", contents=ArchiveListing(9, exhausted=True)
        )

    gathering, events = gathered(index, House(a=damaged, b=holds()))
    assert [event.text for event in events if isinstance(event, Notice)] == [f"{A}: the archive is damaged"]
    assert gathering.exhausted


def test_what_the_mirror_refuses_is_said_of_the_mirror_and_ends_the_search_when_it_is_for_good(
    index: ArchiveIndex,
) -> None:
    def refuses(need: ArchiveRequest) -> Iterator[Event]:
        yield ArchiveResult(need, "postponed", Category.THROTTLED, "slow down")
        yield Pause(Category.THROTTLED, "slow down", 15.0)
        yield GaveUp(Category.THROTTLED, "slow down")

    gathering, events = gathered(index, House(a=refuses, b=holds(0)))
    assert events == [
        Pause(Category.THROTTLED, "slow down", 15.0, server="the mirror"),
        GaveUp(Category.THROTTLED, "slow down", server="the mirror"),
    ]
    assert not gathering.exhausted
