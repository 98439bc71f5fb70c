"""Makes the picture of a clip on disk as the settings say: smaller, at another rate, with more keyframes."""

from __future__ import annotations

from fractions import Fraction
from heapq import merge
from pathlib import Path

import av

from kinetics.errors import MayWorkLater
from kinetics.media.check import read_facts
from kinetics.media.container import mux, muxer, open_file
from kinetics.media.cut import end_picture, sound_packets
from kinetics.media.encode import transcode, video_stream
from kinetics.media.resample import needs_change
from kinetics.media.section import Section
from kinetics.media.times import decode_time, presentation_time, tick_of
from kinetics.records import Category, Facts, PictureSettings


def resize(path: Path, out: Path, settings: PictureSettings) -> bool:
    """Write a clip to `out` as the settings say; returns False, and writes nothing, if it is like that already.

    Its sound is copied. Raises MayWorkLater if the clip is damaged, OSError if it cannot be read or `out` not written.
    """
    frames = read_facts(path).frames
    with open_file(path) as container:
        zero_s = (container.streams.video[0].start_time or 0) * tick_of(container.streams.video[0])
        total_s = Fraction(container.duration or 0, av.time_base)
        whole_s = zero_s, zero_s + total_s
        section = Section(container, zero_s, *whole_s, total_s, total_s, whole_s)
        packets, sounds = section.packets(with_sound=True)
        if not needs_change(settings, video_stream(section), packets):
            return False
        begins_s = sorted(map(presentation_time, packets))
        with muxer(out) as target:
            video = transcode(target, packets, section, settings)
            end_picture(video, begins_s, section)
            audio = sound_packets(target, section, sounds, video.first_s) if section.audio else []
            mux(target, merge(video.packets, audio, key=decode_time))
    made = read_facts(out)
    if not settings.fps and made.frames != frames:
        raise MayWorkLater(Category.MEDIA_ERROR, f"{made.frames} of its {frames} frames play")
    return True


def resize_in_place(path: Path, settings: PictureSettings) -> Facts:
    """Make a clip as the settings say before it gets its final name, and return its facts. Raises as `resize` does."""
    resized = path.with_name(f"resized-{path.name}")
    try:
        if resize(path, resized, settings):
            resized.replace(path)
    finally:
        resized.unlink(missing_ok=True)
    return read_facts(path)
