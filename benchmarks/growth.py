"""How the cost of a clip grows with the network's latency, the number of workers, and the length of the video.

The 3-hour video is made once, and leaves 1.5 GB of temporary files.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness import Run, YouTube, download, quartiles, youtube_process
from benchmarks.report import Settings, Table, log, main, verdict
from benchmarks.workload import clips, video
from tests.youtube.world import Row, Scenario, Shape

LATENCIES_MS = (0, 30, 100)
CLIPS_FOR_WORKERS = {1: 12, 4: 40, 16: 96, 64: 256}
LENGTHS_S = (30, 240, 3600, 3 * 3600)
LONG_ONCE_S = 240
"""Longer videos repeat one of this length, in seconds."""
USUAL_S, LONGEST_S = 240, 3 * 3600
MAX_LONGEST_RATIO = 1.5
"""Accepted: the cost of a clip of the longest video, as a multiple of the usual one's."""
HEADER = ["s a clip", "MB", "requests", "CPU s a clip", "server's"]
NOTE = (
    "S a clip from the attempts table: median and quartiles. MB of media. Requests and CPU are those of the whole run, "
    "with its start, divided by its clips."
)
RATE_NOTE = "Clips/s in the middle of the run, without its start and end. " + NOTE


@dataclass(frozen=True)
class Bench:
    """The server and the folder of the runs."""

    youtube: YouTube
    scratch: Path

    def run(self, cut: str, rows: Sequence[Row], scenarios: Mapping[str, Scenario], workers: int) -> Run:
        """Fetch all rows into a new folder."""
        folder = Path(tempfile.mkdtemp(dir=self.scratch))
        return download(self.youtube, rows, scenarios, folder, cut, "-w", str(workers), "--timeout", "900")


def measure(settings: Settings) -> Iterator[Table]:
    """Yield tables of latencies, of workers and of lengths, and one of the longest video beside a usual one."""
    with youtube_process() as youtube, tempfile.TemporaryDirectory() as scratch:
        bench = Bench(youtube, Path(scratch))
        yield _latencies(settings, bench)
        yield _workers(settings, bench)
        yield from _lengths(settings, bench)


def _latencies(settings: Settings, bench: Bench) -> Table:
    rows, scenarios = clips(settings.clips_or(40, quick=16))
    lines = []
    for latency_ms in LATENCIES_MS:
        bench.youtube.serve(scenarios, latency_s=latency_ms / 1000)
        for cut in settings.cuts:
            log(f"latency {latency_ms} ms: {cut}")
            ran = bench.run(cut, rows, scenarios, 8)
            lines.append([f"{latency_ms} ms", cut, f"{ran.steady_clips_s:.2f}", *_figures(ran)])
    return Table(
        f"Latency: {len(rows)} clips, 8 workers, 8 Mbit/s a connection",
        ["latency", "cut", "clips/s", *HEADER],
        lines,
        [RATE_NOTE],
    )


def _workers(settings: Settings, bench: Bench) -> Table:
    lines = []
    for workers, count in CLIPS_FOR_WORKERS.items():
        rows, scenarios = clips(settings.clips_or(count, quick=count // 2))
        bench.youtube.serve(scenarios)
        for cut in settings.cuts:
            log(f"{workers} workers: {cut}")
            ran = bench.run(cut, rows, scenarios, workers)
            lines.append([str(workers), cut, f"{ran.steady_clips_s:.2f}", *_figures(ran)])
    return Table("Workers: 30 ms, 8 Mbit/s a connection", ["workers", "cut", "clips/s", *HEADER], lines, [RATE_NOTE])


def _lengths(settings: Settings, bench: Bench) -> Iterator[Table]:
    count = settings.clips_or(8, quick=4)
    lines: list[list[str]] = []
    runs: dict[tuple[Shape, int, str], Run] = {}
    shapes: tuple[Shape, ...] = ("dash", "progressive")
    for shape in shapes:
        for length_s in LENGTHS_S:
            rows, scenarios = clips(count, [video(length_s, LONG_ONCE_S)], [shape])
            bench.youtube.serve(scenarios)
            for cut in settings.cuts:
                log(f"{shape}, {length_s} s: {cut}")
                ran = runs[shape, length_s, cut] = bench.run(cut, rows, scenarios, 4)
                lines.append([f"{shape}, {_duration(length_s)}", cut, *_figures(ran)])
    yield Table(f"Length of the video: {count} clips, 4 workers", ["video", "cut", *HEADER], lines, [NOTE])
    yield Table(
        "A 3-hour video against one of 4 minutes",
        ["video", "cut", "s a clip", "MB", "requests", "wanted", ""],
        [
            [shape, cut, *_ratios(runs[shape, LONGEST_S, cut], runs[shape, USUAL_S, cut], promised=shape == "dash")]
            for shape in shapes
            for cut in settings.cuts
        ],
    )


def _figures(ran: Run) -> list[str]:
    return [
        quartiles(_spent_s(ran)),
        f"{ran.media_bytes / ran.clips / 1e6:.2f}",
        f"{len(ran.requests) / ran.clips:.2f}",
        f"{ran.used.cpu_s / ran.clips:.2f}",
        f"{ran.server_cpu_s / ran.clips:.2f}",
    ]


def _ratios(long: Run, usual: Run, *, promised: bool) -> list[str]:
    ratios = [
        statistics.median(_spent_s(long)) / statistics.median(_spent_s(usual)),
        long.media_bytes / usual.media_bytes,
        len(long.requests) / len(usual.requests),
    ]
    wanted = [f"<= {MAX_LONGEST_RATIO}", verdict(max(ratios) <= MAX_LONGEST_RATIO)] if promised else ["", ""]
    return [*(f"{ratio:.2f}" for ratio in ratios), *wanted]


def _spent_s(ran: Run) -> list[float]:
    return ran.seconds("resolve_s", "download_s", "cut_s")


def _duration(length_s: int) -> str:
    return f"{length_s} s" if length_s < 60 else f"{length_s // 60} min" if length_s < 3600 else f"{length_s // 3600} h"


if __name__ == "__main__":
    main(["growth"])
