"""Jobs that a worker does on a clip on disk: verify it, measure it, extract its frames or its sound."""

from __future__ import annotations

import errno
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Self

from kinetics.errors import ClipError, Fatal
from kinetics.media import check, convert
from kinetics.records import Category, Clip, Outcome
from kinetics.storage.atomic import atomic_folder, atomic_write, cannot_write, discard
from kinetics.storage.layout import Layout, names_in

ClipWorker = Callable[[Clip, Callable[[], None]], Outcome]
"""Does the job on one clip, like every worker; nothing here needs to call the second argument."""
_MACHINE_ERRNOS = {
    *(errno.EACCES, errno.EPERM, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOTCONN, errno.ESTALE),
    *(errno.ETIMEDOUT, errno.EHOSTDOWN),
}
"""Read errors that are the machine's fault, not the file's: the next file would fail in the same way."""
FRAME = re.compile(r"img_\d+\.jpg")
"""The name of a frame; a folder with any other file is not replaced."""


class _ClipJob:
    """Works on the file of a clip; an error of the file becomes the clip's failure."""

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
        path = self.layout.clip(clip)
        try:
            return self.do(clip, path, replace(outcome, status="done"))
        except ClipError as error:
            return replace(outcome, category=error.category, reason=error.reason)
        except OSError as error:
            if error.errno in _MACHINE_ERRNOS:
                raise Fatal(f"Cannot read {path}: {error.strerror}. Fix that and run the command again.") from error
            return replace(
                outcome, category=Category.MEDIA_ERROR, reason=f"the file cannot be read: {error.strerror or error}"
            )

    def do(self, clip: Clip, path: Path, done: Outcome) -> Outcome:
        """Return `done` with what was found out. Raises ClipError if the file is not as it should be."""
        raise NotImplementedError


@dataclass(frozen=True)
class Verify(_ClipJob):
    """Decode a clip to its end, or, if `quick`, read only its header."""

    layout: Layout
    quick: bool

    def do(self, clip: Clip, path: Path, done: Outcome) -> Outcome:
        return replace(done, facts=check.read_facts(path) if self.quick else check.decode_fully(path))


@dataclass(frozen=True)
class Measure(_ClipJob):
    """Find out what a manifest says about a clip's file."""

    layout: Layout

    def do(self, clip: Clip, path: Path, done: Outcome) -> Outcome:
        return replace(done, facts=replace(check.read_facts(path), sha256=check.sha256(path)))


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
        try:
            discard(final, partial)  # it was made of another file
            with atomic_folder(final, partial) as folder:
                convert.write_frames(path, folder, self.fps, self.short_side, self.quality)
        except OSError as error:
            raise cannot_write(error, self.target.folder) from error
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
        try:
            discard(final, partial)  # it was made of another file
            if not facts.sound:
                return replace(done, sound=False)
            with atomic_write(final, partial) as temporary:
                convert.write_sound(path, temporary, self.form)
        except OSError as error:
            raise cannot_write(error, self.target.folder) from error
        return replace(done, sound=True, facts=facts)
