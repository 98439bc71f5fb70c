"""Chooses the clips of a manifest whose content here is the manifest's, so that everybody packs the same bytes."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from kinetics.dataset.compare import read_manifest
from kinetics.errors import Fatal
from kinetics.humanize import counted, seconds_text
from kinetics.records import KEY, SPLIT_OF, Outcome, Subset
from kinetics.storage.layout import Layout
from kinetics.storage.shards import ShardFolder, keys_of


def rows_to_pack(path: Path, subset: Subset) -> pd.DataFrame:
    """Return the clips of a subset in a manifest, with `sha256`. Raises Fatal if it is missing, or another file."""
    if not path.exists():
        raise Fatal(f"There is no manifest {path}: write it with --manifest, or give one to --only.")
    rows = read_manifest(path)
    return rows[rows["split"] == SPLIT_OF[subset]]


def with_same_content(frame: pd.DataFrame, wanted: pd.DataFrame, outcomes: Iterable[Outcome]) -> pd.DataFrame:
    """Return the clips whose SHA-256, which `outcomes` have, is that of the manifest's row."""
    sums = dict(zip(zip(*(wanted[column] for column in KEY), strict=True), wanted["sha256"], strict=True))
    same = set[tuple[str, str, str]]()
    for one in outcomes:
        key = one.clip.youtube_id, seconds_text(one.clip.time_start), seconds_text(one.clip.time_end)
        if one.facts and one.facts.sha256 and sums.get(key) == one.facts.sha256:
            same.add(key)
    texts = (frame["youtube_id"], frame["time_start"].map(seconds_text), frame["time_end"].map(seconds_text))
    chosen: pd.DataFrame = frame[[key in same for key in zip(*texts, strict=True)]]
    return chosen


def require_copies(layout: Layout, subset: Subset, files: pd.DataFrame) -> None:
    """Raise Fatal if shards hold clips that are not among these files: to write the shards anew would lose them."""
    rows = ShardFolder(layout, subset).rows()
    only_there = {*rows["key"][rows["mtime_ns"] == ""]}.difference(keys_of(files))
    if only_there:
        held = f"{layout.derived_layout('shards').folder} holds {counted(len(only_there), 'clip')} of {subset}"
        raise Fatal(
            f"{held} that are in no file: --shards would lose them. --repack packs all clips into another folder; or "
            "move these shards away."
        )
