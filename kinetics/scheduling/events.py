"""The events of a run besides the results of its items."""

from __future__ import annotations

from dataclasses import dataclass

from kinetics.records import Category


@dataclass(frozen=True, slots=True)
class Notice:
    """A message to the person at the terminal that concerns no single clip."""

    text: str


@dataclass(frozen=True, slots=True)
class Pause:
    """All workers of a host wait for `seconds`; then one request is tried."""

    category: Category
    reason: str
    """The server's own words, or those of the network error."""
    seconds: float
    host: str = ""
    """Empty where there is only one host."""
    server: str = "YouTube"
    alike: int = 0
    """Clips that failed alike, so that the cause is taken for a common one; 0 if YouTube said that it refuses
    everybody."""
    of_another_run: bool = False
    """Whether another run met the refusal, at the same time or before this one began."""


@dataclass(frozen=True, slots=True)
class SpacingChanged:
    """From now on one clip goes out every `seconds`, or slowly more often; 0: as fast as the workers can."""

    seconds: float
    host: str = ""
    """Empty where there is only one host."""
    server: str = "YouTube"
    published: bool = False
    """Whether that is what YouTube is said to allow, and not what it was found to allow."""


@dataclass(frozen=True, slots=True)
class GaveUp:
    """The run ends here: for too long no clip came."""

    category: Category
    reason: str
    server: str = "YouTube"
    alike: int = 0
    """Clips that last failed alike, where that is why."""
