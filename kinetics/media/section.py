"""A section of a media file that is open there: its packets, and whether it is whole."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from av.stream import Discard
from av.video.stream import VideoStream

from kinetics.errors import MayWorkLater
from kinetics.media.container import demux
from kinetics.media.remote_media import MAX_SHORTFALL_S
from kinetics.media.times import Times, presentation_time, tick_of
from kinetics.records import Category


@dataclass(slots=True)
class Section:
    """An open file, positioned at the keyframe from which the section can be decoded.

    The times are in seconds on the file's own clock, on which the video's first frame shows at `zero_s`.
    """

    container: InputContainer
    zero_s: Fraction
    start_s: Fraction
    stop_s: Fraction
    total_s: Fraction
    """Duration of the whole video, by its header."""
    promised_s: Fraction
    """Duration of the whole video: the one in its header, or what the player response says if that is longer."""
    read_s: Times
    """From when to when the file is opened."""
    fragments: tuple[int, ...] = ()
    """Where each of the open fragments begins in the opened file; empty for a file without an index of fragments."""
    has_index: bool = True
    """Whether the file has an index, by which a gap between two frames can be told from damage."""
    reach_s: Fraction = Fraction(0)
    """When the last of the pictures that were read ends, as far as the file's index says."""

    @property
    def video(self) -> VideoStream | None:
        return next(iter(self.container.streams.video), None)

    @property
    def audio(self) -> AudioStream | None:
        return next(iter(self.container.streams.audio), None)

    def packets(self, *, with_sound: bool) -> tuple[list[Packet[Any]], list[Packet[Any]]]:
        """Return the packets of picture and of sound that are stored up to the section's end, in decoding order."""
        audio = self.audio if with_sound else None
        streams = [stream for stream in (self.video, audio) if stream]
        stops = {stream.index: math.ceil(self.stop_s / tick_of(stream)) for stream in streams}
        found: dict[int, list[Packet[Any]]] = {stream.index: [] for stream in streams}
        running, beyond = set(found), None
        for packet in _with_decode_times(demux(self.container, *streams)):
            index = packet.stream.index
            if index not in running:
                continue
            dts = packet.dts or 0
            if dts < stops[index]:
                found[index].append(packet)
            elif self.video and index == self.video.index:
                beyond = packet
            if dts + (packet.duration or 0) >= stops[index]:
                packet.stream.discard = Discard.all  # so that the demuxer does not read what follows
                running.discard(index)
                if not running:
                    break
        pictures = found[self.video.index] if self.video else []
        self.reach_s = self._reach(pictures, beyond)
        return pictures, found[audio.index] if audio else []

    def _reach(self, pictures: list[Packet[Any]], beyond: Packet[Any] | None) -> Fraction:
        """Return when the last of these pictures ends: by its own duration, or with the one read after them.

        The demuxer skips what is damaged. That makes a gap too, but the index lists what should have been in it. Raises
        MayWorkLater for a fragment without a picture.
        """
        read = pictures + ([beyond] if beyond else [])
        if self.fragments and read:
            positions = [packet.pos or 0 for packet in read]
            seen = {bisect_right(self.fragments, position) for position in positions}
            if len(seen) < bisect_right(self.fragments, max(positions)):
                raise MayWorkLater(Category.MEDIA_ERROR, "the media is damaged: a fragment has no picture")
        last_s = max(map(presentation_time, pictures), default=self.zero_s)
        reach_s = max(
            (presentation_time(one) + (one.duration or 0) * one.time_base for one in pictures), default=last_s
        )
        if beyond and self.has_index and not self._is_listed_between(last_s, presentation_time(beyond)):
            return max(reach_s, presentation_time(beyond))
        return reach_s

    def _is_listed_between(self, first_s: Fraction, last_s: Fraction) -> bool:
        """Whether a webm's index has a keyframe between two frames."""
        if self.fragments or not self.video or not len(self.video.index_entries):
            return False
        entries, tick = self.video.index_entries, tick_of(self.video)
        found = entries.search_timestamp(math.ceil(last_s / tick) - 1, any_frame=True)
        return found >= 0 and entries[found].timestamp * tick > first_s


def _with_decode_times(packets: Iterable[Packet[Any]]) -> Iterator[Packet[Any]]:
    """Yield the packets that have a presentation time, each with a decoding time.

    A matroska file has none, and FFmpeg does not guess those of the first packets of H.264 with B-frames: they are
    counted back from the first one that it knows.
    """
    held: dict[int, list[Packet[Any]]] = {}
    for packet in packets:
        early = held.setdefault(packet.stream.index, [])
        if packet.pts is None:
            continue
        if packet.dts is None:
            early.append(packet)
            continue
        for back, one in enumerate(reversed(early), 1):
            one.dts = packet.dts - back * (packet.duration or 1)
        yield from early
        early.clear()
        yield packet


class EndsEarly(MayWorkLater):
    """The file is whole by its own header, but shorter than the player response says. Another one may be longer."""

    def __init__(self, reason: str, total_s: Fraction) -> None:
        super().__init__(Category.MEDIA_ERROR, reason)
        self.total_s = float(total_s)


def require_complete(what: str, last_s: Fraction, section: Section) -> None:
    """Raise MayWorkLater if the media ends before the section or the promised duration does.

    EndsEarly, if the file's header says that it ends there. The demuxer skips what it cannot read, so truncated media
    raises no error of its own. `what` names the stream.
    """
    shortfall_s = Fraction(MAX_SHORTFALL_S)
    if last_s < min(section.stop_s, section.zero_s + section.promised_s) - shortfall_s:
        reason = f"the {what} breaks off at {float(last_s - section.zero_s):.1f} s of the video"
        if last_s >= section.zero_s + section.total_s - shortfall_s:
            raise EndsEarly(reason, section.total_s)
        raise MayWorkLater(Category.MEDIA_ERROR, reason)
