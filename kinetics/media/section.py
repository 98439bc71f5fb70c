"""Where in a remote file a section lies: the file is opened there, and no more is fetched than it takes.

Times are seconds from the first frame of the video (some files begin at another timestamp than zero). Timestamps are
compared as the integers that the file has, so that no rounding moves a cut by a frame.
"""

from __future__ import annotations

import math
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
from kinetics.media.container import ContainerFormat, View, demuxed, demuxer, guarded, translated
from kinetics.media.fragment_index import Fragment, FragmentIndex, HeaderSizes, fragment_index
from kinetics.net.range_file import RangeFile
from kinetics.records import Category

SHORT_BY_S = 1.0
"""A section may end that much early: annotations are in whole seconds, and headers round."""
KEYFRAME_SHARE = 0.25
"""How much of a fragment its keyframe takes at most, as a guess at where a part of a fragment ends."""
SOUND_SHARE = 0.02
"""The same for sound, which has none."""
Times = tuple[Fraction, Fraction]
"""Begin and end of a section, in seconds."""


@dataclass(frozen=True)
class Input:
    """A remote file: a video with its sound, or one of the two alone."""

    file: RangeFile
    container: ContainerFormat
    duration_s: float | None = None
    """What the player said; it only helps to guess how long the header is."""
    progressive: bool = False
    """Both in one, so with a header that lists every sample, where a fragmented file's lists fragments."""
    header_bytes: int | None = None
    """How long the header is, where the player says so."""
    sizes: HeaderSizes = field(default_factory=HeaderSizes)
    """What is known of progressive files' headers; this one's is added to it."""

    @property
    def header_guess(self) -> int:
        """So many bytes hold the header of most of YouTube's files; another request brings the rest of the others."""
        if self.progressive:
            return self.sizes.guess(self.duration_s)
        if self.header_bytes:
            return min(self.header_bytes, HEADER_GUESS_LIMIT)
        return (1 << 11) + min(3 * math.ceil(self.duration_s or 0), HEADER_GUESS_LIMIT)

    @cached_property
    def index(self) -> FragmentIndex | None:
        """The header of an mp4, fetched when first asked for; None for a webm, whose header the demuxer reads."""
        if self.container != "mp4":
            return None
        with translated():
            index = fragment_index(self.file, self.header_guess)
        if not index.init:
            self.sizes.learn(self.duration_s, index.stop)
        return index


@dataclass(slots=True)
class Section:
    """An open file, positioned at the keyframe from which the section can be decoded.

    The times, in seconds, are on the file's own clock, where the video's first frame shows at `zero_s`.
    """

    container: InputContainer
    zero_s: Fraction
    start_s: Fraction
    stop_s: Fraction
    total_s: Fraction
    """How long the video is."""

    @property
    def video(self) -> VideoStream | None:
        return next(iter(self.container.streams.video), None)

    @property
    def audio(self) -> AudioStream | None:
        return next(iter(self.container.streams.audio), None)

    def packets(self, *, with_sound: bool) -> tuple[list[Packet[Any]], list[Packet[Any]]]:
        """What is stored up to the section's end, in decoding order: of the picture, and of the sound."""
        audio = self.audio if with_sound else None
        streams = [stream for stream in (self.video, audio) if stream]
        stops = {stream.index: math.ceil(self.stop_s / tick_of(stream)) for stream in streams}
        found: dict[int, list[Packet[Any]]] = {stream.index: [] for stream in streams}
        running = set(found)
        for packet in demuxed(self.container, *streams):
            index = packet.stream.index
            if packet.dts is None or packet.pts is None or index not in running:
                continue
            if packet.dts < stops[index]:
                found[index].append(packet)
            if packet.dts + (packet.duration or 0) >= stops[index]:
                packet.stream.discard = Discard.all  # what follows would be read for nothing
                running.discard(index)
                if not running:
                    break
        pictures = found[self.video.index] if self.video else []
        return pictures, found[audio.index] if audio else []


@dataclass(frozen=True, slots=True)
class Fragments:
    """The fragments that a section touches. Times are on the file's own clock, as in a Section."""

    item: Input
    index: FragmentIndex
    needed: tuple[Fragment, ...]
    zero_s: Fraction
    section_s: tuple[Fraction, Fraction]
    total_s: Fraction

    @property
    def begins_s(self) -> Fraction:
        """When the first of them does, in seconds from the first frame."""
        return self.needed[0].time_s - self.zero_s

    def fetch(self, keyframe_share: float) -> None:
        """Have them at hand, up to about where the section ends in the last one."""
        first, last = self.needed[0], self.needed[-1]
        self.item.file.prefetch(first.offset, last.offset + last.part(self.section_s[1], keyframe_share))


