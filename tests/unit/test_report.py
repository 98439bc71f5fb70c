"""What the report says of a run, against figures that were worked out by hand (small_run.py)."""

from __future__ import annotations

import csv
import dataclasses
import re
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from kinetics.planning.estimate import estimate
from kinetics.records import SPLIT_OF, Category, Clip, Outcome
from kinetics.report import collect as report
from kinetics.report.collect import SAMPLE_CLIPS, collect
from kinetics.report.model import NO_LABEL, Completeness, PlayerCalls, Report
from kinetics.report.text import report_lines
from kinetics.report.timeline import Hour, PausePeriod, Session
from kinetics.storage.layout import Layout
from kinetics.storage.ledger import Ledger
from tests.support import small_run
from tests.support.small_run import (
    A1,
    A2,
    A3,
    BEGIN,
    CLIPS,
    HERE,
    J1,
    J2,
    JUGGLING,
    NO_BOT,
    OTHERS,
    SCRIPT,
    Y1,
    Y2,
    Y4,
    YOGA,
    Attempt,
)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return small_run.small_run(tmp_path)


def collected(layout: Layout, *clips: Clip) -> Report:
    return collect(layout, ["train"], small_run.frame(clips or CLIPS))


def of_attempts(layout: Layout, attempts: list[Attempt]) -> Report:
    small_run.write_tables(layout, attempts)
    return collected(layout)


def done(after_s: int, clip: Clip = A1) -> Attempt:
    return (after_s, clip, "done", None, "", (1, 1, 1), 100, 100)


def refused(after_s: int, category: Category = Category.THROTTLED) -> Attempt:
    return (after_s, Y4, "postponed", category, NO_BOT, (1, None, None), 0, None)


def after(seconds: float) -> object:
    return BEGIN + timedelta(seconds=seconds)


def test_each_clip_is_here_or_gone_or_may_work_or_was_never_tried(layout: Layout) -> None:
    total = collected(layout).total
    assert total == Completeness("train", on_disk=5, gone=2, may_work=1, never_tried=2)
    assert (total.wanted, total.missing, total.share) == (10, 5, 0.5)
    assert collected(layout).clips_to_fetch == 3


def test_what_is_not_offered_has_a_number_of_its_own(layout: Layout) -> None:
    reason = "This video is not available (asked with pytubefix 11.2.1)"
    with open(layout.errors_log("train"), "a") as log:
        log.write(f"{Y4.youtube_id}\t0\t10\tnot_offered\t{reason}\t2026-03-01T10:00:00+00:00\n")
    found = collected(layout)
    assert found.total == Completeness("train", on_disk=5, gone=2, may_work=1, never_tried=1, not_offered=1)
    assert (found.total.missing, found.total.wanted, found.clips_to_fetch) == (5, 10, 2)
    assert next(one for one in found.classes if one.name == YOGA).not_offered == 1
    assert found.missing_by_category[Category.NOT_OFFERED] == 1
    assert "  2 gone, 1 not offered, 1 may work later, 1 not tried yet" in [*report_lines(found)]


def test_the_disk_decides_whatever_the_log_says(layout: Layout) -> None:
    with open(layout.errors_log("train"), "a") as log:
        log.write(f"{A1.youtube_id}\t0\t10\tprivate\tThis video is private\t2026-03-01T10:00:00+00:00\n")
    assert collected(layout).total.on_disk == 5
    layout.clip(A1).unlink()
    assert collected(layout).total == Completeness("train", on_disk=4, gone=3, may_work=1, never_tried=2)


def test_classes_come_with_the_least_complete_first(layout: Layout) -> None:
    assert collected(layout).classes == (
        Completeness(JUGGLING, on_disk=0, gone=1, may_work=0, never_tried=1),
        Completeness(YOGA, on_disk=2, gone=0, may_work=1, never_tried=1),
        Completeness("tai chi", on_disk=3, gone=1, may_work=0, never_tried=0),
    )


