"""Several hosts, one queue: each with its own throttle, and what one cannot do the others do."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import cycle

import pytest

from kinetics.records import Category, Clip, ControlCall, ControlResult, Item, Outcome, Result, Video
from kinetics.scheduling import dispatch as dispatch_module
from kinetics.scheduling.dispatch import Event, ItemReport, ItemReturned, _by_video, dispatch
from kinetics.scheduling.events import GaveUp, Notice, Pause
from kinetics.scheduling.refusals import RefusedItems
from kinetics.scheduling.throttle import Throttle
from kinetics.scheduling.undecided import ALIKE_LIMIT

Answer = Callable[[Clip], Outcome | None]
"""A host's outcome of a clip; None: no outcome will ever come."""


@dataclass(eq=False)
class FakeHost:
    """A host that does one clip after another; `takes_s` are the seconds that they take."""

    name: str
    pool: FakePool
    answer: Answer
    takes_s: Iterator[float]
    throttle: Throttle
    given: list[Clip] = field(default_factory=list)
    controls: list[ControlCall] = field(default_factory=list)
    in_flight: int = 0

    @property
    def in_player_call(self) -> int:
        return self.in_flight

    def ready(self) -> bool:
        return self.in_flight == 0

    def give(self, item: Item, now: float) -> bool:
        self.in_flight += 1
        outcome: Result | None
        if isinstance(item, ControlCall):
            self.controls.append(item)
            said = self.answer(item.clip)
            outcome = said and ControlResult(item, said.status, said.category, said.reason, calls=2)
        else:
            assert isinstance(item, Clip | Video)
            self.given.append(item.clips[0] if isinstance(item, Video) else item)
            outcome = self.answer(self.given[-1])
        rest = item.after(self.given[-1]) if isinstance(item, Video) else None
        report = ItemReport(self, outcome, now, answered=False, rest=rest) if outcome else ItemReturned(self, item, now)
        self.pool.due.append(Due(now + next(self.takes_s), self, report))
        return True


@dataclass(frozen=True)
class Due:
    """A message that a host sends at some time."""

    time: float
    host: FakeHost
    report: ItemReport | ItemReturned


class FakePool:
    """A pool of such hosts, by a clock that moves on when somebody waits for messages."""

    def __init__(self) -> None:
        self.now = 0.0
        self.hosts: list[FakeHost] = []
        self.due: list[Due] = []
        self.refused_items = RefusedItems()

    def add_host(self, name: str, answer: Answer, takes_s: Iterable[float] = (1.0,)) -> FakeHost:
        self.hosts.append(FakeHost(name, self, answer, cycle(takes_s), Throttle(1, refused_items=self.refused_items)))
        return self.hosts[-1]

    @property
    def in_flight(self) -> int:
        return len(self.due)

    def messages(self, timeout_s: float) -> Sequence[ItemReport | ItemReturned]:
        self.now += timeout_s
        ended = [one for one in self.due if one.time <= self.now]
        self.due = [one for one in self.due if one.time > self.now]
        for one in ended:
            one.host.in_flight -= 1
        return [one.report for one in ended]

    def close(self) -> None:
        self.due.clear()


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> FakePool:
    pool = FakePool()
    monkeypatch.setattr(dispatch_module, "shared_time", lambda: pool.now)
    return pool


def clips(count: int) -> list[Clip]:
    return [Clip(f"{number:011d}", 0.0, 10.0, "tai chi", "train") for number in range(count)]


def run(pool: FakePool, wanted: Sequence[Item]) -> list[Event]:
    return [event for event in dispatch(pool, wanted) if event]


def outcomes(events: Sequence[Event]) -> Counter[tuple[str, str]]:
    return Counter((event.host, event.status) for event in events if isinstance(event, Outcome))


def done(host: str) -> Answer:
    return lambda clip: Outcome(clip, "done", host=host)


def refused(host: str) -> Answer:
    return lambda clip: Outcome(clip, "postponed", Category.THROTTLED, "too many", host=host)


