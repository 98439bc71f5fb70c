"""The classes of each version, and the numbers by which list files and shards name them."""

from __future__ import annotations

from pathlib import Path

from kinetics.annotations.load import load_labels

FOLDER = Path(__file__).parent / "class_names"
"""The published names of each version's classes, one a line, sorted."""


def class_names(version: str) -> list[str]:
    """Return the published names of a version's classes; 700-2020 has those of 700."""
    return (FOLDER / f"{version.partition('-')[0]}.txt").read_text("utf-8").splitlines()


def classes_of(version: str, path: Path | None = None, file_format: str | None = None) -> list[str]:
    """Return the class names of a data set; a class number is an index into this list.

    They are the version's, so that a number never depends on what was loaded. If the annotations in `path` have a label
    that the version lacks, they are of another data set: then these are their own labels, of all subsets. Raises Fatal
    if the annotations cannot be read.
    """
    names = class_names(version)
    own = load_labels(path, file_format) if path else []
    return names if {*own} <= {*names} else own
