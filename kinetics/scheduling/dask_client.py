"""Runs a job on a Dask cluster, where each host has a throttle of its own: YouTube counts by address.

A clip is a task for one Dask worker. Only as many go out as a worker has free threads, and the clips of a worker that
leaves go out again. Results come back as events, which also report when YouTube has answered. Workers keep no state,
and may come and go.
"""

from __future__ import annotations

import itertools
import math
import pickle
import queue
import sys
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from distributed import Future
from distributed.scheduler import KilledWorker

from kinetics.errors import Fatal
from kinetics.humanize import counted
from kinetics.records import Category, Clip, Item, Outcome, PartialResult, Result, Video
from kinetics.scheduling.dask_connection import DASK_CALL_TIMEOUT_S, SchedulerConnection
from kinetics.scheduling.dask_handshake import ProbeFile
from kinetics.scheduling.dask_worker import RunContext, with_host
from kinetics.scheduling.dispatch import Event, ItemReport, ItemReturned, WorkerMessage, dispatch
from kinetics.scheduling.events import GaveUp, Notice
from kinetics.scheduling.throttle import Throttle, Unthrottled
from kinetics.scheduling.worker import PortableJob, Progress
from kinetics.storage.layout import Layout

WORKER_POLL_S = 1.0
"""Seconds between two looks at which workers there are; a longer time notices lost workers and new ones later."""
HANDSHAKE_TIMEOUT_S = 60.0
"""Seconds for the handshakes of the workers that are there at the start; then the run starts without the others."""
NO_WORKER_TIMEOUT_S = 120.0
"""Seconds that a run waits for a lost scheduler, or for any worker, before it ends."""
ALLOWED_LOSSES = 3
"""Workers that one clip may be lost with before it fails: with a larger number, a clip that kills workers kills more of
them. Dask's `allowed-failures` is 3 too, but counts only workers that a nanny starts again at the same address."""
UNKNOWN_TO_SCHEDULER = ("cancelled", "lost")
"""Statuses of a future that the scheduler no longer knows."""


def run(
    job: PortableJob,
    clips: Iterable[Item],
    *,
    scheduler: str,
    layout: Layout,
    run_folder: Path,
    timeout_s: float,
    new_throttle: Callable[[int, str], Throttle | Unthrottled],
    max_per_host: int | None = None,
    one_address: bool = False,
) -> Generator[Event, None, None]:
    """Do `job` on all `clips` with the workers of a Dask scheduler, as fast as YouTube allows each of their hosts.

    Every worker has to reach the folder, or the URL, of the layout as this machine does; `run_folder` is a folder in it
    that no other run uses. `new_throttle` makes the throttle of a host from the number of clips that it does at once:
    the threads of its workers, or `max_per_host`, if that is less; and from its name. With `one_address` all hosts
    count as one without a name, as they reach YouTube through one proxy. See `dispatch` for the events.

    Raises Fatal when there is no scheduler, and when a worker runs another program or does not reach the layout's
    folder. Such workers that come later are left out.
    """
    context = RunContext(uuid.uuid4().hex[:8], job, timeout_s)
    probe_file = ProbeFile(layout, run_folder / f"probe-{context.run}", context.run)
    pool = _DaskPool(
        scheduler,
        context,
        probe_file=probe_file,
        new_throttle=new_throttle,
        max_per_host=max_per_host,
        one_address=one_address,
    )
    yield from dispatch(pool, clips)


@dataclass(eq=False, slots=True)
class _InFlight:
    """A clip that is out."""

    host: DaskHost
    worker: str
    """The worker's address, as everywhere below."""
    item: Item
    """Of a video, the sections without an outcome, the first of which is in work."""
    future: Future[Any]
    sent: float
    answered: bool = False

    def report(self, outcome: Result | None) -> ItemReport:
        rest = self.item.after(outcome.clip) if isinstance(self.item, Video) and isinstance(outcome, Outcome) else None
        return ItemReport(self.host, outcome, self.sent, self.answered, rest)


