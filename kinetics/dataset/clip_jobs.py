"""What is done to a clip that is on disk, in a worker: Clip -> Outcome, as for a download."""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Self

from kinetics.errors import ClipError, Fatal
from kinetics.media import check, convert
from kinetics.records import Category, Clip, Outcome
from kinetics.storage.atomic import atomic_folder, atomic_write, cannot_write
from kinetics.storage.layout import Layout

ClipWorker = Callable[[Clip, Callable[[], None]], Outcome]
_NOT_THE_FILES = {
    *(errno.EACCES, errno.EPERM, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOTCONN, errno.ESTALE),
    *(errno.ETIMEDOUT, errno.EHOSTDOWN),
}
"""What keeps us from reading a file and says nothing about it: the next one would be as unreadable."""


class _Task:
    """Does something to the file of a clip; what is wrong with the file is the clip's failure."""

    modules = (__name__,)
    layout: Layout

    def at(self, scratch: Path) -> Self:
        """It needs nothing but the folder that all share."""
        return self

    def open(self) -> ClipWorker:
        return self.attempt

    def attempt(self, clip: Clip, answered: Callable[[], None]) -> Outcome:
        """Raises Fatal where nothing can be read or written."""
        outcome = Outcome(clip, "failed")
        path = self.layout.clip(clip)
        try:
            return self.do(clip, path, replace(outcome, status="done"))
        except ClipError as error:
            return replace(outcome, category=error.category, reason=error.reason)
        except OSError as error:
            if error.errno in _NOT_THE_FILES:
                raise Fatal(f"Cannot read {path}: {error.strerror}. Mend that, and run the command again.") from error
            return replace(
                outcome, category=Category.MEDIA_ERROR, reason=f"it cannot be read: {error.strerror or error}"
            )

    def do(self, clip: Clip, path: Path, done: Outcome) -> Outcome:
        """Raises ClipError where the file is not as it should be."""
        raise NotImplementedError


@dataclass(frozen=True)
class Verify(_Task):
    """Look whether a clip plays to its end, or only at its header."""

    layout: Layout
    quick: bool

    def do(self, clip: Clip, path: Path, done: Outcome) -> Outcome:
        return replace(done, facts=check.read_facts(path) if self.quick else check.decode_fully(path))


@dataclass(frozen=True)
class Measure(_Task):
    """Find out all that a manifest says of a clip's file."""

    layout: Layout

    def do(self, clip: Clip, path: Path, done: Outcome) -> Outcome:
        return replace(done, facts=replace(check.read_facts(path), sha256=check.sha256(path)))


@dataclass(frozen=True)
class Frames(_Task):
    """Write the frames of a clip into a folder of its own."""

    layout: Layout
    target: Layout
    fps: float | Literal["all"]
    short_side: int | None
    quality: int

    def do(self, clip: Clip, path: Path, done: Outcome) -> Outcome:
        check.read_facts(path)  # to a decoder a clip that is cut off is a short one
        final, partial = self.target.clip(clip, ""), self.target.partial(clip.split)
        try:
            with atomic_folder(final, partial) as folder:
                convert.write_frames(path, folder, self.fps, self.short_side, self.quality)
        except OSError as error:
            raise cannot_write(error, self.target.folder) from error
        return done


@dataclass(frozen=True)
class Sound(_Task):
    """Write the sound of a clip; one without any is done, too."""

    layout: Layout
    target: Layout
    form: convert.SoundFormat

    def do(self, clip: Clip, path: Path, done: Outcome) -> Outcome:
        if not check.read_facts(path).sound:
            return replace(done, sound=False)
        final, partial = self.target.clip(clip, f".{self.form}"), self.target.partial(clip.split)
        try:
            with atomic_write(final, partial) as temporary:
                convert.write_sound(path, temporary, self.form)
        except OSError as error:
            raise cannot_write(error, self.target.folder) from error
        return replace(done, sound=True)
