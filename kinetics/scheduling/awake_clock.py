"""A clock for time limits, which stands still while nobody can work."""

from __future__ import annotations

import time

MOST_BETWEEN_READINGS_S = 2.0
"""Seconds that may pass between two readings; what is beyond them, this process or the machine was asleep. A smaller
value would take a slow disk for sleep, and stop a stuck worker late; a larger one counts more of each sleep."""


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
