"""Everything PyAV: find a section in a remote file, cut it out, see that the result plays.

Times are seconds from the first frame of the video (some files begin at another timestamp than zero). Timestamps are
compared as the integers that the file has, so that no rounding moves a cut by a frame.
"""

from __future__ import annotations

import errno
import io
import math
import os
import struct
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from heapq import merge
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import av
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import Discard, Stream
from av.video.frame import PictureType, VideoFrame
from av.video.stream import VideoStream

from kinetics.errors import ClipError, Gone, MayWorkLater
from kinetics.mp4 import Index, fragment_index
from kinetics.records import Category
from kinetics.remote import RangeFile

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

ENCODER = {"preset": "veryfast", "crf": "20"}
"""x264: 0.63 s and 44.6 dB for 10 s of 360p; slower presets gain little here and cost twice the time."""
MOST_GUESSED = 1 << 24
"""However long the player says a video is, it is no reason to fetch more of it unseen."""
DECODERS = (
    *("h264", "hevc", "vp8", "vp9", "av1", "libdav1d", "aac", "opus", "libopus", "vorbis"),
    *("mp3", "mp3float", "ac3", "eac3"),
)
"""For what YouTube may come to serve. FFmpeg has 500 more, and it is the header that picks the one to run."""
SHORT_BY_S = 1.0
"""A section may end that much early: annotations are in whole seconds, and headers round."""
KEYFRAME_SHARE = 0.25
"""How much of a fragment its keyframe takes at most, as a guess at where a part of a fragment ends."""
REORDER_S = Fraction(1, 2)
"""Pictures are stored in another order than they are shown in, but no further apart than this."""
LEAD_OUT_S = Fraction(3, 20)
"""A copy may need to be read that far beyond its end, to take along what is shown before one of its pictures."""
_WRITE_FAULTS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EIO, errno.ENOENT}


@dataclass(frozen=True, slots=True)
class Input:
    """A remote file: a video with its sound, or one of the two alone."""

    file: RangeFile
    container: Literal["mp4", "webm"]
    duration_s: float | None = None
    """What the player said; it only helps to guess how long the header is."""
    progressive: bool = False
    """Both in one, so with a header that lists every sample, where a fragmented file's lists fragments."""

    @property
    def header_guess(self) -> int:
        """So many bytes hold the header of most of YouTube's files; another request brings the rest of the others."""
        a_second = 1100 if self.progressive else 4
        return (1 << 12) + min(math.ceil(a_second * (self.duration_s or 0)), MOST_GUESSED)


@dataclass(frozen=True, slots=True)
class Cut:
    """What a finished clip is like; `offset_s` is its first frame's time minus the time asked for."""

    offset_s: float
    duration_s: float
    frames: int
    height: int
    sound: bool


def cut_exact(inputs: Sequence[Input], start_s: float, end_s: float, out: Path) -> Cut:
    """Write the section to `out`, re-encoded: its first frame is the first one at or after `start_s`.

    `inputs` is one file with everything, or the video and its sound. Raises Gone (the video ends before the section),
    MayWorkLater (what came is not as it should be) and OSError (`out` cannot be written).
    """
    return _cut(inputs, start_s, end_s, out, exact=True)


def cut_keyframe(inputs: Sequence[Input], start_s: float, end_s: float, out: Path) -> Cut:
    """Write the section to `out` as it is, from the keyframe at or before `start_s`. Otherwise as `cut_exact`.

    No edit list hides the lead-in: ffmpeg would honour it, decord and torchcodec would show other frames.
    """
    return _cut(inputs, start_s, end_s, out, exact=False)


