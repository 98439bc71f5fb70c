"""Decides in which folder the clips of a list belong: that of Kinetics, or that of the data set whose list it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pandas as pd

from kinetics.annotations.classes import class_names, classes_of
from kinetics.annotations.headers import ACTIVITYNET
from kinetics.annotations.load import load
from kinetics.annotations.table import Annotations
from kinetics.errors import Fatal
from kinetics.planning.plan import on_disk
from kinetics.records import SPLIT_OF
from kinetics.storage.layout import Layout


def layout_of_list(kinetics: Layout, chosen: Annotations, path: Path, file_format: str | None = None) -> Layout:
    """Return the layout of the clips that were chosen from the list at `path`; `kinetics` is that of the version.

    A list of Kinetics in ActivityNet's form is still one of Kinetics. Raises Fatal if the list cannot be read.
    """
    version = kinetics.version
    if chosen.data_set == ACTIVITYNET.data_set and classes_of(version, path, file_format) == class_names(version):
        return kinetics
    return replace(kinetics, data_set=chosen.data_set)


def is_kept_in(kinetics: Layout, own: Layout, chosen: Annotations, path: Path, file_format: str | None = None) -> bool:
    """Return whether a list's clips stay in Kinetics' folder, where earlier versions of this program put them.

    They do if some of them are there and their own folder is not. All subsets are looked at, whatever was chosen: else
    the first run on another subset would make the folder, and the clips of this one would be fetched again.
    """
    if own.exists or not kinetics.exists:
        return False
    frames = _frames(chosen, kinetics.version, path, file_format)
    wholes = kinetics.wholes_on_disk()
    return any(on_disk(frame, kinetics).any() or frame["youtube_id"].isin(wholes).any() for frame in frames)


def _frames(chosen: Annotations, version: str, path: Path, file_format: str | None) -> Iterator[pd.DataFrame]:
    """Yield the clips that were chosen, then all of each subset; one that the list does not have is left out."""
    yield chosen.frame
    for subset in SPLIT_OF:
        with suppress(Fatal):
            yield load(version, subset, path, file_format=file_format).frame
