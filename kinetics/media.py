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
from contextlib import ExitStack, contextmanager
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
from kinetics.records import Category
from kinetics.remote import RangeFile

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

ENCODER = {"preset": "veryfast", "crf": "20"}
"""x264: 0.63 s and 44.6 dB for 10 s of 360p; slower presets gain little here and cost twice the time."""
SHORT_BY_S = 1.0
"""A section may end that much early: annotations are in whole seconds, and headers round."""
KEYFRAME_SHARE = 0.25
"""How much of a fragment its keyframe takes at most, as a guess at where a part of a fragment ends."""
BOXES_LIMIT = 64
HEADER_LIMIT = 1 << 26
INDEX_LIMIT = 1 << 20

_WRITE_FAULTS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EIO, errno.ENOENT}


@dataclass(frozen=True, slots=True)
class Input:
    """A remote file: a video with its sound, or one of the two alone."""

    file: RangeFile
    container: Literal["mp4", "webm"]
    duration_s: float | None = None
    """What the player said; it only helps to guess how long the header is."""


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
        for packet in merge(*copies, key=_decode_time):
            target.mux(packet)
        expected_s = max(_length(container) for container in containers)
    result = probe(out, 0.0)
    if result.duration_s < expected_s - SHORT_BY_S:
        raise MayWorkLater(Category.MEDIA_ERROR, f"the video breaks off after {result.duration_s:.1f} s")
    return result


def probe(path: Path, offset_s: float) -> Cut:
    """Open a finished file, decode its first frame, and describe it. Raises MayWorkLater if it does not play."""
    with _translated(), av.open(str(path), "r", format="mov") as container:
        if not container.streams.video:
            raise MayWorkLater(Category.MEDIA_ERROR, "the result has no picture")
        video = container.streams.video[0]
        if next(container.decode(video), None) is None or not video.duration or not video.time_base:
            raise MayWorkLater(Category.MEDIA_ERROR, "the result does not play")
        return Cut(
            offset_s=offset_s,
            duration_s=float(video.duration * video.time_base),
            frames=video.frames,
            height=video.height,
            sound=bool(container.streams.audio),
        )


def _cut(inputs: Sequence[Input], start_s: float, end_s: float, out: Path, *, exact: bool) -> Cut:
    wanted_s = Fraction(start_s), Fraction(end_s)
    with ExitStack() as stack:
        section = _find(stack, inputs[0], wanted_s)
        video = section.video
        if video is None:
            raise MayWorkLater(Category.MEDIA_ERROR, "the media has no picture")
        sound = section
        if len(inputs) > 1:
            sound = _find(stack, inputs[1], wanted_s, section.zero_s)
        pictures, sounds = section.packets(with_sound=sound is section)
        target = stack.enter_context(_muxer(out))
        make = _reencoded if exact else _copied
        first_s, last_s, picture = make(target, video, pictures, section)
        if sound is not section:
            _, sounds = sound.packets(with_sound=True)
        tone = _sound(target, sound, sounds, first_s) if sound.audio else []
        if last_s < min(section.stop_s, section.total_s + section.zero_s) - Fraction(SHORT_BY_S):
            raise MayWorkLater(
                Category.MEDIA_ERROR, f"the media breaks off at {float(last_s - section.zero_s):.1f} s of the video"
            )
        for packet in merge(picture, tone, key=_decode_time):
            target.mux(packet)
    return probe(out, float(first_s - section.start_s))


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

    def packets(self, *, with_sound: bool) -> tuple[list[Packet[Any]], list[Packet[Any]]]:
        """The section's packets, in decoding order: of the picture, and of the sound."""
        audio = self.audio if with_sound else None
        streams = [stream for stream in (self.video, audio) if stream]
        found: dict[int, list[Packet[Any]]] = {stream.index: [] for stream in streams}
        running = set(found)
        for packet in self.container.demux(*streams):
            index = packet.stream.index
            if packet.dts is None or index not in running:
                continue
            if _decode_time(packet) < self.stop_s:
                found[index].append(packet)
            if _decode_time(packet) + (packet.duration or 0) * packet.time_base >= self.stop_s:
                packet.stream.discard = Discard.all  # what follows would be read for nothing
                running.discard(index)
                if not running:
                    break
        pictures = found[self.video.index] if self.video else []
        return pictures, found[audio.index] if audio else []


