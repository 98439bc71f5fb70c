"""Loads the clips of a version and subset, from the user's files or from the official archive."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import pandas as pd
import platformdirs

from kinetics.annotations.archives import DamagedArchiveError
from kinetics.annotations.files import AnnotationFile, find_files
from kinetics.annotations.formats import read_rows
from kinetics.annotations.headers import FORMATS
from kinetics.annotations.official import VERSIONS, ProgressCallback, fetch
from kinetics.annotations.table import Annotations, constant_column, one_spelling, usable_rows, valid_rows
from kinetics.errors import Fatal
from kinetics.records import SPLIT_OF, Subset


def load(
    version: str,
    subset: Subset | Literal["all"],
    path: Path | None = None,
    *,
    file_format: str | None = None,
    progress: ProgressCallback | None = None,
    notify: Callable[[str], None] | None = None,
) -> Annotations:
    """Load the clips of a subset from `path`: a CSV or a JSON, compressed or not, a folder of them, or an archive.

    `file_format` is the name of the files' format, for files that do not show it themselves.

    Without a path, the version's official archive is read from the user's cache folder. If it is missing or damaged
    there, it is fetched first: `progress` is called with the bytes, and `notify` with what a person should know. All
    rows of a single file that the user names belong to the subset, whatever its split column says; with `all`, that
    column decides.

    Raises Fatal if no row is usable.
    """
    if path is not None:
        return _load(path, subset, file_format)
    archive = platformdirs.user_cache_path("kinetics-downloader") / VERSIONS[version].rpartition("/")[2]
    if archive.is_file():
        with suppress(DamagedArchiveError):
            return _load(archive, subset)
    if notify:
        notify(f"fetching the annotations of Kinetics-{version} from {urlsplit(VERSIONS[version]).hostname}")
    fetch(VERSIONS[version], archive, progress, notify)
    return _load(archive, subset)


def _load(path: Path, subset: Subset | Literal["all"], file_format: str | None = None) -> Annotations:
    wanted: Sequence[Subset] = list(SPLIT_OF) if subset == "all" else [subset]
    files = _find(path, wanted)
    warnings = [f"{path}: there is no file for {one} in it." for one in wanted if not {one, None} & files.keys()]
    frames, data_sets = [], set[str]()
    for file_subset, file in files.items():
        frame, found, file_warnings = usable_rows(file, file_subset, FORMATS[file_format] if file_format else None)
        frames += [] if frame.empty else [frame]
        data_sets.add(found.data_set)
        warnings += [f"{file.name}: {warning}" for warning in file_warnings]
    if not frames:
        raise Fatal(" ".join([f"{path} holds no usable row: download it again, or name another file.", *warnings]))
    table = pd.concat(frames, ignore_index=True).astype({"label": "category", "split": "category"})
    table["label"], spellings = one_spelling(table["label"])  # each file's were compared already
    return Annotations(table, (*warnings, *spellings), data_sets.pop() if len(data_sets) == 1 else "")


def load_labels(path: Path, file_format: str | None = None) -> list[str]:
    """Return the sorted labels of the clips in annotations, of all subsets. Raises Fatal if they cannot be read."""
    labels = set[str]()
    for file in _find(path, [*SPLIT_OF]).values():
        cells, _, _ = read_rows(file, FORMATS[file_format] if file_format else None)
        rows, _ = valid_rows(cells, constant_column(cells, "train"), file.name)
        labels |= {*rows["label"].unique()}
    spelt, _ = one_spelling(pd.Series(sorted(labels), dtype="category"))
    return sorted(label for label in spelt.unique() if label)


def _find(path: Path, wanted: Sequence[Subset]) -> dict[Subset | None, AnnotationFile]:
    try:
        return find_files(path, wanted)
    except OSError as error:
        raise Fatal(f"Cannot read the annotations in {path}: {error.strerror or error}. Check the path.") from error
