"""What other programs read: each clip once, with the class that it has in the whole version, whole or not at all."""

from __future__ import annotations

import csv
import json
import os
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from kinetics.cli.clip_commands import choice_name
from kinetics.cli.parser import parse
from kinetics.dataset import manifest
from kinetics.dataset import shards as export
from kinetics.dataset.inventory import measure_clips, read_headers
from kinetics.dataset.lists import write_frame_list, write_lists, write_silent_list
from kinetics.dataset.manifest import MANIFEST_FIELDS, manifest_rows, write_manifest
from kinetics.dataset.settings import keep_settings
from kinetics.dataset.shards import ShardSample, WebDatasetShards, shard_samples
from kinetics.errors import Fatal
from kinetics.records import Clip, ClipKey, Facts, Outcome, StableFacts, Subset, VideoFacts
from kinetics.storage.attempts import last_successes
from kinetics.storage.layout import Layout
from kinetics.storage.ledger import Ledger
from kinetics.storage.shards import INDEX_FIELDS
from kinetics.storage.tar_samples import SAMPLE_OVERHEAD, SHARD_LIMIT, PackedSample, add_sample
from kinetics.storage.video_table import VideoTable
from tests.support.dataset import CLIP, PLAIN, DatasetOnDisk, numbered, watched

CLASSES = ("abseiling", "playing harmonica", 'say, "ah"', "tai chi")
ODD = (
    CLIP,
    Clip("__thr0w-ing", 0.5, 10.25, "tai chi", "val"),
    Clip("--two_parts", 0, 10, 'say, "ah"', "val"),
    Clip("--two_parts", 10, 20, 'say, "ah"', "val"),
    Clip("_n0-label_1", 3, 13, "", "val"),
)


ONE = ("-_abcDEF012", "7", "11", "playing harmonica", "val")
TWO = ("__thr0w-ing", "0.5", "10.25", "tai chi", "val")
THREE = ("--two_parts", "0", "10", 'say, "ah"', "val")
PIXELS = ("640", "360")
FIVE = ("_n0-label_1", "3", "13", "", "val")


@pytest.fixture
def dataset(tmp_path: Path) -> DatasetOnDisk:
    """Odd clips, each with some bytes of its own."""
    dataset = DatasetOnDisk(tmp_path / "one")
    for clip in ODD:
        dataset.put(clip, str(clip).encode() * 50)
    return dataset


def rows(path: Path) -> list[list[str]]:
    with open(path, newline="") as file:
        return list(csv.reader(file, strict=True))


def lists_of(dataset: DatasetOnDisk, subset: Subset, frame: pd.DataFrame) -> list[Path]:
    return write_lists(dataset.layout, dataset.layout.derived_layout("lists"), subset, frame, CLASSES)


# -- lists ------------------------------------------------------------------------------------------------------------


def test_each_list_has_every_clip_with_its_class_in_the_whole_version(dataset: DatasetOnDisk) -> None:
    files = lists_of(dataset, "validate", dataset.frame)
    folder = dataset.folder / "Kinetics700_lists"
    lists = [
        folder / "mmaction2/kinetics700_val_list_videos.txt",
        folder / "pytorchvideo/val.txt",
        folder / "slowfast/val.csv",
    ]
    assert files[:5] == [*lists, folder / "classes.txt", folder / "labels.json"]
    for path in lists:
        lines = [line.rsplit(" ", 1) for line in path.read_text().splitlines()]
        assert [int(number) for _, number in lines] == [1, 3, 2, 2, -1]
        assert [dataset.layout.folder / name for name, _ in lines] == [dataset.layout.clip(clip) for clip in ODD]
        assert all((dataset.layout.folder / name).is_file() for name, _ in lines)
        assert all(" " not in name for name, _ in lines), "readers split at spaces"
    assert (folder / "classes.txt").read_text().splitlines() == list(CLASSES)
    assert json.loads((folder / "labels.json").read_text()) == {label: n for n, label in enumerate(CLASSES)}


