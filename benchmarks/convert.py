"""Work on clips on disk: verification, and frames, compared with the ffmpeg program."""

from __future__ import annotations

import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.harness import download, run, youtube_process
from benchmarks.report import Settings, Table, ffmpeg, log, main, spread, verdict
from benchmarks.workload import clips
from tests.support.sandbox import Sandbox
from tests.youtube.world import Row

CONCURRENCY = 2
QUICK_CLIPS_S, FRAMES_SHARE = 2000.0, 0.8
"""Accepted: clips a second of a quick verification, and the speed as a share of ffmpeg's."""
SHORT_SIDE, QUALITY, SCALE = 256, 90, 2
"""`SCALE` is ffmpeg's name for quality 90."""
FILTERS = {"all": "scale=-2:256", "5": "fps=5,scale=-2:256"}
"""Values of --frames, and the ffmpeg filters that do the same."""


def measure(settings: Settings) -> Iterator[Table]:
    """Yield a table of the verification, and one of the frames."""
    rounds = settings.rounds_or(3)
    with youtube_process() as youtube, tempfile.TemporaryDirectory() as scratch:
        rows, scenarios = clips(settings.clips_or(60, quick=12))
        log(f"{len(rows)} clips to work on")
        youtube.serve(scenarios, latency_s=0, connection_bit_s=None)
        bench = download(youtube, rows, scenarios, Path(scratch, "few"), "smart").bench
        yield _verified(bench, 2_000 if settings.quick else 10_000, rounds, Path(scratch, "many"))
        yield _frames(bench, rounds, Path(scratch))


def _verified(few: Sandbox, count: int, rounds: int, folder: Path) -> Table:
    many = Sandbox(folder, [Row("tai chi", f"{number:011}", 1, 11) for number in range(count)])
    sources = [few.path(row) for row in few.rows]
    many.path(many.rows[0]).parent.mkdir(parents=True)
    for place, row in enumerate(many.rows):
        os.link(sources[place % len(sources)], many.path(row))
    lines = []
    for bench, options, wanted in ((many, ["--verify", "--quick"], QUICK_CLIPS_S), (few, ["--verify"], 0.0)):
        rates = []
        for number in range(rounds):
            log(f"{' '.join(options)}, round {number + 1}")
            rates.append(len(bench.rows) / _wall_s(bench.command(*options, "-w", str(CONCURRENCY))))
        holds = verdict(statistics.median(rates) >= wanted) if wanted else ""
        lines.append(
            [" ".join(options), f"{len(bench.rows):,}", spread(rates, 0), f">= {wanted:g}" if wanted else "", holds]
        )
    return Table(
        f"Verification of clips on disk by {CONCURRENCY} workers",
        ["", "clips", "clips/s", "wanted", ""],
        lines,
        [
            "From the start of the program to its end. The many clips are links to the few, so that the "
            "disk's speed does not matter and only the work on headers is measured."
        ],
    )


def _frames(bench: Sandbox, rounds: int, scratch: Path) -> Table:
    lines = []
    for fps, filters in FILTERS.items():
        ours, theirs = list[float](), list[float]()
        for number in range(rounds):
            log(f"--frames {fps}, round {number + 1}")
            options = ["--frames", fps, "--short-side", str(SHORT_SIDE), "--quality", str(QUALITY)]
            frames = bench.folder / "Kinetics700_frames"
            ours.append(len(bench.rows) / _wall_s(bench.command(*options, "-w", str(CONCURRENCY))))
            frames.rename(scratch / f"ours {fps} {number}")
            theirs.append(len(bench.rows) / _ffmpeg(bench.rows, bench, filters, scratch / f"theirs {fps} {number}"))
        made = [len([*(scratch / f"{who} {fps} 0").rglob("*.jpg")]) for who in ("ours", "theirs")]
        ratios = [one / other for one, other in zip(ours, theirs, strict=True)]
        holds = verdict(statistics.median(ratios) >= FRAMES_SHARE)
        counts = [f"{count / len(bench.rows):.1f}" for count in made]
        lines.append([fps, spread(ours), spread(theirs), *counts, spread(ratios), f">= {FRAMES_SHARE:g}", holds])
    return Table(
        f"Frames of {len(bench.rows)} clips, the shorter side {SHORT_SIDE}, {CONCURRENCY} at a time",
        ["frames a second", "clips/s", "ffmpeg's", "frames", "ffmpeg's", "ratio", "wanted", ""],
        lines,
        ["Ours from the start of the program to its end; the ffmpeg program with one thread, once for every clip."],
    )


def _wall_s(command: Sequence[str]) -> float:
    used = run(command, os.environ)
    if used.code:
        raise SystemExit(f"the command ended with {used.code}:\n{used.output}")
    return used.wall_s


def _ffmpeg(rows: Sequence[Row], bench: Sandbox, filters: str, folder: Path) -> float:
    """Return the seconds that the ffmpeg program takes for all rows."""
    command = [ffmpeg(), "-v", "error", "-threads", "1"]

    def one(row: Row) -> None:
        into = folder / row.youtube_id
        into.mkdir(parents=True)
        more = ["-vf", filters, "-fps_mode", "passthrough", "-q:v", str(SCALE), "-threads", "1"]
        subprocess.run([*command, "-i", str(bench.path(row)), *more, str(into / "img_%05d.jpg")], check=True)

    began = time.monotonic()
    with ThreadPoolExecutor(CONCURRENCY) as pool:
        list(pool.map(one, rows))
    return time.monotonic() - began


if __name__ == "__main__":
    main(["convert"])
