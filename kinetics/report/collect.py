"""The figures of a report, collected from a data set's folder and its tables.

The disk says which clips there are, the error log why the others are missing, and the attempts table how each attempt
went. All of them are only read, so that a run may be in progress meanwhile.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kinetics.annotations.table import Annotations
from kinetics.planning.estimate import Estimate, estimate
from kinetics.records import GONE_VIDEO, MAY_WORK_LATER, SPLIT_OF, Category, Cut, PackedClip, Split, Subset
from kinetics.report.attempts_so_far import (
    CATEGORIES,
    DONE,
    FAILED,
    POSTPONED,
    STEPS,
    AttemptColumns,
    AttemptNames,
    AttemptsSoFar,
    in_order_of_time,
)
from kinetics.report.clip_rows import UNKNOWN, ClipRows
from kinetics.report.clips_on_disk import ClipsOnDisk
from kinetics.report.failures_so_far import FailureColumns, FailuresSoFar
from kinetics.report.model import (
    NO_LABEL,
    Completeness,
    Duration,
    OriginCounts,
    OriginKind,
    PlayerCalls,
    Reason,
    Report,
    Sample,
    Space,
)
from kinetics.report.timeline import build_timeline
from kinetics.storage.layout import Layout, free_space
from kinetics.storage.shards import packed_clips, with_places

OUTLIER_IQRS = 1.5
"""Tukey's factor: a duration is an outlier above the third quartile plus this multiple of the interquartile range."""
HISTOGRAM_BINS = 30
MAX_SIZES_READ = 1_000
"""Clips without a known size whose files are looked up; the other clips are taken to be as large on average.

More of them make the total more exact, and the report slower by one `stat` each.
"""
SAMPLE_CLIPS = 24
"""Clips whose first frame the page shows. Each adds some 10 kB to it, as the page contains the pictures."""

_STATES = 5
_GONE, _NOT_OFFERED, _MAY_WORK, _NEVER_TRIED, _ON_DISK = range(_STATES)
_NOT_FOUND = CATEGORIES.index(Category.NOT_FOUND)


def collect(layout: Layout, subsets: Sequence[Subset], frame: pd.DataFrame, cut: Cut = "smart") -> Report:
    """Return the report on the clips of `frame` that are in these subsets.

    With cut `none` it is about whole videos, each counted once. Raises Fatal if a table cannot be read.
    """
    return LiveReport(layout, subsets, frame, cut).refresh()


