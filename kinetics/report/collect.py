"""The figures of a report, collected from a data set's folder and its tables.

The disk says which clips there are, the error log why the others are missing, and the attempts table how each attempt
went. All of them are only read, so that a run may be in progress meanwhile.
"""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kinetics.annotations.table import Annotations
from kinetics.errors import Fatal
from kinetics.humanize import without_numbers
from kinetics.planning.estimate import estimate
from kinetics.planning.plan import on_disk, scan
from kinetics.records import GONE_VIDEO, KEY, MAY_WORK_LATER, SPLIT_OF, Category, Cut, PackedClip, Subset
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
from kinetics.storage import attempts
from kinetics.storage.atomic import cannot_read
from kinetics.storage.layout import Layout, free_space
from kinetics.storage.ledger import ERROR_FIELDS
from kinetics.storage.shards import packed_clips, with_places

STEPS = ("resolve", "download", "cut")
"""The steps of an attempt; the attempts table has a column of seconds for each."""
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
_EPOCH = pd.Timestamp(0, tz="UTC")
_CLIP = ["split", *KEY]
"""The columns that identify a clip among those of several subsets: a segment may be in more than one of them."""
_COLUMNS = (
    *("time", *KEY, "status", "category", "engine", "itag", "resolve_s", "download_s", "cut_s", "bytes_received"),
    *("requests", "calls", "clip_bytes", "host", "source"),
)


def collect(layout: Layout, subsets: Sequence[Subset], frame: pd.DataFrame, cut: Cut = "smart") -> Report:
    """Return the report on the clips of `frame` that are in these subsets.

    With cut `none` it is about whole videos, each counted once. Raises Fatal if a table cannot be read.
    """
    frame = frame[frame["split"].isin([SPLIT_OF[subset] for subset in subsets])]
    if cut == "none":
        frame = frame.drop_duplicates("youtube_id")
    frame = frame.reset_index(drop=True)
    present = on_disk(frame, layout) if cut != "none" else frame["youtube_id"].isin(layout.wholes_on_disk()).to_numpy()

    tables = {subset: [part.stats(subset) for part in layout.shard_layouts(subset)] for subset in subsets}
    tried = _read_attempts(tables)
    done = tried[tried["status"] == "done"]
    failures = _read_failures(layout.without_shard, subsets, frame[~present], done)
    states = np.where(present, _ON_DISK, _NEVER_TRIED)
    states[failures.index] = failures["category"].map(_state_after)
    name = subsets[0] if len(subsets) == 1 else "all"
    (total,) = _count_by_name(pd.Series([name]).repeat(len(frame)), states) or [Completeness(name, 0, 0, 0, 0)]
    by_split = {one.name: one for one in _count_by_name(frame["split"], states)}
    by_subset = [replace(by_split[split], name=subset) for subset, split in SPLIT_OF.items() if split in by_split]
    classes = _count_by_name(frame["label"], states)
    return Report(
        name=layout.name,
        title=layout.title(name),
        subset=name,
        folder=layout.display_path(layout.folder),
        created_at=datetime.now().astimezone(),
        total=total,
        subsets=tuple(by_subset) if len(subsets) > 1 else (),
        classes=tuple(sorted(classes, key=lambda one: (one.share, -one.missing, one.name))),
        reasons=_reasons(failures),
        gone_everywhere=_count_gone_everywhere(failures, frame, tried),
        attempts=len(tried),
        durations=_durations(done),
        timeline=build_timeline(tried[tried["category"] != Category.NOT_FOUND]),
        space=_space(layout, cut, frame[present], tried),
        calls=_player_calls(tried),
        estimate=estimate(
            total.may_work + total.never_tried,
            [*itertools.chain(*tables.values())],
            videos=frame["youtube_id"][np.isin(states, (_MAY_WORK, _NEVER_TRIED))].nunique(),
            whole=cut == "none",
        ),
        origins=_origins(tried),
        samples=() if layout.url else tuple(_samples(layout, cut, frame[present])),
    )


def _state_after(category: str) -> int:
    """Return the state of a clip whose last failure has this category."""
    if category == Category.NOT_OFFERED:
        return _NOT_OFFERED
    return _MAY_WORK if category in MAY_WORK_LATER else _GONE


def _count_by_name(names: pd.Series, states: NDArray[np.int64]) -> list[Completeness]:
    """Count the rows of each name by their state."""
    codes, found = pd.factorize(names)
    counts = np.bincount(codes * _STATES + states, minlength=_STATES * len(found)).reshape(-1, _STATES)
    return [
        Completeness(str(name) or NO_LABEL, on_disk, gone, may_work, never_tried, not_offered)
        for name, (gone, not_offered, may_work, never_tried, on_disk) in zip(found, counts.tolist(), strict=True)
    ]


