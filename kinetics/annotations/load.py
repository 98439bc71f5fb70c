"""A version and a subset become the table of their clips."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal

import pandas as pd
import platformdirs

from kinetics.annotations.files import MAX_FILE, AnnotationFile, DamagedArchiveError, find_files, read_limited
from kinetics.annotations.official import VERSIONS, ProgressCallback, fetch
from kinetics.annotations.table import Annotations, constant_column, good_rows, read_cells, usable_rows
from kinetics.errors import Fatal
from kinetics.records import SPLIT_OF, Subset


def load(
    version: str, subset: Subset | Literal["all"], path: Path | None = None, *, progress: ProgressCallback | None = None
) -> Annotations:
    """Load the clips of a subset from `path`: a CSV, a JSON, a folder of them, or a tar archive.

    Without a path, the official archive of the version is taken from the user's cache folder, and fetched into it the
    first time; meanwhile `progress(bytes_done, bytes_total or None)` is called. A single file that the user names is
    taken whole as the subset, whatever its split column says; with `all`, that column decides.

    Raises Fatal if there is nothing usable.
    """
    if path is not None:
        return _load(path, subset)
    archive = platformdirs.user_cache_path("kinetics-downloader") / VERSIONS[version].rpartition("/")[2]
    if archive.is_file():
        with suppress(DamagedArchiveError):
            return _load(archive, subset)
    fetch(VERSIONS[version], archive, progress)
    return _load(archive, subset)


def classes_of(version: str, path: Path | None = None) -> list[str]:
    """The labels of a whole version, all its subsets together, sorted: a class is its place in this list.

    Of the file, if `path` is a single one. Raises Fatal if there is nothing usable.
    """
    single = path is not None and path.is_file() and path.suffix.lower() in (".csv", ".json", ".txt")
    labels = (load_list(path) if path and single else load(version, "all", path)).frame["label"]
    return sorted(label for label in labels.cat.categories if label)


def load_list(path: Path) -> Annotations:
    """The clips in one CSV or JSON file that chooses among others: what it says of their splits does not matter.

    Raises Fatal if there is nothing usable.
    """
    try:
        file = AnnotationFile(str(path), path, read_limited(path, MAX_FILE))
    except OSError as error:
        raise Fatal(f"Cannot read the list of clips in {path}: {error.strerror or error}. Check the path.") from error
    cells, remarks = read_cells(file)
    rows, left_out = good_rows(cells, constant_column(cells, "train"), file.name)
    warnings = tuple(f"{path}: {remark}" for remark in (*remarks, *left_out))
    if rows.empty:
        raise Fatal(" ".join([f"{path} holds no usable row: name another file.", *warnings]))
    return Annotations(rows, warnings)


def _load(path: Path, subset: Subset | Literal["all"]) -> Annotations:
    wanted: Sequence[Subset] = list(SPLIT_OF) if subset == "all" else [subset]
    try:
        files = find_files(path, wanted)
    except OSError as error:
        raise Fatal(f"Cannot read the annotations in {path}: {error.strerror or error}. Check the path.") from error
    warnings = [f"{path}: there is no file for {part} in it." for part in wanted if not {part, None} & files.keys()]
    frames = []
    for part, file in files.items():
        frame, remarks = usable_rows(file, part)
        frames += [] if frame.empty else [frame]
        warnings += [f"{file.name}: {remark}" for remark in remarks]
    if not frames:
        raise Fatal(" ".join([f"{path} holds no usable row: get it again, or name another file.", *warnings]))
    table = pd.concat(frames, ignore_index=True).astype({"label": "category", "split": "category"})
    return Annotations(table, tuple(warnings))
