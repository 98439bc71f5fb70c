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
    """YouTube's number for a format, such as `134`."""
    url: str
    container: Literal["mp4", "webm"]
    video_codec: str
    """Codec as in RFC 6381 (`avc1.4d401e`); empty for sound alone."""
    audio_codec: str
    """Codec as in RFC 6381 (`mp4a.40.2`); empty for a video without sound."""
    height: int | None = None
    """The shorter side in pixels, which is what YouTube's 360p means for an upright video too."""
    bitrate: float = 0.0
    """Only compared with others of the same engine, since engines differ in its unit."""
    original: bool = True
    """False for what YouTube altered: dubbed, compressed in loudness (DRC) or upscaled."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """HTTP headers to send with each request for the file."""
    header_bytes: int | None = None
    """Bytes of an adaptive file's header and index together, where the reply says so."""


@dataclass(frozen=True, slots=True)
class MediaSource:
    """The media of a video: one progressive format, or a video format and a sound format."""

    engine: str
    """Name of the engine that found it."""
    formats: tuple[Format, ...]
    duration_s: float | None

    @property
    def itag(self) -> str:
        """The formats' itags, such as `134+140`."""
        return "+".join(media_format.itag for media_format in self.formats)


def choose_formats(formats: Iterable[Format], max_height: int) -> tuple[Format, ...]:
    """Return the best media of at most `max_height` pixels in height, or the smallest where none is that small.

    In order of weight: with sound, H.264 in mp4, unaltered, tallest, and among equals video and sound apart, which cost
    fewer bytes than both in one file. The sound is in the original language, and AAC where AAC is offered. Raises
    MayWorkLater where there is no video format.
    """
    usable = [candidate for candidate in formats if candidate.url]
    sounds = [candidate for candidate in usable if candidate.audio_codec and not candidate.video_codec]
    sound = max(sounds, key=lambda one: (one.original, one.audio_codec.startswith("mp4a"), one.bitrate), default=None)
    videos = [candidate for candidate in usable if candidate.video_codec]
    if not videos:
        raise MayWorkLater(Category.ENGINE_ERROR, "no downloadable stream in YouTube's reply")

    def preference(video: Format) -> tuple[object, ...]:
        height = video.height or 0
        fits = height <= max_height
        has_sound = bool(video.audio_codec or sound)
        h264 = video.container == "mp4" and video.video_codec.startswith("avc1")
        closest_height = height if fits else -height
        separate = not video.audio_codec
        return fits, has_sound, h264, video.original, closest_height, separate, -video.bitrate

    best = max(videos, key=preference)
    return (best,) if best.audio_codec or sound is None else (best, sound)


def positive_number(value: object) -> float | None:
    """Return a size or length from a reply as a float, None where it is not a positive finite number."""
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None
    return number if 0 < number < math.inf else None


def shorter_side(width: object, height: object) -> int | None:
    """Return the shorter side of a picture in pixels, None where neither side is known."""
    sides = [side for side in map(positive_number, (width, height)) if side]
    return int(min(sides)) if sides else None
