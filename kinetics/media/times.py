"""Exact times of packets, frames and streams, in seconds.

They are compared as the fractions that the file's integers stand for, so that no rounding moves a cut by a frame.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import av
from av.container import InputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream

from kinetics.errors import MayWorkLater
from kinetics.records import Category

MAX_FRAME_S = Fraction(1, 10)
"""Seconds that count as one frame's length at most: a slide show's average is several seconds, by which a clip would be
off. A larger value would let clips of slow videos begin later and end earlier than annotated."""
Times = tuple[Fraction, Fraction]
"""Start and end of a section, in seconds."""


def tick_of(stream: Stream) -> Fraction:
    """Return the unit of a stream's timestamps, in seconds."""
    if not stream.time_base:
        raise MayWorkLater(Category.MEDIA_ERROR, "the media's timestamps have no unit")
    return stream.time_base


def decode_time(packet: Packet[Any]) -> Fraction:
    """Return a packet's decoding time, in seconds."""
    return (packet.dts or 0) * packet.time_base


def to_fraction(seconds: float) -> Fraction:
    """Return the decimal number that a float stands for: the float itself may lie on the other side of a frame."""
    return Fraction(seconds).limit_denominator(1_000_000)


def presentation_time(packet: Packet[Any]) -> Fraction:
    """Return a packet's presentation time, in seconds."""
    return (packet.pts or 0) * packet.time_base


def frame_time(video: VideoStream) -> Fraction:
    """Return how long a frame shows on average, in seconds: at most MAX_FRAME_S."""
    rate = video.average_rate or video.guessed_rate
    return min(1 / rate, MAX_FRAME_S) if rate else MAX_FRAME_S


def duration_of(container: InputContainer) -> Fraction:
    """Return the duration of the video (or of the sound, if there is only that), in seconds."""
    tracks_s = map(track_duration, (*container.streams.video, *container.streams.audio))
    return next(filter(None, tracks_s), Fraction(container.duration or 0, av.time_base))


def track_duration(stream: Stream) -> Fraction:
    """Return a stream's duration in seconds, 0 if the file does not say."""
    return stream.duration * stream.time_base if stream.duration and stream.time_base else Fraction(0)
