"""Dask clusters: the speed of two hosts, of which one may be throttled, and the load of the parent."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness import Run, YouTube, download, in_worker, memory_mb, youtube_process
from benchmarks.report import Settings, Table, log, main, spread, verdict
from benchmarks.workload import clips, video
from kinetics.records import Clip, Outcome
from kinetics.scheduling.dask_client import run
from kinetics.scheduling.throttle import Unthrottled
from kinetics.storage.layout import Layout
from tests.support.cluster import cluster
from tests.support.sandbox import Nothing
from tests.youtube.world import FakeThrottle, Row, Scenario

TWO_HOSTS, ONE_THROTTLED, OUTCOMES_S, GROWTH_MB = 1.8, 0.9, 500.0, 30.0
"""Accepted: speeds as multiples of one host's, outcomes a second of the parent's CPU, and its growth of memory."""
LATENCY_S = 0.3
"""Before each reply: long enough that hosts mostly wait, so that this machine's processors do not limit two of them."""
THREADS = 4
NOTHING_THREADS = 8
"""Threads of a Dask worker for items that need no work."""
THROTTLED_AFTER = 10
"""Player calls."""


@dataclass(frozen=True)
class Drained:
    """The cost of passing many items through the scheduler without working on them."""

    items_s: float
    cpu_s: float
    """Processor seconds of the parent per item."""
    before_mb: float
    """The parent's resident memory after the first tenth of the items."""
    peak_mb: float
    """The parent's peak memory."""


def measure(settings: Settings) -> Iterator[Table]:
    """Yield a table of the hosts, and one of the parent."""
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        free, refusing = (stack.enter_context(youtube_process()) for _ in range(2))
        yield _hosts(settings, free, refusing, scratch)
    yield _parent(settings)


def _hosts(settings: Settings, free: YouTube, refusing: YouTube, scratch: Path) -> Table:
    rows, scenarios = clips(settings.clips_or(160, quick=60), [video(60)], clip_s=2)
    rates: dict[str, list[float]] = {"one host": [], "two hosts": [], "two hosts, one throttled": []}
    for number in range(settings.rounds_or(3)):
        for name, found in rates.items():
            log(name)
            free.serve(scenarios, latency_s=LATENCY_S, connection_bit_s=None)
            throttle = FakeThrottle(THROTTLED_AFTER, for_s=3600.0) if "throttled" in name else None
            refusing.serve(scenarios, latency_s=LATENCY_S, connection_bit_s=None, throttle=throttle)
            hosts = [free.env()] if name == "one host" else [free.env(), refusing.env()]
            ran = _on(hosts, free, rows, scenarios, scratch / f"{name} {number}")
            found.append(ran.steady_clips_s)
    alone = statistics.median(rates["one host"])
    wanted = {"two hosts": TWO_HOSTS, "two hosts, one throttled": ONE_THROTTLED}
    lines = []
    for name, found in rates.items():
        ratio = statistics.median(found) / alone
        lines.append([name, spread(found), f"{ratio:.2f}"])
        lines[-1] += [f">= {wanted[name]:g}", verdict(ratio >= wanted[name])] if name in wanted else ["", ""]
    return Table(
        f"{len(rows)} clips on a Dask cluster, {THREADS} threads a host, {1000 * LATENCY_S:g} ms a request",
        ["", "clips/s", "of one host", "wanted", ""],
        lines,
        [f"In the middle of the run. Throttled: always refused after {THROTTLED_AFTER} player calls."],
    )


def _on(
    hosts: Sequence[Mapping[str, str]],
    youtube: YouTube,
    rows: Sequence[Row],
    scenarios: Mapping[str, Scenario],
    folder: Path,
) -> Run:
    with cluster(folder / "dask", *hosts, threads=THREADS) as dask:
        return download(youtube, rows, scenarios, folder, "keyframe", "-w", str(THREADS), "--scheduler", dask.address)


def _parent(settings: Settings) -> Table:
    count = settings.clips_or(650_000, quick=20_000)
    drained = []
    with tempfile.TemporaryDirectory() as scratch, cluster(Path(scratch), {}, {}, threads=NOTHING_THREADS) as dask:
        for _ in range(settings.rounds_or(1)):
            log(f"{count:,} items through a cluster")
            drained.append(in_worker(os.environ, drain, dask.address, count))
    able, growths = [1 / one.cpu_s for one in drained], [one.peak_mb - one.before_mb for one in drained]
    return Table(
        f"{count:,} items that need no work, on two Dask workers with {NOTHING_THREADS} threads each",
        ["", "measured", "wanted", "verdict"],
        [
            ["items/s, all on this machine", spread((one.items_s for one in drained), 0), "", ""],
            ["parent's CPU, ms an item", spread(1000 * one.cpu_s for one in drained), "", ""],
            [
                "so items/s for it alone",
                spread(able, 0),
                f">= {OUTCOMES_S:g}",
                verdict(statistics.median(able) >= OUTCOMES_S),
            ],
            ["parent's growth, MB", spread(growths, 1), f"<= {GROWTH_MB:g}", verdict(max(growths) <= GROWTH_MB)],
            ["parent, MB", spread((one.peak_mb for one in drained), 1), "", ""],
        ],
        ["The growth is from the memory after the first tenth of the items to the peak."],
    )


def drain(scheduler: str, count: int) -> Drained:
    """Pass this many items through the cluster, from this process."""
    items = (Clip(f"{number:011d}", 0.0, 10.0, "tai chi", "train") for number in range(count))
    began, cpu_s, sizes, done = time.monotonic(), time.process_time(), [0.0], 0
    with tempfile.TemporaryDirectory() as shared:
        layout = Layout(Path(shared), "700")
        for event in run(
            Nothing(),
            items,
            scheduler=scheduler,
            layout=layout,
            run_folder=Path(shared),
            timeout_s=60.0,
            new_throttle=lambda workers, _: Unthrottled(workers),
        ):
            if isinstance(event, Outcome):
                done += 1
                if done % max(1, count // 100) == 0:
                    sizes.append(memory_mb(os.getpid())["Rss"])
    assert done == count
    took_s, cpu_s = time.monotonic() - began, time.process_time() - cpu_s
    return Drained(count / took_s, cpu_s / count, sizes[max(1, len(sizes) // 10)], max(sizes))


if __name__ == "__main__":
    main(["cluster"])
