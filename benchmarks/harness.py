"""The benchmarks' harness: a loopback YouTube in a process of its own, and commands whose resources are measured."""

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
POLL_S = 0.05
"""Seconds between two calls of `observe`."""
LATENCY_S = 0.03
"""Seconds before each reply, and for each new connection."""
CONNECTION_BIT_S = 8e6
"""Bandwidth of each connection in bit/s."""


class YouTube:
    """The loopback YouTube in the server's process, which the benchmark calls by proxy."""

    def __init__(self) -> None:
        self._youtube = LoopbackYouTube().__enter__()

    def serve(
        self,
        scenarios: Mapping[str, Scenario],
        *,
        latency_s: float = LATENCY_S,
        connection_bit_s: float | None = CONNECTION_BIT_S,
        total_bit_s: float | None = None,
        throttle: FakeThrottle | None = None,
    ) -> None:
        """Serve these videos from now on, with this latency, bandwidth (None: unlimited) and throttle."""
        self._youtube.world = world = World(scenarios, throttle)
        world.latency_s, world.bandwidth_bit_s, world.line_bit_s = latency_s, connection_bit_s, total_bit_s
        world.prepare()

    def add_to_mirror(self, path: str, archive: Path) -> str:
        """Add a file to the mirror, and return its address."""
        with open(archive, "rb") as file:
            self._youtube.world.mirror[path] = MirrorFile(mmap(file.fileno(), 0, access=ACCESS_READ))
        return f"{MIRROR}{path}"

    def annotate(self, subset: str, rows: Sequence[Row]) -> None:
        """Serve the official annotation archive of Kinetics-700 with these rows."""
        self._youtube.world.annotate("700", subset, rows)  # type: ignore[arg-type]

    def env(self) -> dict[str, str]:
        return self._youtube.env

    def requests(self, after: int = 0) -> list[Request]:
        """Return all requests so far except the first `after`."""
        return self._youtube.requests[after:]

    def cpu_s(self) -> float:
        return time.process_time()


class _Manager(BaseManager):
    """Runs a YouTube in a process of its own."""


_Manager.register("YouTube", YouTube)


@contextmanager
def youtube_process() -> Iterator[YouTube]:
    """Run a loopback YouTube whose CPU time is not counted as this process's."""
    with _Manager(ctx=multiprocessing.get_context("spawn")) as manager:
        yield manager.YouTube()  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Usage:
    """The resources of a command with all its descendants; `peak_mb` is the resident memory of the largest process."""

    code: int
    wall_s: float
    cpu_s: float
    peak_mb: float
    output: str


def run(command: Sequence[str], env: Mapping[str, str], observe: Callable[[int], None] | None = None) -> Usage:
    """Run a command to its end, and count its resources with those of processes that outlive it, such as a fork server.

    `observe` is called with its process id every `POLL_S` seconds.
    """
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)  # orphans of the command become children of this process
    began, code, wall_s, cpu_s, peak_mb = time.monotonic(), -1, 0.0, 0.0, 0.0
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(command, env=env, stdout=output, stderr=output, start_new_session=True)
        while True:
            try:
                pid, status, usage = os.wait4(-process.pid, os.WNOHANG if observe else 0)
            except ChildProcessError:
                break
            if observe and not pid:
                observe(process.pid)
                time.sleep(POLL_S)
            cpu_s += usage.ru_utime + usage.ru_stime
            peak_mb = max(peak_mb, usage.ru_maxrss / 1024)
            if pid == process.pid:
                code, wall_s = os.waitstatus_to_exitcode(status), time.monotonic() - began
        process.returncode = code
        output.seek(0)
        return Usage(code, wall_s, cpu_s, peak_mb, output.read())


@dataclass(frozen=True)
class Run:
    """A run of download.py that fetched every clip."""

    bench: Sandbox
    used: Usage
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
        """Return the sum of some columns of the attempts table for each attempt."""
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
    observe: Callable[[int], None] | None = None,
) -> Run:
    """Run download.py for these rows with an empty folder."""
    bench = Sandbox(folder, rows, dict(scenarios))
    before, server_cpu_s = len(youtube.requests()), youtube.cpu_s()
    used = run(bench.command("--cut", cut, "--rate", "none", *more), youtube.env(), observe)
    if used.code:
        raise SystemExit(f"download.py --cut {cut} ended with {used.code}:\n{used.output}")
    return Run(bench, used, youtube.requests(before), youtube.cpu_s() - server_cpu_s)


def in_worker(env: Mapping[str, str], function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Call a function in a new process with that environment."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context, initializer=_set_environment, initargs=(dict(env),)) as pool:
        return pool.submit(function, *args, **kwargs).result()


def _set_environment(env: Mapping[str, str]) -> None:
    os.environ.clear()
    os.environ.update(env)


def memory_mb(pid: int) -> dict[str, float]:
    """Return a process's resident memory (Rss), and the same with shared pages divided (Pss); zeros if it has ended."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        text = ""
    return {"Rss": 0.0, "Pss": 0.0} | {name: int(kb) / 1024 for name, kb in re.findall(r"(\w+):\s+(\d+) kB", text)}


def quartiles(values: Sequence[float], digits: int = 2) -> str:
    """Return the median with the lower and upper quartile."""
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return f"{middle:.{digits}f} ({low:.{digits}f}-{high:.{digits}f})"
