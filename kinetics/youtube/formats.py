"""The formats that YouTube offers for a video, and the choice among them."""

from __future__ import annotations

import itertools
import math
import operator
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Literal
from urllib.parse import unquote

from kinetics.errors import MayWorkLater
from kinetics.records import Category

SHORT_SHARE = 0.5
"""Share of the longest picture's length below which a format counts as damaged (yt-dlp#2823); a larger share would also
catch those that differ by how they are encoded."""
MAX_SOUNDS = 3
"""The best sounds that are combined with each picture; `ranked_formats` needs no more than three."""


class SoundTrack(IntEnum):
    """Which of a video's sounds a format has, by how surely it is the one that the video was made with."""

    DESCRIPTIVE = 0
    """What is seen is told as well."""
    DUBBED = 1
    OTHER = 2
    """One of several, neither the original nor the default as far as the reply says."""
    UNSAID = 3
    """The reply does not say that there are several."""
    DEFAULT = 4
    """What YouTube plays unless asked, which may be a dub."""
    ORIGINAL = 5


TRACKS = {
    "original": SoundTrack.ORIGINAL,
    "descriptive": SoundTrack.DESCRIPTIVE,
    "dubbed": SoundTrack.DUBBED,
    "dubbed-auto": SoundTrack.DUBBED,
}
"""What `acont` in a media URL's `xtags` says of the sound; any other value is SoundTrack.OTHER."""
ALTERATIONS = ("drc", "vb", "sr")
"""Names in `xtags` that have the value 1 where YouTube compressed the loudness, boosted the voice, or upscaled the
picture."""
_XTAGS = re.compile(r"[?&]xtags=([^&#]*)")


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
    track: SoundTrack = SoundTrack.UNSAID
    altered: bool = False
    """Whether YouTube compressed the loudness (DRC), boosted the voice, or upscaled the picture."""
    surround: bool = False
    """Whether the sound has more than two channels."""
    duration_s: float | None = None
    """The file's own length, where the reply says so."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """HTTP headers to send with each request for the file."""
    header_bytes: int | None = None
    """Bytes of an adaptive file's header and index together, where the reply says so."""
    size: tuple[int, int] | None = None
    """Width and height of the picture in pixels."""
    fps: float | None = None
    available_at: float = 0.0
    """When the ads before the video are over, in seconds since the epoch: until then the URL may be refused."""


Choice = tuple[Format, ...]
"""One progressive format, or a picture and its sound, or a picture alone."""


@dataclass(frozen=True, slots=True)
class MediaSource:
    """The media of a video: one progressive format, or a video format and a sound format."""

    engine: str
    """Name of the engine that found it."""
    formats: Choice
    duration_s: float | None
    picture_s: float | None = None
    """How long the picture lasts, which may end before the sound."""
    others: tuple[Choice, ...] = ()
    """What else fits in the same reply, best first, for when `formats` are refused or damaged."""

    @property
    def itag(self) -> str:
        """The formats' itags, such as `134+140`."""
        return "+".join(media_format.itag for media_format in self.formats)


def ranked_formats(formats: Iterable[Format], max_height: int) -> tuple[Choice, ...]:
    """Return the fitting choices among the formats of one reply, best first: at most four, all of them different.

    The best one has at most `max_height` pixels in height, or is the smallest where none is that small. Behind it come
    the best one without its picture's file, the best one without its sound's, and the best one without any file before,
    so that one bad file does not spoil all of them. None of these is too tall, silent or dubbed unless the best one is.
    Raises MayWorkLater where there is no video format.
    """
    choices = _sorted_choices([one for one in formats if one.url], max_height)
    if not choices:
        raise MayWorkLater(Category.ENGINE_ERROR, "no downloadable stream in YouTube's reply")
    best = choices[0]
    least = _fitness(best, max_height)
    fitting = [choice for choice in choices if all(map(operator.ge, _fitness(choice, max_height), least))]
    ranked = [best]
    for avoided in (best[:1], best[-1:], ()):
        urls = {one.url for one in avoided or itertools.chain(*ranked)}
        found = next((choice for choice in fitting if urls.isdisjoint(one.url for one in choice)), None)
        if found and found not in ranked:
            ranked.append(found)
    return tuple(ranked)


def picture_duration(formats: Iterable[Format], video_s: float | None) -> float | None:
    """Return how long a video's picture lasts in seconds: as the longest file of the picture alone, if the reply says.

    One file that is shorter than the others is damaged; the video's length `video_s` may be that of its sound.
    """
    pictures_s = [one.duration_s or 0.0 for one in formats if one.video_codec and not one.audio_codec]
    return min(filter(None, (max(pictures_s, default=0.0), video_s)), default=None)


