"""Which clips a run will try, and in which order: the disk says what is done, the error logs what was tried."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

import numpy as np
import pandas as pd

from kinetics.annotations import Annotations
from kinetics.layout import Layout, relative_path
from kinetics.ledger import Ledger
from kinetics.records import Clip, Cut, Split

Retry = Literal["all", "transient", "none"]


class Tier(IntEnum):
    """What is known of a clip before a run, in the order in which they are tried."""

    NEVER_TRIED = 0
    MAY_WORK = 1
    WAS_GONE = 2
    ON_DISK = 3


TRIED: Mapping[Retry, tuple[Tier, ...]] = {
    "all": (Tier.NEVER_TRIED, Tier.MAY_WORK, Tier.WAS_GONE),
    "transient": (Tier.NEVER_TRIED, Tier.MAY_WORK),
    "none": (Tier.NEVER_TRIED,),
}


@dataclass(frozen=True, slots=True)
class Plan:
    """The clips of a run by what is known of them."""

    frame: pd.DataFrame
    tiers: np.ndarray[tuple[int], np.dtype[np.uint8]]
    """A Tier for each row of the frame."""
    retry: Retry

    def count(self, tier: Tier) -> int:
        """How many clips are in a tier."""
        return int((self.tiers == tier).sum())

    @property
    def wanted(self) -> int:
        return len(self.frame)

    @property
    def todo(self) -> int:
        """How many clips will be tried."""
        return sum(self.count(tier) for tier in TRIED[self.retry])

    @property
    def may_work_left_out(self) -> int:
        """How many clips may work now, but are not tried since the user said so."""
        return 0 if Tier.MAY_WORK in TRIED[self.retry] else self.count(Tier.MAY_WORK)

    def clips(self) -> Iterator[Clip]:
        """The clips to try, in order, made as they are asked for."""
        for tier in TRIED[self.retry]:
            yield from Annotations(self.frame[self.tiers == tier], ()).clips()


def make_plan(
    annotations: Annotations, layout: Layout, ledgers: Mapping[Split, Ledger], cut: Cut, retry: Retry
) -> Plan:
    """Sort the annotated clips by what is on disk and what the ledgers know; the ledgers forget what is on disk.

    With cut `none` a video counts once, however many of its segments are annotated.
    """
    frame = annotations.frame
    if cut == "none":
        frame = frame.drop_duplicates("youtube_id")
        there = layout.wholes_on_disk()
    else:
        there = {path for split in ledgers for path in layout.clips_on_disk(split)}

    def tier(youtube_id: str, time_start: float, time_end: float, label: str, split: Split) -> Tier:
        ledger, key = ledgers[split], (youtube_id, time_start, time_end)
        if (youtube_id if cut == "none" else relative_path(*key, label, split)) in there:
            ledger.forget(key)
            return Tier.ON_DISK
        category = ledger.category(key)
        if category is None:
            return Tier.NEVER_TRIED
        return Tier.WAS_GONE if category.gone else Tier.MAY_WORK

    # Lists, and no Clip for what is on disk already: with 650,000 of them this is what a run that finds all waits for.
    fields = [frame[field.name].tolist() for field in dataclasses.fields(Clip)]
    return Plan(frame, np.fromiter(map(tier, *fields), np.uint8, len(frame)), retry)
