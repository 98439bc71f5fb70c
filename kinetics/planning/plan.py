"""The plan of a run: which clips it tries, in which order, by what is on disk and in the error logs."""

from __future__ import annotations

import random
import time
from collections.abc import Collection, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from operator import attrgetter
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kinetics.annotations.table import Annotations
from kinetics.planning.earlier_failures import find_failures, keys_of, settle, with_sightings
from kinetics.planning.gone_clips import LookedFor, sort_gone, within
from kinetics.records import (
    ASKED_WITH,
    Category,
    Clip,
    ClipKey,
    ClipState,
    Cut,
    Retry,
    SourceChoice,
    Split,
    Video,
    video_of,
)
from kinetics.storage.clip_names import clip_names
from kinetics.storage.layout import Layout, label_folder
from kinetics.storage.ledger import Ledger
from kinetics.storage.shards import in_shards
from kinetics.storage.thumbnail_log import ThumbnailLog

ASK_AGAIN_DAYS = 30
"""Days after which YouTube is asked again for a clip that it did not offer. Fewer of them spend more player calls on
the same answer; with more of them, a clip that YouTube offers again is found later. The help and the messages name the
number, too."""
STATES_TO_TRY: Mapping[Retry, tuple[ClipState, ...]] = {
    "due": (ClipState.NEVER_TRIED, ClipState.MAY_WORK, ClipState.NOT_OFFERED, ClipState.WAS_GONE),
    "all": (ClipState.NEVER_TRIED, ClipState.MAY_WORK, ClipState.NOT_OFFERED, ClipState.WAS_GONE),
    "transient": (ClipState.NEVER_TRIED, ClipState.MAY_WORK),
    "none": (ClipState.NEVER_TRIED,),
}
"""The clips that are tried with each `--retry`, in this order; with `due`, not those of `Plan.not_due`."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The clips of a run with the state of each."""

    frame: pd.DataFrame
    states: np.ndarray[tuple[int], np.dtype[np.uint8]]
    """The ClipState of each row of the frame."""
    not_due: NDArray[np.bool_]
    """Whether YouTube is not to be asked for the clip of each row: it did not offer it a short while ago, or called it
    gone, which the video's missing thumbnail confirms."""
    known: Mapping[ClipKey, Category]
    """Why clips that YouTube is to be asked for failed before, if that was settled: they were gone or not offered."""
    cut: Cut
    retry: Retry
    source: SourceChoice
    seed: int
    """Of the random order of the clips that may work now."""
    video: NDArray[np.intp]
    """A number for the video of each row: numbers are compared several times faster than ids."""
    unnamed: Mapping[Path, set[str]] = field(default_factory=dict)
    """By each folder that clips of the plan belong in, the names there that none of them has."""
    looked_for: LookedFor = field(default_factory=LookedFor)

    def count(self, state: ClipState) -> int:
        """Return how many clips are in a state."""
        return int((self.states == state).sum())

    @property
    def wanted(self) -> int:
        """How many clips the user wants."""
        return len(self.frame)

    @property
    def there(self) -> int:
        """How many clips are on disk, or were just brought there from elsewhere."""
        return int((self.states >= ClipState.ON_DISK).sum())

    @property
    def todo(self) -> int:
        """How many clips will be tried."""
        return int(self._chosen().sum())

    @property
    def videos(self) -> int:
        """How many videos YouTube will be asked for: one player call serves all clips of a video."""
        asked = self._chosen() & ~self.not_due
        asked[self.to_look_for] = False
        return len(pd.unique(self.video[asked]))

    @property
    def to_try(self) -> list[int]:
        """The rows of the clips that will be tried, in order."""
        rows: list[int] = self._in_order().tolist()
        return rows

    def _chosen(self) -> NDArray[np.bool_]:
        """Return whether the clip of each row will be tried. The mirror may have what YouTube does not offer."""
        chosen = np.isin(self.states, STATES_TO_TRY[self.retry])
        return chosen if self.source == "both" else chosen & ~self.not_due

    def _in_order(self) -> NDArray[np.intp]:
        """Return the rows of the clips to try: by their states, and within a state as they are annotated.

        What may work now comes in a random order, of which `make_plan` chooses another one for each run. So a run that
        stops at the same number of failures each time still reaches other clips than the run before.
        """
        chosen = self._chosen()
        rows = {state: np.flatnonzero(chosen & (self.states == state)) for state in STATES_TO_TRY[self.retry]}
        if ClipState.MAY_WORK in rows:
            rows[ClipState.MAY_WORK] = np.random.default_rng(self.seed).permutation(rows[ClipState.MAY_WORK])
        return np.concatenate([*rows.values()])

    def on_disk_in(self, split: Split) -> pd.DataFrame:
        """Return the clips of one split that are on disk, as in Annotations.frame."""
        rows: pd.DataFrame = self.frame[(self.states == ClipState.ON_DISK) & (self.frame["split"] == split).to_numpy()]
        return rows

    def for_split(self, split: Split) -> Plan:
        """Return the plan for one split alone."""
        in_split = (self.frame["split"] == split).to_numpy()
        return replace(
            self,
            frame=self.frame[in_split],
            states=self.states[in_split],
            not_due=self.not_due[in_split],
            video=self.video[in_split],
            looked_for=LookedFor(),  # only YouTube's part needs them, which is not divided
        )

    def for_youtube(self) -> Plan:
        """Return the plan without the clips that only the mirror is asked for."""
        return replace(self, source="youtube")

    @property
    def not_due_rows(self) -> list[int]:
        """The rows of the missing clips that YouTube is not asked for, since it did not offer them lately."""
        rows: list[int] = np.flatnonzero(self.not_due & (self.states == ClipState.NOT_OFFERED)).tolist()
        return rows

    @property
    def confirmed(self) -> int:
        """How many clips YouTube is not asked for, as missing thumbnails confirm that their videos are gone."""
        return int((self.not_due & (self.states == ClipState.WAS_GONE)).sum())

    @property
    def videos_gone(self) -> int:
        """How many videos the clips that were gone are of."""
        return len(pd.unique(self.video[self.states == ClipState.WAS_GONE]))

    @property
    def to_look_for(self) -> NDArray[np.intp]:
        """The rows of the clips to try that are looked for by their videos' thumbnails."""
        rows = self.looked_for.rows
        wanted: NDArray[np.bool_] = self._chosen()[rows] & (self.states[rows] == ClipState.WAS_GONE)
        return rows[wanted]

    def by_thumbnails(self) -> tuple[Plan, Iterator[Clip | Video], Plan]:
        """Return the clips to ask YouTube for in three parts: those that were not gone, those to look for by their
        thumbnails, and those that were gone and are asked for last.

        A clip that was gone is in the first part if its video has another clip there.
        """
        plan, looked_for = self.for_youtube(), self.to_look_for
        chosen = plan._chosen()
        chosen[looked_for] = False
        gone = chosen & (plan.states == ClipState.WAS_GONE)
        gone &= ~np.isin(plan.video, plan.video[chosen & ~gone])
        return plan._only(chosen & ~gone), plan._items_in(looked_for), plan._only(gone)

    def _only(self, rows: NDArray[np.bool_]) -> Plan:
        """Return the plan in which YouTube is asked for no clips but these."""
        return replace(self, not_due=~rows)

    @property
    def may_work_left_out(self) -> int:
        """How many clips may work now, but are left out by `--retry`."""
        return 0 if ClipState.MAY_WORK in STATES_TO_TRY[self.retry] else self.count(ClipState.MAY_WORK)

    def clips(self) -> Iterator[Clip]:
        """Return the clips to try, in order; each is built only when it is needed."""
        return Annotations(self.frame.iloc[self._in_order()], ()).clips()

    def items(self) -> Iterator[Clip | Video]:
        """Yield the clips to try by video, each with all its sections, in the order of the first ones."""
        return self._items_in(self._in_order())

    def _items_in(self, rows: NDArray[np.intp]) -> Iterator[Clip | Video]:
        """Yield the clips of some rows as `items` does."""
        videos, _ = pd.factorize(self.video[rows])  # by their first clips
        clips = Annotations(self.frame.iloc[rows[np.argsort(videos, kind="stable")]], ()).clips()
        for _, sections in groupby(clips, attrgetter("youtube_id")):
            item = video_of(sorted(sections, key=attrgetter("time_start")))
            assert item
            yield item

    def sample_living(
        self, count: int, states: Sequence[ClipState] = (ClipState.ON_DISK, ClipState.NEVER_TRIED)
    ) -> list[Clip]:
        """Return at most `count` clips, chosen at random, whose videos YouTube is likely to offer.

        They were on disk before the run; where there are too few of those, some were never tried. `states` narrows
        that.
        """
        at_random = np.random.default_rng(self.seed).permutation
        rows = np.concatenate([at_random(np.flatnonzero(self.states == state)) for state in states])
        return [*self.clips_in(rows[:count].tolist())]

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
        names: list[str] = clip_names(part).tolist()
        return names

    def clips_in(self, rows: list[int]) -> Iterator[Clip]:
        """Yield the clips of some rows."""
        return Annotations(self.frame.iloc[rows], ()).clips()

    def clips_named(self, names: Container[str]) -> Iterator[Clip]:
        """Yield the clips whose files have these names."""
        rows = range(len(self.frame))
        return self.clips_in([row for row, name in zip(rows, self.file_names([*rows]), strict=True) if name in names])

    def with_on_disk(self, names: Container[str]) -> Plan:
        """Return the plan with the clips whose files have these names as on disk."""
        missing = self.missing
        there = [row for row, name in zip(missing, self.file_names(missing), strict=True) if name in names]
        return self.with_state(there, ClipState.ON_DISK)

    def with_state(self, rows: list[int], state: ClipState) -> Plan:
        """Return the plan with the clips of these rows in another state."""
        states = self.states.copy()
        states[rows] = state
        return replace(self, states=states)


