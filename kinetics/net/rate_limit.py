"""One limit on the bytes a second of all workers together."""

from __future__ import annotations

import fcntl
import os
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kinetics.errors import Fatal
from kinetics.os_errors import NO_LOCKS

QUEUE_LIMIT_S = 600.0
"""Seconds that the queue may reach into the future; more is left over from an earlier run, or from before the clock
was set back, and is ignored."""


class RateLimiter:
    """A limit on the bytes a second of all workers together.

    They share one number in a file, the time until which the bandwidth is taken. A lock on the file puts them in order,
    and is released when a worker dies. It does not keep the threads of one worker apart, so these have a lock too. On a
    file system without locks, two workers may take the same moment now and then, and exceed the rate by that much.

    Raises Fatal if the file cannot be written: no clip and no connection is to blame.
    """

    def __init__(self, path: Path, bytes_per_s: float) -> None:
        self._path = path
        with self._fatal():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT)  # open as long as the worker lives
        self._bytes_per_s = bytes_per_s
        self._lock = threading.Lock()

    def acquire(self, count: int) -> None:
        """Take the time that `count` bytes need, and sleep until it begins."""
        with self._lock, self._fatal(), self._locked():
            now = time.time()
            (taken_until,) = struct.unpack("d", os.pread(self._file, 8, 0).ljust(8, b"\0"))
            begins = taken_until if now <= taken_until <= now + QUEUE_LIMIT_S else now
            os.pwrite(self._file, struct.pack("d", begins + count / self._bytes_per_s), 0)
        time.sleep(begins - now)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            yield
            return
        try:
            yield
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    @contextmanager
    def _fatal(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            what = f"--limit-rate cannot use {self._path}: {error.strerror or error}"
            raise Fatal(f"{what}. Fix that, choose another folder with -o, or leave out --limit-rate.") from error


def shared_rate_limiter(shared: Path | None, rate: float | None) -> RateLimiter | None:
    """Return the limit of all workers that share this folder; None without a folder or a rate (bytes a second)."""
    return RateLimiter(shared / "rate", rate) if shared and rate else None