def find_fragments(item: Input, wanted_s: Times, zero_s: Fraction | None = None) -> Fragments | None:
    """Fetch a file's header and see which fragments hold a section; None for a file that does not list any.

    `zero_s` is the video's, for a file of sound. Raises Gone where the video ends before the section.
    """
    index = item.index
    if index is None or not index.fragments:
        return None
    first, last = index.fragments[0], index.fragments[-1]
    begins_s = first.time_s if zero_s is None else zero_s
    total_s = last.time_s + last.duration_s - begins_s
    if zero_s is None:
        _refuse_past_end(item, wanted_s[0], total_s)
    start_s, stop_s = begins_s + wanted_s[0], begins_s + wanted_s[1]
    needed = [one for one in index.fragments if one.time_s < stop_s and start_s < one.time_s + one.duration_s] or [last]
    if not index.stop <= needed[0].offset < needed[-1].offset + needed[-1].size <= item.file.size:
        raise MayWorkLater(Category.MEDIA_ERROR, "the fragment index points outside the file")
    return Fragments(item, index, tuple(needed), begins_s, (start_s, stop_s), total_s)


def fetch_sound(item: Input, wanted_s: Times, zero_s: Fraction) -> None:
    """Have the sound of a section at hand, if its file lists fragments; for a thread beside the picture's."""
    if fragments := find_fragments(item, wanted_s, zero_s):
        fragments.fetch(SOUND_SHARE)


def open_section(
    stack: ExitStack, item: Input, wanted_s: Times, zero_s: Fraction | None = None, *, frugal: bool = True
) -> Section:
    """Open a file at a section, with as few requests as it takes. `zero_s` is the video's, for a file of sound."""
    if fragments := find_fragments(item, wanted_s, zero_s):
        return _open_fragments(stack, fragments, SOUND_SHARE if zero_s is not None else KEYFRAME_SHARE)
    if item.index and item.index.init:
        return _find_by_reading(stack, item, wanted_s, zero_s)
    return _find_samples(stack, item, wanted_s, zero_s, frugal=frugal)


def _open_fragments(stack: ExitStack, fragments: Fragments, keyframe_share: float) -> Section:
    """A fragmented file (DASH): its header and the fragments that the section touches look like a file of their own."""
    fragments.fetch(keyframe_share)
    item, first, last = fragments.item, fragments.needed[0], fragments.needed[-1]
    view = View(item.file, fragments.index.init, first.offset, last.offset + last.size)
    container = stack.enter_context(demuxer(stack.enter_context(guarded(view)), item.container))
    return Section(container, fragments.zero_s, *fragments.section_s, fragments.total_s)


def _find_samples(stack: ExitStack, item: Input, wanted_s: Times, zero_s: Fraction | None, *, frugal: bool) -> Section:
    """A progressive file, or a webm: the demuxer's own index tells where in the file the section lies.

    The file is opened twice: once for the index, and again when the section is at hand, since a demuxer that has met
    missing data at the front of a file does not always read it later.
    """
    with guarded(View(item.file)) as view, demuxer(view, item.container, frugal=True) as container:
        main = _main_stream(container)
        total_s = length_of(container)
        if zero_s is None:
            zero_s = (main.start_time or 0) * tick_of(main)
            _refuse_past_end(item, wanted_s[0], total_s)
        section_s = (zero_s + wanted_s[0], zero_s + wanted_s[1])
        decodes, shows = _keyframe_before(main, section_s[0])
        streams = [*container.streams.video[:1], *container.streams.audio[:1]]
        spans = [_sample_span(stream, decodes * tick_of(main), section_s[1]) for stream in streams]
    item.file.prefetch(min(first for first, _ in spans), max(stop for _, stop in spans))
    container = stack.enter_context(
        demuxer(stack.enter_context(guarded(View(item.file))), item.container, frugal=frugal)
    )
    container.seek(shows, stream=_main_stream(container))
    return Section(container, zero_s, *section_s, total_s)


