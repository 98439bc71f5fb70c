"""Writes the manifest: one row for each clip on disk, with its size, its SHA-256 and how it was made.

Beside a manifest in Parquet stand the attempts in that format.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import pandas as pd

from kinetics.annotations.table import Annotations
from kinetics.humanize import safe_cell, seconds_text
from kinetics.records import KEY, SPLIT_OF, Clip, ClipKey, Facts, Subset
from kinetics.storage import attempts
from kinetics.storage.atomic import write_csv
from kinetics.storage.layout import Layout
from kinetics.storage.ledger import STATS_FIELDS
from kinetics.storage.parquet import SUFFIX as PARQUET
from kinetics.storage.parquet import ColumnKind, write_parquet

MANIFEST_KINDS: Mapping[str, ColumnKind] = {
    **{"youtube_id": "id", "time_start": "number", "time_end": "number", "label": "category", "split": "category"},
    **{"bytes": "integer", "sha256": "id", "frames": "integer", "duration": "number", "width": "integer"},
    **{"height": "integer", "itag": "category", "cut": "category", "offset": "number", "source": "category"},
    **{"named_in": "category", "fps": "number", "keyframes": "integer"},
}
"""The columns, and what a Parquet file has in each: times, durations and offsets are in seconds, sizes in bytes, width
and height in pixels; `named_in` is the published list that names the clip, or both, and empty with annotations of one's
own; `fps` is the average number of frames a second, `keyframes` the most frames from one keyframe to the next."""
MANIFEST_FIELDS = (*MANIFEST_KINDS,)
LABEL_COLUMN = MANIFEST_FIELDS.index("label")
STATS_KINDS: Mapping[str, ColumnKind] = {
    **dict.fromkeys(STATS_FIELDS, "category"),
    **dict.fromkeys(("resolve_s", "download_s", "cut_s", "offset_s", "duration_s", "fps", *KEY[1:]), "number"),
    **dict.fromkeys(("height", "bytes_received", "requests", "calls", "clip_bytes"), "integer"),
    **dict.fromkeys(("max_height", "short_side", "keyframes"), "integer"),
    **{"time": "time", "youtube_id": "id", "reason": "text", "sound": "flag"},
    "split": "category",
}
"""The columns of the attempts as a Parquet file: those of the attempts table, then the split, since it has the attempts
of all subsets."""


def write_manifest(path: Path, rows: Iterable[Sequence[object]]) -> None:
    """Write rows of `manifest_rows` as a CSV or a Parquet file, as the path ends. Raises Fatal if it cannot be written.

    A text that a spreadsheet would take for a formula is escaped in a CSV; in a Parquet file it is exact.
    """
    if path.suffix.lower() == PARQUET:
        write_parquet(path, MANIFEST_KINDS, map(_without_empty, rows))
    else:
        write_csv(path, MANIFEST_FIELDS, map(_with_safe_label, rows))


def write_attempts(path: Path, layout: Layout, frames: Mapping[Subset, pd.DataFrame]) -> None:
    """Write the attempts at the clips of some subsets as a Parquet file, table after table.

    The labels are as in `frames`, which hold the subsets' clips; other texts are as in the attempts table. Raises Fatal
    if a table cannot be read, or the file cannot be written.
    """
    write_parquet(path, STATS_KINDS, _attempts(layout, frames))


def _attempts(layout: Layout, frames: Mapping[Subset, pd.DataFrame]) -> Iterator[Sequence[object]]:
    for subset, frame in frames.items():
        exact = {safe_cell(label): label for label in map(str, frame["label"].unique())}
        for part in layout.without_shard.shard_layouts(subset):
            for block in attempts.read_in_blocks(part.stats(subset), STATS_FIELDS):
                labels = block["label"].map(exact).fillna(block["label"])
                cells = block.astype(object).replace("", None).assign(label=labels, split=SPLIT_OF[subset])
                yield from zip(*(cells[column].tolist() for column in STATS_KINDS), strict=True)


def manifest_rows(
    layout: Layout, subset: Subset, frame: pd.DataFrame, facts: Mapping[ClipKey, Facts]
) -> Iterator[Sequence[object]]:
    """Yield what the manifest says of the clips in `frame` that have facts, in the order of `frame`."""
    last_columns = ("itag", "cut", "offset_s", "source", "named_in")
    made = attempts.last_successes(layout, subset)
    frame = frame.assign(named_in=frame["named_in"].astype(object) if "named_in" in frame else "")
    frame = frame.merge(made, "left", on=KEY).fillna(dict.fromkeys(last_columns, ""))
    for clip, *last in zip(
        Annotations(frame, ()).clips(), *(frame[column].tolist() for column in last_columns), strict=True
    ):
        if clip.key in facts:
            yield _manifest_row(clip, facts[clip.key], last)


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
            clip.label,
            clip.split,
        ),
        *(facts.size, facts.sha256, facts.frames, seconds_text(facts.duration_s), facts.width, facts.height),
        *last,
        *(f"{facts.frames / facts.duration_s:.5g}" if facts.duration_s else "", facts.keyframes),
    ]


def _with_safe_label(row: Sequence[object]) -> Sequence[object]:
    return [*row[:LABEL_COLUMN], safe_cell(str(row[LABEL_COLUMN])), *row[LABEL_COLUMN + 1 :]]


def _without_empty(row: Sequence[object]) -> Sequence[object]:
    """Return a row with None for what is not known; an empty label is known: the clip has none."""
    return [cell if cell != "" or column == LABEL_COLUMN else None for column, cell in enumerate(row)]
