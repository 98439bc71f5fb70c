"""What is left of the line where the line is the limit, and how well `--limit-rate` keeps to its number."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.report import Settings, Table, main, say, spread, verdict
from benchmarks.rig import Run, YouTube, download, youtube_apart
from benchmarks.worlds import clips, needed, video
from tests.youtube.world import Row

WORKERS = 16
LINE_BIT_S = 20e6
SHARE_WANTED = 0.8
LIMIT_BYTES_S = 5e6
MOST_OFF = 0.05
LIMITED_S = 60.0
ABOUT_A_CLIP = 0.85e6
"""Bytes, to have enough clips for so long a run."""


def measure(settings: Settings) -> Iterator[Table]:
    """Two tables."""
    with youtube_apart() as youtube, tempfile.TemporaryDirectory() as scratch:
        yield _shares(settings, youtube, Path(scratch))
        yield _limited(settings, youtube, Path(scratch))


def _shares(settings: Settings, youtube: YouTube, scratch: Path) -> Table:
    rows, scenarios = clips(settings.clips_or(120, quick=48), [video(240)], ["dash"])
    youtube.serve(scenarios, connection_bit_s=None, line_bit_s=LINE_BIT_S)
    lines = []
    for cut in [cut for cut in settings.cuts if cut != "exact"]:  # which the processor limits, not the line
        most, rates = LINE_BIT_S / 8 / statistics.mean(needed(video(240), row, cut) for row in rows), []
        for number in range(settings.rounds_or(2)):
            say(f"a line of {LINE_BIT_S / 1e6:g} Mbit/s: {cut}")
            rates.append(download(youtube, rows, scenarios, scratch / f"{cut} {number}", cut, "-w", str(WORKERS)))
        shares = [ran.steady_clips_s / most for ran in rates]
        lines.append(
            [
                cut,
                spread(ran.steady_clips_s for ran in rates),
                f"{most:.2f}",
                spread(100 * share for share in shares),
                spread(ran.used.cpu_s / ran.clips for ran in rates),
                f">= {100 * SHARE_WANTED:g} %",
                verdict(statistics.median(shares) >= SHARE_WANTED),
            ]
        )
    return Table(
        f"A line of {LINE_BIT_S / 1e6:g} Mbit/s in all: {len(rows)} clips of 4-minute videos (DASH), {WORKERS} workers",
        ["cut", "clips/s", "possible", "% of that", "CPU s a clip", "wanted", ""],
        lines,
        [
            "Possible is the line over the mean bytes of a section and its sound (`python -m benchmarks bytes`). "
            "Clips/s in the middle of the run, without its start and end."
        ],
    )


def _limited(settings: Settings, youtube: YouTube, scratch: Path) -> Table:
    seconds = LIMITED_S / 6 if settings.quick else LIMITED_S
    count = settings.clips or int(seconds * LIMIT_BYTES_S / ABOUT_A_CLIP)
    rows, scenarios = clips(count, [video(240)], ["dash"])
    youtube.serve(scenarios, connection_bit_s=None)
    say(f"--limit-rate for about {seconds:.0f} s")
    limit = ("-w", str(WORKERS), "--limit-rate", f"{LIMIT_BYTES_S / 1e6:g}M")
    ran = download(youtube, rows, scenarios, scratch / "limited", "keyframe", *limit)
    took_s = _media_s(ran, rows)
    rate = ran.media_bytes / took_s
    off = rate / LIMIT_BYTES_S - 1
    return Table(
        f"--limit-rate {LIMIT_BYTES_S / 1e6:g}M: {WORKERS} workers, an unlimited line",
        ["cut", "seconds", "MB/s", "off by", "wanted", ""],
        [
            [
                "keyframe",
                f"{took_s:.1f}",
                f"{rate / 1e6:.3f}",
                f"{100 * off:+.1f} %",
                f"<= {100 * MOST_OFF:g} %",
                verdict(abs(off) <= MOST_OFF),
            ]
        ],
        ["From the first request for media to the last clip's end; MB as the server sent them."],
    )


def _media_s(ran: Run, rows: list[Row]) -> float:
    first = min(request.time for request in ran.requests if request.kind == "media")
    return max(ran.bench.path(row).stat().st_mtime for row in rows) - first


if __name__ == "__main__":
    main(["line"])
