"""Other programs load what this one has made as it is: the folders, the lists, the frames, the shards.

They are large, so these tests run only when asked for (tests/requirements-loaders.txt). Where a program is not used
itself, its documented rule is, and the test's name says so.
"""

from __future__ import annotations

import csv
import importlib
import json
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from kinetics.annotations.classes import class_names
from kinetics.records import SPLIT_OF, Split
from tests.support.sandbox import Sandbox
from tests.youtube.world import Row

pytestmark = pytest.mark.loaders

ROWS: dict[Split, tuple[Row, ...]] = {
    "train": (
        Row("massaging person's head", "_Head-00001", 3, 7),
        Row("throwing ball (not baseball or American football)", "n0t_basebal", 9, 12),
        Row("tai chi", "-two_parts1", 0, 4),
        Row("tai chi", "-two_parts1", 7, 11),
        Row("training dog", "--07WQ2iBlw", 1, 5),
    ),
    "val": (
        Row("javelin throw", "---QUuC4vJs", 5, 9),
        Row("training dog", "val_dog-001", 2, 6),
        Row("massaging person's head", "val_Head-01", 4, 8),
    ),
    "test": (Row("", "un-labelled", 3, 7), Row("", "unlabelled-", 8, 12)),
}
"""Odd ids and labels, one class that only `val` has, one named after a split, and rows without a label."""
UNFIT = Row("abseiling", "val_unfit-1", 2, 6)
"""The only clip of its class, of `val`; --verify throws it out."""
CLASSES = class_names("700")
SPLITS = tuple(ROWS)
SHARD_CLIPS = 2
FPS = 5
"""Of the frames."""
PICTURES: dict[str, tuple[tuple[str, ...], tuple[int, int]]] = {
    "as in the source": ((), (360, 640)),
    "small": (("--short-side", "256", "--keyframes", "16"), (256, 454)),
}
"""Options of the runs, and the height and width of the clips that they make."""


@dataclass(frozen=True)
class DataSet:
    """What the program has made, and what should be in it."""

    root: Path
    size: tuple[int, int]
    """Height and width of the clips."""

    @property
    def clips(self) -> Path:
        return self.root / "Kinetics700"

    def made(self, kind: str) -> Path:
        return self.root / f"Kinetics700_{kind}"

    def rows(self, split: Split) -> dict[str, Row]:
        """Each clip's path, from the data set's folder on."""
        return {
            f"{split}/{folder(row)}/{row.youtube_id}_{row.time_start:06d}_{row.time_end:06d}.mp4": row
            for row in ROWS[split]
        }

    def folders(self, split: Split) -> dict[str, str]:
        """Each clip's whole path, with the name of its label's folder."""
        return {str(self.clips / path): folder(row) for path, row in self.rows(split).items()}

    def numbers(self, split: Split) -> list[tuple[str, int]]:
        """Each clip's whole path, with the number of its class, in the order of the annotations."""
        return [(str(self.clips / path), number(row)) for path, row in self.rows(split).items()]

    def frames(self) -> dict[str, int]:
        """How many frames each clip has, by the manifests."""
        counts = {}
        for subset, split in SPLIT_OF.items():
            with open(self.root / f"Kinetics700_{subset}_manifest.csv", newline="") as file:
                told = {(line["youtube_id"], int(line["time_start"])): line for line in csv.DictReader(file)}
            for path, row in self.rows(split).items():
                counts[str(self.clips / path)] = int(told[row.youtube_id, row.time_start]["frames"])
        return counts


def folder(row: Row) -> str:
    return row.label.replace(" ", "_") or "_unlabeled"


def number(row: Row) -> int:
    return CLASSES.index(row.label) if row.label else -1


def package(name: str) -> Any:
    """A module of another program; without it the test is skipped, and says why."""
    try:
        return importlib.import_module(name)
    except (ImportError, RuntimeError, OSError, AssertionError) as error:  # as builds that do not fit together raise
        pytest.skip(f"{name} cannot be used here: {error}")


