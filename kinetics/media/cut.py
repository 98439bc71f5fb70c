"""Cuts a section out of a remote file into a clip, and checks that the clip plays.

Times are seconds from the first frame of the video (some files begin at another timestamp than zero). Timestamps are
compared as the integers that the file has, so that no rounding moves a cut by a frame.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from heapq import merge
from pathlib import Path
from typing import Any

from av.audio.resampler import AudioResampler
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import Stream

from kinetics.errors import MayWorkLater
from kinetics.media.container import RemoteView, add_copy, demux, demuxer, mux, muxer, open_file, view_errors
from kinetics.media.encode import (
    PacketMaker,
    VideoPackets,
    begin_with_shown_frame,
    hold_last_frame,
    pts_of,
    rebase,
    section_ticks,
    stream_copy,
    transcode,
    video_stream,
)
from kinetics.media.open_section import find_fragments, open_section, prefetch_sound
from kinetics.media.remote_media import MAX_SHORTFALL_S, RemoteMedia
from kinetics.media.resample import needs_change
from kinetics.media.section import Section, require_complete
from kinetics.media.smart_cut import smart_cut
from kinetics.media.times import Times, decode_time, duration_of, frame_time, presentation_time, tick_of, to_fraction
from kinetics.records import AS_IN_SOURCE, Category, PictureSettings

REORDER_S = Fraction(1, 2)
"""Seconds that decoding order and presentation order may lie apart. If the keyframe stored before the start shows after
it, the section is read from this much earlier; with frames further apart, a clip would begin late. The same holds for
the end."""
MAX_OPENINGS = 3
"""How often a section is opened, each time with more around it. With fewer, a clip of some odd file would begin late;
with more, a damaged file costs more requests."""
LEAD_OUT_S = Fraction(3, 20)
"""Seconds beyond its end that a stream copy reads, for frames that are stored later but show before one of its frames;
too few would lose such frames, more would cost bytes."""


@dataclass(frozen=True, slots=True)
class CutResult:
    """The facts of a finished clip; `offset_s` is its first frame's time minus the requested start."""

    offset_s: float
    duration_s: float
    frames: int
    height: int
    sound: bool


def cut_exact(
    inputs: Sequence[RemoteMedia],
    start_s: float,
    end_s: float,
    out: Path,
    settings: PictureSettings = AS_IN_SOURCE,
) -> CutResult:
    """Write the section to `out`, transcoded: its first frame is the first one at or after `start_s`.

    `inputs` is one file with everything, or the video and its sound. Raises Gone (the video ends before the section),
    MayWorkLater (the media is damaged or incomplete) and OSError (`out` cannot be written).
    """
    return _cut(inputs, start_s, end_s, out, partial(transcode, settings=settings))


def cut_smart(
    inputs: Sequence[RemoteMedia],
    start_s: float,
    end_s: float,
    out: Path,
    settings: PictureSettings = AS_IN_SOURCE,
) -> CutResult:
    """Write the frames that `cut_exact` writes, but transcode only what cannot be copied. Otherwise as `cut_exact`."""

    def make(target: OutputContainer, packets: list[Packet[Any]], section: Section) -> VideoPackets:
        if needs_change(settings, video_stream(section), packets):
            return transcode(target, packets, section, settings)
        return smart_cut(target, packets, section)

    return _cut(inputs, start_s, end_s, out, make)


def cut_keyframe(inputs: Sequence[RemoteMedia], start_s: float, end_s: float, out: Path) -> CutResult:
    """Copy the section to `out` from the keyframe at or before `start_s` on. Otherwise as `cut_exact`.

    No edit list hides the frames before `start_s`: ffmpeg would honour it, decord and torchcodec would not.
    """
    return _cut(inputs, start_s, end_s, out, stream_copy)


def copy_whole(inputs: Sequence[RemoteMedia], out: Path) -> CutResult:
    """Copy the complete video with its sound to `out`. Raises MayWorkLater and OSError, as `cut_exact` does."""
    with ExitStack() as stack:
        views = [stack.enter_context(view_errors(RemoteView(media.file))) for media in inputs]
        containers = [
            stack.enter_context(demuxer(view, media.container)) for view, media in zip(views, inputs, strict=True)
        ]
        target = stack.enter_context(muxer(out))
        copies = [_copy_streams(container, target) for container in containers]
        mux(target, merge(*copies, key=decode_time))
        durations_s = [duration_of(container) for container in containers]
        expected_s = durations_s[0] or max(durations_s)
    result = probe(out, 0.0)
    if result.duration_s < expected_s - MAX_SHORTFALL_S:
        raise MayWorkLater(Category.MEDIA_ERROR, f"the video breaks off after {result.duration_s:.1f} s")
    return result


