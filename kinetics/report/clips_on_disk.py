"""Which clips of a report are on disk, looked at again only where something has changed since."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kinetics.planning.plan import ClipFolders
from kinetics.records import Cut
from kinetics.storage.layout import Layout
from kinetics.storage.shards import in_shards

SETTLED_S = 2.0
"""Seconds after which a folder's modification time tells of every change: file systems count in steps of up to 2 s.
With a shorter time, a clip that came in the same step as the listing could stay unseen."""


class ClipsOnDisk:
    """Which clips of the annotations are on disk.

    A folder is listed again if its modification time says that a file came or went, whoever did that: a run, --verify,
    or a person. Folders at a URL have no such times: they are listed once, and then the tables say what has come.
    """

    def __init__(self, layout: Layout, frame: pd.DataFrame, cut: Cut) -> None:
        self._layout, self._frame = layout, frame
        self._folders = None if cut == "none" else ClipFolders(frame, layout)
        self._states = dict[Path, int | None]()
        self._shards_state: object = None
        self._looked = False
        self.in_folder = np.zeros(len(frame), bool)
        """Whether the clip of each row is a file of its own."""
        self._in_shards = np.zeros(len(frame), bool)

    @property
    def present(self) -> NDArray[np.bool_]:
        """Whether the clip of each row is on disk, as a file or in a shard."""
        return self.in_folder | self._in_shards

    def look(self, made: NDArray[np.integer]) -> bool:
        """Look again; return whether anything has changed. `made`: the rows of the clips made since the first look.

        Raises OSError if a folder cannot be listed.
        """
        before, looked = self.present, self._looked
        self._looked = True
        if looked and self._layout.url:
            self.in_folder[made] = True
        elif self._folders:
            self._look_at_folders(self._folders)
            self._look_at_shards()
        elif self._has_changed(self._layout.folder / "whole"):
            self.in_folder[:] = self._frame["youtube_id"].isin(self._layout.wholes_on_disk())
        return not looked or bool((before != self.present).any())

    def _look_at_folders(self, folders: ClipFolders) -> None:
        changed = [key for key in folders.rows if self._has_changed(folders.path(key))]
        for _ in folders.look(changed, self.in_folder):
            pass  # each is noted as it is listed

    def _has_changed(self, folder: Path) -> bool:
        """Return whether a folder has to be listed: its time has changed, or is so late that it may have to change."""
        try:
            state = None if self._layout.url else folder.stat().st_mtime_ns
        except OSError:
            state = None
        known = folder in self._states and self._states[folder] == state
        settled = state is None or state < time.time_ns() - SETTLED_S * 1e9
        if settled:
            self._states[folder] = state
        else:
            self._states.pop(folder, None)
        return not known

    def _look_at_shards(self) -> None:
        state = None if self._layout.url else [*_files_below(self._layout.derived_layout("shards").folder)]
        if state is None or state != self._shards_state:
            self._shards_state = state
            self._in_shards = in_shards(self._frame, self._layout)


def _files_below(folder: Path) -> Iterator[tuple[str, int, int]]:
    """Yield the path, size and time of each file below a folder, in a fixed order."""
    for parent, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            with suppress(FileNotFoundError):  # a run has just moved it
                path = os.path.join(parent, name)  # noqa: PTH118 - much faster, for some thousand files
                status = os.stat(path)
                yield path, status.st_size, status.st_mtime_ns
