"""One limit on the bytes a second of all workers together."""

from __future__ import annotations

import fcntl
import os
import struct
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass

QUEUE_LIMIT_S = 600.0
"""No line is spoken for that far ahead: such a number is what an earlier run left, or the clock was set back."""


class RateLimiter:
    """So many bytes a second for all workers together.

    They share one number in a file, the moment until which the line is spoken for; a lock on the file orders them, and
    goes with a worker that dies. It does not tell one worker's threads apart, so they have another.
    """

    def __init__(self, path: Path, bytes_per_s: float) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT)  # open as long as the worker lives
        self._bytes_per_s = bytes_per_s
        self._lock = threading.Lock()

    def acquire(self, count: int) -> None:
        """Take `count` bytes' worth of time on the line, and wait until it begins."""
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
    """The limit of all workers that share this folder, in bytes a second, if there is to be one."""
    return RateLimiter(shared / "rate", rate) if shared and rate else None
