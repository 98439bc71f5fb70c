"""650,000 clips: how long a run takes to find that nothing is left to do, and an empty folder to its first clip."""

from __future__ import annotations

import os
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.report import Settings, Table, main, say, spread, verdict
from benchmarks.rig import Used, YouTube, run, youtube_apart
from benchmarks.worlds import CLIP_S, video
from kinetics.records import Clip
from kinetics.storage.layout import Layout
from tests.support.commands import ROOT
from tests.youtube.world import Row, Scenario

LABELS = 700
NOTHING_S, NOTHING_MB, FIRST_S = 4.0, 500.0, 2.5
COMMAND = [sys.executable, str(ROOT / "download.py"), "-v", "700", "-s", "train", "-w", "8"]


def measure(settings: Settings) -> Iterator[Table]:
    """One table: the re-run, and the first clip of each kind."""
    count, rounds = settings.clips_or(650_000, quick=100_000), settings.rounds_or(3)
    rows = [Row(f"label number {n % LABELS}", f"-_{n:09}", n % 50, n % 50 + CLIP_S) for n in range(count)]
    with youtube_apart() as youtube, tempfile.TemporaryDirectory() as scratch:
        scenario = Scenario(video(60))
        youtube.serve({row.youtube_id: scenario for row in rows}, connection_bit_s=None)
        youtube.annotate("train", rows)
        say("the archive")
        run([*COMMAND, "-o", scratch, "--dry-run"], youtube.env())  # which keeps it
        lines = []
        for cut in settings.cuts:
            say(f"the first clip: {cut}")
            seconds = [_first_clip_s(youtube, Path(scratch, f"{cut} {number}"), cut) for number in range(rounds)]
            holds = verdict(statistics.median(seconds) <= FIRST_S)
            lines.append([f"first clip, {cut}", spread(seconds), f"<= {FIRST_S:g}", holds, "", "", ""])
        say(f"making {count:,} files")
        _complete(Path(scratch, "complete"), rows)
        say("a re-run with nothing to do")
        lines.insert(0, _again([_nothing_to_do(youtube, Path(scratch, "complete")) for _ in range(rounds)]))
    yield Table(
        f"From the start of the program, with {count:,} annotated clips",
        ["until", "seconds", "wanted", "", "MB", "wanted", ""],
        lines,
        [
            "From the official archive, which an earlier run has fetched. MB: the most that the program had resident. "
            "The first clip comes over a line of 30 ms; on a slow one its bytes' time comes on top, 0.5 s at 8 Mbit/s."
        ],
    )


def _complete(folder: Path, rows: list[Row]) -> None:
    """A data set that has every clip; that they are empty does not matter to who only looks for their names."""
    layout = Layout(folder, "700")
    for place in {layout.clip(_clip(row)).parent for row in rows[:LABELS]}:
        place.mkdir(parents=True)
    for row in rows:
        os.close(os.open(layout.clip(_clip(row)), os.O_CREAT))


def _clip(row: Row) -> Clip:
    return Clip(row.youtube_id, row.time_start, row.time_end, row.label, "train")


def _nothing_to_do(youtube: YouTube, folder: Path) -> Used:
    used = run([*COMMAND, "-o", str(folder)], youtube.env())
    assert used.code == 0, used.output
    assert "nothing to do" in used.output, used.output
    return used


def _again(runs: list[Used]) -> list[str]:
    seconds, sizes = [used.wall_s for used in runs], [used.peak_mb for used in runs]
    return [
        *("nothing to do", spread(seconds), f"<= {NOTHING_S:g}", verdict(statistics.median(seconds) <= NOTHING_S)),
        *(spread(sizes, 0), f"<= {NOTHING_MB:g}", verdict(statistics.median(sizes) <= NOTHING_MB)),
    ]


def _first_clip_s(youtube: YouTube, folder: Path, cut: str) -> float:
    """Seconds until the first clip is there; the run is interrupted then."""
    began, found = time.monotonic(), list[float]()

    def look(pid: int) -> None:
        if not found and any((folder / "Kinetics700" / "train").rglob("*.mp4")):
            found.append(time.monotonic() - began)
            os.kill(pid, signal.SIGINT)

    used = run([*COMMAND, "-o", str(folder), "--cut", cut], youtube.env(), look)
    assert found, used.output
    return found[0]


if __name__ == "__main__":
    main(["start"])
