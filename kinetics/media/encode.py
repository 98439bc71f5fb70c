"""Makes a clip's video packets from a section's: transcodes or copies them (smart_cut.py combines both)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, pairwise
from typing import Any

from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType, VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from kinetics.errors import ClipError, Gone, MayWorkLater
from kinetics.media.container import add_copy
from kinetics.media.remote_media import MAX_SHORTFALL_S
from kinetics.media.resample import chosen_frames, output_rate, output_size
from kinetics.media.section import Section
from kinetics.media.times import MAX_FRAME_S, decode_time, frame_time, presentation_time, tick_of
from kinetics.records import AS_IN_SOURCE, Category, PictureSettings

ENCODER = {"preset": "superfast", "crf": "22"}
"""Options of x264. Compared with veryfast at crf 20, 10 s of 360p take 0.40 s instead of 0.55 and reach 44.4 dB instead
of 42.0, in 1.5 times the bytes: about the size of the source."""

SCALER = "AREA"
"""FFmpeg's way to make pictures smaller. Its bicubic one takes twice as long, and the results have an SSIM of 0.997."""


@dataclass(frozen=True, slots=True)
class VideoPackets:
    """A clip's video packets; when its first and its last frame begin, in seconds on the source's clock."""

    packets: list[Packet[Any]]
    first_s: Fraction
    last_s: Fraction


PacketMaker = Callable[[OutputContainer, "list[Packet[Any]]", Section], VideoPackets]
"""Makes a clip's video packets, for a new stream of the output file, with the first frame at time 0.

The input packets are in decoding order, from a keyframe at or before the section's start on.
"""


def transcode(
    target: OutputContainer, packets: list[Packet[Any]], section: Section, settings: PictureSettings = AS_IN_SOURCE
) -> VideoPackets:
    """Decode and encode the frames that show inside the section, all of them or those that the settings choose.

    A PacketMaker.
    """
    video = video_stream(section)
    start, stop = section_ticks(section)
    wanted = (frame for frame in decoded_frames(video, packets) if frame.pts is not None and start <= frame.pts)
    first = next(wanted, None)
    if first is None or first.pts is None or first.pts >= stop:
        raise no_frames_error(section)
    tick, rate = tick_of(video), output_rate(settings, video)
    times = sorted(pts_of(packet) for packet in packets if start <= pts_of(packet) < stop)
    end = min(stop, math.ceil(section.reach_s / tick))
    is_slow = not rate and any((following - pts) * tick > MAX_FRAME_S for pts, following in pairwise([*times, end]))
    # a track in mp4 ends with the frame that is decoded last; with reordering, that is not the last one to be held
    options = ENCODER | {"bf": "0"} if is_slow else ENCODER
    encoder = target.add_stream("libx264", rate=rate or video.average_rate or video.guessed_rate, options=options)
    context = encoder.codec_context
    match_source(context, video, first)
    context.width, context.height = output_size(settings, context.width, context.height)
    if settings.keyframes:
        context.gop_size = settings.keyframes
    if first.rotation:
        encoder.set_display_rotation(first.rotation)
    origin = latest = first.pts
    numbers = chosen_frames(times, end, tick, rate) if rate else {}
    if rate:
        context.time_base = 1 / rate
    scaler = VideoReformatter()
    encoded: list[Packet[Any]] = []
    for frame in chain([first], wanted):
        if frame.pts is None or frame.pts >= stop:
            break
        latest = frame.pts
        for pts in numbers.get(latest, ()) if rate else (latest - origin,):
            encoded += encoder.encode(encoder_frame(frame, context, pts, scaler))
    encoded += encoder.encode(None)
    if is_slow:
        encoded[-1].duration = max(1, end - latest)
    return VideoPackets(encoded, origin * tick, latest * tick)


def stream_copy(target: OutputContainer, packets: list[Packet[Any]], section: Section) -> VideoPackets:
    """Copy the packets from the first keyframe on, with all that show before one of them. A PacketMaker."""
    video, (_, stop) = video_stream(section), section_ticks(section)
    last = max((index for index, packet in enumerate(packets) if pts_of(packet) < stop), default=-1)
    latest = max(map(pts_of, packets[: last + 1]), default=stop)
    kept = packets[: last + 1] + [packet for packet in packets[last + 1 :] if pts_of(packet) < latest]
    if not kept:
        raise no_frames_error(section)
    tick, first, latest = tick_of(video), pts_of(kept[0]), max(map(pts_of, kept))
    rebase(kept, first, add_copy(target, video))
    return VideoPackets(kept, first * tick, latest * tick)


