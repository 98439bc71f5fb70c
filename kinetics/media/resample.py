"""The size, the rate and the keyframes that a clip's picture is to have (`--short-side`, `--fps`, `--keyframes`)."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any

from av.packet import Packet
from av.video.stream import VideoStream

from kinetics.media.times import MAX_FRAME_S
from kinetics.records import PictureSettings

SAME_RATE = 0.0005
"""Share by which two rates may differ and count as one: half of what lies between 29.97 and 30 frames a second."""


def needs_change(settings: PictureSettings, video: VideoStream, packets: Iterable[Packet[Any]]) -> bool:
    """Whether a video's picture has to be encoded anew to be as the settings say; packets are in decoding order."""
    context = video.codec_context
    return (
        output_size(settings, context.width, context.height) != (context.width, context.height)
        or not _is_at_rate(settings, video)
        or (settings.keyframes is not None and _longest_distance(packets) > settings.keyframes)
    )


def output_size(settings: PictureSettings, width: int, height: int) -> tuple[int, int]:
    """Return the width and height in pixels: even where they change, in the same proportions, and never larger."""
    short = min(width, height)
    wanted = (settings.short_side or short) & ~1
    if wanted >= short:
        return width, height
    return tuple(wanted if side == short else side * wanted // short & ~1 for side in (width, height))  # type: ignore[return-value]


def output_rate(settings: PictureSettings, video: VideoStream) -> Fraction | None:
    """Return the frames a second at which to choose frames; None if all of them are kept."""
    return None if _is_at_rate(settings, video) else Fraction(settings.fps or 0).limit_denominator(1001)


def chosen_frames(times: Sequence[int], stop: int, tick: Fraction, rate: Fraction) -> Mapping[int, Sequence[int]]:
    """Return which frames of the output each frame of the source becomes, by the latter's time.

    Each is the source's nearest frame in time; within a gap, as between two slides, it is the one that is showing.
    `times` are those of the source's frames, in order, in ticks of `tick` seconds; the first one is time 0 of the
    output, which ends at `stop`. The output's frames are numbered from 0.
    """
    found = defaultdict[int, list[int]](list)
    for number in range(max(1, round((stop - times[0]) * tick * rate))):
        at = times[0] + number / rate / tick
        shown = bisect_right(times, at) - 1
        following = min(shown + 1, len(times) - 1)
        before, after = at - times[shown], times[following] - at
        nearer = shown if after >= before or (before + after) * tick > MAX_FRAME_S else following
        found[times[nearer]].append(number)
    return found


def _is_at_rate(settings: PictureSettings, video: VideoStream) -> bool:
    if settings.fps is None:
        return True
    rate = video.average_rate or video.guessed_rate or 0
    return abs(rate - settings.fps) <= SAME_RATE * settings.fps


def _longest_distance(packets: Iterable[Packet[Any]]) -> int:
    """Return the largest number of frames from one keyframe to the next one, or to the end."""
    longest = distance = 0
    for packet in packets:
        distance = 1 if packet.is_keyframe else distance + 1
        longest = max(longest, distance)
    return longest
