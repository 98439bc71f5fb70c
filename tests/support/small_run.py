"""A data set of ten clips, and the tables of the run that got half of them: small enough to be worked out by hand."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pandas as pd

from kinetics.records import Category, Clip, ClipKey, Status, Subset
from kinetics.storage.layout import Layout
from kinetics.storage.ledger import STATS_FIELDS
from tests.youtube.videos import Video

BEGIN = datetime(2026, 3, 1, 10).astimezone()
SCRIPT = "<script>document.title = 'run'</script>"
JUGGLING = """juggling & <img src=x onerror="document.title = 'run'">"""
"""A label cannot have a slash, so no whole script."""
YOGA = "yoga #1 %41"
CLIPS = tuple(
    Clip(youtube_id, start, start + 10.0, label, "train")
    for label, clips in {
        "tai chi": [("-tai-chi--1", 0.0), ("-tai-chi--2", 0.0), ("-tai-chi--2", 30.0), ("_tai_chi_04", 5.0)],
        YOGA: [("yoga_000001", 1.5), ("yoga_000002", 0.0), ("yoga_000003", 0.0), ("yoga_000004", 0.0)],
        JUGGLING: [("juggling-01", 0.0), ("juggling-02", 0.0)],
    }.items()
    for youtube_id, start in clips
)
A1, A2, A3, A4, Y1, Y2, Y3, Y4, J1, J2 = CLIPS
OTHERS = (*(replace(clip, split="val") for clip in (A1, A4, J2)), replace(A2, split="test", label=""))
"""Clips of other subsets, of the same segments as clips of the training set."""
HERE = (A1, A2, A3, Y1, Y2)
"""The last one was linked from another version's folder."""
Steps = tuple[float | None, float | None, float | None]
Attempt = tuple[int, Clip, Status, Category | None, str, Steps, int, int | None]
"""Seconds since the beginning, reason, seconds of resolve, download and cut, bytes received and of the clip."""
NO_BOT, NO_LINE = "Sign in to confirm you're not a bot", "cannot reach YouTube: no data for 20 seconds"
ATTEMPTS: tuple[Attempt, ...] = (
    (10, A1, "done", None, "", (1, 4, 1), 1000, 600),
    (12, A2, "done", None, "", (1, 2, 3), 2000, 800),
    (15, A4, "failed", Category.PRIVATE, "This video is private", (0.5, None, None), 0, None),
    (20, Y1, "postponed", Category.THROTTLED, NO_BOT, (0.5, None, None), 0, None),
    (30, A3, "done", None, "", (2, 24, 1), 3000, 1000),  # it had begun before the refusal
    (80, Y1, "postponed", Category.THROTTLED, NO_BOT, (0.5, None, None), 0, None),
    (140, Y1, "done", None, "", (1, 3, 1), 1500, 600),
    (141, Y3, "failed", Category.SERVER_ERROR, "HTTP Error 503 after 3.5 s", (0.5, None, None), 50, None),
    (143, J2, "failed", Category.REMOVED, f"removed on {BEGIN.year}: {SCRIPT}", (0.5, None, None), 0, None),
    (300, Y4, "postponed", Category.NETWORK, NO_LINE, (0.5, None, None), 0, None),
)


def frame(clips: Iterable[Clip] = CLIPS) -> pd.DataFrame:
    """The clips as annotations have them."""
    rows = [(*clip.key, clip.label, clip.split) for clip in clips]
    table = pd.DataFrame(rows, columns=["youtube_id", "time_start", "time_end", "label", "split"])
    return table.astype({"time_start": float, "time_end": float, "label": "category", "split": "category"})


def put(layout: Layout, sizes: dict[Clip, int] | None = None, video: Video | None = None) -> None:
    """Have the clips that are here, as files that play or of some size."""
    for clip in HERE:
        path = layout.clip(clip)
        path.parent.mkdir(parents=True, exist_ok=True)
        if video:
            shutil.copyfile(video.progressive.path, path)
        else:
            path.write_bytes(bytes((sizes or {}).get(clip, 500)))


def write_tables(
    layout: Layout, attempts: Sequence[Attempt] = ATTEMPTS, subset: Subset = "train", calls: object = ""
) -> None:
    """As a run leaves them; with `calls`, each attempt counted that number of player calls."""
    missing = dict[ClipKey, Sequence[object]]()
    with open(layout.stats(subset), "w", newline="") as file:
        table = csv.DictWriter(file, STATS_FIELDS, restval="", lineterminator="\n")
        table.writeheader()
        for after_s, clip, status, category, reason, steps, received, clip_bytes in attempts:
            time = (BEGIN + timedelta(seconds=after_s)).isoformat(timespec="seconds")
            segment = (clip.youtube_id, f"{clip.time_start:g}", f"{clip.time_end:g}")
            row: dict[str, object] = dict(
                zip(STATS_FIELDS, (time, *segment, clip.label, status, category or "", reason), strict=False)
            )
            row |= {f"{step}_s": spent for step, spent in zip(("resolve", "download", "cut"), steps, strict=True)}
            row |= {"bytes_received": received, "requests": 2, "clip_bytes": clip_bytes, "host": "here"}
            row |= {"source": "youtube", "calls": calls}
            row |= {"engine": "pytubefix", "itag": "18", "cut": "smart", "sound": 1} if status == "done" else {}
            table.writerow({name: "" if cell is None else cell for name, cell in row.items()})
            missing.pop(clip.key, None)
            if status == "failed":
                missing[clip.key] = (*segment, category, reason, time)
    lines = ["\t".join(map(str, line)) + "\n" for line in missing.values()]
    layout.errors_log(subset).write_text("".join(lines))


def add_other_subsets(layout: Layout) -> None:
    """Have what a run on the validation set leaves that made one clip; the test set was never begun.

    A clip that is on disk in the training set failed here, another the other way round, and one failed in both.
    """
    first, second, third = OTHERS[:3]
    failures: list[Attempt] = [
        (610, first, "failed", Category.PRIVATE, "This video is private", (0.5, None, None), 0, None),
        (620, third, "failed", Category.TIMEOUT, "no clip after 300 s", (0.5, None, None), 0, None),
    ]
    write_tables(layout, [(600, second, "done", None, "", (1, 1, 1), 100, 300), *failures], "validate")
    path = layout.clip(second)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(300))


def small_run(folder: Path, video: Video | None = None) -> Layout:
    """All of it, in a folder."""
    layout = Layout(folder, "700")
    put(layout, video=video)
    write_tables(layout)
    return layout
