"""The share of the bandwidth that is used where the network is the limit, and the accuracy of `--limit-rate`."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.harness import Run, YouTube, download, youtube_process
from benchmarks.report import Settings, Table, log, main, spread, verdict
from benchmarks.workload import clips, needed, video
from tests.youtube.world import Row

WORKERS = 16
TOTAL_BIT_S = 20e6
MIN_SHARE = 0.8
"""Accepted share of the possible clips a second."""
LIMIT_BYTES_S = 5e6
MAX_DEVIATION = 0.05
"""Accepted deviation from `--limit-rate`, as a share of it."""
LIMITED_S = 60.0
"""Approximate length of the run with `--limit-rate`."""
BYTES_PER_CLIP = 0.85e6
"""Approximate size of a clip, which gives the number of clips for a run of that length."""


def measure(settings: Settings) -> Iterator[Table]:
    """Yield a table of the shares of the bandwidth, and one of `--limit-rate`."""
    with youtube_process() as youtube, tempfile.TemporaryDirectory() as scratch:
        yield _shares(settings, youtube, Path(scratch))
        yield _limited(settings, youtube, Path(scratch))


def _shares(settings: Settings, youtube: YouTube, scratch: Path) -> Table:
    rows, scenarios = clips(settings.clips_or(120, quick=48), [video(240)], ["dash"])
    youtube.serve(scenarios, connection_bit_s=None, total_bit_s=TOTAL_BIT_S)
    lines = []
    for cut in [cut for cut in settings.cuts if cut != "exact"]:  # which the processor limits, not the network
        most, rates = TOTAL_BIT_S / 8 / statistics.mean(needed(video(240), row, cut) for row in rows), []
        for number in range(settings.rounds_or(2)):
            log(f"{TOTAL_BIT_S / 1e6:g} Mbit/s in total: {cut}")
            rates.append(download(youtube, rows, scenarios, scratch / f"{cut} {number}", cut, "-w", str(WORKERS)))
        shares = [ran.steady_clips_s / most for ran in rates]
        lines.append(
            [
                cut,
                spread(ran.steady_clips_s for ran in rates),
                f"{most:.2f}",
                spread(100 * share for share in shares),
                spread(ran.used.cpu_s / ran.clips for ran in rates),
                f">= {100 * MIN_SHARE:g} %",
                verdict(statistics.median(shares) >= MIN_SHARE),
            ]
        )
    return Table(
        f"{TOTAL_BIT_S / 1e6:g} Mbit/s in total: {len(rows)} clips of 4-minute videos (DASH), {WORKERS} workers",
        ["cut", "clips/s", "possible", "% of that", "CPU s a clip", "wanted", ""],
        lines,
        [
            "Possible is the bandwidth over the mean bytes of a section and its sound (`python -m benchmarks bytes`). "
            "Clips/s in the middle of the run, without its start and end."
        ],
    )


def _limited(settings: Settings, youtube: YouTube, scratch: Path) -> Table:
    seconds = LIMITED_S / 6 if settings.quick else LIMITED_S
    count = settings.clips or int(seconds * LIMIT_BYTES_S / BYTES_PER_CLIP)
    rows, scenarios = clips(count, [video(240)], ["dash"])
    youtube.serve(scenarios, connection_bit_s=None)
    log(f"--limit-rate for about {seconds:.0f} s")
    limit = ("-w", str(WORKERS), "--limit-rate", f"{LIMIT_BYTES_S / 1e6:g}M")
    ran = download(youtube, rows, scenarios, scratch / "limited", "keyframe", *limit)
    took_s = _media_s(ran, rows)
    rate = ran.media_bytes / took_s
    deviation = rate / LIMIT_BYTES_S - 1
    return Table(
        f"--limit-rate {LIMIT_BYTES_S / 1e6:g}M: {WORKERS} workers, an unlimited network",
        ["cut", "seconds", "MB/s", "off by", "wanted", ""],
        [
            [
                "keyframe",
                f"{took_s:.1f}",
                f"{rate / 1e6:.3f}",
                f"{100 * deviation:+.1f} %",
                f"<= {100 * MAX_DEVIATION:g} %",
                verdict(abs(deviation) <= MAX_DEVIATION),
            ]
        ],
        ["From the first request for media to the last clip's end; MB as the server sent them."],
    )


def _media_s(ran: Run, rows: list[Row]) -> float:
    first = min(request.time for request in ran.requests if request.kind == "media")
    return max(ran.bench.path(row).stat().st_mtime for row in rows) - first


if __name__ == "__main__":
    main(["network"])
