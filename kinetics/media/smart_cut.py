"""The smart cut: exactly the section's frames, of which only those are transcoded that cannot be copied.

A frame that refers to others can be copied only with them. So the frames from the section's start to its first
keyframe are transcoded, and the few at its end that refer to a frame beyond it; all between are copied. No edit list
is needed, which some readers do not honour. The encoder's parameter sets get an id that the source's do not have, and
both stand in the file's header. They promise the same picture buffer, as decoders may drop pictures where that changes
(sps.py). docs/cutting.md describes the result.

When `smart_cut` gives up and transcodes the whole section:

1. The source (`_copy_range`): not H.264; odd width or height; a profile other than baseline, main and high; an `avcC`
   record or a sample that cannot be parsed; parameter sets among the samples.
2. Nothing to copy (`_copy_range`): no IDR keyframe in the section, or no packets from it on that can be decoded and
   shown without the packets behind them.
3. The ends (`_transcode_ends`): a frame is missing or cannot be decoded; picture size or pixel format change, or are
   not 4:2:0 with 8 bits; no unused parameter set id; the encoder's `avcC` record does not merge with the source's.
   That includes parameter sets that cannot be parsed or code fields, and those that cannot promise the same picture
   size, cropping, number of reference frames and picture buffer (`with_one_promise`).
4. The order (`smart_cut`): decoding times that do not increase, or a transcoded packet that shows before it is decoded.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate, chain, pairwise, zip_longest
from typing import Any

from av.codec.context import Flags
from av.container import OutputContainer
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType, VideoFrame
from av.video.stream import VideoStream

from kinetics.media.avc import IDR, PARAMETER_SETS, PROFILES, AvcConfig
from kinetics.media.encode import (
    ENCODER,
    VideoPackets,
    decoded_frames,
    encoder_frame,
    match_source,
    pts_of,
    rebase,
    section_ticks,
    transcode,
    video_stream,
)
from kinetics.media.section import Section
from kinetics.media.sps import Sps
from kinetics.media.times import frame_time, tick_of


def smart_cut(target: OutputContainer, packets: list[Packet[Any]], section: Section) -> VideoPackets:
    """Return the frames that `transcode` does, copied as far as possible. A PacketMaker.

    The module's docstring lists when it transcodes the whole section instead.
    """
    video = video_stream(section)
    copied = _copy_range(video, packets, *section_ticks(section))
    ends = _transcode_ends(video, packets, copied) if copied else None
    if copied is None or ends is None:
        return transcode(target, packets, section)
    joined = [*ends.before, *packets[copied.begin : copied.end], *ends.after]
    increasing = all(_dts(packet) < _dts(following) for packet, following in pairwise(joined))
    if not increasing or any(_dts(packet) > pts_of(packet) for packet in ends.after):
        return transcode(target, packets, section)
    stream = target.add_stream_from_template(video)
    stream.codec_context.extradata = ends.record
    tick, first, latest = tick_of(video), min(map(pts_of, joined)), max(map(pts_of, joined))
    rebase(joined, first, stream)
    return VideoPackets(joined, first * tick, latest * tick)


@dataclass(frozen=True, slots=True)
class _CopyRange:
    """The packets that can be copied, from index `begin` up to `end`.

    They show from `first` up to `last`, with no frame of the section missing between; the section's frames from `start`
    to `first`, and from `last` to `stop`, are to be transcoded. Times are in ticks.
    """

    config: AvcConfig
    begin: int
    end: int
    start: int
    first: int
    last: int
    stop: int


def _copy_range(video: VideoStream, packets: list[Packet[Any]], start: int, stop: int) -> _CopyRange | None:
    """Return what can be copied; None if nothing can, or if nothing could be joined to it."""
    source = video.codec_context
    if source.name != "h264" or source.width % 2 or source.height % 2:
        return None
    try:
        config = AvcConfig.parse(source.extradata or b"")
        nal_types = [set(config.nal_types(bytes(packet))) for packet in packets]
    except ValueError:
        return None
    if config.profile not in PROFILES or any(types & PARAMETER_SETS for types in nal_types):
        return None
    keyframes = (index for index, packet in enumerate(packets) if packet.is_keyframe and start <= pts_of(packet) < stop)
    begin = next((index for index in keyframes if IDR in nal_types[index]), None)
    if begin is None:
        return None
    times = [pts_of(packet) for packet in packets]
    latest = list(accumulate(times[begin:], max))
    earliest = list(accumulate(reversed([*times[begin:], stop]), min))[::-1]
    # the longest run of packets of which all show before those behind it, so that it does not refer to any of them
    counts = range(len(latest), 0, -1)
    count = next((count for count in counts if latest[count - 1] < min(earliest[count], stop)), None)
    if count is None:
        return None
    return _CopyRange(config, begin, begin + count, start, times[begin], min(earliest[count], stop), stop)


@dataclass(frozen=True, slots=True)
class _TranscodedEnds:
    """The transcoded packets before and after the copied ones, and the `avcC` record for all of them."""

    before: list[Packet[Any]]
    after: list[Packet[Any]]
    record: bytes


def _transcode_ends(video: VideoStream, packets: list[Packet[Any]], copied: _CopyRange) -> _TranscodedEnds | None:
    """Transcode what is not copied; None if the source's parameter sets leave no room, or some frame is missing."""
    before = _times_between(packets[: copied.begin], copied.start, copied.first)
    after = _times_between(packets[copied.end :], copied.last, copied.stop)
    if not before and not after:
        return _TranscodedEnds([], [], copied.config.to_bytes())
    keyframes = (index for index in range(copied.end) if packets[index].is_keyframe)
    keyframe = max(index for index in keyframes if pts_of(packets[index]) <= copied.last)
    frames = chain(
        _decode_between(video, packets[: copied.begin], before), _decode_between(video, packets[keyframe:], after)
    )
    first = next(frames, None)
    if first is None:
        return None
    try:
        encoder = _encoder(video, first, copied.config)
        record = copied.config.merged_with(AvcConfig.parse(encoder.extradata or b"")).to_bytes()
    except ValueError:
        return None
    encoded: list[Packet[Any]] = []
    for frame, expected in zip_longest(chain([first], frames), before + after):
        if frame is None or frame.pts != expected or _shape(frame) != ("yuv420p", first.width, first.height):
            return None
        picture = encoder_frame(frame, encoder, frame.pts)
        if after and expected == after[0]:
            picture.pict_type = PictureType.I
        encoded += encoder.encode(picture)
    encoded += encoder.encode(None)
    first_copy, last_copy = packets[copied.begin], packets[copied.end - 1]
    _set_decoding_times(encoded[: len(before)], first_copy, _dts(packets[0]) - copied.stop, copied.first)
    end = min(copied.stop, (after or [0])[-1] + max(1, round(frame_time(video) / tick_of(video))))
    _set_decoding_times(encoded[len(before) :], first_copy, _dts(last_copy), end)
    return _TranscodedEnds(encoded[: len(before)], encoded[len(before) :], record)