def test_of_classes_alike_the_one_that_lacks_more_comes_first(layout: Layout) -> None:
    clips = [Clip(f"{label}-{n:09}", 0, 10, label, "train") for label in "bca" for n in range(2 + (label == "c"))]
    assert [one.name for one in collected(layout, *clips).classes] == ["c", "a", "b"]


def test_clips_without_a_label_are_a_class_with_a_name(layout: Layout) -> None:
    assert [one.name for one in collected(layout, replace(J1, label="")).classes] == [NO_LABEL]


def of_all(layout: Layout) -> Report:
    return collect(layout, [*SPLIT_OF], small_run.frame([*CLIPS, *OTHERS]))


def test_a_report_on_all_subsets_has_a_row_for_each_and_their_sum(layout: Layout) -> None:
    small_run.add_other_subsets(layout)
    found = of_all(layout)
    assert (found.title, found.total) == ("Kinetics700 all", Completeness("all", 6, gone=3, may_work=2, never_tried=3))
    assert found.subsets == (
        collected(layout).total,
        Completeness("validate", on_disk=1, gone=1, may_work=1, never_tried=0),
        Completeness("test", on_disk=0, gone=0, may_work=0, never_tried=1),
    )
    assert collected(layout).subsets == (), "its total says it"
    assert found.attempts == collected(layout).attempts + 3
    assert found.missing_by_category == {
        **{Category.PRIVATE: 2, Category.REMOVED: 1, Category.SERVER_ERROR: 1, Category.TIMEOUT: 1}
    }
    assert sum(one.wanted for one in found.classes) == found.total.wanted == 14
    lines = [*report_lines(found)]
    assert lines[0] == "Kinetics700 all: 6 of 14 clips on disk (42.9%)"
    place = lines.index("  test: 0 of 1 clip on disk (0%)")
    assert lines[place + 1] == "    0 gone, 0 may work later, 1 not tried yet"


def test_a_segment_that_is_in_two_subsets_is_a_clip_of_each(layout: Layout) -> None:
    small_run.add_other_subsets(layout)
    space = of_all(layout).space
    # 3500 of the training set, and the one of the validation set, whose segment failed in the training set
    assert (space.bytes_on_disk, space.clips, space.clips_measured) == (3500 + 300, 6, 6)
    lines = layout.stats("validate").read_text().splitlines()
    lacking = lines[2].replace(",failed,private,", ",failed,not_found,").replace(",youtube,", ",mirror,")
    layout.stats("validate").write_text("\n".join([*lines, lacking, ""]))
    assert of_all(layout).gone_everywhere == 1
    assert collected(layout).gone_everywhere == 0


def test_clips_of_other_subsets_are_left_out(layout: Layout) -> None:
    assert collected(layout, *CLIPS, *OTHERS).total == collected(layout).total


def test_reasons_are_grouped_by_their_words_and_numbers_and_ids_are_left_out(layout: Layout) -> None:
    lines = [
        (J1, "private", f"{J1.youtube_id}: private since 2019-05-01, 3,500 views"),
        (J2, "private", f"{J2.youtube_id}: private since 2021-11-30, 12 views"),
        (Y4, "not_found", "HTTP Error 404: Not Found (try 2)"),
    ]
    rows = [
        f"{clip.youtube_id}\t{clip.time_start:g}\t{clip.time_end:g}\t{category}\t{reason}\t2026-03-01T10:00:00+00:00\n"
        for clip, category, reason in lines
    ]
    layout.errors_log("train").write_text("".join(rows))
    found = collected(layout)
    assert [(one.category, one.text, one.clips, one.example) for one in found.reasons] == [
        (Category.PRIVATE, "..: private since ..-..-.., .. views", 2, J1.youtube_id),
        (Category.NOT_FOUND, "HTTP Error 404: Not Found (try ..)", 1, Y4.youtube_id),
    ]
    assert found.missing_by_category == {Category.PRIVATE: 2, Category.NOT_FOUND: 1}


