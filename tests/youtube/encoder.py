"""From a recipe to files: one encode, then one stream copy per shape."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import av
import numpy as np
from av.video.frame import PictureType

from tests.youtube.picture import as_stored, draw

if TYPE_CHECKING:
    from tests.youtube.videos import Video

AUDIO_FRAGMENT_S = 9.75
AAC_SAMPLES = 1024
"""In a packet."""
FRAGMENTED = "default_base_moof+global_sidx+skip_trailer"


def pitch_at(seconds: float) -> float:
    """The frequency, in Hz, of the tone that every video's sound has in that second; its `pitch` comes on top."""
    return 300 + 20 * (int(seconds) % 40)


def make_files(video: Video, folder: Path) -> None:
    """Write every file of the video into the folder, as `both`, `picture` and `sound`."""
    source = folder / ("source.mp4" if video.codec == "h264" else "source.mkv")
    if video.repeats > 1:
        _repeat(video, source)
    else:
        _encode(video, source)
    if video.codec == "h264":
        # Without an edit list the frames that B-frames delay make the first timestamp 1024 ticks instead of 0.
        zero = {"use_editlist": "1" if video.edit_list else "0"}
        _copy(source, folder / "both.mp4", "va", zero | {"movflags": "faststart"})
        fragmented = f"{FRAGMENTED}+{'delay_moov' if video.edit_list else 'empty_moov'}"
        # A fragment begins at the first keyframe after this time: a second keyframe inside a fragment lies before it.
        shortest_us = str(int(video.fragment_s[0] * 0.97 * 1e6))
        split = {"movflags": f"{fragmented}+frag_keyframe", "min_frag_duration": shortest_us}
        _copy(source, folder / "picture.mp4", "v", zero | split)
        if video.sound:
            split = {"movflags": fragmented, "frag_duration": str(int(AUDIO_FRAGMENT_S * 1e6))}
            _copy(source, folder / "sound.mp4", "a", zero | split)
    else:
        front = {"cues_to_front": "1"}
        _copy(source, folder / "picture.webm", "v", front)
        if video.sound:
            _copy(source, folder / "sound.webm", "a", front)
    source.unlink()


def _encode(video: Video, path: Path) -> None:
    with av.open(str(path), "w") as out:
        picture = out.add_stream("libx264" if video.codec == "h264" else "libvpx-vp9", rate=video.fps)
        assert isinstance(picture, av.VideoStream)
        picture.width, picture.height, picture.pix_fmt = video.width, video.height, "yuv420p"
        picture.time_base = picture.codec_context.time_base = video.time_base
        picture.codec_context.thread_count = 1
        picture.options = dict(_x264_options(video) if video.codec == "h264" else _vp9_options())
        if video.rotation:
            picture.set_display_rotation(video.rotation)
        sound = None
        if video.sound:
            sound = out.add_stream("aac" if video.codec == "h264" else "libopus", rate=video.sample_rate)
            assert isinstance(sound, av.AudioStream)
            sound.layout, sound.bit_rate = "stereo", 128_000
        for frame in _frames(video):
            out.mux(picture.encode(frame))
        out.mux(picture.encode(None))
        if sound:
            for samples in _tones(video):
                out.mux(sound.encode(samples))
            out.mux(sound.encode(None))


def _repeat(video: Video, path: Path) -> None:
    """A long video in the time that a short one takes: the same packets again and again, each time later."""
    with av.open(str(video.once.progressive.path)) as given, av.open(str(path), "w") as out:
        copies = {stream.index: out.add_stream_from_template(stream) for stream in given.streams}
        last = dict.fromkeys(copies, -math.inf)
        for turn in range(video.repeats):
            given.seek(0)
            for packet in given.demux():
                if packet.dts is None or packet.pts is None:
                    continue
                index = packet.stream.index
                step = AAC_SAMPLES if packet.stream.type == "audio" else 1  # its packets are not to be divided
                later = round(turn * Fraction(video.once.duration_s) / packet.time_base / step) * step
                packet.dts, packet.pts = packet.dts + later, packet.pts + later
                if packet.dts > last[index]:  # else what the sound's end, or its lead-in, has too much
                    last[index] = packet.dts
                    packet.stream = copies[index]
                    out.mux(packet)


def _x264_options(video: Video) -> dict[str, str]:
    fixed = "keyint=infinite:scenecut=0:b-adapt=0:rc-lookahead=0:sync-lookahead=0:mbtree=0"
    return {
        "preset": "ultrafast",
        "crf": str(video.crf),
        "forced-idr": "1",
        "x264-params": f"{fixed}:bframes={video.bframes}",
    }


def _vp9_options() -> dict[str, str]:
    return {"deadline": "realtime", "cpu-used": "8", "crf": "40", "b": "300k", "g": "9999", "lag-in-frames": "0"}


def _frames(video: Video) -> Iterator[av.VideoFrame]:
    keyframes = set(video.keyframes)
    shown = (video.height, video.width) if video.rotation % 180 else (video.width, video.height)
    grey = np.full((video.height // 2, video.width), 128, dtype=np.uint8)
    for index, time in enumerate(video.frame_times):
        luma = as_stored(draw(index, *shown, moving=video.moving), video.rotation)
        frame = av.VideoFrame.from_ndarray(np.concatenate([luma, grey]), format="yuv420p")
        frame.time_base = video.time_base
        frame.pts = int(time / frame.time_base)
        frame.pict_type = PictureType.I if index in keyframes else PictureType.NONE
        yield frame


def _tones(video: Video) -> Iterator[av.AudioFrame]:
    rate, total = video.sample_rate, round(video.duration_s * video.sample_rate)
    for start in range(0, total, rate):
        time = np.arange(min(rate, total - start)) / rate
        wave = (0.3 * np.sin(2 * np.pi * (pitch_at(start / rate) + video.pitch) * time)).astype(np.float32)
        samples = av.AudioFrame.from_ndarray(np.stack([wave, wave]), format="fltp", layout="stereo")
        samples.sample_rate, samples.time_base, samples.pts = rate, Fraction(1, rate), start
        yield samples


def _copy(source: Path, target: Path, kinds: str, options: dict[str, str]) -> None:
    """Copy the picture ("v"), the sound ("a") or both into another container."""
    with av.open(str(source)) as given, av.open(str(target), "w", options=options) as out:
        chosen = [stream for stream in given.streams if stream.type[0] in kinds]
        copies = {stream.index: out.add_stream_from_template(stream, opaque=True) for stream in chosen}
        for packet in given.demux(chosen):
            if packet.dts is not None:  # the demuxer's last packet is an empty one
                packet.stream = copies[packet.stream.index]
                out.mux(packet)
