"""How far a data set has come, in numbers: what is here, what is missing and why, how long it took.

The disk says what is here, the error log why the rest is missing, the attempts table how it went. They are only read,
so that a run can be at work meanwhile.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kinetics.annotations.table import Annotations
from kinetics.errors import Fatal
from kinetics.humanize import without_numbers
from kinetics.planning.estimate import estimate
from kinetics.planning.plan import on_disk
from kinetics.records import KEY, MAY_WORK_LATER, SPLIT_OF, Category, Clip, Cut, Subset
from kinetics.report.model import (
    NO_LABEL,
    SAMPLES,
    Completeness,
    Duration,
    OriginCounts,
    OriginKind,
    Reason,
    Report,
    Sample,
    Space,
)
from kinetics.report.timeline import timeline
from kinetics.storage import attempts
from kinetics.storage.layout import Layout, free_space
from kinetics.storage.ledger import ERROR_FIELDS

MEASURED = 1_000
"""So many files of which no row tells the size are looked at; the others are taken to be alike."""
BINS = 30
FENCE = 1.5
"""Tukey's: what lies more than so many interquartile ranges above the third quartile is an outlier."""
STEPS = ("resolve", "download", "cut")
EPOCH = pd.Timestamp(0, tz="UTC")
_GONE, _MAY_WORK, _UNTRIED, _HERE = range(4)
_COLUMNS = (
    *("time", *KEY, "status", "category", "engine", "itag", "resolve_s", "download_s", "cut_s", "bytes_received"),
    *("requests", "clip_bytes", "host", "source"),
)


def collect(layout: Layout, subset: Subset, frame: pd.DataFrame, cut: Cut = "smart") -> Report:
    """Count all there is to say about the clips of `frame` that are in this subset.

    Those of other subsets are only counted. With cut `none` whole videos are looked for, each once. Raises Fatal where
    a table cannot be read.
    """
    if cut == "none":
        frame = frame.drop_duplicates("youtube_id")
    frame = frame.reset_index(drop=True)
    here = on_disk(frame, layout) if cut != "none" else frame["youtube_id"].isin(layout.wholes_on_disk()).to_numpy()
    splits = _counted(frame["split"], np.where(here, _HERE, _UNTRIED))
    ours = (frame["split"] == SPLIT_OF[subset]).to_numpy()
    frame, here = frame[ours].reset_index(drop=True), here[ours]

    tables = [part.stats(subset) for part in layout.shard_layouts(subset)]
    tried = _attempts(tables)
    done = tried[tried["status"] == "done"]
    failures = _failures(layout, subset, frame[~here], done)
    states = np.where(here, _HERE, _UNTRIED)
    states[failures.index] = np.where(failures["category"].isin([*MAY_WORK_LATER]), _MAY_WORK, _GONE)
    (total,) = _counted(pd.Series([subset]).repeat(len(frame)), states) or [Completeness(subset, 0, 0, 0, 0)]
    return Report(
        version=layout.version,
        subset=subset,
        shard=layout.shard,
        folder=layout.display_path(layout.folder),
        made=datetime.now().astimezone(),
        total=total,
        splits=tuple(splits),
        classes=tuple(sorted(_counted(frame["label"], states), key=lambda one: (one.share, -one.missing, one.name))),
        reasons=_reasons(failures),
        attempts=len(tried),
        durations=_durations(done),
        neither=_neither(failures, frame, tried),
        timeline=timeline(tried[tried["category"] != Category.NOT_FOUND]),
        space=_space(layout, cut, frame[here], tried),
        to_go=estimate(total.may_work + total.untried, tables, whole=cut == "none"),
        sources=_sources(tried),
        samples=tuple(Sample(clip, layout.target(clip, cut)) for clip in _samples(frame[here]) if not layout.url),
    )


def _counted(names: pd.Series, states: NDArray[np.int64]) -> list[Completeness]:
    """How many rows of each name are in each state."""
    codes, found = pd.factorize(names)
    counts = np.bincount(codes * 4 + states, minlength=4 * len(found)).reshape(-1, 4)
    return [
        Completeness(str(name) or NO_LABEL, here, gone, may_work, untried)
        for name, (gone, may_work, untried, here) in zip(found, counts.tolist(), strict=True)
    ]


def _failures(layout: Layout, subset: Subset, missing: pd.DataFrame, done: pd.DataFrame) -> pd.DataFrame:
    """Category and reason of the missing clips that were tried, by their place in the frame.

    What one run's log says is void where another run got the clip since then: it never writes to that log.
    """
    logs = [_read_log(part.errors_log(subset)) for part in layout.without_shard.shard_layouts(subset)]
    log = attempts.sort_by_time(logs)
    log = log[log["category"].isin([*Category]) & log["time"].notna()]
    for column in KEY[1:]:
        log[column] = pd.to_numeric(log[column], errors="coerce").astype(float)
    log = log.drop_duplicates(KEY, keep="last")
    got = done[[*KEY, "ended"]].drop_duplicates(KEY, keep="last")
    found = missing[KEY].reset_index(names="place").merge(log, on=KEY).merge(got, "left", on=KEY).set_index("place")
    if len(logs) > 1:
        found = found[~(found["ended"] > _seconds(found["time"]))]
    return found[["youtube_id", "category", "reason"]]


def _neither(failures: pd.DataFrame, frame: pd.DataFrame, tried: pd.DataFrame) -> int:
    """How many of the failures are YouTube's last word, and were looked for at the mirror in vain."""
    lacking = tried[(tried["source"] == "mirror") & (tried["category"] == Category.NOT_FOUND)][KEY].drop_duplicates()
    gone = failures[~failures["category"].isin([*MAY_WORK_LATER, Category.NOT_FOUND])]
    return len(frame.loc[gone.index, KEY].merge(lacking, on=KEY))


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
    except (OSError, ValueError, pd.errors.ParserError) as error:
        raise Fatal(f"Cannot read {path}: {error}. Mend it, or move it away.") from error


