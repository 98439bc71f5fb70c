"""What a run will try, and in which order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

from kinetics.annotations.table import Annotations
from kinetics.planning import gone_clips
from kinetics.planning.gone_clips import CONFIRMED_DAYS, PLAYER_AGAIN_DAYS, THUMBNAIL_VANISHES
from kinetics.planning.plan import ASK_AGAIN_DAYS, Plan, make_plan
from kinetics.records import (
    SPLIT_OF,
    Category,
    Clip,
    ClipState,
    Cut,
    Outcome,
    Retry,
    SourceChoice,
    Split,
    Thumbnail,
    Video,
)
from kinetics.storage.layout import Layout, clip_name
from kinetics.storage.ledger import Ledger
from kinetics.storage.thumbnail_log import THUMBNAILS, ThumbnailLog

ENGINES = "pytubefix 11.2.1, yt-dlp 2026.10.26"
NOT_OFFERED = f"This video is not available (asked with {ENGINES})"
SUBSET_OF = {split: subset for subset, split in SPLIT_OF.items()}


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path, "700")


def clip(number: int, split: Split = "train", start: float = 0.0) -> Clip:
    return Clip(f"-_video{number:04}", start, start + 10, "playing harmonica", split)


def put(layout: Layout, *clips: Clip, cut: Cut = "exact") -> None:
    for each in clips:
        layout.target(each, cut).parent.mkdir(parents=True, exist_ok=True)
        layout.target(each, cut).touch()


def failed(layout: Layout, failures: dict[Clip, Category]) -> None:
    for wanted, category in failures.items():
        with Ledger(layout, SUBSET_OF[wanted.split]) as ledger:
            ledger.record(Outcome(wanted, "failed", category, "so it is"))


def written(layout: Layout, wanted: Clip, category: Category, reason: str, time: str) -> None:
    """Have a line in the error log, as a run left it at some time."""
    log = layout.errors_log(SUBSET_OF[wanted.split])
    line = "\t".join((wanted.youtube_id, f"{wanted.time_start:g}", f"{wanted.time_end:g}", category, reason, time))
    log.write_text((log.read_text() if log.exists() else "") + line + "\n")


def not_offered(layout: Layout, *clips: Clip, days_ago: float = 1.0) -> None:
    """Have clips that YouTube did not offer to these engines, some days ago."""
    time = datetime.now().astimezone() - timedelta(days=days_ago)
    for each in clips:
        written(layout, each, Category.NOT_OFFERED, NOT_OFFERED, time.isoformat(timespec="seconds"))


def plan(
    layout: Layout,
    clips: Sequence[Clip],
    *,
    cut: Cut = "exact",
    retry: Retry = "all",
    source: SourceChoice = "youtube",
    thumbnails: bool = False,
    seed: int | None = None,
) -> tuple[Plan, dict[Split, Ledger]]:
    rows = [(one.youtube_id, one.time_start, one.time_end, one.label, one.split) for one in clips]
    frame = pd.DataFrame(rows, columns=["youtube_id", "time_start", "time_end", "label", "split"])
    ledgers = {one.split: Ledger(layout, SUBSET_OF[one.split]) for one in clips}
    logs = {split: ThumbnailLog(layout, SUBSET_OF[split]) for split in ledgers} if thumbnails else None
    annotations = Annotations(frame, ())
    made = make_plan(
        annotations, layout, ledgers, cut, retry, source=source, engines=ENGINES, thumbnails=logs, seed=seed
    )
    return made, ledgers


GONE, MAY_WORK, DONE, NEW = clip(1), clip(2), clip(3), clip(4)
ALL = [GONE, MAY_WORK, DONE, NEW]


@pytest.fixture
def later(layout: Layout) -> Layout:
    """A folder in which one clip was gone, one may work, one is there and one was never tried."""
    failed(layout, {GONE: Category.PRIVATE, MAY_WORK: Category.TIMEOUT})
    put(layout, DONE)
    return layout


@pytest.mark.parametrize(
    ("retry", "tried", "left_out"),
    [
        ("due", [NEW, MAY_WORK, GONE], 0),
        ("all", [NEW, MAY_WORK, GONE], 0),
        ("transient", [NEW, MAY_WORK], 0),
        ("none", [NEW], 1),
    ],
)
def test_never_tried_then_may_work_then_gone_as_far_as_retry_allows(
    later: Layout, retry: Retry, tried: list[Clip], left_out: int
) -> None:
    made, _ = plan(later, ALL, retry=retry)
    assert list(made.clips()) == tried
    assert made.todo == len(tried)
    assert made.may_work_left_out == left_out
    assert (made.wanted, [made.count(tier) for tier in ClipState]) == (4, [1, 1, 0, 1, 1, 0, 0, 0])


@pytest.mark.parametrize("category", Category)
def test_each_category_is_tried_in_its_turn(layout: Layout, category: Category) -> None:
    failed(layout, {clip(1): category})
    made, _ = plan(layout, [clip(1)])
    said_by_youtube = category.gone and category is not Category.NOT_FOUND
    state = ClipState.WAS_GONE if said_by_youtube else ClipState.MAY_WORK
    assert made.count(ClipState.NOT_OFFERED if category is Category.NOT_OFFERED else state) == 1


@pytest.mark.parametrize("category", Category)
def test_only_what_the_mirror_lacks_is_gone_where_it_alone_is_asked(layout: Layout, category: Category) -> None:
    failed(layout, {clip(1): category})
    made, _ = plan(layout, [clip(1)], source="mirror")
    assert made.count(ClipState.WAS_GONE if category is Category.NOT_FOUND else ClipState.MAY_WORK) == 1


def test_what_one_source_gave_is_not_asked_for_at_the_next(layout: Layout) -> None:
    clips = [clip(number) for number in (5, 3, 9, 1)]
    failed(layout, {clip(3): Category.PRIVATE})
    made, _ = plan(layout, clips)
    left = made.with_on_disk({clip_name(*clip(5).key), clip_name(*clip(3).key)})
    assert [*left.clips()] == [clip(9), clip(1)]
    assert [*made.for_split("train").clips()] == [*made.clips()]
    assert left.file_names(left.to_try) == [clip_name(*clip(number).key) for number in (9, 1)]


def test_within_a_tier_the_order_is_that_of_the_annotations(layout: Layout) -> None:
    clips = [clip(number) for number in (5, 3, 9, 1)]
    made, _ = plan(layout, clips)
    assert list(made.clips()) == clips


def test_what_is_on_disk_is_done_whatever_the_log_says_and_is_forgotten(later: Layout) -> None:
    put(later, GONE)
    made, ledgers = plan(later, ALL)
    assert list(made.clips()) == [NEW, MAY_WORK]
    with ledgers["train"]:
        pass
    assert [line.split("\t")[0] for line in later.errors_log("train").read_text().splitlines()] == [MAY_WORK.youtube_id]


def test_a_sample_of_living_videos_is_of_what_is_on_disk_if_it_can_be_and_differs_from_run_to_run(
    layout: Layout,
) -> None:
    clips = [clip(number) for number in range(40)]
    put(layout, *clips[:30])
    samples = [plan(layout, clips)[0].sample_living(3) for _ in range(5)]
    assert {len({*sample}) for sample in samples} == {3}
    assert {one for sample in samples for one in sample} <= {*clips[:30]}
    assert len({*map(tuple, samples)}) > 1
    failed(layout, dict.fromkeys(clips[31:], Category.PRIVATE))
    few = plan(layout, clips[29:])[0].sample_living(3)
    assert few == [clips[29], clips[30]], "on disk, then never tried"


def test_another_segment_or_label_or_split_on_disk_is_another_clip(layout: Layout) -> None:
    put(layout, clip(1, start=20.0), clip(1, "val"), clip(1, start=0.5))
    made, _ = plan(layout, [clip(1)])
    assert list(made.clips()) == [clip(1)]


def test_whole_videos_count_once_however_many_segments_they_have(layout: Layout) -> None:
    put(layout, clip(1), cut="none")
    put(layout, clip(2))
    clips = [clip(1), clip(1, start=20.0), clip(2), clip(2, start=20.0), clip(3, "val"), clip(3, start=5.0)]
    made, _ = plan(layout, clips, cut="none")
    assert (made.wanted, made.count(ClipState.ON_DISK), made.todo) == (3, 1, 2)
    assert [one.youtube_id for one in made.clips()] == ["-_video0002", "-_video0003"]


def test_the_videos_to_ask_for_are_those_of_the_clips_to_try_at_youtube_each_counted_once(layout: Layout) -> None:
    put(layout, clip(1), clip(2))
    not_offered(layout, clip(5))
    clips = [clip(1), clip(1, start=20.0), clip(1, "val"), clip(2), clip(3), clip(3, start=20.0), clip(5)]
    made, _ = plan(layout, clips, retry="due", source="both")
    assert (made.todo, made.videos) == (5, 2), "the mirror alone is asked for what is not due"
    assert len([*made.for_youtube().items()]) == made.videos == made.for_youtube().videos
    whole, _ = plan(layout, clips, cut="none")
    assert (whole.todo, whole.videos) == (4, 4)


def test_each_subset_has_its_own_ledger(layout: Layout) -> None:
    train, val = clip(1), clip(1, "val")
    failed(layout, {train: Category.PRIVATE, val: Category.TIMEOUT})
    made, ledgers = plan(layout, [train, val, clip(2), clip(2, "val")])
    assert list(made.clips()) == [clip(2), clip(2, "val"), val, train]
    put(layout, train)
    made, ledgers = plan(layout, [train, val])
    assert (ledgers["train"].category(train.key), ledgers["val"].category(val.key)) == (None, Category.TIMEOUT)


def test_what_runs_on_other_parts_found_missing_was_tried_and_what_is_missing_still_is_in_ones_own_log(
    layout: Layout,
) -> None:
    """One ran on all clips, two on parts of them; each left a failure, and of one of these the clip is here by now."""
    shards = [layout, replace(layout, shard="1of2"), replace(layout, shard="2of2")]
    for shard, failure in zip(shards, (GONE, MAY_WORK, DONE), strict=True):
        failed(shard, {failure: Category.PRIVATE if failure is GONE else Category.TIMEOUT})
    put(layout, DONE)
    for shard in shards:
        before = {other: other.errors_log("train").read_text() for other in shards if other != shard}
        made, ledgers = plan(shard, ALL, retry="none")
        assert list(made.clips()) == [NEW]
        assert [made.count(tier) for tier in ClipState] == [1, 1, 0, 1, 1, 0, 0, 0]
        with ledgers["train"]:
            pass
        own = {line.split("\t")[0] for line in shard.errors_log("train").read_text().splitlines()}
        assert own == {GONE.youtube_id, MAY_WORK.youtube_id}
        assert {other: other.errors_log("train").read_text() for other in before} == before


def test_a_run_on_a_part_takes_over_no_clips_of_other_parts(layout: Layout) -> None:
    failed(layout, {GONE: Category.PRIVATE, MAY_WORK: Category.TIMEOUT})
    _, ledgers = plan(replace(layout, shard="1of2"), [MAY_WORK, NEW])
    with ledgers["train"]:
        pass
    log = replace(layout, shard="1of2").errors_log("train")
    assert [line.split("\t")[0] for line in log.read_text().splitlines()] == [MAY_WORK.youtube_id]


def test_nothing_wanted_is_a_plan_too(layout: Layout) -> None:
    made, _ = plan(layout, [clip(1)])
    empty = make_plan(Annotations(made.frame.iloc[:0], ()), layout, {}, "exact", "all")
    assert (empty.wanted, empty.todo, list(empty.clips())) == (0, 0, [])


# -- what YouTube did not offer ---------------------------------------------------------------------------------------


def test_what_was_not_offered_comes_between_what_may_work_and_what_was_gone(later: Layout) -> None:
    not_offered(later, clip(5))
    made, _ = plan(later, [*ALL, clip(5)])
    assert list(made.clips()) == [NEW, MAY_WORK, clip(5), GONE]
    assert made.count(ClipState.NOT_OFFERED) == 1


def test_what_was_not_offered_lately_is_left_out_until_it_is_due(later: Layout) -> None:
    not_offered(later, clip(5))
    not_offered(later, clip(6), days_ago=ASK_AGAIN_DAYS + 1)
    clips = [*ALL, clip(5), clip(6)]
    made, _ = plan(later, clips, retry="due")
    assert [*made.clips()] == [NEW, MAY_WORK, clip(6), GONE]
    assert (made.todo, made.count(ClipState.NOT_OFFERED)) == (4, 2)
    assert [*made.clips_in(made.not_due_rows)] == [clip(5)]
    for retry, tried in {"all": {clip(5), clip(6)}, "transient": set(), "none": set()}.items():
        made, _ = plan(later, clips, retry=retry)  # type: ignore[arg-type]
        assert {*made.clips()} & {clip(5), clip(6)} == tried
        assert made.not_due_rows == []


@pytest.mark.parametrize(
    ("reason", "days_ago", "due"),
    [
        (NOT_OFFERED, ASK_AGAIN_DAYS - 0.01, False),
        (NOT_OFFERED, ASK_AGAIN_DAYS + 0.01, True),
        (NOT_OFFERED.replace("2026", "2027"), 1, True),
        (NOT_OFFERED.replace("pytubefix 11.2.1, ", ""), 1, True),
        ("This video is not available", 1, True),
        (NOT_OFFERED, -1, True),
    ],
    ids=["lately", "long ago", "a newer engine", "another engine", "no engines named", "in the future"],
)
def test_it_is_due_after_some_days_or_with_other_engines(
    layout: Layout, reason: str, days_ago: float, due: bool
) -> None:
    time = datetime.now().astimezone() - timedelta(days=days_ago)
    written(layout, clip(1), Category.NOT_OFFERED, reason, time.isoformat(timespec="seconds"))
    made, _ = plan(layout, [clip(1)], retry="due")
    assert made.todo == due


@pytest.mark.parametrize("time", ["", "yesterday", "0001-01-01T00:00:00", "9999-12-31T23:59:59+00:00", "2026-13-01"])
def test_it_is_due_if_its_line_has_no_time_that_can_be(layout: Layout, time: str) -> None:
    written(layout, clip(1), Category.NOT_OFFERED, NOT_OFFERED, time)
    made, _ = plan(layout, [clip(1)], retry="due")
    assert made.todo == 1


def test_the_mirror_is_asked_for_it_all_the_same(layout: Layout) -> None:
    not_offered(layout, clip(1))
    made, _ = plan(layout, [clip(1), clip(2)], retry="due", source="both")
    assert [*made.clips()] == [clip(2), clip(1)]
    assert [*made.for_youtube().clips()] == [clip(2)]
    assert [*made.for_split("train").for_youtube().clips()] == [clip(2)]
    alone, _ = plan(layout, [clip(1)], retry="due", source="mirror")
    assert (alone.count(ClipState.MAY_WORK), alone.not_due_rows) == (1, [])


def test_once_it_is_on_disk_it_is_due_for_nobody(layout: Layout) -> None:
    not_offered(layout, clip(1))
    made, _ = plan(layout, [clip(1)], retry="due", source="both")
    assert made.with_on_disk({clip_name(*clip(1).key)}).not_due_rows == []


# -- what is known of the clips to try --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("retry", "known"),
    [
        ("all", {GONE: Category.PRIVATE, clip(5): Category.NOT_OFFERED, clip(6): Category.NOT_OFFERED}),
        ("due", {GONE: Category.PRIVATE, clip(6): Category.NOT_OFFERED}),
        ("transient", {}),
    ],
)
def test_verdicts_of_earlier_runs_are_known_of_the_clips_to_try(
    later: Layout, retry: Retry, known: dict[Clip, Category]
) -> None:
    not_offered(later, clip(5))
    not_offered(later, clip(6), days_ago=ASK_AGAIN_DAYS + 1)
    made, _ = plan(later, [*ALL, clip(5), clip(6)], retry=retry)
    assert made.known == {one.key: category for one, category in known.items()}


# -- what was gone, by its thumbnails ---------------------------------------------------------------------------------


def days_ago(days: float) -> str:
    return (datetime.now().astimezone() - timedelta(days=days)).isoformat(timespec="seconds")


def gone(layout: Layout, *clips: Clip, days: float = 1.0, category: Category = Category.PRIVATE) -> None:
    """Have clips that YouTube called gone, some days ago."""
    for each in clips:
        written(layout, each, category, "so it is", days_ago(days))


def seen(layout: Layout, *clips: Clip, thumbnail: Thumbnail = "missing", days: float = 1.0) -> None:
    """Have seen their thumbnails, or none, some days ago."""
    for each in clips:
        with open(layout.table(SUBSET_OF[each.split], THUMBNAILS), "a") as table:
            table.write(f"{each.youtube_id},{thumbnail},{days_ago(days)}\n")


def by_thumbnails(layout: Layout, clips: Sequence[Clip], retry: Retry = "due") -> tuple[list[Clip | Video], ...]:
    """The clips that are asked for first, those that are looked for, and those that are asked for last."""
    first, looked_for, last = plan(layout, clips, retry=retry, thumbnails=True)[0].by_thumbnails()
    return [*first.clips()], [*looked_for], [*last.clips()]


def test_a_verdict_that_a_missing_thumbnail_confirms_stands_and_nobody_is_asked(layout: Layout) -> None:
    gone(layout, clip(1), clip(2), days=60)
    seen(layout, clip(1), days=2)
    made, ledgers = plan(layout, [clip(1)], retry="due", thumbnails=True)
    assert (made.todo, made.confirmed, made.count(ClipState.WAS_GONE), made.known) == (0, 1, 1, {})
    before = layout.errors_log("train").read_text()
    with ledgers["train"]:
        pass
    assert layout.errors_log("train").read_text() == before, "the log's time is the player's"


@pytest.mark.parametrize("category", [one for one in Category if one.gone and one is not Category.NOT_FOUND])
def test_each_verdict_that_nothing_confirms_is_looked_for_but_for_one_about_a_section(
    layout: Layout, category: Category
) -> None:
    gone(layout, clip(1), category=category)
    looked_for = category is not Category.PAST_END
    assert by_thumbnails(layout, [clip(1), clip(2)]) == (
        [clip(2)],
        [clip(1)] if looked_for else [],
        [] if looked_for else [clip(1)],
    )
    made, _ = plan(layout, [clip(1)], retry="due", thumbnails=True)
    stays = looked_for and category not in THUMBNAIL_VANISHES
    assert made.looked_for.stays_there == ({clip(1).youtube_id} if stays else set())
    assert made.known == {clip(1).key: category}


@pytest.mark.parametrize(
    ("days", "again"), [(PLAYER_AGAIN_DAYS - 0.1, False), (PLAYER_AGAIN_DAYS + 0.1, True), (-1, True)]
)
def test_the_player_is_asked_again_for_an_old_verdict_whatever_was_seen(
    layout: Layout, days: float, again: bool
) -> None:
    gone(layout, clip(1), days=days)
    seen(layout, clip(1))
    assert by_thumbnails(layout, [clip(1)]) == ([], [], [clip(1)] if again else [])


def test_with_retry_all_or_without_thumbnails_the_player_is_asked_for_all(layout: Layout) -> None:
    gone(layout, clip(1), clip(2))
    seen(layout, clip(1))
    assert by_thumbnails(layout, [clip(1), clip(2)], retry="all") == ([], [], [clip(1), clip(2)])
    assert by_thumbnails(layout, [clip(1), clip(2)], retry="transient") == ([], [], [])
    assert [*plan(layout, [clip(1), clip(2)], retry="due")[0].clips()] == [clip(1), clip(2)]


def test_old_confirmations_are_asked_for_anew_the_oldest_first_and_the_rest_still_hold(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gone_clips, "MOST_CONFIRMED_ANEW", 2)
    clips = [clip(number) for number in range(4)]
    gone(layout, *clips, clip(1, start=20.0), days=80)
    for number, days in enumerate((40, 60, CONFIRMED_DAYS - 1, 50)):
        seen(layout, clip(number), days=days)
    assert by_thumbnails(layout, [*clips, clip(1, start=20.0)]) == (
        [],
        [Video((clip(1), clip(1, start=20.0))), clip(3)],
        [],
    )
    made, _ = plan(layout, clips, retry="due", thumbnails=True)
    assert (made.confirmed, made.todo, made.looked_for.stays_there) == (2, 2, frozenset())


@pytest.mark.parametrize(("days", "back"), [(3, True), (1, False)], ids=["before the verdict", "after it"])
def test_a_thumbnail_that_was_there_after_the_verdict_says_nothing_new(layout: Layout, days: float, back: bool) -> None:
    gone(layout, clip(1), days=2)
    seen(layout, clip(1), thumbnail="there", days=days)
    made, _ = plan(layout, [clip(1)], retry="due", thumbnails=True)
    assert [*made.by_thumbnails()[1]] == [clip(1)]
    assert made.looked_for.stays_there == (set() if back else {clip(1).youtube_id})


def test_a_video_that_the_player_is_asked_for_anyway_is_not_looked_for(layout: Layout) -> None:
    gone(layout, clip(1), clip(2))
    other = clip(1, start=20.0)
    assert by_thumbnails(layout, [clip(1), other, clip(2)]) == ([other, clip(1)], [clip(2)], [])
    put(layout, other)
    assert by_thumbnails(layout, [clip(1), other, clip(2)]) == ([], [clip(1), clip(2)], [])


def test_the_mirror_is_asked_for_what_is_confirmed_all_the_same(layout: Layout) -> None:
    gone(layout, clip(1), clip(2))
    seen(layout, clip(1))
    made, _ = plan(layout, [clip(1), clip(2), clip(3)], retry="due", source="both", thumbnails=True)
    assert [*made.clips()] == [clip(3), clip(1), clip(2)]
    assert [*made.for_split("train").clips()] == [*made.clips()]
    assert [*made.with_on_disk({clip_name(*clip(2).key)}).by_thumbnails()[1]] == []
    first, looked_for, last = made.by_thumbnails()
    assert ([*first.clips()], [*looked_for], [*last.clips()]) == ([clip(3)], [clip(2)], [])


# -- the order of what may work ---------------------------------------------------------------------------------------


def test_what_may_work_comes_in_another_order_in_each_run(layout: Layout) -> None:
    pile, new = [clip(number) for number in range(60)], [clip(number) for number in range(60, 120)]
    failed(layout, dict.fromkeys(pile, Category.ENGINE_ERROR))
    orders = []
    for seed in (1, 1, 2, None, None):
        made, _ = plan(layout, [*pile, *new], seed=seed)
        assert [*made.clips()] == [*made.clips()] == [*made.clips_in(made.to_try)]
        assert [*made.clips()][:60] == new, "as they are annotated"
        orders.append([*made.clips()][60:])
    assert all(sorted(order, key=pile.index) == pile for order in orders)
    assert orders[0] == orders[1]
    assert len({tuple(order) for order in [pile, *orders]}) == 5