def test_a_reason_is_told_in_its_own_words(layout: Layout) -> None:
    words = {one.category: one.text for one in collected(layout).reasons}
    assert words == {
        Category.PRIVATE: "This video is private",
        Category.SERVER_ERROR: "HTTP Error 503 after .. s",
        Category.REMOVED: f"removed on ..: {SCRIPT}",
    }


def test_a_clip_counts_once_by_its_last_reason(layout: Layout) -> None:
    with open(layout.errors_log("train"), "a") as log:
        log.write(f"{J2.youtube_id}\t0.000\t10.0\tcopyright\tblocked by SME\t2026-03-02T10:00:00+00:00\n")
    assert [one.text for one in collected(layout).reasons if one.example == J2.youtube_id] == ["blocked by SME"]
    assert collected(layout).total.gone == 2


def test_durations_are_those_worked_out_by_hand(layout: Layout) -> None:
    found = {one.step: one for one in collected(layout).durations}
    assert list(found) == ["resolve", "download", "cut", "all"]
    # download: 2 3 4 24, so Q1 = 2.75, Q3 = 9, the fence 9 + 1.5 * 6.25
    download = found["download"]
    assert (download.clips, download.mean_s, download.median_s, download.max_s) == (4, 8.25, 3.5, 24)
    assert (download.fence_s, download.clips_within) == (18.375, 3)
    assert (download.mean_within_s, download.max_within_s, download.total_s) == (3, 4, 33)
    # all: 5 6 6 27
    whole = found["all"]
    assert (whole.mean_s, whole.fence_s, whole.clips_within, whole.max_within_s) == (11, 19.5, 3, 6)
    assert whole.mean_within_s == pytest.approx(17 / 3)
    # resolve: 1 1 1 2; cut: 1 1 1 3
    assert [(found[step].mean_s, found[step].mean_within_s) for step in ("resolve", "cut")] == [(1.25, 1), (1.5, 1)]


def test_the_longest_step_is_counted_for_each_clip(layout: Layout) -> None:
    assert [(one.step, one.clips_longest) for one in collected(layout).durations] == [
        *(("resolve", 0), ("download", 3), ("cut", 1), ("all", 0))
    ]


def test_a_histogram_holds_every_clip_within_the_fence(layout: Layout) -> None:
    for one in collected(layout).durations:
        assert sum(one.counts) == one.clips_within
        assert len(one.edges_s) == len(one.counts) + 1
        assert (one.edges_s[0], one.edges_s[-1]) == (0, one.max_within_s)
        assert one.counts[-1], "the slowest one within is at the end"


def test_a_pause_is_a_gap_that_is_not_usual_with_its_cause(layout: Layout) -> None:
    found = collected(layout).timeline
    assert found.pauses == (
        PausePeriod(after(30), after(140), "throttled"),  # type: ignore[arg-type]
        PausePeriod(after(143), after(300), "network"),  # type: ignore[arg-type]
    )
    assert (found.begin, found.end, found.span_s) == (after(3), after(300), 297)
    assert found.active_s == 30
    assert found.per_hour == 4 / 30 * 3600
    assert found.per_hour_overall == pytest.approx(4 / 297 * 3600)


def test_clips_an_hour_are_the_rows_with_status_done_over_the_time(layout: Layout) -> None:
    found = collected(layout).timeline
    with open(layout.stats("train"), newline="") as file:
        rows = [*csv.DictReader(file)]
    ends = [datetime.fromisoformat(row["time"]) for row in rows]
    spent = [sum(float(row[f"{step}_s"] or 0) for step in ("resolve", "download", "cut")) for row in rows]
    span_s = (max(ends) - min(end - timedelta(seconds=s) for end, s in zip(ends, spent, strict=True))).total_seconds()
    paused_s = sum(pause.seconds for pause in found.pauses)
    clips = sum(row["status"] == "done" for row in rows)
    assert 0 < clips < sum(row["status"] != "postponed" for row in rows) < len(rows)
    assert found.per_hour_overall == pytest.approx(clips / span_s * 3600)
    assert found.per_hour == pytest.approx(clips / (span_s - paused_s) * 3600)


