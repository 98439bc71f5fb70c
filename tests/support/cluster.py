"""A Dask cluster on this machine: a real scheduler, and workers at addresses of their own, so that they are hosts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.commands import ROOT
from tests.support.sandbox import kill, session, wait_until

HOSTS = ("127.0.0.2", "127.0.0.3")


@dataclass
class Cluster:
    """A scheduler, and the workers that were started, in this order."""

    folder: Path
    scheduler: subprocess.Popen[bytes] | None = None
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def scheduler_file(self) -> Path:
        return self.folder / "scheduler.json"

    @property
    def address(self) -> str:
        address: str = json.loads(self.scheduler_file.read_text())["address"]
        return address

    def _has_address(self) -> bool:
        """Return whether the scheduler has written its file whole: it creates it first, and fills it then."""
        try:
            return bool(self.address)
        except (OSError, ValueError):
            return False

    @property
    def log(self) -> str:
        return (self.folder / "dask.log").read_text()

    def start_scheduler(self, port: int = 0) -> None:
        """Start one that knows nothing of the program, as is usual where a cluster is there for many."""
        self.scheduler_file.unlink(missing_ok=True)
        options = ("--host", "127.0.0.1", "--port", str(port), "--scheduler-file", str(self.scheduler_file))
        self.scheduler = self._start("dask_scheduler", *options, "--no-dashboard", env={"PYTHONPATH": ""})
        wait_until(self._has_address, "a scheduler")

    def start_worker(
        self, host: str = HOSTS[0], *more: str, threads: int = 2, env: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a worker with its nanny; one that has a loopback YouTube's `env` asks that one."""
        options = ("--scheduler-file", str(self.scheduler_file), "--host", host, "--nthreads", str(threads))
        worker = self._start("dask_worker", *options, "--no-dashboard", *more, env=env)
        self.workers.append(worker)
        return worker

    def _start(self, what: str, *options: str, env: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
        with open(self.folder / "dask.log", "ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", f"distributed.cli.{what}", *options],
                env={**os.environ, "PYTHONPATH": str(ROOT), **(env or {})},
                cwd=self.folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def stop(self) -> None:
        for process in filter(None, (self.scheduler, *self.workers)):
            kill_all(process)


@contextmanager
def cluster(folder: Path, *envs: Mapping[str, str], threads: int = 2, nannies: bool = True) -> Iterator[Cluster]:
    """A scheduler, and a worker at a host of its own for each environment; a nanny costs a second of the processor."""
    folder.mkdir(parents=True, exist_ok=True)
    dask = Cluster(folder)
    try:
        dask.start_scheduler()
        for host, env in zip(HOSTS, envs, strict=False):
            dask.start_worker(host, *([] if nannies else ["--no-nanny"]), threads=threads, env=env)
        yield dask
    finally:
        dask.stop()


def kill_all(process: subprocess.Popen[bytes]) -> None:
    """Kill -9 a process and all that it has started, at once: as when a machine's plug is pulled."""
    for pid in session(process.pid):
        kill(pid)
    process.send_signal(signal.SIGKILL)
    process.wait()
