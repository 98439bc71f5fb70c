"""The workers' common limit, when one of the workers dies."""

from __future__ import annotations

import fcntl
import multiprocessing
import os
from pathlib import Path

from kinetics.net.rate_limit import RateLimiter


def _spend_and_die(path: Path) -> None:
    RateLimiter(path, 1e9).acquire(1)
    with open(path, "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        os._exit(1)


def test_a_worker_that_dies_does_not_keep_the_line(tmp_path: Path) -> None:
    worker = multiprocessing.get_context("spawn").Process(target=_spend_and_die, args=(tmp_path / "rate",))
    worker.start()
    worker.join(30)
    assert worker.exitcode == 1
    RateLimiter(tmp_path / "rate", 1e9).acquire(1)
