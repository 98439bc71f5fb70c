"""What a worker process does: it opens its job, does one item after another, and tells the parent."""

from __future__ import annotations

import resource
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from enum import Enum, auto
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar

from kinetics.errors import ClipError, Fatal, KineticsError, StopEveryone
from kinetics.records import ArchiveResult, Category, Item, Outcome, PartialResult, Result, Status
from kinetics.storage.atomic import cannot_write


class Say(Protocol):
    """How a worker tells what happens to the item in its hand."""

    def __call__(self, part: PartialResult | None = None) -> None:
        """Without an argument: the server has answered. Where a part is done, the rest has all the time anew."""


Worker = Callable[[Any, Say], Result]
"""Does one item, and says so once the server has answered, if it does."""


class Job(Protocol):
    """What is done to every item. Pickled to the workers, so of a module that they can import, not of `__main__`."""

    @property
    def modules(self) -> Sequence[str]:
        """What every worker needs: imported once, before the first one starts, where the system can fork."""

    def open(self) -> Worker:
        """Called once in each worker process: opens engines and connections."""


class TravellingJob(Job, Protocol):
    """A job that can be done on other machines."""

    def at(self, scratch: Path) -> Self:
        """The same job on this host, where its workers have that folder to themselves."""


@dataclass(frozen=True, slots=True)
class Progress:
    """What there is to say of an item that is still in hand."""

    part: PartialResult


ORPHAN_S = 30.0
"""Beyond an item's deadline: the parent that should have ended the worker is itself gone."""


class Signal(Enum):
    """What a worker says besides outcomes."""

    READY = auto()
    ANSWERED = auto()


@dataclass(frozen=True, slots=True)
class WorkerError:
    """A worker's last word: why it cannot work, and whether no other could either."""

    reason: str
    fatal: bool


def serve(pipe: Connection, timeout_s: float) -> None:
    """The life of a worker process: a job comes out of the pipe, then items; words, parts and results go in."""
    with suppress(EOFError, OSError):  # the parent is gone, so nobody waits for this
        try:
            work = pipe.recv().open()
        except Exception as error:  # noqa: BLE001 - the reason is worth more at the parent than a traceback here
            pipe.send(WorkerError(error_text(error), fatal=isinstance(error, Fatal)))
            return
        pipe.send(Signal.READY)
        while True:
            pipe.send(_attempt(work, pipe.recv(), pipe, timeout_s))


def _attempt(work: Worker, item: Item, pipe: Connection, timeout_s: float) -> Result | WorkerError:
    def say(part: PartialResult | None = None) -> None:
        if part:
            signal.setitimer(signal.ITIMER_REAL, timeout_s + ORPHAN_S)
        try:
            pipe.send(Progress(part) if part else Signal.ANSWERED)
        except OSError:
            raise SystemExit from None  # the parent is gone; no foreign `except Exception` may keep this going

    signal.setitimer(signal.ITIMER_REAL, timeout_s + ORPHAN_S)  # its signal ends the process
    try:
        return work(item, say)
    except Fatal as error:
        return WorkerError(error_text(error), fatal=True)
    except Exception as error:  # noqa: BLE001 - a mistake in the job must not cost more than a crash would
        return item.failed(Category.LOST_WORKER, f"the worker broke on this {item.kind}: {error_text(error)}")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)


def error_text(error: Exception) -> str:
    """Our own errors are written for the person at the terminal; of a foreign one its kind is often the best part."""
    return str(error) if isinstance(error, KineticsError) else f"{type(error).__name__}: {error}"


ResultT = TypeVar("ResultT", Outcome, ArchiveResult)
MEMORY_LIMIT = 1 << 31
"""Of a worker, in bytes: what claims to need more costs its clip, not the machine. A clip of 4K video takes 1.3 GB."""


@dataclass(slots=True)
class Failure:
    """Why an attempt failed, as it stands in its result; nothing failed while `category` is None."""

    status: Status = "failed"
    category: Category | None = None
    reason: str = ""
    retry_after_s: float | None = None

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
    """Yield a record in which stands, once the block has ended, why it failed, if it did.

    `folder` is where the block writes. Raises Fatal if it cannot write there.
    """
    failure = Failure()
    try:
        yield failure
    except StopEveryone as error:
        failure.status, failure.category, failure.reason = "postponed", error.category, error.reason
        failure.retry_after_s = error.retry_after_s
    except ClipError as error:
        failure.category, failure.reason = error.category, error.reason
    except Fatal:
        raise
    except OSError as error:
        raise cannot_write(error, folder) from error
    except MemoryError:
        failure.category = Category.MEDIA_ERROR
        failure.reason = f"it takes more than {MEMORY_LIMIT >> 20} MiB of memory"
    except Exception as error:  # noqa: BLE001 - one clip's surprise must not cost the others
        failure.category, failure.reason = Category.MEDIA_ERROR, f"unexpected {type(error).__name__}: {error}"


def limit_memory() -> None:
    """Let the system refuse a worker more (on Linux): a few bytes of a hostile header can ask for gigabytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    allowed = [limit for limit in (soft, hard, MEMORY_LIMIT) if limit != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_DATA, (min(allowed), hard))
