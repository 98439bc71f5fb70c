"""What a worker process does: it opens its job, does one item after another, and reports to the parent.

In this order: what a job is, the messages of a worker, how failures become results, and the process itself.
"""

from __future__ import annotations

import math
import os
import resource
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar

from kinetics.errors import ClipError, Fatal, KineticsError, StopEveryone
from kinetics.records import ArchiveResult, Category, ControlResult, Item, Outcome, PartialResult, Result, Status, Video
from kinetics.scheduling.awake_clock import AwakeClock
from kinetics.scheduling.machine import MEMORY_LIMIT, machine_fault
from kinetics.storage.atomic import cannot_write

ResultT = TypeVar("ResultT", Outcome, ArchiveResult, ControlResult)
ORPHAN_GRACE_S = 30.0
"""Seconds after an item's deadline at which a worker ends itself. Its parent stops it at the deadline, so this happens
only once the parent is gone; a value near 0 would end workers that the parent still waits for."""
WATCH_EVERY_S = 1.0
"""Seconds between two looks at how long an item has taken."""


class Notify(Protocol):
    """Tells the parent how far a worker has come with its item."""

    def __call__(self, part: PartialResult | None = None, *, calls: int = 0) -> None:
        """Report a partial result, from which the item's time limit starts again; None: the server has answered.

        It took that many player calls.
        """


Worker = Callable[[Any, Notify], Result]
"""Does one item, and notifies the parent once the server has answered, if it does."""


class Job(Protocol):
    """The work to do on every item. Pickled to the workers, so its class is in a module that they can import."""

    @property
    def modules(self) -> Sequence[str]:
        """The modules that every worker needs: imported once, before any starts, where the system can fork."""

    def open(self) -> Worker:
        """Open engines and connections; called once in each worker process."""


class PortableJob(Job, Protocol):
    """A job that can be done on other machines."""

    def at(self, scratch: Path) -> Self:
        """Return the same job for this host, whose workers have the folder `scratch` to themselves."""


@dataclass(frozen=True, slots=True)
class Ready:
    """A worker's message that its job is open, so that items can come."""


@dataclass(frozen=True, slots=True)
class Answered:
    """A worker's message that the server has answered, after this many player calls; work on the item goes on."""

    calls: int


@dataclass(frozen=True, slots=True)
class Progress:
    """A worker's message with a partial result of its item, on which work goes on."""

    part: PartialResult


@dataclass(frozen=True, slots=True)
class WorkerError:
    """A worker's last message: why it cannot work."""

    reason: str
    fatal: bool
    """Whether no other worker could work either."""


def error_text(error: Exception) -> str:
    """Return an error's message: our own are written for the person at the terminal, a foreign one needs its class."""
    return str(error) if isinstance(error, KineticsError) else f"{type(error).__name__}: {error}"


@dataclass(slots=True)
class Failure:
    """Why an attempt failed, as its result will say; nothing failed while `category` is None."""

    status: Status = "failed"
    category: Category | None = None
    reason: str = ""
    retry_after_s: float | None = None
    error: ClipError | None = None

    def applied_to(self, result: ResultT) -> ResultT:
        """Return the result as failed or postponed; unchanged where nothing failed."""
        if self.category is None:
            return result
        return replace(
            result,
            status=self.status,
            category=self.category,
            reason=self.reason,
            retry_after_s=self.retry_after_s,
        )


@contextmanager
def record_failure(folder: Path) -> Iterator[Failure]:
    """Yield a record that holds, once the block has ended, why it failed, if it did.

    `folder` is where the block writes. Raises Fatal if it cannot write there, or the machine is at fault.
    """
    failure = Failure()
    try:
        yield failure
    except StopEveryone as error:
        failure.status, failure.category, failure.reason = "postponed", error.category, error.reason
        failure.retry_after_s = error.retry_after_s
    except ClipError as error:
        if fault := machine_fault(error):
            raise fault from error
        failure.category, failure.reason, failure.error = error.category, error.reason, error
    except Fatal:
        raise
    except OSError as error:
        raise machine_fault(error) or cannot_write(error, folder) from error
    except MemoryError as error:
        if fault := machine_fault(error):
            raise fault from error
        failure.category = Category.MEDIA_ERROR
        failure.reason = f"it takes more than {MEMORY_LIMIT >> 20} MiB of memory"
    except Exception as error:
        if fault := machine_fault(error):
            raise fault from error
        failure.category, failure.reason = Category.MEDIA_ERROR, f"unexpected {type(error).__name__}: {error}"


def limit_memory() -> None:
    """Limit this process's memory to MEMORY_LIMIT (on Linux): a few bytes of a hostile header can ask for gigabytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    allowed = [limit for limit in (soft, hard, MEMORY_LIMIT) if limit != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_DATA, (min(allowed), hard))


class Watchdog:
    """Ends this process when an item takes `limit_s` seconds; nobody else would once the parent is gone.

    A thread, because an alarm of the system also counts the time for which the process was stopped.
    """

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._work: object = None
        threading.Thread(target=self._watch, daemon=True).start()

    def begin(self) -> None:
        """Give the item that begins, or the rest of one, all the time."""
        self._work = object()

    def end(self) -> None:
        """Stop watching until the next item begins."""
        self._work = None

    def _watch(self) -> None:
        clock, work, deadline = AwakeClock(), None, math.inf
        while True:
            time.sleep(WATCH_EVERY_S)
            now = clock.read()
            if work is not self._work:
                work, deadline = self._work, now + self._limit_s
            elif work and now > deadline:
                os.kill(os.getpid(), signal.SIGALRM)


def serve(pipe: Connection, timeout_s: float, environment: Mapping[str, str]) -> None:
    """Run a worker process: receive a job through the pipe, then items, and send messages and results back.

    `environment` is that of the parent now: the fork server has that of the time when it was started.
    """
    os.environ.clear()
    os.environ.update(environment)
    with suppress(EOFError, OSError):  # the parent is gone, so nobody waits for this
        try:
            work = pipe.recv().open()
            watchdog = Watchdog(timeout_s + ORPHAN_GRACE_S)
        except Exception as error:  # noqa: BLE001 - the reason is worth more at the parent than a traceback here
            error = machine_fault(error) or error
            pipe.send(WorkerError(error_text(error), fatal=isinstance(error, Fatal)))
            return
        pipe.send(Ready())
        while True:
            pipe.send(_attempt(work, pipe.recv(), pipe, watchdog))


def _attempt(work: Worker, item: Item, pipe: Connection, watchdog: Watchdog) -> Result | WorkerError:
    left = item

    def notify(part: PartialResult | None = None, *, calls: int = 0) -> None:
        nonlocal left
        if part:
            watchdog.begin()
        if isinstance(left, Video) and isinstance(part, Outcome):
            left = left.after(part.clip) or left
        try:
            pipe.send(Progress(part) if part else Answered(calls))
        except OSError:
            raise SystemExit from None  # the parent is gone; no foreign `except Exception` may keep this going

    watchdog.begin()
    try:
        return work(item, notify)
    except Fatal as error:
        return WorkerError(error_text(error), fatal=True)
    except Exception as error:  # noqa: BLE001 - a mistake in the job must not cost more than a crash would
        if fault := machine_fault(error):
            return WorkerError(error_text(fault), fatal=True)
        return left.failed(Category.LOST_WORKER, f"the worker failed on this {item.kind}: {error_text(error)}")
    finally:
        watchdog.end()