def test_time_in_which_nothing_ran_does_not_slow_the_pace(layout: Layout) -> None:
    runs = [done(second) for second in (*range(2, 32, 2), *range(4000, 4030, 2))]
    found = of_attempts(layout, runs).timeline
    assert [(pause.cause, pause.seconds) for pause in found.pauses] == [("stopped", 3970)]
    assert found.per_hour_overall == found.per_hour == 30 / (found.span_s - 3970) * 3600


@pytest.mark.parametrize("category", [Category.ENGINE_ERROR, Category.MEDIA_ERROR, Category.UNAVAILABLE])
def test_a_pause_for_a_common_cause_is_one_that_youtube_caused(layout: Layout, category: Category) -> None:
    runs = [*(done(second) for second in range(2, 32, 2)), refused(31, category), done(400)]
    assert [pause.cause for pause in of_attempts(layout, runs).timeline.pauses] == ["throttled"]


def test_gaps_as_long_as_usual_are_no_pauses(layout: Layout) -> None:
    assert not of_attempts(layout, [done(300 * turn) for turn in range(10)]).timeline.pauses


def test_what_is_to_go_is_estimated_as_before_a_run(layout: Layout) -> None:
    found = collected(layout)
    assert found.estimate == estimate(3, [layout.stats("train")])
    assert found.estimate.basis == "published figures"
    more = of_attempts(layout, [*small_run.ATTEMPTS, *(done(400 + turn) for turn in range(20))])
    assert more.estimate == estimate(3, [layout.stats("train")])
    assert more.estimate.basis == "the last 27 attempts here"


def test_a_session_ends_with_a_refusal_and_has_what_was_under_way_by_then(layout: Layout) -> None:
    assert collected(layout).timeline.sessions == (
        Session(after(3), after(30), done=3, failed=1, throttled=True),  # type: ignore[arg-type]
        Session(after(135), after(143), done=1, failed=2, throttled=False),  # type: ignore[arg-type]
    )


def test_neither_a_dead_line_nor_a_second_refusal_in_a_row_makes_a_session(layout: Layout) -> None:
    run = [done(10), refused(20, Category.NETWORK), done(30), refused(40), refused(100), refused(400), done(500)]
    sessions = of_attempts(layout, run).timeline.sessions
    assert [(one.attempts, one.throttled) for one in sessions] == [(2, True), (1, False)]


def test_hours_count_what_ended_in_them(layout: Layout) -> None:
    begin = BEGIN.replace(minute=0)
    assert collected(layout).timeline.hours == (Hour(begin, done=4, failed=3, postponed=3, bytes_received=7550),)
    later = of_attempts(layout, [done(10), done(3599), done(7200), refused(7201)])
    assert [(one.begin - begin, one.done, one.postponed) for one in later.timeline.hours] == [
        *((timedelta(0), 2, 0), (timedelta(hours=2), 1, 1))
    ]


def test_the_curve_has_all_clips_however_long_the_run(layout: Layout) -> None:
    for days in (1, 30, 3000, 30_000):
        curve = of_attempts(layout, [done(10), done(20), done(days * 86_400)]).timeline.curve
        assert sum(curve.done) * curve.width_s == pytest.approx(3 * 3600)
        assert len(curve.begins) == len(curve.done) == len(curve.failed)
        assert len(curve.begins) <= 242


def test_space_is_what_the_table_and_the_disk_say(layout: Layout) -> None:
    space = collected(layout).space
    # 600 + 800 + 1000 + 600 by the table, and 500 for the file of the linked clip
    assert (space.bytes_on_disk, space.clips, space.clips_measured, space.bytes_per_clip) == (3500, 5, 5, 700)
    assert (space.bytes_received, space.requests) == (7550, 20)
    assert space.bytes_free == pytest.approx(shutil.disk_usage(layout.root).free, rel=0.5)


