"""The videos and clips of the benchmarks, always the same, and the bytes that a clip's section needs."""

from __future__ import annotations

import random
from collections.abc import Sequence
from fractions import Fraction
from functools import cache
from itertools import cycle, islice
from pathlib import Path

import av

from tests.youtube.videos import Video
from tests.youtube.world import Row, Scenario, Shape

CLIP_S = 10
SHAPES: tuple[Shape, ...] = ("dash", "progressive")
LENGTHS_S = {60: 5, 120: 9, 240: 13, 480: 9, 960: 4}
"""Of 40 videos, the number with each length in seconds: median 4 min, mean 5 min 16 s."""
ONCE_S = 60
"""Longer videos repeat one of this length, in seconds, so that only one is encoded."""
KEYFRAME_GAP_S = 60.0
"""Shortest distance of keyframes within a fragment: longer than a fragment, so that each has one, as on YouTube."""


def video(length_s: int, once_s: int = ONCE_S) -> Video:
    """Return a typical video of this length."""
    return Video(duration_s=length_s, shortest_gop_s=KEYFRAME_GAP_S, repeats=max(1, length_s // once_s))


def clips(
    count: int,
    videos: Sequence[Video] | None = None,
    shapes: Sequence[Shape] = SHAPES,
    *,
    clip_s: int = CLIP_S,
) -> tuple[list[Row], dict[str, Scenario]]:
    """Return `count` clips, each from a random position of its own video.

    The videos alternate; without `videos` their lengths are distributed as on YouTube.
    """
    chance = random.Random(7)
    if videos is None:
        lengths = [length_s for length_s, share in LENGTHS_S.items() for _ in range(share)]
        videos = [video(length_s) for length_s in chance.sample(lengths, len(lengths))]
    rows, scenarios = [], {}
    for number, (one, shape) in enumerate(zip(islice(cycle(videos), count), cycle(shapes), strict=False)):
        start = chance.randrange(int(one.duration_s) - clip_s + 1)
        row = Row("tai chi", f"bench-{number:05}", start, start + clip_s)
        rows.append(row)
        scenarios[row.youtube_id] = Scenario(one, (shape,))
    return rows, scenarios


def needed(video: Video, row: Row, cut: str = "exact") -> int:
    """Return the bytes of a section's samples: pictures from the keyframe at or before its start, and sound.

    With a keyframe cut the sound begins at that keyframe, too.
    """
    picture, sound = _samples(video.progressive.path)
    keyframe = max(time for time, _, is_keyframe in picture if is_keyframe and time <= row.time_start)
    pictures = sum(size for time, size, _ in picture if keyframe <= time < row.time_end)
    begin = keyframe if cut == "keyframe" else row.time_start
    return pictures + sum(size for time, size, _ in sound if begin <= time < row.time_end)


@cache
def _samples(path: Path) -> tuple[list[tuple[Fraction, int, bool]], ...]:
    """Return time, size, and whether it is a keyframe, for every sample of the picture and of the sound."""
    with av.open(str(path)) as container:
        found: dict[int, list[tuple[Fraction, int, bool]]] = {stream.index: [] for stream in container.streams}
        for packet in container.demux():
            if packet.pts is not None:
                found[packet.stream.index].append((packet.pts * packet.time_base, packet.size, packet.is_keyframe))
    return tuple(found.values())
