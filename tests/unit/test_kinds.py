"""Which clips on disk are of another kind than a run would add: by the tables, or by their headers."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kinetics.planning import kinds
from kinetics.planning.kinds import ClipKind, OtherKind, other_kinds
from kinetics.planning.plan import on_disk
from kinetics.records import AS_IN_SOURCE, Category, Clip, Cut, Outcome, PictureSettings, Source, Subset
from kinetics.run.messages import another_kind, how_to_mix
from kinetics.storage import attempts
from kinetics.storage.layout import Layout
from kinetics.storage.ledger import PICTURE_FIELDS, STATS_FIELDS, Ledger
from tests.support.dataset import DatasetOnDisk, numbered
from tests.unit.test_reuse import film

LENGTH_S = 4.0
SMART, KEYFRAME = ClipKind("smart", 360), ClipKind("keyframe", 360)
CLIPS = numbered(10)
NEWER = ("max_height", *PICTURE_FIELDS)
"""The columns that tables of earlier versions lack."""
SMALL = PictureSettings(short_side=256)


@pytest.fixture
def dataset(tmp_path: Path) -> DatasetOnDisk:
    return DatasetOnDisk(tmp_path)


def made(clip: Clip, cut: Cut = "smart", max_height: int | None = 360, height: int | None = 360) -> Outcome:
    """What a download of YouTube's records."""
    itag = "136+140" if height == 720 else "134+140"
    asked_for = Outcome(clip, "done", engine="pytubefix", cut=cut, max_height=max_height)
    return replace(asked_for, itag=itag, height=height, sound=True)


def from_mirror(clip: Clip) -> Outcome:
    return Outcome(clip, "done", height=1080, sound=True, source="mirror")


def put(dataset: DatasetOnDisk, clips: Iterable[Clip], content: bytes = b"") -> None:
    for clip in clips:
        dataset.put(clip, content or film(LENGTH_S))


def found(dataset: DatasetOnDisk, wanted: ClipKind = SMART, layout: Layout | None = None) -> list[OtherKind]:
    def there(_: Subset) -> pd.DataFrame:
        frame = dataset.frame
        return frame[on_disk(frame, dataset.layout)]

    return other_kinds(layout or dataset.layout, ["validate"], there, wanted)


def rewrite(table: Path, columns: Sequence[str]) -> None:
    """Give a table the columns of an earlier version."""
    rows = [*csv.DictReader(table.read_text().splitlines())]
    with open(table, "w", newline="") as file:
        older = csv.DictWriter(file, columns, extrasaction="ignore", lineterminator="\n")
        older.writeheader()
        older.writerows(rows)


# -- by the tables ----------------------------------------------------------------------------------------------------


def test_clips_of_another_cut_are_counted(dataset: DatasetOnDisk) -> None:
    put(dataset, CLIPS)
    dataset.record(*(made(clip, "keyframe") for clip in CLIPS[:3]), *(made(clip) for clip in CLIPS[3:]))
    assert found(dataset) == [OtherKind(3, "keyframe")]
    assert found(dataset, KEYFRAME) == [OtherKind(7, "smart")]


@pytest.mark.parametrize(("cut", "wanted"), [("smart", "exact"), ("exact", "smart")])
def test_smart_and_exact_are_one_kind(dataset: DatasetOnDisk, cut: Cut, wanted: Cut) -> None:
    put(dataset, CLIPS)
    dataset.record(*(made(clip, cut) for clip in CLIPS))
    assert found(dataset, ClipKind(wanted, 360)) == []


@pytest.mark.parametrize(("asked", "now"), [(720, 360), (360, 720)])
def test_clips_of_another_height_are_counted_even_if_their_videos_had_none_that_tall(
    dataset: DatasetOnDisk, asked: int, now: int
) -> None:
    put(dataset, CLIPS)
    dataset.record(*(made(clip, max_height=asked, height=240) for clip in CLIPS))
    assert found(dataset, ClipKind("smart", now)) == [OtherKind(10, max_height=asked)]
    assert found(dataset, ClipKind("keyframe", now)) == [OtherKind(10, "smart", asked)]


def test_clips_from_elsewhere_than_youtube_are_no_other_kind(dataset: DatasetOnDisk) -> None:
    put(dataset, CLIPS, film(30.0, (1920, 1080)))
    dataset.record(*(from_mirror(clip) for clip in CLIPS))
    assert found(dataset) == found(dataset, KEYFRAME) == []
    table = dataset.layout.stats("validate")
    table.write_text(table.read_text().replace(",mirror,", ",folder,"))
    assert found(dataset) == [], "whatever else their source is"


