"""Which of the annotated clips a run is about: some classes, some clips of each, a sample, a list."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from kinetics.annotations.load import load_list
from kinetics.annotations.table import Annotations
from kinetics.errors import Fatal
from kinetics.records import KEY, Shard


def select(
    annotations: Annotations,
    *,
    classes: Sequence[str] | None = None,
    only: Path | None = None,
    limit: int | None = None,
    sample: int | None = None,
    seed: int = 0,
    shard: Shard | None = None,
) -> Annotations:
    """Narrow a list of clips down, in this order. Raises Fatal where nothing that was asked for is in it.

    A shard comes last, so that all of them together are what there would be without; one may have no clip.
    """
    frame, warnings = annotations.frame, [*annotations.warnings]
    if classes:
        frame = frame[frame["label"].isin(_labels(frame, _names(classes)))]
    if only:
        frame, remarks = _only(frame, only)
        warnings += remarks
    if limit:
        frame = frame.groupby(["split", "label"], observed=True, sort=False).head(limit)
    if sample and sample < len(frame):
        frame = frame.iloc[np.sort(in_random_order(frame, seed)[:sample])]
    if shard:
        frame = frame[_in_shard(frame, shard)]
    return Annotations(frame.reset_index(drop=True), tuple(warnings))


def in_random_order(frame: pd.DataFrame, seed: int) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    """The rows' places in an order that looks random, but is the clips' own.

    It is by a hash of the seed and the clip, so that samples of two lists agree as far as the lists do: the official
    ones shrink over the years. A larger sample contains a smaller one.
    """
    keys = zip(*(frame[column].tolist() for column in KEY), strict=True)
    return np.argsort(
        [_hash(f"{seed} {youtube_id} {start:g} {end:g}") for youtube_id, start, end in keys], kind="stable"
    )


def _in_shard(frame: pd.DataFrame, shard: Shard) -> list[bool]:
    """Whether each row is a part's, by a hash of its id alone.

    So a part is the same on every machine, also where a list has shrunk, and all segments of a video are in one, since
    with --cut none they share a file.
    """
    return [_hash(youtube_id) % shard.of == shard.number - 1 for youtube_id in frame["youtube_id"].tolist()]


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=7).digest(), "big")


def _names(given: Iterable[str]) -> list[str]:
    """The names of classes, with those in a file in the place of `@file`."""
    names = list[str]()
    for one in given:
        if not one.startswith("@"):
            names.append(one)
            continue
        try:
            lines = Path(one[1:]).expanduser().read_text("utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise Fatal(f"Cannot read the classes in {one[1:]}: {error}. Check the path after @.") from error
        if not any(line.strip() for line in lines):
            raise Fatal(f"{one[1:]} names no class: write one a line.")
        names += [line for line in lines if line.strip()]
    return names


def _labels(frame: pd.DataFrame, names: Iterable[str]) -> set[str]:
    """The labels that are meant by names of classes, however these are spelt."""
    labels = [label for label in frame["label"].cat.categories if label]
    if not labels:
        raise Fatal("There are no labels in this subset, so --classes cannot choose any: leave it out.")
    spelt = {label: _plain(label) for label in labels}
    wanted = set[str]()
    for name in names:
        meant = {label for label, plain in spelt.items() if plain == _plain(name)}
        if not meant:
            near = difflib.get_close_matches(_plain(name), spelt.values(), n=1, cutoff=0.0)
            nearest = next(label for label, plain in spelt.items() if plain == near[0])
            raise Fatal(f"There is no class {name!r}; the nearest is {nearest!r}. --list-classes shows them all.")
        wanted |= meant
    return wanted


def _plain(name: str) -> str:
    return " ".join(name.replace("_", " ").split()).casefold()


def _only(frame: pd.DataFrame, path: Path) -> tuple[pd.DataFrame, list[str]]:
    """The rows whose clips are in another list, and what to warn of."""
    listed = load_list(path)
    keys = listed.frame[KEY].drop_duplicates()
    frame = frame[pd.MultiIndex.from_frame(frame[KEY]).isin(pd.MultiIndex.from_frame(keys))]
    strange = len(keys) - len(frame.drop_duplicates(KEY))
    if strange == len(keys):
        raise Fatal(f"None of the {len(keys):,} clips in {path} is annotated here: check -v, -s and --classes.")
    remark = f"{path}: {strange:,} of its {len(keys):,} clips are not annotated here."
    return frame, [*listed.warnings, *([remark] if strange else [])]
