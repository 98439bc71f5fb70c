"""Finds files of clips by their names, in folders of any layout: other tools have classes elsewhere, or none."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from kinetics.records import ClipKey

CLIP_SUFFIXES = (".mp4", ".mkv", ".webm")
MAX_DEPTH = 6
"""Folders inside folders that are looked into. Known layouts have three, `<set>/<split>/<class>`."""
_NAME = re.compile(
    r"([A-Za-z0-9_-]{11})_(\d{1,7}(?:\.\d{1,3})?)_(\d{1,7}(?:\.\d{1,3})?)(?:\.mp4|\.mkv|\.webm)", re.ASCII
)
_ID_ALONE = re.compile(r"[A-Za-z0-9_-]{11}(?:\.mp4|\.mkv|\.webm)", re.ASCII)


def parse_clip_name(name: str) -> ClipKey | None:
    """Return the clip that a file's name stands for, its times padded or not; None for any other name."""
    match = _NAME.fullmatch(name)
    return (match[1], float(match[2]), float(match[3])) if match else None


def is_id_alone(name: str) -> bool:
    """Return whether a file is named by a video's id without times, so that nobody can tell its segment."""
    return _ID_ALONE.fullmatch(name) is not None


def walk(
    folder: Path, seen: set[tuple[int, int]], known: Mapping[Path, Collection[str]], depth: int = MAX_DEPTH
) -> Iterator[tuple[Path, list[str]]]:
    """Yield a folder, and those in it, each with the names of its files, but for hidden ones.

    Of a folder in `known`, only the names given there are considered. `seen` has the folders that were visited, by
    device and inode, so that a link does not lead in circles. A folder that cannot be read has nothing.
    """
    try:
        status = os.stat(folder)
        if not stat.S_ISDIR(status.st_mode) or (status.st_dev, status.st_ino) in seen:
            return
        seen.add((status.st_dev, status.st_ino))
        names = known[folder] if folder in known else os.listdir(folder)
    except OSError:
        return
    visible = [name for name in names if not name.startswith(".")]
    others = [name for name in visible if not name.endswith(CLIP_SUFFIXES)]
    folders = [name for name in others if _is_folder(folder / name)]
    yield folder, [*(set(visible) - {*folders} if folders else visible)]
    for name in folders if depth else ():
        yield from walk(folder / name, seen, known, depth - 1)


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return False