def _find(
    stack: ExitStack, item: Input, wanted_s: tuple[Fraction, Fraction], zero_s: Fraction | None = None
) -> _Section:
    """Open a file at a section, with as few requests as it takes. `zero_s` is the video's, for a file of sound."""
    if item.container == "mp4":
        with _translated():
            index = _index(item)
        if index:
            return _find_fragments(stack, item, index, wanted_s, zero_s)
    return _find_samples(stack, item, wanted_s, zero_s)


def _find_fragments(
    stack: ExitStack, item: Input, index: _Index, wanted_s: tuple[Fraction, Fraction], zero_s: Fraction | None
) -> _Section:
    """A fragmented file (DASH): its header and the fragments that the section touches look like a file of their own."""
    sound = zero_s is not None
    zero_s = index.fragments[0].time_s if zero_s is None else zero_s
    last = index.fragments[-1]
    section_s = (zero_s + wanted_s[0], zero_s + wanted_s[1])
    total_s = last.time_s + last.duration_s - zero_s
    if not sound:
        _refuse_past_end(wanted_s[0], total_s)
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
    stack: ExitStack, item: Input, wanted_s: tuple[Fraction, Fraction], zero_s: Fraction | None
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
            _refuse_past_end(wanted_s[0], total_s)
        section_s = (zero_s + wanted_s[0], zero_s + wanted_s[1])
        decoded, shown = _keyframe_before(main, section_s[0])
        streams = [*container.streams.video[:1], *container.streams.audio[:1]]
        spans = [_sample_span(stream, decoded * _tick(main), section_s[1]) for stream in streams]
    item.file.prefetch(min(first for first, _ in spans), max(stop for _, stop in spans))
    container = stack.enter_context(_demuxer(stack.enter_context(_guarded(_View(item.file))), item, frugal=True))
    container.seek(shown, stream=_main_stream(container))
    return _Section(container, zero_s, *section_s, total_s)


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


def _refuse_past_end(start_s: Fraction, total_s: Fraction) -> None:
    if start_s >= total_s:
        raise Gone(
            Category.PAST_END, f"the video is {float(total_s):.1f} s long, the clip starts at {float(start_s):g} s"
        )


def _reencoded(
    target: OutputContainer, video: VideoStream, packets: Iterable[Packet[Any]], section: _Section
) -> tuple[Fraction, Fraction, list[Packet[Any]]]:
    """Decode from the keyframe on, encode the frames inside the section: its first time, its end, and its packets."""
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
        picture = frame.reformat(encoder.width, encoder.height, "yuv420p")
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
    target: OutputContainer, video: VideoStream, packets: Iterable[Packet[Any]], section: _Section
) -> tuple[Fraction, Fraction, list[Packet[Any]]]:
    """The packets from the keyframe on, as they are, with the keyframe at time 0."""
    tick = _tick(video)
    kept: list[Packet[Any]] = []
    for packet in packets:
        if not kept and not packet.is_keyframe:
            continue
        if kept and packet.pts is not None and kept[0].pts is not None and packet.pts < kept[0].pts:
            continue  # shown before the keyframe, made from frames that are not here
        kept.append(packet)
    if not kept or kept[0].pts is None:
        raise _nothing(section)
    origin = kept[0].pts
    ends = max(packet.pts for packet in kept if packet.pts is not None)
    _rebase(kept, origin, target.add_stream_from_template(video))
    return origin * tick, ends * tick + _frame_time(video), kept


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
        for packet in container.demux(*streams):
            if packet.dts is not None:
                packet.stream = places[packet.stream.index]
                yield packet

    return packets()


def _decode_time(packet: Packet[Any]) -> Fraction:
    return (packet.dts or 0) * packet.time_base


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
    """FFmpeg's errors end here: a full disk stays an OSError, everything else is the media's fault."""
    try:
        yield
    except av.error.FFmpegError as error:
        if error.errno in _WRITE_FAULTS:
            raise OSError(error.errno, error.strerror) from error
        raise MayWorkLater(Category.MEDIA_ERROR, f"the media cannot be read: {error.strerror}") from error
    except (ValueError, ArithmeticError, struct.error) as error:  # PyAV and ours, over numbers that a header claims
        raise MayWorkLater(Category.MEDIA_ERROR, f"the media makes no sense: {error}") from error