class LiveReport:
    """The report on the clips of `frame` that are in these subsets, as often as one asks for it.

    What was read of the tables is kept, so that only new rows are read; so is what was found on disk, where nothing
    has changed. With cut `none` it is about whole videos, each counted once.
    """

    def __init__(self, layout: Layout, subsets: Sequence[Subset], frame: pd.DataFrame, cut: Cut = "smart") -> None:
        frame = frame[frame["split"].isin([SPLIT_OF[subset] for subset in subsets])]
        if cut == "none":
            frame = frame.drop_duplicates("youtube_id")
        self._layout, self._subsets, self._cut = layout, subsets, cut
        self._frame = frame.reset_index(drop=True)
        self._labels, self._splits = _Groups(self._frame["label"]), _Groups(self._frame["split"])
        self._videos, _ = pd.factorize(self._frame["youtube_id"].astype(object))
        self._clips = ClipRows(self._frame)
        self._tables, self._names = dict[Path, AttemptsSoFar](), AttemptNames()
        self._failures = FailuresSoFar(self._clips)
        self._on_disk = ClipsOnDisk(layout, self._frame, cut)
        self._began_at = time.time()
        self._last: Report | None = None

    def refresh(self) -> Report:
        """Return the report as it is now. Raises Fatal if a table cannot be read."""
        tables = {one: [part.stats(one) for part in self._layout.shard_layouts(one)] for one in self._subsets}
        everybody = self._layout.without_shard
        logs = {SPLIT_OF[one]: [part.errors_log(one) for part in everybody.shard_layouts(one)] for one in self._subsets}
        changed = [self._read_on(tables), self._failures.read_on(logs)]  # a clip is on disk before its row is written
        tried = AttemptColumns.joined(
            [in_order_of_time([self._tables[path].columns for path in paths]) for paths in tables.values()]
        )
        changed.append(self._on_disk.look(_rows(tried, (tried.status == DONE) & (tried.ended >= self._began_at))))
        if self._last is None or any(changed):
            self._last = self._figures(tables, tried, logs)
        else:  # only what depends on the time of day
            self._last = replace(
                self._last,
                created_at=datetime.now().astimezone(),
                estimate=self._estimate(tables, self._last.clips_to_fetch, self._last.videos_to_fetch),
                space=replace(self._last.space, bytes_free=self._bytes_free),
            )
        return self._last

    def _read_on(self, tables: Mapping[Subset, Sequence[Path]]) -> bool:
        """Take in the new rows of the attempts tables; return whether anything has changed."""
        wanted = {path: SPLIT_OF[subset] for subset, paths in tables.items() for path in paths}
        removed = not self._tables.keys() <= wanted.keys()
        self._tables = {
            path: self._tables.get(path) or AttemptsSoFar(path, split, self._clips, self._names)
            for path, split in wanted.items()
        }
        return any([removed, *(table.read_on() for table in self._tables.values())])

    def _figures(
        self, tables: Mapping[Subset, Sequence[Path]], tried: AttemptColumns, logs: Mapping[Split, Sequence[Path]]
    ) -> Report:
        layout, subsets, present = self._layout, self._subsets, self._on_disk.present
        done = tried.status == DONE
        got = np.full(len(present), np.nan)
        got[_rows(tried, done)] = tried.ended[done & (tried.row != UNKNOWN)]
        failures = self._failures.last_of_each_clip(logs, ~present, got)
        states = np.where(present, _ON_DISK, _NEVER_TRIED)
        states[failures.row] = _STATE_AFTER[failures.category]
        name = subsets[0] if len(subsets) == 1 else "all"
        counts = np.bincount(states, minlength=_STATES).tolist()
        by_split = {one.name: one for one in self._splits.count(states)}
        by_subset = [replace(by_split[split], name=subset) for subset, split in SPLIT_OF.items() if split in by_split]
        to_fetch = np.isin(states, (_MAY_WORK, _NEVER_TRIED))
        videos = len(np.unique(self._videos[to_fetch]))
        return Report(
            name=layout.name,
            title=layout.title(name),
            subset=name,
            folder=layout.display_path(layout.folder),
            created_at=datetime.now().astimezone(),
            total=_completeness(name, counts),
            subsets=tuple(by_subset) if len(subsets) > 1 else (),
            classes=tuple(sorted(self._labels.count(states), key=lambda one: (one.share, -one.missing, one.name))),
            reasons=self._reasons(failures),
            gone_everywhere=_count_gone_everywhere(failures, tried, self._names),
            attempts=len(tried),
            durations=_durations(tried, done),
            timeline=build_timeline(tried.take(tried.category != _NOT_FOUND), self._names),
            space=self._space(present, tried),
            calls=_player_calls(tried, self._names),
            videos_to_fetch=videos,
            estimate=self._estimate(tables, int(to_fetch.sum()), videos),
            origins=_origins(tried, self._names),
            samples=() if layout.url else tuple(self._samples(present)),
        )

    def _estimate(self, tables: Mapping[Subset, Sequence[Path]], clips: int, videos: int) -> Estimate:
        whole = self._cut == "none"
        return estimate(clips, [*itertools.chain(*tables.values())], videos=videos, whole=whole)

    @property
    def _bytes_free(self) -> int | None:
        return None if self._layout.url else free_space(self._layout.root)

    def _reasons(self, failures: FailureColumns) -> tuple[Reason, ...]:
        """Group the failures whose reasons differ only in numbers and ids, the largest group first."""
        texts, ids = self._failures.texts, self._frame["youtube_id"]
        groups, first, counts = np.unique(
            failures.category * len(texts) + failures.text, return_index=True, return_counts=True
        )
        reasons = [
            Reason(CATEGORIES[group // len(texts)], texts[group % len(texts)], clips, str(ids.iloc[row]))
            for group, clips, row in zip(groups.tolist(), counts.tolist(), failures.row[first].tolist(), strict=True)
        ]
        return tuple(sorted(reasons, key=lambda one: (-one.clips, one.category, one.text)))

    def _space(self, present: NDArray[np.bool_], tried: AttemptColumns) -> Space:
        """Return the bytes received, and those of the clips on disk.

        Clips that were linked, or whose table was deleted, have no row with their size: files of some of them are
        looked up, but not in an object store, where each would cost a request.
        """
        sizes, layout = np.full(len(present), np.nan), self._layout
        known = ~np.isnan(tried.clip_bytes) & (tried.row != UNKNOWN)
        sizes[tried.row[known]] = tried.clip_bytes[known]
        unknown = np.flatnonzero(present & np.isnan(sizes))
        chosen = unknown[:: max(1, len(unknown) // MAX_SIZES_READ)][: 0 if layout.url else MAX_SIZES_READ]
        for row, clip in zip(chosen, Annotations(self._frame.iloc[chosen], ()).clips(), strict=True):
            try:
                sizes[row] = layout.target(clip, self._cut).stat().st_size
            except FileNotFoundError:
                continue  # it was removed after the folder was listed
        of_clips = sizes[present]
        measured = int(np.count_nonzero(~np.isnan(of_clips)))
        return Space(
            bytes_received=int(np.nansum(tried.bytes_received)),
            requests=int(np.nansum(tried.requests)),
            bytes_on_disk=round(float(np.nansum(of_clips)) / measured * len(of_clips)) if measured else 0,
            clips=len(of_clips),
            clips_measured=measured,
            bytes_free=self._bytes_free,
        )

    def _samples(self, present: NDArray[np.bool_]) -> Iterator[Sample]:
        """Yield clips of as many classes as possible, always the same: the first of each class, then the second."""
        rows = np.flatnonzero(present)
        if not len(rows):
            return
        turns = self._labels.turns(rows)
        few = np.flatnonzero(turns < SAMPLE_CLIPS)
        ordered = rows[few[np.lexsort((self._labels.ranks[self._labels.codes[rows[few]]], turns[few]))]]
        candidates = ordered[: max(SAMPLE_CLIPS, np.count_nonzero(turns == 0))]
        chosen = candidates[np.unique(np.linspace(0, len(candidates) - 1, SAMPLE_CLIPS).round().astype(int))]
        frame = self._frame.iloc[chosen]
        if self._cut != "none":
            frame = with_places(frame, self._layout, self._on_disk.in_folder[chosen])
        for clip in packed_clips(Annotations(frame, ()).clips(), frame, self._layout):
            yield Sample(clip, clip.shard if isinstance(clip, PackedClip) else self._layout.target(clip, self._cut))


class _Groups:
    """The rows of the annotations by the names in one of their columns."""

    def __init__(self, column: pd.Series) -> None:
        self.codes, names = pd.factorize(column)
        self._names = [str(name) for name in names]
        self.ranks = np.argsort(np.argsort(np.array(self._names, object), kind="stable"))
        """The place of each name in alphabetical order, by its code."""

    def count(self, states: NDArray[np.int64]) -> list[Completeness]:
        """Count the rows of each name by their state."""
        names = self._names
        counts = np.bincount(self.codes * _STATES + states, minlength=_STATES * len(names)).reshape(-1, _STATES)
        return [_completeness(name or NO_LABEL, one) for name, one in zip(names, counts.tolist(), strict=True)]

    def turns(self, rows: NDArray[np.intp]) -> NDArray[np.intp]:
        """Return for each of these rows how many rows of the same name come before it."""
        codes = self.codes[rows]
        order = np.argsort(codes, kind="stable")
        begins = np.cumsum(np.bincount(codes, minlength=len(self._names))) - np.bincount(
            codes, minlength=len(self._names)
        )
        turns = np.empty(len(rows), np.intp)
        turns[order] = np.arange(len(rows)) - begins[codes[order]]
        return turns


def _rows(tried: AttemptColumns, chosen: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Return the rows of the clips of some attempts, without the clips that the annotations do not have."""
    rows: NDArray[np.int32] = tried.row[chosen & (tried.row != UNKNOWN)]
    return rows


def _state_after(category: Category) -> int:
    """Return the state of a clip whose last failure has this category."""
    if category is Category.NOT_OFFERED:
        return _NOT_OFFERED
    return _MAY_WORK if category in MAY_WORK_LATER else _GONE


_STATE_AFTER = np.array([*map(_state_after, CATEGORIES)])


def _completeness(name: str, counts: Sequence[int]) -> Completeness:
    gone, not_offered, may_work, never_tried, on_disk = counts
    return Completeness(name, on_disk, gone, may_work, never_tried, not_offered)


def _count_gone_everywhere(failures: FailureColumns, tried: AttemptColumns, names: AttemptNames) -> int:
    """Count the clips that are gone from YouTube, and that were not found at the mirror."""
    lacking = _rows(tried, (tried.category == _NOT_FOUND) & (tried.source == names.source.find("mirror")))
    gone = [code for code, category in enumerate(CATEGORIES) if category.gone and code != _NOT_FOUND]
    return len(np.intersect1d(failures.row[np.isin(failures.category, gone)], lacking))


def _durations(tried: AttemptColumns, done: NDArray[np.bool_]) -> tuple[Duration, ...]:
    """Return the durations of each step, and of all steps together, over the clips that have a time for every step."""
    columns = [getattr(tried, f"{step}_s") for step in STEPS]
    timed = done & ~np.isnan(columns).any(axis=0)
    table = np.stack([column[timed] for column in columns], axis=1)
    if not len(table):
        return ()
    longest = np.bincount(table.argmax(axis=1), minlength=len(STEPS)).tolist()
    steps = [_duration(step, column, clips) for step, column, clips in zip(STEPS, table.T, longest, strict=True)]
    return (*steps, _duration("all", table.sum(axis=1), 0))


def _duration(step: str, seconds: NDArray[np.float64], clips_longest: int) -> Duration:
    lower, median, upper = np.quantile(seconds, (0.25, 0.5, 0.75)).tolist()
    fence_s = upper + OUTLIER_IQRS * (upper - lower)
    within = seconds[seconds <= fence_s]
    counts, edges = np.histogram(within, HISTOGRAM_BINS, (0.0, max(float(within.max()), 0.001)))
    return Duration(
        step=step,
        clips=len(seconds),
        mean_s=float(seconds.mean()),
        median_s=median,
        max_s=float(seconds.max()),
        fence_s=fence_s,
        clips_within=len(within),
        mean_within_s=float(within.mean()),
        max_within_s=float(within.max()),
        total_s=float(seconds.sum()),
        clips_longest=clips_longest,
        edges_s=tuple(edges.tolist()),
        counts=tuple(counts.tolist()),
    )


def _player_calls(tried: AttemptColumns, names: AttemptNames) -> PlayerCalls:
    """Return the player calls of the attempts at YouTube."""
    own = tried.take(tried.source == names.source.find("youtube"))
    counted = own.take(~np.isnan(own.calls))
    gone_video = [code for code, category in enumerate(CATEGORIES) if category in GONE_VIDEO]
    return PlayerCalls(
        calls=int(counted.calls.sum()),
        attempts=len(counted),
        uncounted=len(own) - len(counted),
        clips=int((counted.status == DONE).sum()),
        for_gone=int(counted.calls[np.isin(counted.category, gone_video)].sum()),
        refused=int(counted.calls[counted.status == POSTPONED].sum()),
    )


def _origins(tried: AttemptColumns, names: AttemptNames) -> tuple[OriginCounts, ...]:
    """Count the attempts of each source, machine, engine and format."""
    kinds: dict[str, OriginKind] = {"source": "source", "host": "machine", "engine": "engine", "itag": "format (itag)"}
    found = list[OriginCounts]()
    for column, kind in kinds.items():
        codes, texts = getattr(tried, column) + 1, getattr(names, column).texts
        everything, done, failed = (
            np.bincount(codes[chosen], minlength=len(texts) + 1)[1:].tolist()
            for chosen in (slice(None), tried.status == DONE, tried.status == FAILED)
        )
        whole = column in ("source", "host")
        counts = sorted(zip(done, failed, texts, everything, strict=True), key=lambda one: (-one[0], -one[1], one[2]))
        found += [
            OriginCounts(kind, text, one_done, one_failed if whole else None)
            for one_done, one_failed, text, rows in counts
            if text and rows and (one_done or whole)
        ]
    return tuple(found)
