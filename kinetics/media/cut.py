"""Everything PyAV: find a section in a remote file, cut it out, see that the result plays.

Times are seconds from the first frame of the video (some files begin at another timestamp than zero). Timestamps are
compared as the integers that the file has, so that no rounding moves a cut by a frame.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from heapq import merge
from pathlib import Path
from typing import Any

import av
from av.audio.resampler import AudioResampler
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import Stream

from kinetics.errors import MayWorkLater
from kinetics.media.container import View, demuxed, demuxer, guarded, mux, muxer, translated
from kinetics.media.encode import Maker, pts_of, rebase, stream_copy, ticks_of, transcode, video_of
from kinetics.media.section import (
    SHORT_BY_S,
    Input,
    Section,
    Times,
    decimal,
    decode_time,
    fetch_sound,
    find_fragments,
    length_of,
    open_section,
    refuse_broken_off,
    shown,
    tick_of,
)
from kinetics.media.smart_cut import smart_cut
from kinetics.records import Category

REORDER_S = Fraction(1, 2)
"""Pictures are stored in another order than they are shown in, but no further apart than this."""
LEAD_OUT_S = Fraction(3, 20)
"""A copy may need to be read that far beyond its end, to take along what is shown before one of its pictures."""


@dataclass(frozen=True, slots=True)
class CutResult:
    """What a finished clip is like; `offset_s` is its first frame's time minus the time asked for."""

    offset_s: float
    duration_s: float
    frames: int
    height: int
    sound: bool


def cut_exact(inputs: Sequence[Input], start_s: float, end_s: float, out: Path) -> CutResult:
    """Write the section to `out`, re-encoded: its first frame is the first one at or after `start_s`.

    `inputs` is one file with everything, or the video and its sound. Raises Gone (the video ends before the section),
    MayWorkLater (what came is not as it should be) and OSError (`out` cannot be written).
    """
    return _cut(inputs, start_s, end_s, out, transcode)


def cut_smart(inputs: Sequence[Input], start_s: float, end_s: float, out: Path) -> CutResult:
    """Write the frames that `cut_exact` writes, but encode only those that cannot be copied. Otherwise the same."""
    return _cut(inputs, start_s, end_s, out, smart_cut)


def cut_keyframe(inputs: Sequence[Input], start_s: float, end_s: float, out: Path) -> CutResult:
    """Write the section to `out` as it is, from the keyframe at or before `start_s`. Otherwise as `cut_exact`.

    No edit list hides the lead-in: ffmpeg would honour it, decord and torchcodec would show other frames.
    """
    return _cut(inputs, start_s, end_s, out, stream_copy)


def copy_whole(inputs: Sequence[Input], out: Path) -> CutResult:
    """Write the whole video with its sound to `out`, as it is. Raises MayWorkLater and OSError."""
    with ExitStack() as stack:
        views = [stack.enter_context(guarded(View(item.file))) for item in inputs]
        containers = [
            stack.enter_context(demuxer(view, item.container)) for view, item in zip(views, inputs, strict=True)
        ]
        target = stack.enter_context(muxer(out))
        copies = [_copy_streams(container, target) for container in containers]
        mux(target, merge(*copies, key=decode_time))
        expected_s = max(length_of(container) for container in containers)
    result = probe(out, 0.0)
    if result.duration_s < expected_s - SHORT_BY_S:
        raise MayWorkLater(Category.MEDIA_ERROR, f"the video breaks off after {result.duration_s:.1f} s")
    return result


def probe(path: Path, offset_s: float) -> CutResult:
    """Open a finished file, decode its first frame and sound, and describe it.

    Raises MayWorkLater if it does not play, or is shorter than its header says.
    """
    with translated(), av.open(str(path), "r", format="mov") as container:
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


def _cut(inputs: Sequence[Input], start_s: float, end_s: float, out: Path, make: Maker) -> CutResult:
    wanted_s = decimal(start_s), decimal(end_s)
    with ExitStack() as stack:
        fetching = _fetch_sound_beside(stack, inputs, wanted_s, from_keyframe=make is stream_copy)
        section, packets, sounds = _packets(stack, inputs, wanted_s, LEAD_OUT_S if make is stream_copy else Fraction(0))
        target = stack.enter_context(muxer(out))
        pictures = make(target, packets, section)
        sound = section
        if len(inputs) > 1:
            if fetching:
                fetching.result()
            sound = open_section(stack, inputs[1], (pictures.first_s - section.zero_s, wanted_s[1]), section.zero_s)
            _, sounds = sound.packets(with_sound=True)
            refuse_broken_off("sound", max(map(shown, sounds), default=sound.start_s), sound, sound.total_s)
        tone = _sound(target, sound, sounds, pictures.first_s) if sound.audio else []
        promised_s = max(section.total_s, decimal((inputs[0].duration_s or 0) - 2 * SHORT_BY_S))
        refuse_broken_off("picture", pictures.end_s, section, promised_s)
        mux(target, merge(pictures.packets, tone, key=decode_time))
    return probe(out, float(pictures.first_s - section.start_s))