def make_plan(
    annotations: Annotations,
    layout: Layout,
    ledgers: Mapping[Split, Ledger],
    cut: Cut,
    retry: Retry,
    *,
    source: SourceChoice = "youtube",
    engines: str = "",
    thumbnails: Mapping[Split, ThumbnailLog] | None = None,
    seed: int | None = None,
) -> Plan:
    """Return the plan for the annotated clips, by what is on disk and what the ledgers know.

    Clips on disk are removed from the ledgers' missing ones; missing clips that other runs recorded are added. With cut
    `none` a video counts once, however many of its segments are annotated. A verdict of YouTube says nothing about the
    mirror, nor the other way round. `engines` names the engines with their versions, as the reasons of the clips that
    YouTube did not offer do. `thumbnails` says what was seen of gone videos' thumbnails; without it the player is asked
    for all of them. `seed` is for tests: a run without it has a random order of its own.
    """
    frame, unnamed = annotations.frame, dict[Path, set[str]]()
    if cut == "none":
        frame = frame.drop_duplicates("youtube_id")
        there = frame["youtube_id"].isin(layout.wholes_on_disk()).to_numpy()
    else:
        there, unnamed = scan(frame, layout)
        there |= in_shards(frame, layout)
    states = np.where(there, ClipState.ON_DISK, ClipState.NEVER_TRIED).astype(np.uint8)
    video, failures = find_failures(frame, ledgers)
    failures = settle(failures, ledgers, there)
    after = {category.value: _state_after(category, mirror_alone=source == "mirror") for category in Category}
    state = failures["category"].map(after).to_numpy(np.uint8)
    states[failures["row"]] = state
    not_due, looked_for = np.zeros(len(frame), bool), LookedFor()
    if retry == "due":
        not_due[_asked_lately(failures[state == ClipState.NOT_OFFERED], engines)] = True
    if retry == "due" and thumbnails:
        gone = with_sightings(failures[state == ClipState.WAS_GONE], thumbnails)
        confirmed, looked_for = sort_gone(gone, video[(states < ClipState.WAS_GONE) & ~not_due])
        not_due[confirmed] = True
    settled = {ClipState.NOT_OFFERED, ClipState.WAS_GONE}.intersection(STATES_TO_TRY[retry])
    to_try = failures[np.isin(state, [*settled]) & ~not_due[failures["row"]]]
    known = dict(zip(keys_of(to_try), map(Category, to_try["category"]), strict=True))
    seed = random.getrandbits(64) if seed is None else seed
    return Plan(frame, states, not_due, known, cut, retry, source, seed, video, unnamed, looked_for)