@contextmanager
def _demuxer(view: _View, item: Input, *, frugal: bool = False) -> Iterator[InputContainer]:
    """Open hostile data: one format, no address inside it followed, one thread.

    `frugal`: FFmpeg looks at the first frames when it opens a file, though an mp4's header says all; where they are not
    at hand, that look finds nothing.
    """
    form = "mov" if item.container == "mp4" else "matroska"
    options = {"format_whitelist": "mov" if form == "mov" else "matroska,webm", "protocol_whitelist": "none"}
    view.at_hand_only = frugal and form == "mov"
    with av.open(view, "r", format=form, options=options, buffer_size=1 << 14) as container:
        view.at_hand_only = False
        for stream in (*container.streams.video, *container.streams.audio):
            stream.codec_context.thread_count = 1
        yield container


@contextmanager
def _muxer(path: Path) -> Iterator[OutputContainer]:
    with _translated(), av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        yield container


@dataclass(frozen=True, slots=True)
class _Fragment:
    """One entry of a fragment index; times in seconds, sizes and offsets in bytes."""

    time_s: Fraction
    duration_s: Fraction
    offset: int
    size: int

    def part(self, until_s: Fraction, keyframe_share: float) -> int:
        """About how many bytes hold what is shown before `until_s`; a keyframe at the front weighs more."""
        share = float((until_s - self.time_s) / self.duration_s) if self.duration_s else 1.0
        if share >= 1.0:
            return self.size
        return min(self.size, math.ceil(self.size * (share + keyframe_share * (1.0 - share))) + 4096)


@dataclass(frozen=True, slots=True)
class _Index:
    """A fragmented file's initialisation segment, and its fragments."""

    init: bytes
    init_stop: int
    fragments: tuple[_Fragment, ...]


def _index(item: Input) -> _Index | None:
    """Fetch a file's header, whichever shape it has, and read its fragment index if it has one in front."""
    file = item.file
    file.prefetch(0, 4096 + math.ceil(4 * (item.duration_s or 0)))
    moov: tuple[int, int] | None = None
    for kind, start, stop in _boxes(file):
        if kind == b"sidx" and moov and stop - start <= INDEX_LIMIT:
            fragments = _fragments(_read(file, start, stop), stop)
            if fragments:
                return _Index(_read(file, 0, moov[1]), stop, fragments)
        if kind == b"moov":
            moov = start, stop
            if stop - start > HEADER_LIMIT:
                raise MayWorkLater(Category.MEDIA_ERROR, f"the header claims {stop - start:,} bytes")
            file.prefetch(start, stop + 16)
        if kind in (b"moof", b"mdat") and moov:
            break
    if moov is None:
        raise MayWorkLater(Category.MEDIA_ERROR, "this is no mp4 file: it has no moov box")
    return None


def _boxes(file: RangeFile) -> Iterator[tuple[bytes, int, int]]:
    """The top-level boxes of an mp4 file (ISO/IEC 14496-12, 4.2): kind, first byte, end."""
    place = 0
    for _ in range(BOXES_LIMIT):
        if place + 8 > file.size:
            return
        size, kind = struct.unpack(">I4s", _read(file, place, place + 8))
        if size == 1:
            (size,) = struct.unpack(">Q", _read(file, place + 8, place + 16))
        stop = file.size if size == 0 else place + size
        if stop < place + 8 or stop > file.size:
            raise MayWorkLater(Category.MEDIA_ERROR, "this is no mp4 file, or it is cut off")
        yield kind, place, stop
        place = stop


def _fragments(box: bytes, anchor: int) -> tuple[_Fragment, ...]:
    """Read a sidx box (ISO/IEC 14496-12, 8.16.3); empty if it indexes other indices rather than fragments."""
    version = box[8]
    (scale,) = struct.unpack_from(">I", box, 16)
    time, offset = struct.unpack_from(">QQ" if version else ">II", box, 20)
    entries = 40 if version else 32
    (count,) = struct.unpack_from(">H", box, entries - 2)
    if not scale or len(box) < entries + 12 * count:
        raise MayWorkLater(Category.MEDIA_ERROR, "the fragment index makes no sense")
    place = anchor + offset
    found = []
    for number in range(count):
        size, duration, _ = struct.unpack_from(">III", box, entries + 12 * number)
        if size >> 31:
            return ()
        found.append(_Fragment(Fraction(time, scale), Fraction(duration, scale), place, size))
        time, place = time + duration, place + size
    return tuple(found)


def _read(file: RangeFile, start: int, stop: int) -> bytes:
    file.prefetch(start, stop)
    file.seek(start)
    data = b""
    while len(data) < stop - start:
        piece = file.read(stop - start - len(data))
        if not piece:
            raise MayWorkLater(Category.MEDIA_ERROR, "the header is cut off")
        data += piece
    return data