def _fetch_sound_beside(
    stack: ExitStack, inputs: Sequence[Input], wanted_s: Times, *, from_keyframe: bool
) -> Future[None] | None:
    """Have the sound fetched by a thread while the picture is, where they are files of their own and list fragments."""
    if len(inputs) < 2 or (fragments := find_fragments(inputs[0], wanted_s)) is None:
        return None
    begin_s = fragments.begins_s if from_keyframe else wanted_s[0]
    thread = stack.enter_context(ThreadPoolExecutor(1))
    return thread.submit(fetch_sound, inputs[1], (begin_s, wanted_s[1]), fragments.zero_s)


def _packets(
    stack: ExitStack, inputs: Sequence[Input], wanted_s: Times, lead_out_s: Fraction
) -> tuple[Section, list[Packet[Any]], list[Packet[Any]]]:
    """Find a section, and its pictures from the last keyframe at or before its start; and its sound, if it is there.

    A copy takes along what is shown before one of its pictures though stored behind the end: `lead_out_s`. Where the
    keyframe that is stored before the start is shown after it, as in an open group of pictures, an earlier one is
    looked for.
    """
    start_s, stop_s = wanted_s
    for lead_in_s in (Fraction(0), min(start_s, REORDER_S)):
        section = open_section(stack, inputs[0], (start_s - lead_in_s, stop_s + lead_out_s), frugal=not lead_in_s)
        video_of(section)
        pictures, sounds = section.packets(with_sound=len(inputs) == 1)
        section.start_s += lead_in_s
        section.stop_s -= lead_out_s
        pictures = _decodable(pictures, ticks_of(section)[0])
        if pictures and shown(pictures[0]) <= section.start_s:
            break
    return section, pictures, sounds


def _decodable(packets: list[Packet[Any]], start: int) -> list[Packet[Any]]:
    """The packets from the last keyframe at or before the section's start; a fragment may have begun at an earlier one.

    Those shown before that keyframe, though stored behind it, are left out: what they are made from is not here.
    """
    keyframes = [place for place, packet in enumerate(packets) if packet.is_keyframe]
    before = [place for place in keyframes if pts_of(packets[place]) <= start]
    if not keyframes:
        return []
    first = before[-1] if before else keyframes[0]
    return [packet for packet in packets[first:] if pts_of(packet) >= pts_of(packets[first])]


def _sound(
    target: OutputContainer, section: Section, packets: Iterable[Packet[Any]], first_s: Fraction
) -> list[Packet[Any]]:
    """The sound from the first frame on. AAC is copied; what mp4 readers may not know is encoded as AAC."""
    audio = section.audio
    assert audio is not None
    tick = tick_of(audio)
    first, stop = math.ceil(first_s / tick), math.ceil(section.stop_s / tick)
    inside = [packet for packet in packets if packet.pts is not None and first <= packet.pts < stop]
    if not inside:
        return []
    origin = math.floor(first_s / tick)
    if audio.codec_context.name == "aac":
        rebase(inside, origin, target.add_stream_from_template(audio))
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


def _copy_streams(container: InputContainer, target: OutputContainer) -> Iterator[Packet[Any]]:
    """The packets of a file's picture and sound, each already addressed to its new stream."""
    streams = [*container.streams.video[:1], *container.streams.audio[:1]]
    places = {stream.index: target.add_stream_from_template(stream) for stream in streams}

    def packets() -> Iterator[Packet[Any]]:
        for packet in demuxed(container, *streams):
            if packet.dts is not None and packet.stream.index in places:
                packet.stream = places[packet.stream.index]
                yield packet

    return packets()


def _first_frame(container: InputContainer, stream: Stream) -> object:
    """None where not one can be decoded."""
    return next((frame for packet in demuxed(container, stream) for frame in packet.decode()), None)