def _state_after(category: Category, *, mirror_alone: bool) -> ClipState:
    """Return the state of a clip whose last attempt failed with this category, at YouTube or at the mirror."""
    said_by_mirror = category is Category.NOT_FOUND
    if not category.settled or said_by_mirror != mirror_alone:
        return ClipState.MAY_WORK
    return ClipState.NOT_OFFERED if category is Category.NOT_OFFERED else ClipState.WAS_GONE


def _asked_lately(not_offered: pd.DataFrame, engines: str) -> NDArray[np.intp]:
    """Return the rows of the clips that YouTube did not offer to the same engines in the last ASK_AGAIN_DAYS days.

    A time in the future, or one that cannot be read, does not count as one of them.
    """
    asked_with_them = not_offered["reason"].str.endswith(f"{ASKED_WITH}{engines})")
    lately = within(not_offered["time_s"], ASK_AGAIN_DAYS, time.time())
    return not_offered["row"][asked_with_them & lately].to_numpy(np.intp)


def on_disk(frame: pd.DataFrame, layout: Layout, cut: Cut = "smart") -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Return whether the clip of each row is on disk, as a file or in a shard that it was downloaded into.

    With cut `none`, whether its whole video is.
    """
    if cut == "none":
        whole: NDArray[np.bool_] = frame["youtube_id"].isin(layout.wholes_on_disk()).to_numpy()
        return whole
    return scan(frame, layout)[0] | in_shards(frame, layout)


def scan(frame: pd.DataFrame, layout: Layout) -> tuple[NDArray[np.bool_], dict[Path, set[str]]]:
    """Return whether the clip of each row is on disk; and by each folder of clips, the names there that no row has."""
    found, unnamed = np.zeros(len(frame), bool), dict[Path, set[str]]()
    folders = ClipFolders(frame, layout)
    for key, there, names in folders.look(folders.rows, found):
        folder = folders.path(key)
        unnamed[folder] = unnamed.get(folder, there).difference(names)  # two labels may have one folder
    return found, unnamed


class ClipFolders:
    """The folders of the clips of a frame.

    Folders are listed, since looking for 650,000 files one by one would take minutes.
    """

    def __init__(self, frame: pd.DataFrame, layout: Layout) -> None:
        self.rows: dict[tuple[Split, str], NDArray[np.intp]] = frame.groupby(["split", "label"], observed=True).indices  # type: ignore[assignment]
        """The positions of the rows of each split and label."""
        self._names = clip_names(frame)
        self._layout = layout

    def path(self, key: tuple[Split, str]) -> Path:
        """Return the folder of a split and label."""
        split, label = key
        return self._layout.folder / split / label_folder(label)

    def look(
        self, keys: Collection[tuple[Split, str]], found: NDArray[np.bool_]
    ) -> Iterator[tuple[tuple[Split, str], set[str], list[str]]]:
        """List some folders, and note in `found` whether the clip of each row of theirs is there.

        Yields the key of each, the names that are there, and those of its rows' files, unless nothing is there.
        """
        for key, there in zip(keys, self._layout.clips_on_disk(keys), strict=True):
            rows, names = self.rows[key], list[str]()
            if there:
                names = self._names[rows].tolist()
            found[rows] = [name in there for name in names] if there else False
            yield key, there, names
