"""The same run on a Dask cluster, where each host is a place with a pace of its own: YouTube counts by address.

A clip is a task for one Dask worker. So few go out that none waits there, and what a worker held when it left goes out
again. What comes back is events, which also tell when YouTube has answered. Workers keep nothing, and come and go.
"""

from __future__ import annotations

import itertools
import logging
import math
import pickle
import queue
import sys
import threading
import time
import uuid
import warnings
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from distributed import Client, Future
from distributed.scheduler import KilledWorker

from kinetics.errors import Fatal
from kinetics.records import Category, Clip, Item, Result
from kinetics.scheduling import dask_worker
from kinetics.scheduling.dask_worker import TOPIC, Order, with_host
from kinetics.scheduling.dispatch import Event, ItemReport, ItemReturned, WorkerMessage, dispatch
from kinetics.scheduling.events import GaveUp, Notice
from kinetics.scheduling.throttle import Throttle, Unthrottled
from kinetics.scheduling.worker import TravellingJob
from kinetics.storage.atomic import write_text
from kinetics.storage.layout import Layout

WORKER_POLL_S = 1.0
"""Between two looks at which workers there are."""
DASK_CALL_TIMEOUT_S = 10.0
"""For what the scheduler and the workers answer at once."""
HANDSHAKE_TIMEOUT_S = 60.0
"""By then the workers that are there at the start have said who they are."""
NO_WORKER_TIMEOUT_S = 120.0
"""So long a run waits for a scheduler that is gone, or for any worker."""
CLOSE_S = 10.0
REMEDY = "have it there, in the same folder as here or in one that PYTHONPATH names, and install its requirements.txt"
ALLOWED_LOSSES = 3
"""Of workers, by one clip: as many as Dask allows, which counts only those that it starts again in the same place."""
GONE = ("cancelled", "lost")
"""A future of which the scheduler knows nothing."""


def run(
    job: TravellingJob,
    clips: Iterable[Clip],
    *,
    scheduler: str,
    layout: Layout,
    own: Path,
    timeout_s: float,
    pace: Callable[[int], Throttle | Unthrottled],
    most: int | None = None,
    one_address: bool = False,
) -> Generator[Event, None, None]:
    """Do `job` to all `clips` on the workers of a Dask scheduler, as fast as YouTube allows each of their hosts.

    Every worker has to reach the folder, or the URL, of the layout as this machine does; `own` is a folder in it that
    is this run's own. `pace` makes the pace of a host that does so many clips at once: one a thread of its workers, and
    `most`, if that is less. With `one_address` all hosts are one to YouTube, as they go through one proxy. See
    `dispatch` for what comes.

    Raises Fatal where there is no scheduler, and where a worker runs another program or does not reach that place.
    Workers that come later are left out then.
    """
    order = Order(uuid.uuid4().hex[:8], job, timeout_s)
    probe = _Probe(layout, own / f"probe-{order.run}", order.run)
    cluster = _DaskPool(scheduler, order, probe=probe, pace=pace, most=most, one_address=one_address)
    yield from dispatch(cluster, clips)


@dataclass(frozen=True, slots=True)
class _Probe:
    """A small file by which workers show that they reach the place where the clips go."""

    layout: Layout
    path: Path
    content: str

    def leave(self) -> None:
        if self.layout.store:
            self.layout.store.write(self.layout.object_name(self.path), self.content.encode())
        else:
            write_text(self.path, [self.content])

    def remove(self) -> None:
        if self.layout.store:
            with suppress(Fatal):  # it may be that which has ended the run, and a probe does no harm
                self.layout.store.remove(self.layout.object_name(self.path))
        else:
            self.path.unlink(missing_ok=True)

    def handshake_task(self) -> Callable[[], Mapping[str, Any]]:
        """A task for workers of which nothing is known yet, and which a task from an unknown module would end.

        They look for the program where it is here, too: often it is in a folder that all of them see.
        """
        url, probe = self.layout.url, self.layout.object_name(self.path) if self.layout.url else str(self.path)
        program = str(Path(__file__).resolve().parent.parent.parent)

        def handshake_task() -> Mapping[str, Any]:
            if program not in sys.path:
                sys.path.append(program)
            from kinetics.scheduling.dask_worker import handshake  # noqa: PLC0415 - there, not here

            return handshake(url, probe)

        return handshake_task