def counting_calls(layout: Layout) -> Layout:
    """The small run by a version that counts player calls: 2 of each attempt, and none of a second section."""
    small_run.write_tables(layout, calls=2)
    lines = layout.stats("train").read_text().splitlines()
    again = lines[1].replace(",2,2,", ",2,0,")
    mirrored = again.replace(",youtube,", ",mirror,")
    assert len({lines[1], again, mirrored}) == 3
    layout.stats("train").write_text("\n".join([*lines, again, mirrored, ""]))
    return layout


def test_player_calls_are_told_in_all_and_a_clip_and_where_they_went(layout: Layout) -> None:
    found = collected(counting_calls(layout))
    assert found.calls == PlayerCalls(calls=20, attempts=11, uncounted=0, clips=5, for_gone=4, refused=6)
    assert (found.timeline.most_calls, found.timeline.calls_per_hour, found.timeline.hours[0].calls) == (20, 20, 20)
    lines = [*report_lines(found)]
    place = lines.index("4.00 player calls a clip: 20 calls, 4 of them for videos that are gone, 6 refused")
    assert lines[place + 1] == "  at most 20 player calls an hour, 20 on average"


def test_a_video_that_ends_before_its_clip_is_not_gone(layout: Layout) -> None:
    table = counting_calls(layout).stats("train")
    table.write_text(table.read_text().replace(",failed,private,", ",failed,past_end,"))
    assert collected(layout).calls.for_gone == 2


def test_of_tables_that_count_calls_in_part_the_report_says_from_how_many_attempts_it_knows(layout: Layout) -> None:
    earlier = [done(turn, Y2) for turn in range(2)]
    small_run.write_tables(counting_calls(layout), calls=2)
    small_run.write_tables(replace(layout, shard="1of2"), earlier)
    found = collected(layout)
    assert (found.calls.clips, found.calls.uncounted) == (4, 2), "a ratio is of clips whose calls are known"
    lines = [line for line in report_lines(found) if "calls" in line][:2]
    assert lines == [
        "5.00 player calls a clip: 20 calls, 4 of them for videos that are gone, 6 refused "
        "(counted in 10 of 12 attempts)",
        "  at most 20 player calls an hour",
    ]


def test_where_no_table_counts_calls_the_report_says_nothing_of_those_made(layout: Layout) -> None:
    said = [line for line in report_lines(collected(layout)) if "call" in line]
    assert [line[:15] for line in said] == ["still to fetch:"]


def test_the_busiest_hour_is_any_hour_and_the_mean_is_of_the_time_in_which_runs_ran(layout: Layout) -> None:
    runs = [done(second) for second in (*range(1800, 5400, 60), *range(90_000, 97_200, 120))]
    small_run.write_tables(layout, runs, calls=3)
    found = collected(layout)
    assert max(hour.calls for hour in found.timeline.hours) <= 93, "half of it in each of two hours of the clock"
    assert found.calls_an_hour == "at most 180 player calls an hour, 122 on average"


def test_sections_of_one_video_still_to_fetch_are_one_call(layout: Layout) -> None:
    clips = [replace(J1, time_start=start, time_end=start + 10.0) for start in range(0, 300, 10)]
    found = collected(layout, *clips, Y4)
    assert (found.clips_to_fetch, found.estimate.calls) == (31, 2)
    assert found.estimate.calls_text == "2 player calls, 300 an hour as published"


def test_clips_whose_size_no_row_tells_are_taken_to_be_like_those_looked_at(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "MAX_SIZES_READ", 2)
    layout.stats("train").unlink()
    small_run.put(layout, dict.fromkeys(HERE, 700))
    space = collected(layout).space
    assert (space.clips_measured, space.clips, space.bytes_on_disk) == (2, 5, 3500)


