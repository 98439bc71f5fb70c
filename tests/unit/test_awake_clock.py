"""The clock for time limits: what one reads off it is the time in which somebody could work."""

from __future__ import annotations

import time

import pytest

from kinetics.scheduling.awake_clock import MOST_BETWEEN_READINGS_S, AwakeClock


def test_time_counts_but_for_that_between_readings_which_are_far_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    clock = AwakeClock()
    for seconds, read in ((0.5, 0.5), (1.0, 1.5), (3600.0, 1.5 + MOST_BETWEEN_READINGS_S)):
        now += seconds
        assert clock.read() == read
