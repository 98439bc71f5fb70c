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
from itertools import islice, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from benchmarks.harness import in_worker
from benchmarks.report import Settings, Table, log, main, spread, verdict
from benchmarks.workload import video
from kinetics.records import SPLIT_OF, Category, Clip, Split
from kinetics.storage.layout import Layout
from kinetics.storage.ledger import STATS_FIELDS

if TYPE_CHECKING:
    from kinetics.report.collect import LiveReport
    from kinetics.report.page import PageWriter

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
WANTED_REFRESH_S = 2.0
"""Accepted: seconds of a refresh, which reads the rows that have come since, and writes the page again."""
REFRESHES, NEW_CLIPS = 5, 100
"""Refreshes that are measured, and the clips that come before each: 20 a second, faster than YouTube would allow."""
CASES: tuple[tuple[Split, ...], ...] = (("train",), tuple(SPLIT_OF.values()))
"""The splits of the clips that are reported on."""
PARTS = ("annotations", "numbers", "page and tables", "total")
REFRESH = "a refresh"


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
        refreshes = [seconds for run in runs for seconds in run[REFRESH]]
        holds = statistics.median(refreshes) <= WANTED_REFRESH_S
        lines.append([REFRESH, f"{spread(refreshes)} s", f"<= {WANTED_REFRESH_S:g} s", verdict(holds)])
        lines.append(["the page", f"{page_mb:.2f} MB", f"<= {WANTED_MB:g} MB", verdict(page_mb <= WANTED_MB)])
        lines.append(["memory", f"{peak_mb:.0f} MB", "", ""])
        subsets = "one subset" if len(splits) == 1 else f"{len(splits)} subsets"
        yield Table(
            f"The report on {count:,} clips of {subsets}, {LABELS} classes, and the same number of attempts",
            ["", "measured", "wanted", ""],
            lines,
            [
                "Each round in a new process, from an annotation file in CSV; memory is the peak that was resident.",
                f"Before each of {REFRESHES} refreshes, {NEW_CLIPS} clips were tried, each of another class.",
            ],
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


def _report(layout: Layout, annotations: Path, every_subset: bool) -> dict[str, Any]:
    """Return the seconds of each part and of the refreshes, and the megabytes of the page and of the peak memory."""
    marks = [time.monotonic()]
    from kinetics.annotations.load import load  # noqa: PLC0415 - imports are part of what is measured

    frame = load("700", "all" if every_subset else "train", annotations).frame
    marks.append(time.monotonic())
    from kinetics.report.collect import LiveReport  # noqa: PLC0415
    from kinetics.report.text import report_lines  # noqa: PLC0415

    live = LiveReport(layout, [*SPLIT_OF] if every_subset else ["train"], frame)
    report = live.refresh()
    assert sum(map(len, report_lines(report)))
    marks.append(time.monotonic())
    from kinetics.report.page import PageWriter  # noqa: PLC0415

    page = PageWriter(layout)
    written = page.write(report)
    marks.append(time.monotonic())
    spent = [end - begin for begin, end in pairwise(marks)]
    return {
        **dict(zip(PARTS, [*spent, sum(spent)], strict=True)),
        REFRESH: [*_refreshes(layout, live, page)],
        "page": written[0].stat().st_size / 1e6,
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def _refreshes(layout: Layout, live: LiveReport, page: PageWriter) -> Iterator[float]:
    """Yield the seconds of each refresh; before it, clips that were gone come after all, as far as there are any."""
    with open(layout.stats("train"), newline="") as table:
        failed = (row for row in csv.DictReader(table) if row["status"] == "failed")
        gone = [*{row["label"]: row for row in islice(failed, NEW_CLIPS * LABELS)}.values()]
    _, *_, last = (line.partition(",")[0] for line in layout.stats("train").read_text().splitlines())
    for number in range(REFRESHES):
        with open(layout.stats("train"), "a", newline="") as table:
            rows = csv.DictWriter(table, STATS_FIELDS, restval="", lineterminator="\n")
            for place, row in enumerate(gone[number * NEW_CLIPS : (number + 1) * NEW_CLIPS], number * NEW_CLIPS):
                clip = Clip(row["youtube_id"], float(row["time_start"]), float(row["time_end"]), row["label"], "train")
                layout.clip(clip).touch()
                at = datetime.fromisoformat(last) + timedelta(seconds=place * CLIP_S)
                made = {"time": at.isoformat(), "status": "done", "category": "", "reason": "", "clip_bytes": 9 * 10**5}
                rows.writerow(row | made)
        begin = time.monotonic()
        page.write(live.refresh())
        yield time.monotonic() - begin


if __name__ == "__main__":
    main(["page"])
