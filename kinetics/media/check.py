"""Whether the file of a clip is what it should be: its header read, or all of it decoded, then held against the clip.

Looking at a file needs nothing but the file, so that workers can do it; what it should be like, the parent knows.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import av
from av.audio.frame import AudioFrame
from av.stream import Stream
from av.video.frame import VideoFrame

from kinetics.errors import MayWorkLater
from kinetics.media.clip_header import read_header
from kinetics.media.container import FEW_CODECS, frames_of, translated
from kinetics.records import Category, Clip, Cut, Facts

LEEWAY_S = 0.1
"""So much longer or shorter than it was when it was made, a clip is another one."""
ANNOTATED_LEEWAY_S = 0.25
"""As much for one of which only the annotation is known: a frame lasts longer in slow videos."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What the attempts table says of a clip, as far as it does."""

    duration_s: float | None = None
    sound: bool | None = None


def read_facts(path: Path) -> Facts:
    """What the header of a clip says. Raises MayWorkLater if it is none or not whole, OSError if it is unreadable."""
    header = read_header(path)
    picture, status = header.picture, os.stat(path)
    if not picture.samples:
        raise MayWorkLater(Category.MEDIA_ERROR, "it has no frames")
    return Facts(
        size=status.st_size,
        mtime_ns=status.st_mtime_ns,
        frames=picture.samples,
        duration_s=picture.duration_s,
        width=round(picture.width),
        height=round(picture.height),
        sound=header.sound is not None and header.sound.samples > 0,
    )


def decode_fully(path: Path) -> Facts:
    """The same, once every frame and all of the sound have been decoded without an error."""
    facts = read_facts(path)
    with translated(), av.open(str(path), "r", format="mov", options=FEW_CODECS) as container:
        streams: tuple[Stream, ...] = (*container.streams.video[:1], *container.streams.audio[:1])
        played = Counter(type(frame) for frame in frames_of(container, *streams))
    if played[VideoFrame] != facts.frames:
        raise MayWorkLater(Category.MEDIA_ERROR, f"{played[VideoFrame]} of its {facts.frames} frames play")
    if facts.sound and not played[AudioFrame]:
        raise MayWorkLater(Category.MEDIA_ERROR, "its sound does not play")
    return facts


def mismatch(facts: Facts, clip: Clip, made: Expected, cut: Cut) -> str:
    """What is wrong with a clip that plays; empty if nothing is.

    It should be as long as it was when it was made, which is less than its section where the video ends before that.
    """
    if made.sound and not facts.sound:
        return "it has lost its sound"
    if made.duration_s is not None:
        if abs(facts.duration_s - made.duration_s) > LEEWAY_S:
            return f"it lasts {facts.duration_s:.1f} s, and {made.duration_s:.1f} s when it was made"
        return ""
    wanted_s = clip.time_end - clip.time_start
    if facts.duration_s < wanted_s - ANNOTATED_LEEWAY_S:
        return f"it lasts {facts.duration_s:.1f} of {wanted_s:g} s"
    if facts.duration_s > wanted_s + ANNOTATED_LEEWAY_S and cut != "keyframe":
        return f"it lasts {facts.duration_s:.1f} s instead of {wanted_s:g}"
    return ""


def sha256(path: Path) -> str:
    """Of the whole file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
