"""The formats that YouTube offers for a video, and the choice among them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from kinetics.errors import MayWorkLater
from kinetics.records import Category


@dataclass(frozen=True, slots=True)
class Format:
    """One of the files that YouTube offers for a video."""

    itag: str
    url: str
    container: Literal["mp4", "webm"]
    video_codec: str
    """As in RFC 6381 (`avc1.4d401e`); empty for sound alone."""
    audio_codec: str
    height: int | None = None
    """The shorter side, which is what YouTube's 360p means for an upright video too."""
    bitrate: float = 0.0
    original: bool = True
    """Not dubbed, not evened out in loudness (DRC), not upscaled."""
    headers: Mapping[str, str] = field(default_factory=dict)
    header_bytes: int | None = None
    """How far the header and the index of an adaptive file reach, where the reply says so."""


@dataclass(frozen=True, slots=True)
class MediaSource:
    """Where the media of a video are: one progressive format, or a video and its sound."""

    engine: str
    formats: tuple[Format, ...]
    duration_s: float | None

    @property
    def itag(self) -> str:
        return "+".join(one.itag for one in self.formats)


def choose_formats(formats: Iterable[Format], max_height: int) -> tuple[Format, ...]:
    """The best media of at most `max_height` lines (the smallest where none is that small).

    With sound before without, H.264 in mp4 before anything else, as uploaded before altered, then the tallest; among
    equals video and sound apart, which cost fewer bytes than both in one. Sound is in the original language, and AAC
    where there is any. Raises MayWorkLater where there is no picture.
    """
    formats = [one for one in formats if one.url]
    sounds = [one for one in formats if one.audio_codec and not one.video_codec]
    sound = max(sounds, key=lambda one: (one.original, one.audio_codec.startswith("mp4a"), one.bitrate), default=None)
    videos = [one for one in formats if one.video_codec]
    if not videos:
        raise MayWorkLater(Category.ENGINE_ERROR, "no downloadable stream in YouTube's reply")

    def worth(one: Format) -> tuple[object, ...]:
        height = one.height or 0
        fits = height <= max_height
        h264 = one.container == "mp4" and one.video_codec.startswith("avc1")
        apart = not one.audio_codec
        tall = height if fits else -height
        return fits, bool(one.audio_codec or sound), h264, one.original, tall, apart, -one.bitrate

    best = max(videos, key=worth)
    return (best,) if best.audio_codec or sound is None else (best, sound)


def positive_number(value: object) -> float | None:
    """A size or a length, if it is one."""
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None
    return number if 0 < number < math.inf else None


def shorter_side(width: object, height: object) -> int | None:
    """Return the shorter side of a picture in pixels, None where neither side is known."""
    sides = [side for side in map(positive_number, (width, height)) if side]
    return int(min(sides)) if sides else None
