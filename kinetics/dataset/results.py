"""Knows of which file each result (the frames or the sound of a clip) was made, so that results follow their clips.

A table beside the results has a line for each: how it is known, the size and the modification time of the clip's file,
the modification time of the result, and its path. A line counts while all of these are as they are on disk. So a line
that a crash has cost, and a result that somebody has replaced, never pass for what they are not.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kinetics.media.convert import SOUND_CODECS
from kinetics.records import SPLIT_OF, Clip, Outcome, Subset
from kinetics.storage.atomic import cannot_write, discard, remove_empty_folders, write_text
from kinetics.storage.clip_names import clip_names
from kinetics.storage.layout import Layout, label_folder, names_in
from kinetics.storage.shards import ShardFolder

MADE, FOUND = "made", "found"
"""How a result is known: made by a run that wrote the line, or found by one, and newer than its clip. Only what was
made is ever removed."""
SUFFIXES: Mapping[str, Sequence[str]] = {"frames": ("",), "sound": tuple(f".{form}" for form in SOUND_CODECS)}
"""What the names of results end with, by the kind of layout, if it is not `.mp4`; the frames of a clip are a folder."""
HEADER = "how\tclip_size\tclip_mtime_ns\tresult_mtime_ns\tresult\n"


class ResultTable:
    """The results of one subset. With `with`, which only one process may use, new ones are written to the table.

    A run on a shard has a table of its own, and every run reads those of the others. Raises Fatal if a table cannot be
    read or written.
    """

    def __init__(self, clips: Layout, results: Layout, subset: Subset) -> None:
        self._results, self._split = results, SPLIT_OF[subset]
        self._clip_folder, self._result_folder = str(clips.folder), str(results.folder)
        shard = results.shard and f"_shard{results.shard}"
        self._path = results.folder / f"{self._split}{shard}_made.tsv"
        self._file: TextIO | None = None
        self._in_shards = ShardFolder(clips, subset).states()
        self._others = dict[str, str]()
        for name in names_in(results.folder):
            if re.fullmatch(rf"{self._split}(_shard\d+of\d+)?_made\.tsv", name) and name != self._path.name:
                self._others |= _read(results.folder / name)[0]
        self._own, self._outdated = _read(self._path)

    def __enter__(self) -> Self:
        try:
            self._results.folder.mkdir(parents=True, exist_ok=True)
            if self._outdated or not self._own:
                write_text(self._path, [HEADER, *(f"{known}\t{path}\n" for path, known in self._own.items())])
            self._file = open(self._path, "a", encoding="utf-8", newline="")
        except OSError as error:
            raise cannot_write(error, self._path) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file:
            try:
                self._file.close()
            except OSError as broken:
                raise cannot_write(broken, self._path) from broken

    def states(self, frame: pd.DataFrame, suffix: str) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Return whether the result of each row's clip is there, and whether it was made of the clip's present file.

        Of a result without a line that counts, as older versions of this program left them, the times must tell: it is
        taken for one of the present file if it is newer than that file and than its arrival at its place.
        """
        there, current = np.zeros(len(frame), bool), np.zeros(len(frame), bool)
        stems = clip_names(frame, "")
        for label, rows in frame.groupby("label", observed=True).indices.items():
            folder = f"{self._split}/{label_folder(str(label))}"
            names = {*names_in(self._results.folder / folder)}
            if not names:
                continue
            for row, stem in zip(np.asarray(rows).tolist(), stems[rows].tolist(), strict=True):
                if stem + suffix in names:
                    there[row] = True
                    current[row] = self._is_current(f"{folder}/{stem}", suffix)
        self._flush()
        return there, current

    def noting(self, outcomes: Iterable[Outcome], suffix: str) -> Iterator[Outcome]:
        """Yield the outcomes; the results that were made are written to the table first."""
        for outcome in outcomes:
            if outcome.facts and outcome.sound is not False:
                self._note(outcome.clip, outcome.facts.size, outcome.facts.mtime_ns, suffix)
            yield outcome

    def remove_orphans(self) -> tuple[int, bool]:
        """Remove the results that were made of clips that are gone; returns their number, and whether it was done.

        Call it before `with`. Nothing is removed where fewer clips are there than are gone: they may be on a disk that
        is not mounted, or deleted to make room.
        """
        orphans, with_clip = list[str](), 0
        names = defaultdict[str, set[str]](set)
        alone = not self._results.shard  # runs on other shards may be at work beside this one
        for path, known in (self._others | self._own if alone else self._own).items():
            folder, _, name = path.rpartition("/")
            if folder not in names:
                names[folder] = {*names_in(Path(self._clip_folder, folder))}
            clip = self._clip_name(name)
            if clip in names[folder] or clip.removesuffix(".mp4").replace(".", "_") in self._in_shards:
                with_clip += 1
            elif self._was_made(path, known):
                orphans.append(path)
        if not orphans or len(orphans) > with_clip:
            return len(orphans), not orphans
        try:
            for path in orphans:
                discard(self._results.folder / path, self._results.partial(self._split))
                self._own.pop(path, None)
            if alone:
                remove_empty_folders(self._results.folder / self._split)
        except OSError as error:
            raise cannot_write(error, self._results.folder) from error
        self._outdated = True
        return len(orphans), True

    def _is_current(self, stem: str, suffix: str) -> bool:
        path = stem + suffix
        try:
            size, mtime_ns, since_ns = self._clip_state(stem)
            result = os.stat(f"{self._result_folder}/{path}")
        except FileNotFoundError:
            return False
        state = f"{size}\t{mtime_ns}\t{result.st_mtime_ns}"
        known = (self._own.get(path) or self._others.get(path, "")).partition("\t")[2]
        if known == state:
            return True
        if known.endswith(f"\t{result.st_mtime_ns}"):
            return False  # this very result was made of another file, whatever the times say
        newer = result.st_mtime_ns > max(mtime_ns, since_ns)
        if newer:
            self._add(path, f"{FOUND}\t{state}")
        return newer

    def _clip_state(self, stem: str) -> tuple[int, int, int]:
        """Return size, modification time and time of arrival of a clip's file. Raises FileNotFoundError."""
        try:
            status = os.stat(f"{self._clip_folder}/{stem}.mp4")
        except FileNotFoundError:
            key = stem.rpartition("/")[2].replace(".", "_")
            if key not in self._in_shards:
                raise
            size, mtime_ns = self._in_shards[key]
            return size, mtime_ns, mtime_ns
        return status.st_size, status.st_mtime_ns, status.st_ctime_ns

    def _note(self, clip: Clip, size: int, mtime_ns: int, suffix: str) -> None:
        result = self._results.clip(clip, suffix)
        try:
            made_ns = os.stat(result).st_mtime_ns
        except FileNotFoundError:
            return  # it cannot be seen yet over the network: the next run finds it
        self._add(result.relative_to(self._results.folder).as_posix(), f"{MADE}\t{size}\t{mtime_ns}\t{made_ns}")
        self._flush()

    def _add(self, path: str, known: str) -> None:
        self._own[path] = known
        if self._file:
            try:
                self._file.write(f"{known}\t{path}\n")
            except OSError as error:
                raise cannot_write(error, self._path) from error

    def _flush(self) -> None:
        if self._file:
            try:
                self._file.flush()
            except OSError as error:
                raise cannot_write(error, self._path) from error

    def _clip_name(self, result: str) -> str:
        suffix = next(
            (suffix for suffix in SUFFIXES.get(self._results.derived, (".mp4",)) if result.endswith(suffix)), ""
        )
        return result.removesuffix(suffix) + ".mp4"

    def _was_made(self, path: str, known: str) -> bool:
        """Return whether a path leads to the very result that its line says was made."""
        parts = path.split("/")
        if not known.startswith(MADE) or len(parts) != 3 or parts[0] != self._split or {"", ".", ".."} & {*parts}:
            return False
        try:
            return known.endswith(f"\t{os.stat(self._results.folder / path).st_mtime_ns}")
        except FileNotFoundError:
            return False


def _read(path: Path) -> tuple[dict[str, str], bool]:
    """Return what a table knows, by the path of the result, and whether it has lines that say nothing (any more)."""
    try:
        text = path.read_text("utf-8", errors="replace")
    except FileNotFoundError:
        return {}, False
    except OSError as error:
        raise cannot_write(error, path) from error
    lines = text.split("\n")  # the last one is empty, or half a line that a crash left
    known = dict[str, str]()
    for line in lines[1:-1]:
        facts, _, result = line.rpartition("\t")
        if facts.count("\t") == 3:
            known[result] = facts
    return known, len(known) != len(lines) - 2 or bool(lines[-1])
