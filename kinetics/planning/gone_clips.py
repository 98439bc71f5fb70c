"""Sorts the clips that were gone: confirmed by a missing thumbnail, to be looked for, or to be asked for."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kinetics.records import Category

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


def sort_gone(gone: pd.DataFrame, asked: NDArray[np.intp]) -> tuple[NDArray[np.intp], LookedFor]:
    """Return the rows of the clips that are gone for certain, and the clips to look for.

    `gone` has a line for each clip that was gone: its `row`, `video` (a number), `youtube_id`, the verdict's `category`
    and `time_s`, and the last sighting of its `thumbnail`, at `seen_s`. `asked`: the videos that the player is asked
    for anyway, for other clips; these are not looked for.
    """
    now = time.time()
    gone = gone[(gone["category"] != Category.PAST_END) & within(gone["time_s"], PLAYER_AGAIN_DAYS, now)]
    missing = gone["thumbnail"] == "missing"
    still_holds = missing & within(gone["seen_s"], CONFIRMED_DAYS, now)
    lapsed = gone[missing & ~still_holds].sort_values(["seen_s", "youtube_id", "row"])
    anew = lapsed["video"].isin(lapsed["video"].unique()[:MOST_CONFIRMED_ANEW])
    new = gone[~missing]
    seen_since = new["seen_s"] >= np.floor(new["time_s"])
    stays_there = new["youtube_id"][seen_since | ~new["category"].isin(THUMBNAIL_VANISHES)]
    looked_for = pd.concat([new, lapsed[anew]])
    rows = looked_for["row"][~looked_for["video"].isin(asked)]
    confirmed = pd.concat([gone["row"][still_holds], lapsed["row"][~anew]])
    return confirmed.to_numpy(np.intp), LookedFor(rows.to_numpy(np.intp), frozenset(stays_there))


def within(times_s: pd.Series[float], days: float, now: float) -> pd.Series[bool]:
    """Return whether each time is one of the last days; one in the future is not, nor one that is not known."""
    return ((now - times_s) / 86_400).between(0, days, inclusive="left")