def test_only_clips_that_are_on_disk_count_each_by_its_last_success(dataset: DatasetOnDisk) -> None:
    put(dataset, CLIPS[:6])
    dataset.record(*(made(clip, "keyframe") for clip in CLIPS), *(made(clip) for clip in CLIPS[:2]))
    dataset.record(from_mirror(CLIPS[2]), Outcome(CLIPS[3], "failed", Category.TIMEOUT, cut="smart", max_height=360))
    assert found(dataset) == [OtherKind(3, "keyframe")]


def test_the_tables_of_all_shards_count_for_each_of_them(dataset: DatasetOnDisk) -> None:
    put(dataset, CLIPS)
    for shard, clips in {"1of2": CLIPS[:5], "2of2": CLIPS[5:]}.items():
        with Ledger(replace(dataset.layout, shard=shard), "validate") as ledger:
            for clip in clips:
                ledger.record(made(clip, "keyframe" if shard == "2of2" else "smart"))
    for shard in ("", "1of2", "2of2"):
        assert found(dataset, layout=replace(dataset.layout, shard=shard)) == [OtherKind(5, "keyframe")]


def test_clips_that_were_not_chosen_and_clips_under_another_label_count(dataset: DatasetOnDisk) -> None:
    put(dataset, CLIPS)
    dataset.record(*(made(clip, "keyframe") for clip in CLIPS))
    dataset.clips = CLIPS[:3]
    assert found(dataset) == [OtherKind(10, "keyframe")]
    put(dataset, moved := [replace(CLIPS[0], label="tai chi, slow")])
    dataset.layout.clip(CLIPS[0]).unlink()
    dataset.clips = moved
    assert found(dataset) == [OtherKind(10, "keyframe")]
    dataset.clips = []
    assert found(dataset) == [OtherKind(9, "keyframe")]


def test_whole_videos_are_of_a_kind_of_their_own(dataset: DatasetOnDisk) -> None:
    put(dataset, CLIPS[:5])
    dataset.record(*(made(clip) for clip in CLIPS[:5]), *(made(clip, "none", 720) for clip in CLIPS[3:]))
    whole = dataset.layout.folder / "whole"
    whole.mkdir()
    for clip in CLIPS[:8]:
        dataset.layout.whole(clip.youtube_id).write_bytes(film(60.0))
    assert found(dataset, SMART) == []
    assert found(dataset, ClipKind("none", 360)) == [OtherKind(5, max_height=720)]
    assert found(dataset, ClipKind("none", 720)) == []


# -- tables of earlier versions ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("carried_over", [False, True])
def test_without_max_height_a_clip_that_is_taller_is_of_another_kind_and_a_lower_one_is_not(
    dataset: DatasetOnDisk, carried_over: bool
) -> None:
    put(dataset, CLIPS[:4], film(LENGTH_S, (1280, 720)))
    put(dataset, CLIPS[4:])
    dataset.record(*(made(clip, height=720) for clip in CLIPS[:4]), *(made(clip) for clip in CLIPS[4:]))
    rewrite(dataset.layout.stats("validate"), [name for name in STATS_FIELDS if name not in NEWER])
    if carried_over:
        dataset.record()
        assert dataset.layout.stats("validate").read_text().count(",smart,1,youtube,,,,\n") == 10
    assert found(dataset) == [OtherKind(4, sign="taller")]
    assert found(dataset, ClipKind("exact", 1080)) == []
    assert found(dataset, KEYFRAME) == [OtherKind(10, "smart")]


def test_of_an_upright_clip_the_shorter_side_counts(dataset: DatasetOnDisk) -> None:
    put(dataset, CLIPS, film(LENGTH_S, (360, 640)))
    dataset.record(*(made(clip, max_height=None, height=640) for clip in CLIPS))
    assert found(dataset) == []


def test_where_the_table_does_not_know_the_cut_the_length_shows_it(dataset: DatasetOnDisk) -> None:
    put(dataset, CLIPS[:4], film(LENGTH_S + 2))
    put(dataset, CLIPS[4:])
    dataset.record(*(made(clip) for clip in CLIPS))
    rewrite(dataset.layout.stats("validate"), [name for name in STATS_FIELDS if name not in ("cut", *NEWER)])
    assert found(dataset) == [OtherKind(4, sign="longer")]
    dataset.record()
    assert found(dataset) == [OtherKind(4, sign="longer")]


# -- by the headers ---------------------------------------------------------------------------------------------------