@dataclass(eq=False)
class DaskHost:
    """The Dask workers of one host, and the clips that they are at."""

    name: str
    throttle: Throttle | Unthrottled
    max_clips: int | None
    """Clips at once; None: one for each of its workers' threads."""
    send: Callable[[DaskHost, str, Item, float], None]
    threads: dict[str, int] = field(default_factory=dict)
    """The number of threads of each worker that can be used."""
    clips: dict[int, _InFlight] = field(default_factory=dict)
    """The clips that are out here, by their number in the run."""

    @property
    def in_flight(self) -> int:
        return len(self.clips)

    @property
    def in_player_call(self) -> int:
        return sum(not clip.answered for clip in self.clips.values())

    def resize(self, threads: dict[str, int]) -> None:
        """Take in which workers there are now."""
        self.threads = threads
        self.throttle.workers = min(sum(threads.values()), self.max_clips or sys.maxsize)

    def ready(self) -> bool:
        return bool(self.threads) and self.in_flight < self.throttle.workers and self._freest()[1] > 0

    def give(self, item: Item, now: float) -> bool:
        try:
            self.send(self, self._freest()[0], item, now)
        except OSError:
            self.threads = {}  # until the workers are polled again
            return False
        return True

    def _freest(self) -> tuple[str, int]:
        """Return the worker with the most free threads, and their number."""
        busy = Counter(clip.worker for clip in self.clips.values())
        free = {worker: threads - busy[worker] for worker, threads in self.threads.items()}
        return max(free.items(), key=lambda item: item[1])


