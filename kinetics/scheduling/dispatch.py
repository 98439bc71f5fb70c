"""Hands items out as fast as each place's pace allows, and takes in what becomes of them.

An item is a clip, or an archive of the mirror's, which brings clips while it is in hand. A place is where one address
asks YouTube, or the mirror: this machine, or one host of a cluster. Who does the work there, processes or other
machines, is its crew's affair.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Protocol

from kinetics.records import Item, PartialResult, Result
from kinetics.scheduling.events import GaveUp, Notice, Pause, SpacingChanged
from kinetics.scheduling.throttle import Throttle, Unthrottled
from kinetics.scheduling.worker import Progress

TICK_S = 0.5
Event = Result | PartialResult | Pause | SpacingChanged | GaveUp | Notice | None


class Host(Protocol):
    """Where one address asks YouTube."""

    @property
    def name(self) -> str:
        """Empty where there is only one."""

    @property
    def pace(self) -> Throttle | Unthrottled: ...

    @property
    def in_flight(self) -> int:
        """Items in hand."""

    @property
    def in_player_call(self) -> int:
        """Items in hand for which the server has not answered yet."""

    def ready(self) -> bool:
        """Whether a worker is free; if not, one more is made ready, where there can be one."""

    def give(self, item: Item, now: float) -> bool:
        """Hand an item to a free worker; False if it has just died, which is not the item's fault."""


@dataclass(frozen=True, slots=True)
class ItemReport:
    """What became of an item; None: the server has answered, and work on it goes on."""

    place: Host
    outcome: Result | None
    sent: float
    answered: bool


@dataclass(frozen=True, slots=True)
class ItemReturned:
    """An item that nobody has in hand any more, through no fault of its own."""

    place: Host
    item: Item
    sent: float


WorkerMessage = ItemReport | Progress | ItemReturned | Notice | GaveUp
"""What there is to hear from a crew. A GaveUp ends the run."""


class WorkerPool(Protocol):
    """All workers, wherever they are. Raises Fatal where the work cannot go on."""

    @property
    def hosts(self) -> Sequence[Host]:
        """Where items can be done at present."""

    @property
    def in_flight(self) -> int:
        """Items in hand at all places, past ones too."""

    def reports(self, patience: float) -> Sequence[WorkerMessage]:
        """Listen for at most `patience` seconds; return what there is to say."""

    def close(self) -> None:
        """End all work, whatever it is at."""


def dispatch(crew: WorkerPool, items: Iterable[Item]) -> Generator[Event, None, None]:
    """Let all `items` be done, as fast as the paces allow.

    Yields a Result for every attempt, in the order in which they end, and before it the parts of an item as they come:
    an item that is `postponed` comes again later. A Pause says that everybody at its place waits now, a Spread how
    densely items go out there from now on; a GaveUp is the last thing to come. None comes while there is nothing to
    say, at least every TICK_S seconds, so that the caller can move a clock on.

    `items` is read as they go out. However the iteration ends, no work is left behind; close the iterator to end it
    early. Raises Fatal when the crew does.
    """
    queue = _Queue(items)
    gave_up: GaveUp | None = None
    left_out = dict[Host, GaveUp]()
    with closing(crew):
        while not gave_up or crew.in_flight:
            hosts = [place for place in crew.hosts if place not in left_out]
            patience = TICK_S if gave_up else _hand_out(queue, hosts)
            if not queue and not crew.in_flight:
                return
            reports = crew.reports(patience)
            for report in reports:
                for event in _taken_in(report, queue, crew, left_out):
                    if isinstance(event, GaveUp):
                        gave_up = gave_up or event
                    else:
                        yield event
            if crew.hosts and left_out.keys() >= {*crew.hosts}:
                gave_up = gave_up or left_out[crew.hosts[0]]
            if not reports:
                yield None
        yield gave_up


def _taken_in(report: WorkerMessage, queue: _Queue, crew: WorkerPool, left_out: dict[Host, GaveUp]) -> Iterator[Event]:
    """What follows from a report: for the queue, for the others at its place, and for who listens."""
    match report:
        case ItemReport(place):
            for event in _settled(report, queue, last=not queue and not crew.in_flight):
                if not isinstance(event, GaveUp):
                    yield event
                    continue
                left_out[place] = event
                if len(crew.hosts) > 1:
                    yield Notice(f"{place.name} gets no more clips: {event.reason}")
        case ItemReturned(place, item, sent):
            place.pace.returned(sent=sent)
            queue.again(item)
        case Progress(part):
            yield part
        case _:
            yield report


def _settled(report: ItemReport, queue: _Queue, last: bool) -> Iterator[Event]:
    """What the pace of its place makes of what became of a clip."""
    pace, now = report.place.pace, time.monotonic()
    if report.outcome is None:
        spread = pace.answered(sent=report.sent, now=now)
    else:
        settled = pace.settle(report.outcome, sent=report.sent, now=now, answered=report.answered, last=last)
        if settled.again:
            queue.again(report.outcome.item)
        yield settled.outcome
        if settled.pause:
            yield replace(settled.pause, place=report.place.name)
        if settled.gave_up:
            yield settled.gave_up
        spread = settled.spread
    if spread:
        yield replace(spread, place=report.place.name)


def _hand_out(queue: _Queue, hosts: Sequence[Host]) -> float:
    """Give out items as long as the paces allow, and return for how many seconds to listen then."""
    sure = any(not place.pace.probing for place in hosts)
    return min((_hand_out_at(place, queue, spare_refused=sure) for place in hosts), default=TICK_S)


def _hand_out_at(place: Host, queue: _Queue, spare_refused: bool) -> float:
    """`spare_refused`: items that were refused before are for places that find out more about them than this one."""
    pace = place.pace
    while queue and not (pace.probing and spare_refused and not queue.new):
        now = time.monotonic()
        wait = pace.wait(now, place.in_flight, place.in_player_call)
        if wait:
            return min(wait, TICK_S)
        if not place.ready() or wait is None:  # where it waits for an answer, one more worker can start meanwhile
            break
        item = queue.take(rather_new=pace.probing)
        if place.give(item, now):
            pace.sent(now)
        else:
            queue.again(item)
    return TICK_S


class _Queue:
    """The items to come: those that were postponed, and the new ones, of which it holds one at a time."""

    def __init__(self, items: Iterable[Item]) -> None:
        self._items = iter(items)
        self._new = next(self._items, None)
        self._again: deque[Item] = deque()

    def __bool__(self) -> bool:
        return self.new or bool(self._again)

    @property
    def new(self) -> bool:
        """Whether there are any that were never out."""
        return self._new is not None

    def take(self, rather_new: bool) -> Item:
        """A postponed item goes before new ones, but a refused one is no good for finding out whether all are."""
        if self._new is None or (self._again and not rather_new):
            return self._again.popleft()
        item, self._new = self._new, next(self._items, None)
        return item

    def again(self, item: Item) -> None:
        self._again.append(item)
