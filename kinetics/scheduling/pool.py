"""Runs a job over items on worker processes, each at one item, so that a lost worker costs one item one try.

Every worker has a pipe of its own. When it closes, the parent knows that the worker is dead, and the worker that the
parent is. The processes' sentinels would not do: they all fire when the fork server is killed, though workers live on.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import selectors
import signal
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Self

from kinetics.errors import Fatal
from kinetics.humanize import counted
from kinetics.records import ArchiveResult, Category, ControlResult, Item, Outcome, PartialResult, Result, Video
from kinetics.scheduling.awake_clock import AwakeClock
from kinetics.scheduling.dispatch import TICK_S, Event, ItemReport, dispatch
from kinetics.scheduling.events import Notice
from kinetics.scheduling.processes import PROCESSES, bare_start, ctrl_c_deferred, preload
from kinetics.scheduling.throttle import Throttle, Unthrottled
from kinetics.scheduling.worker import Answered, Job, Progress, Ready, WorkerError, error_text, serve

START_TIMEOUT_S = 60.0
"""Seconds in which a worker has to import and open its engines; less would be too little on a busy machine."""
JOIN_TIMEOUT_S = 1.0
"""Seconds to wait for a dead worker's exit code, which its item's reason names; everything else waits meanwhile."""
FAILED_START_LIMIT = 5
"""Workers in a row that end before they are ready, after which the run ends: the next one would too."""
KILLED_LIMIT = 5
"""Workers in a row that are killed at their items, after which at most half as many go on, and from one on none. Each
costs its item one try."""
FORK_SERVER_GONE = (
    "the fork server ended, as it does where no more processes (ulimit -u, a container's pids limit) or no more memory "
    "are left. Raise the limit, or use fewer workers (-w)"
)
"""Why a worker was not started, if the process that forks it died of that, or was killed when memory was short."""
NO_EXIT_CODE = 255
"""The exit code that multiprocessing reports where it died with the fork server."""


def run(
    job: Job, items: Iterable[Item], *, workers: int, timeout_s: float, throttle: Throttle | Unthrottled
) -> Generator[Event, None, None]:
    """Do `job` on all `items`, with at most `workers` processes, as fast as `throttle` allows; see `dispatch`.

    A worker that dies fails this try of its item (`lost_worker`), as does one that takes longer than `timeout_s`
    seconds for it, or since its last partial result (`timeout`). Of a video only the section in work fails. Raises
    Fatal when a worker does, or when workers cannot be started at all.
    """
    yield from dispatch(ProcessPool(job, workers, timeout_s, throttle), items)


@dataclass(slots=True, eq=False)
class _WorkerHandle:
    """A worker process, as the parent sees it."""

    process: BaseProcess
    pipe: Connection
    deadline: float
    """When, by the pool's clock, it is stopped if it is not ready, or its item not finished, by then."""
    ready: bool = False
    item: Item | None = None
    """What it is at; of a video, the sections without an outcome, the first of which is in work."""
    sent: float = 0.0
    in_player_call: bool = False
    calls: int = 0
    """Player calls that are known of, and stand in no outcome yet."""

    def kill(self) -> None:
        """Kill the process; Process.kill() would do nothing once the fork server is gone."""
        if self.process.pid is not None:
            with suppress(ProcessLookupError):
                os.kill(self.process.pid, signal.SIGKILL)


