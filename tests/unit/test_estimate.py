"""How much is to come, and for how long, by what happened here before."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from kinetics.planning.estimate import (
    ASSUMED_GONE_SHARE,
    MIN_SAMPLES,
    PUBLISHED_CLIP_BYTES,
    PUBLISHED_VIDEO_BYTES,
    Estimate,
    estimate,
)
from kinetics.scheduling.call_budget import BURST, PUBLISHED_PER_HOUR
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
    calls: int | str = 1,
) -> str:
    known = {
        "time": (BEGIN + timedelta(seconds=at_s)).isoformat(timespec="seconds"),
        "youtube_id": "-_video0001",
        "status": status,
        "clip_bytes": str(size) if status == "done" else "",
        "cut": cut,
        "category": category,
        "source": source,
        "calls": str(calls),
    }
    return ",".join(known.get(field, "") for field in STATS_FIELDS)


def write(path: Path, rows: Sequence[str]) -> Path:
    path.write_text("\n".join([",".join(STATS_FIELDS), *rows, ""]))
    return path


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return tmp_path / "stats.csv"


def of_attempts(clips: int, *tables: Path) -> float:
    """The seconds that clips take by what attempts took, without a limit on calls."""
    return estimate(clips, tables, per_hour=math.inf).seconds


def test_without_attempts_it_rests_on_published_figures(table: Path) -> None:
    by_the_book = Estimate(
        *(1000 * PUBLISHED_CLIP_BYTES, 1000 / PUBLISHED_PER_HOUR * 3600, 0, ASSUMED_GONE_SHARE),
        calls=1000,
        pace="300 an hour as published",
    )
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
    found = estimate(410, [table], per_hour=math.inf)
    assert found.attempts == 41
    assert found.size == pytest.approx(410 * 2e6 * 30 / 41)
    assert found.seconds == pytest.approx(410 * 400 / 41)


def test_pauses_count_and_the_time_between_two_runs_does_not(table: Path) -> None:
    first = [row(n) for n in range(20)]
    paused = [row(20, "postponed"), *(row(20 + 3600 + n) for n in range(20))]
    assert of_attempts(40, write(table, first + paused)) == pytest.approx(19 + 1 + 3600 + 19)
    next_day = [row(86400 + n) for n in range(20)]
    assert of_attempts(40, write(table, first + next_day)) == pytest.approx(19 + 19)


def test_the_tables_of_all_subsets_are_one_run(table: Path, tmp_path: Path) -> None:
    write(table, [row(2 * n) for n in range(20)])
    other = write(tmp_path / "other.csv", [row(2 * n + 1) for n in range(20)])
    assert of_attempts(40, table, other) == pytest.approx(39)


def test_whole_videos_and_clips_tell_nothing_of_each_other(table: Path) -> None:
    write(table, [*(row(n, size=20_000_000, cut="none") for n in range(30)), *(row(30 + n) for n in range(25))])
    assert (estimate(10, [table]).size, estimate(10, [table]).attempts) == (10 * 2e6, 25)
    assert (estimate(10, [table], whole=True).size, estimate(10, [table], whole=True).attempts) == (10 * 2e7, 30)


def test_no_more_go_out_than_the_user_wants(table: Path) -> None:
    write(table, [row(n) for n in range(40)])
    assert estimate(100, [table], per_hour=60).seconds == 100 * 60
    assert estimate(100, [table], per_hour=1e6).seconds == pytest.approx(97.5)
    assert estimate(100, [], per_hour=60).seconds == 100 * 60
    assert estimate(100, [], per_hour=1200.5).pace == "1,200.5 an hour as --rate says"


def test_without_a_limit_on_calls_the_attempts_tell_the_time_and_before_the_first_the_published_figures(
    table: Path,
) -> None:
    assert estimate(100, [], per_hour=math.inf) == estimate(100, [])
    write(table, [row(n) for n in range(40)])
    found = estimate(100, [table], per_hour=math.inf)
    assert found.seconds == pytest.approx(97.5)
    assert found.calls_text == "100 player calls"


def test_quick_attempts_do_not_promise_more_calls_an_hour_than_youtube_allows(table: Path) -> None:
    write(table, [row(n) for n in range(250)])  # what goes out at once
    found = estimate(3000, [table])
    after_burst_s = (3000 - BURST) * 12
    assert (found.seconds, found.calls_text) == (after_burst_s, "3,000 player calls, 300 an hour as published")
    write(table, [row(12 * n) for n in range(900)])  # no hour has more than 300
    assert estimate(300, [table], videos=600).pace == "300 an hour as published"


def test_the_calls_of_the_last_hour_are_none_of_those_that_go_out_at_once(table: Path) -> None:
    since = datetime.now(BEGIN.tzinfo) - BEGIN
    write(table, [row(since.total_seconds() - 600 + n) for n in range(240)])
    assert estimate(6, [table]).pace == "", "10 are left"
    assert estimate(40, [table]).seconds == 30 * 12


def test_where_the_attempts_took_longer_than_the_calls_they_tell_the_time(table: Path) -> None:
    write(table, [row(60 * n) for n in range(41)])
    found = estimate(41, [table])
    assert (found.seconds, found.calls_text) == (40 * 60, "41 player calls")


def test_more_calls_an_hour_are_counted_on_once_they_came_here(table: Path) -> None:
    grown = [*(row(12 * n) for n in range(600)), *(row(7200 + 8 * n) for n in range(450))]
    found = estimate(900, [write(table, grown)])
    assert found.pace == ""
    assert found.seconds == pytest.approx(900 * 10800 / 1050, rel=0.01), "what attempts took, and no longer"
    found = estimate(900, [table], videos=1800)
    assert (found.seconds, found.pace) == (4 * 3600, "450 an hour as in the busiest hour here")


def test_refused_calls_are_calls_and_those_of_the_other_kind_of_clips_show_the_pace(table: Path) -> None:
    refused = [row(n, "postponed", calls=2) for n in range(100)]
    write(table, [*(row(n, cut="none") for n in range(300)), *refused, *(row(300, calls=0) for _ in range(30))])
    assert estimate(10, [table], videos=100).pace == "500 an hour as in the busiest hour here"


@pytest.mark.parametrize("whole", [False, True])
def test_each_video_costs_as_many_calls_as_before_however_many_sections_it_has(table: Path, whole: bool) -> None:
    cut = "none" if whole else "smart"
    videos = [row(6 * n, "failed" if n % 2 else "done", cut=cut, calls=1 + (n % 4 == 0)) for n in range(40)]
    sections = [row(6 * n + 1, cut=cut, calls=0) for n in range(40)]
    refused = [row(6 * n + 2, "postponed", cut=cut) for n in range(10)]
    write(table, [*videos, *sections, *refused])
    found = estimate(600, [table], videos=400, whole=whole)
    assert found.calls == 400 * (40 + 10 + 10) / 40
    assert found.seconds == (600 - BURST) * 12
    assert estimate(400, [], videos=100, whole=whole).calls == 100, "before the first attempt"


def test_a_table_that_does_not_count_calls_had_one_for_each_attempt(table: Path) -> None:
    write(table, [row(10 * n, calls="") for n in range(350)])
    found = estimate(3500, [table], videos=7200)
    assert (found.calls, found.pace) == (7200, "350 an hour as in the busiest hour here")
    assert estimate(100, [write(table, [row(n, calls=0) for n in range(30)])]).calls == 100


def test_all_in_one_second_is_not_in_no_time(table: Path) -> None:
    assert of_attempts(400, write(table, [row(0) for _ in range(40)])) == 10


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
