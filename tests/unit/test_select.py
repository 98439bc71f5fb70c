"""Which clips a run is about: by class, by number, at random, by a list; and what is said where that makes no sense."""

from __future__ import annotations

import gzip
import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from kinetics.annotations.classes import class_names, classes_of
from kinetics.annotations.load import load
from kinetics.annotations.select import in_random_order, select
from kinetics.annotations.table import Annotations
from kinetics.cli.parser import parse
from kinetics.errors import Fatal
from kinetics.records import ClipKey, Shard

LABELS = ("juggling balls", "massaging person's head", "throwing ball (not baseball or American football)", "tai chi")
ROWS = [
    (label, f"{number:02}_{place:08}", number, number + 10) for number in range(5) for place, label in enumerate(LABELS)
]
HEADER = "label,youtube_id,time_start,time_end"


def write(path: Path, rows: Sequence[Sequence[object]], header: str = HEADER) -> Path:
    path.write_text("\n".join([header, *(",".join(map(str, row)) for row in rows), ""]))
    return path


@pytest.fixture(name="annotations")
def _annotations(tmp_path: Path) -> Annotations:
    return load("700", "train", write(tmp_path / "list.csv", ROWS))


def keys(chosen: Annotations) -> list[ClipKey]:
    return [clip.key for clip in chosen.clips()]


def labels(chosen: Annotations) -> Counter[str]:
    return Counter(clip.label for clip in chosen.clips())


# -- classes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["tai chi", "tai_chi", "Tai Chi", " tai  chi ", "TAI_chi"])
def test_a_class_is_found_however_it_is_spelt(annotations: Annotations, name: str) -> None:
    assert labels(select(annotations, classes=[name])) == {"tai chi": 5}