def _fitness(choice: Choice, max_height: int) -> tuple[bool, bool, SoundTrack]:
    """Return whether a choice is small enough, whether it has sound, and which; all but known dubs are alike."""
    sound = _sound_of(choice)
    return (choice[0].height or 0) <= max_height, sound is not None, min(_track_of(sound), SoundTrack.UNSAID)


def _sorted_choices(formats: Sequence[Format], max_height: int) -> list[Choice]:
    """Return the choices among the formats, best first, with the best few sounds only.

    In order of weight: undamaged, small enough, with sound, the original, unaltered, H.264 in mp4, tallest, at most two
    channels; among equals picture and sound apart, which cost fewer bytes than both in one file; then AAC.
    """
    longest_s = max((one.duration_s or 0.0 for one in formats if one.video_codec), default=0.0)

    def undamaged(one: Format) -> bool:
        return one.duration_s is None or one.duration_s >= SHORT_SHARE * longest_s

    def preference(choice: Choice) -> tuple[object, ...]:
        picture, sound = choice[0], _sound_of(choice)
        height = picture.height or 0
        fits = height <= max_height
        return (
            all(map(undamaged, choice)),
            fits,
            sound is not None,
            _track_of(sound),
            not any(one.altered for one in choice),
            picture.container == "mp4" and picture.video_codec.startswith("avc1"),
            height if fits else -height,
            not (sound and sound.surround),
            not picture.audio_codec,
            sound is not None and sound.audio_codec.startswith("mp4a"),
            sound.bitrate if sound else 0.0,
            -picture.bitrate,
        )

    pictures = [one for one in formats if one.video_codec]
    sounds: list[Choice] = [(one,) for one in formats if one.audio_codec and not one.video_codec]
    best_sounds = sorted(sounds, key=preference, reverse=True)[:MAX_SOUNDS]
    choices = [(one, *sound) for one in pictures for sound in (not one.audio_codec and best_sounds) or [()]]
    return sorted(choices, key=preference, reverse=True)


def _sound_of(choice: Choice) -> Format | None:
    return choice[-1] if choice[-1].audio_codec else None


def _track_of(sound: Format | None) -> SoundTrack:
    return sound.track if sound else SoundTrack.UNSAID


def track_and_alteration(url: str, *, name: str, default: bool | None) -> tuple[SoundTrack, bool]:
    """Return which sound a file has and whether YouTube altered the file, by what its reply says.

    What the URL's `xtags` say (`acont=dubbed-auto:lang=de:drc=1`) decides. Where they name no kind of sound, `name` and
    `default` do: the `displayName` and `audioIsDefault` of the format's `audioTrack`; `default` is None where it has
    none. The default may be a dub, so the word "original" comes before it.
    """
    found = _XTAGS.search(url)
    # Some replies encode the pairs twice.
    pairs = dict(pair.partition("=")[::2] for pair in unquote(unquote(found[1])).split(":")) if found else {}
    altered = any(pairs.get(alteration) == "1" for alteration in ALTERATIONS)
    if "acont" in pairs:
        return TRACKS.get(pairs["acont"], SoundTrack.OTHER), altered
    named = next((track for word, track in TRACKS.items() if word in name.lower()), None)
    if named is not None:
        return named, altered
    if default is None:
        return SoundTrack.OTHER if "lang" in pairs else SoundTrack.UNSAID, altered
    return SoundTrack.DEFAULT if default else SoundTrack.OTHER, altered


def positive_number(value: object) -> float | None:
    """Return a size or length from a reply as a float, None where it is not a positive finite number."""
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None
    return number if 0 < number < math.inf else None


def whole_number(value: object) -> int | None:
    """Return a number from a reply, or a text that is one, None where it is negative or beyond a table's 64 bits."""
    try:
        number = int(value) if isinstance(value, int | str) and not isinstance(value, bool) else -1
    except ValueError:
        return None
    return number if 0 <= number < 1 << 63 else None


def picture_size(width: object, height: object) -> tuple[int, int] | None:
    """Return width and height of a picture in pixels, None where the reply does not say both."""
    sides = whole_number(width), whole_number(height)
    return (sides[0], sides[1]) if sides[0] and sides[1] else None


def shorter_side(width: object, height: object) -> int | None:
    """Return the shorter side of a picture in pixels, None where neither side is known."""
    sides = [side for side in map(positive_number, (width, height)) if side]
    return int(min(sides)) if sides else None
