"""What a Dask worker does for a run: says who it is, and does one clip a task, in a process that can be killed.

A task waits for a process of the pool's. So a clip that hangs, grows or crashes costs itself one try, as on one
machine, and neither the Dask worker nor what else it has in hand. Processes are kept from clip to clip, and end with
the run, with their Dask worker, or when they were idle for a while.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import pickle
import platform
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from distributed import get_worker

from kinetics.errors import Fatal
from kinetics.records import Clip, Outcome, PartialResult, Result
from kinetics.scheduling.pool import ProcessPool
from kinetics.scheduling.throttle import Unthrottled
from kinetics.scheduling.worker import TravellingJob
from kinetics.storage.object_store import ObjectStore

TOPIC = "kinetics"
"""Of the events in which workers tell what became of clips."""
IDLE_S = 60.0
PACKAGES = ("av", "pytubefix", "yt-dlp")
"""Those that make a clip what it is."""


@dataclass(frozen=True, slots=True)
class Order:
    """What all tasks of a run have in common. `timeout_s` is for one clip; `run` is a name that no other run has."""

    run: str
    job: TravellingJob
    timeout_s: float


def _digest() -> str:
    digest = hashlib.sha256()
    package = Path(__file__).parent.parent
    for path in sorted(package.rglob("*.py")):
        digest.update(path.relative_to(package).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()


PROGRAM = _digest()
"""Of this program's text as it was when this process imported it, which a worker may have done long ago."""


def packages() -> dict[str, str]:
    """The versions of Python and of the packages that matter, as far as they are here."""
    found = {"Python": platform.python_version()}
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def handshake(url: str, probe: str) -> Mapping[str, object]:
    """A task: which program this is, and what the probe holds, a file of the parent's in a folder or at a URL.

    Of plain types only, so that another version of the program can answer, too.
    """
    try:
        content = ObjectStore(url).read(probe) if url else Path(probe).read_bytes()
        seen = "(there is nothing)" if content is None else content.decode()
    except (OSError, ValueError, Fatal) as error:
        seen = f"({error})"
    return {"program": PROGRAM, "packages": packages(), "probe": seen}


def attempt(order: Order, host: str, number: int, clip: Clip) -> None:
    """A task: do one clip on this host, and say so.

    By events, since a result would have to be fetched, and is lost with its worker. Raises Fatal where the run cannot
    go on.
    """
    worker = get_worker()

    def say(word: Result | PartialResult | None) -> None:
        worker.log_event(TOPIC, (order.run, number, pickle.dumps(word)))

    with _process(order, host) as crew:
        outcome = crew.attempt(clip, say)
    if order.run in _desks:  # else nobody listens any more
        say(with_host(outcome, host))


def with_host(result: Result, host: str) -> Result:
    """Return a clip's result as one of this host's; an archive's has no host."""
    return replace(result, host=host) if isinstance(result, Outcome) else result


def leave(run: str) -> None:
    """End whatever this worker still does for a run."""
    with _changing:
        desk = _desks.pop(run, None)
    if desk:
        desk.clear()
        shutil.rmtree(desk.scratch, ignore_errors=True)


class _RunSession:
    """The processes of one run."""

    def __init__(self, order: Order, scratch: Path) -> None:
        self.scratch = scratch
        self._order = order
        self._idle: list[tuple[ProcessPool, float]] = []
        self._busy: set[ProcessPool] = set()
        self._cleared = self._watched = False
        self._changing = threading.Lock()

    @contextmanager
    def process(self) -> Iterator[ProcessPool]:
        """A process that nobody else uses meanwhile."""
        with self._changing:
            crew = self._idle.pop()[0] if self._idle else self._new()
            self._busy.add(crew)
        try:
            yield crew
        finally:
            with self._changing:
                self._busy.remove(crew)
                self._put_back(crew)

    def clear(self) -> None:
        with self._changing:
            self._cleared = True
            for crew in self._busy:
                crew.kill()
            for crew, _ in self._idle:
                crew.close()
            self._idle.clear()

    def _put_back(self, crew: ProcessPool) -> None:
        if self._cleared:
            crew.close()
            return
        self._idle.append((crew, time.monotonic()))
        if not self._watched:
            self._watched = True
            threading.Thread(target=self._dismiss_idle, daemon=True).start()

    def _new(self) -> ProcessPool:
        self.scratch.mkdir(parents=True, exist_ok=True, mode=0o700)
        return ProcessPool(self._order.job.at(self.scratch), 1, self._order.timeout_s, Unthrottled(1))

    def _dismiss_idle(self) -> None:
        """While YouTube is waited for, and when the parent is gone, nobody needs the memory of idle processes."""
        while self._watched:
            time.sleep(1.0)
            with self._changing:
                late = time.monotonic() - IDLE_S
                for crew, since in self._idle.copy():
                    if since < late:
                        self._idle.remove((crew, since))
                        crew.close()
                self._watched = bool(self._idle)


_changing = threading.Lock()
_desks: dict[str, _RunSession] = {}


@contextmanager
def _process(order: Order, host: str) -> Iterator[ProcessPool]:
    multiprocessing.current_process().daemon = False  # Dask's nanny makes it one, and a daemon may have no children
    with _changing:
        if order.run not in _desks:
            folder = f"kinetics-{order.run}-{host}".replace(":", "-")
            _desks[order.run] = _RunSession(order, Path(tempfile.gettempdir()) / folder)
        desk = _desks[order.run]
    with desk.process() as crew:
        yield crew
