"""The plan of a run: which clips it tries, in which order, by what is on disk and in the error logs."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import repeat
from typing import Literal

import numpy as np
import pandas as pd

from kinetics.annotations.table import Annotations
from kinetics.records import Category, Clip, ClipState, Cut, Split
from kinetics.storage.layout import Layout, clip_name
from kinetics.storage.ledger import Ledger

Retry = Literal["all", "transient", "none"]
"""Which clips that failed before are tried again: all, those that may work now, or none."""
STATES_TO_TRY: Mapping[Retry, tuple[ClipState, ...]] = {
    "all": (ClipState.NEVER_TRIED, ClipState.MAY_WORK, ClipState.WAS_GONE),
    "transient": (ClipState.NEVER_TRIED, ClipState.MAY_WORK),
    "none": (ClipState.NEVER_TRIED,),
}
"""The clips that are tried with each `--retry`, in this order."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The clips of a run with the state of each."""

    frame: pd.DataFrame
    states: np.ndarray[tuple[int], np.dtype[np.uint8]]
    """The ClipState of each row of the frame."""
    cut: Cut
    retry: Retry

    def count(self, state: ClipState) -> int:
        """Return how many clips are in a state."""
        return int((self.states == state).sum())

    @property
    def wanted(self) -> int:
        """How many clips the user wants."""
        return len(self.frame)

    @property
    def todo(self) -> int:
        """How many clips will be tried."""
        return sum(self.count(state) for state in STATES_TO_TRY[self.retry])

    @property
    def to_try(self) -> list[int]:
        """The rows of the clips that will be tried."""
        rows: list[int] = np.flatnonzero(np.isin(self.states, STATES_TO_TRY[self.retry])).tolist()
        return rows

    def for_split(self, split: Split) -> Plan:
        """Return the plan for one split alone."""
        in_split = (self.frame["split"] == split).to_numpy()
        return replace(self, frame=self.frame[in_split], states=self.states[in_split])

    @property
    def may_work_left_out(self) -> int:
        """How many clips may work now, but are left out by `--retry`."""
        return 0 if ClipState.MAY_WORK in STATES_TO_TRY[self.retry] else self.count(ClipState.MAY_WORK)

    def clips(self) -> Iterator[Clip]:
        """Yield the clips to try, in order; each is built only when it is needed."""
        for state in STATES_TO_TRY[self.retry]:
            yield from Annotations(self.frame[self.states == state], ()).clips()

    @property
    def missing(self) -> list[int]:
        """The rows of all clips that are not on disk, to be tried or not."""
        rows: list[int] = np.flatnonzero(self.states < ClipState.ON_DISK).tolist()
        return rows

    def file_names(self, rows: list[int]) -> list[str]:
        """Return the names of the files of some rows' clips."""
        part = self.frame.iloc[rows]
        if self.cut == "none":
            return [f"{youtube_id}.mp4" for youtube_id in part["youtube_id"].tolist()]
        return [*map(clip_name, *(part[column].tolist() for column in ("youtube_id", "time_start", "time_end")))]

    def clips_in(self, rows: list[int]) -> Iterator[Clip]:
        """Yield the clips of some rows."""
        return Annotations(self.frame.iloc[rows], ()).clips()

    def with_on_disk(self, names: Container[str]) -> Plan:
        """Return the plan with the clips whose files have these names as on disk."""
        missing = self.missing
        there = [row for row, name in zip(missing, self.file_names(missing), strict=True) if name in names]
        states = self.states.copy()
        states[there] = ClipState.ON_DISK
        return replace(self, states=states)

    def with_linked(self, rows: list[int]) -> Plan:
        """Return the plan with the clips of these rows as linked from another version."""
        states = self.states.copy()
        states[rows] = ClipState.LINKED
        return replace(self, states=states)


def make_plan(
    annotations: Annotations,
    layout: Layout,
    ledgers: Mapping[Split, Ledger],
    cut: Cut,
    retry: Retry,
    *,
    mirror_alone: bool = False,
) -> Plan:
    """Return the plan for the annotated clips, by what is on disk and what the ledgers know.

    Clips on disk are removed from the ledgers' missing ones; missing clips that other runs recorded are added. With cut
    `none` a video counts once, however many of its segments are annotated. A verdict of YouTube says nothing about the
    mirror, nor the other way round.
    """
    frame = annotations.frame
    if cut == "none":
        frame = frame.drop_duplicates("youtube_id")
        there = frame["youtube_id"].isin(layout.wholes_on_disk()).to_numpy()
    else:
        there = on_disk(frame, layout)
    states = np.where(there, ClipState.ON_DISK, ClipState.NEVER_TRIED).astype(np.uint8)
    known = {key[0] for ledger in ledgers.values() for key in ledger.missing}
    rows = np.flatnonzero([youtube_id in known for youtube_id in frame["youtube_id"].tolist()] if known else [])
    for row, clip in zip(rows, Annotations(frame.iloc[rows], ()).clips(), strict=True):
        ledger = ledgers[clip.split]
        if there[row]:
            ledger.mark_present(clip.key)
        elif category := ledger.category(clip.key):
            ledger.take_over(clip.key)
            gone = category.gone and (category is Category.NOT_FOUND) == mirror_alone
            states[row] = ClipState.WAS_GONE if gone else ClipState.MAY_WORK
    return Plan(frame, states, cut, retry)


def on_disk(frame: pd.DataFrame, layout: Layout, suffix: str = ".mp4") -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Return whether the clip of each row, or the file made from it, is on disk.

    Folders are listed, since looking for 650,000 files one by one would take minutes.
    """
    found = np.zeros(len(frame), bool)
    fields = [frame[column].to_numpy(object) for column in ("youtube_id", "time_start", "time_end")]
    folders = _by_folder(frame)
    for rows, there in zip(folders.values(), layout.clips_on_disk(folders), strict=True):
        if there:
            names = map(clip_name, *(field[rows] for field in fields), repeat(suffix))
            found[rows] = [name in there for name in names]
    return found


def _by_folder(frame: pd.DataFrame) -> dict[tuple[Split, str], np.ndarray[tuple[int], np.dtype[np.intp]]]:
    """Return the positions of the rows of each split and label."""
    return frame.groupby(["split", "label"], observed=True).indices  # type: ignore[return-value]
