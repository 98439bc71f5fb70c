"""Runs a job over clips on worker processes, each with one clip in hand, so that a lost worker costs one clip one try.

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
import time
import types
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import Enum, auto
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, SpawnContext
from multiprocessing.process import BaseProcess
from typing import Protocol

from kinetics.errors import Fatal, KineticsError
from kinetics.pace import GaveUp, NoPace, Pace, Pause, Spread
from kinetics.records import Category, Clip, Outcome

TICK_S = 0.5
START_S = 60.0
"""A worker has its engines imported and opened by then, on a busy machine too."""
REAP_S = 1.0
FAILED_STARTS = 5
"""So many workers in a row that end before they are ready: the next one would too."""
ORPHAN_S = 30.0
"""Beyond an item's deadline: the parent that should have ended the worker is itself gone."""
NO_EXIT_CODE = 255
"""What multiprocessing reports where the fork server took the exit code with it."""

_processes: ForkServerContext | SpawnContext = (
    multiprocessing.get_context("forkserver")
    if "forkserver" in multiprocessing.get_all_start_methods()
    else multiprocessing.get_context("spawn")
)

Worker = Callable[[Clip, Callable[[], None]], Outcome]
"""Does one clip. Its second argument is to be called once YouTube has answered the player call, if it does."""


class Job(Protocol):
    """What is done to every clip. Pickled to the workers, so of a module that they can import, not of `__main__`."""

    @property
    def modules(self) -> Sequence[str]:
        """What every worker needs: imported once, before the first one starts, where the system can fork."""

    def open(self) -> Worker:
        """Called once in each worker process: opens engines and connections."""


Event = Outcome | Pause | Spread | GaveUp | None


def warm_up(job: Job) -> None:
    """Let what the workers need be imported from now on, beside whatever the caller does until `run`.

    It is the fork server that imports, and every worker is forked from it, so the environment has to be as they need it
    by now. Without a `run` it ends with this process.
    """
    _processes.set_forkserver_preload([*job.modules])
    if isinstance(_processes, ForkServerContext):
        with _bare_start():
            forkserver.ensure_running()


def run(
    job: Job, clips: Iterable[Clip], *, workers: int, timeout_s: float, pace: Pace | NoPace
) -> Generator[Event, None, None]:
    """Do `job` to all `clips`, on at most `workers` processes, as fast as `pace` allows.

    Yields an Outcome for every attempt, in the order in which they end: a clip that is `postponed` comes again later. A
    Pause says that everybody waits now, a Spread how densely clips go out from now on; a GaveUp is the last thing to
    come. None comes while there is nothing to say, at least every TICK_S seconds, so that the caller can move a clock
    on.

    `clips` is read as the clips go out. A worker that dies costs the clip in its hand this try (`lost_worker`), as does
    one that takes longer than `timeout_s` seconds over it (`timeout`). However the iteration ends, no worker is left
    behind; close the iterator to end it early.

    Raises Fatal when a worker says so, or when workers cannot be started at all.
    """
    queue = _Queue(clips)
    crew = _Crew(job, workers, timeout_s)
    gave_up: GaveUp | None = None
    try:
        while not gave_up or crew.out:
            patience = TICK_S if gave_up else _hand_out(queue, crew, pace)
            if not queue and not crew.out:
                return
            reports = crew.reports(patience)
            for report in reports:
                if report.outcome is None:
                    spread = pace.answered(sent=report.sent, now=time.monotonic())
                else:
                    settled = pace.settle(
                        report.outcome,
                        sent=report.sent,
                        now=time.monotonic(),
                        answered=report.answered,
                        last=not queue and not crew.out,
                    )
                    if settled.again:
                        queue.again(report.outcome.clip)
                    yield settled.outcome
                    if settled.pause:
                        yield settled.pause
                    gave_up, spread = gave_up or settled.gave_up, settled.spread
                if spread:
                    yield spread
            if crew.broken:
                raise Fatal(crew.broken)
            if not reports:
                yield None
        yield gave_up
    finally:
        crew.dismiss()