def _find_by_reading(stack: ExitStack, item: Input, wanted_s: Times, zero_s: Fraction | None) -> Section:
    """A fragmented file that does not say where its fragments are: read it from the front, as YouTube's never are."""
    container = stack.enter_context(demuxer(stack.enter_context(guarded(View(item.file))), item.container))
    main = _main_stream(container)
    total_s = length_of(container)
    if zero_s is None:
        total_s = max(total_s, decimal(item.duration_s or 0))
        zero_s = (main.start_time or 0) * tick_of(main)
        _refuse_past_end(item, wanted_s[0], total_s)
    return Section(container, zero_s, zero_s + wanted_s[0], zero_s + wanted_s[1], total_s)


def _main_stream(container: InputContainer) -> Stream:
    main = next(iter(container.streams.video or container.streams.audio), None)
    if main is None:
        raise MayWorkLater(Category.MEDIA_ERROR, "the media has neither picture nor sound")
    return main


def tick_of(stream: Stream) -> Fraction:
    """The unit of a stream's timestamps, in seconds."""
    if not stream.time_base:
        raise MayWorkLater(Category.MEDIA_ERROR, "the media's timestamps have no unit")
    return stream.time_base


def _keyframe_before(stream: Stream, time_s: Fraction) -> tuple[int, int]:
    """When the keyframe that shows at or before that time is decoded, and when it is shown: two timestamps.

    The demuxer's index is in decoding order; a frame shows as much later as the first one does.
    """
    entries = stream.index_entries
    wanted = math.floor(time_s / tick_of(stream))
    if not len(entries):
        return wanted, wanted
    delay = max(0, (stream.start_time or 0) - entries[0].timestamp)
    decodes = entries[max(entries.search_timestamp(wanted - delay), 0)].timestamp
    return decodes, decodes + delay


def _sample_span(stream: Stream, start_s: Fraction, stop_s: Fraction) -> tuple[int, int]:
    """The bytes of one stream's samples from a keyframe to the end of the section; none if it has no index."""
    entries = stream.index_entries
    if not len(entries):
        return 0, 0
    first = max(entries.search_timestamp(math.floor(start_s / tick_of(stream))), 0)
    if stream.type == "audio":
        first = max(first - 1, 0)  # the demuxer goes to the sample before the picture's decoding time
    after = entries.search_timestamp(math.ceil(stop_s / tick_of(stream)), backward=False, any_frame=True)
    inside = entries[first : after if after >= 0 else len(entries)] or entries[first : first + 1]
    stop = max(entry.pos + entry.size for entry in inside)
    if after >= 0 and inside[-1].size == 0:  # a webm's index knows where clusters begin, not how long they are
        stop = entries[after].pos
    return inside[0].pos, stop


def _refuse_past_end(item: Input, start_s: Fraction, total_s: Fraction) -> None:
    """Only where the player and the file agree on it: a damaged header does not make a video too short."""
    if start_s >= total_s:
        if total_s <= 0 or (item.duration_s and start_s < item.duration_s - SHORT_BY_S):
            raise MayWorkLater(Category.MEDIA_ERROR, f"the file claims to be only {float(total_s):.1f} s long")
        raise Gone(
            Category.PAST_END, f"the video is {float(total_s):.1f} s long, the clip starts at {float(start_s):g} s"
        )


def refuse_broken_off(what: str, last_s: Fraction, section: Section, promised_s: Fraction) -> None:
    """Where there is less than the file or the player promised: a demuxer passes over what it cannot read."""
    if last_s < min(section.stop_s, section.zero_s + promised_s) - Fraction(SHORT_BY_S):
        at_s = float(last_s - section.zero_s)
        raise MayWorkLater(Category.MEDIA_ERROR, f"the {what} breaks off at {at_s:.1f} s of the video")


def decode_time(packet: Packet[Any]) -> Fraction:
    """When a packet is to be decoded, in seconds."""
    return (packet.dts or 0) * packet.time_base


def decimal(seconds: float) -> Fraction:
    """The number that was written down: a float lies beside it, perhaps on the other side of a frame."""
    return Fraction(seconds).limit_denominator(1_000_000)


def shown(packet: Packet[Any]) -> Fraction:
    """When a packet shows, in seconds."""
    return (packet.pts or 0) * packet.time_base


def frame_time(video: VideoStream) -> Fraction:
    """How long a frame shows, in seconds; 0 where that is not known."""
    rate = video.average_rate or video.guessed_rate
    return 1 / rate if rate else Fraction(0)


def length_of(container: InputContainer) -> Fraction:
    """How long the video is (or the sound, where there is only that), in seconds."""
    for stream in (*container.streams.video, *container.streams.audio):
        if stream.duration and stream.time_base:
            return stream.duration * stream.time_base
    return Fraction(container.duration or 0, av.time_base)
