"""Narrows the annotated clips down to those of a run: by class, by list, by number, by sample, by shard."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from kinetics.annotations.clip_list import read_clip_list
from kinetics.annotations.table import Annotations
from kinetics.errors import Fatal
from kinetics.humanize import counted, error_words
from kinetics.records import KEY, Shard
from kinetics.storage.user_files import MAX_SMALL_FILE, read_limited


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
    """Return the clips that remain after each choice, applied in the order of the parameters.

    `limit` is clips per class and split, `sample` clips in all. The shard comes last, so that all shards together are
    the run without one; a shard may be empty. Raises Fatal if a class or the list matches no clip.
    """
    frame, warnings = annotations.frame, [*annotations.warnings]
    if classes:
        frame = frame[frame["label"].isin(_labels(frame, given_classes(classes)))]
    if only:
        frame, list_warnings = _listed_rows(frame, only)
        warnings += list_warnings
    if limit:
        frame = frame.groupby(["split", "label"], observed=True, sort=False).head(limit)
    if sample and sample < len(frame):
        frame = frame.iloc[np.sort(in_random_order(frame, seed)[:sample])]
    if shard:
        frame = frame[_in_shard(frame, shard)]
    return Annotations(frame.reset_index(drop=True), tuple(warnings), annotations.data_set)


def given_classes(arguments: Iterable[str]) -> list[str]:
    """Return the class names given to --classes, with each `@file` replaced by the lines of that file."""
    names = list[str]()
    for argument in arguments:
        if not argument.startswith("@"):
            names.append(argument)
            continue
        file = argument[1:]
        try:
            lines = read_limited(Path(file).expanduser(), MAX_SMALL_FILE).decode("utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError, RuntimeError) as error:
            raise Fatal(f"Cannot read the classes in {file}: {error_words(error)}. Check the path after @.") from error
        if not any(line.strip() for line in lines):
            raise Fatal(f"{file} names no class: write one per line.")
        names += [line for line in lines if line.strip()]
    return names


def _labels(frame: pd.DataFrame, names: Iterable[str]) -> set[str]:
    """Return the labels that match class names without regard to case, spaces and underscores."""
    labels = [label for label in frame["label"].cat.categories if label]
    if not labels:
        raise Fatal("There are no labels in this subset, so --classes cannot choose any: leave it out.")
    normalised = {label: comparable_name(label) for label in labels}
    wanted = set[str]()
    for name in names:
        matching = {label for label, text in normalised.items() if text == comparable_name(name)}
        if not matching:
            (closest,) = difflib.get_close_matches(comparable_name(name), normalised.values(), n=1, cutoff=0.0)
            nearest = next(label for label, text in normalised.items() if text == closest)
            raise Fatal(f"There is no class {name!r}; the nearest is {nearest!r}. --list-classes shows them all.")
        wanted |= matching
    return wanted


def comparable_name(name: str) -> str:
    """Return a class name without what does not distinguish classes: case, and spaces for underscores."""
    return " ".join(name.replace("_", " ").split()).casefold()


def _listed_rows(frame: pd.DataFrame, path: Path) -> tuple[pd.DataFrame, list[str]]:
    """Return the rows whose clips are in the list at `path`, and warnings. Raises Fatal if there is none."""
    listed = read_clip_list(path)
    by_key = pd.MultiIndex.from_frame(frame[KEY]).isin(pd.MultiIndex.from_frame(listed.keys))
    by_id = frame["youtube_id"].isin(listed.ids)
    counts = {
        "clip": (len(listed.keys), len(frame[by_key].drop_duplicates(KEY))),
        "video": (len(listed.ids), frame.loc[by_id, "youtube_id"].nunique()),
    }
    named = " and ".join(counted(count, noun) for noun, (count, _) in counts.items() if count)
    if not by_key.any() and not by_id.any():
        raise Fatal(f"{path} names {named}, and none is annotated here: check -v, -s and --classes.")
    unknown = [
        f"{path}: not annotated here: {count - here:,} of its {counted(count, noun)}."
        for noun, (count, here) in counts.items()
        if count > here
    ]
    return frame[by_key | by_id], [*listed.warnings, *unknown]


def in_random_order(frame: pd.DataFrame, seed: int) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    """Return the positions of the rows, sorted by a hash of the seed and the clip.

    The order looks random but depends on nothing else, so samples of two lists agree as far as the lists do (the
    official ones shrink over the years), and a larger sample contains a smaller one.
    """
    keys = zip(*(frame[column].tolist() for column in KEY), strict=True)
    return np.argsort(
        [_hash(f"{seed} {youtube_id} {start:g} {end:g}") for youtube_id, start, end in keys], kind="stable"
    )


def _in_shard(frame: pd.DataFrame, shard: Shard) -> list[bool]:
    """Tell for each row whether it belongs to the shard, by a hash of its id alone.

    So a shard is the same on every machine, also when a list has shrunk, and all segments of a video are in one shard:
    with --cut none they share a file.
    """
    return [_hash(youtube_id) % shard.of == shard.number - 1 for youtube_id in frame["youtube_id"].tolist()]


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=7).digest(), "big")
