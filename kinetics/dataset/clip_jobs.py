"""Jobs that a worker does on a clip on disk: verify it, measure it, extract its frames or its sound."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Self

from kinetics.errors import ClipError, Fatal
from kinetics.media import check, convert
from kinetics.media.resize import resize
from kinetics.os_errors import Blame, blame_for
from kinetics.records import Category, Clip, Facts, Outcome, PackedClip, PictureSettings
from kinetics.storage.atomic import (
    atomic_folder,
    atomic_write,
    cannot_read,
    cannot_write,
    discard,
    link_or_copy,
    move,
    temporary_path,
)
from kinetics.storage.layout import Layout, names_in

ClipWorker = Callable[[Clip, Callable[[], None]], Outcome]
"""Does the job on one clip, like every worker; nothing here needs to call the second argument."""
FRAME = re.compile(r"img_\d+\.jpg")
"""The name of a frame; a folder with any other file is not replaced."""


class _ClipJob:
    """Works on the file of a clip; an error of the file becomes the clip's failure.

    Of a clip that is a MEDIA_ERROR the content is known and wrong; of a LOST_WORKER nothing is known.
    """

    modules = (__name__,)
    layout: Layout

    def at(self, scratch: Path) -> Self:
        """Return this job: it needs no folder of its own."""
        return self

    def open(self) -> ClipWorker:
        return self.attempt

    def attempt(self, clip: Clip, answered: Callable[[], None]) -> Outcome:
        """Return the outcome of one clip. Raises Fatal if the machine can no longer read or write files."""
        outcome = Outcome(clip, "failed")
        path = clip.shard if isinstance(clip, PackedClip) else self.layout.clip(clip)
        try:
            with self.layout.clip_file(clip) as path:
                return self.do(clip, path, replace(outcome, status="done"))
        except ClipError as error:
            return replace(outcome, category=error.category, reason=error.reason)
        except MemoryError:
            return replace(outcome, category=Category.LOST_WORKER, reason="there is too little memory to read it")
        except OSError as error:
            blame = blame_for(error.errno)
            if blame is Blame.MACHINE:
                raise cannot_read(error, path) from error
            category = Category.LOST_WORKER if blame is Blame.UNREADABLE else Category.MEDIA_ERROR
            return replace(outcome, category=category, reason=f"the file cannot be read: {error.strerror or error}")

    def do(self, clip: Clip, path: Path, done: Outcome) -> Outcome:
        """Return `done` with what was found out. Raises ClipError if the file is not as it should be."""
        raise NotImplementedError


@dataclass(frozen=True)
class Verify(_ClipJob):
    """Decode a clip to its end, or, if `quick`, read only its header.

    A clip is bad if all of its bytes can be read and are found wrong twice, with memory to spare.
    """

    layout: Layout
    quick: bool
    sums: bool = False
    """Whether to take the SHA-256 of the file as well."""

    def do(self, clip: Clip, path: Path, done: Outcome) -> Outcome:
        try:
            facts = self._examined(path)
        except ClipError:
            check.read_to_end(path)
            check.require_memory()
            facts = self._examined(path)
        return replace(done, facts=facts)

    def _examined(self, path: Path) -> Facts:
        facts = check.read_facts(path) if self.quick else check.decode_fully(path)
        return replace(facts, sha256=check.sha256(path)) if self.sums else facts


@dataclass(frozen=True)
class Measure(_ClipJob):
    """Find out what a manifest says about a clip's file."""

    layout: Layout

    def do(self, clip: Clip, path: Path, done: Outcome) -> Outcome:
        return replace(done, facts=replace(check.read_facts(path), sha256=check.sha256(path)))


@contextmanager
def _writing(clip: Path, results: Layout) -> Iterator[None]:
    """Turn an OSError into Fatal unless it is about the clip: that is read, and the results are written."""
    try:
        yield
    except OSError as error:
        if error.filename == str(clip):
            raise
        raise cannot_write(error, results.folder) from error


@dataclass(frozen=True)
class ExtractFrames(_ClipJob):
    """Write the frames of a clip into a folder of its own."""

    layout: Layout
    target: Layout
    fps: float | Literal["all"]
    short_side: int | None
    quality: int

    def do(self, clip: Clip, path: Path, done: Outcome) -> Outcome:
        facts = check.read_facts(path)  # the decoder would take a truncated clip for a short one
        final, partial = self.target.clip(clip, ""), self.target.partial(clip.split)
        foreign = [name for name in names_in(final) if not FRAME.fullmatch(name)]
        if foreign:
            what = f"Cannot make the frames in {final} anew: {foreign[0]} in it is none of them."
            raise Fatal(f"{what} Move it away, and run the command again.")
        with _writing(path, self.target):
            discard(final, partial)  # it was made of another file
            with atomic_folder(final, partial) as folder:
                convert.write_frames(path, folder, self.fps, self.short_side, self.quality)
        return replace(done, facts=facts)


@dataclass(frozen=True)
class ResizeClip(_ClipJob):
    """Write a copy of a clip whose picture is as the settings say; a clip that is like that already is linked."""

    layout: Layout
    target: Layout
    settings: PictureSettings

    def do(self, clip: Clip, path: Path, done: Outcome) -> Outcome:
        facts = check.read_facts(path)
        final, partial = self.target.clip(clip), self.target.partial(clip.split)
        with _writing(path, self.target):
            discard(final, partial)  # it was made of another file
            with temporary_path(final, partial) as temporary:
                made = resize(path, temporary, self.settings)
                if made:
                    move(temporary, final)
            if not made:
                link_or_copy(path, final, partial)
        return replace(done, facts=facts)


@dataclass(frozen=True)
class ExtractSound(_ClipJob):
    """Write the sound of a clip; a clip without sound counts as done."""

    layout: Layout
    target: Layout
    form: convert.SoundFormat

    def do(self, clip: Clip, path: Path, done: Outcome) -> Outcome:
        facts = check.read_facts(path)
        final, partial = self.target.clip(clip, f".{self.form}"), self.target.partial(clip.split)
        with _writing(path, self.target):
            discard(final, partial)  # it was made of another file
            if not facts.sound:
                return replace(done, sound=False)
            with atomic_write(final, partial) as temporary:
                convert.write_sound(path, temporary, self.form)
        return replace(done, sound=True, facts=facts)
