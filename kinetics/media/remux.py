"""Turns a clip in another container, mkv or webm, into an mp4 that all readers understand."""

from __future__ import annotations

import io
import os
from pathlib import Path

from kinetics.errors import MayWorkLater
from kinetics.media.cut import cut_exact, cut_keyframe
from kinetics.media.remote_media import RemoteMedia

TO_THE_END_S = 1e6
"""Seconds; later than the end of any video."""


class LocalFile(io.FileIO):
    """A file on disk in the place of one over HTTP, so that the same rules hold for hostile media."""

    @property
    def size(self) -> int:
        """The size of the file in bytes."""
        return os.fstat(self.fileno()).st_size

    def prefetch(self, start: int, stop: int) -> None:
        """Do nothing: all of it is here."""

    def is_cached(self, position: int) -> bool:
        """Return that it can be read: all of it is here."""
        return True


def to_mp4(source: Path, out: Path) -> None:
    """Write the clip in an mkv or webm file as an mp4: its picture copied, or transcoded where an mp4 cannot hold it.

    Sound becomes AAC. Raises MayWorkLater if the file is damaged, OSError if `out` cannot be written.
    """
    with LocalFile(source) as file:
        inputs = [RemoteMedia(file, "webm")]
        try:
            cut_keyframe(inputs, 0.0, TO_THE_END_S, out)
        except MayWorkLater:
            cut_exact(inputs, 0.0, TO_THE_END_S, out)
