"""A clip on disk becomes still pictures or a file of sound.

Raises MayWorkLater where the clip cannot be read or is damaged, OSError where the result cannot be written.
"""

from __future__ import annotations

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

from kinetics.media.container import frames_of, mux, muxer, translated

SoundFormat = Literal["wav", "mp3", "flac"]
SOUND_CODECS: dict[SoundFormat, str] = {"wav": "pcm_s16le", "mp3": "libmp3lame", "flac": "flac"}
Step = tuple[str, str]
"""A filter and its arguments."""
TURNED: dict[int, list[Step]] = {
    90: [("transpose", "cclock")],
    180: [("hflip", ""), ("vflip", "")],
    270: [("transpose", "clock")],
}
"""How a picture comes to stand upright, by its display rotation."""
NAME = "img_{:05d}.jpg"
"""As MMAction2 and most loaders of raw frames have it; the first is 1."""


def write_frames(
    clip: Path, folder: Path, fps: float | Literal["all"], short_side: int | None = None, quality: int = 90
) -> int:
    """Write frames of a clip as JPEG files, and return how many.

    `fps`: so many a second, by ffmpeg's fps filter, but at least one; or every one of them. They stand upright.
    `short_side` in pixels, the other one as the shape of the picture asks, to an even number. `quality` from 1 to 100
    (best), as cameras and most libraries count it.
    """
    count, encoder = 0, None
    with translated(), av.open(str(clip), "r", format="mov") as container:
        video = container.streams.video[0]
        pictures = cast(Iterator[VideoFrame], frames_of(container, video))
        first = next(pictures, None)
        if first is None:
            raise ValueError("it has no frames")
        steps = [
            *_thinned(video, fps),
            *TURNED.get(first.rotation % 360, []),
            *_smaller(short_side),
            ("format", "yuvj420p"),
        ]
        graph = Graph()
        _chain(graph, graph.add_buffer(template=video), steps, "buffersink")
        for frame in _filtered(graph, chain([first], pictures)):
            assert isinstance(frame, VideoFrame)
            encoder = encoder or _jpeg_encoder(frame, quality)
            frame.pts, frame.time_base, frame.pict_type = count, encoder.time_base, PictureType.NONE
            count += 1
            for packet in encoder.encode(frame):
                (folder / NAME.format(count)).write_bytes(bytes(packet))
    return count


def write_sound(clip: Path, out: Path, form: SoundFormat) -> None:
    """Write the sound of a clip that has any, from the time of its first frame on."""
    with translated(), av.open(str(clip), "r", format="mov") as container, muxer(out, form) as target:
        audio = container.streams.audio[0]
        source, rate, layout = audio.codec_context, audio.codec_context.sample_rate, audio.codec_context.layout.name
        if form == "mp3":  # which knows no more
            rate, layout = min(rate, 48_000), "mono" if source.layout.nb_channels == 1 else "stereo"
        stream = cast(AudioStream, target.add_stream(SOUND_CODECS[form], rate=rate))
        stream.codec_context.layout = layout
        formats = stream.codec_context.codec.audio_formats or [source.format]
        graph = Graph()
        wanted = f"sample_fmts={formats[0].name}:sample_rates={rate}:channel_layouts={layout}"
        steps = [("aresample", "async=1:first_pts=0"), ("aformat", wanted)]
        _chain(graph, graph.add_abuffer(template=audio), steps, "abuffersink")
        for frame in _filtered(graph, frames_of(container, audio)):
            mux(target, stream.encode(frame))
        mux(target, stream.encode(None))


def _thinned(video: VideoStream, fps: float | Literal["all"]) -> list[Step]:
    if fps == "all":
        return []
    lasts_s = float((video.duration or 0) * (video.time_base or 0))
    return [("fps", f"{max(fps, 1 / lasts_s) if lasts_s else fps:g}")]


def _smaller(short_side: int | None) -> list[Step]:
    upright = "lt(iw,ih)"
    size = f"w='if({upright},{short_side},-2)':h='if({upright},-2,{short_side})'"
    return [] if short_side is None else [("scale", size)]


def _jpeg_encoder(frame: VideoFrame, quality: int) -> VideoCodecContext:
    encoder = VideoCodecContext.create("mjpeg", "w")
    encoder.width, encoder.height, encoder.pix_fmt = frame.width, frame.height, "yuvj420p"
    encoder.time_base, encoder.thread_count = Fraction(1, 25), 1
    scale = str(_quantiser_scale(quality))
    encoder.options = {"qmin": scale, "qmax": scale}
    return encoder


def _quantiser_scale(quality: int) -> int:
    """ffmpeg's -q:v, from 1 (best) to 31, that is as fine as libjpeg at this quality: 2 for 90, 8 for 50."""
    percent = 5000 / quality if quality < 50 else 200 - 2 * quality
    return min(31, max(1, round(percent * 8 / 100)))


def _chain(graph: Graph, source: FilterContext, steps: Iterable[Step], sink: str) -> None:
    latest = source
    for name, arguments in [*steps, (sink, "")]:
        following = graph.add(name, arguments)
        latest.link_to(following)
        latest = following
    graph.configure()


def _filtered(graph: Graph, frames: Iterable[Any]) -> Iterator[Any]:
    """What comes out of a chain of filters, frame by frame."""
    for frame in chain(frames, [None]):
        graph.push(frame)
        while True:
            try:
                yield graph.pull()
            except (av.error.BlockingIOError, av.error.EOFError):
                break