def test_without_tables_the_headers_show_what_is_longer_and_what_is_taller(dataset: DatasetOnDisk) -> None:
    put(dataset, CLIPS[:3], film(LENGTH_S + 1, (640, 360)))
    put(dataset, CLIPS[3:5], film(LENGTH_S, (1280, 720)))
    put(dataset, CLIPS[5:8], film(LENGTH_S - 1, (360, 640)))
    put(dataset, CLIPS[8:], b"no film")
    assert found(dataset) == [OtherKind(3, sign="longer"), OtherKind(2, sign="taller")]
    assert found(dataset, ClipKind("keyframe", 720)) == []
    dataset.record(Outcome(CLIPS[9], "failed", Category.PRIVATE, cut="smart", max_height=360))
    assert found(dataset, ClipKind("smart", 720)) == [OtherKind(3, sign="longer")], "no table names a clip that came"
    rewrite(dataset.layout.stats("validate"), STATS_FIELDS[:-1])
    assert found(dataset, ClipKind("smart", 720)) == [OtherKind(3, sign="longer")], "nor does an older one"


def test_clips_that_a_table_does_not_name_come_from_elsewhere(dataset: DatasetOnDisk) -> None:
    put(dataset, CLIPS, film(LENGTH_S + 1, (1280, 720)))
    dataset.record(made(CLIPS[0]))
    assert found(dataset) == []


def test_of_many_clips_some_are_looked_at_from_the_first_to_the_last(
    dataset: DatasetOnDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kinds, "MAX_HEADERS", 4)
    put(dataset, CLIPS[:2], film(LENGTH_S, (1280, 720)))
    put(dataset, CLIPS[2:])
    assert found(dataset) == [OtherKind(1, sign="taller", looked_at=4)]
    put(dataset, CLIPS[-2:], film(LENGTH_S, (1280, 720)))
    assert found(dataset) == [OtherKind(2, sign="taller", looked_at=4)]


