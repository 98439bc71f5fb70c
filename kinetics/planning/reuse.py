"""Clips that another version's folder beside this one already has: linked from there, not fetched again.

A file is found by its name, which says the id and the times, and taken if its header shows that it is whole and cut as
it is wanted here. What cannot be read, or is anything else, is left alone: then the clip is fetched.
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
"""How far an exactly cut clip may be from its section's length: its last piece of sound lasts 0.024 s. A clip that
begins one frame early, at a keyframe, is 1/30 s longer or more."""

ReuseCandidates = Sequence[tuple[Path, Set[str]]]
"""Folders of other versions, and the names in each that clips missing here would have."""


def find_candidates(plan: Plan, layout: Layout) -> ReuseCandidates:
    """Look through the folders of the other versions for what is missing here."""
    rows = plan.missing
    folders = list(_folders_beside(layout, plan.cut)) if rows else []
    wanted, found = set(plan.file_names(rows)) if folders else set(), []
    for folder in folders:
        with suppress(OSError):
            found.append((folder, wanted.intersection(names_in(folder))))
    return found


def count_candidates(found: ReuseCandidates) -> int:
    """How many clips there may be."""
    return len(set[str]().union(*(names for _, names in found)))


def candidates_by_clip(plan: Plan, found: ReuseCandidates) -> Iterator[tuple[int, Clip, Sequence[Path]]]:
    """Each missing clip that there may be: its row in the plan, and the folders that have its name."""
    folders_of = defaultdict[str, list[Path]](list)
    for folder, names in found:
        for name in names:
            folders_of[name].append(folder)
    missing = plan.missing
    at = {row: name for row, name in zip(missing, plan.file_names(missing), strict=True) if name in folders_of}
    for (row, name), clip in zip(at.items(), plan.clips_in([*at]), strict=True):
        yield row, clip, folders_of[name]


def link_clip(clip: Clip, folders: Sequence[Path], layout: Layout, cut: Cut, max_height: int) -> bool:
    """Give a clip its place here if one of these folders of other versions has it; returns whether one has.

    Not if it was found unfit here, since it may have been by a link to their file. Raises OSError where nothing can be
    written.
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
    """Link a file to its place, or copy it where no link can be; False if it has just gone."""
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
    """Whether a file is what would be made here.

    An exact clip is as long as its section, one that was cut at a keyframe longer. Where the video ends within the
    section one cannot tell, and does not take it.
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