def _hand_out(queue: _Queue, crew: _Crew, pace: Pace | NoPace) -> float:
    """Give out clips as long as the pace allows, and return for how many seconds to listen then."""
    while queue:
        now = time.monotonic()
        wait = pace.wait(now, crew.out, crew.asking)
        if wait is None:
            if crew.idle() is None:
                crew.start()  # so that it is ready by then
            break
        if wait > 0.0:
            return min(wait, TICK_S)
        hand = crew.idle()
        if hand is None:
            crew.start()
            break
        clip = queue.take(rather_new=pace.wary)
        if crew.give(hand, clip, now):
            pace.sent(now)
        else:
            queue.again(clip)
    return TICK_S


class _Queue:
    """The clips to come: those that were postponed, and the new ones, of which it holds one at a time."""

    def __init__(self, clips: Iterable[Clip]) -> None:
        self._clips = iter(clips)
        self._new = next(self._clips, None)
        self._again: deque[Clip] = deque()

    def __bool__(self) -> bool:
        return self._new is not None or bool(self._again)

    def take(self, rather_new: bool) -> Clip:
        """A postponed clip goes before new ones, but a refused one is no good for finding out whether all are."""
        if self._new is None or (self._again and not rather_new):
            return self._again.popleft()
        clip, self._new = self._new, next(self._clips, None)
        return clip

    def again(self, clip: Clip) -> None:
        self._again.append(clip)


class _Word(Enum):
    """What a worker says besides outcomes."""

    READY = auto()
    ANSWERED = auto()


@dataclass(frozen=True, slots=True)
class _Broken:
    """A worker's last word: why it cannot work, and whether no other could either."""

    reason: str
    fatal: bool


@dataclass(frozen=True, slots=True)
class _Report:
    """What became of a clip; None: YouTube has answered its player call, and work on it goes on."""

    outcome: Outcome | None
    sent: float
    answered: bool


@dataclass(slots=True, eq=False)
class _Hand:
    """A worker process, as the parent sees it."""

    process: BaseProcess
    pipe: Connection
    deadline: float
    ready: bool = False
    clip: Clip | None = None
    sent: float = 0.0
    asking: bool = False

    def report(self, outcome: Outcome | None) -> _Report:
        return _Report(outcome, self.sent, answered=not self.asking)

    def kill(self) -> None:
        """Not by Process.kill(), which does nothing once the fork server is gone."""
        if self.process.pid is not None:
            with suppress(ProcessLookupError):
                os.kill(self.process.pid, signal.SIGKILL)


