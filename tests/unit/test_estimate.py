"""How much is to come, and for how long, by what happened here before."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from kinetics.planning.estimate import (
    ASSUMED_GONE_SHARE,
    MIN_SAMPLES,
    PUBLISHED_CLIP_BYTES,
    PUBLISHED_VIDEO_BYTES,
    PUBLISHED_VIDEOS_PER_HOUR,
    Estimate,
    estimate,
)
from kinetics.storage.ledger import STATS_FIELDS

BEGIN = datetime(2026, 11, 22, 9, 0, tzinfo=timezone(timedelta(hours=1)))


def row(
    at_s: float,
    status: str = "done",
    size: int | str = 2_000_000,
    cut: str = "smart",
    *,
    category: str = "",
    source: str = "youtube",
) -> str:
    known = {
        "time": (BEGIN + timedelta(seconds=at_s)).isoformat(timespec="seconds"),
        "youtube_id": "-_video0001",
        "status": status,
        "clip_bytes": str(size) if status == "done" else "",
        "cut": cut,
        "category": category,
        "source": source,
    }
    return ",".join(known.get(field, "") for field in STATS_FIELDS)


def write(path: Path, rows: Sequence[str]) -> Path:
    path.write_text("\n".join([",".join(STATS_FIELDS), *rows, ""]))
    return path


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return tmp_path / "stats.csv"


def test_without_attempts_it_rests_on_published_figures(table: Path) -> None:
    by_the_book = Estimate(1000 * PUBLISHED_CLIP_BYTES, 1000 * 3600 / PUBLISHED_VIDEOS_PER_HOUR, 0, ASSUMED_GONE_SHARE)
    assert estimate(1000, [table]) == by_the_book
    assert estimate(1000, [write(table, [row(n) for n in range(MIN_SAMPLES - 1)])]) == by_the_book, (
        "so few tell nothing"
    )
    assert estimate(1000, [table], whole=True).size == 1000 * PUBLISHED_VIDEO_BYTES


def test_what_the_mirror_gave_tells_nothing_of_youtube(table: Path) -> None:
    write(table, [*(row(10 * n) for n in range(30)), *(row(300 + n, size=9, source="mirror") for n in range(30))])
    found = estimate(30, [table])
    assert (found.attempts, found.size) == (30, 30 * 2e6)


def test_as_many_are_taken_to_be_gone_or_not_offered_as_there_were(table: Path) -> None:
    kinds = ("private", "timeout", "not_offered", "", "")
    write(table, [row(n, "failed" if kinds[n % 5] else "done", category=kinds[n % 5]) for n in range(50)])
    assert estimate(30, [table]).settled_share == pytest.approx(0.4)


def test_clips_that_failed_took_time_but_no_room(table: Path) -> None:
    write(table, [row(10 * n, "done" if n % 4 else "failed") for n in range(41)])
    found = estimate(410, [table])
    assert found.attempts == 41
    assert found.size == pytest.approx(410 * 2e6 * 30 / 41)
    assert found.seconds == pytest.approx(410 * 400 / 41)


def test_pauses_count_and_the_time_between_two_runs_does_not(table: Path) -> None:
    first = [row(n) for n in range(20)]
    paused = [row(20, "postponed"), *(row(20 + 3600 + n) for n in range(20))]
    assert estimate(40, [write(table, first + paused)]).seconds == pytest.approx(19 + 1 + 3600 + 19)
    next_day = [row(86400 + n) for n in range(20)]
    assert estimate(40, [write(table, first + next_day)]).seconds == pytest.approx(19 + 19)


def test_the_tables_of_all_subsets_are_one_run(table: Path, tmp_path: Path) -> None:
    write(table, [row(2 * n) for n in range(20)])
    other = write(tmp_path / "other.csv", [row(2 * n + 1) for n in range(20)])
    assert estimate(40, [table, other]).seconds == pytest.approx(39)


def test_whole_videos_and_clips_tell_nothing_of_each_other(table: Path) -> None:
    write(table, [*(row(n, size=20_000_000, cut="none") for n in range(30)), *(row(30 + n) for n in range(25))])
    assert (estimate(10, [table]).size, estimate(10, [table]).attempts) == (10 * 2e6, 25)
    assert (estimate(10, [table], whole=True).size, estimate(10, [table], whole=True).attempts) == (10 * 2e7, 30)


def test_no_more_go_out_than_the_user_wants(table: Path) -> None:
    write(table, [row(n) for n in range(40)])
    assert estimate(100, [table], per_hour=60).seconds == 100 * 60
    assert estimate(100, [table], per_hour=1e6).seconds == pytest.approx(97.5)
    assert estimate(100, [], per_hour=60).seconds == 100 * 60


def test_all_in_one_second_is_not_in_no_time(table: Path) -> None:
    assert estimate(400, [write(table, [row(0) for _ in range(40)])]).seconds == 10


def test_only_the_end_of_a_long_table_is_read_and_half_a_line_ignored(table: Path) -> None:
    with open(write(table, []), "a") as file:
        file.writelines(row(n, size=1) + "\n" for n in range(4_000))
        file.writelines(row(100_000 + n, size=3_000_000) + "\n" for n in range(20_000))
        file.write(row(200_000)[:40])
    found = estimate(1, [table])
    assert found.size == 3e6
    assert MIN_SAMPLES < found.attempts < 20_000


@pytest.mark.parametrize("lacking", [["source"], ["cut", "sound", "source"], ["label", "host"]])
def test_an_older_table_counts_by_the_names_of_its_columns(table: Path, lacking: Sequence[str]) -> None:
    columns = [*reversed([field for field in STATS_FIELDS if field not in lacking]), "more"]
    with open(table, "w", newline="") as file:
        writer = csv.DictWriter(file, columns, restval="x", extrasaction="ignore")
        writer.writeheader()
        for number in range(24_000):
            cells = row(10 * number, size=1_000_000 if number < 4_000 else 3_000_000).split(",")
            writer.writerow(dict(zip(STATS_FIELDS, cells, strict=True)))
    found = estimate(1, [table])
    assert found.size == 3e6
    assert found.seconds == pytest.approx(10, rel=0.01)
    assert MIN_SAMPLES < found.attempts < 20_000


@pytest.mark.parametrize("content", [b"", b"\xff\0\n" * 50, b'"' * 300_000 + b"\n,\n", b"notes\n" + b"," * 21 + b"\n"])
def test_a_table_of_anything_else_tells_nothing(table: Path, content: bytes) -> None:
    table.write_bytes(content)
    assert estimate(1, [table]).attempts == 0


def test_an_unreadable_table_tells_nothing(table: Path) -> None:
    table.mkdir()
    assert estimate(1, [table]).attempts == 0
