"""Hands items out as fast as each host's throttle allows, and takes in what becomes of them.

An item is a clip, a video of which several sections are wanted, or an archive of the mirror; the outcomes of sections,
and the archive's clips, come one by one. A host is one address that asks YouTube, or the mirror: this machine, or one
host of a cluster. Its workers are processes or Dask workers; a WorkerPool hides which.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from typing import Protocol

from kinetics.records import Clip, ControlCall, ControlResult, Item, Outcome, PartialResult, Result, Video, video_of
from kinetics.scheduling.awake_clock import shared_time
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
    rest: Item | None = None
    """What is left of an item that has ended: the sections of a video that the worker did not begin."""
    ended: bool = True
    """Whether the worker is free again; else the outcome is that of one section, and others follow."""


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
    come; a `postponed` item comes again later. Failures that may have a common cause come late, once it is known that
    they have none. A Pause says that all workers of its host wait, a SpacingChanged how far apart items go out there
    from now on; a GaveUp is the last event. None comes while nothing happens, at least every TICK_S seconds, so that
    the caller can move a clock on.

    `items` is read as they go out. However the iteration ends, no work is left behind; close the iterator to end it
    early. Raises Fatal when the pool does.
    """
    queue = _Queue(items)
    gave_up: GaveUp | None = None
    left_out = dict[Host, GaveUp]()
    throttles = dict[Throttle | Unthrottled, None]()  # also those of hosts that have left
    with closing(pool), ExitStack() as at_the_end:
        at_the_end.callback(lambda: [throttle.close(shared_time()) for throttle in throttles])
        while not gave_up or pool.in_flight:
            hosts = [host for host in pool.hosts if host not in left_out]
            throttles |= dict.fromkeys(host.throttle for host in hosts)
            yield from _news(hosts)
            queue.keep_controls(hosts)
            timeout_s = TICK_S if gave_up else _hand_out(queue, hosts)
            if not queue and not pool.in_flight and not queue.add_last_controls(hosts):
                break
            try:
                messages = pool.messages(timeout_s)
            except KeyboardInterrupt:
                yield from map(queue.charged, _undecided(throttles, ended=False))
                raise
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
        yield from map(queue.charged, _undecided(throttles, ended=True))
        if gave_up:
            yield gave_up


def _news(hosts: Iterable[Host]) -> Iterator[Event]:
    """Yield what has changed at the hosts without a report."""
    for host in hosts:
        yield from (replace(change, host=host.name) for change in host.throttle.news(shared_time()))


def _undecided(throttles: Iterable[Throttle | Unthrottled], *, ended: bool) -> Iterator[Outcome]:
    """Yield what is still undecided when the run ends, by itself or because the user wants it to."""
    for throttle in throttles:
        yield from throttle.undecided(ended=ended)


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
            queue.put_back(item, host)
        case Progress(part):
            yield part
        case _:
            yield message


def _settle(report: ItemReport, queue: _Queue, last: bool) -> Iterator[Event]:
    """Tell the host's throttle of a report, and yield what follows."""
    throttle, now = report.host.throttle, shared_time()
    if report.outcome is None:
        decision = throttle.answered(sent=report.sent, now=now)
    else:
        queue.owe(report.outcome)
        decision = throttle.settle(report.outcome, sent=report.sent, now=now, answered=report.answered, last=last)
        again = [report.outcome.item] if decision.requeue else []
        for item in _by_video([*again, report.rest]):
            queue.put_back(item, report.host)
    for item in _by_video([*decision.put_back, decision.control]):
        queue.put_back(item, report.host)
    for result in (*decision.decided, decision.outcome):
        if result:
            yield queue.charged(result)
    if decision.notice:
        yield decision.notice
    for change in (decision.pause, decision.spacing):
        if change:
            yield replace(change, host=report.host.name)
    if decision.gave_up:
        yield decision.gave_up


def _by_video(items: Iterable[Item | None]) -> Iterator[Item]:
    """Yield items that go back to the queue together, those that are sections of one video as one."""
    sections = dict[str, list[Clip]]()
    for item in items:
        if isinstance(item, Clip | Video):
            sections.setdefault(item.youtube_id, []).extend(item.clips if isinstance(item, Video) else [item])
        elif item:
            yield item
    for clips in sections.values():
        if item := video_of(clips):
            yield item


def _hand_out(queue: _Queue, hosts: Sequence[Host]) -> float:
    """Hand out items as long as the throttles allow, and return for how many seconds to wait for messages then."""
    any_proven = any(not host.throttle.unproven for host in hosts)
    return min((_hand_out_at(host, queue, spare_refused=any_proven) for host in hosts), default=TICK_S)


def _hand_out_at(host: Host, queue: _Queue, spare_refused: bool) -> float:
    """`spare_refused`: keep refused items for hosts that get answers, as only those show if the item is the cause."""
    throttle = host.throttle
    while queue.has_for(host, only_new=throttle.unproven and spare_refused):
        now = shared_time()
        wait = throttle.wait(now, host.in_flight, host.in_player_call)
        if wait:
            return min(wait, TICK_S)
        if not host.ready() or wait is None:  # while it waits for an answer, one more worker can start
            break
        item = queue.take(host, prefer_new=throttle.unproven)
        if host.give(item, now):
            throttle.sent(now)
        else:
            queue.put_back(item, host)
    return TICK_S


class _Queue:
    """The items to come: control calls, items that were put back, and new ones, of which it holds one at a time."""

    def __init__(self, items: Iterable[Item]) -> None:
        self._items = iter(items)
        self._new = next(self._items, None)
        self._put_back: deque[Item] = deque()
        self._controls: dict[Host, ControlCall] = {}
        self._owed = 0  # player calls of control calls, which have no rows of their own

    def __bool__(self) -> bool:
        return self._new is not None or bool(self._put_back or self._controls)

    def has_for(self, host: Host, only_new: bool) -> bool:
        """Whether there is an item for this host, apart from those that were put back if `only_new`."""
        return host in self._controls or self._new is not None or (bool(self._put_back) and not only_new)

    def take(self, host: Host, prefer_new: bool) -> Item:
        """Return a host's next item: its control call, then one that was put back, then a new one.

        With `prefer_new`, new ones come before those that were put back.
        """
        if control := self._controls.pop(host, None):
            return control
        if self._new is None or (self._put_back and not prefer_new):
            return self._put_back.popleft()
        item, self._new = self._new, next(self._items, None)
        return item

    def put_back(self, item: Item, host: Host) -> None:
        """Add an item that any host may do, or a control call, which is for this one."""
        if isinstance(item, ControlCall):
            self._controls[host] = item
        else:
            self._put_back.append(item)

    def owe(self, result: Result) -> None:
        """Note the player calls of a control call, to be charged to the next outcome of a clip."""
        if isinstance(result, ControlResult):
            self._owed += result.calls

    def charged(self, result: Result) -> Result:
        """Return a result, with the calls that are owed if it is the outcome of a clip."""
        if not (self._owed and isinstance(result, Outcome)):
            return result
        owed, self._owed = self._owed, 0
        return replace(result, calls=result.calls + owed)

    def keep_controls(self, hosts: Iterable[Host]) -> None:
        """Drop the control calls of all hosts but these: the others have left."""
        self._controls = {host: self._controls[host] for host in hosts if host in self._controls}

    def add_last_controls(self, hosts: Iterable[Host]) -> bool:
        """Add the control calls that decide what is in doubt at these hosts; returns whether there are any."""
        last = {host: host.throttle.last_control(shared_time()) for host in hosts}
        self._controls = {host: control for host, control in last.items() if control}
        return bool(self._controls)