class ProcessPool:
    """The worker processes of this machine: started one by one as needed, and replaced when they are lost."""

    name = ""

    def __init__(
        self, job: Job, workers: int, timeout_s: float, throttle: Throttle | Unthrottled, *, shrinks: bool = True
    ) -> None:
        """`shrinks`: fewer workers go on where they are killed, and at last none; else each costs its item one try."""
        preload(job.modules)
        self._job = job
        self._workers = workers
        self._timeout_s = timeout_s
        self.throttle = throttle
        self._clock = AwakeClock()
        self._handles: list[_WorkerHandle] = []
        self._pipes = selectors.DefaultSelector()
        self._shrinks = shrinks
        self._killed = 0  # workers in a row
        self._notices: list[Notice] = []
        self._failed_starts = 0
        self._start_error = ""  # the last reason a worker gave for not starting
        self._fatal_reason = ""  # why the work cannot go on, if so

    @property
    def hosts(self) -> Sequence[Self]:
        return (self,)

    @property
    def in_flight(self) -> int:
        """Number of items that workers are at."""
        return sum(handle.item is not None for handle in self._handles)

    @property
    def in_player_call(self) -> int:
        """Number of those for which the server has not answered yet."""
        return sum(handle.in_player_call for handle in self._handles)

    def ready(self) -> bool:
        if self.in_flight >= self._workers:  # some are left of those from before there were fewer
            return False
        if self._idle():
            return True
        self._start()
        return False

    def _idle(self) -> _WorkerHandle | None:
        return next((handle for handle in self._handles if handle.ready and handle.item is None), None)

    def _start(self) -> None:
        """Start one more worker, unless one is just starting or there are enough."""
        if len(self._handles) >= self._workers or not all(handle.ready for handle in self._handles):
            return
        with bare_start():
            ours, theirs = multiprocessing.Pipe()
            process = PROCESSES.Process(target=serve, args=(theirs, self._timeout_s, {**os.environ}), daemon=True)
            try:
                process.start()
                ours.send(self._job)
            except (OSError, EOFError) as error:
                ours.close()
                gone = isinstance(error, EOFError | ConnectionError)
                self._count_failed_start(FORK_SERVER_GONE if gone else error_text(error))
            else:
                self._handles.append(handle := _WorkerHandle(process, ours, self._clock.read() + START_TIMEOUT_S))
                self._pipes.register(ours, selectors.EVENT_READ, handle)
            finally:
                theirs.close()

    def _count_failed_start(self, reason: str) -> None:
        self._failed_starts += 1
        if self._failed_starts >= FAILED_START_LIMIT:
            self._fatal_reason = f"The worker processes do not start: {self._start_error or reason}"

    def give(self, item: Item, now: float) -> bool:
        handle = self._idle()
        assert handle
        try:
            handle.pipe.send(item)
        except OSError:
            self._remove_dead(handle)
            return False
        handle.item, handle.sent, handle.in_player_call, handle.calls = item, now, True, 0
        handle.deadline = self._clock.read() + self._timeout_s
        return True

    def messages(self, timeout_s: float) -> list[ItemReport | Progress | Notice]:
        if self._fatal_reason:
            raise Fatal(self._fatal_reason)
        received: list[ItemReport | Progress | Notice | None] = [
            self._receive(key.data) for key, _ in self._pipes.select(timeout_s)
        ]
        now = self._clock.read()
        received += [
            self._stop_overdue(handle)
            for handle in self._handles.copy()
            if handle.deadline <= now and not handle.pipe.poll()
        ]
        if self._notices:
            self._end_surplus()
        received += self._notices
        self._notices = []
        return [message for message in received if message]

    def _receive(self, handle: _WorkerHandle) -> ItemReport | Progress | None:
        try:
            message = handle.pipe.recv()
        except (EOFError, OSError):
            return self._lost(handle)
        if isinstance(message, Progress):
            handle.deadline = self._clock.read() + self._timeout_s
            return self._section_ended(handle, message.part) or message
        if isinstance(message, Outcome | ArchiveResult | ControlResult):
            report = self._report(handle, message)
            handle.item, handle.in_player_call, handle.deadline = None, False, math.inf
            self._killed = 0
            return report
        if isinstance(message, WorkerError):
            if message.fatal:
                self._fatal_reason = message.reason
            self._start_error = message.reason
        elif isinstance(message, Answered):
            handle.in_player_call, handle.calls = False, message.calls
            return ItemReport(self, None, handle.sent, answered=True)
        elif isinstance(message, Ready):
            handle.ready, handle.deadline = True, math.inf
            self._failed_starts, self._start_error = 0, ""
        return None

    def _section_ended(self, handle: _WorkerHandle, part: PartialResult) -> ItemReport | None:
        """Take in the outcome of a section, if the worker is at a video, on which it goes on."""
        if not (isinstance(handle.item, Video) and isinstance(part, Outcome)):
            return None
        report = ItemReport(self, part, handle.sent, answered=not handle.in_player_call, ended=False)
        handle.item, handle.in_player_call, handle.calls = handle.item.after(part.clip), False, 0
        return report

    def _report(self, handle: _WorkerHandle, result: Result) -> ItemReport:
        """Report the last result of an item; of a video, the sections are left that the worker did not begin."""
        assert handle.item
        rest = (
            handle.item.after(result.item) if isinstance(handle.item, Video) and isinstance(result, Outcome) else None
        )
        return ItemReport(self, result, handle.sent, answered=not handle.in_player_call, rest=rest)

    def _report_lost(self, handle: _WorkerHandle, category: Category, reason: str) -> ItemReport:
        """Report the failure of an item, or of a section, whose worker was lost; a call it was in was probably made."""
        assert handle.item
        failed = handle.item.failed(category, reason)
        if not isinstance(failed, ArchiveResult):
            failed = replace(failed, calls=handle.calls + handle.in_player_call)
        return self._report(handle, failed)

    def _lost(self, handle: _WorkerHandle) -> ItemReport | None:
        code = self._remove_dead(handle)
        how = _how_it_ended(code)
        if not handle.ready:
            self._count_failed_start(f"a worker process {how} before it was ready")
        if handle.item is None:
            return None
        if code in (-signal.SIGKILL, NO_EXIT_CODE) and self._shrinks:
            self._count_killed()
        reason = f"the worker process {how} while it worked on this {handle.item.kind}"
        return self._report_lost(handle, Category.LOST_WORKER, reason)

    def _count_killed(self) -> None:
        """Go on with half as many workers, or not at all, if one after the other was killed at its item.

        The system does that when memory is short: those that are left need less.
        """
        self._killed += 1
        if self._killed < KILLED_LIMIT:
            return
        if self._workers == 1:
            what = f"{KILLED_LIMIT} worker processes in a row were killed at work, the last ones alone"
            remedy = "Make more memory available, and run the command again."
            self._fatal_reason = f"{what}: the system, the container or the batch job is short of memory. {remedy}"
            return
        self._killed, self._workers = 0, min(self._workers, len(self._handles) + 1) // 2 or 1
        left = counted(self._workers, "worker")
        what = f"{KILLED_LIMIT} worker processes in a row were killed at work, as when memory is short"
        self._notices.append(Notice(f"{what}: {left} from now on"))

    def _end_surplus(self) -> None:
        """End the workers without an item that are too many by now; the others end their items first."""
        idle = [handle for handle in self._handles if not handle.item]
        for handle in idle[max(0, self._workers - self.in_flight) :]:
            handle.kill()
            self._remove_dead(handle)

    def _stop_overdue(self, handle: _WorkerHandle) -> ItemReport | None:
        handle.kill()
        self._remove_dead(handle)
        if handle.item is None:
            self._count_failed_start(f"a worker process was not ready after {START_TIMEOUT_S:g} s")
            return None
        reason = f"not finished after {self._timeout_s:g} s; the worker process was stopped"
        return self._report_lost(handle, Category.TIMEOUT, reason)

    def _remove_dead(self, handle: _WorkerHandle) -> int | None:
        """Take a dead worker out of the pool, and return its exit code; None if it only closed its pipe."""
        self._handles.remove(handle)
        self._pipes.unregister(handle.pipe)
        handle.pipe.close()
        handle.process.join(JOIN_TIMEOUT_S)
        code = handle.process.exitcode
        if code is None:
            handle.kill()
        else:
            handle.process.close()
        return code

    def attempt(self, item: Item, notify: Callable[[PartialResult | None], None]) -> Result:
        """Do one item, and wait for its result. Raises Fatal when the worker does, or cannot be started."""
        given = False
        while True:
            given = given or (self.ready() and self.give(item, time.monotonic()))
            for message in self.messages(TICK_S):
                if isinstance(message, Progress):
                    notify(message.part)
                elif isinstance(message, ItemReport) and message.outcome:
                    if message.ended:
                        return message.outcome
                    assert isinstance(message.outcome, Outcome)
                    notify(message.outcome)
                else:
                    notify(None)

    def kill(self) -> None:
        """Kill all workers, from another thread; the items that they are at fail."""
        for handle in self._handles.copy():
            handle.kill()

    def close(self) -> None:
        with ctrl_c_deferred():
            for handle in self._handles:
                handle.kill()
            for handle in self._handles.copy():
                self._remove_dead(handle)
            self._pipes.close()


def _how_it_ended(code: int | None) -> str:
    """Return what happened to a process with this exit code, in words."""
    if code is None:
        return "closed its pipe"
    if code == NO_EXIT_CODE:
        return "ended"
    return f"was killed (signal {-code})" if code < 0 else f"ended (exit code {code})"
