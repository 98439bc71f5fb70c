"""The archives that may hold missing clips are asked for until they hold none, and no more often than that."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from pathlib import Path

import pytest

from kinetics.mirror.catalog import BASE_URL, REPLACEMENT_ARCHIVES, ArchiveIndex, Labels
from kinetics.mirror.search import MAX_ATTEMPTS, MAX_WORKERS_LOST, MirrorSearch
from kinetics.records import ArchiveListing, ArchiveProgress, ArchiveRequest, ArchiveResult, Category, Clip, Outcome
from kinetics.scheduling.dispatch import Event
from kinetics.scheduling.events import GaveUp, Notice, Pause
from kinetics.storage.layout import clip_name

A, B = f"{BASE_URL}400/train/part_0.tar.gz", f"{BASE_URL}400/train/part_1.tar.gz"
CLIPS = [Clip(f"-clip-{number:05}", number, number + 10.0, "tai chi", "train") for number in range(6)]
NAMES = [clip_name(*clip.key) for clip in CLIPS]
Reading = Callable[[ArchiveRequest], Iterable[Event]]


class FakeMirror:
    """Archives that are read in this process: what comes of each is what the test says."""

    def __init__(self, **readings: Reading) -> None:
        self.readings = {{"a": A, "b": B}[name]: reading for name, reading in readings.items()}
        self.asked: list[list[ArchiveRequest]] = []

    def __call__(self, requests: Iterable[ArchiveRequest]) -> Generator[Event, None, None]:
        self.asked.append([*requests])
        for request in self.asked[-1]:
            yield from self.readings[request.url](request)

    @property
    def urls(self) -> list[list[str]]:
        return [[request.url for request in requests] for requests in self.asked]


def holds(*numbers: int, rejected: Iterable[int] = (), size: int = 1000, complete: bool = True) -> Reading:
    """An archive that is read to its end."""

    def read(request: ArchiveRequest) -> Iterator[Event]:
        for number in numbers:
            if number in rejected:
                yield Outcome(CLIPS[number], "failed", Category.NOT_FOUND, "rejected", source="mirror")
            else:
                yield Outcome(CLIPS[number], "done", source="mirror")
        names = frozenset(NAMES[number] for number in numbers)
        listing = ArchiveListing(size, '"e"', names, frozenset(NAMES[number] for number in rejected), complete)
        yield ArchiveResult(request, "done", listing=listing)

    return read


def fails(category: Category = Category.SERVER_ERROR, at: int | None = None) -> Reading:
    def read(request: ArchiveRequest) -> Iterator[Event]:
        if at is not None and NAMES[at] not in request.rejected:
            yield ArchiveProgress(request.url, 500, 1000, NAMES[at])
        yield ArchiveResult(request, "failed", category, "it broke")

    return read


def in_turn(*readings: Reading) -> Reading:
    """What comes of an archive each time that it is read."""
    left = iter(readings)

    def read(request: ArchiveRequest) -> Iterable[Event]:
        return next(left)(request)

    return read


@pytest.fixture
def index(tmp_path: Path) -> ArchiveIndex:
    return ArchiveIndex(tmp_path)


def searched(
    index: ArchiveIndex, mirror: FakeMirror, wanted: Iterable[int] = range(6)
) -> tuple[MirrorSearch, list[Event]]:
    search = MirrorSearch([A, B], index, {NAMES[number] for number in wanted}, Labels())
    return search, [*search.run(mirror)]


def done(events: Iterable[Event]) -> list[int]:
    return [CLIPS.index(event.clip) for event in events if isinstance(event, Outcome) and event.status == "done"]


def test_each_archive_is_read_once_and_what_it_holds_is_known_to_the_next_search(index: ArchiveIndex) -> None:
    mirror = FakeMirror(a=holds(0, 1), b=holds(2, 3))
    search, events = searched(index, mirror)
    assert (done(events), mirror.urls) == ([0, 1, 2, 3], [[A, B]])
    assert search.missing == {*NAMES[4:]}
    assert search.complete

    again, _ = searched(index, mirror, wanted=(4, 5))
    assert again.complete
    assert mirror.urls == [[A, B]], "nothing that is missing is anywhere"
    mirror.asked.clear()
    searched(index, mirror, wanted=(3, 5))
    assert mirror.asked == [[ArchiveRequest(B, frozenset({NAMES[3]}), all_known=True)]]


def test_the_search_ends_with_the_last_clip_that_is_missing(index: ArchiveIndex) -> None:
    mirror = FakeMirror(a=holds(0, 1), b=fails())
    search, events = searched(index, mirror, wanted=(0, 1))
    assert done(events) == [0, 1]
    assert not any(isinstance(event, ArchiveResult | Notice) for event in events)
    assert search.complete


def test_a_clip_that_is_in_two_archives_is_had_once(index: ArchiveIndex) -> None:
    _, events = searched(index, FakeMirror(a=holds(0, 1), b=holds(1, 2)))
    assert done(events) == [0, 1, 2]


def test_a_clip_that_was_had_is_not_missing_because_another_archive_has_it_unfit(index: ArchiveIndex) -> None:
    _, events = searched(index, FakeMirror(a=holds(0, 1), b=holds(1, rejected=[1])))
    assert [event.status for event in events if isinstance(event, Outcome)] == ["done", "done"]


def test_a_clip_that_is_unfit_in_one_archive_is_had_from_another(index: ArchiveIndex) -> None:
    index.update(B, ArchiveListing(1000, '"e"', frozenset({NAMES[1]}), complete=True))
    index.update(A, ArchiveListing(1000, '"e"', frozenset({NAMES[1]}), complete=True))
    mirror = FakeMirror(a=holds(1, rejected=[1]), b=holds(1))
    search, events = searched(index, mirror, wanted=[1])
    assert (done(events), mirror.urls) == ([1], [[A], [B]])
    assert search.rejected == {NAMES[1]}


def test_an_archive_that_cannot_be_read_is_asked_for_again_and_then_named(index: ArchiveIndex) -> None:
    mirror = FakeMirror(a=fails(), b=holds(2))
    search, events = searched(index, mirror)
    assert mirror.urls == [[A, B]] + [[A]] * (MAX_ATTEMPTS - 1)
    assert not search.complete, "it may hold what is missing"
    assert [event.text for event in events if isinstance(event, Notice)] == [f"{A} cannot be read: it broke"]
    assert search.unread == {A: "it broke"}


def test_an_archive_that_no_list_names_need_not_be_there(index: ArchiveIndex) -> None:
    (extra,) = REPLACEMENT_ARCHIVES["400"]
    mirror = FakeMirror(a=holds(0))
    mirror.readings[extra] = fails()
    search = MirrorSearch([extra, A], index, {*NAMES}, Labels())
    assert not [event for event in search.run(mirror) if isinstance(event, Notice)]
    assert search.complete


def test_an_archive_that_can_be_read_the_second_time_is_none_the_worse(index: ArchiveIndex) -> None:
    search, events = searched(index, FakeMirror(a=in_turn(fails(), holds(0)), b=holds(2)))
    assert done(events) == [2, 0]
    assert search.complete


def test_a_clip_at_which_workers_are_lost_is_left_out(index: ArchiveIndex) -> None:
    lost = fails(Category.LOST_WORKER, at=1)
    mirror = FakeMirror(a=in_turn(lost, lost, holds(0, 2)), b=holds())
    search, events = searched(index, mirror)
    assert done(events) == [0, 2]
    rejected = [requests[0].rejected for requests in mirror.asked]
    assert rejected == [frozenset()] * MAX_WORKERS_LOST + [frozenset({NAMES[1]})]
    assert search.complete
    found = index.find(A)
    assert found
    assert found.rejected == {NAMES[1]}, "in the next run, too"


def test_each_of_some_clips_at_which_workers_are_lost_is_left_out_and_the_archive_is_read(index: ArchiveIndex) -> None:
    first, second = fails(Category.LOST_WORKER, at=1), fails(Category.TIMEOUT, at=2)
    mirror = FakeMirror(a=in_turn(first, first, second, second, holds(0, 3)), b=holds())
    assert done(searched(index, mirror)[1]) == [0, 3]


def test_an_archive_that_no_longer_has_what_it_is_known_for_is_asked_once(index: ArchiveIndex) -> None:
    index.update(A, ArchiveListing(1000, '"e"', frozenset({NAMES[1]}), complete=True))
    mirror = FakeMirror(a=in_turn(holds()), b=holds())
    search, _ = searched(index, mirror, wanted=[1])
    assert mirror.urls == [[A]]
    assert search.complete


def test_what_came_of_an_archive_before_it_broke_is_kept(index: ArchiveIndex) -> None:
    def breaks(request: ArchiveRequest) -> Iterator[Event]:
        yield Outcome(CLIPS[0], "done", source="mirror")
        yield ArchiveResult(
            request, "failed", Category.MEDIA_ERROR, "cut", listing=ArchiveListing(9, '"e"', frozenset(NAMES[:1]))
        )

    search, events = searched(index, FakeMirror(a=breaks, b=holds()))
    assert done(events) == [0]
    assert NAMES[0] not in search.missing
    found = index.find(A)
    assert found
    assert (found.names, found.complete) == (frozenset(NAMES[:1]), False)


def test_damage_is_told_and_what_is_behind_it_is_not_asked_for_again(index: ArchiveIndex) -> None:
    def damaged(request: ArchiveRequest) -> Iterator[Event]:
        yield ArchiveResult(
            request, "done", Category.MEDIA_ERROR, "the archive is damaged", listing=ArchiveListing(9, complete=True)
        )

    search, events = searched(index, FakeMirror(a=damaged, b=holds()))
    assert [event.text for event in events if isinstance(event, Notice)] == [f"{A}: the archive is damaged"]
    assert search.complete


def test_what_the_mirror_refuses_is_said_of_the_mirror_and_ends_the_search_when_it_is_for_good(
    index: ArchiveIndex,
) -> None:
    def refuses(request: ArchiveRequest) -> Iterator[Event]:
        yield ArchiveResult(request, "postponed", Category.THROTTLED, "slow down")
        yield Pause(Category.THROTTLED, "slow down", 15.0)
        yield GaveUp(Category.THROTTLED, "slow down")

    search, events = searched(index, FakeMirror(a=refuses, b=holds(0)))
    assert events == [
        Pause(Category.THROTTLED, "slow down", 15.0, server="the mirror"),
        GaveUp(Category.THROTTLED, "slow down", server="the mirror"),
    ]
    assert not search.complete
