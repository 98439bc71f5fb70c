"""Start-up with 650,000 clips: the time until nothing is found to be left, until a first clip, and until a re-run's."""

from __future__ import annotations

import os
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path

from benchmarks.harness import Usage, YouTube, run, youtube_process
from benchmarks.report import Settings, Table, log, main, spread, verdict
from benchmarks.workload import CLIP_S, video
from kinetics.planning.gone_clips import CONFIRMED_DAYS, PLAYER_AGAIN_DAYS
from kinetics.records import Clip
from kinetics.storage.layout import Layout
from kinetics.storage.thumbnail_log import THUMBNAILS
from tests.support.commands import ROOT
from tests.youtube.world import Row, Scenario

LABELS = 700
GONE_OF, GONE = 130, 27
"""Of each GONE_OF clips, how many are gone: 135,000 of 650,000."""
LIVING = 1_000
"""Clips of a re-run that were never tried."""
NOTHING_S, NOTHING_MB, FIRST_S, AGAIN_S = 4.0, 500.0, 2.5, 5.0
"""Accepted: time and memory of a run with nothing to do, time to the first clip, and to that of a re-run."""
COMMAND = [sys.executable, str(ROOT / "download.py"), "-v", "700", "-s", "train", "-w", "8", "--rate", "none"]


def measure(settings: Settings) -> Iterator[Table]:
    """Yield one table: the run with nothing to do, the first clip with each cut, and that of a re-run."""
    count, rounds = settings.clips_or(650_000, quick=100_000), settings.rounds_or(3)
    rows = [Row(f"label number {n % LABELS}", f"-_{n:09}", n % 50, n % 50 + CLIP_S) for n in range(count)]
    with youtube_process() as youtube, tempfile.TemporaryDirectory() as scratch:
        scenario = Scenario(video(60))
        youtube.serve({row.youtube_id: scenario for row in rows}, connection_bit_s=None)
        youtube.annotate("train", rows)
        log("the annotation archive")
        run([*COMMAND, "-o", scratch, "--dry-run"], youtube.env())  # which stores it
        lines = []
        for cut in settings.cuts:
            log(f"the first clip: {cut}")
            folders = [Path(scratch, f"{cut} {number}") for number in range(rounds)]
            seconds = [_first_clip_s(youtube, folder, "--cut", cut) for folder in folders]
            lines.append(_first_row(f"first clip, {cut}", seconds, FIRST_S))
        log("the first clip of a re-run")
        again = Path(scratch, "again")
        _complete(again, [row for number, row in enumerate(rows) if not _is_gone(number) and number >= LIVING])
        seconds = []
        for _ in range(rounds):
            _confirm_gone(again, [row for number, row in enumerate(rows) if _is_gone(number)])
            seconds.append(_first_clip_s(youtube, again))
        lines.append(_first_row(f"first clip of a re-run, {count * GONE // GONE_OF:,} gone", seconds, AGAIN_S))
        log(f"making {count:,} files")
        _complete(Path(scratch, "complete"), rows)
        log("a re-run with nothing to do")
        lines.insert(0, _nothing_row([_nothing_to_do(youtube, Path(scratch, "complete")) for _ in range(rounds)]))
    yield Table(
        f"From the start of the program, with {count:,} annotated clips",
        ["until", "seconds", "wanted", "", "MB", "wanted", ""],
        lines,
        [
            "From the official archive, which an earlier run has fetched. MB: the peak that was resident. The first "
            "clip comes with a latency of 30 ms; on a slow network the time for its bytes is added, 0.5 s at 8 Mbit/s."
        ],
    )


def _complete(folder: Path, rows: list[Row]) -> None:
    """Make a data set with a file for each clip; the files are empty, as only their names are read."""
    layout = Layout(folder, "700")
    for place in {layout.clip(_clip(row)).parent for row in {row.label: row for row in rows}.values()}:
        place.mkdir(parents=True)
    for row in rows:
        os.close(os.open(layout.clip(_clip(row)), os.O_CREAT))


def _is_gone(number: int) -> bool:
    return number % GONE_OF < GONE


def _confirm_gone(folder: Path, rows: Sequence[Row]) -> None:
    """Write that these clips are gone, which missing thumbnails confirm; the first confirmation has lapsed."""
    layout, now = Layout(folder, "700"), datetime.now().astimezone()
    gone, seen, lapsed = (
        (now - timedelta(days=days)).isoformat(timespec="seconds")
        for days in (PLAYER_AGAIN_DAYS / 2, 1, CONFIRMED_DAYS + 1)
    )
    log_lines = (
        f"{row.youtube_id}\t{row.time_start}\t{row.time_end}\tprivate\tprivate: This is a private video.\t{gone}\n"
        for row in rows
    )
    layout.errors_log("train").write_text("".join(log_lines))
    confirmed = (f"{row.youtube_id},missing,{seen if number else lapsed}\n" for number, row in enumerate(rows))
    layout.table("train", THUMBNAILS).write_text("youtube_id,thumbnail,time\n" + "".join(confirmed))
    layout.stats("train").unlink(missing_ok=True)
    layout.clip(_clip(rows[0])).unlink(missing_ok=True)  # it came back in the round before


def _clip(row: Row) -> Clip:
    return Clip(row.youtube_id, row.time_start, row.time_end, row.label, "train")


def _nothing_to_do(youtube: YouTube, folder: Path) -> Usage:
    used = run([*COMMAND, "-o", str(folder)], youtube.env())
    assert used.code == 0, used.output
    assert "nothing to do" in used.output, used.output
    return used


def _nothing_row(runs: list[Usage]) -> list[str]:
    seconds, sizes = [used.wall_s for used in runs], [used.peak_mb for used in runs]
    return [
        *("nothing to do", spread(seconds), f"<= {NOTHING_S:g}", verdict(statistics.median(seconds) <= NOTHING_S)),
        *(spread(sizes, 0), f"<= {NOTHING_MB:g}", verdict(statistics.median(sizes) <= NOTHING_MB)),
    ]


def _first_row(what: str, seconds: list[float], most_s: float) -> list[str]:
    holds = verdict(statistics.median(seconds) <= most_s)
    return [what, spread(seconds), f"<= {most_s:g}", holds, "", "", ""]


def _first_clip_s(youtube: YouTube, folder: Path, *more: str) -> float:
    """Return the seconds until the first clip is in the table of attempts; then the run is interrupted."""
    began, found, table = time.monotonic(), list[float](), Layout(folder, "700").stats("train")

    def observe(pid: int) -> None:
        if not found and table.exists() and ",done," in table.read_text():
            found.append(time.monotonic() - began)
            os.kill(pid, signal.SIGINT)

    used = run([*COMMAND, "-o", str(folder), *more], youtube.env(), observe)
    assert found, used.output
    return found[0]


if __name__ == "__main__":
    main(["start"])
