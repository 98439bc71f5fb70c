"""H.264 files with numbered frames, what their parameter sets promise, and what OpenH264 shows of them.

The bit reader has nothing in common with the program's own, so that neither hides the other's mistakes.
"""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np

from kinetics.media.avc import PARAMETER_SETS, AvcConfig
from tests.youtube.picture import draw, read_counter

WIDTH, HEIGHT = 320, 180


def encoded(
    path: Path, options: dict[str, str], *, seconds: int = 6, pix_fmt: str = "yuv420p", fps: Fraction | int = 30
) -> bytes:
    """An mp4 of numbered frames, with a keyframe every second."""
    rate = round(fps)
    fixed = f"keyint={rate}:min-keyint={rate}:scenecut=0"
    params = ":".join(filter(None, (fixed, options.get("x264-params"))))
    with av.open(str(path), "w", options={"movflags": "faststart"}) as out:
        stream = out.add_stream("libx264", rate=fps, options={"preset": "veryfast"} | options | {"x264-params": params})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, pix_fmt
        for index in range(rate * seconds):
            out.mux(stream.encode(numbered(index).reformat(format=pix_fmt)))
        out.mux(stream.encode(None))
    return path.read_bytes()


def numbered(index: int) -> av.VideoFrame:
    grey = np.full((HEIGHT // 2, WIDTH), 128, dtype=np.uint8)
    return av.VideoFrame.from_ndarray(np.concatenate([draw(index, WIDTH, HEIGHT), grey]), format="yuv420p")


def record(path: Path) -> AvcConfig:
    with av.open(str(path)) as clip:
        return AvcConfig.parse(clip.streams.video[0].codec_context.extradata or b"")


class Promise(NamedTuple):
    """What a sequence parameter set says of the pictures that a decoder keeps."""

    size: tuple[int, int]
    """In macroblocks."""
    references: int
    level: int | None
    """Only where there is no bitstream restriction: the other two are then inferred from it."""
    reordered: int | None
    buffered: int | None


class SpsReader:
    """Reads a sequence parameter set (ITU-T H.264, 7.3.2.1.1 and E.1.1), of 4:2:0 without scaling lists and HRD."""

    def __init__(self, unit: bytes) -> None:
        payload = b"\0\0".join(unit[1:].split(b"\0\0\3"))
        self.bits, self.length = int.from_bytes(payload, "big"), 8 * len(payload)
        self._left = self.length
        self.before_vui = 0
        """Bits from the VUI's flag on, once that is read."""

    def promise(self) -> Promise:
        profile, _, level = self.take(8), self.take(8), self.take(8)
        self.number()
        if profile >= 100:
            assert (self.number(), self.number(), self.number(), self.take(2)) == (1, 0, 0, 0), "not plain 4:2:0"
        self.number()
        if (order := self.number()) == 0:
            self.number()
        assert order != 1, "an order of pictures that no encoder here writes"
        references = self.number()
        self.take(1)
        size = self.number() + 1, self.number() + 1
        assert self.take(1), "interlaced"
        self.take(1)
        self._skip(self.take(1) and 4)
        self.before_vui = self._left
        restricted = self.take(1) and self._is_restricted()
        if not restricted:
            return Promise(size, references, level, None, None)
        self.take(1)
        self._skip(4)
        return Promise(size, references, None, self.number(), self.number())

    def _is_restricted(self) -> int:
        """Read the VUI up to the flag that tells."""
        if self.take(1) and self.take(8) == 255:
            self.take(32)
        self.take(1) and self.take(1)
        self.take(1) and self.take(5) & 1 and self.take(24)
        self._skip(self.take(1) and 2)
        self.take(1) and self.take(65)
        assert self.take(2) == 0, "HRD parameters"
        return self.take(2) & 1

    def take(self, count: int) -> int:
        assert count <= self._left, "a parameter set that is cut off"
        self._left -= count
        return self.bits >> self._left & (1 << count) - 1

    def number(self) -> int:
        zeros = 0
        while not self.take(1):
            zeros += 1
        return (1 << zeros) + self.take(zeros) - 1

    def _skip(self, numbers: int) -> None:
        for _ in range(numbers):
            self.number()


def promises(path: Path) -> set[Promise]:
    """What the sequence parameter sets of a clip promise."""
    return {SpsReader(unit).promise() for unit in record(path).sps}


def without_vui(source: Path, target: Path) -> bytes:
    """Copy an mp4 with one parameter set; the copy has no VUI, and so no bitstream restriction."""
    config = record(source)
    (unit,) = config.sps
    reader = SpsReader(unit)
    reader.promise()
    ones = reader.bits >> reader.before_vui << 2 | 1  # no VUI, and the bit that ends the set
    length = reader.length - reader.before_vui + 2
    payload = (ones << -length % 8).to_bytes(-(-length // 8), "big")
    assert b"\0\0" not in payload, "it would have to be escaped"
    return remuxed(source, target, replace(config, sps=(unit[:1] + payload,)))


def remuxed(source: Path, target: Path, config: AvcConfig) -> bytes:
    """Copy an mp4 with other parameter sets in its header, and with none among its samples."""
    with av.open(str(source)) as given, av.open(str(target), "w", options={"movflags": "faststart"}) as out:
        stream = out.add_stream_from_template(given.streams.video[0])
        stream.codec_context.extradata = config.to_bytes()
        for packet in given.demux(video=0):
            if packet.size:
                copy = av.Packet(without_parameter_sets(bytes(packet)))
                copy.pts, copy.dts, copy.time_base = packet.pts, packet.dts, packet.time_base
                copy.is_keyframe, copy.stream = packet.is_keyframe, stream
                out.mux(copy)
    return target.read_bytes()


def without_parameter_sets(sample: bytes) -> bytes:
    kept = b""
    while sample:
        end = 4 + int.from_bytes(sample[:4], "big")
        kept += sample[:end] if sample[4] & 31 not in PARAMETER_SETS else b""
        sample = sample[end:]
    return kept


@cache
def openh264() -> str | None:
    """GStreamer's program, if it has OpenH264."""
    program, inspect = shutil.which("gst-launch-1.0"), shutil.which("gst-inspect-1.0")
    found = inspect and all(
        subprocess.run([inspect, "--exists", element], check=False).returncode == 0
        for element in ("openh264dec", "openh264enc")
    )
    return program if found else None


def shown_by_openh264(path: Path) -> list[int]:
    """The numbers of the frames that OpenH264 shows of a clip, in the order in which it shows them."""
    with av.open(str(path)) as clip:
        width, height = clip.streams.video[0].width, clip.streams.video[0].height
    raw = path.with_suffix(".gray")
    elements = f"filesrc location={path} ! qtdemux name=file file.video_0 ! h264parse ! openh264dec ! videoconvert"
    run_pipeline(f"{elements} ! video/x-raw,format=GRAY8 ! filesink location={raw}")
    frames = np.fromfile(raw, np.uint8).reshape(-1, height, width)
    raw.unlink()
    return [read_counter(frame) for frame in frames]


def encoded_by_openh264(folder: Path, *, seconds: int, fps: int) -> bytes:
    """An mp4 of numbered frames as OpenH264 encodes them, with a keyframe every second."""
    raw, target = folder / "source.i420", folder / "openh264.mp4"
    raw.write_bytes(b"".join(numbered(index).to_ndarray().tobytes() for index in range(seconds * fps)))
    size = f"width={WIDTH} height={HEIGHT} framerate={fps}/1"
    elements = f"filesrc location={raw} ! rawvideoparse format=i420 {size} ! openh264enc gop-size={fps} bitrate=1000000"
    run_pipeline(f"{elements} ! h264parse ! mp4mux faststart=true ! filesink location={target}")
    return remuxed(target, folder / "source.mp4", record(target))


def run_pipeline(elements: str) -> None:
    """Run GStreamer. Its tests are skipped where `openh264` finds none."""
    subprocess.run([openh264() or "", "-q", *elements.split()], check=True, capture_output=True, timeout=60)