def test_the_last_try_of_a_clip_tells_its_size(layout: Layout) -> None:
    again = (400, A1, "done", None, "", (1, 1, 1), 100, 700)
    small_run.write_tables(layout, [*small_run.ATTEMPTS, again])  # type: ignore[list-item]
    assert collected(layout).space.bytes_on_disk == 3600


def test_attempts_are_counted_by_source_machine_engine_and_format(layout: Layout) -> None:
    with open(layout.stats("train"), "a") as table:  # it failed when it had an engine already, as most others had not
        table.write(
            "2026-03-01T12:00:00+00:00,juggling-01,0,10,,failed,timeout,slow,pytubefix,18,,1,,,,,,,,,here,,,youtube\n"
        )
    found = collected(layout)
    assert [(one.kind, one.name, one.done, one.failed) for one in found.origins] == [
        ("source", "youtube", 4, 4),
        ("machine", "here", 4, 4),
        ("engine", "pytubefix", 4, None),
        ("format (itag)", "18", 4, None),
    ]
    assert found.attempts == 4 + 4 + found.postponed == 11


def test_what_neither_source_has_is_counted(layout: Layout) -> None:
    before = collected(layout)
    lines = layout.stats("train").read_text().splitlines()
    lacking = [
        line.replace(f",failed,{category},", ",failed,not_found,").replace(",youtube,", ",mirror,")
        for line in lines
        for category in ("private", "server_error")
        if f",failed,{category}," in line
    ]
    assert len(lacking) == 2
    layout.stats("train").write_text("\n".join([*lines, *lacking, lacking[0], ""]))
    found = collected(layout)
    assert found.gone_everywhere == 1, "the other one may still work at YouTube"
    assert any("the mirror has no complete copy" in line for line in report_lines(found))
    assert ("source", "mirror", 0, 3) in [(one.kind, one.name, one.done, one.failed) for one in found.origins]
    assert found.timeline == before.timeline, "that took no time"


def test_samples_are_of_every_class_that_has_a_clip_and_always_the_same(layout: Layout) -> None:
    found = collected(layout)
    assert [sample.clip for sample in found.samples] == [A1, Y1, A2, Y2, A3]
    assert found.samples == collected(layout).samples
    assert all(sample.path.is_file() for sample in found.samples)


