"""What readers that decode on a GPU ask of clips and lists, held without a GPU.

NVDEC's limits for H.264 are those that NVIDIA publishes for every GPU (docs/gpu.md names the pages); DALI's and
torchcodec's own are as their sources have them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import av
import pytest

from kinetics.media.avc import IDR, PROFILES
from kinetics.media.cut import cut_exact, cut_keyframe, cut_smart
from kinetics.media.resize import resize
from kinetics.records import PictureSettings
from tests.support.cutting import VARIANTS, Disk, Shape, inputs_of
from tests.support.h264 import promises, record

SMALLEST, LARGEST = (48, 16), (4096, 4096)
"""Width and height in pixels, of NVDEC for H.264."""
MOST_REFERENCES = 16
"""Frames, by H.264 itself (7.4.2.1.1)."""
LENGTH_BYTES = 4
"""Of the prefix of each NAL unit: DALI's index of frames reads no other."""
MOST_HEADER_BYTES = 1024
"""Of the parameter sets with their start codes, which torchcodec passes to NVDEC's parser."""
START_S, END_S, LATER_S = 3.3, 4.8, 7.3
"""The last one has a keyframe before it, so that a smart cut joins two encodings."""
SMALL = PictureSettings(short_side=256, keyframes=16)
CUTTERS: dict[str, Callable[..., object]] = {
    "smart": cut_smart,
    "exact": cut_exact,
    "keyframe": cut_keyframe,
    "smart, small": partial(cut_smart, settings=SMALL),
    "exact, small": partial(cut_exact, settings=SMALL),
}
H264 = [name for name, video in VARIANTS.items() if video.codec == "h264"]


def nal_units(data: bytes) -> list[bytes]:
    units = list[bytes]()
    while data:
        end = LENGTH_BYTES + int.from_bytes(data[:LENGTH_BYTES], "big")
        units.append(data[LENGTH_BYTES:end])
        data = data[end:]
    return units


def assert_nvdec_takes(path: Path) -> None:
    config, promised = record(path), promises(path)
    assert {unit[1] for unit in config.sps} <= PROFILES.keys(), "not baseline, main or high"
    assert len(promised) == 1, "one decoder serves all parameter sets of a clip"
    (promise,) = promised
    assert max(promise.references, promise.buffered or 0) <= MOST_REFERENCES
    for macroblocks, least, most in zip(promise.size, SMALLEST, LARGEST, strict=True):
        pixels = 16 * macroblocks
        assert least <= pixels <= most
    assert config.length_size == LENGTH_BYTES
    assert sum(4 + len(unit) for unit in config.sps + config.pps) <= MOST_HEADER_BYTES
    with av.open(str(path)) as clip:
        video = clip.streams.video[0]
        context = video.codec_context
        assert (context.name, context.pix_fmt) == ("h264", "yuv420p")
        assert (context.width % 2, context.height % 2) == (0, 0)
        packets = [packet for packet in clip.demux(video) if packet.size]
    assert packets[0].is_keyframe
    assert min(packet.pts for packet in packets if packet.pts is not None) == 0, "DALI leaves out frames before 0"
    for packet in packets:
        is_idr = any(unit[0] & 31 == IDR for unit in nal_units(bytes(packet)))
        assert packet.is_keyframe == is_idr, "DALI starts decoding at IDR pictures only"


@pytest.mark.parametrize("how", CUTTERS)
def test_every_clip_is_within_what_nvdecs_h264_decoder_takes(how: str, tmp_path: Path) -> None:
    for place, name in enumerate(H264):
        path = tmp_path / f"{name}.mp4"
        shape: Shape = "dash" if place % 2 else "progressive"
        CUTTERS[how](inputs_of(VARIANTS[name], shape, Disk()), START_S, LATER_S if how == "smart" else END_S, path)
        assert_nvdec_takes(path)
        assert len(record(path).sps) == (2 if how == "smart" else 1)


def test_a_whole_video_and_a_copy_of_another_size_are_too(tmp_path: Path) -> None:
    video = VARIANTS["usual"]
    assert_nvdec_takes(video.progressive.path)
    assert resize(video.progressive.path, tmp_path / "copy.mp4", SMALL)
    assert_nvdec_takes(tmp_path / "copy.mp4")
