"""The tasks of a Dask worker: a handshake, and one clip a task, done in a process that can be killed.

A task waits for a process of a pool. So a clip that hangs, takes too much memory or crashes fails one try, as on a
single machine, and harms neither the Dask worker nor its other clips. Processes are kept from clip to clip, and end
with the run, with their Dask worker, or when they were idle for a while.
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
from kinetics.records import Item, Outcome, PartialResult, Result
from kinetics.scheduling.pool import ProcessPool
from kinetics.scheduling.throttle import Unthrottled
from kinetics.scheduling.worker import PortableJob, Progress
from kinetics.storage.object_store import ObjectStore

TOPIC = "kinetics"
"""Dask topic of the events in which workers report what became of clips."""
IDLE_TIMEOUT_S = 60.0
"""Seconds after which an idle process ends. A shorter time starts processes more often, a longer one keeps memory."""
PACKAGES = ("av", "pytubefix", "yt-dlp")
"""Packages whose version can change a clip; where a worker's differ from the parent's, the run warns."""


@dataclass(frozen=True, slots=True)
class RunContext:
    """What all tasks of a run have in common."""

    run: str
    """A name that no other run has."""
    job: PortableJob
    timeout_s: float
    """Seconds for one clip."""


def _program_digest() -> str:
    digest = hashlib.sha256()
    package = Path(__file__).parent.parent
    for path in sorted(package.rglob("*.py")):
        digest.update(path.relative_to(package).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()


PROGRAM_DIGEST = _program_digest()
"""SHA-256 of the package's sources at import; must equal the parent's. A worker may have imported them long ago."""


def packages() -> dict[str, str]:
    """Return the versions of Python and of those PACKAGES that are installed here."""
    found = {"Python": platform.python_version()}
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def handshake(url: str, probe: str) -> Mapping[str, object]:
    """Return which program this is, and the content of the probe file at `probe`: a path, or a name at `url`.

    A Dask task. Its answer has plain types only, so that another version of the program can answer too.
    """
    try:
        content = ObjectStore(url).read(probe) if url else Path(probe).read_bytes()
        seen = "(the file is missing)" if content is None else content.decode()
    except (OSError, ValueError, Fatal) as error:
        seen = f"({error})"
    return {"program": PROGRAM_DIGEST, "packages": packages(), "probe": seen}


def attempt(context: RunContext, host: str, number: int, item: Item) -> None:
    """Do one item on this host, and report it to the parent.

    A Dask task. It reports by events, since a result would have to be fetched, and is lost with its worker. Raises
    Fatal when the run cannot go on.
    """
    worker = get_worker()

    def report(message: Result | Progress | None) -> None:
        if context.run in _sessions:  # else the run has ended, and nobody listens
            worker.log_event(TOPIC, (context.run, number, pickle.dumps(message)))

    def notify(part: PartialResult | None) -> None:
        report(Progress(replace(part, host=host)) if isinstance(part, Outcome) else None)

    with _process(context, host) as pool:
        outcome = pool.attempt(item, notify)
    report(with_host(outcome, host))


def with_host(result: Result, host: str) -> Result:
    """Return a clip's result with its host; an archive's has none."""
    return replace(result, host=host) if isinstance(result, Outcome) else result


def end_run(run: str) -> None:
    """End all that this worker still does for a run."""
    with _sessions_lock:
        session = _sessions.pop(run, None)
    if session:
        session.close()
        shutil.rmtree(session.scratch, ignore_errors=True)


class _RunSession:
    """The processes of one run on this Dask worker, idle ones included."""

    def __init__(self, context: RunContext, scratch: Path) -> None:
        self.scratch = scratch
        self._context = context
        self._idle: list[tuple[ProcessPool, float]] = []  # each of one process, and since when it is idle
        self._busy: set[ProcessPool] = set()
        self._closed = self._watched = False
        self._lock = threading.Lock()

    @contextmanager
    def process(self) -> Iterator[ProcessPool]:
        """Yield a pool of one process that nobody else uses meanwhile."""
        with self._lock:
            pool = self._idle.pop()[0] if self._idle else self._new_pool()
            self._busy.add(pool)
        try:
            yield pool
        finally:
            with self._lock:
                self._busy.remove(pool)
                self._put_back(pool)

    def close(self) -> None:
        """End all processes; the tasks of busy ones fail."""
        with self._lock:
            self._closed = True
            for pool in self._busy:
                pool.kill()
            for pool, _ in self._idle:
                pool.close()
            self._idle.clear()

    def _put_back(self, pool: ProcessPool) -> None:
        if self._closed:
            pool.close()
            return
        self._idle.append((pool, time.monotonic()))
        if not self._watched:
            self._watched = True
            threading.Thread(target=self._close_idle, daemon=True).start()

    def _new_pool(self) -> ProcessPool:
        self.scratch.mkdir(parents=True, exist_ok=True, mode=0o700)
        job = self._context.job.at(self.scratch)
        return ProcessPool(job, 1, self._context.timeout_s, Unthrottled(1), shrinks=False)  # other hosts may go on

    def _close_idle(self) -> None:
        """End processes that are idle for long, as in a pause or once the parent is gone, to free their memory."""
        while self._watched:
            time.sleep(1.0)
            with self._lock:
                idle_since_limit = time.monotonic() - IDLE_TIMEOUT_S
                for pool, idle_since in self._idle.copy():
                    if idle_since < idle_since_limit:
                        self._idle.remove((pool, idle_since))
                        pool.close()
                self._watched = bool(self._idle)


_sessions_lock = threading.Lock()
_sessions: dict[str, _RunSession] = {}


@contextmanager
def _process(context: RunContext, host: str) -> Iterator[ProcessPool]:
    multiprocessing.current_process().daemon = False  # Dask's nanny makes it one, and a daemon may have no children
    with _sessions_lock:
        if context.run not in _sessions:
            folder = f"kinetics-{context.run}-{host}".replace(":", "-")
            _sessions[context.run] = _RunSession(context, Path(tempfile.gettempdir()) / folder)
        session = _sessions[context.run]
    with session.process() as pool:
        yield pool