def copy_whole(inputs: Sequence[Input], out: Path) -> Cut:
    """Write the whole video with its sound to `out`, as it is. Raises MayWorkLater and OSError."""
    with ExitStack() as stack:
        views = [stack.enter_context(_guarded(_View(item.file))) for item in inputs]
        containers = [stack.enter_context(_demuxer(view, item)) for view, item in zip(views, inputs, strict=True)]
        target = stack.enter_context(_muxer(out))
        copies = [_copy_streams(container, target) for container in containers]
        _mux(target, merge(*copies, key=_decode_time))
        expected_s = max(_length(container) for container in containers)
    result = probe(out, 0.0)
    if result.duration_s < expected_s - SHORT_BY_S:
        raise MayWorkLater(Category.MEDIA_ERROR, f"the video breaks off after {result.duration_s:.1f} s")
    return result


def probe(path: Path, offset_s: float) -> Cut:
    """Open a finished file, decode its first frame and sound, and describe it.

    Raises MayWorkLater if it does not play, or is shorter than its header says.
    """
    with _translated(), av.open(str(path), "r", format="mov") as container:
        if not container.streams.video:
            raise MayWorkLater(Category.MEDIA_ERROR, "the result has no picture")
        video = container.streams.video[0]
        video.codec_context.thread_count = 1
        firsts = [_first_frame(container, stream) for stream in (video, *container.streams.audio)]
        if None in firsts or not video.duration or not video.time_base:
            raise MayWorkLater(Category.MEDIA_ERROR, "the result does not play")
        streams = (*container.streams.video, *container.streams.audio)
        if max(entry.pos + entry.size for stream in streams for entry in stream.index_entries) > path.stat().st_size:
            raise MayWorkLater(Category.MEDIA_ERROR, "the result is cut off")
        return Cut(
            offset_s=offset_s,
            duration_s=float(video.duration * video.time_base),
            frames=video.frames,
            height=video.height,
            sound=bool(container.streams.audio),
        )


def _cut(inputs: Sequence[Input], start_s: float, end_s: float, out: Path, *, exact: bool) -> Cut:
    wanted_s = _decimal(start_s), _decimal(end_s)
    with ExitStack() as stack:
        section, pictures, sounds = _pictures(stack, inputs[0], wanted_s, exact=exact, with_sound=len(inputs) == 1)
        target = stack.enter_context(_muxer(out))
        make = _reencoded if exact else _copied
        first_s, last_s, picture = make(target, pictures, section)
        sound = section
        if len(inputs) > 1:
            sound = _find(stack, inputs[1], wanted_s, section.zero_s)
            _, sounds = sound.packets(sound.stop_s, with_sound=True)
            _refuse_broken_off("sound", max(map(_shown, sounds), default=sound.start_s), sound, sound.total_s)
        tone = _sound(target, sound, sounds, first_s) if sound.audio else []
        promised_s = max(section.total_s, _decimal((inputs[0].duration_s or 0) - 2 * SHORT_BY_S))
        _refuse_broken_off("picture", last_s, section, promised_s)
        _mux(target, merge(picture, tone, key=_decode_time))
    return probe(out, float(first_s - section.start_s))


def _pictures(
    stack: ExitStack, item: Input, wanted_s: tuple[Fraction, Fraction], *, exact: bool, with_sound: bool
) -> tuple[_Section, list[Packet[Any]], list[Packet[Any]]]:
    """Find a section, and its pictures from the last keyframe at or before its start; and its sound.

    A copy takes along what is shown before one of its pictures though stored behind the end. Where the keyframe that
    is stored before the start is shown after it, as in an open group of pictures, an earlier one is looked for.
    """
    start_s, stop_s = wanted_s
    lead_out_s = Fraction(0) if exact else LEAD_OUT_S
    for lead_in_s in (Fraction(0), min(start_s, REORDER_S)):
        section = _find(stack, item, (start_s - lead_in_s, stop_s + lead_out_s), frugal=not lead_in_s)
        if section.video is None:
            raise MayWorkLater(Category.MEDIA_ERROR, "the media has no picture")
        pictures, sounds = section.packets(section.stop_s, with_sound=with_sound)
        section.start_s += lead_in_s
        section.stop_s -= lead_out_s
        pictures = _decodable(pictures, section)
        if pictures and _shown(pictures[0]) <= section.start_s:
            break
    return section, pictures, sounds


