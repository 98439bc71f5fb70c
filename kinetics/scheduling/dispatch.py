"""Hands items out as fast as each host's throttle allows, and takes in what becomes of them.

An item is a clip, or an archive of the mirror, whose clips come one by one as partial results. A host is one address
that asks YouTube, or the mirror: this machine, or one host of a cluster. Its workers are processes or Dask workers; a
WorkerPool hides which.
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
"""Longest time in seconds without an event; a longer one makes clocks on the terminal, and the end of a run, late."""
Event = Result | PartialResult | Pause | SpacingChanged | GaveUp | Notice | None


class Host(Protocol):
    """One address that asks YouTube, with its workers."""

    @property
    def name(self) -> str:
        """The host's address; empty where there is only one host."""

    @property
    def throttle(self) -> Throttle | Unthrottled: ...

    @property
    def in_flight(self) -> int:
        """Number of items that its workers are at."""

    @property
    def in_player_call(self) -> int:
        """Number of those for which the server has not answered yet."""

    def ready(self) -> bool:
        """Return whether a worker is free; if not, start one more where there can be one."""

    def give(self, item: Item, now: float) -> bool:
        """Hand an item to a free worker; False if the worker has just died, which is not the item's fault."""


@dataclass(frozen=True, slots=True)
class ItemReport:
    """A worker's message about its item. `outcome=None`: the server answered, work on the item continues."""

    host: Host
    outcome: Result | None
    sent: float
    """When the item went out."""
    answered: bool
    """Whether an earlier report said that the server answered."""


@dataclass(frozen=True, slots=True)
class ItemReturned:
    """An item that no worker is at any longer, through no fault of its own."""

    host: Host
    item: Item
    sent: float


WorkerMessage = ItemReport | Progress | ItemReturned | Notice | GaveUp
"""A message of a worker pool. A GaveUp ends the run."""


class WorkerPool(Protocol):
    """All workers of a run, wherever they are. Raises Fatal when the work cannot go on."""

    @property
    def hosts(self) -> Sequence[Host]:
        """The hosts that can do items at present."""

    @property
    def in_flight(self) -> int:
        """Number of items that workers are at, on hosts that have left too."""

    def messages(self, timeout_s: float) -> Sequence[WorkerMessage]:
        """Wait for messages for at most `timeout_s` seconds, and return those that came."""

    def close(self) -> None:
        """End all work, finished or not."""


def dispatch(pool: WorkerPool, items: Iterable[Item]) -> Generator[Event, None, None]:
    """Have all `items` done, as fast as the throttles allow.

    Yields a Result for every attempt, in the order in which they end, and before it the item's partial results as they
    come; a `postponed` item comes again later. A Pause says that all workers of its host wait, a SpacingChanged how far
    apart items go out there from now on; a GaveUp is the last event. None comes while nothing happens, at least every
    TICK_S seconds, so that the caller can move a clock on.

    `items` is read as they go out. However the iteration ends, no work is left behind; close the iterator to end it
    early. Raises Fatal when the pool does.
    """
    queue = _Queue(items)
    gave_up: GaveUp | None = None
    left_out = dict[Host, GaveUp]()
    with closing(pool):
        while not gave_up or pool.in_flight:
            hosts = [host for host in pool.hosts if host not in left_out]
            timeout_s = TICK_S if gave_up else _hand_out(queue, hosts)
            if not queue and not pool.in_flight:
                return
            messages = pool.messages(timeout_s)
            for message in messages:
                for event in _events_of(message, queue, pool, left_out):
                    if isinstance(event, GaveUp):
                        gave_up = gave_up or event
                    else:
                        yield event
            if pool.hosts and left_out.keys() >= {*pool.hosts}:
                gave_up = gave_up or left_out[pool.hosts[0]]
            if not messages:
                yield None
        yield gave_up


def _events_of(
    message: WorkerMessage, queue: _Queue, pool: WorkerPool, left_out: dict[Host, GaveUp]
) -> Iterator[Event]:
    """Take in a message: yield its events, and update the queue, the host's throttle, and the hosts left out."""
    match message:
        case ItemReport(host):
            for event in _settle(message, queue, last=not queue and not pool.in_flight):
                if not isinstance(event, GaveUp):
                    yield event
                    continue
                left_out[host] = event
                if len(pool.hosts) > 1:
                    yield Notice(f"{host.name} gets no more clips: {event.reason}")
        case ItemReturned(host, item, sent):
            host.throttle.returned(sent=sent)
            queue.put_back(item)
        case Progress(part):
            yield part
        case _:
            yield message


def _settle(report: ItemReport, queue: _Queue, last: bool) -> Iterator[Event]:
    """Tell the host's throttle of a report, and yield what follows."""
    throttle, now = report.host.throttle, time.monotonic()
    if report.outcome is None:
        spacing = throttle.answered(sent=report.sent, now=now)
    else:
        decision = throttle.settle(report.outcome, sent=report.sent, now=now, answered=report.answered, last=last)
        if decision.requeue:
            queue.put_back(report.outcome.item)
        yield decision.outcome
        if decision.pause:
            yield replace(decision.pause, host=report.host.name)
        if decision.gave_up:
            yield decision.gave_up
        spacing = decision.spacing
    if spacing:
        yield replace(spacing, host=report.host.name)


def _hand_out(queue: _Queue, hosts: Sequence[Host]) -> float:
    """Hand out items as long as the throttles allow, and return for how many seconds to wait for messages then."""
    any_proven = any(not host.throttle.unproven for host in hosts)
    return min((_hand_out_at(host, queue, spare_refused=any_proven) for host in hosts), default=TICK_S)


def _hand_out_at(host: Host, queue: _Queue, spare_refused: bool) -> float:
    """`spare_refused`: keep refused items for hosts that get answers, as only those show if the item is the cause."""
    throttle = host.throttle
    while queue and not (throttle.unproven and spare_refused and not queue.has_new):
        now = time.monotonic()
        wait = throttle.wait(now, host.in_flight, host.in_player_call)
        if wait:
            return min(wait, TICK_S)
        if not host.ready() or wait is None:  # while it waits for an answer, one more worker can start
            break
        item = queue.take(prefer_new=throttle.unproven)
        if host.give(item, now):
            throttle.sent(now)
        else:
            queue.put_back(item)
    return TICK_S


class _Queue:
    """The items to come: those that were put back, and the new ones, of which it holds one at a time."""

    def __init__(self, items: Iterable[Item]) -> None:
        self._items = iter(items)
        self._new = next(self._items, None)
        self._put_back: deque[Item] = deque()

    def __bool__(self) -> bool:
        return self.has_new or bool(self._put_back)

    @property
    def has_new(self) -> bool:
        """Whether there are any that were never out."""
        return self._new is not None

    def take(self, prefer_new: bool) -> Item:
        """Return the next item: one that was put back before new ones, unless `prefer_new`."""
        if self._new is None or (self._put_back and not prefer_new):
            return self._put_back.popleft()
        item, self._new = self._new, next(self._items, None)
        return item

    def put_back(self, item: Item) -> None:
        self._put_back.append(item)
