"""What a run tells whoever listens, besides the results of its items."""

from __future__ import annotations

from dataclasses import dataclass

from kinetics.records import Category


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that the person at the terminal should know of, and that concerns no clip."""

    text: str


@dataclass(frozen=True, slots=True)
class Pause:
    """Everybody waits for `seconds`, then one clip goes and asks. `reason` is YouTube's own words, or the line's.

    Everybody: at `place`, where there are several.
    """

    category: Category
    reason: str
    seconds: float
    place: str = ""
    server: str = "YouTube"


@dataclass(frozen=True, slots=True)
class SpacingChanged:
    """From now on one clip goes out every `seconds`, or slowly more often; 0: as fast as they can."""

    seconds: float
    place: str = ""
    server: str = "YouTube"


@dataclass(frozen=True, slots=True)
class GaveUp:
    """The run ends here: for too long there was no answer, or none that the engines understood."""

    category: Category
    reason: str
    server: str = "YouTube"
