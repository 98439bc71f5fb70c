"""Videos from this machine's disk for the cutters, and what a player makes of their clips."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, NamedTuple

import av
import numpy as np
import urllib3
from numpy.typing import NDArray

from kinetics.media.cut import CutResult, cut_keyframe
from kinetics.media.fragment_index import HeaderSizes
from kinetics.media.remote_media import RemoteMedia
from kinetics.net.http import HttpSession
from kinetics.net.range_file import RangeFile
from tests.youtube.picture import read_counter, upright
from tests.youtube.videos import MediaFile, Video

Shape = Literal["progressive", "dash"]


Cutter = Callable[[list[RemoteMedia], float, float, Path], CutResult]


USUAL = Video(duration_s=20)
LONG = Video(duration_s=240, shortest_gop_s=3.0, seed=8, repeats=8)
"""Half a minute eight times over, so that no more is to be encoded; with this seed a fragment ends with each."""
VARIANTS = {
    "usual": USUAL,
    "29.97": Video(duration_s=20, fps=Fraction(30_000, 1001)),
    "variable frame rate": Video(duration_s=20, vfr=True),
    "begins at pts 1024": Video(duration_s=20, edit_list=False),
    "no B-frames": Video(duration_s=20, bframes=0),
    "rotated": Video(duration_s=20, rotation=90),
    "silent": Video(duration_s=20, sound=False),
    "vp9": Video(duration_s=20, codec="vp9"),
}


class Disk(HttpSession):
    """A line to a media host that is a folder of this machine: what is asked for comes from the file of that name."""

    def __init__(self, contents: Mapping[str, bytes] | None = None) -> None:
        super().__init__()
        self.contents = contents or {}
        self.asked: list[tuple[str, int, int]] = []

    def get(self, url: str, headers: Mapping[str, str]) -> urllib3.BaseHTTPResponse:
        first, last = map(int, headers["Range"].removeprefix("bytes=").split("-"))
        content = self.contents[url] if url in self.contents else Path(url).read_bytes()
        piece = content[first : last + 1]
        self.requests += 1
        self.asked.append((url, first, first + len(piece)))
        span = f"bytes {first}-{first + len(piece) - 1}/{len(content)}"
        return urllib3.HTTPResponse(
            io.BytesIO(piece), {"Content-Range": span}, 206 if piece else 416, preload_content=False
        )


def inputs_of(
    video: Video, shape: Shape, line: HttpSession, *, streaming: bool = False, sizes: HeaderSizes | None = None
) -> list[RemoteMedia]:
    if shape == "progressive":
        files = [video.progressive]
    else:
        files = [video.dash_video, video.dash_audio] if video.sound else [video.dash_video]
    return [input_of(file, line, streaming=streaming, sizes=sizes) for file in files]


def input_of(
    file: MediaFile, line: HttpSession, *, streaming: bool = False, sizes: HeaderSizes | None = None
) -> RemoteMedia:
    container: Any = file.path.suffix[1:]
    source = RangeFile(line, str(file.path), streaming=streaming)
    return RemoteMedia(
        source,
        container,
        float(file.video.duration_s),
        progressive=file.shape == "progressive",
        header_bytes=file.index_range[1] + 1 if file.index_range else None,
        sizes=sizes or HeaderSizes(),
    )


class Played(NamedTuple):
    """What a player makes of a file."""

    counters: list[int]
    times: list[float]
    """Of the frames, in seconds."""
    keyframes: list[int]
    sound: NDArray[np.float32] | None
    """Mono samples, the first of which is that of time 0."""
    rate: int


def play(path: Path) -> Played:
    counters, times, keyframes = [], [], []
    rate = 1
    pieces: list[NDArray[np.float32]] = []
    with av.open(str(path)) as clip:
        for frame in clip.decode(video=0):
            assert frame.time is not None
            counters.append(read_counter(upright(frame.to_ndarray(format="gray"), frame.rotation)))
            times.append(frame.time)
            keyframes += [len(times) - 1] if frame.key_frame else []
    with av.open(str(path)) as clip:
        for samples in clip.decode(audio=0) if clip.streams.audio else ():
            rate = samples.sample_rate
            if not pieces:
                assert samples.time is not None
                pieces.append(np.zeros(max(0, round(samples.time * rate)), np.float32))
            pieces.append(samples.to_ndarray().astype(np.float32).mean(axis=0))
    return Played(counters, times, keyframes, np.concatenate(pieces) if pieces else None, rate)


def assert_all_is_shown(path: Path, frames: int) -> None:
    """No sample is hidden by an edit list: decord and torchcodec would show it."""
    with av.open(str(path)) as clip:
        packets = [packet for packet in clip.demux(video=0) if packet.size]
        assert not any(packet.is_discard for packet in packets)
        assert clip.streams.video[0].frames == len(packets) == frames
    with av.open(str(path), options={"ignore_editlist": "1"}) as clip:
        assert len([packet for packet in clip.demux(video=0) if packet.size]) == frames


SMALL = {
    shape: file.path.read_bytes() for shape, file in (("progressive", USUAL.progressive), ("dash", USUAL.dash_video))
}


def cut_bytes(content: bytes, folder: Path, cut: Cutter = cut_keyframe, container: Any = "mp4") -> CutResult:
    return cut([RemoteMedia(RangeFile(Disk({"it": content}), "it"), container, 20.0)], 7.0, 9.0, folder / "clip.mp4")