@dataclass(eq=False, slots=True)
class _InFlight:
    """A clip that is out."""

    host: DaskHost
    worker: str
    """Its address, as in all that follows."""
    item: Item
    future: Future[Any]
    sent: float
    answered: bool = False

    def report(self, outcome: Result | None) -> ItemReport:
        return ItemReport(self.host, outcome, self.sent, self.answered)


@dataclass(eq=False)
class DaskHost:
    """The workers of one host, each with the number of its threads, and what they have in hand."""

    name: str
    pace: Throttle | Unthrottled
    most: int | None
    send: Callable[[DaskHost, str, Item, float], None]
    threads: dict[str, int] = field(default_factory=dict)
    errands: dict[int, _InFlight] = field(default_factory=dict)

    @property
    def in_flight(self) -> int:
        return len(self.errands)

    @property
    def in_player_call(self) -> int:
        return sum(not errand.answered for errand in self.errands.values())

    def resize(self, threads: dict[str, int]) -> None:
        """Workers may have come or left."""
        self.threads = threads
        self.pace.workers = min(sum(threads.values()), self.most or sys.maxsize)

    def ready(self) -> bool:
        return bool(self.threads) and self.in_flight < self.pace.workers and self._freest()[1] > 0

    def give(self, item: Item, now: float) -> bool:
        try:
            self.send(self, self._freest()[0], item, now)
        except OSError:
            self.threads = {}  # until the next look around
            return False
        return True

    def _freest(self) -> tuple[str, int]:
        """The worker with the most threads free, and how many these are."""
        busy = Counter(errand.worker for errand in self.errands.values())
        free = {worker: threads - busy[worker] for worker, threads in self.threads.items()}
        return max(free.items(), key=lambda item: item[1])


class _Line:
    """The line to a scheduler: whatever calls Dask. Raises OSError where there is none, or no longer."""

    def __init__(self, scheduler: str, hear: Callable[[tuple[float, Any]], None]) -> None:
        for name in ("distributed", "distributed.client", "distributed.batched", "tornado"):
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)  # what there is to say, the run says
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._client = Client(scheduler, timeout=DASK_CALL_TIMEOUT_S, set_as_default=False)
        self._client.subscribe_topic(TOPIC, hear)

    def workers(self) -> Mapping[str, int]:
        """Who is there, and with how many threads."""
        if self._client.status != "running":
            raise ConnectionError(self._client.status)
        assert self._client.scheduler
        threads: Mapping[str, int] = self._client.sync(
            self._client.scheduler.ncores, callback_timeout=DASK_CALL_TIMEOUT_S
        )
        return threads

    def submit(self, worker: str, key: str, task: Callable[..., object], *args: object) -> Future[Any]:
        """Have a task done by this worker."""
        return self._client.submit(task, *args, key=key, workers=[worker], allow_other_workers=False, pure=False)

    def leave(self, run: str, workers: Sequence[str], futures: Sequence[Future[Any]]) -> None:
        """Let these workers end whatever they are at, as far as they can be reached, and hang up."""

        def leave() -> None:
            with suppress(OSError):
                self._client.cancel(futures)
                self._client.run(dask_worker.leave, run, workers=[*workers], on_error="ignore")

        leaving = threading.Thread(target=leave, daemon=True)
        leaving.start()
        leaving.join(CLOSE_S)
        self.hang_up().join(CLOSE_S)

    def hang_up(self) -> threading.Thread:
        """Nobody has to wait for that."""

        def hang_up() -> None:
            with suppress(OSError):
                self._client.close(timeout=CLOSE_S)

        thread = threading.Thread(target=hang_up, daemon=True)
        thread.start()
        return thread


