"""Runs a job over items on worker processes, each with one in hand, so that a lost worker costs one item one try.

Every worker has a pipe of its own. The pipe's end tells the parent that the worker is dead, and the worker that the
parent is; the processes' sentinels would not do, since they all fire when the fork server is killed, and the workers
live on.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import selectors
import signal
import sys
import threading
import time
import types
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, SpawnContext
from multiprocessing.process import BaseProcess
from typing import Self

from kinetics.errors import Fatal
from kinetics.records import ArchiveResult, Category, Item, Outcome, PartialResult, Result
from kinetics.scheduling.dispatch import TICK_S, Event, ItemReport, dispatch
from kinetics.scheduling.throttle import Throttle, Unthrottled
from kinetics.scheduling.worker import Job, Progress, Signal, WorkerError, error_text, serve

START_TIMEOUT_S = 60.0
"""A worker has its engines imported and opened by then, on a busy machine too."""
JOIN_TIMEOUT_S = 1.0
FAILED_STARTS = 5
"""So many workers in a row that end before they are ready: the next one would too."""
NO_EXIT_CODE = 255
"""What multiprocessing reports where the fork server took the exit code with it."""
_starting = threading.Lock()
"""A Dask worker starts processes from several threads."""
_processes: ForkServerContext | SpawnContext = (
    multiprocessing.get_context("forkserver")
    if "forkserver" in multiprocessing.get_all_start_methods()
    else multiprocessing.get_context("spawn")
)


def warm_up(modules: Iterable[str]) -> None:
    """Let these modules, which the workers need, be imported from now on, beside whatever the caller does until `run`.

    It is the fork server that imports, and every worker is forked from it, so the environment has to be as they need it
    by now. Without a `run` it ends with this process.
    """
    _processes.set_forkserver_preload([*modules])
    if isinstance(_processes, ForkServerContext):
        with _bare_start():
            forkserver.ensure_running()


def run(
    job: Job, items: Iterable[Item], *, workers: int, timeout_s: float, pace: Throttle | Unthrottled
) -> Generator[Event, None, None]:
    """Do `job` to all `items`, on at most `workers` processes, as fast as `pace` allows; see `dispatch`.

    A worker that dies costs the item in its hand this try (`lost_worker`), as does one that takes longer than
    `timeout_s` seconds over it, or over the rest of it since its last part (`timeout`). Raises Fatal when a worker says
    so, or when workers cannot be started at all.
    """
    yield from dispatch(ProcessPool(job, workers, timeout_s, pace), items)


@dataclass(slots=True, eq=False)
class _WorkerHandle:
    """A worker process, as the parent sees it."""

    process: BaseProcess
    pipe: Connection
    deadline: float
    ready: bool = False
    item: Item | None = None
    sent: float = 0.0
    in_player_call: bool = False

    def kill(self) -> None:
        """Not by Process.kill(), which does nothing once the fork server is gone."""
        if self.process.pid is not None:
            with suppress(ProcessLookupError):
                os.kill(self.process.pid, signal.SIGKILL)


class ProcessPool:
    """The worker processes: started one by one as they are needed, and replaced when they are lost."""

    name = ""

    def __init__(self, job: Job, workers: int, timeout_s: float, pace: Throttle | Unthrottled) -> None:
        _processes.set_forkserver_preload([*job.modules])
        self._job = job
        self._workers = workers
        self._timeout_s = timeout_s
        self.pace = pace
        self._handles: list[_WorkerHandle] = []
        self._pipes = selectors.DefaultSelector()
        self._failed_starts = 0
        self._complaint = ""
        self._broken = ""  # why the work cannot go on, if so

    @property
    def hosts(self) -> Sequence[Self]:
        return (self,)

    @property
    def in_flight(self) -> int:
        """Items in hand."""
        return sum(hand.item is not None for hand in self._handles)

    @property
    def in_player_call(self) -> int:
        """Items in hand for which the server has not answered yet."""
        return sum(hand.in_player_call for hand in self._handles)

    def ready(self) -> bool:
        if self._idle():
            return True
        self._start()
        return False

    def _idle(self) -> _WorkerHandle | None:
        return next((hand for hand in self._handles if hand.ready and hand.item is None), None)

    def _start(self) -> None:
        """Start one more worker, unless one is just starting or all are there."""
        if len(self._handles) >= self._workers or not all(hand.ready for hand in self._handles):
            return
        with _bare_start():
            ours, theirs = multiprocessing.Pipe()
            process = _processes.Process(target=serve, args=(theirs, self._timeout_s), daemon=True)
            try:
                process.start()
                ours.send(self._job)
            except (OSError, EOFError) as error:
                ours.close()
                self._failed_start(error_text(error))
            else:
                self._handles.append(hand := _WorkerHandle(process, ours, time.monotonic() + START_TIMEOUT_S))
                self._pipes.register(ours, selectors.EVENT_READ, hand)
            finally:
                theirs.close()

    def _failed_start(self, how: str) -> None:
        self._failed_starts += 1
        if self._failed_starts >= FAILED_STARTS:
            self._broken = f"The worker processes do not start: {self._complaint or how}"

    def give(self, item: Item, now: float) -> bool:
        hand = self._idle()
        assert hand
        try:
            hand.pipe.send(item)
        except OSError:
            self._remove_dead(hand)
            return False
        hand.item, hand.sent, hand.deadline, hand.in_player_call = item, now, now + self._timeout_s, True
        return True

    def reports(self, patience: float) -> list[ItemReport | Progress]:
        if self._broken:
            raise Fatal(self._broken)
        heard = [self._hear(key.data) for key, _ in self._pipes.select(patience)]
        now = time.monotonic()
        late = [self._overdue(hand) for hand in self._handles.copy() if hand.deadline <= now and not hand.pipe.poll()]
        return [report for report in heard + late if report]

    def _hear(self, hand: _WorkerHandle) -> ItemReport | Progress | None:
        try:
            message = hand.pipe.recv()
        except (EOFError, OSError):
            return self._lost(hand)
        if isinstance(message, Progress):
            hand.deadline = time.monotonic() + self._timeout_s
            return message
        if isinstance(message, Outcome | ArchiveResult):
            report = self._report(hand, message)
            hand.item, hand.in_player_call, hand.deadline = None, False, math.inf
            return report
        if isinstance(message, WorkerError):
            if message.fatal:
                self._broken = message.reason
            self._complaint = message.reason
        elif message is Signal.ANSWERED:
            hand.in_player_call = False
            return self._report(hand, None)
        else:
            hand.ready, hand.deadline = True, math.inf
            self._failed_starts, self._complaint = 0, ""
        return None

    def _report(self, hand: _WorkerHandle, outcome: Result | None) -> ItemReport:
        return ItemReport(self, outcome, hand.sent, answered=not hand.in_player_call)

    def _lost(self, hand: _WorkerHandle) -> ItemReport | None:
        how = self._remove_dead(hand)
        if not hand.ready:
            self._failed_start(f"a worker process {how} before it was ready")
        if hand.item is None:
            return None
        reason = f"the worker process {how} while it held this {hand.item.kind}"
        return self._report(hand, hand.item.failed(Category.LOST_WORKER, reason))

    def _overdue(self, hand: _WorkerHandle) -> ItemReport | None:
        hand.kill()
        self._remove_dead(hand)
        if hand.item is None:
            self._failed_start(f"a worker process was not ready after {START_TIMEOUT_S:g} s")
            return None
        reason = f"not finished after {self._timeout_s:g} s; the worker process was stopped"
        return self._report(hand, hand.item.failed(Category.TIMEOUT, reason))

    def _remove_dead(self, hand: _WorkerHandle) -> str:
        """Take a dead worker out of the crew, and return how it ended."""
        self._handles.remove(hand)
        self._pipes.unregister(hand.pipe)
        hand.pipe.close()
        hand.process.join(JOIN_TIMEOUT_S)
        code = hand.process.exitcode
        if code is None:
            hand.kill()
            return "broke off"
        hand.process.close()
        if code == NO_EXIT_CODE:
            return "ended"
        return f"was killed (signal {-code})" if code < 0 else f"ended (exit code {code})"

    def attempt(self, item: Item, say: Callable[[PartialResult | None], None]) -> Result:
        """Do one item, and wait for it. Raises Fatal when the worker says so, or cannot be started."""
        given = False
        while True:
            given = given or (self.ready() and self.give(item, time.monotonic()))
            for report in self.reports(TICK_S):
                if isinstance(report, Progress):
                    say(report.part)
                elif report.outcome:
                    return report.outcome
                else:
                    say(None)

    def kill(self) -> None:
        """Let whatever is at work fail, from another thread."""
        for hand in self._handles.copy():
            hand.kill()

    def close(self) -> None:
        with _ctrl_c_waits():
            for hand in self._handles:
                hand.kill()
            for hand in self._handles.copy():
                self._remove_dead(hand)
            self._pipes.close()


@contextmanager
def _ctrl_c_waits() -> Iterator[None]:
    """Put a KeyboardInterrupt off until the block ends. What is started meanwhile never sees Ctrl-C at all."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _bare_start() -> Iterator[None]:
    """Let a process start without inheriting what is this process's own affair.

    - Its script: it would be run again in every worker, importing pandas and all. So `__main__` is blank meanwhile.
    - Ctrl-C: it is for the parent to decide, and a half-started worker would answer it with a traceback.
    - Warnings: a killed resource tracker is replaced with one that would tear the progress bar.

    The search path, though, is inherited by workers but not by the fork server, whose preloads need it.
    """
    with _starting, warnings.catch_warnings():
        script, search_path = sys.modules["__main__"], os.environ.get("PYTHONPATH")
        warnings.simplefilter("ignore", UserWarning)
        resource_tracker.ensure_running()  # it lets Ctrl-C through again, so it has to come first
        with _ctrl_c_waits():
            try:
                sys.modules["__main__"] = types.ModuleType("__main__")
                os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
                yield
            finally:
                sys.modules["__main__"] = script
                if search_path is None:
                    del os.environ["PYTHONPATH"]
                else:
                    os.environ["PYTHONPATH"] = search_path