def unavailable(host: str) -> Answer:
    return lambda clip: Outcome(clip, "failed", Category.UNAVAILABLE, "Video unavailable", host=host, unconfirmed=True)


def broken(host: str) -> Answer:
    return lambda clip: Outcome(clip, "failed", Category.ENGINE_ERROR, "what is this?", host=host)


def test_a_host_that_is_refused_pauses_alone_and_another_gets_its_clips(pool: FakePool) -> None:
    pool.add_host("a", refused("a"))
    pool.add_host("b", done("b"), takes_s=[10.0])
    events = run(pool, clips(40))
    assert outcomes(events)["b", "done"] == 40
    assert outcomes(events)["a", "postponed"] == 3
    assert Counter(event.host for event in events if isinstance(event, Pause)) == {"a": 3}


def test_what_was_refused_is_left_to_a_host_that_gets_answers(pool: FakePool) -> None:
    """One that does not would learn nothing of itself by it, and the clip would take the blame."""
    refusing = pool.add_host("a", refused("a"))
    pool.add_host("b", done("b"), takes_s=[4.0, 4.0, 4.0, 4.0, 500.0])
    wanted = clips(6)
    events = run(pool, wanted)
    assert refusing.given == [wanted[0], wanted[4]], "one after the first pause, and no more once none is new"
    assert {status for _, status in outcomes(events)} == {"done", "postponed"}


def test_a_clip_that_is_refused_wherever_it_goes_is_soon_known_for_it(pool: FakePool) -> None:
    odd = clips(40)[7]

    def but_for_the_odd_one(name: str) -> Answer:
        return lambda clip: (refused if clip == odd else done)(name)(clip)

    for name in "abcd":
        pool.add_host(name, but_for_the_odd_one(name))
    events = run(pool, clips(40))
    assert sum(isinstance(event, Pause) for event in events) == 2
    assert [event.status for event in events if isinstance(event, Outcome) and event.clip == odd] == [
        "postponed",
        "postponed",
        "failed",
    ]


def test_a_host_where_all_clips_fail_alike_pauses_alone_and_the_others_get_its_clips(pool: FakePool) -> None:
    pool.add_host("a", broken("a"))
    pool.add_host("b", done("b"))
    events = run(pool, clips(100))
    pauses = [(event.host, event.alike) for event in events if isinstance(event, Pause)]
    assert pauses[0] == ("a", ALIKE_LIMIT)
    assert {*pauses[1:]} <= {("a", 1)}
    assert outcomes(events) == {("a", "postponed"): ALIKE_LIMIT + len(pauses) - 1, ("b", "done"): 100}


def test_when_all_hosts_are_left_out_the_run_ends_and_no_clip_has_failed(pool: FakePool) -> None:
    for name in "ab":
        pool.add_host(name, broken(name))
    *_, last = events = run(pool, clips(100))
    assert isinstance(last, GaveUp)
    assert {status for _, status in outcomes(events)} == {"postponed"}
    told = [event.text for event in events if isinstance(event, Notice)]
    assert sorted(told) == ["a gets no more clips: what is this?", "b gets no more clips: what is this?"]