def test_several_classes_and_a_file_of_them_are_all_chosen(annotations: Annotations, tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("\ufeffmassaging_person's_head\r\n\r\n" + LABELS[2] + "\n", encoding="utf-8")
    chosen = select(annotations, classes=["tai chi", f"@{tmp_path / 'names.txt'}"])
    assert labels(chosen) == dict.fromkeys(LABELS[1:], 5)
    assert keys(chosen) == [key for key in keys(annotations) if key in set(keys(chosen))], "in the annotations' order"


@pytest.mark.parametrize(("name", "nearest"), [("jugling balls", LABELS[0]), ("thai chi", "tai chi"), ("zzz", "")])
def test_a_class_that_there_is_not_is_answered_with_the_nearest(
    annotations: Annotations, name: str, nearest: str
) -> None:
    with pytest.raises(Fatal, match="no class") as caught:
        select(annotations, classes=["tai chi", name])
    assert repr(name) in str(caught.value)
    assert nearest in str(caught.value)


@pytest.mark.parametrize(
    ("content", "words"), [(None, "No such file"), (b"\n \n", "names no class"), (b"\xff", "Cannot read")]
)
def test_a_file_of_classes_that_is_none_is_named(
    annotations: Annotations, tmp_path: Path, content: bytes | None, words: str
) -> None:
    path = tmp_path / "names.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(Fatal, match=words) as caught:
        select(annotations, classes=[f"@{path}"])
    assert str(path) in str(caught.value)


def test_classes_of_a_subset_without_labels_are_refused(tmp_path: Path) -> None:
    unlabeled = load("700", "test", write(tmp_path / "test.csv", [row[1:] for row in ROWS], HEADER[6:]))
    with pytest.raises(Fatal, match="no labels in this subset"):
        select(unlabeled, classes=["tai chi"])


def test_the_classes_are_those_of_the_whole_version_whatever_is_chosen(tmp_path: Path) -> None:
    folder = tmp_path / "kinetics"
    folder.mkdir()
    write(folder / "train.csv", [row for row in ROWS if row[0] != "tai chi"])
    write(folder / "validate.csv", [row for row in ROWS if row[0] == "tai chi"])
    write(folder / "test.csv", [("zz_00000000", 0, 10)], HEADER[6:])
    for path in (folder, folder / "train.csv", folder / "validate.csv", None):
        assert classes_of("700", path) == class_names("700")


def test_annotations_of_another_data_set_have_classes_of_their_own(tmp_path: Path) -> None:
    folder = tmp_path / "kinetics"
    folder.mkdir()
    write(folder / "train.csv", [("waiting for a bus", *ROWS[0][1:]), *ROWS[1:]])
    write(folder / "validate.csv", ROWS[:1])
    assert classes_of("700", folder) == sorted({"waiting for a bus", *(row[0] for row in ROWS)})
    assert classes_of("700", folder / "validate.csv") == class_names("700")


@pytest.mark.parametrize("name", ["list.csv", "list.tsv", "list", "list.csv.gz"])
def test_the_classes_of_a_single_file_need_no_split_column_whatever_its_name(tmp_path: Path, name: str) -> None:
    """It was asked for a subset that had been chosen already."""
    path = write(tmp_path / "rows.csv", [("waiting for a bus", *ROWS[0][1:]), ("waiting_for_a_bus", *ROWS[1][1:])])
    content = path.read_bytes()
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    assert classes_of("700", tmp_path / name) == ["waiting for a bus"]


@pytest.mark.parametrize(
    ("version", "count", "digest"),
    [
        ("400", 400, "a8dafb93a120"),
        ("600", 600, "5d9a560f98fc"),
        ("700", 700, "a34c9fed41f5"),
        ("700-2020", 700, "a34c9fed41f5"),
    ],
)
def test_the_class_names_are_the_published_ones(version: str, count: int, digest: str) -> None:
    """Their digests are those of the official lists' labels, sorted."""
    names = class_names(version)
    assert (len(names), names) == (count, sorted({*names}))
    assert hashlib.sha256("\n".join(names).encode()).hexdigest().startswith(digest)


# -- limit and sample -------------------------------------------------------------------------------------------------


def test_a_limit_leaves_the_first_clips_of_each_class(annotations: Annotations) -> None:
    chosen = select(annotations, limit=2)
    assert labels(chosen) == dict.fromkeys(LABELS, 2)
    assert keys(chosen) == keys(annotations)[:8]


def test_a_limit_is_for_each_class_of_each_split(tmp_path: Path) -> None:
    rows = [(*row, split) for split in ("train", "val") for row in ROWS]
    both = load("700", "all", write(tmp_path / "both.csv", rows, HEADER + ",split"))
    chosen = select(both, limit=1)
    assert Counter((clip.split, clip.label) for clip in chosen.clips()) == {
        (split, label): 1 for split in ("train", "val") for label in LABELS
    }


def test_a_sample_is_the_same_each_time_and_another_with_another_seed(annotations: Annotations) -> None:
    first, again, other = (keys(select(annotations, sample=8, seed=seed)) for seed in (1, 1, 2))
    assert first == again
    assert len(first) == len(set(first)) == 8
    assert set(first) != set(other)
    assert first == [key for key in keys(annotations) if key in set(first)], "in the annotations' order"


def test_a_larger_sample_contains_a_smaller_one_and_more_than_all_is_all(annotations: Annotations) -> None:
    small, large = (set(keys(select(annotations, sample=count, seed=7))) for count in (5, 11))
    assert small < large
    assert keys(select(annotations, sample=1000)) == keys(annotations)


def test_samples_of_a_list_that_has_shrunk_agree_with_those_of_the_old_one(
    annotations: Annotations, tmp_path: Path
) -> None:
    shrunk = load("700", "train", write(tmp_path / "shrunk.csv", ROWS[2:]))
    old, new = (set(keys(select(one, sample=10))) for one in (annotations, shrunk))
    assert old - {row[1:] for row in ROWS[:2]} <= new


def test_the_random_order_is_no_ones_order_and_favours_no_class(tmp_path: Path) -> None:
    rows = [(LABELS[number % 4], f"{number:011}", 0, 10) for number in range(2000)]
    many = load("700", "train", write(tmp_path / "many.csv", rows))
    order = in_random_order(many.frame, 0)
    assert sorted(order) == list(range(2000))
    assert 850 < sum(order[:1000] < 1000) / 1000 * 2000 < 1150
    assert all(170 < count < 330 for count in labels(select(many, sample=1000)).values())


def test_the_choices_work_together(annotations: Annotations) -> None:
    chosen = select(annotations, classes=["tai chi", "juggling balls"], limit=3, sample=4)
    assert len(chosen) == 4
    assert set(labels(chosen)) <= {"tai chi", "juggling balls"}
    assert max(labels(chosen).values()) <= 3


# -- only -------------------------------------------------------------------------------------------------------------


def test_only_the_clips_of_a_list_are_chosen_with_the_annotations_own_labels(
    annotations: Annotations, tmp_path: Path
) -> None:
    rows = [("wrong", row[1], row[2], f"{row[3]}.0", "val") for row in ROWS[3:6]]
    chosen = select(annotations, only=write(tmp_path / "only.csv", rows, HEADER + ",split"))
    assert keys(chosen) == [row[1:] for row in ROWS[3:6]]
    assert set(labels(chosen)) == {ROWS[3][0], ROWS[4][0], ROWS[5][0]}
    assert not chosen.warnings


def test_a_list_with_clips_that_are_not_annotated_says_how_many(annotations: Annotations, tmp_path: Path) -> None:
    same_video = (*ROWS[0][:2], 300, 310)
    chosen = select(annotations, only=write(tmp_path / "only.csv", [ROWS[0], same_video, ("x", "unknown_-id", 0, 10)]))
    assert keys(chosen) == [ROWS[0][1:]]
    assert [f"{tmp_path / 'only.csv'}: not annotated here: 2 of its 3 clips."] == list(chosen.warnings)


FIRST, SECOND = ROWS[0], ROWS[5]
LISTS: dict[str, tuple[str, str | bytes]] = {
    "an errors.log": (
        "Kinetics700_train_errors.log",
        f"{FIRST[1]}\t0\t10\tprivate\tThis video, {ROWS[2][1]}_0_10.mp4, is private\t2026-01-01T00:00:00\n"
        f"{SECOND[1]}\t1\t11\tnetwork\t\t\n",
    ),
    "a list of --lists": (
        "kinetics700_train_list_videos.txt",
        f"train/juggling_balls/{FIRST[1]}_000000_000010.mp4 0\ntrain/a_b/{SECOND[1]}_000001_000011.mp4 -1\n",
    ),
    "a list of frames": ("list.txt", f"a b/{FIRST[1]}_000000_000010 300 5\n{SECOND[1]}_000001_000011 300 7\n"),
    "names": ("list.txt", f"{FIRST[1]}_0_10\r\n\r\n# the other\r\n{SECOND[1]}_000001.000_11.mkv\r\n"),
    "a few-shot list": ("list.csv", f"tai chi/{FIRST[1]}_000000_000010.mp4,3\nx,{SECOND[1]}_000001_000011,4\n"),
    "a JSON list of names": ("list.json", f'["a/{FIRST[1]}_0_10.mp4", "{SECOND[1]}_1_11"]'),
    "rows without a header": ("list.csv", f"celebrating,{FIRST[1]},0,10,train\n{SECOND[1]},1,11\n"),
    "a compressed manifest": (
        "manifest.csv.gz",
        gzip.compress(
            f"youtube_id,time_start,time_end,label,class\n{FIRST[1]},0,10,1,x\n{SECOND[1]},1,11,2,y".encode()
        ),
    ),
    "compressed names": ("list.txt.gz", gzip.compress(f"{FIRST[1]}_0_10\n{SECOND[1]}_1_11".encode())),
}


@pytest.mark.parametrize(("name", "content"), LISTS.values(), ids=LISTS)
def test_every_form_of_a_list_chooses_its_clips(
    annotations: Annotations, tmp_path: Path, name: str, content: str | bytes
) -> None:
    (tmp_path / name).write_bytes(content.encode() if isinstance(content, str) else content)
    chosen = select(annotations, only=tmp_path / name)
    assert keys(chosen) == [FIRST[1:], SECOND[1:]]
    assert not chosen.warnings


@pytest.mark.parametrize(
    "content",
    [
        "{0}\n{1}\n",
        "tai_chi/{0}.mp4 3\n{1}\n",
        "youtube_id,label\n{0},x\n{1},y\n",
        "https://youtu.be/{0}\n{1}",
        '["{0}"]',
    ],
)
def test_an_id_alone_stands_for_all_clips_of_its_video(tmp_path: Path, content: str) -> None:
    rows = [("a", "00_00000000", 0, 10), ("b", "00_00000000", 30, 40), ("a", "00_00000001", 0, 10)]
    twice = load("700", "train", write(tmp_path / "twice.csv", rows))
    (tmp_path / "only").write_text(content.format("00_00000000", "unknown_-id"))
    chosen = select(twice, only=tmp_path / "only")
    assert keys(chosen) == [row[1:] for row in rows[:2]]
    unknown = [f"{tmp_path / 'only'}: not annotated here: 1 of its 2 videos."]
    assert list(chosen.warnings) == (unknown if "{1}" in content else [])


def test_lines_that_name_no_clip_are_counted_and_named(annotations: Annotations, tmp_path: Path) -> None:
    (tmp_path / "only.txt").write_text(f"{FIRST[1]}_0_10\nsee below\n{FIRST[1]}_10_0\n{SECOND[1]}x_1_11\n")
    chosen = select(annotations, only=tmp_path / "only.txt")
    assert keys(chosen) == [FIRST[1:]]
    (warning,) = chosen.warnings
    assert "3 rows left out, no clip is named there: line 2 ('see below'), line 3 " in warning


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("time_start,youtube_id\n0,00_00000000\n", "lacks the columns time_end"),
        ("", "names no clip.*lines such as <id>_<start>_<end>.mp4 or <id>"),
        ("dear diary\n", "names no clip.*1 row left out, no clip is named there: line 1 .'dear diary'"),
        ("youtube_id,time_start,time_end\nunknown_-id,0,10\n", "names 1 clip, and none is annotated here"),
        ("unknown_-id\nunknown_-id_0_10", "names 1 clip and 1 video, and none is annotated here"),
        ("youtube_id,time_start,time_end\nnonsense,0,10\n", "names no clip.*1 row left out, the id"),
    ],
)
def test_a_list_that_chooses_nothing_is_an_error(
    annotations: Annotations, tmp_path: Path, content: str, words: str
) -> None:
    (tmp_path / "only.csv").write_text(content)
    with pytest.raises(Fatal, match=words):
        select(annotations, only=tmp_path / "only.csv")


