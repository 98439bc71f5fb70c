"""Bytes and requests of a clip against what its section needs, at many phases of a 4-minute video's fragments."""

from __future__ import annotations

import statistics
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from benchmarks import worlds
from benchmarks.report import Settings, Table, main, say, verdict
from benchmarks.rig import Run, download, youtube_apart
from benchmarks.worlds import CLIP_S, needed
from tests.youtube.videos import Video
from tests.youtube.world import Row, Scenario, Shape

LENGTH_S = 240
YOUTUBES = worlds.video(LENGTH_S, LENGTH_S)
EITHER = Video(duration_s=LENGTH_S)
"""Half of its fragments have a second keyframe."""
WORLDS: dict[str, tuple[Video, Shape, float | None, int]] = {
    "DASH": (YOUTUBES, "dash", 1.15, 5),
    "DASH, more keyframes": (EITHER, "dash", None, 5),
    "progressive": (YOUTUBES, "progressive", 1.3, 3),
}
"""The video, its shape, and what was promised: bytes as a multiple of what is needed, and requests."""


def measure(settings: Settings) -> Iterator[Table]:
    """One table: a row for each cut in each world."""
    count = settings.clips_or(40, quick=12)
    rows = [Row("tai chi", f"phase-{n:05}", start, start + CLIP_S) for n, start in enumerate(_starts(count))]
    lines = []
    with youtube_apart() as youtube, tempfile.TemporaryDirectory() as scratch:
        for name, (video, shape, most_bytes, most_requests) in WORLDS.items():
            scenarios = {row.youtube_id: Scenario(video, (shape,)) for row in rows}
            youtube.serve(scenarios, latency_s=0, connection_bit_s=None)
            for cut in settings.cuts:
                say(f"{name}: {cut}")
                ran = download(youtube, rows, scenarios, Path(scratch, f"{name} {cut}"), cut, "-w", "2")
                lines.append([name, cut, *_figures(ran, video, cut, most_bytes, most_requests)])
    yield Table(
        f"Bytes and requests of a clip: {count} sections of {CLIP_S} s at all phases of a {LENGTH_S} s video",
        ["video", "cut", "needs MB", "fetched MB", "ratio", "worst", "wanted", "", "requests", "most", "wanted", ""],
        lines,
        [
            "A section needs its pictures from the keyframe at or before its start to its end, and its sound; a "
            "keyframe cut needs the sound from that keyframe on. "
            "The player call is one of the requests; a worker's one call for a visitor's number is not counted.",
        ],
    )


def _starts(count: int) -> list[int]:
    """Whole seconds over the whole video, as annotations have them."""
    return [number * (LENGTH_S - CLIP_S) // max(1, count - 1) for number in range(count)]


def _figures(ran: Run, video: Video, cut: str, most_bytes: float | None, most_requests: int) -> list[str]:
    sent, asked = Counter[str](), Counter[str]()
    for request in ran.requests:
        if request.kind in ("player", "media"):
            asked[request.video_id] += 1
        if request.kind == "media":
            sent[request.video_id] += request.bytes_sent
    needs = {row.youtube_id: needed(video, row, cut) for row in ran.bench.rows}
    ratio = sent.total() / sum(needs.values())
    requests = statistics.mean(asked.values())
    return [
        f"{sum(needs.values()) / len(needs) / 1e6:.3f}",
        f"{sent.total() / len(needs) / 1e6:.3f}",
        f"{ratio:.3f}",
        f"{max(sent[one] / needs[one] for one in needs):.3f}",
        *(("", "") if most_bytes is None else (f"<= {most_bytes:g}", verdict(ratio <= most_bytes))),
        f"{requests:.2f}",
        str(max(asked.values())),
        f"<= {most_requests}",
        verdict(requests <= most_requests),
    ]


if __name__ == "__main__":
    main(["bytes"])
