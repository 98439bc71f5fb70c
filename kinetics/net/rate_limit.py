"""One limit on the bytes a second of all workers together."""

from __future__ import annotations

import fcntl
import os
import struct
import threading
import time
from pathlib import Path

QUEUE_LIMIT_S = 600.0
"""Seconds that the queue may reach into the future; more is left over from an earlier run, or from before the clock
was set back, and is ignored."""


class RateLimiter:
    """A limit on the bytes a second of all workers together.

    They share one number in a file, the time until which the bandwidth is taken. A lock on the file puts them in order,
    and is released when a worker dies. It does not keep the threads of one worker apart, so these have a lock too.
    """

    def __init__(self, path: Path, bytes_per_s: float) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT)  # open as long as the worker lives
        self._bytes_per_s = bytes_per_s
        self._lock = threading.Lock()

    def acquire(self, count: int) -> None:
        """Take the time that `count` bytes need, and sleep until it begins."""
        with self._lock:
            fcntl.flock(self._file, fcntl.LOCK_EX)
            try:
                now = time.time()
                (taken_until,) = struct.unpack("d", os.pread(self._file, 8, 0).ljust(8, b"\0"))
                begins = taken_until if now <= taken_until <= now + QUEUE_LIMIT_S else now
                os.pwrite(self._file, struct.pack("d", begins + count / self._bytes_per_s), 0)
            finally:
                fcntl.flock(self._file, fcntl.LOCK_UN)
        time.sleep(begins - now)


def shared_rate_limiter(shared: Path | None, rate: float | None) -> RateLimiter | None:
    """Return the limit of all workers that share this folder; None without a folder or a rate (bytes a second)."""
    return RateLimiter(shared / "rate", rate) if shared and rate else None
