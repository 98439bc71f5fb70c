"""Where files live, and that a file under a final name is whole."""

from __future__ import annotations

import errno
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinetics.errors import Fatal
from kinetics.records import Clip, Shard
from kinetics.storage.atomic import atomic_write
from kinetics.storage.layout import Layout, free_space, require_data_set

CLIP = Clip("-_abcDEF012", 7.0, 17.0, "playing harmonica", "train")
TIMES = st.integers(0, 999_999_999).map(lambda ms: ms / 1000)


@pytest.mark.parametrize(
    ("clip", "path"),
    [
        (CLIP, "train/playing_harmonica/-_abcDEF012_000007_000017.mp4"),
        (replace(CLIP, split="val"), "val/playing_harmonica/-_abcDEF012_000007_000017.mp4"),
        (replace(CLIP, split="test", label=""), "test/_unlabeled/-_abcDEF012_000007_000017.mp4"),
        (
            replace(CLIP, label="massaging person's head"),
            "train/massaging_person's_head/-_abcDEF012_000007_000017.mp4",
        ),
        (
            replace(CLIP, label="throwing ball (not baseball or American football)"),
            "train/throwing_ball_(not_baseball_or_American_football)/-_abcDEF012_000007_000017.mp4",
        ),
        (replace(CLIP, label='say "ah"'), 'train/say_"ah"/-_abcDEF012_000007_000017.mp4'),
        (
            replace(CLIP, time_start=7.5, time_end=17.123),
            "train/playing_harmonica/-_abcDEF012_000007.500_000017.123.mp4",
        ),
        (
            replace(CLIP, time_start=0, time_end=123_456),
            "train/playing_harmonica/-_abcDEF012_000000_123456.mp4",
        ),
    ],
)
def test_a_clip_lives_where_the_contract_says(tmp_path: Path, clip: Clip, path: str) -> None:
    assert Layout(tmp_path, "700-2020").clip(clip) == tmp_path / "Kinetics700-2020" / path
    assert Layout(tmp_path, "700-2020").target(clip, "exact") == Layout(tmp_path, "700-2020").clip(clip)


def test_the_free_space_is_that_of_the_disk_on_which_a_folder_will_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, usage = list[Path](), shutil.disk_usage(tmp_path)

    def disk_usage(path: Path) -> object:
        asked.append(path)
        return usage

    monkeypatch.setattr(shutil, "disk_usage", disk_usage)
    assert free_space(tmp_path) == free_space(tmp_path / "data" / "Kinetics700") == usage.free
    assert asked == [tmp_path, tmp_path]


def test_the_other_places_of_the_contract(tmp_path: Path) -> None:
    layout = Layout(tmp_path, "400")
    assert layout.target(CLIP, "none") == tmp_path / "Kinetics400/whole/-_abcDEF012.mp4"
    assert layout.errors_log("validate") == tmp_path / "Kinetics400_validate_errors.log"
    assert layout.stats("validate") == tmp_path / "Kinetics400_validate_stats.csv"
    assert layout.partial("val").is_relative_to(tmp_path / "Kinetics400/.partial")


@given(st.lists(st.tuples(TIMES, TIMES), min_size=2, max_size=2, unique=True))
def test_no_two_segments_of_a_video_share_a_name(segments: list[tuple[float, float]]) -> None:
    one, other = (Layout(Path(), "700").clip(replace(CLIP, time_start=a, time_end=b)) for a, b in segments)
    assert one != other


