"""Two clocks: one for time limits, which stands still while nobody can work, and one that all processes share."""

from __future__ import annotations

import time

MOST_BETWEEN_READINGS_S = 2.0
"""Seconds that may pass between two readings; what is beyond them, this process or the machine was asleep. A smaller
value would take a slow disk for sleep, and stop a stuck worker late; a larger one counts more of each sleep."""
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # the former goes on while the machine is suspended
_BEGAN = time.time() - time.clock_gettime(_CLOCK)


def shared_time() -> float:
    """Return the time in seconds since 1970 by a clock that never goes back, and that other processes can compare.

    If the system's clock is set, this one keeps what it showed when the process began.
    """
    return _BEGAN + time.clock_gettime(_CLOCK)


class AwakeClock:
    """Seconds that this process was awake: not stopped (Ctrl-Z, a batch system), nor on a suspended machine.

    Somebody has to read it every few seconds.
    """

    def __init__(self) -> None:
        self._awake_s = 0.0
        self._read_at = time.monotonic()

    def read(self) -> float:
        """Return the seconds since the clock was made."""
        now = time.monotonic()
        self._awake_s += min(now - self._read_at, MOST_BETWEEN_READINGS_S)
        self._read_at = now
        return self._awake_s