# -- shards -----------------------------------------------------------------------------------------------------------


@pytest.fixture(name="many", scope="module")
def _many(tmp_path_factory: pytest.TempPathFactory) -> Annotations:
    """Two segments each of 2,000 videos."""
    rows = [(LABELS[n % 4], f"{n:011}", start, start + 10) for start in (0, 30) for n in range(2000)]
    return load("700", "train", write(tmp_path_factory.mktemp("many") / "many.csv", rows))


SHARDS_OF_4 = [
    ["00_00000000", "00_00000002", "01_00000001", "01_00000003", "02_00000001", "03_00000001", "04_00000000"],
    ["01_00000000", "03_00000000", "03_00000002", "04_00000001", "04_00000003"],
    ["00_00000001", "01_00000002", "02_00000000", "02_00000002", "02_00000003"],
    ["00_00000003", "03_00000003", "04_00000002"],
]


def shards(annotations: Annotations, of: int, **choices: int) -> list[list[ClipKey]]:
    return [keys(select(annotations, shard=Shard(number, of), **choices)) for number in range(1, of + 1)]  # type: ignore[arg-type]


@pytest.mark.parametrize("of", [1, 2, 3, 16])
def test_shards_are_all_the_clips_each_in_one_and_about_as_many_in_each(many: Annotations, of: int) -> None:
    found = shards(many, of)
    of_first = set(found[0])
    assert sorted(key for keys in found for key in keys) == sorted(keys(many))
    assert all(4000 / of * 0.75 < len(keys) < 4000 / of * 1.25 for keys in found)
    assert found[0] == [key for key in keys(many) if key in of_first], "in the annotations' order"