def probe(path: Path, offset_s: float) -> CutResult:
    """Decode the first frame and the first sound of a finished file, and return its facts.

    Raises MayWorkLater if it does not play, or is shorter than its header claims.
    """
    if not path.exists():  # FFmpeg makes no file for media without a single packet
        raise MayWorkLater(Category.MEDIA_ERROR, "the media has no frames")
    with open_file(path) as container:
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
        return CutResult(
            offset_s=offset_s,
            duration_s=float(video.duration * video.time_base),
            frames=video.frames,
            height=video.height,
            sound=bool(container.streams.audio),
        )


def _cut(inputs: Sequence[RemoteMedia], start_s: float, end_s: float, out: Path, make: PacketMaker) -> CutResult:
    """Find the section, have its video packets made, add its sound, write both and check the result."""
    wanted_s = to_fraction(start_s), to_fraction(end_s)
    with ExitStack() as stack:
        sound_fetch = _prefetch_sound(stack, inputs, wanted_s, from_keyframe=make is stream_copy)
        section, packets, sounds = _read_section(
            stack, inputs, wanted_s, LEAD_OUT_S if make is stream_copy else Fraction(0)
        )
        if packets and make is not stream_copy:
            begin_with_shown_frame(packets, section)
        begins_s = sorted(map(presentation_time, packets))
        target = stack.enter_context(muxer(out))
        video = make(target, packets, section)
        end_picture(video, begins_s, section)
        sound = section
        sound_s = video.first_s - section.zero_s, section.stop_s - section.zero_s
        if len(inputs) > 1:
            if sound_fetch:
                sound_fetch.result()
            sound = open_section(stack, inputs[1], sound_s, section.zero_s)
            _, sounds = sound.packets(with_sound=True)
            require_complete("sound", max(map(presentation_time, sounds), default=sound.start_s), sound)
        audio = sound_packets(target, sound, sounds, video.first_s) if sound.audio else []
        mux(target, merge(video.packets, audio, key=decode_time))
    return probe(out, float(video.first_s - section.start_s))


def end_picture(video: VideoPackets, begins_s: Sequence[Fraction], section: Section) -> None:
    """Hold a clip's last frame as long as it shows in the source, up to the section's end, and end the section with it.

    `begins_s` are the times of the source's frames, in order. Raises MayWorkLater if the picture is not complete.
    """
    frame_s = frame_time(video_stream(section))
    following = bisect_right(begins_s, video.last_s)
    end_s = begins_s[following] if following < len(begins_s) else section.reach_s
    if end_s <= video.last_s:  # a webm says no durations
        end_s = video.last_s + frame_s
    require_complete("picture", end_s, section)
    if video.last_s < section.stop_s:  # not so for a stream copy that needs later frames
        hold_last_frame(video, min(end_s, section.stop_s), frame_s)
    if end_s < section.stop_s - frame_s:
        section.stop_s = end_s


def _prefetch_sound(
    stack: ExitStack, inputs: Sequence[RemoteMedia], wanted_s: Times, *, from_keyframe: bool
) -> Future[None] | None:
    """Fetch the sound in a thread while the picture is fetched, if they are separate files that list fragments."""
    if len(inputs) < 2 or (fragments := find_fragments(inputs[0], wanted_s)) is None:
        return None
    begin_s = fragments.begins_s if from_keyframe else wanted_s[0]
    thread = stack.enter_context(ThreadPoolExecutor(1))
    return thread.submit(prefetch_sound, inputs[1], (begin_s, wanted_s[1]), fragments.zero_s)


