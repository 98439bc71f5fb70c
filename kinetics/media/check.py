"""Checks a clip's file: reads its header, or decodes all of it, and compares the facts with what is expected.

Reading needs nothing but the file, so workers can do it; the parent, which has the tables, compares.
"""

from __future__ import annotations

import hashlib
import mmap
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from av.audio.frame import AudioFrame
from av.stream import Stream
from av.video.frame import VideoFrame

from kinetics.errors import MayWorkLater
from kinetics.media.clip_header import read_header
from kinetics.media.container import CODEC_OPTIONS, frames_of, open_file
from kinetics.records import Category, Clip, Cut, Facts

LEEWAY_S = 0.1
"""Seconds by which a clip may differ from its recorded duration; beyond that, it is reported as another clip."""
ANNOTATED_LEEWAY_S = 0.25
"""The same, in seconds, if only the annotation is known: a frame lasts longer in videos of a low frame rate."""

READ_BLOCK = 1 << 20
"""Bytes of a read."""
DECODER_MEMORY = 1 << 29
"""Bytes that must be free for a clip to be called damaged. Decoding 1080p takes half of it."""


@dataclass(frozen=True, slots=True)
class Expected:
    """A clip's duration and sound as the attempts table records them; None where it does not."""

    duration_s: float | None = None
    sound: bool | None = None
    sha256: str = ""
    """The sum in the manifest, empty if that has none."""
    summed_ns: int = 0
    """When the manifest was written; it says nothing about a file that is newer (nanoseconds since 1970)."""


def read_facts(path: Path) -> Facts:
    """Read the facts in a clip's header. Raises MayWorkLater if it is no whole clip, OSError if it is unreadable."""
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
        keyframes=picture.keyframes,
    )


def decode_fully(path: Path) -> Facts:
    """Decode every frame and all sound, and return the facts in the header.

    Raises as `read_facts` does, MayWorkLater if anything cannot be decoded, and MemoryError.
    """
    facts = read_facts(path)
    with open_file(path, options=CODEC_OPTIONS) as container:
        streams: tuple[Stream, ...] = (*container.streams.video[:1], *container.streams.audio[:1])
        decoded = Counter(type(frame) for frame in frames_of(container, *streams))
    if decoded[VideoFrame] != facts.frames:
        raise MayWorkLater(Category.MEDIA_ERROR, f"{decoded[VideoFrame]} of its {facts.frames} frames play")
    if facts.sound and not decoded[AudioFrame]:
        raise MayWorkLater(Category.MEDIA_ERROR, "its sound does not play")
    return facts


def read_to_end(path: Path) -> None:
    """Read all bytes of a file, from the disk where possible. Raises OSError if it does not bring them."""
    with open(path, "rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        block = bytearray(READ_BLOCK)
        while file.readinto(block):
            pass


def require_memory() -> None:
    """Raise MemoryError if there is not as much memory as a decoder may need: then it reports damage that is none."""
    try:
        mmap.mmap(-1, DECODER_MEMORY, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS).close()
    except OSError as error:
        raise MemoryError(error.strerror) from error


def whole_clip(path: Path, clip: Clip) -> Facts:
    """Decode the file of a clip that another program has made, and return its facts.

    A little more than the section does no harm, and whether others cut that exactly is not known. Raises MayWorkLater
    if the file does not decode or is too short, OSError if it is unreadable.
    """
    try:
        facts = decode_fully(path)
    except MemoryError as error:
        raise MayWorkLater(Category.MEDIA_ERROR, "it takes too much memory") from error
    if reason := mismatch(facts, clip, Expected(), "keyframe"):
        raise MayWorkLater(Category.MEDIA_ERROR, reason)
    return facts


def mismatch(facts: Facts, clip: Clip, expected: Expected, cut: Cut) -> str:
    """Return what is wrong with a clip that plays; empty if nothing is.

    The recorded duration counts if there is one: a clip is shorter than its section if the video ends before that.
    """
    if expected.sha256 and facts.sha256 not in ("", expected.sha256) and facts.mtime_ns < expected.summed_ns:
        return "its content is not what the manifest says, though its time is older"
    if expected.sound and not facts.sound:
        return "it has lost its sound"
    if expected.duration_s is not None:
        differs = abs(facts.duration_s - expected.duration_s) > LEEWAY_S
        return f"it lasts {facts.duration_s:.1f} s, and {expected.duration_s:.1f} s when it was made" if differs else ""
    wanted_s = clip.time_end - clip.time_start
    if facts.duration_s < wanted_s - ANNOTATED_LEEWAY_S:
        return f"it lasts {facts.duration_s:.1f} of {wanted_s:g} s"
    if facts.duration_s > wanted_s + ANNOTATED_LEEWAY_S and cut != "keyframe":
        return f"it lasts {facts.duration_s:.1f} s instead of {wanted_s:g}"
    return ""


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
