"""Clips that another version's folder beside this one already has: linked from there, not fetched again.

A file is found by its name, which says the id and the times, and taken if its header shows that it is whole and cut as
it is wanted here. What cannot be read, or is anything else, is left alone: then the clip is fetched.
"""

from __future__ import annotations

import os
import shutil
import struct
from collections import defaultdict
from collections.abc import Iterator, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from kinetics.annotations import VERSIONS
from kinetics.layout import Layout, names_in, whole_or_absent
from kinetics.plan import Plan
from kinetics.records import Clip, Cut

LEEWAY_S = 0.03
"""How far an exactly cut clip may be from its section's length: its last piece of sound lasts 0.024 s. A clip that
begins one frame early, at a keyframe, is 1/30 s longer or more."""
BOXES_LIMIT = 64
"""Our files have five at most in one place."""


Elsewhere = Sequence[tuple[Path, Set[str]]]
"""Folders of other versions, and the names in each that clips missing here would have."""


def find(plan: Plan, layout: Layout) -> Elsewhere:
    """Look through the folders of the other versions for what is missing here."""
    rows = plan.missing
    folders = list(_folders_beside(layout, plan.cut)) if rows else []
    wanted, found = set(plan.names(rows)) if folders else set(), []
    for folder in folders:
        with suppress(OSError):
            found.append((folder, wanted.intersection(names_in(folder))))
    return found


def count(found: Elsewhere) -> int:
    """How many clips there may be."""
    return len(set[str]().union(*(names for _, names in found)))


def candidates(plan: Plan, found: Elsewhere) -> Iterator[tuple[int, Clip, Sequence[Path]]]:
    """Each missing clip that there may be: its row in the plan, and the folders that have its name."""
    folders_of = defaultdict[str, list[Path]](list)
    for folder, names in found:
        for name in names:
            folders_of[name].append(folder)
    missing = plan.missing
    at = {row: name for row, name in zip(missing, plan.names(missing), strict=True) if name in folders_of}
    for (row, name), clip in zip(at.items(), plan.at([*at]), strict=True):
        yield row, clip, folders_of[name]


def take(clip: Clip, folders: Sequence[Path], layout: Layout, cut: Cut, max_height: int) -> bool:
    """Give a clip its place here if one of these folders of other versions has it; returns whether one has.

    Raises OSError where nothing can be written.
    """
    target = layout.target(clip, cut)
    sources = [folder / target.name for folder in folders]
    return any(
        _is_wanted(_header(source), clip, cut, max_height) and _placed(source, target, layout.partial(clip.split))
        for source in sources
    )


def _folders_beside(layout: Layout, cut: Cut) -> Iterator[Path]:
    for version in VERSIONS:
        with suppress(OSError):
            yield from Layout(layout.root, version).folders(cut) if version != layout.version else ()


def _placed(source: Path, target: Path, partial: Path) -> bool:
    """Link a file to its place, or copy it where no link can be; False if it has just gone."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source.resolve() if source.is_symlink() else source, target)
    except FileNotFoundError:
        return False
    except OSError:
        with whole_or_absent(target, partial) as temporary:
            shutil.copyfile(source, temporary)
    return True


@dataclass(frozen=True, slots=True)
class _Header:
    """What the header of a whole file says."""

    duration_s: float
    shorter_side: float
    """Of the picture, in lines."""


def _is_wanted(header: _Header | None, clip: Clip, cut: Cut, max_height: int) -> bool:
    """Whether such a file is what would be made here.

    An exact clip is as long as its section, one that was cut at a keyframe longer. Where the video ends within the
    section one cannot tell, and does not take it.
    """
    if header is None or header.shorter_side > max_height:
        return False
    if cut in ("keyframe", "none"):
        return header.duration_s > 0
    return abs(header.duration_s - (clip.time_end - clip.time_start)) <= LEEWAY_S


def _header(path: Path) -> _Header | None:
    """Read the header of an mp4 file such as ours (ISO/IEC 14496-12); None if it is none, or not whole."""
    kinds, duration_s, sides = [], 0.0, list[float]()
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            for kind, start, stop in _boxes(file, 0, os.fstat(file.fileno()).st_size):
                kinds.append(kind)
                for part, first, last in _boxes(file, start, stop) if kind == b"moov" else ():
                    if part == b"mvhd":
                        duration_s = _duration_s(_read(file, first, 32))
                    elif part == b"trak":
                        sides += [min(size) for size in _sizes(file, first, last) if all(size)]
    except (OSError, ValueError, struct.error):
        return None
    ours = [kind for kind in kinds if kind in (b"moov", b"mdat")] == [b"moov", b"mdat"]
    return _Header(duration_s, max(sides)) if ours and sides else None


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # for somebody at the other end, if it is a pipe


def _boxes(file: BinaryIO, place: int, stop: int) -> Iterator[tuple[bytes, int, int]]:
    """The boxes that fill a part of a file: kind, where the content begins, and its end. ValueError if they do not."""
    for _ in range(BOXES_LIMIT):
        if place == stop:
            return
        size, kind = struct.unpack(">I4s", _read(file, place, 8))
        content = place + 8
        if size == 1:
            (size,) = struct.unpack(">Q", _read(file, content, 8))
            content += 8
        end = place + size if size else stop
        if not content <= end <= stop:
            raise ValueError
        yield kind, content, end
        place = end
    raise ValueError


def _duration_s(mvhd: bytes) -> float:
    long = mvhd[:1] != b"\0"
    scale, duration = struct.unpack_from(">IQ", mvhd, 20) if long else struct.unpack_from(">II", mvhd, 12)
    return duration / scale if scale else 0.0


def _sizes(file: BinaryIO, start: int, stop: int) -> Iterator[tuple[float, float]]:
    """Width and height of a track, in its header's last 8 bytes; of one without a picture both are 0."""
    for kind, _, end in _boxes(file, start, stop):
        if kind == b"tkhd":
            width, height = struct.unpack(">II", _read(file, end - 8, 8))
            yield width / 65536, height / 65536


def _read(file: BinaryIO, start: int, count: int) -> bytes:
    file.seek(start)
    return file.read(count)