@dataclass(slots=True)
class _Section:
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

    def packets(self, stop_s: Fraction, *, with_sound: bool) -> tuple[list[Packet[Any]], list[Packet[Any]]]:
        """What is stored up to a time, in decoding order: of the picture, and of the sound."""
        audio = self.audio if with_sound else None
        streams = [stream for stream in (self.video, audio) if stream]
        found: dict[int, list[Packet[Any]]] = {stream.index: [] for stream in streams}
        running = set(found)
        for packet in _demuxed(self.container, *streams):
            index = packet.stream.index
            if packet.dts is None or packet.pts is None or index not in running:
                continue
            if _decode_time(packet) < stop_s:
                found[index].append(packet)
            if _decode_time(packet) + (packet.duration or 0) * packet.time_base >= stop_s:
                packet.stream.discard = Discard.all  # what follows would be read for nothing
                running.discard(index)
                if not running:
                    break
        pictures = found[self.video.index] if self.video else []
        return pictures, found[audio.index] if audio else []


def _find(
    stack: ExitStack,
    item: Input,
    wanted_s: tuple[Fraction, Fraction],
    zero_s: Fraction | None = None,
    *,
    frugal: bool = True,
) -> _Section:
    """Open a file at a section, with as few requests as it takes. `zero_s` is the video's, for a file of sound."""
    if item.container == "mp4":
        with _translated():
            index = fragment_index(item.file, item.header_guess)
        if index and index.fragments:
            return _find_fragments(stack, item, index, wanted_s, zero_s)
        if index:
            return _find_by_reading(stack, item, wanted_s, zero_s)
    return _find_samples(stack, item, wanted_s, zero_s, frugal=frugal)


def _find_fragments(
    stack: ExitStack, item: Input, index: Index, wanted_s: tuple[Fraction, Fraction], zero_s: Fraction | None
) -> _Section:
    """A fragmented file (DASH): its header and the fragments that the section touches look like a file of their own."""
    sound = zero_s is not None
    zero_s = index.fragments[0].time_s if zero_s is None else zero_s
    last = index.fragments[-1]
    section_s = (zero_s + wanted_s[0], zero_s + wanted_s[1])
    total_s = last.time_s + last.duration_s - zero_s
    if not sound:
        _refuse_past_end(item, wanted_s[0], total_s)
    needed = [
        fragment
        for fragment in index.fragments
        if fragment.time_s < section_s[1] and section_s[0] < fragment.time_s + fragment.duration_s
    ] or [last]
    first, last = needed[0], needed[-1]
    if not index.init_stop <= first.offset < last.offset + last.size <= item.file.size:
        raise MayWorkLater(Category.MEDIA_ERROR, "the fragment index points outside the file")
    item.file.prefetch(first.offset, last.offset + last.part(section_s[1], 0.02 if sound else KEYFRAME_SHARE))
    view = _View(item.file, index.init, first.offset, last.offset + last.size)
    container = stack.enter_context(_demuxer(stack.enter_context(_guarded(view)), item))
    return _Section(container, zero_s, *section_s, total_s)


def _find_samples(
    stack: ExitStack, item: Input, wanted_s: tuple[Fraction, Fraction], zero_s: Fraction | None, *, frugal: bool
) -> _Section:
    """A progressive file, or a webm: the demuxer's own index tells where in the file the section lies.

    The file is opened twice: once for the index, and again when the section is at hand, since a demuxer that has met
    missing data at the front of a file does not always read it later.
    """
    with _guarded(_View(item.file)) as view, _demuxer(view, item, frugal=True) as container:
        main = _main_stream(container)
        total_s = _length(container)
        if zero_s is None:
            zero_s = (main.start_time or 0) * _tick(main)
            _refuse_past_end(item, wanted_s[0], total_s)
        section_s = (zero_s + wanted_s[0], zero_s + wanted_s[1])
        decoded, shown = _keyframe_before(main, section_s[0])
        streams = [*container.streams.video[:1], *container.streams.audio[:1]]
        spans = [_sample_span(stream, decoded * _tick(main), section_s[1]) for stream in streams]
    item.file.prefetch(min(first for first, _ in spans), max(stop for _, stop in spans))
    container = stack.enter_context(_demuxer(stack.enter_context(_guarded(_View(item.file))), item, frugal=frugal))
    container.seek(shown, stream=_main_stream(container))
    return _Section(container, zero_s, *section_s, total_s)


