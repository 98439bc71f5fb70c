"""Finds the rows of clips in the annotations by what identifies a clip."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kinetics.records import KEY, SPLIT_OF, Split

UNKNOWN = -1
"""The row of a clip that the annotations do not have."""
_SPLITS: dict[Split, int] = {split: number for number, split in enumerate(SPLIT_OF.values())}
_Number = TypeVar("_Number", np.int64, np.float64)


class ClipRows:
    """The rows of the annotations' clips by split, id and times; made once, so that each search is of few clips."""

    def __init__(self, frame: pd.DataFrame) -> None:
        id_codes, ids = pd.factorize(frame["youtube_id"].astype(object))
        self._ids = pd.Index(ids)
        starts, ends = (frame[column].to_numpy(float) for column in KEY[1:])
        self._starts, self._ends = np.unique(starts), np.unique(ends)
        splits: NDArray[np.int64] = frame["split"].map(_SPLITS).to_numpy(np.int64)  # type: ignore[assignment]
        numbers = self._segment(splits, _positions(self._starts, starts), _positions(self._ends, ends))
        self._segments = np.unique(numbers)
        segment_codes = _positions(self._segments, numbers)
        keys = id_codes.astype(np.int64) * len(self._segments) + segment_codes
        self._rows = np.argsort(keys, kind="stable")
        self._keys = keys[self._rows]

    def find(
        self, split: Split, ids: pd.Series, starts: NDArray[np.float64], ends: NDArray[np.float64]
    ) -> NDArray[np.int64]:
        """Return the row of each clip of a split; UNKNOWN where there is none."""
        id_codes = self._ids.get_indexer(pd.Index(ids.astype(object)))
        start_codes, end_codes = _positions(self._starts, starts), _positions(self._ends, ends)
        splits = np.full(len(ids), _SPLITS[split])
        segments = _positions(self._segments, self._segment(splits, start_codes, end_codes))
        places = _positions(self._keys, id_codes.astype(np.int64) * len(self._segments) + segments)
        known = (id_codes >= 0) & (start_codes >= 0) & (end_codes >= 0) & (segments >= 0) & (places >= 0)
        rows = np.full(len(ids), UNKNOWN, np.int64)
        rows[known] = self._rows[places[known]]
        return rows

    def _segment(
        self, splits: NDArray[np.int64], start_codes: NDArray[np.int64], end_codes: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Return one number for each split, start and end."""
        return (splits * len(self._starts) + start_codes) * len(self._ends) + end_codes


def _positions(ordered: NDArray[_Number], values: NDArray[_Number]) -> NDArray[np.int64]:
    """Return where each value is in an array that is in order; UNKNOWN where it is not."""
    if not len(ordered):
        return np.full(len(values), UNKNOWN, np.int64)
    places: NDArray[np.int64] = np.minimum(np.searchsorted(ordered, values), len(ordered) - 1)
    return np.where(ordered[places] == values, places, UNKNOWN)