def test_what_is_on_disk_is_told_by_label_and_split_and_whole_videos_by_id(tmp_path: Path) -> None:
    layout = Layout(tmp_path, "700")
    val = replace(CLIP, split="val", time_start=8.0)
    unlabeled = replace(CLIP, label="", time_start=9.0)
    for path in (
        *map(layout.clip, (CLIP, unlabeled, val)),
        layout.folder / "train" / "stray.mp4",
        layout.partial("train") / "unfinished.mp4",
        layout.whole("-_abcDEF012"),
        layout.folder / "whole" / "notes.txt",
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    for clip in (CLIP, unlabeled, val):
        assert [*layout.clips_on_disk([(clip.split, clip.label)])] == [{layout.clip(clip).name}]
    assert [*layout.clips_on_disk([("train", "stray.mp4"), ("test", CLIP.label)])] == [set(), set()]
    assert layout.wholes_on_disk() == {"-_abcDEF012"}
    assert Layout(tmp_path, "600").wholes_on_disk() == set()


def test_what_an_earlier_run_left_is_removed_for_its_own_split_only(tmp_path: Path) -> None:
    layout = Layout(tmp_path, "700")
    for split in ("train", "val"):
        layout.partial(split).mkdir(parents=True)
        (layout.partial(split) / "left.part").touch()
    layout.state_file("train", "lock").touch()
    layout.discard_partial("train")
    layout.discard_partial("train")
    assert not layout.partial("train").exists()
    assert (layout.partial("val") / "left.part").exists()
    assert layout.state_file("train", "lock").exists()


def test_a_shard_has_its_own_tables_marks_and_unfinished_files_and_shares_the_clips(tmp_path: Path) -> None:
    whole = Layout(tmp_path, "700")
    one, other = (replace(whole, shard=Shard(number, 16).name) for number in (3, 10))
    assert one.errors_log("train") == tmp_path / "Kinetics700_train_shard03of16_errors.log"
    assert one.table("train", "report.html") < other.table("train", "report.html"), "listed in order"
    assert one.clip(CLIP) == other.clip(CLIP) == whole.clip(CLIP)
    assert one.whole("-_abcDEF012") == whole.whole("-_abcDEF012")
    assert one.rejected(CLIP) == whole.rejected(CLIP)
    for places in zip(
        *((each.stats("train"), each.state_file("train", "lock")) for each in (whole, one, other)), strict=True
    ):
        assert len(set(places)) == 3
    assert one.without_shard == whole
    assert one.derived_layout("frames").state_file("train", "lock") != whole.derived_layout("frames").state_file(
        "train", "lock"
    )


@pytest.mark.parametrize("ours", range(3))
def test_no_run_clears_away_what_a_run_on_another_part_has_not_finished(tmp_path: Path, ours: int) -> None:
    layouts = [Layout(tmp_path, "700", shard=shard) for shard in ("", "1of2", "2of2")]
    for layout in layouts:
        layout.partial("train").mkdir(parents=True)
        (layout.partial("train") / "half.part").touch()
    layouts[ours].discard_partial("train")
    left = [(layout.partial("train") / "half.part").exists() for layout in layouts]
    assert left == [place != ours for place in range(3)]


def test_the_parts_of_a_subset_are_those_that_have_written_something(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "data", "700")
    assert layout.shard_layouts("train") == [layout]
    for shard, subset in (("10of16", "train"), ("03of16", "train"), ("1of2", "validate")):
        written = replace(layout, shard=shard).errors_log(subset)  # type: ignore[arg-type]
        written.parent.mkdir(exist_ok=True)
        written.touch()
    replace(layout, shard="03of16").stats("train").touch()
    Layout(layout.root, "700-2020", shard="1of9").stats("train").touch()
    (layout.root / "Kinetics700_train_shards_of_mine.txt").touch()
    assert [part.shard for part in layout.shard_layouts("train")] == ["", "03of16", "10of16"]
    third = replace(layout, shard="03of16")
    assert third.shard_layouts("train") == [third]
    assert third.without_shard.shard_layouts("validate")[1:] == [replace(layout, shard="1of2")]


@pytest.mark.parametrize(
    "name", ["Kinetics700/", "Kinetics700_validate_stats.csv", "Kinetics700_test_shard1of2_errors.log"]
)
def test_a_folder_with_a_table_or_the_clips_has_the_data_set(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.mkdir() if name.endswith("/") else path.touch()
    require_data_set(Layout(tmp_path, "700"), tables_suffice=True)


@pytest.mark.parametrize(
    "name", ["", "Kinetics700-2020/", "Kinetics400_train_stats.csv", "Kinetics700_train_report.html"]
)
def test_a_folder_without_it_is_told_and_stays_as_it_is(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "mistyped"
    if name:
        folder.mkdir()
        (folder / name).mkdir() if name.endswith("/") else (folder / name).touch()
    before = [*tmp_path.rglob("*")]
    with pytest.raises(Fatal, match=r"mistyped has no Kinetics700 data set.+Check -o and -v\."):
        require_data_set(Layout(folder, "700"), tables_suffice=True)
    assert [*tmp_path.rglob("*")] == before


def test_a_url_without_the_data_set_is_told_too(tmp_path: Path) -> None:
    url = f"file://{tmp_path}/store"
    with pytest.raises(Fatal, match=r"/store has no Kinetics700 data set"):
        require_data_set(Layout(tmp_path / "here", "700", url=url), tables_suffice=True)
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "Kinetics700_train_errors.log").touch()
    require_data_set(Layout(tmp_path / "here", "700", url=url), tables_suffice=True)
    assert not (tmp_path / "here").exists()


@pytest.mark.parametrize("name", ["Kinetics700_validate_stats.csv", "Kinetics700", "HACS/"])
def test_what_works_on_clips_needs_their_folder(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.mkdir() if name.endswith("/") else path.touch()
    with pytest.raises(Fatal, match=r"has no Kinetics700 data set: no folder Kinetics700\. Check -o and -v\."):
        require_data_set(Layout(tmp_path, "700"), tables_suffice=False)


def test_for_a_list_of_another_data_set_the_version_is_not_blamed(tmp_path: Path) -> None:
    with pytest.raises(Fatal, match=r"has no HACS data set: no folder HACS\. Check -o and --annotations\."):
        require_data_set(Layout(tmp_path, "700", data_set="HACS"), tables_suffice=False)


# -- whole or absent --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("beside", [True, False])
def test_a_file_written_to_its_end_replaces_the_old_one(tmp_path: Path, beside: bool) -> None:
    final, partial = tmp_path / "deep" / "file", None if beside else tmp_path / ".partial"
    for content in ("old", "new"):
        with atomic_write(final, partial) as temporary:
            temporary.write_text(content)
            assert final.exists() == (content == "new")
        assert final.read_text() == content
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [final]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_after_an_exception_nothing_is_left_and_the_old_file_stands(tmp_path: Path, error: type[BaseException]) -> None:
    final = tmp_path / "file"
    final.write_text("old")
    with pytest.raises(error), atomic_write(final, tmp_path / ".partial") as temporary:
        temporary.write_text("half")
        raise error
    assert final.read_text() == "old"
    assert not list((tmp_path / ".partial").iterdir())


def test_a_block_that_writes_nothing_makes_no_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_write(tmp_path / "file"):
        pass
    assert not list(tmp_path.iterdir())


def test_what_can_be_moved_nowhere_is_told_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a file system lets no file get another name: the copy cannot, either."""

    def other_disk(*_: object) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    monkeypatch.setattr(os, "replace", other_disk)
    with pytest.raises(OSError, match="cross-device"), atomic_write(tmp_path / "file", tmp_path / "p") as temporary:
        temporary.touch()
    assert [*tmp_path.rglob("*")] == [tmp_path / "p"]


def test_two_writers_of_one_file_do_not_meet(tmp_path: Path) -> None:
    final = tmp_path / "file"
    with atomic_write(final) as one, atomic_write(final) as other:
        assert one != other
        one.write_text("one")
        other.write_text("other")
    assert final.read_text() == "one"