def _find_by_reading(
    stack: ExitStack, item: Input, wanted_s: tuple[Fraction, Fraction], zero_s: Fraction | None
) -> _Section:
    """A fragmented file that does not say where its fragments are: read it from the front, as YouTube's never are."""
    container = stack.enter_context(_demuxer(stack.enter_context(_guarded(_View(item.file))), item))
    main = _main_stream(container)
    total_s = _length(container)
    if zero_s is None:
        total_s = max(total_s, _decimal(item.duration_s or 0))
        zero_s = (main.start_time or 0) * _tick(main)
        _refuse_past_end(item, wanted_s[0], total_s)
    return _Section(container, zero_s, zero_s + wanted_s[0], zero_s + wanted_s[1], total_s)


def _main_stream(container: InputContainer) -> Stream:
    main = next(iter(container.streams.video or container.streams.audio), None)
    if main is None:
        raise MayWorkLater(Category.MEDIA_ERROR, "the media has neither picture nor sound")
    return main


def _tick(stream: Stream) -> Fraction:
    """The unit of a stream's timestamps, in seconds."""
    if not stream.time_base:
        raise MayWorkLater(Category.MEDIA_ERROR, "the media's timestamps have no unit")
    return stream.time_base


def _keyframe_before(stream: Stream, time_s: Fraction) -> tuple[int, int]:
    """When the keyframe that shows at or before that time is decoded, and when it is shown: two timestamps.

    The demuxer's index is in decoding order; a frame shows as much later as the first one does.
    """
    entries = stream.index_entries
    wanted = math.floor(time_s / _tick(stream))
    if not len(entries):
        return wanted, wanted
    delay = max(0, (stream.start_time or 0) - entries[0].timestamp)
    decoded = entries[max(entries.search_timestamp(wanted - delay), 0)].timestamp
    return decoded, decoded + delay


def _sample_span(stream: Stream, start_s: Fraction, stop_s: Fraction) -> tuple[int, int]:
    """The bytes of one stream's samples from a keyframe to the end of the section; none if it has no index."""
    entries = stream.index_entries
    if not len(entries):
        return 0, 0
    first = max(entries.search_timestamp(math.floor(start_s / _tick(stream))), 0)
    if stream.type == "audio":
        first = max(first - 1, 0)  # the demuxer goes to the sample before the picture's decoding time
    after = entries.search_timestamp(math.ceil(stop_s / _tick(stream)), backward=False, any_frame=True)
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


def _refuse_broken_off(what: str, last_s: Fraction, section: _Section, promised_s: Fraction) -> None:
    """Where there is less than the file or the player promised: a demuxer passes over what it cannot read."""
    if last_s < min(section.stop_s, section.zero_s + promised_s) - Fraction(SHORT_BY_S):
        at_s = float(last_s - section.zero_s)
        raise MayWorkLater(Category.MEDIA_ERROR, f"the {what} breaks off at {at_s:.1f} s of the video")


def _decodable(packets: list[Packet[Any]], section: _Section) -> list[Packet[Any]]:
    """The packets from the last keyframe at or before the section's start; a fragment may have begun at an earlier one.

    Those shown before that keyframe, though stored behind it, are left out: what they are made from is not here.
    """
    keyframes = [place for place, packet in enumerate(packets) if packet.is_keyframe]
    before = [place for place in keyframes if _shown(packets[place]) <= section.start_s]
    if not keyframes:
        return []
    first = before[-1] if before else keyframes[0]
    return [packet for packet in packets[first:] if _shown(packet) >= _shown(packets[first])]


