"""Finds out what the card of a data set says, and writes it."""

from __future__ import annotations

import hashlib
import io
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import pandas as pd

from kinetics.annotations.archives import MAX_FILE
from kinetics.annotations.published import published_lists
from kinetics.dataset.card import CardFigures, Manifest, Recipe, card_text, escaped
from kinetics.errors import Fatal
from kinetics.records import SPLIT_OF, Subset
from kinetics.storage import attempts
from kinetics.storage.card_file import cards_of, older_splits
from kinetics.storage.layout import Layout
from kinetics.storage.parquet import SUFFIX as PARQUET
from kinetics.storage.parquet import parquet_as_csv
from kinetics.storage.shards import has_downloaded

TEXTS, NUMBERS = ("label", "split", "cut", "source"), ("bytes", "duration", "height", "fps")
"""The columns of a manifest that a card is made of."""
RECIPE = tuple(Recipe.__dataclass_fields__)
"""The columns of the attempts table that say how a clip was made."""
_VALUE = re.compile(r"[a-z0-9.]{0,12}")
"""A value of an option that a card repeats; the table may have been edited into anything."""
_DAY = re.compile(r"\d{4}-\d\d-\d\d")
TableStates = Mapping[Path, tuple[int, int]]
"""Size and time of attempts tables, by which a change of the clips is seen."""


def table_states(layout: Layout, subset: Subset) -> TableStates:
    """Return the states of the attempts tables of a subset, each shard's included."""
    states = dict[Path, tuple[int, int]]()
    for part in layout.shard_layouts(subset):
        with suppress(FileNotFoundError):
            state = part.stats(subset).stat()
            states[part.stats(subset)] = state.st_size, state.st_mtime_ns
    return states


def write_card(
    layout: Layout,
    manifests: Mapping[Path, Sequence[Subset]],
    before: Mapping[Subset, TableStates],
    classes: Sequence[str],
    own_list: Path | None,
) -> bool:
    """Write the card of a data set of which some manifests were just written; False if another file is in its place.

    `before`: the states of the attempts tables before the clips were looked at. Where one has changed since, the card
    is marked as older than the clips. Subsets without a new manifest are described by the one that they have, and keep
    their mark. Raises Fatal if there is no manifest, or the card cannot be written.
    """
    files = cards_of(layout)
    if files[0].is_foreign:
        return False
    others = {layout.table(subset, "manifest.csv"): subset for subset in SPLIT_OF if subset not in before}
    found = [_manifest(path) for path in manifests]
    found += [_manifest(path) for path in others if path.is_file()]
    described = [one for one in found if one]
    if not described:
        raise Fatal(f"Cannot describe {layout.folder}: the manifest is gone or was changed. Run the command again.")
    recipes, days = Counter[Recipe](), set[str]()
    for subset in SPLIT_OF:
        for part in layout.shard_layouts(subset):
            for block in attempts.read_in_blocks(part.stats(subset), ["time", "status", *RECIPE]):
                _count_downloads(block[block["status"] == "done"], recipes, days)
    in_shards = [SPLIT_OF[subset] for subset in SPLIT_OF if has_downloaded(layout, subset)]
    present = {split for one in described for split in one.table["split"].unique()}
    figures = CardFigures(
        name=layout.name,
        version=layout.version,
        of_kinetics=not (layout.data_set or own_list),
        manifests=described,
        classes=classes,
        annotations=_lists(layout.version, own_list),
        own_list=own_list.name if own_list else "",
        days=(min(days), max(days)) if days else None,
        recipes=recipes,
        shards=files[1].path.parent.name if in_shards else "",
        in_shards=in_shards,
        in_folder=[
            split
            for split in SPLIT_OF.values()
            if split in present and (split not in in_shards or (layout.folder / split).is_dir())
        ],
    )
    older = older_splits(files[0].read() or "")
    still = [split for split in older if split not in [SPLIT_OF[subset] for subset in before]]
    changed = [SPLIT_OF[subset] for subset, states in before.items() if table_states(layout, subset) != states]
    files[0].write(card_text(figures), [*still, *changed])
    if in_shards and not files[1].is_foreign:
        files[1].write(card_text(figures, beside_shards=True), [*still, *changed])
    return True


def _manifest(path: Path) -> Manifest | None:
    """Return what a manifest says; None if it cannot be read, or was edited into something else."""
    try:
        content = path.read_bytes()
        sha256 = hashlib.sha256(content).hexdigest()
        if path.suffix.lower() == PARQUET:
            content = parquet_as_csv(str(path), content, [*TEXTS, *NUMBERS], MAX_FILE)
        table = pd.read_csv(
            io.BytesIO(content),
            dtype=str,
            keep_default_na=False,
            encoding_errors="replace",
            usecols=lambda name: name in TEXTS + NUMBERS,
        )[[*TEXTS, *NUMBERS]]
    except (OSError, ValueError, LookupError, Fatal, pd.errors.ParserError):
        return None
    for column in NUMBERS:
        table[column] = pd.to_numeric(table[column], errors="coerce")
    return Manifest(path.name, sha256, table[table["split"].isin(SPLIT_OF.values())])


def _count_downloads(done: pd.DataFrame, recipes: Counter[Recipe], days: set[str]) -> None:
    for values, count in done.groupby([*RECIPE]).size().items():
        assert isinstance(values, tuple)
        recipes[Recipe(*(value if _VALUE.fullmatch(value) else "" for value in map(str, values)))] += int(count)
    days.update(day for day in done["time"].str[:10].unique() if _DAY.fullmatch(str(day)))


def _lists(version: str, own_list: Path | None) -> list[tuple[str, str]]:
    """Return the lists of annotations and the day of the file of each that is here."""
    if own_list:
        files = {own_list: escaped(own_list.name)}
    else:
        files = {
            file.path: f"[{one.title}]({file.url})"
            for one in published_lists(version)
            for file in one.files_of([*SPLIT_OF])
        }
    return [
        (name, datetime.fromtimestamp(path.stat().st_mtime).date().isoformat())
        for path, name in files.items()
        if path.exists()
    ]