def _set_decoding_times(packets: list[Packet[Any]], like: Packet[Any], after: int, end: int) -> None:
    """Set decoding times and durations of packets that are stored in the order in which they show, up to `end`.

    Each is decoded after `after`, and as long before it shows as the copied packet `like`: only then does the track's
    duration in mp4, which ends with the last packet's decoding time, include the last frame. Times are in ticks.
    """
    delay = pts_of(like) - _dts(like)
    for packet, following in zip(packets, [*map(pts_of, packets), end][1:], strict=True):
        after = packet.dts = max(pts_of(packet) - delay, after + 1)
        packet.duration = max(1, following - delay - after)
        packet.time_base = like.time_base


def _times_between(packets: Iterable[Packet[Any]], start: int, stop: int) -> list[int]:
    """Return the presentation times from `start` up to `stop`, in order."""
    return sorted(pts for pts in map(pts_of, packets) if start <= pts < stop)


def _decode_between(video: VideoStream, packets: list[Packet[Any]], times: list[int]) -> Iterator[VideoFrame]:
    """Yield the frames from the first to the last of these times, one by one: all may be hundreds of megabytes."""
    for frame in decoded_frames(video, packets) if times else ():
        if frame.pts is not None and times[0] <= frame.pts <= times[-1]:
            yield frame


def _shape(frame: VideoFrame) -> tuple[str, int, int]:
    return frame.format.name, frame.width, frame.height


def _encoder(video: VideoStream, first: VideoFrame, source: AvcConfig) -> VideoCodecContext:
    """Return an open encoder whose packets fit between the source's: no start codes, no reordering, an id of their own.

    It refers to one frame only, but its parameter sets claim as many as the source's do (x264's dpb-size): OpenH264
    drops what it has not shown where that number falls. Raises ValueError if the source's cannot be read.
    """
    encoder = VideoCodecContext.create("libx264", "w")
    match_source(encoder, video, first)
    encoder.framerate = video.average_rate or video.guessed_rate or Fraction(30)
    encoder.flags |= Flags.global_header
    references = max(Sps.parse(unit).references for unit in source.sps)
    params = f"sps-id={source.unused_id()}:annexb=0:bframes=0:dpb-size={references}"
    encoder.options = ENCODER | {"profile": PROFILES[source.profile], "forced-idr": "1", "x264-params": params}
    encoder.open()
    return encoder


def _dts(packet: Packet[Any]) -> int:
    return packet.dts or 0