def test_dali_reads_the_lines_of_labelled_clips_by_its_documented_rule(dataset: DatasetOnDisk) -> None:
    """`file label [start [end]]`, separated by any white space; a label below 0 ends the pipeline (docs/gpu.md)."""
    lists_of(dataset, "validate", dataset.frame[dataset.frame["label"] != ""])
    lines = (dataset.folder / "Kinetics700_lists/pytorchvideo/val.txt").read_text().splitlines()
    parts = [line.split() for line in lines]
    assert {len(part) for part in parts} == {2}, "what follows would be the section to read"
    assert [int(label) for _, label in parts] == [1, 3, 2, 2]
    assert [dataset.layout.folder / path for path, _ in parts] == [dataset.layout.clip(clip) for clip in ODD[:-1]]


def test_classes_that_are_not_here_do_not_shift_the_others(dataset: DatasetOnDisk) -> None:
    lists_of(dataset, "validate", dataset.frame.iloc[1:2])
    text = (dataset.folder / "Kinetics700_lists/slowfast/val.csv").read_text()
    assert text == "val/tai_chi/__thr0w-ing_000000.500_000010.250.mp4 3\n"


def test_lists_of_other_subsets_stay(dataset: DatasetOnDisk) -> None:
    lists_of(dataset, "validate", dataset.frame)
    lists_of(dataset, "train", dataset.frame.iloc[:0])
    assert {path.name for path in (dataset.folder / "Kinetics700_lists/slowfast").iterdir()} == {"val.csv", "train.csv"}


def test_the_frames_of_each_clip_are_listed_with_their_number_and_its_class(dataset: DatasetOnDisk) -> None:
    frames, lists = (dataset.layout.derived_layout(kind) for kind in ("frames", "lists"))
    for count, clip in enumerate(ODD[:3], 2):
        folder = frames.clip(clip, "")
        folder.mkdir(parents=True)
        for number in range(count):
            (folder / f"img_{number + 1:05d}.jpg").touch()
    (path,) = write_frame_list(frames, lists, "validate", dataset.frame.iloc[:3], CLASSES)
    assert path == dataset.folder / "Kinetics700_lists/mmaction2/kinetics700_val_list_rawframes.txt"
    lines = [line.split(" ") for line in path.read_text().splitlines()]
    assert [(frames.folder / folder, int(count), int(number)) for folder, count, number in lines] == [
        (frames.clip(clip, ""), count, number) for clip, count, number in zip(ODD, (2, 3, 4), (1, 3, 2), strict=False)
    ]
    assert write_frame_list(frames, lists, "validate", dataset.frame.iloc[:0], CLASSES) == []
    assert not path.exists(), "it would name frames that are gone"


# -- manifest ---------------------------------------------------------------------------------------------------------


def manifest_of(layout: Layout, frame: pd.DataFrame, facts: Mapping[ClipKey, Facts]) -> Path:
    path = layout.table("validate", "manifest.csv")
    write_manifest(path, manifest_rows(layout, "validate", frame, facts))
    return path


def test_a_manifest_says_what_is_known_of_each_clip_in_the_annotations_order(dataset: DatasetOnDisk) -> None:
    dataset.record(
        Outcome(ODD[1], "done", itag="134+140", cut="keyframe", offset_s=-2.5, duration_s=12.25, sound=True),
        Outcome(CLIP, "done", itag="18", cut="smart", offset_s=0.0, duration_s=4.0, sound=True),
        Outcome(CLIP, "failed"),
        Outcome(ODD[4], "done", duration_s=4.0, source="mirror"),
    )
    facts = {
        clip.key: Facts(100 + n, n, 300, 10.0 + n / 3, 640, 360, True, f"{n:064x}", 48) for n, clip in enumerate(ODD)
    }
    del facts[ODD[3].key]
    path = manifest_of(dataset.layout, dataset.frame, facts)
    assert path == dataset.folder / "Kinetics700_validate_manifest.csv"
    sums = [f"{n:064x}" for n in range(5)]
    assert rows(path) == [
        list(MANIFEST_FIELDS),
        [*ONE, "100", sums[0], "300", "10", *PIXELS, "18", "smart", "0.0", "youtube", "", "30", "48"],
        [
            *TWO,
            "101",
            sums[1],
            "300",
            "10.333",
            *PIXELS,
            "134+140",
            "keyframe",
            "-2.5",
            "youtube",
            "",
            "29.032",
            "48",
        ],
        [*THREE, "102", sums[2], "300", "10.667", *PIXELS, "", "", "", "", "", "28.125", "48"],
        [*FIVE, "104", sums[4], "300", "11.333", *PIXELS, "", "", "", "mirror", "", "26.471", "48"],
    ]