@pytest.fixture(scope="module", params=PICTURES)
def dataset(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> DataSet:
    """All three splits, and everything that is made from them, as it is after what happens to data sets.

    They come from a list with other labels and splits, one of them from another tool's folder; then --verify rejects
    one.
    """
    picture, size = PICTURES[request.param]
    sandbox = Sandbox(tmp_path_factory.mktemp("data"), [UNFIT, *(row for rows in ROWS.values() for row in rows)])
    lines = [(*UNFIT, "val"), *((*row, split) for split, rows in ROWS.items() for row in rows)]
    write_rows(sandbox.csv, [older(line) for line in lines])
    assert sandbox.run("-s", "all", *picture).code == 0
    (foreign,) = (path for path in sandbox.files() if path.name.startswith(ROWS["val"][0].youtube_id))
    unpacked = tmp_path_factory.mktemp("unpacked")
    foreign.rename(unpacked / foreign.name.replace("_0000", "_").replace("_0", "_"))
    foreign.parent.rmdir()
    write_rows(sandbox.csv, lines)
    run = sandbox.run("-s", "all", *picture, "--adopt", str(unpacked))
    assert (run.code, run.requests) == (0, []), run.out
    made = (["--frames", str(FPS)], ["--lists"], ["--shards", str(SHARD_CLIPS)], ["--manifest"])
    for more in (*made, ["--lists", "--classes", "tai chi"], ["--shards", "1", "--classes", "tai chi"]):
        run = sandbox.run("-s", "train" if "--classes" in more else "all", *more)
        assert run.code == 0, run.out + run.err
    sandbox.path(UNFIT).write_bytes(b"404 not found")
    assert sandbox.run("-s", "all", "--verify").code == 1
    for more in made:
        run = sandbox.run("-s", "all", *more)
        assert run.code == 0, run.out + run.err
    return DataSet(sandbox.folder, size)


def older(line: tuple[str, str, int, int, str]) -> tuple[str, str, int, int, str]:
    """The line of an older list: the label was another one, the split was, or there was no label yet."""
    label, youtube_id, start, end, split = line
    renamed = {"tai chi": "practising tai-chi", "training dog": "", "massaging person's head": "massaging head"}
    return renamed.get(label, label), youtube_id, start, end, "train" if label == "massaging person's head" else split


def write_rows(path: Path, lines: Sequence[tuple[str, str, int, int, str]]) -> None:
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([("label", "youtube_id", "time_start", "time_end", "split"), *lines])


@pytest.mark.parametrize("split", SPLITS)
def test_torchvision_kinetics_finds_every_clip_under_its_class_and_reads_it(dataset: DataSet, split: Split) -> None:
    package("torchcodec.decoders")
    kinetics = package("torchvision.datasets").Kinetics(
        dataset.clips, frames_per_clip=16, num_classes="700", split=split, step_between_clips=16, num_workers=0
    )
    assert {path: kinetics.classes[index] for path, index in kinetics.samples} == dataset.folders(split)
    assert len(kinetics) == sum(count // 16 for path, count in dataset.frames().items() if f"/{split}/" in path)
    video, _, index = kinetics[len(kinetics) - 1]
    assert (tuple(video.shape), index) == ((16, 3, *dataset.size), kinetics.samples[-1][1])


class TestHuggingFace:
    @pytest.fixture(autouse=True)
    def offline(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    def load(self, *where: str, tmp_path: Path, **more: Any) -> dict[str, list[tuple[str, str]]]:
        """The path and the label of every clip, by the splits' names."""
        datasets = package("datasets")
        found = {}
        for name, clips in datasets.load_dataset(*where, cache_dir=str(tmp_path), **more).items():
            labels = clips.features["label"].names
            unread = clips.cast_column("video", datasets.Video(decode=False))
            found[name] = sorted((clip["video"]["path"], labels[clip["label"]]) for clip in unread)
        return found

    @pytest.mark.parametrize("without", ["README.md", ".huggingface.yaml", "neither"])
    def test_load_dataset_knows_the_splits_of_the_folder_by_the_card_or_the_lists(
        self, dataset: DataSet, tmp_path: Path, without: str
    ) -> None:
        assert {"README.md", ".huggingface.yaml"} <= {path.name for path in dataset.clips.iterdir()}
        hidden = dataset.clips / without
        if hidden.exists():
            hidden.rename(tmp_path / without)
        try:
            found = self.load(str(dataset.clips), tmp_path=tmp_path)
        finally:
            if not hidden.exists() and without != "neither":
                (tmp_path / without).rename(hidden)
        names = zip(("train", "validation", "test"), SPLITS, strict=True)
        assert found == {name: sorted(dataset.folders(split).items()) for name, split in names}

    def test_videofolder_told_where_the_splits_are_finds_every_clip_once_under_its_label(
        self, dataset: DataSet, tmp_path: Path
    ) -> None:
        places = {split: f"{dataset.clips}/{split}/**" for split in SPLITS}
        found = self.load("videofolder", tmp_path=tmp_path, data_files=places)
        assert found == {split: sorted(dataset.folders(split).items()) for split in SPLITS}

    def test_videofolder_left_to_itself_finds_all_clips_and_nothing_else(
        self, dataset: DataSet, tmp_path: Path
    ) -> None:
        found = self.load("videofolder", tmp_path=tmp_path, data_dir=str(dataset.clips))
        clips = {path: label for split in SPLITS for path, label in dataset.folders(split).items()}
        assert {path: label for those in found.values() for path, label in those} == clips


@pytest.mark.parametrize("split", SPLITS)
class TestPyTorchVideo:
    def paths(self) -> Any:
        return package("pytorchvideo.data.labeled_video_paths").LabeledVideoPaths

    def test_labeled_video_paths_reads_the_list_and_a_prefix_leads_to_the_clips(
        self, dataset: DataSet, split: Split
    ) -> None:
        listed = self.paths().from_path(str(dataset.made("lists") / "pytorchvideo" / f"{split}.txt"))
        listed.path_prefix = str(dataset.clips)
        assert [(path, about["label"]) for path, about in listed] == dataset.numbers(split)

    def test_labeled_video_paths_takes_the_folder_as_it_is(self, dataset: DataSet, split: Split) -> None:
        found = self.paths().from_path(str(dataset.clips / split))
        folders = sorted(set(dataset.folders(split).values()))
        assert {path: folders[about["label"]] for path, about in found} == dataset.folders(split)

    def test_labeled_video_dataset_reads_every_clip_of_the_list(self, dataset: DataSet, split: Split) -> None:
        data = package("pytorchvideo.data")
        sequential = package("torch.utils.data").SequentialSampler
        listed = data.labeled_video_dataset(
            str(dataset.made("lists") / "pytorchvideo" / f"{split}.txt"),
            data.make_clip_sampler("constant_clips_per_video", 2.0, 1),
            sequential,
            video_path_prefix=str(dataset.clips),
            decode_audio=False,
        )
        read = [(sample["video_name"], sample["label"], tuple(sample["video"].shape)) for sample in listed]
        assert read == [(Path(path).name, label, (3, 60, *dataset.size)) for path, label in dataset.numbers(split)]


@pytest.mark.parametrize("split", SPLITS)
class TestMMAction2:
    def test_video_dataset_reads_the_list_and_every_clip_of_it(self, dataset: DataSet, split: Split) -> None:
        listed = package("mmaction.datasets").VideoDataset(
            str(dataset.made("lists") / "mmaction2" / f"kinetics700_{split}_list_videos.txt"),
            [
                {"type": "mmaction.DecordInit"},
                {"type": "mmaction.SampleFrames", "clip_len": 8, "frame_interval": 2},
                {"type": "mmaction.DecordDecode"},
            ],
            data_prefix={"video": str(dataset.clips)},
        )
        read = [(one["filename"], one["label"], one["total_frames"], len(one["imgs"])) for one in listed]
        counts = dataset.frames()
        assert read == [(path, label, counts[path], 8) for path, label in dataset.numbers(split)]

    def test_rawframe_dataset_reads_the_frames_of_every_clip_from_the_first_to_the_last(
        self, dataset: DataSet, split: Split
    ) -> None:
        folders = {path.removesuffix(".mp4"): row for path, row in dataset.rows(split).items()}
        counts = {path: len([*(dataset.made("frames") / path).iterdir()]) for path in folders}
        assert counts == {path: FPS * (row.time_end - row.time_start) for path, row in folders.items()}
        listed = package("mmaction.datasets").RawframeDataset(
            str(dataset.made("lists") / "mmaction2" / f"kinetics700_{split}_list_rawframes.txt"),
            [
                {"type": "mmaction.SampleFrames", "clip_len": min(counts.values()), "frame_interval": 1},
                {"type": "mmaction.RawFrameDecode"},
            ],
            data_prefix={"img": str(dataset.made("frames"))},
        )
        for (path, row), one in zip(folders.items(), listed, strict=True):
            assert (one["frame_dir"], one["label"]) == (str(dataset.made("frames") / path), number(row))
            assert {image.shape for image in one["imgs"]} == {(*dataset.size, 3)}


@pytest.mark.parametrize("split", SPLITS)
class TestSlowFast:
    def test_kinetics_reads_the_list_and_every_clip_of_it(self, dataset: DataSet, split: Split) -> None:
        settings = package("slowfast.config.defaults").get_cfg()
        settings.DATA.PATH_TO_DATA_DIR = str(dataset.made("lists") / "slowfast")
        settings.DATA.PATH_PREFIX = str(dataset.clips)
        settings.TEST.NUM_ENSEMBLE_VIEWS = settings.TEST.NUM_SPATIAL_CROPS = 1
        kinetics = package("slowfast.datasets.kinetics").Kinetics(settings, split)
        assert [*zip(kinetics._path_to_videos, kinetics._labels, strict=True)] == dataset.numbers(split)
        read = [kinetics[place][1:3] for place in range(len(kinetics))]
        assert read == [(label, place) for place, (_, label) in enumerate(dataset.numbers(split))], "it read another"

    def test_a_list_splits_at_its_separator_by_its_documented_rule(self, dataset: DataSet, split: Split) -> None:
        """Today's: path, DATA.PATH_LABEL_SEPARATOR (a space), whole number; DATA.PATH_PREFIX goes before."""
        lines = (dataset.made("lists") / "slowfast" / f"{split}.csv").read_text().splitlines()
        parts = [line.split(" ") for line in lines]
        assert [(str(dataset.clips / path), int(label)) for path, label in parts] == dataset.numbers(split)


@pytest.mark.parametrize("split", SPLITS)
def test_fiftyone_finds_every_clip_under_its_label_by_its_documented_rule(dataset: DataSet, split: Split) -> None:
    """VideoClassificationDirectoryTree: what is in a folder has its name for a label, in `_unlabeled` none."""
    files = [path for path in (dataset.clips / split).rglob("*") if path.is_file()]
    labels = {path: path.relative_to(dataset.clips / split).parts[0] for path in files}
    assert {str(path): label.replace("_unlabeled", "") for path, label in labels.items()} == {
        str(dataset.clips / path): row.label.replace(" ", "_") for path, row in dataset.rows(split).items()
    }


def with_decord(path: str) -> int:
    return len(package("decord").VideoReader(path))


def with_opencv(path: str) -> int:
    clip = package("cv2").VideoCapture(path)
    read = 0
    while clip.read()[0]:
        read += 1
    assert int(clip.get(package("cv2").CAP_PROP_FRAME_COUNT)) == read
    return read


@pytest.mark.parametrize("count", [with_decord, with_opencv])
def test_a_reader_opens_every_clip_and_finds_as_many_frames_as_the_manifest_says(
    dataset: DataSet, count: Callable[[str], int]
) -> None:
    assert {path: count(path) for path in dataset.frames()} == dataset.frames()


def test_webdataset_reads_the_shards_of_a_choice_of_classes(dataset: DataSet) -> None:
    (folder,) = dataset.root.glob("Kinetics700_shards_classes-*")
    (lists,) = dataset.root.glob("Kinetics700_lists_classes-*")
    samples = [*package("webdataset").WebDataset(f"{folder}/train-{{000000..000001}}.tar", shardshuffle=False).decode()]
    chosen = [row for row in ROWS["train"] if row.label == "tai chi"]
    assert sorted(sample["json"]["time_start"] for sample in samples) == [row.time_start for row in chosen]
    listed = package("pytorchvideo.data.labeled_video_paths").LabeledVideoPaths
    found = listed.from_path(str(lists / "pytorchvideo" / "train.txt"))
    assert [about["label"] for _, about in found] == [number(row) for row in chosen]


@pytest.mark.parametrize("split", SPLITS)
def test_webdataset_reads_every_clip_once_with_its_class_and_its_annotation(dataset: DataSet, split: Split) -> None:
    shards = -(-len(ROWS[split]) // SHARD_CLIPS)
    pattern = f"{dataset.made('shards')}/{split}-{{000000..{shards - 1:06}}}.tar"
    samples = [*package("webdataset").WebDataset(pattern, shardshuffle=False).decode()]
    assert len({sample["__url__"] for sample in samples}) == shards
    found = {sample["__key__"]: (sample["mp4"], sample.get("cls"), sample["json"]) for sample in samples}
    assert len(found) == len(samples)
    assert found == {
        Path(path).stem: (
            (dataset.clips / path).read_bytes(),
            number(row) if row.label else None,
            {**row._asdict(), "split": split, "title": f"Loopback video {row.youtube_id}"},
        )
        for path, row in dataset.rows(split).items()
    }


@pytest.fixture(scope="module")
def downloaded(dataset: DataSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the same clips, as shards that were written while they were downloaded."""
    same_videos = [UNFIT, *(row for rows in ROWS.values() for row in rows)]
    sandbox = Sandbox(tmp_path_factory.mktemp("downloaded"), same_videos)
    write_rows(sandbox.csv, [(*row, split) for split, rows in ROWS.items() for row in rows])
    picture = next(options for options, size in PICTURES.values() if size == dataset.size)
    run = sandbox.run("-s", "all", *picture, "--into-shards", str(SHARD_CLIPS))
    assert run.code == 0, run.out + run.err
    assert not [*sandbox.folder.rglob("*.mp4")]
    return sandbox.folder / "Kinetics700_shards"


def of_the_folder(dataset: DataSet, split: Split) -> dict[str, tuple[bytes, int]]:
    """What a training loop over the folder sees: each clip with its class number."""
    return {
        Path(path).stem: ((dataset.clips / path).read_bytes(), number(row)) for path, row in dataset.rows(split).items()
    }


@pytest.mark.parametrize("split", SPLITS)
def test_webdataset_sees_the_clips_and_classes_of_the_folder_in_shards_while_downloading(
    dataset: DataSet, downloaded: Path, split: Split
) -> None:
    pattern = sorted(map(str, downloaded.glob(f"{split}-*.tar")))
    assert len(pattern) == -(-len(ROWS[split]) // SHARD_CLIPS)
    samples = [*package("webdataset").WebDataset(pattern, shardshuffle=False).decode()]
    seen = {sample["__key__"]: (sample["mp4"], sample.get("cls", -1)) for sample in samples}
    assert len(seen) == len(samples)
    assert seen == of_the_folder(dataset, split)


@pytest.mark.parametrize("split", SPLITS)
def test_hugging_face_streams_the_clips_and_classes_of_the_folder_from_shards_while_downloading(
    dataset: DataSet, downloaded: Path, split: Split, tmp_path: Path
) -> None:
    stream = package("datasets").load_dataset(
        "webdataset", data_files={split: f"{downloaded}/{split}-*.tar"}, split=split, streaming=True, cache_dir=tmp_path
    )
    samples = [*stream.cast_column("mp4", package("datasets").Video(decode=False))]
    seen = {sample["__key__"]: (sample["mp4"]["bytes"], int(sample.get("cls") or -1)) for sample in samples}
    assert len(seen) == len(samples)
    assert seen == of_the_folder(dataset, split)
    labels = {key: sample["json"]["label"] for key, sample in zip(seen, samples, strict=True)}
    assert labels == {Path(path).stem: row.label for path, row in dataset.rows(split).items()}


def test_tar_lists_three_members_of_each_sample_in_shards_while_downloading(downloaded: Path) -> None:
    listed = [
        line
        for path in downloaded.glob("train-*.tar")
        for line in subprocess.run(
            ["tar", "tf", str(path)], check=True, capture_output=True, text=True
        ).stdout.splitlines()
    ]
    keys = {f"{row.youtube_id}_{row.time_start:06d}_{row.time_end:06d}" for row in ROWS["train"]}
    assert sorted(listed) == sorted(f"{key}.{ending}" for key in keys for ending in ("cls", "json", "mp4"))


def test_the_classes_are_those_of_all_splits_whatever_each_split_has(dataset: DataSet) -> None:
    lists = dataset.made("lists")
    assert (lists / "classes.txt").read_text().splitlines() == CLASSES
    assert json.loads((lists / "labels.json").read_text()) == {label: place for place, label in enumerate(CLASSES)}
