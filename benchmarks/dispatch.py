"""Items that need no work through the pool, what that does to the parent's memory, and how large workers are."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.report import Settings, Table, main, say, spread, verdict
from benchmarks.rig import YouTube, download, in_worker, memory_mb, youtube_apart
from benchmarks.worlds import CLIP_S, clips, video
from kinetics.records import Clip, Outcome
from kinetics.scheduling.pool import run
from kinetics.scheduling.throttle import Throttle
from tests.support.sandbox import Nothing, workers
from tests.youtube.world import Row, Scenario

ITEMS_S, PARENT_GROWTH_MB, WORKER_MB = 5000.0, 30.0, 90.0
AT_ONCE = 8
MANY = 64
CLIPS_EACH = 1000
SHORT_S = 2
"""Short clips, so that a thousand of them end while one waits."""


@dataclass(frozen=True)
class Drained:
    """What it took to do nothing to many items."""

    items_s: float
    before_mb: float
    """The parent's memory after the first tenth."""
    most_mb: float


def measure(settings: Settings) -> Iterator[Table]:
    """A table of the pool, and one of the workers."""
    count = settings.clips_or(650_000, quick=50_000)
    drained = []
    for _ in range(settings.rounds_or(1)):
        say(f"{count:,} items through the pool")
        drained.append(in_worker(os.environ, drain, count))
    rates, growths = [one.items_s for one in drained], [one.most_mb - one.before_mb for one in drained]
    yield Table(
        f"{count:,} items that need no work, {AT_ONCE} workers",
        ["", "measured", "wanted", "verdict"],
        [
            ["items/s", spread(rates, 0), f">= {ITEMS_S:g}", verdict(statistics.median(rates) >= ITEMS_S)],
            [
                "parent's growth, MB",
                spread(growths, 1),
                f"<= {PARENT_GROWTH_MB:g}",
                verdict(max(growths) <= PARENT_GROWTH_MB),
            ],
            ["parent, MB", spread((one.most_mb for one in drained), 1), "", ""],
        ],
        ["The growth is from the first tenth of the items to the most there ever was."],
    )
    with youtube_apart() as youtube, tempfile.TemporaryDirectory() as scratch:
        yield _sizes(settings, youtube, Path(scratch))


def drain(count: int) -> Drained:
    """Send so many items through the pool, in this process."""
    items = (Clip(f"{number:011d}", 0.0, 10.0, "tai chi", "train") for number in range(count))
    began, sizes, done = time.monotonic(), [0.0], 0
    for event in run(Nothing(), items, workers=AT_ONCE, timeout_s=60.0, throttle=Throttle(AT_ONCE)):
        if isinstance(event, Outcome):
            done += 1
            if done % max(1, count // 100) == 0:
                sizes.append(memory_mb(os.getpid())["Rss"])
    assert done == count
    return Drained(count / (time.monotonic() - began), sizes[max(1, len(sizes) // 10)], max(sizes))


def _sizes(settings: Settings, youtube: YouTube, scratch: Path) -> Table:
    each = 50 if settings.quick else CLIPS_EACH
    lines = []
    for crew, count, clip_s in ((MANY, 4 * MANY, CLIP_S), (2, 2 * each, SHORT_S)):
        say(f"memory of {crew} workers")
        rows, scenarios = clips(count, [video(60)], clip_s=clip_s)
        youtube.serve(scenarios, latency_s=0, connection_bit_s=None)
        lines.append(
            [str(crew), f"{count:,} of {clip_s} s", *_sizes_of(youtube, scratch / str(crew), rows, scenarios, crew)]
        )
    return Table(
        "Memory of a worker, --cut exact, MB resident",
        ["workers", "clips", "at once", "first quarter", "last quarter", "most", "wanted", "", "together"],
        lines,
        [
            "Median (least-most) over the workers and the moments, from when all are there; a part of each is shared. "
            "Together: the most of all at one moment, what is shared counted once."
        ],
    )


def _sizes_of(
    youtube: YouTube, folder: Path, rows: Sequence[Row], scenarios: Mapping[str, Scenario], crew: int
) -> list[str]:
    samples: list[list[dict[str, float]]] = []

    def look(pid: int) -> None:
        samples.append([memory for worker in workers(pid) if (memory := memory_mb(worker))["Rss"]])
        time.sleep(1)

    download(youtube, rows, scenarios, folder, "exact", "-w", str(crew), look=look)
    alive = max(map(len, samples))  # fewer than asked for, where clips end sooner than workers are needed
    busy = [sample for sample in samples if len(sample) == alive]
    quarter = max(1, len(busy) // 4)
    most = max(memory["Rss"] for sample in busy for memory in sample)
    together = max(sum(memory["Pss"] for memory in sample) for sample in busy)
    return [
        *(str(alive), _spread(busy[:quarter]), _spread(busy[-quarter:])),
        *(f"{most:.0f}", f"<= {WORKER_MB:g}", verdict(most <= WORKER_MB), f"{together:.0f}"),
    ]


def _spread(samples: Sequence[Sequence[dict[str, float]]]) -> str:
    return spread((memory["Rss"] for sample in samples for memory in sample), 0)


if __name__ == "__main__":
    main(["dispatch"])