def _read_attempts(tables: Mapping[Subset, Sequence[Path]]) -> pd.DataFrame:
    """Return the attempts at all subsets, with `split`, `ended` in seconds since 1970, and `spent_s` over all steps.

    Rows without a time or a known status are left out; numbers that are damaged or missing are NaN.
    """
    read = [attempts.read(paths, _COLUMNS).assign(split=SPLIT_OF[subset]) for subset, paths in tables.items()]
    table = pd.concat(read, ignore_index=True)
    ended = _seconds(table["time"])
    sound = ended.notna() & table["status"].isin(["done", "failed", "postponed"])
    table = table[sound].drop(columns="time")
    table["ended"] = ended[sound]
    table["source"] = table["source"].replace("", "youtube")  # tables from before the mirror have no sources
    for column in (*KEY[1:], *(f"{step}_s" for step in STEPS), "bytes_received", "requests", "calls", "clip_bytes"):
        table[column] = _numbers(table[column])
    table["spent_s"] = table[[f"{step}_s" for step in STEPS]].sum(axis=1)
    return table


def _numbers(texts: pd.Series[str]) -> NDArray[np.float64]:
    """Return texts as numbers, NaN for what is none. Each text is read once, as most are in many rows."""
    texts_by_row, distinct = pd.factorize(texts)
    numbers = pd.to_numeric(pd.Series(distinct), errors="coerce").to_numpy(float, copy=True)
    numbers[~np.isfinite(numbers)] = np.nan
    return numbers[texts_by_row]


def _read_failures(
    layout: Layout, subsets: Sequence[Subset], missing: pd.DataFrame, done: pd.DataFrame
) -> pd.DataFrame:
    """Return youtube_id, category and reason of the missing clips that were tried, with the index of `missing`.

    A failure in one run's log does not count if another run got the clip later, as that run never writes to this log.
    """
    read = list[pd.DataFrame]()
    for subset in subsets:
        logs = [_read_log(part.errors_log(subset)) for part in layout.shard_layouts(subset)]
        read.append(attempts.sort_by_time(logs).assign(split=SPLIT_OF[subset], several_logs=len(logs) > 1))
    log = pd.concat(read, ignore_index=True)
    log = log[log["category"].isin([*Category]) & log["time"].notna()]
    for column in KEY[1:]:
        log[column] = pd.to_numeric(log[column], errors="coerce").astype(float)
    log = log.drop_duplicates(_CLIP, keep="last")
    got = done[[*_CLIP, "ended"]].drop_duplicates(_CLIP, keep="last")
    found = missing[_CLIP].reset_index(names="row").merge(log, on=_CLIP).merge(got, "left", on=_CLIP).set_index("row")
    outdated = found["several_logs"].astype(bool) & (found["ended"] > _seconds(found["time"]))
    return found.loc[~outdated, ["youtube_id", "category", "reason"]]