def _without_gap(packets: list[Packet[Any]], stop_s: Fraction) -> list[Packet[Any]]:
    """The packets shown before `stop_s`, those that these are made from, and all that are shown before one of them."""
    last = max((place for place, packet in enumerate(packets) if _shown(packet) < stop_s), default=-1)
    latest_s = max(map(_shown, packets[: last + 1]), default=stop_s)
    return packets[: last + 1] + [packet for packet in packets[last + 1 :] if _shown(packet) < latest_s]


def _reencoded(
    target: OutputContainer, packets: list[Packet[Any]], section: _Section
) -> tuple[Fraction, Fraction, list[Packet[Any]]]:
    """Decode from the keyframe on, encode the frames inside the section: its first time, its end, and its packets."""
    video = section.video
    assert video is not None
    tick = _tick(video)
    frames = _frames(video, packets)
    wanted = (frame for frame in frames if frame.pts is not None and section.start_s <= frame.pts * tick)
    first = next(wanted, None)
    if first is None or first.pts is None or first.pts * tick >= section.stop_s:
        raise _nothing(section)
    encoder = _encoder(target, video, first)
    origin = latest = first.pts
    made: list[Packet[Any]] = []
    for frame in chain([first], wanted):
        if frame.pts is None or frame.pts * tick >= section.stop_s:
            break
        latest = frame.pts
        picture = frame.reformat(encoder.width, encoder.height, "yuv420p", threads=1)
        picture.pts, picture.time_base = latest - origin, tick
        picture.pict_type = PictureType.NONE  # else the encoder would repeat the source's choice of keyframes
        made += encoder.encode(picture)
    made += encoder.encode(None)
    return origin * tick, latest * tick + _frame_time(video), made


def _frames(video: VideoStream, packets: Iterable[Packet[Any]]) -> Iterator[VideoFrame]:
    for packet in packets:
        yield from video.decode(packet)
    yield from video.decode(None)


def _encoder(target: OutputContainer, video: VideoStream, first: VideoFrame) -> VideoStream:
    encoder = target.add_stream("libx264", rate=video.average_rate or video.guessed_rate, options=ENCODER)
    context, source = encoder.codec_context, video.codec_context
    context.width, context.height = first.width & ~1, first.height & ~1  # 4:2:0 has no odd sizes
    context.pix_fmt = "yuv420p"
    context.time_base = _tick(video)
    context.thread_count = 1
    if source.sample_aspect_ratio:
        context.sample_aspect_ratio = source.sample_aspect_ratio
    for name in ("color_range", "color_primaries", "color_trc", "colorspace"):
        setattr(context, name, getattr(source, name))
    if first.rotation:
        encoder.set_display_rotation(first.rotation)
    return encoder


def _copied(
    target: OutputContainer, packets: list[Packet[Any]], section: _Section
) -> tuple[Fraction, Fraction, list[Packet[Any]]]:
    """The packets as they are, with the keyframe in front at time 0."""
    video, kept = section.video, _without_gap(packets, section.stop_s)
    if not kept or video is None:
        raise _nothing(section)
    first_s, last_s = _shown(kept[0]), max(map(_shown, kept))
    _rebase(kept, kept[0].pts or 0, target.add_stream_from_template(video))
    return first_s, last_s + _frame_time(video), kept