def test_samples_are_spread_over_the_classes_if_there_are_more_than_samples(layout: Layout) -> None:
    clips = [Clip(f"spread-{n:04}", 0, 10, f"class {n % 100:02}", "train") for n in range(1000)]
    for clip in clips:
        path = layout.clip(clip)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    labels = Counter(sample.clip.label for sample in collected(layout, *clips).samples)
    assert len(labels) == SAMPLE_CLIPS
    assert {int(label[-2:]) // 10 for label in labels} == set(range(10)), "not all from one end of the alphabet"


def by_parts(layout: Layout, attempts: Sequence[Attempt] = small_run.ATTEMPTS) -> list[Layout]:
    """The same tables as three runs leave them, each with the attempts at some of the videos."""
    layouts = [replace(layout, shard=shard) for shard in ("", "1of2", "2of2")]
    ids = sorted({clip.youtube_id for _, clip, *_ in attempts})
    for place, part in enumerate(layouts):
        small_run.write_tables(part, [one for one in attempts if ids.index(one[1].youtube_id) % 3 == place])
    return layouts


def test_tables_of_parts_tell_together_what_one_table_tells(layout: Layout) -> None:
    attempts = [*small_run.ATTEMPTS, *(done(400 + turn, (A1, J2, Y1)[turn % 3]) for turn in range(30))]
    whole = of_attempts(layout, attempts)
    assert whole.estimate.attempts
    by_parts(layout, attempts)
    again = collected(layout)
    changes = {"created_at": whole.created_at, "space": replace(whole.space, bytes_free=again.space.bytes_free)}
    assert replace(again, **changes) == replace(whole, space=changes["space"])  # type: ignore[arg-type]


def test_a_shards_report_is_of_its_own_attempts_and_knows_what_others_found_missing(layout: Layout) -> None:
    _, first, second = by_parts(layout)
    found = {one.shard: collect(one, ["train"], small_run.frame()) for one in (first, second)}
    assert 0 < found["1of2"].attempts < len(small_run.ATTEMPTS)
    assert sum(one.attempts for one in found.values()) < len(small_run.ATTEMPTS), "the third run was on all clips"
    assert {one.total for one in found.values()} == {
        Completeness("train", on_disk=5, gone=2, may_work=1, never_tried=2)
    }
    assert found["2of2"].title == "Kinetics700 train, shard 2/2"


@pytest.mark.parametrize(
    ("later", "total"),
    [
        ([(500, J2, "failed", Category.TIMEOUT, "slow", (1, None, None), 0, None)], (5, 1, 2, 2)),
        ([(500, J2, "done", None, "", (1, 1, 1), 100, 100)], (5, 1, 1, 3)),  # its file was removed since then
        ([(100, J2, "done", None, "", (1, 1, 1), 100, 100)], (5, 2, 1, 2)),  # and then it failed
        ([(100, J2, "failed", Category.TIMEOUT, "slow", (1, None, None), 0, None)], (5, 2, 1, 2)),
        ([(500, A1, "failed", Category.TIMEOUT, "slow", (1, None, None), 0, None)], (5, 2, 1, 2)),  # it is here
    ],
)
def test_of_a_clip_that_two_runs_tried_the_later_attempt_counts_and_before_it_the_disk(
    layout: Layout, later: list[Attempt], total: tuple[int, int, int, int]
) -> None:
    small_run.write_tables(replace(layout, shard="1of2"), later)
    assert collected(layout).total == Completeness("train", *total)


def test_whole_videos_count_once(layout: Layout) -> None:
    for clip in (A1, Y1):
        layout.whole(clip.youtube_id).parent.mkdir(exist_ok=True)
        layout.whole(clip.youtube_id).touch()
    found = collect(layout, ["train"], small_run.frame(), cut="none")
    assert (found.total.wanted, found.total.on_disk) == (9, 2), "one video has two segments"
    assert [sample.path for sample in found.samples] == [layout.whole(A1.youtube_id), layout.whole(Y1.youtube_id)]


def test_with_no_tables_and_nothing_on_disk_all_is_untried(tmp_path: Path) -> None:
    found = collected(Layout(tmp_path / "nowhere", "700"))
    assert found.total == Completeness("train", 0, 0, 0, never_tried=10)
    assert not any((found.reasons, found.durations, found.origins, found.samples, found.timeline.hours))
    assert found.space.bytes_free
    assert not (tmp_path / "nowhere").exists()
    assert "0 of 10" in "\n".join(report_lines(found))


def test_a_run_that_was_only_refused_has_no_pace(layout: Layout) -> None:
    found = of_attempts(layout, [refused(10), refused(70)])
    assert (found.timeline.done, found.timeline.per_hour, found.durations) == (0, 0, ())
    assert [*report_lines(found)]


def test_a_running_job_is_neither_disturbed_nor_waited_for(layout: Layout) -> None:
    def state() -> dict[Path, tuple[int, bytes]]:
        files = [path for path in layout.root.rglob("*") if path.is_file()]
        return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in files}

    with Ledger(layout, "train") as ledger:
        ledger.record(Outcome(J1, "failed", Category.PRIVATE, "This video is private"))
        before = state()
        assert collected(layout).total.gone == 3
        assert state() == before


@pytest.mark.parametrize(
    "half",
    [
        '2026-03-01T10:05:01+00:00,yoga_000004,0,10,"yo',
        "2026-03-01T10:05:01+00:00,yoga_000004,0,10,yoga,done,,,pytube",
        "\0" * 100,
    ],
)
def test_a_row_that_is_just_being_written_does_not_count(layout: Layout, half: str) -> None:
    whole = collected(layout)
    with open(layout.stats("train"), "a") as table:
        table.write(half)
    with open(layout.errors_log("train"), "a") as log:
        log.write("yoga_000004\t0\t10\tpriv")
    again = collected(layout)
    changes = {"created_at": whole.created_at, "space": whole.space}
    assert replace(again, **changes) == whole  # type: ignore[arg-type]


