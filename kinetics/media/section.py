"""Finds a section in a remote file and opens the file there, fetching no more than that takes.

Times are seconds from the first frame of the video (some files begin at another timestamp than zero). Timestamps are
compared as the integers that the file has, so that no rounding moves a cut by a frame.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from typing import Any

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from av.stream import Discard, Stream
from av.video.stream import VideoStream

from kinetics.errors import Gone, MayWorkLater
from kinetics.media.boxes import HEADER_GUESS_LIMIT
from kinetics.media.container import ContainerFormat, RemoteView, demux, demuxer, ffmpeg_read_errors, view_errors
from kinetics.media.fragment_index import Fragment, FragmentIndex, HeaderSizes, fragment_index
from kinetics.net.range_file import MediaFile
from kinetics.records import Category

MAX_SHORTFALL_S = 1.0
"""Seconds by which media may end before the time that its header, the player or the annotation gives, all of which
round. Beyond that it counts as broken off; a larger value would accept truncated media."""
KEYFRAME_SHARE = 0.25
"""Share of a fragment's bytes that its keyframe takes at most; it estimates how much of the last fragment to fetch. Too
low costs a request, too high costs bytes."""
SOUND_SHARE = 0.02
"""The same for sound, which has no keyframes."""
MAX_FRAME_S = Fraction(1, 10)
"""Seconds that count as one frame's length at most: a slide show's average is several seconds, by which a clip would be
off. A larger value would let clips of slow videos begin later and end earlier than annotated."""
Times = tuple[Fraction, Fraction]
"""Start and end of a section, in seconds."""


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


@dataclass(frozen=True, slots=True)
class Fragments:
    """The fragments that a section overlaps. Times are in seconds on the file's own clock, as in a Section."""

    media: RemoteMedia
    index: FragmentIndex
    needed: tuple[Fragment, ...]
    zero_s: Fraction
    section_s: tuple[Fraction, Fraction]
    total_s: Fraction
    promised_s: Fraction

    @property
    def begins_s(self) -> Fraction:
        """When the first of the fragments begins, in seconds from the first frame of the video."""
        return self.needed[0].time_s - self.zero_s

    def fetch(self, keyframe_share: float) -> None:
        """Fetch the fragments, the last one up to about where the section ends."""
        first, last = self.needed[0], self.needed[-1]
        self.media.file.prefetch(first.offset, last.offset + last.bytes_until(self.section_s[1], keyframe_share))


def find_fragments(media: RemoteMedia, wanted_s: Times, zero_s: Fraction | None = None) -> Fragments | None:
    """Fetch a file's header and return the fragments that hold a section; None if the file does not list fragments.

    `zero_s` is the time of the video's first frame, given for a file of sound. Raises Gone if the video ends before
    the section.
    """
    index = media.index
    if index is None or not index.fragments:
        return None
    first, last = index.fragments[0], index.fragments[-1]
    begins_s = first.time_s if zero_s is None else zero_s
    total_s = promised_s = last.time_s + last.duration_s - begins_s
    if zero_s is None:
        promised_s = media.lasts(total_s, total_s)
        _raise_if_past_end(wanted_s[0], total_s, promised_s)
    start_s, stop_s = begins_s + wanted_s[0], begins_s + wanted_s[1]
    needed = [one for one in index.fragments if one.time_s < stop_s and start_s < one.time_s + one.duration_s] or [last]
    if not index.stop <= needed[0].offset < needed[-1].offset + needed[-1].size <= media.file.size:
        raise MayWorkLater(Category.MEDIA_ERROR, "the fragment index points outside the file")
    return Fragments(media, index, tuple(needed), begins_s, (start_s, stop_s), total_s, promised_s)


def prefetch_sound(media: RemoteMedia, wanted_s: Times, zero_s: Fraction) -> None:
    """Fetch the sound of a section, if its file lists fragments; to be run in a thread while the picture is fetched."""
    if fragments := find_fragments(media, wanted_s, zero_s):
        fragments.fetch(SOUND_SHARE)


def open_section(
    stack: ExitStack,
    media: RemoteMedia,
    wanted_s: Times,
    zero_s: Fraction | None = None,
    *,
    cached_only_probe: bool = True,
) -> Section:
    """Open a file at a section, with the fewest requests. `zero_s` as in `find_fragments`."""
    if fragments := find_fragments(media, wanted_s, zero_s):
        return _open_fragments(stack, fragments, SOUND_SHARE if zero_s is not None else KEYFRAME_SHARE)
    if media.index and media.index.init:
        return _find_by_reading(stack, media, wanted_s, zero_s)
    return _find_samples(stack, media, wanted_s, zero_s, cached_only_probe=cached_only_probe)


def _open_fragments(stack: ExitStack, fragments: Fragments, keyframe_share: float) -> Section:
    """Open a fragmented file (DASH): its header and the fragments of the section look like a file of their own."""
    fragments.fetch(keyframe_share)
    media, first, last = fragments.media, fragments.needed[0], fragments.needed[-1]
    view = RemoteView(media.file, fragments.index.init, first.offset, last.offset + last.size)
    container = stack.enter_context(demuxer(stack.enter_context(view_errors(view)), media.container))
    return Section(
        container,
        fragments.zero_s,
        *fragments.section_s,
        fragments.total_s,
        fragments.promised_s,
        read_s=(first.time_s, last.time_s + last.duration_s),
        fragments=tuple(len(fragments.index.init) + one.offset - first.offset for one in fragments.needed),
    )


