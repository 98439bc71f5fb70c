"""Finds the clips that are on disk already, only not at their place, and gives them their place.

They are looked for by id and times: in the data set's own folder (another label, another split, the names of other
tools), in the folders of other versions, and in a folder that the user names. What is found is used if it shows that it
is whole. Otherwise, or if it cannot be read, it stays where it is, and the clip is downloaded.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from kinetics.annotations.published import VERSIONS
from kinetics.errors import MayWorkLater
from kinetics.media.check import Expected, mismatch, read_facts
from kinetics.media.clip_header import read_header
from kinetics.media.resample import SAME_RATE
from kinetics.planning.plan import Plan
from kinetics.records import AS_IN_SOURCE, Category, Clip, Cut, Facts, FoundClip, PictureSettings
from kinetics.storage.atomic import link_or_copy, move
from kinetics.storage.clip_files import is_id_alone, parse_clip_name, walk
from kinetics.storage.layout import Layout

DURATION_TOLERANCE_S = 0.03
"""Seconds by which an exactly cut clip may differ from its section's length: its last audio frame lasts 0.024 s. A clip
that begins one frame early, at a keyframe, is longer by 1/30 s or more, and must not pass."""
ID_CHARS = 11

Where = Literal["here", "beside", "elsewhere"]
"""The data set's own folder, another version's, or one of another tool."""
Files = Mapping[int, Sequence[Path]]
"""By the row of a missing clip in the plan, the files that may be it."""


@dataclass(frozen=True, slots=True)
class FoundFiles:
    """The files found for missing clips, and the other files that were seen."""

    here: Files
    """In the data set's own folder: they are moved."""
    beside: Files
    """In the folders of other versions: they are linked."""
    elsewhere: Files
    """Of other tools, where they are or in whatever container: they are decoded, then linked or converted."""
    unnamed: Mapping[Path, Collection[str]]
    """The names in each of the splits' folders that no annotated clip has there."""
    ids_alone: Sequence[Path]
    """Files named by the id of a missing clip's video alone: without times they cannot be told apart."""

    @property
    def any_clip(self) -> bool:
        """Whether there are files for any missing clip."""
        return bool(self.here or self.beside or self.elsewhere)

    def others(self) -> Iterator[Path]:
        """Yield the files in the splits' folders that no annotated clip has there, but for those that may be moved."""
        to_move = {path for paths in self.here.values() for path in paths}
        for folder, names in self.unnamed.items():
            yield from (path for name in sorted(names) if (path := folder / name) not in to_move)


def search(plan: Plan, layout: Layout, *, beside: bool = True, adopt: Path | None = None) -> FoundFiles:
    """Look for the missing clips: in the data set's folder, in those of other versions if `beside`, and in `adopt`.

    Only names are looked at, of all files once. Whole videos (`--cut none`) are looked for in other versions alone.
    """
    wanted, unnamed, ids_alone = _MissingNames(plan), dict[Path, Collection[str]](), list[Path]()
    files = {where: defaultdict[int, list[Path]](list) for where in get_args(Where)}
    splits = {layout.folder / split for split in plan.frame["split"].unique()}
    for where, folder, names in _folders(plan, layout, splits, beside=beside, adopt=adopt):
        for name, rows in wanted.matches(names):
            for row in rows:
                files[where if name.endswith(".mp4") else "elsewhere"][row].append(folder / name)
            if where != "beside" and folder != layout.folder / "whole" and is_id_alone(name):
                ids_alone.append(folder / name)
        if names and where == "here" and not splits.isdisjoint((folder, *folder.parents)):
            unnamed[folder] = names
    return FoundFiles(files["here"], files["beside"], files["elsewhere"], unnamed, ids_alone)


def _folders(
    plan: Plan, layout: Layout, splits: Iterable[Path], *, beside: bool, adopt: Path | None
) -> Iterator[tuple[Where, Path, list[str]]]:
    """Yield the folders to look into, each once, with the names of files there that are not clips at their place."""
    seen, missing = set[tuple[int, int]](), bool(plan.missing)
    for root in () if plan.cut == "none" else [layout.folder] if missing else splits:
        yield from (("here", *one) for one in walk(root, seen, plan.unnamed))
    for version in VERSIONS if beside and missing else ():
        folder = Layout(layout.root, version).folder
        if folder != layout.folder:
            whole = folder / "whole" if plan.cut == "none" else folder
            yield from (("beside", *one) for one in walk(whole, seen, {}))
    if adopt and missing:
        yield from (("elsewhere", *one) for one in walk(adopt, seen, {}))


