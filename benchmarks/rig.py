"""A loopback YouTube in a process of its own, and commands run against it, with all that they used."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import re
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from mmap import ACCESS_READ, mmap
from multiprocessing.managers import BaseManager
from pathlib import Path
from typing import ParamSpec, TypeVar

from tests.support.sandbox import Sandbox
from tests.youtube.log import Request
from tests.youtube.mirror import BASE as MIRROR
from tests.youtube.mirror import MirrorFile
from tests.youtube.server import LoopbackYouTube
from tests.youtube.world import FakeThrottle, Row, Scenario, World

P = ParamSpec("P")
R = TypeVar("R")
PR_SET_CHILD_SUBREAPER = 36
WORKER_POLL_S = 0.05
LATENCY_S, CONNECTION_BIT_S = 0.03, 8e6
"""Before each reply and for each new connection; of each connection."""


class YouTube:
    """What stands in the server's process, and is called from here."""

    def __init__(self) -> None:
        self._youtube = LoopbackYouTube().__enter__()

    def serve(
        self,
        scenarios: Mapping[str, Scenario],
        *,
        latency_s: float = LATENCY_S,
        connection_bit_s: float | None = CONNECTION_BIT_S,
        line_bit_s: float | None = None,
        throttle: FakeThrottle | None = None,
    ) -> None:
        """Have these videos from now on, and behave so."""
        self._youtube.world = world = World(scenarios, throttle)
        world.latency_s, world.bandwidth_bit_s, world.line_bit_s = latency_s, connection_bit_s, line_bit_s
        world.prepare()

    def shelve(self, path: str, archive: Path) -> str:
        """Have this file on the mirror; returns its address."""
        with open(archive, "rb") as file:
            self._youtube.world.mirror[path] = MirrorFile(mmap(file.fileno(), 0, access=ACCESS_READ))
        return f"{MIRROR}{path}"

    def annotate(self, subset: str, rows: Sequence[Row]) -> None:
        """Have the official archive of Kinetics-700."""
        self._youtube.world.annotate("700", subset, rows)  # type: ignore[arg-type]

    def env(self) -> dict[str, str]:
        return self._youtube.env

    def requests(self, after: int = 0) -> list[Request]:
        """All so far but the first ones."""
        return self._youtube.requests[after:]

    def cpu_s(self) -> float:
        return time.process_time()


class _Manager(BaseManager):
    """Runs a YouTube in a process of its own."""


_Manager.register("YouTube", YouTube)


@contextmanager
def youtube_apart() -> Iterator[YouTube]:
    """A YouTube whose CPU time is not ours."""
    with _Manager(ctx=multiprocessing.get_context("spawn")) as manager:
        yield manager.YouTube()  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Used:
    """What a command and all its descendants used; `peak_mb` is of the largest process, resident."""

    code: int
    wall_s: float
    cpu_s: float
    peak_mb: float
    output: str


def run(command: Sequence[str], env: Mapping[str, str], look: Callable[[int], None] | None = None) -> Used:
    """Run a command to its end. What outlives it, such as a fork server, is waited for and counted too.

    `look` is called with its process id every now and then.
    """
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)  # its orphans become ours
    began, code, wall_s, cpu_s, peak_mb = time.monotonic(), -1, 0.0, 0.0, 0.0
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(command, env=env, stdout=output, stderr=output, start_new_session=True)
        while True:
            try:
                pid, status, usage = os.wait4(-process.pid, os.WNOHANG if look else 0)
            except ChildProcessError:
                break
            if look and not pid:
                look(process.pid)
                time.sleep(WORKER_POLL_S)
            cpu_s += usage.ru_utime + usage.ru_stime
            peak_mb = max(peak_mb, usage.ru_maxrss / 1024)
            if pid == process.pid:
                code, wall_s = os.waitstatus_to_exitcode(status), time.monotonic() - began
        process.returncode = code
        output.seek(0)
        return Used(code, wall_s, cpu_s, peak_mb, output.read())


@dataclass(frozen=True)
class Run:
    """A run of download.py that has fetched every clip."""

    bench: Sandbox
    used: Used
    requests: list[Request]
    server_cpu_s: float

    @property
    def clips(self) -> int:
        return len(self.bench.rows)

    @cached_property
    def attempts(self) -> list[dict[str, str]]:
        return self.bench.attempts()

    @property
    def media_bytes(self) -> int:
        return sum(request.bytes_sent for request in self.requests if request.kind == "media")

    def seconds(self, *fields: str) -> list[float]:
        """Of each attempt, in its columns of the table."""
        return [sum(float(row[field] or 0) for field in fields) for row in self.attempts]

    @property
    def steady_clips_s(self) -> float:
        """Clips a second in the middle of the run, without its start and its end."""
        ends = sorted(path.stat().st_mtime for path in self.bench.files())
        first, last = len(ends) // 10, len(ends) - 1 - len(ends) // 10
        return (last - first) / max(ends[last] - ends[first], 1e-3)


def download(
    youtube: YouTube,
    rows: Sequence[Row],
    scenarios: Mapping[str, Scenario],
    folder: Path,
    cut: str,
    *more: str,
    look: Callable[[int], None] | None = None,
) -> Run:
    """Run download.py over these rows, into that folder."""
    bench = Sandbox(folder, rows, dict(scenarios))
    before, server_cpu_s = len(youtube.requests()), youtube.cpu_s()
    used = run(bench.command("--cut", cut, *more), youtube.env(), look)
    if used.code:
        raise SystemExit(f"download.py --cut {cut} ended with {used.code}:\n{used.output}")
    return Run(bench, used, youtube.requests(before), youtube.cpu_s() - server_cpu_s)


def in_worker(env: Mapping[str, str], function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Call a function in a new process with that environment."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context, initializer=_settle, initargs=(dict(env),)) as pool:
        return pool.submit(function, *args, **kwargs).result()


def _settle(env: Mapping[str, str]) -> None:
    os.environ.clear()
    os.environ.update(env)


def memory_mb(pid: int) -> dict[str, float]:
    """Resident, and with what is shared divided among those who share it; zeros of a process that has ended."""
    try:
        told = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        told = ""
    return {"Rss": 0.0, "Pss": 0.0} | {name: int(kb) / 1024 for name, kb in re.findall(r"(\w+):\s+(\d+) kB", told)}


def quartiles(values: Sequence[float], digits: int = 2) -> str:
    """The median, and the lower and upper quartile."""
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return f"{middle:.{digits}f} ({low:.{digits}f}-{high:.{digits}f})"
