"""Writes the manifest: one row for each clip on disk, with its size, its SHA-256 and how it was made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from kinetics.annotations.table import Annotations
from kinetics.humanize import safe_cell, seconds_text
from kinetics.records import KEY, Clip, ClipKey, Facts, Subset
from kinetics.storage import attempts
from kinetics.storage.atomic import write_csv
from kinetics.storage.layout import Layout

MANIFEST_FIELDS = (
    *("youtube_id", "time_start", "time_end", "label", "split", "bytes", "sha256", "frames", "duration", "width"),
    *("height", "itag", "cut", "offset", "source", "named_in", "fps", "keyframes"),
)
"""The columns: times, durations and offsets are in seconds, sizes in bytes, width and height in pixels; `named_in` is
the published list that names the clip, or both, and empty with annotations of one's own; `fps` is the average number of
frames a second, `keyframes` the most frames from one keyframe to the next."""


def write_manifest(
    path: Path, layout: Layout, subset: Subset, frame: pd.DataFrame, facts: Mapping[ClipKey, Facts]
) -> None:
    """Write the manifest of the clips in `frame` that have facts, in the order of `frame`."""
    last_columns = ("itag", "cut", "offset_s", "source", "named_in")
    made = attempts.last_successes(layout, subset)
    frame = frame.assign(named_in=frame["named_in"].astype(object) if "named_in" in frame else "")
    frame = frame.merge(made, "left", on=KEY).fillna(dict.fromkeys(last_columns, ""))
    rows = (
        _manifest_row(clip, facts[clip.key], last)
        for clip, *last in zip(
            Annotations(frame, ()).clips(), *(frame[column].tolist() for column in last_columns), strict=True
        )
        if clip.key in facts
    )
    write_csv(path, MANIFEST_FIELDS, rows)


def manifest_sums(layout: Layout, subset: Subset) -> pd.DataFrame | None:
    """Return the SHA-256 of each clip in the subset's manifest, and when that was written; None if there is none.

    A manifest that was edited into something else counts as none.
    """
    path = layout.table(subset, "manifest.csv")
    try:
        written_ns = path.stat().st_mtime_ns
        table = pd.read_csv(path, usecols=[*KEY, "sha256"], dtype={"youtube_id": str, "sha256": str})
        table = table.astype({"time_start": float, "time_end": float})
    except (OSError, ValueError, pd.errors.ParserError):
        return None
    return table.drop_duplicates(KEY, keep="last").assign(summed_ns=written_ns)


def _manifest_row(clip: Clip, facts: Facts, last: Sequence[str]) -> list[object]:
    return [
        *(
            clip.youtube_id,
            seconds_text(clip.time_start),
            seconds_text(clip.time_end),
            safe_cell(clip.label),
            clip.split,
        ),
        *(facts.size, facts.sha256, facts.frames, seconds_text(facts.duration_s), facts.width, facts.height),
        *last,
        *(f"{facts.frames / facts.duration_s:.5g}" if facts.duration_s else "", facts.keyframes),
    ]