def _sound(
    target: OutputContainer, section: _Section, packets: Iterable[Packet[Any]], first_s: Fraction
) -> list[Packet[Any]]:
    """The sound from the first frame on. AAC is copied; what mp4 readers may not know is encoded as AAC."""
    audio = section.audio
    assert audio is not None
    tick = _tick(audio)
    inside = [p for p in packets if p.pts is not None and first_s <= p.pts * tick < section.stop_s]
    if not inside:
        return []
    origin = math.floor(first_s / tick)
    if audio.codec_context.name == "aac":
        _rebase(inside, origin, target.add_stream_from_template(audio))
        return inside
    rate = audio.codec_context.sample_rate
    encoder = target.add_stream("aac", rate=rate)
    encoder.codec_context.layout = audio.codec_context.layout
    encoder.codec_context.thread_count = 1
    resampler = AudioResampler(format="fltp", layout=encoder.codec_context.layout, rate=rate, frame_size=1024)
    made: list[Packet[Any]] = []
    for packet in [*inside, None]:
        for frame in audio.decode(packet):
            frame.pts = None if frame.pts is None else frame.pts - origin
            made += [out for piece in resampler.resample(frame) for out in encoder.encode(piece)]
    made += [out for piece in resampler.resample(None) for out in encoder.encode(piece)]
    return made + encoder.encode(None)


def _rebase(packets: Iterable[Packet[Any]], origin: int, stream: VideoStream | AudioStream) -> None:
    """Move packets to another stream, with `origin` at time 0."""
    for packet in packets:
        if packet.pts is not None:
            packet.pts -= origin
        if packet.dts is not None:
            packet.dts -= origin
        packet.stream = stream


def _nothing(section: _Section) -> ClipError:
    """Why not one frame was found."""
    if section.start_s - section.zero_s >= section.total_s - Fraction(SHORT_BY_S):
        return Gone(Category.PAST_END, f"the video has no frame after {float(section.start_s - section.zero_s):g} s")
    return MayWorkLater(Category.MEDIA_ERROR, "no frame of the section could be read")


def _copy_streams(container: InputContainer, target: OutputContainer) -> Iterator[Packet[Any]]:
    """The packets of a file's picture and sound, each already addressed to its new stream."""
    streams = [*container.streams.video[:1], *container.streams.audio[:1]]
    places = {stream.index: target.add_stream_from_template(stream) for stream in streams}

    def packets() -> Iterator[Packet[Any]]:
        for packet in _demuxed(container, *streams):
            if packet.dts is not None and packet.stream.index in places:
                packet.stream = places[packet.stream.index]
                yield packet

    return packets()


def _first_frame(container: InputContainer, stream: Stream) -> object:
    """None where not one can be decoded."""
    return next((frame for packet in _demuxed(container, stream) for frame in packet.decode()), None)


def _demuxed(container: InputContainer, *streams: Stream) -> Iterator[Packet[Any]]:
    """The packets of some streams. PyAV's own iterator leaks if it is dropped before its end; this way it is closed."""
    yield from container.demux(*streams)


def _decode_time(packet: Packet[Any]) -> Fraction:
    return (packet.dts or 0) * packet.time_base


def _decimal(seconds: float) -> Fraction:
    """The number that was written down: a float lies beside it, perhaps on the other side of a frame."""
    return Fraction(seconds).limit_denominator(1_000_000)


def _shown(packet: Packet[Any]) -> Fraction:
    return (packet.pts or 0) * packet.time_base


def _frame_time(video: VideoStream) -> Fraction:
    rate = video.average_rate or video.guessed_rate
    return 1 / rate if rate else Fraction(0)


def _length(container: InputContainer) -> Fraction:
    """How long the video is (or the sound, where there is only that), in seconds."""
    for stream in (*container.streams.video, *container.streams.audio):
        if stream.duration and stream.time_base:
            return stream.duration * stream.time_base
    return Fraction(container.duration or 0, av.time_base)