def _attempts(tables: Iterable[Path]) -> pd.DataFrame:
    """The attempts, their numbers as numbers; `ended` in seconds since 1970, `spent_s` on all steps together."""
    table = attempts.read(tables, _COLUMNS)
    ended = _seconds(table["time"])
    sound = ended.notna() & table["status"].isin(["done", "failed", "postponed"])
    table = table[sound].drop(columns="time")
    table["ended"] = ended[sound]
    for column in (*KEY[1:], *(f"{step}_s" for step in STEPS), "bytes_received", "requests", "clip_bytes"):
        numbers = pd.to_numeric(table[column], errors="coerce").astype(float)
        table[column] = numbers.where(np.isfinite(numbers))
    table["spent_s"] = table[[f"{step}_s" for step in STEPS]].sum(axis=1)
    return table


def _seconds(times: pd.Series[str]) -> pd.Series[float]:
    """Since 1970; NaN where it is no time."""
    return (pd.to_datetime(times, utc=True, format="ISO8601", errors="coerce") - EPOCH).dt.total_seconds()


def _reasons(failures: pd.DataFrame) -> tuple[Reason, ...]:
    words = [
        without_numbers(reason.replace(youtube_id, ".."))
        for youtube_id, reason in zip(failures["youtube_id"], failures["reason"], strict=True)
    ]
    found = (
        failures.assign(words=words)
        .groupby(["category", "words"])["youtube_id"]
        .agg(["size", "first"])
        .sort_values("size", ascending=False, kind="stable")
    )
    return tuple(
        Reason(Category(category), words, clips, example)
        for (category, words), clips, example in found.itertuples(name=None)
    )


def _durations(done: pd.DataFrame) -> tuple[Duration, ...]:
    table = done[[f"{step}_s" for step in STEPS]].dropna()
    if table.empty:
        return ()
    longest = np.bincount(table.to_numpy().argmax(axis=1), minlength=len(STEPS)).tolist()
    steps = [_duration(step, table[f"{step}_s"].to_numpy(), count) for step, count in zip(STEPS, longest, strict=True)]
    return (*steps, _duration("all", table.sum(axis=1).to_numpy(), 0))


def _duration(step: str, seconds: NDArray[np.float64], longest: int) -> Duration:
    low, middle, high = np.quantile(seconds, (0.25, 0.5, 0.75)).tolist()
    fence_s = high + FENCE * (high - low)
    within = seconds[seconds <= fence_s]
    counts, edges = np.histogram(within, BINS, (0.0, max(float(within.max()), 0.001)))
    return Duration(
        step=step,
        clips=len(seconds),
        mean_s=float(seconds.mean()),
        median_s=middle,
        max_s=float(seconds.max()),
        fence_s=fence_s,
        within=len(within),
        mean_within_s=float(within.mean()),
        max_within_s=float(within.max()),
        total_s=float(seconds.sum()),
        longest=longest,
        edges_s=tuple(edges.tolist()),
        counts=tuple(counts.tolist()),
    )


def _space(layout: Layout, cut: Cut, here: pd.DataFrame, tried: pd.DataFrame) -> Space:
    """Clips that were linked, or whose table was deleted, have no row: some of their files are looked at, if here."""
    known = tried[tried["clip_bytes"].notna()].drop_duplicates(KEY, keep="last")
    sizes = here[KEY].merge(known[[*KEY, "clip_bytes"]], "left", on=KEY)["clip_bytes"].to_numpy(float, copy=True)
    unknown = np.flatnonzero(np.isnan(sizes))
    looked_at = unknown[:: max(1, len(unknown) // MEASURED)][: 0 if layout.url else MEASURED]
    for place, clip in zip(looked_at, Annotations(here.iloc[looked_at], ()).clips(), strict=True):
        try:
            sizes[place] = layout.target(clip, cut).stat().st_size
        except FileNotFoundError:
            continue  # somebody has just removed it
    measured = int(np.count_nonzero(~np.isnan(sizes)))
    return Space(
        received=int(tried["bytes_received"].sum()),
        requests=int(tried["requests"].sum()),
        here=round(float(np.nansum(sizes)) / measured * len(sizes)) if measured else 0,
        measured=measured,
        clips=len(sizes),
        free=None if layout.url else free_space(layout.root),
    )


def _sources(tried: pd.DataFrame) -> tuple[OriginCounts, ...]:
    kinds: dict[str, OriginKind] = {"source": "source", "engine": "engine", "itag": "format (itag)", "host": "machine"}
    found = list[OriginCounts]()
    for column, kind in kinds.items():
        named = tried[tried[column] != ""]
        counts = pd.crosstab(named[column], named["status"]).reindex(columns=["done", "failed"], fill_value=0)
        counts = counts.sort_values(["done", "failed"], ascending=False, kind="stable")
        found += [OriginCounts(kind, str(name), done, failed) for name, done, failed in counts.itertuples(name=None)]
    return tuple(found)


def _samples(here: pd.DataFrame) -> Iterator[Clip]:
    """Clips of as many classes as there can be, the same ones each time: the first of each class, then the second."""
    if here.empty:
        return
    turn = here.groupby("label", observed=True).cumcount()
    ordered = here.assign(turn=turn, name=here["label"].astype(str)).sort_values(["turn", "name"], kind="stable")
    best = ordered.head(max(SAMPLES, int((turn == 0).sum())))
    places = np.unique(np.linspace(0, len(best) - 1, SAMPLES).round().astype(int))
    yield from Annotations(best.iloc[places], ()).clips()