def _read_section(
    stack: ExitStack, inputs: Sequence[RemoteMedia], wanted_s: Times, lead_out_s: Fraction
) -> tuple[Section, list[Packet[Any]], list[Packet[Any]]]:
    """Open a section; return its video packets from the last keyframe at or before its start on, and its sound packets.

    `lead_out_s` is how much is read beyond the end, for a stream copy (see LEAD_OUT_S). The section is opened again
    with more around it if the keyframe stored before the start shows after it, or frames before the end are stored
    after it, as in an open GOP, or if a fragment begins with a gap.
    """
    start_s, stop_s = wanted_s
    lead_in_s = Fraction(0)
    for _ in range(MAX_OPENINGS):
        section = open_section(
            stack, inputs[0], (start_s - lead_in_s, stop_s + lead_out_s), cached_only_probe=not lead_in_s
        )
        video_stream(section)
        pictures, sounds = section.packets(with_sound=len(inputs) == 1)
        section.start_s += lead_in_s
        section.stop_s -= lead_out_s
        pictures = _decodable(pictures, section_ticks(section)[0])
        is_late = not pictures or presentation_time(pictures[0]) > section.start_s
        end_s = section.zero_s + section.total_s
        is_short = section.reach_s < min(section.stop_s, end_s) and section.read_s[1] < end_s
        if is_late and lead_in_s < start_s:
            lead_in_s = min(start_s, section.start_s - section.read_s[0] + REORDER_S)
        elif not is_short:
            break
        if is_short:
            lead_out_s = section.read_s[1] - section.stop_s + REORDER_S
    return section, pictures, sounds


def _decodable(packets: list[Packet[Any]], start: int) -> list[Packet[Any]]:
    """Return the packets from the last keyframe at or before the section's start on; a fragment may begin earlier.

    Those stored after that keyframe that show before it are left out: the frames they refer to are missing.
    """
    keyframes = [index for index, packet in enumerate(packets) if packet.is_keyframe]
    before = [index for index in keyframes if pts_of(packets[index]) <= start]
    if not keyframes:
        return []
    first = before[-1] if before else keyframes[0]
    return [packet for packet in packets[first:] if pts_of(packet) >= pts_of(packets[first])]


def sound_packets(
    target: OutputContainer, section: Section, packets: Iterable[Packet[Any]], first_s: Fraction
) -> list[Packet[Any]]:
    """Return the sound packets from the first frame on. AAC is copied; other codecs become AAC, for all mp4 readers."""
    audio = section.audio
    assert audio is not None
    tick = tick_of(audio)
    first, stop = math.ceil(first_s / tick), math.ceil(section.stop_s / tick)
    inside = [packet for packet in packets if packet.pts is not None and first <= packet.pts < stop]
    if not inside:
        return []
    origin = math.floor(first_s / tick)
    if audio.codec_context.name == "aac":
        rebase(inside, origin, add_copy(target, audio))
        return inside
    rate = audio.codec_context.sample_rate
    encoder = target.add_stream("aac", rate=rate)
    encoder.codec_context.layout = audio.codec_context.layout
    encoder.codec_context.thread_count = 1
    resampler = AudioResampler(format="fltp", layout=encoder.codec_context.layout, rate=rate, frame_size=1024)
    encoded: list[Packet[Any]] = []
    for packet in [*inside, None]:
        for frame in audio.decode(packet):
            frame.pts = None if frame.pts is None else frame.pts - origin
            encoded += [out for piece in resampler.resample(frame) for out in encoder.encode(piece)]
    encoded += [out for piece in resampler.resample(None) for out in encoder.encode(piece)]
    return encoded + encoder.encode(None)


def _copy_streams(container: InputContainer, target: OutputContainer) -> Iterator[Packet[Any]]:
    """Return the packets of a file's picture and sound, each assigned to its new stream of `target`."""
    streams = [*container.streams.video[:1], *container.streams.audio[:1]]
    copies = {stream.index: add_copy(target, stream) for stream in streams}

    def packets() -> Iterator[Packet[Any]]:
        for packet in demux(container, *streams):
            if packet.dts is not None and packet.stream.index in copies:
                packet.stream = copies[packet.stream.index]
                yield packet

    return packets()


def _first_frame(container: InputContainer, stream: Stream) -> object:
    """Return the first frame of a stream, decoded; None if there is none."""
    container.seek(0)  # the stream before may have been read to the file's end
    return next((frame for packet in demux(container, stream) for frame in packet.decode()), None)
