"""The smart cut: a section's very frames, of which only those are encoded that cannot be copied.

A picture that refers to others can be copied only with them. So the frames from the section's start to its first
keyframe are encoded, and the few at its end that refer to a frame beyond it; all between are copied. Nothing is left in
that a reader would have to be told to skip: an edit list, which some of them do not honour.

The encoder's parameter sets get a number that the source's do not have, and both stand in the file's header. Where that
is not possible, the whole section is encoded.
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

from kinetics.media.avc import IDR, PARAMETER_SETS, PROFILES, Config
from kinetics.media.encode import (
    ENCODER,
    Pictures,
    decoded,
    imitate,
    prepared,
    pts_of,
    rebase,
    ticks_of,
    transcode,
    video_of,
)
from kinetics.media.section import Section, frame_time, tick_of


def smart_cut(target: OutputContainer, packets: list[Packet[Any]], section: Section) -> Pictures:
    """The frames that `transcode` gives, copied as far as that goes. A Maker."""
    video = video_of(section)
    joint = _joint(video, packets, *ticks_of(section))
    ends = _encoded_ends(video, packets, joint) if joint else None
    if joint is None or ends is None:
        return transcode(target, packets, section)
    together = [*ends.head, *packets[joint.begin : joint.end], *ends.tail]
    in_turn = all(_dts(one) < _dts(following) for one, following in pairwise(together))
    if not in_turn or any(_dts(packet) > pts_of(packet) for packet in ends.tail):
        return transcode(target, packets, section)
    stream = target.add_stream_from_template(video)
    stream.codec_context.extradata = ends.record
    tick, first, latest = tick_of(video), min(map(pts_of, together)), max(map(pts_of, together))
    rebase(together, first, stream)
    return Pictures(together, first * tick, latest * tick + frame_time(video))


@dataclass(frozen=True, slots=True)
class _CopyRange:
    """The packets that can be copied: from `begin` up to `end`, with the frames from `first` up to `last`, in ticks.

    They begin where a decoder can, and need no packet behind them; no frame between is missing. The others of the
    section, from `start` and up to `stop`, are to be encoded.
    """

    config: Config
    begin: int
    end: int
    start: int
    first: int
    last: int
    stop: int


def _joint(video: VideoStream, packets: list[Packet[Any]], start: int, stop: int) -> _CopyRange | None:
    """None where nothing can be copied, or nothing joined to it."""
    source = video.codec_context
    if source.name != "h264" or source.width % 2 or source.height % 2:
        return None
    try:
        config = Config.read(source.extradata or b"")
        kinds = [set(config.units(bytes(packet))) for packet in packets]
    except ValueError:
        return None
    if config.profile not in PROFILES or any(kind & PARAMETER_SETS for kind in kinds):
        return None
    after = (place for place, packet in enumerate(packets) if packet.is_keyframe and start <= pts_of(packet) < stop)
    begin = next((place for place in after if IDR in kinds[place]), None)
    if begin is None:
        return None
    shows = [pts_of(packet) for packet in packets]
    latest = list(accumulate(shows[begin:], max))
    earliest = list(accumulate(reversed([*shows[begin:], stop]), min))[::-1]
    lengths = range(len(latest), 0, -1)
    length = next((count for count in lengths if latest[count - 1] < min(earliest[count], stop)), None)
    if length is None:
        return None
    return _CopyRange(config, begin, begin + length, start, shows[begin], min(earliest[length], stop), stop)


@dataclass(frozen=True, slots=True)
class _Ends:
    """What was encoded to go before and behind the copied packets, and the `avcC` record for all of them."""

    head: list[Packet[Any]]
    tail: list[Packet[Any]]
    record: bytes


def _encoded_ends(video: VideoStream, packets: list[Packet[Any]], joint: _CopyRange) -> _Ends | None:
    """None where the source has no room for another encoder's parameter sets, or some frame cannot be decoded."""
    head = _inside(packets[: joint.begin], joint.start, joint.first)
    tail = _inside(packets[joint.end :], joint.last, joint.stop)
    if not head and not tail:
        return _Ends([], [], joint.config.written())
    keyframes = (place for place in range(joint.end) if packets[place].is_keyframe)
    keyframe = max(place for place in keyframes if pts_of(packets[place]) <= joint.last)
    frames = chain(_frames(video, packets[: joint.begin], head), _frames(video, packets[keyframe:], tail))
    first, number = next(frames, None), joint.config.free_number()
    if first is None or number is None:
        return None
    encoder = _encoder(video, first, PROFILES[joint.config.profile], number)
    made: list[Packet[Any]] = []
    for frame, due in zip_longest(chain([first], frames), head + tail):
        if frame is None or frame.pts != due or _kind(frame) != ("yuv420p", first.width, first.height):
            return None
        picture = prepared(frame, encoder, 0)
        if tail and due == tail[0]:
            picture.pict_type = PictureType.I
        made += encoder.encode(picture)
    made += encoder.encode(None)
    first_copy, last_copy = packets[joint.begin], packets[joint.end - 1]
    _schedule(made[: len(head)], first_copy, _dts(packets[0]) - joint.stop, joint.first)
    end = min(joint.stop, (tail or [0])[-1] + max(1, round(frame_time(video) / tick_of(video))))
    _schedule(made[len(head) :], first_copy, _dts(last_copy), end)
    try:
        record = joint.config.merged_with(Config.read(encoder.extradata or b"")).written()
    except ValueError:
        return None
    return _Ends(made[: len(head)], made[len(head) :], record)


def _schedule(packets: list[Packet[Any]], like: Packet[Any], after: int, end: int) -> None:
    """Have packets that show in the order in which they are stored, up to `end`, decoded in turn, behind `after`.

    That is as long before they show as for a copied one: only then is the last frame inside what mp4 calls the track's
    duration, which ends when the last packet does.
    """
    delay = pts_of(like) - _dts(like)
    for packet, following in zip(packets, [*map(pts_of, packets), end][1:], strict=True):
        after = packet.dts = max(pts_of(packet) - delay, after + 1)
        packet.duration = max(1, following - delay - after)
        packet.time_base = like.time_base


def _inside(packets: Iterable[Packet[Any]], start: int, stop: int) -> list[int]:
    """When those packets show that do so within a section, in order."""
    return sorted(pts for pts in map(pts_of, packets) if start <= pts < stop)


def _frames(video: VideoStream, packets: list[Packet[Any]], wanted: list[int]) -> Iterator[VideoFrame]:
    """The frames that show at these times, one after another: all of them would be a hundred megabytes and more."""
    for frame in decoded(video, packets) if wanted else ():
        if frame.pts is not None and wanted[0] <= frame.pts <= wanted[-1]:
            yield frame


def _kind(frame: VideoFrame) -> tuple[str, int, int]:
    return frame.format.name, frame.width, frame.height


def _encoder(video: VideoStream, first: VideoFrame, profile: str, number: int) -> VideoCodecContext:
    """An encoder whose packets are as mp4 has them, without reordering, with parameter sets of that number."""
    encoder = VideoCodecContext.create("libx264", "w")
    imitate(encoder, video, first)
    encoder.framerate = video.average_rate or video.guessed_rate or Fraction(30)
    encoder.flags |= Flags.global_header
    ours = f"sps-id={number}:annexb=0:bframes=0"
    encoder.options = ENCODER | {"profile": profile, "forced-idr": "1", "x264-params": ours}
    return encoder


def _dts(packet: Packet[Any]) -> int:
    return packet.dts or 0