class _DaskPool:
    """The crew of all hosts' workers."""

    def __init__(
        self,
        scheduler: str,
        order: Order,
        *,
        probe: _Probe,
        pace: Callable[[int], Throttle | Unthrottled],
        most: int | None,
        one_address: bool,
    ) -> None:
        self._scheduler = scheduler
        self._order = order
        self._task = _task(order)
        self._probe = probe
        self._pace = pace
        self._most = most
        self._one_address = one_address
        self._line: _Line | None = None
        self._inbox: queue.SimpleQueue[Callable[[], Iterable[WorkerMessage]]] = queue.SimpleQueue()
        self._hosts: dict[str, DaskHost] = {}
        self._workers: dict[str, DaskHost | None] = {}  # None: not, or not yet, to be used
        self._handshakes: dict[str, Future[Any]] = {}
        self._opening = True  # until the workers that are there at the start have said who they are
        self._errands: dict[int, _InFlight] = {}
        self._numbers = itertools.count()
        self._losses: Counter[Item] = Counter()
        self._suspects: deque[ItemReturned] = deque()
        self._suspect_out: Item | None = None
        self._next_look = 0.0
        self._handshakes_end = math.inf
        self._without_workers_since: float | None = None
        self._broken = ""

    @property
    def hosts(self) -> Sequence[DaskHost]:
        return () if self._opening else [host for host in self._hosts.values() if host.threads]

    @property
    def in_flight(self) -> int:
        return len(self._errands) + len(self._suspects)

    def reports(self, patience: float) -> Sequence[WorkerMessage]:
        if self._broken:
            raise Fatal(self._broken)
        said = [*self._look_round(time.monotonic()), *self._retry_suspect_alone()]
        with suppress(queue.Empty):
            said += self._inbox.get(timeout=0 if said else patience)()
            while True:
                said += self._inbox.get_nowait()()
        return said

    def close(self) -> None:
        if self._line:
            futures = [errand.future for errand in self._errands.values()]
            self._line.leave(self._order.run, [worker for worker, host in self._workers.items() if host], futures)
            self._probe.remove()

    def _look_round(self, now: float) -> Iterator[WorkerMessage]:
        """See which workers have come, and which have left."""
        if now < self._next_look:
            return
        self._next_look = now + WORKER_POLL_S
        there = self._there()
        for worker in self._workers.keys() - there.keys():
            yield from self._left(worker)
        for worker in there.keys() - self._workers.keys():
            self._start_handshake(worker)
            self._handshakes_end = min(self._handshakes_end, now + HANDSHAKE_TIMEOUT_S)
        for host in self._hosts.values():
            host.resize({worker: threads for worker, threads in there.items() if self._workers[worker] is host})
        if self._opening and there and (not self._handshakes or now > self._handshakes_end):
            self._opening = False
            at_once = sum(host.pace.workers for host in self.hosts)
            hosts = "1 host" if len(self.hosts) == 1 else f"{len(self.hosts):,} hosts"
            yield Notice(f"Dask: {at_once:,} clips at once, on {hosts}")
        yield from self._wait_for_workers(now)

    def _there(self) -> Mapping[str, int]:
        """The workers that can be reached, each with the number of its threads."""
        try:
            if self._line is None:
                self._line = self._open()
            return self._line.workers()
        except OSError as error:
            if self._opening:
                reason = f"No Dask scheduler answers at {self._scheduler} ({error}). Start one with `dask scheduler`."
                raise Fatal(reason) from error
            self._hang_up()
            return {}

    def _open(self) -> _Line:
        self._probe.leave()

        def hear(event: tuple[float, Any]) -> None:
            run, number, word = event[1]
            if run == self._order.run:
                self._inbox.put(partial(self._heard, number, word))

        return _Line(self._scheduler, hear)

    def _hang_up(self) -> None:
        if self._line:
            self._line.hang_up()
            self._line = None

    def _start_handshake(self, worker: str) -> None:
        """Ask a worker who it is."""
        assert self._line
        self._workers[worker] = None
        future = self._line.submit(worker, f"{self._order.run}-{worker}", self._probe.handshake_task())
        self._handshakes[worker] = future
        future.add_done_callback(lambda _: self._inbox.put(partial(self._handshake_done, worker)))

    def _handshake_done(self, worker: str) -> Iterator[WorkerMessage]:
        """A worker has said who it is, or cannot."""
        future = self._handshakes.pop(worker, None)
        if future is None or future.status in GONE:
            return
        unfit, remark = self._judged(future)
        if unfit and self._opening:
            self._broken = f"The Dask worker {worker} {unfit}"
        elif unfit:
            yield Notice(f"warning: the Dask worker {worker} is left out: it {unfit}")
        else:
            self._admit(worker)
        if remark:
            yield Notice(f"warning: the Dask worker {worker} {remark}")

    def _judged(self, handshake_task: Future[Any]) -> tuple[str, str]:
        """Why a worker cannot be used, and what else is to be said of it."""
        if handshake_task.status == "error":
            error = handshake_task.exception(timeout=DASK_CALL_TIMEOUT_S)
            return f"cannot run this program ({error}): {REMEDY}.", ""
        try:
            card = handshake_task.result(timeout=DASK_CALL_TIMEOUT_S)
        except OSError as error:
            return f"does not answer ({error}).", ""
        if card["program"] != dask_worker.PROGRAM:
            return "runs another version of this program: let all machines have the same, and start it anew.", ""
        if card["probe"] != self._probe.content:
            layout = self._probe.layout
            place = layout.display_path(layout.folder)
            return f"does not reach {place} as this machine does: let it be one place for all {card['probe']}.", ""
        ours, theirs = dask_worker.packages(), card["packages"]
        if missing := [name for name in ours if name not in theirs]:
            return f"lacks {', '.join(missing)}: pip install -r requirements.txt there.", ""
        other = [f"{name} {theirs[name]} (here {ours[name]})" for name in ours if theirs[name] != ours[name]]
        return "", f"has {', '.join(other)}" if other else ""

    def _admit(self, worker: str) -> None:
        name = "" if self._one_address else host_of(worker)
        if name not in self._hosts:
            self._hosts[name] = DaskHost(name, self._pace(1), self._most, self._send)
        self._workers[worker] = self._hosts[name]

    def _left(self, worker: str) -> Iterator[WorkerMessage]:
        """What a worker held that is gone goes out again, but not for ever, as it may have been the reason."""
        host = self._workers.pop(worker)
        self._handshakes.pop(worker, None)
        if host is None:
            return
        hold_subsets = [number for number, errand in host.errands.items() if errand.worker == worker]
        if hold_subsets:
            yield Notice(
                f"the Dask worker {worker} is gone; {len(hold_subsets)} clips that it had in hand go out again"
            )
        for number in hold_subsets:
            yield from self._lost(number)

    def _lost(self, number: int) -> Iterator[WorkerMessage]:
        errand = self._done_with(number)
        self._losses[errand.item] += self._line is not None
        losses, returned = self._losses[errand.item], ItemReturned(errand.host, errand.item, errand.sent)
        self._tried(errand.item)
        if losses <= 1:
            yield returned
        elif losses <= ALLOWED_LOSSES:
            self._suspects.append(returned)
        else:
            del self._losses[errand.item]
            reason = f"{losses} Dask workers in a row were lost while they held this clip"
            host = host_of(errand.worker)
            yield errand.report(with_host(errand.item.failed(Category.LOST_WORKER, reason), host))

    def _retry_suspect_alone(self) -> Iterator[WorkerMessage]:
        """Clips that were lost with several workers go out one at a time: so only the one that is guilty is blamed."""
        if self._suspects and self._suspect_out is None:
            returned = self._suspects.popleft()
            self._suspect_out = returned.item
            yield returned

    def _tried(self, item: Item) -> None:
        if item == self._suspect_out:
            self._suspect_out = None

    def _wait_for_workers(self, now: float) -> Iterator[WorkerMessage]:
        """Wait for workers, but not for ever."""
        if any(self._workers.values()) or (self._opening and self._handshakes):
            self._without_workers_since = None
        elif self._without_workers_since is None:
            self._without_workers_since = now
            yield Notice(
                f"no Dask worker to be had at {self._scheduler}: waiting for one, {NO_WORKER_TIMEOUT_S:g} s at most"
            )
        elif now > self._without_workers_since + NO_WORKER_TIMEOUT_S:
            self._suspects.clear()
            yield GaveUp(
                Category.LOST_WORKER, f"no Dask worker was to be had at {self._scheduler} for {NO_WORKER_TIMEOUT_S:g} s"
            )

    def _send(self, host: DaskHost, worker: str, item: Item, now: float) -> None:
        """Raises OSError where that cannot be, as nobody has looked around yet since it could."""
        if self._line is None:
            raise ConnectionError
        number = next(self._numbers)
        key = f"{self._order.run}-{number}"
        future = self._line.submit(worker, key, self._task, host_of(worker), number, pickle.dumps(item))
        errand = _InFlight(host, worker, item, future, now)
        self._errands[number] = host.errands[number] = errand
        future.add_done_callback(lambda _: self._inbox.put(partial(self._ended, number)))

    def _heard(self, number: int, word: bytes) -> Iterator[WorkerMessage]:
        """A worker has something to say of a clip."""
        if errand := self._errands.get(number):
            outcome: Result | None = pickle.loads(word)
            yield errand.report(outcome)
            errand.answered = True
            if outcome:
                self._done_with(number)
                self._losses.pop(errand.item, None)
                self._tried(errand.item)

    def _ended(self, number: int) -> Iterator[WorkerMessage]:
        """A task has ended; if its outcome is not known by now, it never will be."""
        errand = self._errands.get(number)
        if errand is None:
            return
        error = errand.future.exception(timeout=DASK_CALL_TIMEOUT_S) if errand.future.status == "error" else None
        if error is None or isinstance(error, KilledWorker):
            if errand.future.status in GONE:
                self._hang_up()  # the scheduler is another one, which knows nothing of this run
            yield from self._lost(number)
        else:
            yield ItemReturned(errand.host, self._done_with(number).item, errand.sent)
            yield from self._leave_out(errand, error)

    def _leave_out(self, errand: _InFlight, error: BaseException) -> Iterator[WorkerMessage]:
        """What one worker cannot do, such as write to its disk, others perhaps can; if none can, the run ends."""
        if not self._workers.get(errand.worker):
            return  # it is already
        reason = str(error) if isinstance(error, Fatal) else f"{type(error).__name__}: {error}"
        self._workers[errand.worker] = None
        errand.host.threads.pop(errand.worker, None)
        if not any(self._workers.values()) and not self._handshakes:
            self._broken = reason
        else:
            yield Notice(f"warning: the Dask worker {errand.worker} is left out: {reason}")

    def _done_with(self, number: int) -> _InFlight:
        errand = self._errands.pop(number)
        del errand.host.errands[number]
        return errand


def _task(order: Order) -> Callable[[str, int, bytes], None]:
    """What workers are to do, in a form in which the scheduler, which looks at it, need not have this program.

    As a function's function it is sent whole, and what is pickled is nothing but bytes to it.
    """
    pickled = pickle.dumps(order)

    def task(host: str, number: int, item: bytes) -> None:
        from kinetics.scheduling.dask_worker import attempt  # noqa: PLC0415 - there, not here

        attempt(pickle.loads(pickled), host, number, pickle.loads(item))

    return task


def host_of(worker: str) -> str:
    """The host in a worker's address."""
    return urlsplit(worker).hostname or worker
