"""Finds the annotation file of each subset: a named file, one in a folder, or a member of an archive."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from kinetics.annotations.archives import (
    MAX_ARCHIVE,
    MAX_FILE,
    Reader,
    archive_errors,
    decompress,
    plain_name,
    unpack,
)
from kinetics.errors import Fatal
from kinetics.humanize import quoted
from kinetics.records import Subset
from kinetics.storage.parquet import MAGIC, SUFFIX, parquet_as_csv
from kinetics.storage.user_files import read_limited, too_large

SUBSET_WORDS: dict[str, Subset] = {
    "train": "train",
    "training": "train",
    "val": "validate",
    "validate": "validate",
    "validation": "validate",
    "test": "test",
    "testing": "test",
}
"""The words of a file name, or of a cell of the split column, that name a subset."""
PARQUET_COLUMNS = ("youtube_id", "time_start", "time_end", "label", "split", "sha256")
"""The columns that are read of a Parquet file, in the order that a CSV file is to have: those that name a clip and say
what it is."""


@dataclass(frozen=True, slots=True)
class AnnotationFile:
    """One annotation file: its name in messages, its path (inside an archive, the member's), and its bytes."""

    name: str
    path: PurePath
    data: bytes


def find_files(path: Path, wanted: Sequence[Subset]) -> dict[Subset | None, AnnotationFile]:
    """Return the file of each wanted subset, or under None a single file for all, whose rows name their subsets.

    Raises Fatal if there is no such file or it is too large, OSError if it cannot be read.
    """
    if path.is_dir():
        # One level down as well, because the official archive unpacks into a folder of its own.
        found: dict[PurePath, Path] = {file.relative_to(path): file for file in [*path.iterdir(), *path.glob("*/*")]}
        chosen = _choose((name for name, file in found.items() if file.is_file()), wanted, path)
        raw = {subset: (name, read_limited(found[name], MAX_FILE)) for subset, name in chosen.items()}
        return {subset: _member(path, name, data) for subset, (name, data) in raw.items()}
    data = read_limited(path, MAX_ARCHIVE)
    with archive_errors(path):
        inside, is_archive = unpack(path, data)
        if not is_archive:
            return {wanted[0] if len(wanted) == 1 else None: _only_file(path, inside)}
        chosen = _choose(inside, wanted, path)
        return {subset: _member(path, name, inside[name]()) for subset, name in chosen.items()}


def read_file(path: Path) -> AnnotationFile:
    """Return a file that is not one of a folder or an archive of several; it may be compressed.

    Raises Fatal if it is one of those or too large, OSError if it cannot be read.
    """
    data = read_limited(path, MAX_ARCHIVE)
    with archive_errors(path):
        inside, is_archive = unpack(path, data)
        if is_archive:
            raise Fatal(f"{path} is an archive of {len(inside):,} files. Unpack it, and name one of them.")
        return _only_file(path, inside)


def _only_file(path: Path, inside: dict[PurePath, Reader]) -> AnnotationFile:
    ((name, reader),) = inside.items()
    shown = str(path) if name == plain_name(path) else f"{quoted(name)} in {path}"
    return _plain_file(shown, name, reader())


def _member(source: Path, name: PurePath, data: bytes) -> AnnotationFile:
    with archive_errors(source / name):
        return _plain_file(f"{quoted(name)} in {source}", name, data)


def _plain_file(shown: str, name: PurePath, data: bytes) -> AnnotationFile:
    """Return a file, decompressed if its name says that it is compressed, and as CSV if it is a Parquet file.

    Raises Fatal if it is too large, or no Parquet file although its name says so.
    """
    if plain_name(name) != name:
        data = decompress(shown, data, MAX_FILE).getvalue()
    if len(data) > MAX_FILE:
        raise too_large(shown, MAX_FILE)
    plain = plain_name(name)
    if data.startswith(MAGIC) or plain.suffix.lower() == SUFFIX:
        data, plain = parquet_as_csv(shown, data, PARQUET_COLUMNS, MAX_FILE), plain.with_suffix(".csv")
    return AnnotationFile(shown, plain, data)


def _choose(names: Iterable[PurePath], wanted: Sequence[Subset], source: Path) -> dict[Subset, PurePath]:
    """Return the best file for each subset by its name: the least deep, then the name that says only the subset.

    Of those the official name comes first, and last what is not a plain CSV: JSON is keyed by video, and so holds only
    one segment of each. Raises Fatal if `source` has no file, or several that are equally good.
    """
    ranked: dict[Subset, dict[tuple[int, int, bool, bool], list[PurePath]]] = defaultdict(lambda: defaultdict(list))
    for name in names:
        plain = plain_name(name)
        subset, stem, suffix = subset_in(plain.stem), plain.stem.lower(), plain.suffix.lower()
        hidden = any(part.startswith(".") for part in name.parts)  # macOS puts `._train.csv` beside `train.csv`
        if subset and subset in wanted and suffix in {".csv", ".json"} and not hidden:
            spelling = 0 if stem == subset else 1 if stem in SUBSET_WORDS else 2
            ranked[subset][len(name.parts), spelling, suffix != ".csv", plain != name].append(name)
    if not ranked:
        raise Fatal(f"{source} holds no CSV or JSON for {' or '.join(wanted)}. Name the file: --annotations FILE")
    best = {subset: sorted(ranked[subset][min(ranked[subset])]) for subset in wanted if subset in ranked}
    for subset, rivals in best.items():
        if len(rivals) > 1:
            listed = ", ".join(map(quoted, rivals[:10]))
            raise Fatal(f"{source} holds {len(rivals)} files for {subset}: {listed}. Name one: --annotations FILE")
    return {subset: rivals[0] for subset, rivals in best.items()}


def subset_in(text: str) -> Subset | None:
    """Return the subset that a file name or a split cell names, like `k400_val`; None unless it names exactly one."""
    found = {SUBSET_WORDS[word] for word in re.split(r"[\W_]+", text.lower()) if word in SUBSET_WORDS}
    return found.pop() if len(found) == 1 else None
