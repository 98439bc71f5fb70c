"""Sorts the clips that were gone: confirmed by a missing thumbnail, to be looked for, or to be asked for."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kinetics.records import Category, ClipState, Split
from kinetics.storage.ledger import MissingClip
from kinetics.storage.thumbnail_log import Sighting

PLAYER_AGAIN_DAYS = 90
"""Days after which the player is asked again for a video that it called gone, whatever its thumbnail says. Fewer of
them spend more player calls on dead videos; with more, one that is back without a thumbnail is found later."""
CONFIRMED_DAYS = 30
"""Days for which a missing thumbnail confirms that a video is gone; then it is asked for anew."""
MOST_CONFIRMED_ANEW = 2_000
"""Most videos whose confirmation is asked for anew in one run, the oldest first: under two minutes of requests."""
THUMBNAIL_VANISHES = frozenset(
    {
        Category.UNAVAILABLE,
        Category.PRIVATE,
        Category.REMOVED,
        Category.COPYRIGHT,
        Category.TERMS,
        Category.TERMINATED,
    }
)
"""The categories of videos whose thumbnails are usually missing: one that is there may mean that the video is back."""


@dataclass(frozen=True, slots=True)
class LookedFor:
    """Clips that were gone, and whose videos' thumbnails are looked for before YouTube is asked for them."""

    rows: NDArray[np.intp] = field(default_factory=lambda: np.array([], np.intp))
    """Their rows in the plan's frame, in the order in which they are looked for."""
    stays_there: frozenset[str] = frozenset()
    """The ids of those whose thumbnails say nothing new if they are there."""


class GoneClips:
    """Sorts the clips that were gone by what was seen of their videos' thumbnails."""

    def __init__(self, sightings: Mapping[Split, Mapping[str, Sighting]]) -> None:
        self._sightings = sightings
        self._now = time.time()
        self._new = list[int]()
        self._lapsed = list[tuple[float, str, int]]()  # when it was confirmed, the video, the row
        self._stays_there = set[str]()

    def confirms(self, row: int, split: Split, youtube_id: str, failure: MissingClip) -> bool:
        """Return whether a missing thumbnail confirms that a clip is gone; else take in whether it is looked for."""
        seen = self._sightings[split].get(youtube_id)
        if failure.category is Category.PAST_END or not within(failure.time_s, PLAYER_AGAIN_DAYS, self._now):
            return False
        if seen and seen.thumbnail == "missing":
            if within(seen.time_s, CONFIRMED_DAYS, self._now):
                return True
            self._lapsed.append((seen.time_s, youtube_id, row))
            return False
        self._new.append(row)
        if failure.category not in THUMBNAIL_VANISHES or (seen and seen.time_s >= int(failure.time_s)):
            self._stays_there.add(youtube_id)
        return False

    def looked_for(
        self, ids: pd.Series[str], states: NDArray[np.uint8], not_due: NDArray[np.bool_], tried: NDArray[np.intp]
    ) -> LookedFor:
        """Return the clips to look for; in `not_due`, lapsed confirmations that are not asked for anew still hold.

        `tried`: the rows of all videos that were tried before. A video that the player is asked for anyway, for another
        clip, is not looked for.
        """
        self._lapsed.sort()
        anew = {*[*dict.fromkeys(youtube_id for _, youtube_id, _ in self._lapsed)][:MOST_CONFIRMED_ANEW]}
        not_due[[row for _, youtube_id, row in self._lapsed if youtube_id not in anew]] = True
        rows = np.array([*self._new, *(row for _, youtube_id, row in self._lapsed if youtube_id in anew)], np.intp)
        asked = ids.iloc[tried[(states[tried] < ClipState.WAS_GONE) & ~not_due[tried]]]
        alone = ~ids.iloc[rows].isin({*asked}).to_numpy()
        return LookedFor(rows[alone], frozenset(self._stays_there))


def within(time_s: float, days: float, now: float) -> bool:
    """Return whether a time is one of the last days; one in the future is not."""
    return 0 <= (now - time_s) / 86_400 < days
