"""A remote media file: what the player response says of it, and its header."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property

from kinetics.media.boxes import HEADER_GUESS_LIMIT
from kinetics.media.container import ContainerFormat, ffmpeg_read_errors
from kinetics.media.fragment_index import FragmentIndex, HeaderSizes, fragment_index
from kinetics.media.times import to_fraction
from kinetics.net.range_file import MediaFile

MAX_SHORTFALL_S = 1.0
"""Seconds by which media may end before the time that its header, the player or the annotation gives, all of which
round. Beyond that it counts as broken off; a larger value would accept truncated media."""


@dataclass(frozen=True)
class RemoteMedia:
    """A remote file: a video with its sound, or one of the two alone."""

    file: MediaFile
    container: ContainerFormat
    duration_s: float | None = None
    """The video's duration in seconds, as the player response gives it; it serves to guess the header's length and to
    check the file's own duration."""
    picture_s: float | None = None
    """The picture's duration in seconds, where the player response gives it: the picture may end before the sound."""
    progressive: bool = False
    """Picture and sound in one file, whose header lists every sample; a fragmented file's lists fragments."""
    header_bytes: int | None = None
    """Length of the header, if the player response gives it."""
    sizes: HeaderSizes = field(default_factory=HeaderSizes)
    """Guesses the length of a progressive file's header; this file's is added to what it knows."""

    def lasts(self, picture_s: Fraction, file_s: Fraction) -> Fraction:
        """Return how long the picture should last, which lasts `picture_s` by the file's header, and the file `file_s`.

        The file is believed if it is as long as the player response says; it may be one that YouTube damaged.
        """
        promised_s = to_fraction(self.picture_s or self.duration_s or 0)
        if file_s >= promised_s - Fraction(MAX_SHORTFALL_S):
            return picture_s
        return max(picture_s, promised_s - 2 * Fraction(MAX_SHORTFALL_S))

    @property
    def header_guess(self) -> int:
        """Bytes that hold the header of most of YouTube's files; for a longer one, a second request brings the rest."""
        if self.progressive:
            return self.sizes.guess(self.duration_s)
        if self.header_bytes:
            return min(self.header_bytes, HEADER_GUESS_LIMIT)
        return (1 << 11) + min(3 * math.ceil(self.duration_s or 0), HEADER_GUESS_LIMIT)

    @cached_property
    def index(self) -> FragmentIndex | None:
        """The header of an mp4, fetched on first use; None for a webm, whose header the demuxer reads."""
        if self.container != "mp4":
            return None
        with ffmpeg_read_errors():
            index = fragment_index(self.file, self.header_guess)
        if not index.init:
            self.sizes.learn(self.duration_s, index.stop)
        return index
