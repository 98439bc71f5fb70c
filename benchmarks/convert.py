"""Clips on disk: verified, and turned into frames beside the ffmpeg program doing the same."""

from __future__ import annotations

import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.report import Settings, Table, ffmpeg, main, say, spread, verdict
from benchmarks.rig import download, run, youtube_apart
from benchmarks.worlds import clips
from tests.support.sandbox import Sandbox
from tests.youtube.world import Row

AT_ONCE = 2
QUICK_CLIPS_S, FRAMES_SHARE = 2000.0, 0.8
SHORT_SIDE, QUALITY, SCALE = 256, 90, 2
"""ffmpeg calls that quality 2."""
WAYS = {"all": "scale=-2:256", "5": "fps=5,scale=-2:256"}
"""What --frames may be, and the same in ffmpeg's terms."""


def measure(settings: Settings) -> Iterator[Table]:
    """A table of the verification, and one of the frames."""
    rounds = settings.rounds_or(3)
    with youtube_apart() as youtube, tempfile.TemporaryDirectory() as scratch:
        rows, scenarios = clips(settings.clips_or(60, quick=12))
        say(f"{len(rows)} clips to work on")
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
            say(f"{' '.join(options)}, round {number + 1}")
            rates.append(len(bench.rows) / _ran(bench.command(*options, "-w", str(AT_ONCE))))
        holds = verdict(statistics.median(rates) >= wanted) if wanted else ""
        lines.append(
            [" ".join(options), f"{len(bench.rows):,}", spread(rates, 0), f">= {wanted:g}" if wanted else "", holds]
        )
    return Table(
        f"Clips on disk, verified by {AT_ONCE} workers",
        ["", "clips", "clips/s", "wanted", ""],
        lines,
        [
            "From the start of the program to its end. The many are links to the few, so that the disk plays no part: "
            "what is measured is the work on a header."
        ],
    )


def _frames(bench: Sandbox, rounds: int, scratch: Path) -> Table:
    lines = []
    for fps, filters in WAYS.items():
        ours, theirs = list[float](), list[float]()
        for number in range(rounds):
            say(f"--frames {fps}, round {number + 1}")
            options = ["--frames", fps, "--short-side", str(SHORT_SIDE), "--quality", str(QUALITY)]
            frames = bench.folder / "Kinetics700_frames"
            ours.append(len(bench.rows) / _ran(bench.command(*options, "-w", str(AT_ONCE))))
            frames.rename(scratch / f"ours {fps} {number}")
            theirs.append(len(bench.rows) / _ffmpeg(bench.rows, bench, filters, scratch / f"theirs {fps} {number}"))
        made = [len([*(scratch / f"{who} {fps} 0").rglob("*.jpg")]) for who in ("ours", "theirs")]
        ratios = [one / other for one, other in zip(ours, theirs, strict=True)]
        holds = verdict(statistics.median(ratios) >= FRAMES_SHARE)
        counts = [f"{count / len(bench.rows):.1f}" for count in made]
        lines.append([fps, spread(ours), spread(theirs), *counts, spread(ratios), f">= {FRAMES_SHARE:g}", holds])
    return Table(
        f"Frames of {len(bench.rows)} clips, the shorter side {SHORT_SIDE}, {AT_ONCE} at a time",
        ["frames a second", "clips/s", "ffmpeg's", "frames", "ffmpeg's", "ratio", "wanted", ""],
        lines,
        ["Ours from the start of the program to its end; the ffmpeg program with one thread, once for every clip."],
    )


def _ran(command: Sequence[str]) -> float:
    used = run(command, os.environ)
    if used.code:
        raise SystemExit(f"it ended with {used.code}:\n{used.output}")
    return used.wall_s


def _ffmpeg(rows: Sequence[Row], bench: Sandbox, filters: str, folder: Path) -> float:
    """Seconds in which the ffmpeg program does it."""
    usual = [ffmpeg(), "-v", "error", "-threads", "1"]

    def one(row: Row) -> None:
        into = folder / row.youtube_id
        into.mkdir(parents=True)
        more = ["-vf", filters, "-fps_mode", "passthrough", "-q:v", str(SCALE), "-threads", "1"]
        subprocess.run([*usual, "-i", str(bench.path(row)), *more, str(into / "img_%05d.jpg")], check=True)

    began = time.monotonic()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(one, rows))
    return time.monotonic() - began


if __name__ == "__main__":
    main(["convert"])
