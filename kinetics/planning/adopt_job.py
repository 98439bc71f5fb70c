"""A worker's job for a file that another tool has made: check it as the mirror's clips are, and give it its place."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from kinetics.errors import ClipError, MayWorkLater
from kinetics.media.check import whole_clip
from kinetics.media.remux import to_mp4
from kinetics.media.resize import resize_in_place
from kinetics.os_errors import Blame, blame_for
from kinetics.records import AS_IN_SOURCE, Category, Facts, FoundClip, Outcome, PictureSettings
from kinetics.scheduling.worker import limit_memory, record_failure
from kinetics.storage.atomic import cannot_read, link_or_copy
from kinetics.storage.layout import Layout


@dataclass(frozen=True, slots=True)
class AdoptClip:
    """The job of adopting one found clip after another. Its files stay as and where they are."""

    layout: Layout
    picture: PictureSettings = AS_IN_SOURCE

    @property
    def modules(self) -> tuple[str, ...]:
        """The modules that every worker needs, so that they are imported once for all of them."""
        return (__name__, *self.layout.modules)

    def at(self, scratch: Path) -> Self:
        """Return this job: all hosts share the folders."""
        return self

    def open(self) -> Callable[[FoundClip, Callable[[], None]], Outcome]:
        """Return the worker."""
        limit_memory()
        return self._attempt

    def _attempt(self, found: FoundClip, answered: Callable[[], None]) -> Outcome:
        """Adopt the first of the files that is whole. Raises Fatal if the clip cannot be written."""
        outcome = Outcome(found, "failed", source="folder")
        with record_failure(self.layout.folder) as failure:
            outcome = replace(taken_over(found, self._first_whole(found)), picture=self.picture)
        return replace(failure.applied_to(outcome), host=socket.gethostname())

    def _first_whole(self, found: FoundClip) -> Facts:
        """Raises MayWorkLater with the last file's fault if none is whole."""
        fault: ClipError = MayWorkLater(Category.MEDIA_ERROR, "there is no file of it")
        for path in found.files:
            try:
                return self._adopt(path, found)
            except ClipError as error:
                fault = MayWorkLater(Category.MEDIA_ERROR, f"{path}: {error.reason}")
        raise fault

    def _adopt(self, path: Path, found: FoundClip) -> Facts:
        try:
            with open(path, "rb"):  # what cannot be read is the file's fault, what cannot be written the disk's
                pass
        except OSError as error:
            if blame_for(error.errno) is Blame.MACHINE and error.errno not in (errno.EACCES, errno.EPERM):
                raise cannot_read(error, path) from error
            raise MayWorkLater(Category.MEDIA_ERROR, f"it cannot be read: {error.strerror or error}") from error
        if path.suffix == ".mp4" and not self.layout.store and not self.picture:
            facts = whole_clip(path, found)
            if not link_or_copy(path, self.layout.target(found, "exact"), self.layout.partial(found.split)):
                raise MayWorkLater(Category.MEDIA_ERROR, "it was removed meanwhile")
            return facts
        with self.layout.atomic_clip(found, "exact") as temporary:
            if path.suffix == ".mp4":
                temporary.write_bytes(path.read_bytes())
            else:
                to_mp4(path, temporary)
            facts = whole_clip(temporary, found)
            return resize_in_place(temporary, self.picture) if self.picture else facts


def taken_over(found: FoundClip, facts: Facts) -> Outcome:
    """Return the outcome of a clip that another tool has made."""
    return Outcome(
        found,
        "done",
        source="folder",
        height=facts.height,
        clip_bytes=facts.size,
        duration_s=facts.duration_s,
        sound=facts.sound,
    )