class _Crew:
    """The worker processes: started one by one as they are needed, and replaced when they are lost."""

    def __init__(self, job: Job, workers: int, timeout_s: float) -> None:
        _processes.set_forkserver_preload([*job.modules])
        self._job = job
        self._workers = workers
        self._timeout_s = timeout_s
        self._hands: list[_Hand] = []
        self._pipes = selectors.DefaultSelector()
        self._failed_starts = 0
        self._complaint = ""
        self.broken = ""
        """Why the run cannot go on, if so."""

    @property
    def out(self) -> int:
        """Clips in hand."""
        return sum(hand.clip is not None for hand in self._hands)

    @property
    def asking(self) -> int:
        """Clips in hand for which YouTube has not answered yet."""
        return sum(hand.asking for hand in self._hands)

    def idle(self) -> _Hand | None:
        return next((hand for hand in self._hands if hand.ready and hand.clip is None), None)

    def start(self) -> None:
        """Start one more worker, unless one is just starting or all are there."""
        if len(self._hands) >= self._workers or not all(hand.ready for hand in self._hands):
            return
        with _bare_start():
            ours, theirs = multiprocessing.Pipe()
            process = _processes.Process(target=_serve, args=(theirs, self._timeout_s), daemon=True)
            try:
                process.start()
                ours.send(self._job)
            except (OSError, EOFError) as error:
                ours.close()
                self._failed_start(_said(error))
            else:
                self._hands.append(hand := _Hand(process, ours, time.monotonic() + START_S))
                self._pipes.register(ours, selectors.EVENT_READ, hand)
            finally:
                theirs.close()

    def _failed_start(self, how: str) -> None:
        self._failed_starts += 1
        if self._failed_starts >= FAILED_STARTS:
            self.broken = f"The worker processes do not start: {self._complaint or how}"

    def give(self, hand: _Hand, clip: Clip, now: float) -> bool:
        """Hand a clip to an idle worker; False if it has just died, which is not the clip's fault."""
        try:
            hand.pipe.send(clip)
        except OSError:
            self._bury(hand)
            return False
        hand.clip, hand.sent, hand.deadline, hand.asking = clip, now, now + self._timeout_s, True
        return True

    def reports(self, patience: float) -> list[_Report]:
        """Listen for at most `patience` seconds; return what became of clips."""
        heard = [self._hear(key.data) for key, _ in self._pipes.select(patience)]
        now = time.monotonic()
        late = [self._overdue(hand) for hand in self._hands.copy() if hand.deadline <= now and not hand.pipe.poll()]
        return [report for report in heard + late if report]

    def _hear(self, hand: _Hand) -> _Report | None:
        try:
            message = hand.pipe.recv()
        except (EOFError, OSError):
            return self._lost(hand)
        if isinstance(message, Outcome):
            report = hand.report(message)
            hand.clip, hand.asking, hand.deadline = None, False, math.inf
            return report
        if isinstance(message, _Broken):
            if message.fatal:
                self.broken = message.reason
            self._complaint = message.reason
        elif message is _Word.ANSWERED:
            hand.asking = False
            return hand.report(None)
        else:
            hand.ready, hand.deadline = True, math.inf
            self._failed_starts, self._complaint = 0, ""
        return None

    def _lost(self, hand: _Hand) -> _Report | None:
        how = self._bury(hand)
        if not hand.ready:
            self._failed_start(f"a worker process {how} before it was ready")
        if hand.clip is None:
            return None
        reason = f"the worker process {how} while it held this clip"
        return hand.report(Outcome(hand.clip, "failed", Category.LOST_WORKER, reason))

    def _overdue(self, hand: _Hand) -> _Report | None:
        hand.kill()
        self._bury(hand)
        if hand.clip is None:
            self._failed_start(f"a worker process was not ready after {START_S:g} s")
            return None
        reason = f"not finished after {self._timeout_s:g} s; the worker process was stopped"
        return hand.report(Outcome(hand.clip, "failed", Category.TIMEOUT, reason))

    def _bury(self, hand: _Hand) -> str:
        """Take a dead worker out of the crew, and return how it ended."""
        self._hands.remove(hand)
        self._pipes.unregister(hand.pipe)
        hand.pipe.close()
        hand.process.join(REAP_S)
        code = hand.process.exitcode
        if code is None:
            hand.kill()
            return "broke off"
        hand.process.close()
        if code == NO_EXIT_CODE:
            return "ended"
        return f"was killed (signal {-code})" if code < 0 else f"ended (exit code {code})"

    def dismiss(self) -> None:
        """End all workers, whatever they are doing."""
        with _ctrl_c_waits():
            for hand in self._hands:
                hand.kill()
            for hand in self._hands.copy():
                self._bury(hand)
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
    script, search_path = sys.modules["__main__"], os.environ.get("PYTHONPATH")
    with warnings.catch_warnings():
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


def _serve(pipe: Connection, timeout_s: float) -> None:
    """The life of a worker process: a job comes out of the pipe, then clips; words and outcomes go in."""
    with suppress(EOFError, OSError):  # the parent is gone, so nobody waits for this
        try:
            work = pipe.recv().open()
        except Exception as error:  # noqa: BLE001 - the reason is worth more at the parent than a traceback here
            pipe.send(_Broken(_said(error), fatal=isinstance(error, Fatal)))
            return
        pipe.send(_Word.READY)
        while True:
            pipe.send(_attempt(work, pipe.recv(), pipe, timeout_s))


def _attempt(work: Worker, clip: Clip, pipe: Connection, timeout_s: float) -> Outcome | _Broken:
    def answered() -> None:
        try:
            pipe.send(_Word.ANSWERED)
        except OSError:
            raise SystemExit from None  # the parent is gone; no foreign `except Exception` may keep this going

    signal.setitimer(signal.ITIMER_REAL, timeout_s + ORPHAN_S)  # its signal ends the process
    try:
        return work(clip, answered)
    except Fatal as error:
        return _Broken(_said(error), fatal=True)
    except Exception as error:  # noqa: BLE001 - a mistake in the job must not cost more than a crash would
        return Outcome(clip, "failed", Category.LOST_WORKER, f"the worker broke on this clip: {_said(error)}")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)


def _said(error: Exception) -> str:
    """Our own errors are written for the person at the terminal; of a foreign one its kind is often the best part."""
    return str(error) if isinstance(error, KineticsError) else f"{type(error).__name__}: {error}"
