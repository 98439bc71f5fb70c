"""The pool's speed with items that need no work, its parent's memory, and the memory of workers."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness import YouTube, download, in_worker, memory_mb, youtube_process
from benchmarks.report import Settings, Table, log, main, spread, verdict
from benchmarks.workload import CLIP_S, clips, video
from kinetics.records import Clip, Outcome
from kinetics.scheduling.call_pace import CallPace
from kinetics.scheduling.pool import run
from kinetics.scheduling.throttle import Throttle
from tests.support.sandbox import Nothing, workers
from tests.youtube.world import Row, Scenario

ITEMS_S, PARENT_GROWTH_MB, WORKER_MB = 5000.0, 30.0, 90.0
"""Accepted: items a second, the growth of the parent's memory, and the memory of a worker."""
CONCURRENCY = 8
MANY_WORKERS = 64
CLIPS_PER_WORKER = 1000
SHORT_S = 2
"""Length of the clips: short, so that the benchmark with a thousand clips per worker ends soon."""


@dataclass(frozen=True)
class Drained:
    """The cost of passing many items through the pool without working on them."""

    items_s: float
    before_mb: float
    """The parent's resident memory after the first tenth of the items."""
    peak_mb: float
    """The parent's peak memory."""


def measure(settings: Settings) -> Iterator[Table]:
    """Yield a table of the pool, and one of the workers."""
    count = settings.clips_or(650_000, quick=50_000)
    drained = []
    for _ in range(settings.rounds_or(1)):
        log(f"{count:,} items through the pool")
        drained.append(in_worker(os.environ, drain, count))
    rates, growths = [one.items_s for one in drained], [one.peak_mb - one.before_mb for one in drained]
    yield Table(
        f"{count:,} items that need no work, {CONCURRENCY} workers",
        ["", "measured", "wanted", "verdict"],
        [
            ["items/s", spread(rates, 0), f">= {ITEMS_S:g}", verdict(statistics.median(rates) >= ITEMS_S)],
            [
                "parent's growth, MB",
                spread(growths, 1),
                f"<= {PARENT_GROWTH_MB:g}",
                verdict(max(growths) <= PARENT_GROWTH_MB),
            ],
            ["parent, MB", spread((one.peak_mb for one in drained), 1), "", ""],
        ],
        ["The growth is from the memory after the first tenth of the items to the peak."],
    )
    with youtube_process() as youtube, tempfile.TemporaryDirectory() as scratch:
        yield _sizes(settings, youtube, Path(scratch))


def drain(count: int) -> Drained:
    """Pass this many items through the pool, in this process."""
    items = (Clip(f"{number:011d}", 0.0, 10.0, "tai chi", "train") for number in range(count))
    began, sizes, done = time.monotonic(), [0.0], 0
    throttle = Throttle(CONCURRENCY, pace=CallPace(limited=False))
    for event in run(Nothing(), items, workers=CONCURRENCY, timeout_s=60.0, throttle=throttle):
        if isinstance(event, Outcome):
            done += 1
            if done % max(1, count // 100) == 0:
                sizes.append(memory_mb(os.getpid())["Rss"])
    assert done == count
    return Drained(count / (time.monotonic() - began), sizes[max(1, len(sizes) // 10)], max(sizes))


def _sizes(settings: Settings, youtube: YouTube, scratch: Path) -> Table:
    each = 50 if settings.quick else CLIPS_PER_WORKER
    lines = []
    for worker_count, count, clip_s in ((MANY_WORKERS, 4 * MANY_WORKERS, CLIP_S), (2, 2 * each, SHORT_S)):
        log(f"memory of {worker_count} workers")
        rows, scenarios = clips(count, [video(60)], clip_s=clip_s)
        youtube.serve(scenarios, latency_s=0, connection_bit_s=None)
        lines.append(
            [
                str(worker_count),
                f"{count:,} of {clip_s} s",
                *_sizes_of(youtube, scratch / str(worker_count), rows, scenarios, worker_count),
            ]
        )
    return Table(
        "Memory of a worker, --cut exact, MB resident",
        ["workers", "clips", "at once", "first quarter", "last quarter", "most", "wanted", "", "together"],
        lines,
        [
            "Median (minimum-maximum) over workers and moments, once all have started; a part of each is shared. "
            "Together: the peak of all at one moment, with shared memory counted once."
        ],
    )


def _sizes_of(
    youtube: YouTube, folder: Path, rows: Sequence[Row], scenarios: Mapping[str, Scenario], worker_count: int
) -> list[str]:
    samples: list[list[dict[str, float]]] = []

    def observe(pid: int) -> None:
        samples.append([memory for worker in workers(pid) if (memory := memory_mb(worker))["Rss"]])
        time.sleep(1)

    download(youtube, rows, scenarios, folder, "exact", "-w", str(worker_count), observe=observe)
    alive = max(map(len, samples))  # fewer than asked for if clips end before all workers are needed
    busy = [sample for sample in samples if len(sample) == alive]
    quarter = max(1, len(busy) // 4)
    most = max(memory["Rss"] for sample in busy for memory in sample)
    together = max(sum(memory["Pss"] for memory in sample) for sample in busy)
    return [
        *(str(alive), _memory_range(busy[:quarter]), _memory_range(busy[-quarter:])),
        *(f"{most:.0f}", f"<= {WORKER_MB:g}", verdict(most <= WORKER_MB), f"{together:.0f}"),
    ]


def _memory_range(samples: Sequence[Sequence[dict[str, float]]]) -> str:
    return spread((memory["Rss"] for sample in samples for memory in sample), 0)


if __name__ == "__main__":
    main(["dispatch"])