def begin_with_shown_frame(packets: list[Packet[Any]], section: Section) -> None:
    """Move the frame that is showing when the section starts to that time, unless the next one begins within a frame.

    Where none is showing, since the video's first frame begins later, that one is moved. A frame that is moved is
    decoded later too, as far as the order allows: the track in mp4 begins with the first decoding time.
    """
    video, (start, _) = video_stream(section), section_ticks(section)
    later = [packet for packet in packets if pts_of(packet) > start]
    shown = max((packet for packet in packets if pts_of(packet) <= start), key=pts_of, default=None)
    shown = shown or min(later, key=pts_of)
    next_s = min(map(presentation_time, later), default=section.reach_s)
    if next_s - start * tick_of(video) > frame_time(video):
        place = packets.index(shown)
        latest = packets[place + 1].dts if place + 1 < len(packets) else None
        moved = (shown.dts or 0) + start - pts_of(shown)
        shown.dts = moved if latest is None else min(moved, latest - 1)
        shown.pts = start


def hold_last_frame(video: VideoPackets, until_s: Fraction, frame_s: Fraction) -> None:
    """Let the last frame of a clip show until a time on the source's clock, unless it does so within a frame.

    A track in mp4 lasts from the first packet's decoding time to the end of the last one. Where that has no duration,
    FFmpeg takes the average one.
    """
    first, last = video.packets[0], video.packets[-1]
    stored_s = decode_time(last) - decode_time(first)
    length_s = until_s - video.first_s
    last_s = last.duration * last.time_base if last.duration else frame_s
    if abs(stored_s + last_s - length_s) > frame_s:
        last.duration = max(1, math.floor((length_s - stored_s) / last.time_base))


def decoded_frames(video: VideoStream, packets: Iterable[Packet[Any]]) -> Iterator[VideoFrame]:
    """Yield the frames of these packets, in the order in which they show; the decoder is reset first."""
    video.codec_context.flush_buffers()
    for packet in packets:
        yield from video.decode(packet)
    yield from video.decode(None)


def match_source(encoder: VideoCodecContext, video: VideoStream, first: VideoFrame) -> None:
    """Give an encoder the properties of a video: picture size, aspect ratio, colours and time base."""
    source = video.codec_context
    encoder.width, encoder.height = first.width & ~1, first.height & ~1  # 4:2:0 has no odd sizes
    encoder.pix_fmt = "yuv420p"
    encoder.time_base = tick_of(video)
    encoder.thread_count = 1
    if source.sample_aspect_ratio:
        encoder.sample_aspect_ratio = source.sample_aspect_ratio
    for name in ("color_range", "color_primaries", "color_trc", "colorspace"):
        setattr(encoder, name, getattr(source, name))


def encoder_frame(
    frame: VideoFrame, encoder: VideoCodecContext, pts: int, scaler: VideoReformatter | None = None
) -> VideoFrame:
    """Return a decoded frame in the encoder's format, with a time in the encoder's ticks.

    A `scaler` that is used for all frames of a clip is set up only once.
    """
    scaler, size = scaler or VideoReformatter(), (encoder.width, encoder.height)
    picture = scaler.reformat(frame, *size, "yuv420p", interpolation=SCALER, threads=1)
    picture.pts, picture.time_base = pts, encoder.time_base
    picture.pict_type = PictureType.NONE  # otherwise the encoder repeats the source's choice of keyframes
    return picture


def rebase(packets: Iterable[Packet[Any]], origin: int, stream: VideoStream | AudioStream) -> None:
    """Move packets to another stream, with `origin`, in ticks, at time 0."""
    for packet in packets:
        if packet.pts is not None:
            packet.pts -= origin
        if packet.dts is not None:
            packet.dts -= origin
        packet.stream = stream


def video_stream(section: Section) -> VideoStream:
    """Return the section's video stream. Raises MayWorkLater if it has none."""
    if section.video is None:
        raise MayWorkLater(Category.MEDIA_ERROR, "the media has no picture")
    return section.video


def section_ticks(section: Section) -> tuple[int, int]:
    """Return the section's first timestamp, and the first one after it, in ticks of its video."""
    tick = tick_of(video_stream(section))
    return math.ceil(section.start_s / tick), math.ceil(section.stop_s / tick)


def pts_of(packet: Packet[Any]) -> int:
    """Return a packet's presentation time, in its stream's ticks."""
    return packet.pts or 0


def no_frames_error(section: Section) -> ClipError:
    """Return the error for a section in which no frame was found."""
    if section.start_s - section.zero_s >= section.promised_s - Fraction(MAX_SHORTFALL_S):
        return Gone(Category.PAST_END, f"the video has no frame after {float(section.start_s - section.zero_s):g} s")
    return MayWorkLater(Category.MEDIA_ERROR, "no frame of the section could be read")