def _read_log(path: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(
            path,
            sep="\t",
            names=[*ERROR_FIELDS],
            dtype=str,
            quoting=csv.QUOTE_NONE,
            keep_default_na=False,
            on_bad_lines="skip",
            encoding_errors="replace",
        )
    except (FileNotFoundError, pd.errors.EmptyDataError):
        return pd.DataFrame(columns=[*ERROR_FIELDS], dtype=str)
    except OSError as error:
        raise cannot_read(error, path) from error
    except (ValueError, pd.errors.ParserError) as error:
        raise Fatal(f"Cannot read {path}: {error}. Repair the file, or move it away.") from error


def _seconds(times: pd.Series[str]) -> pd.Series[float]:
    """Return times as seconds since 1970, NaN for a text that is no time."""
    return (pd.to_datetime(times, utc=True, format="ISO8601", errors="coerce") - _EPOCH).dt.total_seconds()


def _reasons(failures: pd.DataFrame) -> tuple[Reason, ...]:
    """Group the failures whose reasons differ only in numbers and ids, the largest group first."""
    texts = [
        without_numbers(reason.replace(youtube_id, ".."))
        for youtube_id, reason in zip(failures["youtube_id"], failures["reason"], strict=True)
    ]
    groups = (
        failures.assign(text=texts)
        .groupby(["category", "text"])["youtube_id"]
        .agg(["size", "first"])
        .sort_values("size", ascending=False, kind="stable")
    )
    return tuple(
        Reason(Category(category), text, clips, example)
        for (category, text), clips, example in groups.itertuples(name=None)
    )


def _count_gone_everywhere(failures: pd.DataFrame, frame: pd.DataFrame, tried: pd.DataFrame) -> int:
    """Count the clips that are gone from YouTube, and that were not found at the mirror."""
    lacking = tried[(tried["source"] == "mirror") & (tried["category"] == Category.NOT_FOUND)][_CLIP].drop_duplicates()
    gone_from_youtube = {category for category in Category if category.gone} - {Category.NOT_FOUND}
    gone = failures[failures["category"].isin(gone_from_youtube)]
    return len(frame.loc[gone.index, _CLIP].merge(lacking, on=_CLIP))


def _durations(done: pd.DataFrame) -> tuple[Duration, ...]:
    """Return the durations of each step, and of all steps together, over the clips that have a time for every step."""
    table = done[[f"{step}_s" for step in STEPS]].dropna()
    if table.empty:
        return ()
    longest = np.bincount(table.to_numpy().argmax(axis=1), minlength=len(STEPS)).tolist()
    steps = [_duration(step, table[f"{step}_s"].to_numpy(), clips) for step, clips in zip(STEPS, longest, strict=True)]
    return (*steps, _duration("all", table.sum(axis=1).to_numpy(), 0))


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


def _space(layout: Layout, cut: Cut, present: pd.DataFrame, tried: pd.DataFrame) -> Space:
    """Return the bytes received, and those of the clips on disk.

    Clips that were linked, or whose table was deleted, have no row with their size: files of some of them are looked
    up, but not in an object store, where each would cost a request.
    """
    known = tried[tried["clip_bytes"].notna()].drop_duplicates(_CLIP, keep="last")
    sizes = (
        present[_CLIP].merge(known[[*_CLIP, "clip_bytes"]], "left", on=_CLIP)["clip_bytes"].to_numpy(float, copy=True)
    )
    unknown = np.flatnonzero(np.isnan(sizes))
    chosen = unknown[:: max(1, len(unknown) // MAX_SIZES_READ)][: 0 if layout.url else MAX_SIZES_READ]
    for row, clip in zip(chosen, Annotations(present.iloc[chosen], ()).clips(), strict=True):
        try:
            sizes[row] = layout.target(clip, cut).stat().st_size
        except FileNotFoundError:
            continue  # it was removed after the folder was listed
    measured = int(np.count_nonzero(~np.isnan(sizes)))
    return Space(
        bytes_received=int(tried["bytes_received"].sum()),
        requests=int(tried["requests"].sum()),
        bytes_on_disk=round(float(np.nansum(sizes)) / measured * len(sizes)) if measured else 0,
        clips=len(sizes),
        clips_measured=measured,
        bytes_free=None if layout.url else free_space(layout.root),
    )


def _player_calls(tried: pd.DataFrame) -> PlayerCalls:
    """Return the player calls of the attempts at YouTube."""
    own = tried.loc[tried["source"] == "youtube", ["status", "category", "calls"]]
    counted = own.dropna(subset="calls")
    return PlayerCalls(
        calls=int(counted["calls"].sum()),
        attempts=len(counted),
        uncounted=len(own) - len(counted),
        clips=int((counted["status"] == "done").sum()),
        for_gone=int(counted["calls"][counted["category"].isin(GONE_VIDEO)].sum()),
        refused=int(counted["calls"][counted["status"] == "postponed"].sum()),
    )


def _origins(tried: pd.DataFrame) -> tuple[OriginCounts, ...]:
    """Count the attempts of each source, machine, engine and format."""
    kinds: dict[str, OriginKind] = {"source": "source", "host": "machine", "engine": "engine", "itag": "format (itag)"}
    found = list[OriginCounts]()
    for column, kind in kinds.items():
        named = tried[tried[column] != ""]
        counts = pd.crosstab(named[column], named["status"]).reindex(columns=["done", "failed"], fill_value=0)
        counts = counts.sort_values(["done", "failed"], ascending=False, kind="stable")
        found += [
            OriginCounts(kind, str(name), done, failed if column in ("source", "host") else None)
            for name, done, failed in counts.itertuples(name=None)
            if done or column in ("source", "host")
        ]
    return tuple(found)


def _samples(layout: Layout, cut: Cut, present: pd.DataFrame) -> Iterator[Sample]:
    """Yield clips of as many classes as possible, always the same: the first clip of each class, then the second."""
    if present.empty:
        return
    turn = present.groupby("label", observed=True).cumcount()
    ordered = present.assign(turn=turn, name=present["label"].astype(str)).sort_values(["turn", "name"], kind="stable")
    candidates = ordered.head(max(SAMPLE_CLIPS, int((turn == 0).sum())))
    rows = np.unique(np.linspace(0, len(candidates) - 1, SAMPLE_CLIPS).round().astype(int))
    chosen = candidates.iloc[rows]
    if cut != "none":
        chosen = with_places(chosen, layout, scan(chosen, layout)[0])
    for clip in packed_clips(Annotations(chosen, ()).clips(), chosen, layout):
        yield Sample(clip, clip.shard if isinstance(clip, PackedClip) else layout.target(clip, cut))