def test_a_few_videos_without_a_small_picture_are_no_kind(
    dataset: DatasetOnDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(dataset, CLIPS[:1], film(LENGTH_S, (1280, 720)))
    put(dataset, CLIPS[1:])
    assert found(dataset) == [OtherKind(1, sign="taller")]
    monkeypatch.setattr(kinds, "MIN_SHARE", 0.11)
    assert found(dataset) == []
    dataset.record(*(made(clip, max_height=None, height=720 if clip is CLIPS[0] else 360) for clip in CLIPS))
    assert found(dataset) == []


# -- what the picture is to be like ------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", ["youtube", "mirror"])
def test_a_picture_that_was_to_be_otherwise_is_another_kind_from_either_source(
    dataset: DatasetOnDisk, source: Source
) -> None:
    put(dataset, CLIPS)
    dataset.record(*(replace(made(clip), source=source, picture=SMALL) for clip in CLIPS))
    assert found(dataset) == [OtherKind(10, picture=SMALL)]
    assert found(dataset, ClipKind("smart", 360, SMALL)) == []
    assert found(dataset, ClipKind("smart", 360, replace(SMALL, keyframes=16))) == [OtherKind(10, picture=SMALL)]


def test_clips_as_in_the_source_are_another_kind_than_smaller_ones(dataset: DatasetOnDisk) -> None:
    put(dataset, CLIPS)
    dataset.record(*map(made, CLIPS[:5]), *map(from_mirror, CLIPS[5:]))
    wanted = ClipKind("smart", 360, SMALL)
    assert found(dataset, wanted) == [OtherKind(10, picture=AS_IN_SOURCE)]
    assert another_kind(found(dataset, wanted), wanted) == (
        "10 of the clips on disk were made with the picture as in the source, and this run would add clips of "
        "--short-side 256"
    )


def test_without_a_table_the_headers_show_that_clips_are_larger_than_asked_for(dataset: DatasetOnDisk) -> None:
    put(dataset, CLIPS)
    wanted = ClipKind("smart", 720, SMALL)
    assert found(dataset, wanted) == [OtherKind(10, sign="taller")]
    assert another_kind(found(dataset, wanted), wanted).startswith(
        "10 of the clips on disk are taller than --short-side 256"
    )


# -- the first look ---------------------------------------------------------------------------------------------------


def test_a_table_of_one_kind_is_not_parsed(dataset: DatasetOnDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    put(dataset, CLIPS)
    dataset.record(
        *(made(CLIPS[0]), made(CLIPS[1], "exact"), from_mirror(CLIPS[2]), made(CLIPS[3], max_height=None)),
        replace(made(CLIPS[4]), sound=False),
        Outcome(CLIPS[5], "failed", Category.PRIVATE, 'It said: "gone, done"', cut="smart", max_height=360),
        Outcome(CLIPS[6], "failed", Category.PRIVATE, "private", cut="keyframe", max_height=720),
        Outcome(CLIPS[7], "failed", Category.LOST_WORKER, "lost"),
    )
    monkeypatch.delattr(attempts, "last_successes")
    assert found(dataset) == []
    with monkeypatch.context() as blocks:
        blocks.setattr(kinds, "BLOCK_BYTES", 50)
        assert found(dataset) == [], "in whatever pieces it is read"
    dataset.record(made(CLIPS[8], max_height=None, height=640))
    assert found(dataset) == [], "an upright clip in the same format as the fourth"
    dataset.record(made(CLIPS[9], "keyframe"))
    for size in (50, 1 << 18):
        monkeypatch.setattr(kinds, "BLOCK_BYTES", size)
        assert kinds._first_look(dataset.layout.stats("validate"), SMART) is kinds._Content.PERHAPS_OTHERS


WORDS = st.sampled_from(["", "done", ",done,", ',done,,,"', "a,b", 'He said: "no"', ",smart,1,youtube,360", "caf\xe9"])
OUTCOMES = st.builds(
    Outcome,
    st.builds(lambda clip, label: replace(clip, label=label), st.sampled_from(CLIPS), WORDS),
    st.sampled_from(["done", "failed", "postponed"]),
    st.none(),
    WORDS,
    engine=WORDS,
    itag=WORDS,
    host=WORDS,
    height=st.sampled_from([None, 144, 360, 361, 1080]),
    cut=st.sampled_from([None, "smart", "exact", "keyframe", "none"]),
    sound=st.sampled_from([None, True, False]),
    source=st.sampled_from(["youtube", "mirror"]),
    max_height=st.sampled_from([None, 144, 360, 720]),
    picture=st.sampled_from([AS_IN_SOURCE, SMALL, PictureSettings(256, 12.5, 16)]),
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    outcomes=st.lists(OUTCOMES, min_size=1, max_size=6),
    cut=st.sampled_from(["smart", "exact", "keyframe", "none"]),
    picture=st.sampled_from([AS_IN_SOURCE, SMALL]),
)
def test_the_first_look_overlooks_nothing_that_the_table_knows(
    tmp_path: Path, outcomes: list[Outcome], cut: Cut, picture: PictureSettings
) -> None:
    layout, wanted = Layout(tmp_path, "700"), ClipKind(cut, 360, picture)
    layout.stats("validate").unlink(missing_ok=True)
    with Ledger(layout, "validate") as ledger:
        for outcome in outcomes:
            ledger.record(replace(outcome, reason="") if outcome.status == "done" else outcome)
    content = kinds._first_look(layout.stats("validate"), wanted)
    columns = ("cut", "height", "max_height", "source", *PICTURE_FIELDS)
    rows = attempts.last_successes(layout, "validate", columns, whole=cut == "none")
    if content is kinds._Content.AS_WANTED:
        differing = kinds._differing(rows, wanted)
        assert differing["unsure"].all(), "only of clips without a max_height"
    elif content is kinds._Content.NOTHING:
        assert rows.empty


# -- what is said -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (
            [OtherKind(10, "keyframe")],
            "10 of the clips on disk were cut with --cut keyframe, and this run would add clips of --cut smart. Give "
            "--cut keyframe to add more of them, --mix to have both kinds, or another folder with -o.",
        ),
        (
            [OtherKind(1, max_height=720)],
            "1 of the clips on disk was made with --max-height 720, and this run would add clips of --max-height 360. "
            "Give --max-height 720 to add more of them, --mix to have both kinds, or another folder with -o.",
        ),
        (
            [OtherKind(2000, "exact", 720)],
            "2,000 of the clips on disk were cut with --cut exact --max-height 720, and this run would add clips of "
            "--cut smart --max-height 360. Give --cut exact --max-height 720 to add more of them, --mix to have both "
            "kinds, or another folder with -o.",
        ),
        (
            [OtherKind(3, sign="taller")],
            "3 of the clips on disk are taller than --max-height 360, and this run would add clips of --max-height "
            "360. Give --mix to have both kinds, or another folder with -o.",
        ),
        (
            [OtherKind(1, sign="longer", looked_at=500), OtherKind(2, max_height=144)],
            "1 of 500 clips looked at is longer than its section, as with --cut keyframe; 2 of the clips on disk were "
            "made with --max-height 144, and this run would add clips of --cut smart --max-height 360. Give --mix to "
            "have all of them, or another folder with -o.",
        ),
    ],
)
def test_a_run_says_what_is_there_what_it_would_add_and_what_to_do(other: list[OtherKind], said: str) -> None:
    assert f"{another_kind(other, SMART)}. {how_to_mix(other)}" == said


def test_whole_videos_are_called_videos() -> None:
    assert another_kind([OtherKind(1, max_height=720)], ClipKind("none", 360)) == (
        "1 of the videos on disk was made with --max-height 720, and this run would add videos of --max-height 360"
    )