def test_all_segments_of_a_video_are_in_one_shard(many: Annotations) -> None:
    for found in shards(many, 7):
        assert set(Counter(youtube_id for youtube_id, _, _ in found).values()) == {2}


def test_a_shard_is_the_same_on_every_machine_and_in_every_version(annotations: Annotations) -> None:
    """Written down once: a run may go on where another machine, or an earlier version of this program, began."""
    assert [[youtube_id for youtube_id, _, _ in found] for found in shards(annotations, 4)] == SHARDS_OF_4


def test_a_clip_stays_in_its_shard_while_the_list_shrinks(many: Annotations) -> None:
    shrunk = Annotations(many.frame[700:].reset_index(drop=True), ())
    left = set(keys(shrunk))
    assert shards(shrunk, 5) == [[key for key in keys if key in left] for keys in shards(many, 5)]


@pytest.mark.parametrize("choice", [{"sample": 300, "seed": 3}, {"limit": 50}, {"limit": 50, "sample": 100}])
def test_shards_of_a_choice_are_that_choice_together(many: Annotations, choice: dict[str, int]) -> None:
    chosen = keys(select(many, **choice))  # type: ignore[arg-type]
    assert sorted(key for keys in shards(many, 8, **choice) for key in keys) == sorted(chosen)


def test_a_shard_without_any_clip_is_no_error(annotations: Annotations) -> None:
    assert {len(found) for found in shards(annotations, 500)} == {0, 1}


# -- options that make no sense ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "bad",
    [
        ["--seed", "one"],
        ["--limit", "0"],
        ["--sample", "many"],
        ["--frames", "0"],
        ["--frames", "fast"],
        ["--frames", "5", "--quality", "0"],
        ["--short-side", "128", "--lists"],
        ["--fps", "0"],
        ["--keyframes", "1.5"],
        ["--quick"],
        ["--sound", "ogg"],
        ["--shards", "-1"],
        ["--verify", "--manifest"],
        ["--verify", "--cut", "none"],
        ["--compare", "a.csv"],
        ["--format", "unknown"],
    ],
    ids=" ".join,
)
def test_options_that_make_no_sense_get_one_clear_line_and_exit_2(
    bad: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(["-o", "out", "--annotations", "list.csv", *bad])
    said = capsys.readouterr().err
    assert (ended.value.code, len(said.splitlines())) == (2, 1)
    assert said.startswith("error: ")