class _DaskPool:
    """The Dask workers of all hosts."""

    def __init__(
        self,
        scheduler: str,
        context: RunContext,
        *,
        probe_file: ProbeFile,
        new_throttle: Callable[[int, str], Throttle | Unthrottled],
        max_per_host: int | None,
        one_address: bool,
    ) -> None:
        self._scheduler = scheduler
        self._context = context
        self._task = _task(context)
        self._probe_file = probe_file
        self._new_throttle = new_throttle
        self._max_per_host = max_per_host
        self._one_address = one_address
        self._connection: SchedulerConnection | None = None
        # Dask calls back on its own threads; what to do about it is queued for the thread that runs `messages`.
        self._inbox: queue.SimpleQueue[Callable[[], Iterable[WorkerMessage]]] = queue.SimpleQueue()
        self._hosts: dict[str, DaskHost] = {}
        self._workers: dict[str, DaskHost | None] = {}  # None: left out, or its handshake is not done
        self._handshakes: dict[str, Future[Any]] = {}
        self._handshakes_end = math.inf
        self._opening = True  # until the handshakes of the workers that are there at the start are done
        self._clips: dict[int, _InFlight] = {}  # by their number in the run
        self._numbers = itertools.count()
        self._losses: Counter[Item] = Counter()
        self._suspects: deque[ItemReturned] = deque()  # clips that were lost with several workers
        self._suspect_out = ""  # the video of the one that is out
        self._next_poll = 0.0
        self._without_workers_since: float | None = None
        self._fatal_reason = ""  # why the work cannot go on, if so

    @property
    def hosts(self) -> Sequence[DaskHost]:
        return () if self._opening else [host for host in self._hosts.values() if host.threads]

    @property
    def in_flight(self) -> int:
        return len(self._clips) + len(self._suspects)

    def messages(self, timeout_s: float) -> Sequence[WorkerMessage]:
        if self._fatal_reason:
            raise Fatal(self._fatal_reason)
        messages = [*self._poll_workers(time.monotonic()), *self._retry_suspect_alone()]
        with suppress(queue.Empty):
            messages += self._inbox.get(timeout=0 if messages else timeout_s)()
            while True:
                messages += self._inbox.get_nowait()()
        return messages

    def close(self) -> None:
        if self._connection:
            futures = [clip.future for clip in self._clips.values()]
            workers = [worker for worker, host in self._workers.items() if host]
            self._connection.end_run(self._context.run, workers, futures)
            self._probe_file.remove()

    # --- which workers there are ---

    def _poll_workers(self, now: float) -> Iterator[WorkerMessage]:
        """See which workers have come, and which have left."""
        if now < self._next_poll:
            return
        self._next_poll = now + WORKER_POLL_S
        present = self._present_workers()
        for worker in self._workers.keys() - present.keys():
            yield from self._worker_left(worker)
        for worker in present.keys() - self._workers.keys():
            self._start_handshake(worker)
            self._handshakes_end = min(self._handshakes_end, now + HANDSHAKE_TIMEOUT_S)
        for host in self._hosts.values():
            host.resize({worker: threads for worker, threads in present.items() if self._workers[worker] is host})
        if self._opening and present and (not self._handshakes or now > self._handshakes_end):
            self._opening = False
            at_once = sum(host.throttle.workers for host in self.hosts)
            yield Notice(f"Dask: {counted(at_once, 'clip')} at once, on {counted(len(self.hosts), 'host')}")
        yield from self._wait_for_workers(now)

    def _present_workers(self) -> Mapping[str, int]:
        """Return the workers that the scheduler has, each with its number of threads."""
        try:
            if self._connection is None:
                self._connection = self._connect()
            return self._connection.workers()
        except OSError as error:
            if self._opening:
                reason = f"No Dask scheduler answers at {self._scheduler} ({error}). Start one with `dask scheduler`."
                raise Fatal(reason) from error
            self._disconnect()
            return {}

    def _connect(self) -> SchedulerConnection:
        self._probe_file.write()

        def on_event(event: tuple[float, Any]) -> None:
            run, number, message = event[1]
            if run == self._context.run:
                self._inbox.put(partial(self._reported, number, message))

        return SchedulerConnection(self._scheduler, on_event)

    def _disconnect(self) -> None:
        if self._connection:
            self._connection.close()
            self._connection = None

    def _worker_left(self, worker: str) -> Iterator[WorkerMessage]:
        """Requeue a departed worker's clips; repeated losses blame the clip."""
        host = self._workers.pop(worker)
        self._handshakes.pop(worker, None)
        if host is None:
            return
        lost = [number for number, clip in host.clips.items() if clip.worker == worker]
        if lost:
            clips = counted(len(lost), "clip goes", "clips go")
            yield Notice(f"the Dask worker {worker} is gone; its {clips} out again")
        for number in lost:
            yield from self._clip_lost(number)

    def _wait_for_workers(self, now: float) -> Iterator[WorkerMessage]:
        """Report that there is no worker, and give up after NO_WORKER_TIMEOUT_S."""
        none = f"no Dask worker at {self._scheduler}"
        if any(self._workers.values()) or (self._opening and self._handshakes):
            self._without_workers_since = None
        elif self._without_workers_since is None:
            self._without_workers_since = now
            yield Notice(f"{none}: waiting for one, {NO_WORKER_TIMEOUT_S:g} s at most")
        elif now > self._without_workers_since + NO_WORKER_TIMEOUT_S:
            self._suspects.clear()
            yield GaveUp(Category.LOST_WORKER, f"{none} for {NO_WORKER_TIMEOUT_S:g} s")

    # --- who may take part ---

    def _start_handshake(self, worker: str) -> None:
        """Ask a worker which program it has, and whether it reaches the layout's folder."""
        assert self._connection
        self._workers[worker] = None
        future = self._connection.submit(worker, f"{self._context.run}-{worker}", self._probe_file.handshake_task())
        self._handshakes[worker] = future
        future.add_done_callback(lambda _: self._inbox.put(partial(self._handshake_done, worker)))

    def _handshake_done(self, worker: str) -> Iterator[WorkerMessage]:
        """Use the worker, or leave it out; at the start of a run, one that cannot be used ends it."""
        future = self._handshakes.pop(worker, None)
        if future is None or future.status in UNKNOWN_TO_SCHEDULER:
            return
        unfit, warning = self._probe_file.check(future)
        if unfit and self._opening:
            self._fatal_reason = f"The Dask worker {worker} {unfit}"
        elif unfit:
            yield Notice(f"warning: the Dask worker {worker} is left out: it {unfit}")
        else:
            self._add_worker(worker)
        if warning:
            yield Notice(f"warning: the Dask worker {worker} {warning}")

    def _add_worker(self, worker: str) -> None:
        name = "" if self._one_address else host_of(worker)
        if name not in self._hosts:
            self._hosts[name] = DaskHost(name, self._new_throttle(1, name), self._max_per_host, self._send)
        self._workers[worker] = self._hosts[name]

    def _leave_out(self, clip: _InFlight, error: BaseException) -> Iterator[WorkerMessage]:
        """Leave a worker out that cannot work, as with a full disk; if no other is left, the run ends."""
        if not self._workers.get(clip.worker):
            return  # it is already
        reason = str(error) if isinstance(error, Fatal) else f"{type(error).__name__}: {error}"
        self._workers[clip.worker] = None
        clip.host.threads.pop(clip.worker, None)
        if not any(self._workers.values()) and not self._handshakes:
            self._fatal_reason = reason
        else:
            yield Notice(f"warning: the Dask worker {clip.worker} is left out: {reason}")

    # --- the clips that are out ---

    def _send(self, host: DaskHost, worker: str, item: Item, now: float) -> None:
        """Send an item to a worker. Raises OSError when the connection was lost since the workers were polled."""
        if self._connection is None:
            raise ConnectionError
        number = next(self._numbers)
        key = f"{self._context.run}-{number}"
        future = self._connection.submit(worker, key, self._task, host_of(worker), number, pickle.dumps(item))
        self._clips[number] = host.clips[number] = _InFlight(host, worker, item, future, now)
        future.add_done_callback(lambda _: self._inbox.put(partial(self._task_ended, number)))

    def _reported(self, number: int, message: bytes) -> Iterator[WorkerMessage]:
        """Take in a worker's report of a clip."""
        clip = self._clips.get(number)
        if clip is None:
            return
        report: Result | Progress | None = pickle.loads(message)
        if isinstance(report, Progress):
            yield from self._section_ended(clip, report.part)
            return
        yield clip.report(report)
        clip.answered = True
        if report:
            self._remove_clip(number)
            self._losses.pop(_in_work(clip.item), None)
            self._attempt_ended(clip.item)

    def _section_ended(self, clip: _InFlight, part: PartialResult) -> Iterator[WorkerMessage]:
        """Take in the outcome of a section of a video, at which the worker goes on."""
        if isinstance(part, Outcome) and isinstance(clip.item, Video) and (rest := clip.item.after(part.clip)):
            yield replace(clip.report(part), ended=False, rest=None)
            self._losses.pop(part.clip, None)
            clip.item, clip.answered = rest, True

    def _task_ended(self, number: int) -> Iterator[WorkerMessage]:
        """Take in that a task has ended; if no outcome was reported by now, none ever will be."""
        clip = self._clips.get(number)
        if clip is None:
            return
        error = clip.future.exception(timeout=DASK_CALL_TIMEOUT_S) if clip.future.status == "error" else None
        if error is None or isinstance(error, KilledWorker):
            if clip.future.status in UNKNOWN_TO_SCHEDULER:
                self._disconnect()  # the scheduler was restarted, and knows nothing of this run
            yield from self._clip_lost(number)
        else:
            yield ItemReturned(clip.host, self._remove_clip(number).item, clip.sent)
            yield from self._leave_out(clip, error)

    def _clip_lost(self, number: int) -> Iterator[WorkerMessage]:
        """Requeue a clip that was lost with its worker; after ALLOWED_LOSSES, report it as failed."""
        clip = self._remove_clip(number)
        blamed = _in_work(clip.item)
        self._losses[blamed] += self._connection is not None
        losses, returned = self._losses[blamed], ItemReturned(clip.host, clip.item, clip.sent)
        self._attempt_ended(clip.item)
        if losses <= 1:
            yield returned
        elif losses <= ALLOWED_LOSSES:
            self._suspects.append(returned)
        else:
            del self._losses[blamed]
            reason = f"{losses} Dask workers in a row were lost while they worked on this clip"
            yield clip.report(with_host(clip.item.failed(Category.LOST_WORKER, reason), host_of(clip.worker)))

    def _retry_suspect_alone(self) -> Iterator[WorkerMessage]:
        """Requeue the clips that were lost with several workers one at a time, to blame only the one that is guilty."""
        if self._suspects and not self._suspect_out:
            returned = self._suspects.popleft()
            self._suspect_out = _name(returned.item)
            yield returned

    def _attempt_ended(self, item: Item) -> None:
        if _name(item) == self._suspect_out:
            self._suspect_out = ""

    def _remove_clip(self, number: int) -> _InFlight:
        clip = self._clips.pop(number)
        del clip.host.clips[number]
        return clip


def _in_work(item: Item) -> Item:
    """Return what a lost worker is to blame for: of a video, the section that it was at."""
    return item.clips[0] if isinstance(item, Video) else item


def _name(item: Item) -> str:
    """Return what an item is known by while its sections are done one after another."""
    return item.youtube_id if isinstance(item, Clip | Video) else str(item)


def _task(context: RunContext) -> Callable[[str, int, bytes], None]:
    """Return the task that does a clip, in a form for which the scheduler, which reads it, need not have this program.

    Dask sends a nested function by value, and its pickled arguments are only bytes to the scheduler.
    """
    pickled = pickle.dumps(context)

    def task(host: str, number: int, item: bytes) -> None:
        from kinetics.scheduling.dask_worker import attempt  # noqa: PLC0415 - imported on the worker

        attempt(pickle.loads(pickled), host, number, pickle.loads(item))

    return task


def host_of(worker: str) -> str:
    """Return the host in a worker's address."""
    return urlsplit(worker).hostname or worker