def test_a_manifest_says_which_list_names_a_clip(dataset: DatasetOnDisk) -> None:
    names = ["both", "official", "cvdf", "both", "both"]
    facts = {clip.key: Facts(1, 1, 1, 1.0, 1, 1, True) for clip in ODD}
    path = manifest_of(dataset.layout, dataset.frame.assign(named_in=pd.Categorical(names)), facts)
    assert [row[-3] for row in rows(path)] == ["named_in", *names]


def test_a_manifest_is_replaced_as_a_whole_or_not_at_all(
    dataset: DatasetOnDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = {clip.key: Facts(1, 1, 1, 1.0, 1, 1, True) for clip in ODD}
    path = manifest_of(dataset.layout, dataset.frame, facts)
    before = path.read_bytes()

    def full(*_: object) -> list[object]:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(manifest, "_manifest_row", full)
    with pytest.raises(Fatal, match="the disk is full"):
        manifest_of(dataset.layout, dataset.frame, facts)
    assert path.read_bytes() == before
    assert not [one for one in dataset.folder.iterdir() if one.suffix == ".part"]


def test_an_attempts_table_without_the_columns_or_with_bad_cells_tells_nothing_but_harms_nothing(
    dataset: DatasetOnDisk,
) -> None:
    table = dataset.layout.stats("validate")
    table.write_text("youtube_id,time_start,time_end,status,duration_s\n-_abcDEF012,7,11,done,4.2\nx,y,z,done,long\n")
    (first, _) = last_successes(dataset.layout, "validate").to_dict("records")
    assert (first["time_start"], first["duration_s"], first["itag"]) == (7.0, 4.2, "")
    assert first["sound"] != first["sound"]
    table.write_text("")
    assert last_successes(dataset.layout, "validate").empty
    table.unlink()
    assert last_successes(dataset.layout, "validate").empty
    table.mkdir()
    with pytest.raises(Fatal, match="Cannot read"):
        last_successes(dataset.layout, "validate")


def test_how_a_clip_was_made_is_told_by_the_last_run_that_made_it_and_a_shards_manifest_is_its_own(
    dataset: DatasetOnDisk,
) -> None:
    first, second = (replace(dataset.layout, shard=shard) for shard in ("1of2", "2of2"))
    for layout, itag, time in (
        (first, "137", "2026-01-31T23:30:00+00:00"),
        (second, "18", "2026-02-01T08:00:00+09:00"),  # half an hour before
    ):
        with Ledger(layout, "validate") as ledger:
            ledger.record(Outcome(CLIP, "done", itag=itag))
        rows_of = layout.stats("validate").read_text().splitlines()
        layout.stats("validate").write_text("\n".join([rows_of[0], time + "," + rows_of[1].split(",", 1)[1], ""]))
    dataset.record(Outcome(ODD[1], "done", itag="22"))
    facts = {clip.key: Facts(1, 1, 1, 1.0, 1, 1, True) for clip in ODD}
    column = MANIFEST_FIELDS.index("itag")
    paths = [manifest_of(layout, dataset.frame, facts) for layout in (dataset.layout, first)]
    assert [path.name for path in paths] == [
        f"Kinetics700_validate_{shard}manifest.csv" for shard in ("", "shard1of2_")
    ]
    for path in paths:
        assert [row[column] for row in rows(path)[1:]] == ["137", "22", "", "", ""]


def test_a_manifest_of_all_clips_measures_none_again_that_a_shards_run_has_measured(tmp_path: Path) -> None:
    dataset, seen = DatasetOnDisk(tmp_path), list[Clip]()
    for clip in numbered(5):
        dataset.put(clip)
    for shard, part in (("1of2", dataset.frame[:2]), ("2of2", dataset.frame[2:4])):
        layout = replace(dataset.layout, shard=shard)
        outcomes = [*measure_clips(watched(seen), layout, "validate", part)]
        manifest_of(layout, part, {one.clip.key: one.facts for one in outcomes if one and one.facts})
    assert seen == dataset.clips[:4], "each measures its own"
    found = [*measure_clips(watched(seen), dataset.layout, "validate", dataset.frame)]
    assert seen == dataset.clips, "the last one is new"
    assert all(one and one.facts and one.facts.sha256 for one in found)
    assert len(found) == 5


def test_headers_are_read_once_until_a_file_changes_and_a_manifest_has_read_them_too(dataset: DatasetOnDisk) -> None:
    sound, empty, other = dataset.clips[:3]
    seen = list[Clip]()

    def read() -> dict[Clip, str]:
        seen.clear()
        outcomes = read_headers(watched(seen), dataset.layout, "validate", dataset.frame)
        return {one.clip: one.reason for one in outcomes if one and one.status == "failed"}

    for clip in (sound, other):
        dataset.layout.clip(clip).write_bytes(PLAIN.progressive.path.read_bytes())
    dataset.layout.clip(empty).write_bytes(b"")
    [*measure_clips(watched([]), dataset.layout, "validate", dataset.frame.iloc[:1])]
    unfit = read()
    assert seen == dataset.clips[1:]
    assert unfit.keys() == {*ODD} - {sound, other}
    assert unfit[empty] == "it is empty"
    assert (read().keys(), seen) == (unfit.keys(), [*unfit]), "those that are fit are known"
    os.truncate(dataset.layout.clip(other), 999)
    assert read().keys() == unfit.keys() | {other}


# -- shards -----------------------------------------------------------------------------------------------------------


def packed(dataset: DatasetOnDisk, clips: int, classes: Sequence[str] = CLASSES) -> WebDatasetShards:
    samples = shard_samples(dataset.layout, dataset.frame, classes)
    target = dataset.layout.derived_layout("shards")
    return WebDatasetShards(dataset.layout, target, "validate", samples, clips)


def write(dataset: DatasetOnDisk, clips: int = 2, classes: Sequence[str] = CLASSES) -> list[Path]:
    """Write the shards, and return them."""
    assert sum(packed(dataset, clips, classes).write()) == len(dataset.clips)
    return sorted((dataset.folder / "Kinetics700_shards").glob("*.tar"))


def samples(path: Path) -> Iterator[tuple[str, dict[str, bytes]]]:
    """What a tar file holds, as WebDataset groups it: by the name up to its first dot."""
    found: dict[str, dict[str, bytes]] = {}
    with tarfile.open(path) as tar:
        for member in tar:
            key, _, ending = member.name.partition(".")
            content = tar.extractfile(member)
            assert content
            found.setdefault(key, {})[ending] = content.read()
    yield from found.items()


def sized(*sizes: int) -> list[ShardSample]:
    return [ShardSample(clip, size, 0, 0) for clip, size in zip(numbered(len(sizes)), sizes, strict=True)]


@pytest.mark.parametrize(
    ("sizes", "clips", "expected"),
    [
        ([], 3, []),
        ([1] * 7, 3, [3, 3, 1]),
        ([1] * 6, 3, [3, 3]),
        ([1] * 3, 1, [1, 1, 1]),
        ([SHARD_LIMIT // 2] * 3, 9, [1, 1, 1]),
        ([SHARD_LIMIT // 3] * 4, 9, [2, 2]),
        ([SHARD_LIMIT // 2 - 30_000] * 4, 9, [2, 2]),
        ([1, 2 * SHARD_LIMIT, 1], 9, [1, 1, 1]),
    ],
)
def test_a_shard_has_at_most_so_many_clips_and_bytes_and_at_least_one_clip(
    sizes: list[int], clips: int, expected: list[int]
) -> None:
    members = sized(*sizes)
    shards = list(export._pack(members, clips))
    assert [len(shard) for shard in shards] == expected
    assert [member for shard in shards for member in shard] == members
    assert all(len(shard) == 1 or sum(member.size for member in shard) < SHARD_LIMIT for shard in shards)


def test_the_shards_hold_every_clip_once_byte_by_byte_with_its_class(dataset: DatasetOnDisk) -> None:
    shards = write(dataset)
    assert [path.name for path in shards] == ["val-000000.tar", "val-000001.tar", "val-000002.tar"]
    held = [(path.name, key, parts) for path in shards for key, parts in samples(path)]
    for clip, number, (_, key, parts) in zip(ODD, [1, 3, 2, 2, None], held, strict=True):
        assert key == dataset.layout.clip(clip).stem.replace(".", "_")
        assert parts.pop("mp4") == dataset.layout.clip(clip).read_bytes()
        assert parts.pop("cls", None) == (None if number is None else str(number).encode())
        about = json.loads(parts.pop("json"))
        assert Clip(**about) == clip
        assert not parts


def test_a_sample_says_what_is_known_of_its_video_and_a_shard_follows_what_becomes_known(
    dataset: DatasetOnDisk,
) -> None:
    def texts() -> dict[str, dict[str, str]]:
        held = [json.loads(parts["json"]) for path in write(dataset) for _, parts in samples(path)]
        return {
            about["youtube_id"]: {name: about[name] for name in ("title", "channel", "language") if name in about}
            for about in held
        }

    first, last = ODD[0], ODD[-1]
    assert {*map(str, texts().values())} == {"{}"}
    facts = VideoFacts(first.youtube_id, "a\nb\0 \u202e<script>", "Someone", description="D", language="en")
    table = VideoTable(dataset.layout, "validate")
    table.record(Outcome(first, "done", video=facts))
    table.record(Outcome(last, "failed", video=VideoFacts(last.youtube_id, channel="Another")))
    known = texts()
    assert known[first.youtube_id] == {"title": facts.title, "channel": "Someone", "language": "en"}
    assert known[last.youtube_id] == {"channel": "Another"}
    assert {str(one) for video, one in known.items() if video not in (first.youtube_id, last.youtube_id)} == {"{}"}


def test_a_sample_takes_no_more_than_what_is_reckoned_whatever_its_video_is_called(dataset: DatasetOnDisk) -> None:
    texts = StableFacts("\0" * 500, "\U0001f3b8" * 500, "en")
    sample = replace(next(shard_samples(dataset.layout, dataset.frame, CLASSES)), video=texts)
    parts = {"mp4": dataset.layout.clip(sample.clip).read_bytes(), **sample.metadata()}
    assert sum(512 + -(-len(part) // 512) * 512 for part in parts.values()) <= sample.size + SAMPLE_OVERHEAD


def test_the_index_says_where_each_clip_is(dataset: DatasetOnDisk) -> None:
    shards = write(dataset)
    header, *lines = rows(dataset.folder / "Kinetics700_shards/val_index.csv")
    assert tuple(header) == INDEX_FIELDS
    assert [(line[0], line[1]) for line in lines] == [(path.name, key) for path in shards for key, _ in samples(path)]
    assert [line[2:7] for line in lines] == [
        ["-_abcDEF012", "7", "11", "playing harmonica", "1"],
        ["__thr0w-ing", "0.5", "10.25", "tai chi", "3"],
        ["--two_parts", "0", "10", 'say, "ah"', "2"],
        ["--two_parts", "10", "20", 'say, "ah"', "2"],
        ["_n0-label_1", "3", "13", "", "-1"],
    ]
    assert [int(line[7]) for line in lines] == [dataset.layout.clip(clip).stat().st_size for clip in ODD]


def test_two_folders_with_the_same_clips_make_the_same_bytes(dataset: DatasetOnDisk, tmp_path: Path) -> None:
    other = DatasetOnDisk(tmp_path / "two")
    for clip in ODD:
        path = other.put(clip, dataset.layout.clip(clip).read_bytes())
        os.utime(path, (1, 1))
    for one, two in zip(write(dataset), write(other), strict=True):
        assert one.read_bytes() == two.read_bytes()


def test_what_will_be_written_is_never_more_than_was_said(dataset: DatasetOnDisk) -> None:
    for clips in (1, 2, 9):
        said = packed(dataset, clips).bytes_to_write
        for path in (dataset.folder / "Kinetics700_shards").glob("*"):
            path.unlink() if path.is_file() else None
        said = packed(dataset, clips).bytes_to_write
        assert sum(path.stat().st_size for path in write(dataset, clips)) <= said
        assert packed(dataset, clips).bytes_to_write == 0


def inodes(shards: Sequence[Path]) -> list[int]:
    return [path.stat().st_ino for path in shards]


def test_shards_that_are_there_stay_and_what_is_missing_or_not_a_shard_is_written(dataset: DatasetOnDisk) -> None:
    shards = write(dataset)
    before, content = inodes(shards), [path.read_bytes() for path in shards]
    shards[1].unlink()
    os.truncate(shards[2], 1000)
    assert inodes(write(dataset))[0] == before[0]
    assert [path.read_bytes() for path in shards] == content
    before = inodes(shards)
    assert inodes(write(dataset)) == before


def test_new_clips_change_the_plan_and_shards_of_an_earlier_one_go(dataset: DatasetOnDisk) -> None:
    write(dataset, clips=1)
    other = dataset.folder / "Kinetics700_shards/train-000000.tar"
    other.touch()
    for clip in numbered(2):
        dataset.put(clip, b"new")
    shards = write(dataset, clips=4)
    assert [path.name for path in shards] == ["train-000000.tar", "val-000000.tar", "val-000001.tar"]
    keys = [key for path in shards[1:] for key, _ in samples(path)]
    assert len(keys) == len(set(keys)) == len(ODD) + 2
    assert {line[0] for line in rows(dataset.folder / "Kinetics700_shards/val_index.csv")[1:]} == {
        "val-000000.tar",
        "val-000001.tar",
    }


def test_a_clip_that_was_fetched_anew_goes_into_its_shard_anew(dataset: DatasetOnDisk) -> None:
    """Though it has the size of the damaged one that was packed."""
    shards = write(dataset)
    path = dataset.layout.clip(ODD[2])
    path.write_bytes(path.read_bytes()[::-1])
    later = shards[1].stat().st_mtime_ns + 10**9
    os.utime(path, ns=(later, later))
    write(dataset)
    assert dict(samples(shards[1]))[path.stem]["mp4"] == path.read_bytes()


@pytest.mark.parametrize("older", [True, False])
def test_a_clip_with_another_time_goes_into_its_shard_anew_though_it_is_older_than_that(
    dataset: DatasetOnDisk, older: bool
) -> None:
    """As a clip that was linked from another version, or adopted; without the index, only a newer one is seen."""
    shards = write(dataset)
    path = dataset.layout.clip(ODD[2])
    path.write_bytes(path.read_bytes()[::-1])
    os.utime(path, ns=(10**18, 10**18))
    index = dataset.folder / "Kinetics700_shards/val_index.csv"
    if older:  # than the shards: a run was stopped before it wrote a new one
        os.utime(index, ns=(10**18, 10**18))
    before = inodes(shards)
    write(dataset)
    assert [one == other for one, other in zip(before, inodes(shards), strict=True)] == [True, older, True]
    assert (dict(samples(shards[1]))[path.stem]["mp4"] == path.read_bytes()) is not older


@pytest.mark.parametrize("content", [b"", b"shard,key\nval-000000.tar,x\n", b"\xff\0,", b"shard,key,mtime_ns\n,,\n"])
def test_an_index_of_an_older_version_or_a_damaged_one_tells_nothing(dataset: DatasetOnDisk, content: bytes) -> None:
    before = inodes(write(dataset))
    (dataset.folder / "Kinetics700_shards/val_index.csv").write_bytes(content)
    assert inodes(write(dataset)) == before


def test_other_classes_or_labels_are_written_anew(dataset: DatasetOnDisk) -> None:
    """As when the official list takes the place of one's own."""
    shards = write(dataset)
    write(dataset, classes=("a class before", *CLASSES))
    numbers = [parts.get("cls") for path in shards for _, parts in samples(path)]
    assert numbers == [b"2", b"4", b"3", b"3", None]


def test_a_shard_that_cannot_be_written_is_named_and_leaves_whole_ones(
    dataset: DatasetOnDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(tar: tarfile.TarFile, clip: Clip, *more: Any) -> PackedSample:
        if clip == ODD[3]:
            raise OSError(28, "No space left on device")
        return add_sample(tar, clip, *more)

    monkeypatch.setattr(export, "add_sample", full)
    with pytest.raises(Fatal, match="the disk is full") as caught:
        write(dataset)
    assert "val-000001.tar" in str(caught.value)
    left = [path for path in (dataset.folder / "Kinetics700_shards").rglob("*") if path.is_file()]
    assert [path.name for path in left] == ["val-000000.tar"]
    monkeypatch.undo()
    assert len(write(dataset)) == 3


def test_a_clip_that_goes_before_it_is_packed_is_left_out(dataset: DatasetOnDisk) -> None:
    dataset.layout.clip(ODD[0]).unlink()
    assert [member.clip for member in shard_samples(dataset.layout, dataset.frame, CLASSES)] == list(ODD[1:])


# -- a choice of the clips --------------------------------------------------------------------------------------------


def test_a_choice_of_clips_has_a_name_that_depends_on_nothing_but_thechoice_name(tmp_path: Path) -> None:
    file, mini = tmp_path / "classes.txt", tmp_path / "mini.csv"
    file.write_text("\ufeffAbseiling\n\n tai  chi\n", "utf-8")

    def name(*options: str) -> str:
        return choice_name(parse(["-s", "validate", "--lists", *options]))

    assert name() == name("--seed", "3") == ""
    assert name("--limit", "5") == "_limit-5"
    assert name("-v", "400", "--clip-list", "cvdf") == "_list-cvdf"
    assert name("--sample", "9", "--seed", "1") == "_sample-9-seed-1"
    alike = {
        name("--classes", "tai_chi", "abseiling"),
        name("--classes", "ABSEILING", "tai chi", "Tai Chi"),
        name("--classes", f"@{file}"),
    }
    assert len(alike) == 1
    assert (
        len({*alike, name("--classes", "tai chi"), name("--classes", "abseiling"), name("--classes", "tai", "chi")})
        == 4
    )
    mini.write_text("one")
    first = name("--only", str(mini))
    mini.write_text("two")
    assert first != name("--only", str(mini))
    assert name("--only", str(mini), "--limit", "5") == name("--only", str(mini)) + "_limit-5"


# -- what is said of a folder -----------------------------------------------------------------------------------------


def test_a_folder_is_made_with_the_same_settings_or_refused_with_those_it_has(tmp_path: Path) -> None:
    keep_settings(tmp_path, {"frames": 1.0, "short_side": 128})
    keep_settings(tmp_path, {"frames": 5.0, "short_side": None})  # nothing was made on the others
    (tmp_path / "val").mkdir()
    keep_settings(tmp_path, {"frames": 5.0, "short_side": None})
    with pytest.raises(Fatal, match=r"made with frames 5\.0, short_side None"):
        keep_settings(tmp_path, {"frames": "all", "short_side": None})
    (tmp_path / "terms.json").write_text("{")
    with pytest.raises(Fatal, match=r"Cannot read .*terms\.json"):
        keep_settings(tmp_path, {"frames": 5.0, "short_side": None})


def test_silent_clips_are_listed_until_they_have_sound(dataset: DatasetOnDisk) -> None:
    path = write_silent_list(dataset.layout, "validate", ODD[:2], ".wav")
    assert path == dataset.folder / "Kinetics700_validate_silent.txt"
    names = sorted(str(dataset.layout.clip(clip).relative_to(dataset.layout.folder)) for clip in ODD[:2])
    assert path.read_text().splitlines() == names
    sound = dataset.layout.derived_layout("sound").clip(ODD[1], ".wav")
    sound.parent.mkdir(parents=True)
    sound.touch()
    write_silent_list(dataset.layout, "validate", [ODD[2], ODD[0]], ".wav")
    assert len(path.read_text().splitlines()) == 2
    assert ODD[1].youtube_id not in path.read_text()
    assert replace(ODD[2]).youtube_id in path.read_text()
    dataset.layout.clip(ODD[2]).unlink()
    write_silent_list(dataset.layout, "validate", [], ".wav")
    assert path.read_text().splitlines() == [str(dataset.layout.clip(ODD[0]).relative_to(dataset.layout.folder))]