class _View(io.RawIOBase):
    """What the demuxer sees of a remote file: `head`, then the file's bytes from `start` to `stop`.

    A failed read looks like the end of the file to it, since FFmpeg cannot carry our errors; `error` keeps the first.
    """

    def __init__(self, file: RangeFile, head: bytes = b"", start: int = 0, stop: int | None = None) -> None:
        super().__init__()
        self.error: ClipError | None = None
        self.at_hand_only = False
        self._file = file
        self._head = head
        self._start = start
        self._stop = stop
        self._position = 0

    def readinto(self, buffer: WriteableBuffer) -> int:
        if self.error:
            return 0
        view = memoryview(buffer).cast("B")
        if self._position < len(self._head):
            piece = self._head[self._position : self._position + len(view)]
            view[: len(piece)] = piece
            self._position += len(piece)
            return len(piece)
        place = self._start + self._position - len(self._head)
        if self._stop is not None:
            view = view[: max(0, self._stop - place)]
        if self.at_hand_only and not self._file.at_hand(place):
            return 0
        try:
            self._file.seek(place)
            count = self._file.readinto(view)
        except ClipError as error:
            self.error = error
            return 0
        self._position += count
        return count

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position}.get(whence)
        self._position = max(0, offset + (self._size() if base is None else base))
        return self._position

    def _size(self) -> int:
        try:
            stop = self._file.size if self._stop is None else self._stop
        except ClipError as error:
            self.error = self.error or error
            stop = self._start
        return len(self._head) + stop - self._start

    def tell(self) -> int:
        return self._position

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True


@contextmanager
def _guarded(view: _View) -> Iterator[_View]:
    """Raise what stopped the view from reading, rather than what the demuxer made of it."""
    try:
        with _translated():
            yield view
    except ClipError as error:
        raise view.error or error from None
    if view.error:
        raise view.error


@contextmanager
def _translated() -> Iterator[None]:
    """FFmpeg's errors end here, about what was read; about what is written, in `_written`."""
    try:
        yield
    except av.error.FFmpegError as error:
        raise MayWorkLater(Category.MEDIA_ERROR, f"the media cannot be read: {error.strerror}") from error
    except (ValueError, ArithmeticError, LookupError, struct.error) as error:  # PyAV's and ours, over a header's claims
        raise MayWorkLater(Category.MEDIA_ERROR, f"the media makes no sense: {error}") from error


@contextmanager
def _written() -> Iterator[None]:
    """A full disk stays an OSError; that FFmpeg does not want to write something is the media's fault."""
    try:
        yield
    except av.error.FFmpegError as error:
        if error.errno in _WRITE_FAULTS:
            raise OSError(error.errno, error.strerror) from error
        raise MayWorkLater(Category.MEDIA_ERROR, f"the media does not fit into mp4: {error.strerror}") from error


@contextmanager
def _demuxer(view: _View, item: Input, *, frugal: bool = False) -> Iterator[InputContainer]:
    """Open hostile data: one format, few codecs, no address inside it followed, one thread.

    `frugal`: FFmpeg looks at the first frames when it opens a file, though an mp4's header says all; where they are not
    at hand, that look finds nothing.
    """
    form = "mov" if item.container == "mp4" else "matroska"
    options = {
        "format_whitelist": "mov" if form == "mov" else "matroska,webm",
        "protocol_whitelist": "none",
        "codec_whitelist": ",".join(DECODERS),
    }
    view.at_hand_only = frugal and form == "mov"
    with av.open(view, "r", format=form, options=options, buffer_size=1 << 14) as container:
        view.at_hand_only = False
        for stream in (*container.streams.video, *container.streams.audio):
            # whatever PyAV's types say, there is no context where FFmpeg knows no decoder
            if stream.codec_context is None or stream.codec_context.codec.name not in DECODERS:
                raise MayWorkLater(Category.MEDIA_ERROR, f"the {stream.type} is of an unknown kind")
            stream.codec_context.thread_count = 1
        yield container


@contextmanager
def _muxer(path: Path) -> Iterator[OutputContainer]:
    with _written():
        container = av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"})
    try:
        yield container
    except BaseException:
        with suppress(av.error.FFmpegError):
            container.close()
        raise
    with _written():
        container.close()


def _mux(target: OutputContainer, packets: Iterable[Packet[Any]]) -> None:
    for packet in packets:
        with _written():
            target.mux(packet)