def test_rows_that_make_no_sense_are_passed_over(layout: Layout) -> None:
    sound = layout.stats("train").read_text()
    sound = sound.replace(",0.5,,,", ",inf,1e999,nan,", 1).replace(",24,1,", ",inf,-inf,", 1)
    damaged = sound.replace("2026-03-01T", "yesterday ", 1).replace(",failed,", ",finished,", 1)
    layout.stats("train").write_text(damaged + "1,2,3\n" + ",".join("x" * 40) + "\n")
    layout.errors_log("train").write_bytes(b"\xff\xfe\t\t\n" + layout.errors_log("train").read_bytes() + b"a\tb\n")
    found = collected(layout)
    assert found.attempts == 8
    assert found.total == Completeness("train", on_disk=5, gone=2, may_work=1, never_tried=2)
    assert [one.clips for one in found.durations] == [2, 2, 2, 2], "those whose times are times"


@pytest.mark.parametrize("time", ["9999-12-31T23:59:59+00:00", "0001-01-01T00:00:00+00:00"])
def test_a_time_of_another_age_is_none(layout: Layout, time: str) -> None:
    for table in (layout.stats("train"), layout.errors_log("train")):
        lines = table.read_text().splitlines()
        when = re.search(r"2026-[0-9T:.+-]{10,}", lines[-1])
        assert when
        table.write_text("".join(f"{line}\n" for line in (*lines[:-1], lines[-1].replace(when[0], time))))
    found = collected(layout)
    assert (found.attempts, found.total.wanted) == (9, 10)


def test_the_terminal_is_told_the_same_numbers(layout: Layout) -> None:
    text = "\n".join(report_lines(collected(layout)))
    for words in (
        "Kinetics700 train: 5 of 10 clips on disk (50.0%)",
        "2 gone, 1 may work later, 2 not tried yet",
        "This video is private",
        "download         8.25     3.50     24.00     3.00      4.00",
        "download for 75.0%, cut for 25.0% of the clips",
        "5.0 minutes in total, 30 seconds active",
        "110 seconds paused: YouTube refused",
        "2.6 minutes paused: no connection to YouTube",
        "480 clips an hour while active, 48 with the pauses of runs",
        "YouTube refused once, after 4 attempts",
        "still to fetch: 3 clips, about 3.00 MB and 36 seconds (3 player calls, 300 an hour as published)",
        "3.50 kB of clips on disk, 7.55 kB received",
        "10 attempts; in 3 of them the server refused, or could not be reached:",
        "source youtube: 4 done, 3 failed",
        "engine pytubefix: 4 done\n",
        "0% of      2  juggling",
    ):
        assert words in text, text


def test_the_terminal_gets_no_character_that_steers_it(layout: Layout) -> None:
    hostile = replace(J1, label="jug\x1b[2Jgling\r")
    with open(layout.errors_log("train"), "a") as log:
        log.write(f"{J1.youtube_id}\t0\t10\tprivate\tso\x1b]0;owned\x07 it is\t2026-03-01T10:00:00+00:00\n")
    lines = [*report_lines(collected(layout, *CLIPS[:-2], hostile))]
    assert any("owned" in line for line in lines)
    assert all(line.isprintable() for line in lines)


def test_long_lists_are_cut_and_say_so(layout: Layout) -> None:
    clips = [Clip(f"many--{n:05}", 0, 10, f"class {n:02}", "train") for n in range(30)]
    assert "  and 20 more classes" in [*report_lines(collected(layout, *clips))]


def test_a_report_is_plain_data_that_nobody_changes(layout: Layout) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        collected(layout).attempts = 0  # type: ignore[misc]