def test_failures_that_are_held_back_are_told_when_the_user_ends_the_run(
    pool: FakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    host, messages, told = pool.add_host("a", broken("a")), pool.messages, list[Event]()

    def interrupted(timeout_s: float) -> Sequence[ItemReport | ItemReturned]:
        if len(host.given) > 10:
            raise KeyboardInterrupt
        return messages(timeout_s)

    monkeypatch.setattr(pool, "messages", interrupted)
    with pytest.raises(KeyboardInterrupt):
        for event in dispatch(pool, clips(100)):
            told += filter(None, [event])
    assert outcomes(told) == {("a", "failed"): 10}


def test_what_failed_last_is_told_when_the_run_ends(pool: FakePool) -> None:
    last = clips(10)[-3:]
    pool.add_host("a", lambda clip: (broken if clip in last else done)("a")(clip))
    events = run(pool, clips(10))
    assert outcomes(events) == {("a", "done"): 7, ("a", "failed"): 3}


def test_a_doubt_about_the_last_clip_is_decided_by_a_control_call(pool: FakePool) -> None:
    last = clips(10)[-1]
    host = pool.add_host("a", lambda clip: (unavailable if clip == last else done)("a")(clip))
    events = run(pool, clips(10))
    assert host.controls == [ControlCall(clips(10)[-2])]
    assert [one.status for one in events if isinstance(one, Outcome) and one.clip == last] == ["postponed", "failed"]
    assert not any(isinstance(event, ControlResult) for event in events), "it is no clip's outcome"


@pytest.mark.parametrize("alike", [20, ALIKE_LIMIT])
def test_what_failed_at_a_host_that_has_left_is_told_and_its_control_call_is_dropped(
    pool: FakePool, alike: int
) -> None:
    wanted = clips(60)

    def leaves(clip: Clip) -> Outcome | None:
        if clip == wanted[alike]:
            pool.hosts.remove(leaving)
            pool.add_host("b", done("b"))
        return (done if clip == wanted[0] else broken)("a")(clip)

    leaving = pool.add_host("a", leaves)
    events = run(pool, wanted)
    assert outcomes(events) == {("a", "done"): 1, ("a", "failed"): alike, ("b", "done"): 59 - alike}
    assert leaving.controls == []


def test_a_clip_of_which_nobody_will_tell_goes_out_again_also_if_all_waited_for_it(pool: FakePool) -> None:
    script: deque[Answer] = deque([refused("a"), lambda clip: None])  # the second one asks after the pause

    def as_in_the_script(clip: Clip) -> Outcome | None:
        return (script.popleft() if script else done("a"))(clip)

    pool.add_host("a", as_in_the_script)
    events = run(pool, clips(5))
    assert outcomes(events) == {("a", "postponed"): 1, ("a", "done"): 5}


# --- several sections of a video ---


def video(number: int, sections: int = 3) -> Video:
    return Video(tuple(Clip(f"{number:011d}", 10.0 * n, 10.0 * n + 10, "tai chi", "train") for n in range(sections)))


def test_sections_that_a_worker_did_not_begin_go_out_again_together(pool: FakePool) -> None:
    first = video(1)
    host = pool.add_host("a", done("a"))
    events = run(pool, [first, *clips(1)])
    assert [event.clip for event in events if isinstance(event, Outcome)] == [
        first.clips[0],
        *clips(1),
        *first.clips[1:],
    ]
    assert host.given == [first.clips[0], *clips(1), *first.clips[1:]], "each time the first of what is left"


def test_a_section_that_is_refused_goes_out_again_with_those_behind_it(pool: FakePool) -> None:
    script: deque[Answer] = deque([refused("a")])
    wanted = video(1)

    def refused_once(clip: Clip) -> Outcome | None:
        return (script.popleft() if script else done("a"))(clip)

    host = pool.add_host("a", refused_once)
    events = run(pool, [wanted])
    assert outcomes(events) == {("a", "postponed"): 1, ("a", "done"): 3}
    assert host.given == [wanted.clips[0], *wanted.clips]


def test_what_goes_back_together_is_one_item_a_video() -> None:
    one, two = video(1), video(2)
    mixed = [one.clips[0], two.clips[2], None, *one.clips[1:]]
    assert [*_by_video(mixed)] == [one, two.clips[2]]


def test_the_calls_of_control_calls_stand_in_the_row_of_the_next_clip(pool: FakePool) -> None:
    wanted = clips(ALIKE_LIMIT + 12)

    def answer(clip: Clip) -> Outcome | None:
        came = wanted.index(clip) < 3 or wanted.index(clip) > ALIKE_LIMIT + 3
        outcome = (done if came else broken)("a")(clip)
        return outcome and replace(outcome, calls=1)

    host = pool.add_host("a", answer)
    events = run(pool, wanted)
    assert host.controls
    calls = sum(event.calls for event in events if isinstance(event, Outcome))
    assert calls == len(host.given) + 2 * len(host.controls)