def _find_samples(
    stack: ExitStack, media: RemoteMedia, wanted_s: Times, zero_s: Fraction | None, *, cached_only_probe: bool
) -> Section:
    """Open a progressive file, or a webm: the demuxer's own index tells where in the file the section lies.

    The file is opened twice: first for the index, and again when the section is cached, because a demuxer that has
    missed data at the front of a file does not always read it later.
    """
    with (
        view_errors(RemoteView(media.file)) as view,
        demuxer(view, media.container, cached_only_probe=True) as container,
    ):
        main = _main_stream(container)
        total_s = promised_s = duration_of(container)
        if zero_s is None:
            zero_s = (main.start_time or 0) * tick_of(main)
            promised_s = media.lasts(total_s, max(map(track_duration, container.streams), default=total_s))
            _raise_if_past_end(wanted_s[0], total_s, promised_s)
        section_s = (zero_s + wanted_s[0], zero_s + wanted_s[1])
        decode_at, show_at = _keyframe_before(main, section_s[0])
        streams = [*container.streams.video[:1], *container.streams.audio[:1]]
        is_first = len(main.index_entries) and decode_at == main.index_entries[0].timestamp
        begin_s = Fraction(0) if is_first else decode_at * tick_of(main)  # sound may be stored before the first picture
        spans = [_sample_span(stream, begin_s, section_s[1]) for stream in streams]
    media.file.prefetch(min(first for first, _ in spans), max(stop for _, stop in spans))
    again = stack.enter_context(view_errors(RemoteView(media.file)))
    container = stack.enter_context(demuxer(again, media.container, cached_only_probe=cached_only_probe))
    container.seek(show_at, stream=_main_stream(container))
    return Section(container, zero_s, *section_s, total_s, promised_s, read_s=(section_s[0], zero_s + total_s))


def _find_by_reading(stack: ExitStack, media: RemoteMedia, wanted_s: Times, zero_s: Fraction | None) -> Section:
    """Open a fragmented file that does not list its fragments: it is read from the front. YouTube has no such files."""
    container = stack.enter_context(demuxer(stack.enter_context(view_errors(RemoteView(media.file))), media.container))
    main = _main_stream(container)
    total_s = duration_of(container)
    if zero_s is None:
        total_s = max(total_s, to_fraction(media.duration_s or 0))
        zero_s = (main.start_time or 0) * tick_of(main)
        _raise_if_past_end(wanted_s[0], total_s, media.lasts(total_s, total_s))
    section_s, all_s = (zero_s + wanted_s[0], zero_s + wanted_s[1]), (zero_s, zero_s + total_s)
    return Section(container, zero_s, *section_s, total_s, total_s, read_s=all_s, has_index=False)


def _main_stream(container: InputContainer) -> Stream:
    main = next(iter(container.streams.video or container.streams.audio), None)
    if main is None:
        raise MayWorkLater(Category.MEDIA_ERROR, "the media has neither picture nor sound")
    return main


def tick_of(stream: Stream) -> Fraction:
    """Return the unit of a stream's timestamps, in seconds."""
    if not stream.time_base:
        raise MayWorkLater(Category.MEDIA_ERROR, "the media's timestamps have no unit")
    return stream.time_base


def _keyframe_before(stream: Stream, time_s: Fraction) -> tuple[int, int]:
    """Return the decoding and the presentation timestamp of the keyframe that shows at or before a time.

    The demuxer's index has decoding times; every frame is taken to show as much later as the first one does.
    """
    entries = stream.index_entries
    wanted = math.floor(time_s / tick_of(stream))
    if not len(entries):
        return wanted, wanted
    delay = max(0, (stream.start_time or 0) - entries[0].timestamp)
    decode_at = entries[max(entries.search_timestamp(wanted - delay), 0)].timestamp
    return decode_at, decode_at + delay


def _sample_span(stream: Stream, start_s: Fraction, stop_s: Fraction) -> tuple[int, int]:
    """Return the byte range of a stream's samples from a keyframe to the section's end; (0, 0) without an index."""
    entries = stream.index_entries
    if not len(entries):
        return 0, 0
    first = max(entries.search_timestamp(math.floor(start_s / tick_of(stream))), 0)
    if stream.type == "audio":
        first = max(first - 1, 0)  # the demuxer seeks to the sample before the picture's decoding time
    after = entries.search_timestamp(math.ceil(stop_s / tick_of(stream)), backward=False, any_frame=True)
    inside = entries[first : after if after >= 0 else len(entries)] or entries[first : first + 1]
    stop = max(entry.pos + entry.size for entry in inside)
    if after >= 0 and inside[-1].size == 0:  # a webm's index has where clusters begin, not their size
        stop = entries[after].pos
    return inside[0].pos, stop


class EndsEarly(MayWorkLater):
    """The file is whole by its own header, but shorter than the player response says. Another one may be longer."""

    def __init__(self, reason: str, total_s: Fraction) -> None:
        super().__init__(Category.MEDIA_ERROR, reason)
        self.total_s = float(total_s)


def _raise_if_past_end(start_s: Fraction, total_s: Fraction, promised_s: Fraction) -> None:
    """Raise Gone if the video ends before the section starts.

    Player and file must agree on that, as a header may be damaged; otherwise raises EndsEarly.
    """
    if start_s >= total_s:
        if total_s <= 0 or start_s < promised_s:
            raise EndsEarly(f"the file claims to be only {float(total_s):.1f} s long", total_s)
        raise Gone(
            Category.PAST_END, f"the video is {float(total_s):.1f} s long, the clip starts at {float(start_s):g} s"
        )


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
