"""The report on 650,000 clips, most of them on disk, and the same number of attempts: its time and its size."""

from __future__ import annotations

import csv
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import TextIO

from benchmarks.harness import in_worker
from benchmarks.report import Settings, Table, log, main, spread, verdict
from benchmarks.workload import video
from kinetics.records import SPLIT_OF, Category, Clip, Split
from kinetics.storage.layout import Layout
from kinetics.storage.ledger import STATS_FIELDS

LABELS = 700
GONE_EVERY = 9
"""Every ninth clip is gone."""
SESSION, PAUSE_S, CLIP_S = 300, 3600, 4
"""Clips between two refusals, seconds of the pause after a refusal, and seconds between two answers."""
PLAYABLE = 3 * LABELS
"""Clips that play, among which the page's samples are; the others are empty, as only their names matter."""
BEGIN = datetime(2026, 1, 1).astimezone()
WANTED_S, WANTED_MB = 15.0, 5.0
"""Accepted: seconds of the whole report, and size of the page."""
CASES: tuple[tuple[Split, ...], ...] = (("train",), tuple(SPLIT_OF.values()))
"""The splits of the clips that are reported on."""
PARTS = ("annotations", "numbers", "page and tables", "total")


def measure(settings: Settings) -> Iterator[Table]:
    """Yield a table for one subset, and one for three subsets of the same number of clips together."""
    count = settings.clips_or(650_000, quick=65_000)
    for splits in CASES:
        with tempfile.TemporaryDirectory() as scratch:
            layout, annotations = Layout(Path(scratch), "700"), Path(scratch, "rows.csv")
            log(f"making {count:,} files and rows")
            _make(layout, annotations, [_clip(number, splits) for number in range(count)])
            runs = []
            for number in range(settings.rounds_or(3)):
                log(f"round {number + 1}")
                runs.append(in_worker(os.environ, _report, layout, annotations, len(splits) > 1))
        seconds = {part: [run[part] for run in runs] for part in PARTS}
        page_mb, peak_mb = (statistics.median(run[what] for run in runs) for what in ("page", "peak"))
        lines = [[part, f"{spread(seconds[part])} s", "", ""] for part in PARTS[:-1]]
        holds = statistics.median(seconds["total"]) <= WANTED_S
        lines.append(["total", f"{spread(seconds['total'])} s", f"<= {WANTED_S:g} s", verdict(holds)])
        lines.append(["the page", f"{page_mb:.2f} MB", f"<= {WANTED_MB:g} MB", verdict(page_mb <= WANTED_MB)])
        lines.append(["memory", f"{peak_mb:.0f} MB", "", ""])
        subsets = "one subset" if len(splits) == 1 else f"{len(splits)} subsets"
        yield Table(
            f"The report on {count:,} clips of {subsets}, {LABELS} classes, and the same number of attempts",
            ["", "measured", "wanted", ""],
            lines,
            ["Each round in a new process, from an annotation file in CSV; memory is the peak that was resident."],
        )


def _clip(number: int, splits: Sequence[Split]) -> Clip:
    """Return a clip: of several splits, the first has all but one clip in ten of each other."""
    split = splits[number % 10] if number % 10 < len(splits) else splits[0]
    return Clip(f"-_{number:09}", number % 50, number % 50 + 10, f"label number {number % LABELS}", split)


def _make(layout: Layout, annotations: Path, clips: list[Clip]) -> None:
    for folder in {layout.clip(clip).parent for clip in clips}:
        folder.mkdir(parents=True)
    with ExitStack() as files, open(annotations, "w", newline="") as wanted:
        attempts, errors_logs = dict[Split, "csv.DictWriter[str]"](), dict[Split, TextIO]()
        for subset, split in SPLIT_OF.items():
            table = files.enter_context(open(layout.stats(subset), "w", newline=""))
            attempts[split] = csv.DictWriter(table, STATS_FIELDS, restval="", lineterminator="\n")
            attempts[split].writeheader()
            errors_logs[split] = files.enter_context(open(layout.errors_log(subset), "w"))
        rows = csv.writer(wanted)
        rows.writerow(("label", "youtube_id", "time_start", "time_end", "split"))
        for number, clip in enumerate(clips):
            segment = {"youtube_id": clip.youtube_id, "time_start": clip.time_start, "time_end": clip.time_end}
            rows.writerow((clip.label, *segment.values(), clip.split))
            time_s = number * CLIP_S + number // SESSION * PAUSE_S
            known: dict[str, object] = {"time": (BEGIN + timedelta(seconds=time_s)).isoformat(), **segment}
            known |= {"label": clip.label, "resolve_s": 0.2 + number % 7 / 10, "host": "here"}
            if not number % SESSION:
                attempts[clip.split].writerow(known | {"status": "postponed", "category": Category.THROTTLED})
            elif number % GONE_EVERY:
                made = {"engine": "pytubefix", "itag": "134+140", "height": 360, "download_s": number % 31 / 10}
                made |= {"cut_s": number % 5 / 10, "bytes_received": 10**6, "requests": 4, "clip_bytes": 9 * 10**5}
                attempts[clip.split].writerow(known | made | {"status": "done", "cut": "smart", "sound": 1})
                if number < PLAYABLE:
                    os.link(video(60).progressive.path, layout.clip(clip))
                else:
                    os.close(os.open(layout.clip(clip), os.O_CREAT))
            else:
                why = {"category": Category.PRIVATE, "reason": f"This video is private since {number}"}
                attempts[clip.split].writerow(known | why | {"status": "failed"})
                errors_logs[clip.split].write(
                    "\t".join(map(str, (*segment.values(), *why.values(), known["time"]))) + "\n"
                )


def _report(layout: Layout, annotations: Path, every_subset: bool) -> dict[str, float]:
    """Return the seconds of each part, and the megabytes of the page and of the peak memory."""
    marks = [time.monotonic()]
    from kinetics.annotations.load import load  # noqa: PLC0415 - imports are part of what is measured

    frame = load("700", "all" if every_subset else "train", annotations).frame
    marks.append(time.monotonic())
    from kinetics.report.collect import collect  # noqa: PLC0415
    from kinetics.report.text import report_lines  # noqa: PLC0415

    report = collect(layout, [*SPLIT_OF] if every_subset else ["train"], frame)
    assert sum(map(len, report_lines(report)))
    marks.append(time.monotonic())
    from kinetics.report import page  # noqa: PLC0415

    written = page.write(report, layout)
    marks.append(time.monotonic())
    spent = [end - begin for begin, end in pairwise(marks)]
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        **dict(zip(PARTS, [*spent, sum(spent)], strict=True)),
        **{"page": written[0].stat().st_size / 1e6, "peak": peak_mb},
    }


if __name__ == "__main__":
    main(["page"])
