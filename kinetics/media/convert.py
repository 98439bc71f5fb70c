"""Converts a clip on disk to still pictures, a sound file or a thumbnail.

All raise MayWorkLater if the clip is damaged, and OSError if the machine cannot read it or write the result.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any, Literal, cast

import av
from av.audio.stream import AudioStream
from av.filter import Graph
from av.filter.context import FilterContext
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType, VideoFrame
from av.video.stream import VideoStream

from kinetics.errors import MayWorkLater
from kinetics.media.container import frames_of, mux, muxer, open_file
from kinetics.records import Category

SoundFormat = Literal["wav", "mp3", "flac"]
SOUND_CODECS: dict[SoundFormat, str] = {"wav": "pcm_s16le", "mp3": "libmp3lame", "flac": "flac"}
FilterStep = tuple[str, str]
"""A filter of FFmpeg and its arguments."""
ROTATION_FILTERS: dict[int, list[FilterStep]] = {
    90: [("transpose", "cclock")],
    180: [("hflip", ""), ("vflip", "")],
    270: [("transpose", "clock")],
}
"""The filters that make a picture upright, by its display rotation in degrees."""
FRAME_NAME = "img_{:05d}.jpg"
"""File name of a frame, as MMAction2 and most loaders of raw frames expect it; the first number is 1."""
THUMBNAIL_SIZE = (256, 144)
"""Largest width and height of a thumbnail, in pixels."""
THUMBNAIL_QUALITY = 70
"""JPEG quality of a thumbnail, 1 to 100; thumbnails are embedded in the report, so it decides that file's size."""


def write_frames(
    clip: Path, folder: Path, fps: float | Literal["all"], short_side: int | None = None, quality: int = 90
) -> int:
    """Write frames of a clip as JPEG files, and return how many.

    `fps`: frames a second, chosen by FFmpeg's fps filter, at least one a clip; or "all". The pictures are upright.
    `short_side` is in pixels; the other side follows from the aspect ratio, rounded to an even number. `quality` is 1
    to 100 (best), on libjpeg's scale.
    """
    count, encoder = 0, None
    with open_file(clip) as container:
        video = container.streams.video[0]
        pictures = cast(Iterator[VideoFrame], frames_of(container, video))
        first = next(pictures, None)
        if first is None:
            raise ValueError("it has no frames")
        steps = [
            *_fps_filter(video, fps),
            *ROTATION_FILTERS.get(first.rotation % 360, []),
            *_scale_filter(short_side),
            ("format", "yuvj420p"),
        ]
        graph = Graph()
        _link_filters(graph, graph.add_buffer(template=video), steps, "buffersink")
        for frame in _filtered(graph, chain([first], pictures)):
            assert isinstance(frame, VideoFrame)
            encoder = encoder or _jpeg_encoder(frame, quality)
            frame.pts, frame.time_base, frame.pict_type = count, encoder.time_base, PictureType.NONE
            count += 1
            for packet in encoder.encode(frame):
                (folder / FRAME_NAME.format(count)).write_bytes(bytes(packet))
    return count


def write_sound(clip: Path, out: Path, sound_format: SoundFormat) -> None:
    """Write the sound of a clip, which must have some, from the time of its first frame on."""
    with open_file(clip) as container, muxer(out, sound_format) as target:
        audio = container.streams.audio[0]
        source, rate, layout = audio.codec_context, audio.codec_context.sample_rate, audio.codec_context.layout.name
        if sound_format == "mp3":  # the format's limits
            rate, layout = min(rate, 48_000), "mono" if source.layout.nb_channels == 1 else "stereo"
        stream = cast(AudioStream, target.add_stream(SOUND_CODECS[sound_format], rate=rate))
        stream.codec_context.layout = layout
        formats = stream.codec_context.codec.audio_formats or [source.format]
        graph = Graph()
        wanted = f"sample_fmts={formats[0].name}:sample_rates={rate}:channel_layouts={layout}"
        steps = [("aresample", "async=1:first_pts=0"), ("aformat", wanted)]
        _link_filters(graph, graph.add_abuffer(template=audio), steps, "abuffersink")
        for frame in _filtered(graph, frames_of(container, audio)):
            mux(target, stream.encode(frame))
        mux(target, stream.encode(None))


def thumbnail(clip: Path) -> str:
    """Return the first frame of a clip as a small JPEG, in a `data:` URL."""
    with open_file(clip) as container:
        frame = cast("VideoFrame | None", next(frames_of(container, *container.streams.video[:1]), None))
        if frame is None:
            raise MayWorkLater(Category.MEDIA_ERROR, "it has no picture")
        image = frame.to_image().rotate(frame.rotation, expand=True)
    image.thumbnail(THUMBNAIL_SIZE)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=THUMBNAIL_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()


def _fps_filter(video: VideoStream, fps: float | Literal["all"]) -> list[FilterStep]:
    if fps == "all":
        return []
    duration_s = float((video.duration or 0) * (video.time_base or 0))
    return [("fps", f"{max(fps, 1 / duration_s) if duration_s else fps:g}")]


def _scale_filter(short_side: int | None) -> list[FilterStep]:
    portrait = "lt(iw,ih)"
    size = f"w='if({portrait},{short_side},-2)':h='if({portrait},-2,{short_side})'"
    return [] if short_side is None else [("scale", size)]


def _jpeg_encoder(frame: VideoFrame, quality: int) -> VideoCodecContext:
    encoder = VideoCodecContext.create("mjpeg", "w")
    encoder.width, encoder.height, encoder.pix_fmt = frame.width, frame.height, "yuvj420p"
    encoder.time_base, encoder.thread_count = Fraction(1, 25), 1
    scale = str(_quantiser_scale(quality))
    encoder.options = {"qmin": scale, "qmax": scale}
    return encoder


def _quantiser_scale(quality: int) -> int:
    """Return FFmpeg's -q:v, 1 (best) to 31, that is as fine as libjpeg at this quality: 2 for 90, 8 for 50."""
    percent = 5000 / quality if quality < 50 else 200 - 2 * quality
    return min(31, max(1, round(percent * 8 / 100)))


def _link_filters(graph: Graph, source: FilterContext, steps: Iterable[FilterStep], sink: str) -> None:
    latest = source
    for name, arguments in [*steps, (sink, "")]:
        following = graph.add(name, arguments)
        latest.link_to(following)
        latest = following
    graph.configure()


def _filtered(graph: Graph, frames: Iterable[Any]) -> Iterator[Any]:
    """Yield the frames that a chain of filters makes of these."""
    for frame in chain(frames, [None]):
        graph.push(frame)
        while True:
            try:
                yield graph.pull()
            except (av.error.BlockingIOError, av.error.EOFError):
                break