class _MissingNames:
    """The missing clips of a plan, by what the name of a file says. Made when the first file is looked at."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan

    @cached_property
    def _columns(self) -> list[list[object]]:
        part = self._plan.frame.iloc[self._plan.missing]
        names = ("youtube_id",) if self._plan.cut == "none" else ("youtube_id", "time_start", "time_end")
        return [part[name].tolist() for name in names]

    @cached_property
    def _ids(self) -> set[object]:
        return {*self._columns[0]}

    @cached_property
    def _rows(self) -> dict[object, list[int]]:
        """The rows, by the id of a whole video, or by the key of a clip."""
        rows = defaultdict[object, list[int]](list)
        keys: Iterable[object] = self._columns[0] if self._plan.cut == "none" else zip(*self._columns, strict=True)
        for row, key in zip(self._plan.missing, keys, strict=True):
            rows[key].append(row)
        return rows

    def matches(self, names: Iterable[str]) -> Iterator[tuple[str, Sequence[int]]]:
        """Yield the names with the id of a missing clip, each with the rows of the clips that it stands for."""
        for name in names:
            if name[:ID_CHARS] in self._ids:
                whole = self._plan.cut == "none" and is_id_alone(name)
                yield name, self._rows.get(name[:ID_CHARS] if whole else parse_clip_name(name), ())


def found_clips(plan: Plan, files: Files) -> Iterator[tuple[int, FoundClip]]:
    """Yield the clips, with their rows, that are still missing and for which there are files."""
    rows = [*files.keys() & plan.missing] if files else []
    for row, clip in zip(rows, plan.clips_in(rows), strict=True):
        yield row, FoundClip(*clip.key, clip.label, clip.split, files=tuple(files[row]))


def move_clip(
    found: FoundClip, layout: Layout, recorded_s: Callable[[Clip], float | None], note: Callable[[Path, Path], None]
) -> tuple[Path, Facts]:
    """Move a clip to its place; return where it was, and its facts.

    `note` is told both places just before. A file that is shorter than its section is a whole clip only if it is as
    long as `recorded_s` says, in seconds. A clip that was found unfit is not replaced by another file of its name.
    Raises MayWorkLater if no file is the clip, OSError if it cannot be moved.
    """
    target = layout.clip(found)
    if layout.rejected(found).exists():
        raise MayWorkLater(Category.MEDIA_ERROR, "another file of this clip was found unfit")
    fault = MayWorkLater(Category.MEDIA_ERROR, "there is no file of it")
    for path in found.files:
        try:
            facts = _fit_facts(path, found, recorded_s)
            note(path, target)
            _move(path, target)
        except MayWorkLater as error:
            fault = MayWorkLater(Category.MEDIA_ERROR, f"{path}: {error.reason}")
        except FileNotFoundError:
            fault = MayWorkLater(Category.MEDIA_ERROR, f"{path} was removed meanwhile")
        else:
            return path, facts
    raise fault


def _move(path: Path, target: Path) -> None:
    """Move a file; of a link, which may lead to a place relative to its own, a new one is made."""
    if path.is_symlink():
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(path.resolve())
        path.unlink()
    else:
        move(path, target)


def _fit_facts(path: Path, clip: Clip, recorded_s: Callable[[Clip], float | None]) -> Facts:
    """Return what a clip's header says. Raises MayWorkLater if it is not the clip that its name says."""
    try:
        facts = read_facts(path)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise MayWorkLater(Category.MEDIA_ERROR, f"it cannot be read: {error.strerror or error}") from error
    # It is the user's, however it was cut.
    reason = mismatch(facts, clip, Expected(), "keyframe")
    if reason and (reason := mismatch(facts, clip, Expected(recorded_s(clip)), "keyframe")):
        raise MayWorkLater(Category.MEDIA_ERROR, reason)
    return facts


def link_clip(
    found: FoundClip, layout: Layout, cut: Cut, max_height: int, picture: PictureSettings = AS_IN_SOURCE
) -> bool:
    """Link a clip of another version to its place; return whether one of the files is as wanted.

    A clip that was found unfit here is not linked, since the unfit file may have been a link to theirs. Raises OSError
    if nothing can be written.
    """
    if layout.rejected(found).exists():
        return False
    target = layout.target(found, cut)
    return any(
        _is_wanted(path, found, cut, max_height, picture) and link_or_copy(path, target, layout.partial(found.split))
        for path in found.files
    )


def _is_wanted(source: Path, clip: Clip, cut: Cut, max_height: int, picture: PictureSettings) -> bool:
    """Return whether a file is what a download would make.

    An exactly cut clip is as long as its section, and one cut at a keyframe is longer. A shorter one is not used: it
    cannot be told whether the video ends within the section.
    """
    try:
        header = read_header(source)
    except (MayWorkLater, OSError):
        return False
    track = header.picture
    if min(track.width, track.height) > min(max_height, picture.short_side or max_height):
        return False
    if picture.fps and abs(track.samples / max(track.duration_s, 0.001) - picture.fps) > SAME_RATE * picture.fps:
        return False
    if picture.keyframes and track.keyframes > picture.keyframes:
        return False
    if cut in ("keyframe", "none"):
        return header.duration_s > 0
    return abs(header.duration_s - (clip.time_end - clip.time_start)) <= DURATION_TOLERANCE_S


def why_unnamed(files: Iterable[Path], plan: Plan) -> Iterator[tuple[Path, str]]:
    """Yield files in the folders of the clips, each with the reason why it is no clip there."""
    files = [*files]
    ids = {path.name[:ID_CHARS] for path in files}
    rows = np.flatnonzero(plan.frame["youtube_id"].isin(ids))
    keys = {clip.key for clip in plan.clips_in(rows.tolist())}
    videos = {key[0] for key in keys}
    for path in files:
        key = parse_clip_name(path.name)
        if key in keys:
            yield path, "a file of a clip that has its place elsewhere"
        elif is_id_alone(path.name):
            yield path, "named by the video's id alone"
        elif key:
            yield path, "the video is annotated with other times" if key[0] in videos else "not annotated"
        else:
            yield path, "not the name of a clip"
