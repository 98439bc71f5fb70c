"""Bytes and requests per clip, compared with the bytes its section needs, at many offsets within fragments."""

from __future__ import annotations

import statistics
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from benchmarks import workload
from benchmarks.harness import Run, download, youtube_process
from benchmarks.report import Settings, Table, log, main, verdict
from benchmarks.workload import CLIP_S, needed
from tests.youtube.videos import Video
from tests.youtube.world import Row, Scenario, Shape

LENGTH_S = 240
LIKE_YOUTUBE = workload.video(LENGTH_S, LENGTH_S)
MORE_KEYFRAMES = Video(duration_s=LENGTH_S)
"""A video in which half of the fragments have a second keyframe."""
CASES: dict[str, tuple[Video, Shape, float | None, int]] = {
    "DASH": (LIKE_YOUTUBE, "dash", 1.15, 5),
    "DASH, more keyframes": (MORE_KEYFRAMES, "dash", None, 5),
    "progressive": (LIKE_YOUTUBE, "progressive", 1.3, 3),
}
"""The video, its shape, and the most that is accepted: bytes as a multiple of the needed ones, and requests."""


def measure(settings: Settings) -> Iterator[Table]:
    """Yield one table, with a row for each cut in each case."""
    count = settings.clips_or(40, quick=12)
    rows = [Row("tai chi", f"phase-{n:05}", start, start + CLIP_S) for n, start in enumerate(_starts(count))]
    lines = []
    with youtube_process() as youtube, tempfile.TemporaryDirectory() as scratch:
        for name, (video, shape, max_ratio, max_requests) in CASES.items():
            scenarios = {row.youtube_id: Scenario(video, (shape,)) for row in rows}
            youtube.serve(scenarios, latency_s=0, connection_bit_s=None)
            for cut in settings.cuts:
                log(f"{name}: {cut}")
                ran = download(youtube, rows, scenarios, Path(scratch, f"{name} {cut}"), cut, "-w", "2")
                lines.append([name, cut, *_figures(ran, video, cut, max_ratio, max_requests)])
    yield Table(
        f"Bytes and requests per clip: {count} sections of {CLIP_S} s from all parts of a {LENGTH_S} s video",
        ["video", "cut", "needs MB", "fetched MB", "ratio", "worst", "wanted", "", "requests", "most", "wanted", ""],
        lines,
        [
            "A section needs its pictures from the keyframe at or before its start to its end, and its sound; a "
            "keyframe cut needs the sound from that keyframe on. "
            "The player call is one of the requests; a worker's single request for a visitor id is not counted.",
        ],
    )


def _starts(count: int) -> list[int]:
    """Return start times spread over the video, in whole seconds, as annotations have them."""
    return [number * (LENGTH_S - CLIP_S) // max(1, count - 1) for number in range(count)]


def _figures(ran: Run, video: Video, cut: str, max_ratio: float | None, max_requests: int) -> list[str]:
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
        *(("", "") if max_ratio is None else (f"<= {max_ratio:g}", verdict(ratio <= max_ratio))),
        f"{requests:.2f}",
        str(max(asked.values())),
        f"<= {max_requests}",
        verdict(requests <= max_requests),
    ]


if __name__ == "__main__":
    main(["bytes"])
