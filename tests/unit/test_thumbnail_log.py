"""The table of what was seen of gone videos' thumbnails: what a run and its shards write, and what is read of it."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from kinetics.errors import Fatal
from kinetics.storage.layout import Layout
from kinetics.storage.thumbnail_log import ThumbnailLog

HEADER = "youtube_id,thumbnail,time\n"


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path, "700")


def table(layout: Layout) -> Path:
    return layout.table("train", "thumbnails.csv")


def said(layout: Layout) -> dict[str, str]:
    seen = ThumbnailLog(layout, "train").sightings()
    return dict(zip(seen["youtube_id"], seen["thumbnail"], strict=True))


def test_what_is_seen_is_there_at_once_and_the_last_sighting_counts(layout: Layout) -> None:
    with ThumbnailLog(layout, "train") as log:
        log.note("-_video0001", "missing")
        log.note("-_video0002", "missing")
        log.note("-_video0001", "there")
        assert said(layout) == {"-_video0001": "there", "-_video0002": "missing"}
        assert table(layout).read_text().startswith(HEADER)
    assert len(table(layout).read_text().splitlines()) == 3, "compacted to one line a video"
    assert (ThumbnailLog(layout, "train").sightings()["seen_s"] - time.time()).abs().max() < 60


def test_a_run_that_sees_nothing_writes_no_table(layout: Layout) -> None:
    with ThumbnailLog(layout, "train") as log:
        assert log.sightings().empty
    assert not table(layout).exists()
    assert not layout.exists, "such a table is no sign of a data set"


def test_damaged_lines_are_left_out_and_half_a_line_spoils_no_other(layout: Layout) -> None:
    good = "-_video0001,missing,2026-11-01T00:00:00+00:00\n"
    bad = ["-_video0002,gone,2026-11-01T00:00:00+00:00\n", "-_video0003,missing,soon\n", "\0\0\n", "\n", "a,b,c,d\n"]
    table(layout).write_text(HEADER + "".join(bad) + good + "-_video0004,missing,2026-11-01T00:0")
    assert said(layout) == {"-_video0001": "missing"}
    with ThumbnailLog(layout, "train") as log:
        log.note("-_video0005", "there")
    assert said(layout) == {"-_video0001": "missing", "-_video0005": "there"}


def test_the_latest_time_counts_in_whatever_order_the_lines_stand(layout: Layout) -> None:
    lines = "-_video0001,there,2026-11-02T00:00:00+00:00\n-_video0001,missing,2026-11-01T00:00:00+00:00\n"
    table(layout).write_text(HEADER + lines)
    assert said(layout) == {"-_video0001": "there"}


def test_a_run_on_all_clips_reads_the_tables_of_all_shards_and_a_shard_those_of_the_whole(layout: Layout) -> None:
    shards = [replace(layout, shard="1of2"), replace(layout, shard="2of2")]
    for number, one in enumerate([layout, *shards]):
        with ThumbnailLog(one, "train") as log:
            log.note(f"-_video000{number}", "missing")
    assert all({*said(one)} == {"-_video0000", "-_video0001", "-_video0002"} for one in [layout, *shards])
    before = table(layout).read_text()
    with ThumbnailLog(shards[0], "train") as log:
        log.note("-_video0009", "missing")
    assert table(layout).read_text() == before, "each run writes its own"


def test_a_table_that_cannot_be_read_or_written_ends_the_run(layout: Layout) -> None:
    table(layout).mkdir()
    with pytest.raises(Fatal, match="Cannot write"):
        ThumbnailLog(layout, "train")
