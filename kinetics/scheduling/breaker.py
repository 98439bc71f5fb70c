"""The circuit breaker of an address: whether clips go out, how many at once, and which outcomes are still news.

It knows nothing of why it is opened. All times are seconds of one clock that never goes back.
"""

from __future__ import annotations

import math
from enum import Enum, auto


class BreakerState(Enum):
    """The state of a circuit breaker."""

    CLOSED = auto()
    """Clips go out."""
    OPEN = auto()
    """Nothing goes out until the pause is over; then one clip, the probe."""
    HALF_OPEN = auto()
    """The probe is out, and everything else waits for what becomes of it."""


class Breaker:
    """A circuit breaker. While it is closed, it lets one clip out at a time at first, twice as many after `widen`."""

    def __init__(self) -> None:
        self.state = BreakerState.CLOSED
        self._window = 1
        """Clips that may be out at once while it is closed."""
        self._not_before = -math.inf
        self._opened_at = -math.inf
        self._opened_by_media = False

    @property
    def closed(self) -> bool:
        return self.state is BreakerState.CLOSED

    @property
    def media_refused(self) -> bool:
        """Whether it was opened since media were refused; YouTube's answers to player calls do not close it then."""
        return not self.closed and self._opened_by_media

    def lets_out(self, in_flight: int, workers: int) -> bool:
        """Return whether another clip may go out as soon as `wait` is over; `in_flight` clips are out."""
        return self.state is not BreakerState.HALF_OPEN and in_flight < (self._window if self.closed else workers)

    def wait(self, now: float) -> float:
        """Return the seconds until the next clip may go out."""
        return max(0.0, self._not_before - now)

    def waits_until(self, until: float) -> bool:
        """Return whether nothing goes out before that time."""
        return self._not_before >= until

    def opened_since(self, sent: float) -> bool:
        """Return whether a clip went out before it last opened, and so says nothing about how things are now."""
        return sent <= self._opened_at

    def is_probe(self, sent: float) -> bool:
        """Return whether it waits for what becomes of the clip that went out then."""
        return not self.closed and not self.opened_since(sent)

    def sent(self, not_before: float) -> None:
        """Take in that a clip has gone out: the probe, if it is open. No other goes out before that time."""
        self._not_before = not_before
        if self.state is BreakerState.OPEN:
            self.state = BreakerState.HALF_OPEN

    def probe_ended(self) -> None:
        """Take in that the probe is back, whatever that means."""
        if self.state is BreakerState.HALF_OPEN:
            self.state = BreakerState.OPEN

    def open(self, now: float, pause_s: float = 0.0, *, by_media: bool) -> None:
        """Let nothing out for that long, and then one clip. `by_media`: media were refused, the player call was not."""
        self.state, self._opened_at, self._opened_by_media = BreakerState.OPEN, now, by_media
        self._not_before = max(self._not_before, now + pause_s)
        self._window = 1

    def wait_until(self, until: float, now: float) -> None:
        """Let nothing out until then: another run was told to pause. It is opened by that if it is closed."""
        self._not_before = until
        if self.closed:
            self.open(now, by_media=False)

    def close(self, workers: int) -> None:
        """Let clips out, twice as many at once as before."""
        self.state = BreakerState.CLOSED
        self.widen(workers)

    def widen(self, workers: int) -> None:
        """Let twice as many clips out at once as before, but no more than there are workers."""
        self._window = min(2 * self._window, workers)
