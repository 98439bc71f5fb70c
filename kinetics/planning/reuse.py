"""Reuses clips that the folder of another version beside this one already has: links them instead of downloading.

A file is found by its name, which contains the id and the times, and is used if its header shows that it is complete
and cut as the user wants it now. Otherwise, or if it cannot be read, the clip is downloaded.
"""

from __future__ import annotations

import os
import shutil
from collections import defaultdict
from collections.abc import Iterator, Sequence, Set
from contextlib import suppress
from pathlib import Path

from kinetics.annotations.official import VERSIONS
from kinetics.errors import MayWorkLater
from kinetics.media.clip_header import read_header
from kinetics.planning.plan import Plan
from kinetics.records import Clip, Cut
from kinetics.storage.atomic import atomic_write
from kinetics.storage.layout import Layout, names_in

DURATION_TOLERANCE_S = 0.03
"""Seconds by which an exactly cut clip may differ from its section's length: its last audio frame lasts 0.024 s. A clip
that begins one frame early, at a keyframe, is longer by 1/30 s or more, and must not pass."""

ReuseCandidates = Sequence[tuple[Path, Set[str]]]
"""Folders of other versions, and the names in each that clips missing here would have."""


def find_candidates(plan: Plan, layout: Layout) -> ReuseCandidates:
    """Return the folders of the other versions, each with the names of missing clips that it has."""
    rows = plan.missing
    folders = list(_folders_beside(layout, plan.cut)) if rows else []
    wanted, found = set(plan.file_names(rows)) if folders else set(), []
    for folder in folders:
        with suppress(OSError):
            found.append((folder, wanted.intersection(names_in(folder))))
    return found


def count_candidates(found: ReuseCandidates) -> int:
    """Return how many missing clips have a candidate."""
    return len(set[str]().union(*(names for _, names in found)))


def candidates_by_clip(plan: Plan, found: ReuseCandidates) -> Iterator[tuple[int, Clip, Sequence[Path]]]:
    """Yield each missing clip that has candidates: its row in the plan, the clip, and the folders with its name."""
    folders_of = defaultdict[str, list[Path]](list)
    for folder, names in found:
        for name in names:
            folders_of[name].append(folder)
    missing = plan.missing
    name_of = {row: name for row, name in zip(missing, plan.file_names(missing), strict=True) if name in folders_of}
    for (row, name), clip in zip(name_of.items(), plan.clips_in([*name_of]), strict=True):
        yield row, clip, folders_of[name]


def link_clip(clip: Clip, folders: Sequence[Path], layout: Layout, cut: Cut, max_height: int) -> bool:
    """Link a clip from one of these folders of other versions; return whether one of them has it as wanted.

    A clip that was found unfit here is not linked, since the unfit file may have been a link to theirs. Raises OSError
    if nothing can be written.
    """
    if layout.rejected(clip).exists():
        return False
    target = layout.target(clip, cut)
    sources = [folder / target.name for folder in folders]
    return any(
        _is_wanted(source, clip, cut, max_height) and _link_or_copy(source, target, layout.partial(clip.split))
        for source in sources
    )


def _folders_beside(layout: Layout, cut: Cut) -> Iterator[Path]:
    for version in VERSIONS:
        with suppress(OSError):
            yield from Layout(layout.root, version).folders(cut) if version != layout.version else ()


def _link_or_copy(source: Path, target: Path, partial: Path) -> bool:
    """Link a file, or copy it if it cannot be linked; return False if it was removed meanwhile."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source.resolve() if source.is_symlink() else source, target)
    except FileNotFoundError:
        return False
    except OSError:
        with atomic_write(target, partial) as temporary:
            shutil.copyfile(source, temporary)
    return True


def _is_wanted(source: Path, clip: Clip, cut: Cut, max_height: int) -> bool:
    """Return whether a file is what a download would make.

    An exactly cut clip is as long as its section, and one cut at a keyframe is longer. A shorter one is not used: it
    cannot be told whether the video ends within the section.
    """
    try:
        header = read_header(source)
    except (MayWorkLater, OSError):
        return False
    if not header.faststart or min(header.picture.width, header.picture.height) > max_height:
        return False
    if cut in ("keyframe", "none"):
        return header.duration_s > 0
    return abs(header.duration_s - (clip.time_end - clip.time_start)) <= DURATION_TOLERANCE_S
