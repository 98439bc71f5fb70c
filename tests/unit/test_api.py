"""The program for Python: its options are the command's, and clips on disk come with the numbers of their classes."""

from __future__ import annotations

import logging
import os
import pickle
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, ClassVar, get_type_hints

import pandas as pd
import pytest

from kinetics.api import DownloadOptions, Fatal, LoadedClips, Selection, clips, load
from kinetics.cli.parser import parse
from kinetics.records import Clip, Outcome
from kinetics.run.listener import Listener, ShowProgress, shown
from kinetics.run.option_values import options_from
from kinetics.run.options import Options
from kinetics.storage.shard_writer import ShardWriter
from kinetics.storage.shards import ShardFolder
from tests.support.dataset import PLAIN, DatasetOnDisk, numbered

NOT_IN_PYTHON = {
    *("command", "url", "quick", "quality", "frames", "sound", "shards", "repack", "manifest", "compare"),
    *("version", "subset", "output"),  # parameters of their own
}


@pytest.fixture
def dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DatasetOnDisk:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return DatasetOnDisk(tmp_path / "data")


def loaded(dataset: DatasetOnDisk, *more: Clip) -> LoadedClips:
    """The clips of a data set, and others of which there are no files, in a list of one's own."""
    rows = dataset.folder.parent / "rows.csv"
    named = [(clip.label, clip.youtube_id, clip.time_start, clip.time_end) for clip in (*dataset.clips, *more)]
    pd.DataFrame(named, columns=["label", "youtube_id", "time_start", "time_end"]).to_csv(rows, index=False)
    return load("700", "validate", annotations=rows)


def test_every_option_of_a_download_has_its_name_in_python_and_no_other_has() -> None:
    names = {*get_type_hints(Selection), *get_type_hints(DownloadOptions)}
    assert names == {one.name for one in fields(Options)} - NOT_IN_PYTHON


@pytest.mark.parametrize(
    ("given", "typed"),
    [
        ({}, []),
        ({"version": "400", "subset": "val", "workers": None}, ["-v", "400", "-s", "val"]),
        ({"output": Path("~/data"), "workers": 4}, ["-o", "~/data", "-w", "4"]),
        ({"output": "s3://bucket/prefix"}, ["-o", "s3://bucket/prefix"]),
        ({"engine": ["yt-dlp"], "rate": 120.5}, ["--engine", "yt-dlp", "--rate", "120.5"]),
        ({"engine": "pytubefix,yt-dlp", "rate": "none"}, ["--rate", "none"]),
        ({"limit_rate": 5e6, "timeout": 90}, ["--limit-rate", "5M", "--timeout", "90"]),
        ({"classes": ["tai chi", "@file"], "no_reuse": True}, ["--classes", "tai chi", "@file", "--no-reuse"]),
        ({"classes": "tai chi", "sample": 5, "seed": -3}, ["--classes", "tai chi", "--sample", "5", "--seed", "-3"]),
        ({"shard": "3/16", "max_height": 240}, ["--shard", "3/16", "--max-height", "240"]),
        ({"annotations": "rows.csv", "format": "hacs"}, ["--annotations", "rows.csv", "--format", "hacs"]),
        ({"proxy": "host:3128", "short_side": 256}, ["--proxy", "host:3128", "--short-side", "256"]),
    ],
)
def test_what_a_program_gives_means_what_the_command_makes_of_it(given: dict[str, Any], typed: list[str]) -> None:
    assert options_from(given) == parse(typed)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"workers": 0}, "workers: '0' is not a number above zero"),
        ({"limit": 2.5}, "limit: '2.5' is not a number above zero"),
        ({"cut": "sharp"}, "cut: 'sharp' is none of smart, exact, keyframe, none"),
        ({"version": "500"}, "version: '500' is none of 400, 600, 700, 700-2020"),
        ({"output": ""}, "output: '' is not a path"),
        ({"shard": "17/16"}, "shard: '17/16' is not a part"),
        ({"source": "mirror", "shard": "1/2"}, "every part would read the same archives"),
        ({"cut": "none", "fps": 15}, "--cut none copies the picture as it is"),
    ],
)
def test_what_the_command_would_not_take_is_said_before_anything_is_done(given: dict[str, Any], said: str) -> None:
    with pytest.raises(Fatal, match=said.replace("(", r"\(")):
        options_from(given)


def test_an_option_of_another_command_is_no_option_here() -> None:
    with pytest.raises(TypeError, match="reports"):
        options_from({"reports": True})


def test_the_clips_on_disk_come_in_order_with_the_numbers_of_the_versions_classes(dataset: DatasetOnDisk) -> None:
    one, absent, two = numbered(3)
    other = replace(two, label="zumba")
    paths = [dataset.put(one), dataset.put(other)]
    wanted = loaded(dataset, absent)
    found = [*clips(wanted, dataset.folder)]
    assert [clip.path for clip in found] == paths
    assert [wanted.class_names[clip.class_number] for clip in found] == ["tai chi", "zumba"]
    assert len(wanted.class_names) == 700
    assert [(clip.youtube_id, clip.time_start, clip.time_end, clip.split) for clip in found] == [
        (*clip.key, "val") for clip in (one, other)
    ]
    assert [clip.read() for clip in found] == [path.read_bytes() for path in paths]
    assert len(wanted) == len([*wanted]) == len(wanted.frame) == 3


def test_clips_in_shards_come_as_well_and_can_be_read(dataset: DatasetOnDisk) -> None:
    packed, file = numbered(2)
    dataset.put(file)
    layout = replace(dataset.layout, into_shards=True)
    content = PLAIN.progressive.path.read_bytes()
    with ShardWriter(ShardFolder(layout, "validate"), 5, lambda: ["tai chi"], 0) as writer:
        waiting = layout.target(packed, "smart")
        waiting.parent.mkdir(parents=True)
        waiting.write_bytes(content)
        writer.add(packed, None)
    found = {clip.youtube_id: clip for clip in clips(loaded(dataset, packed), dataset.folder)}
    in_shard = found[packed.youtube_id]
    assert (len(found), in_shard.path.suffix, in_shard.size) == (2, ".tar", len(content))
    assert in_shard.read() == in_shard.open().read() == content
    with tarfile.open(in_shard.path) as tar:
        assert in_shard.offset in {member.offset_data for member in tar}
    with pytest.raises(OSError, match="shorter than the index"):
        replace(in_shard, size=10**9).read()


def test_a_clip_without_a_label_has_no_number(dataset: DatasetOnDisk) -> None:
    dataset.put(numbered(1, label="")[0])
    (clip,) = clips(loaded(dataset), dataset.folder)
    assert (clip.class_number, clip.label) == (-1, "")


def test_a_folder_without_the_data_set_and_a_url_are_told_at_the_call(dataset: DatasetOnDisk) -> None:
    wanted = loaded(dataset, *numbered(1))
    with pytest.raises(Fatal, match="has no Kinetics700 data set"):
        clips(wanted, dataset.folder / "elsewhere")
    with pytest.raises(Fatal, match="reads a folder"):
        clips(wanted, "s3://bucket/prefix")


def test_what_is_wrong_with_the_annotations_is_a_fatal_and_rows_left_out_are_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(Fatal, match="Cannot read the annotations"):
        load("700", "validate", annotations=tmp_path / "missing.csv")
    rows = tmp_path / "rows.csv"
    rows.write_text("label,youtube_id,time_start,time_end\ntai chi,-_abcDEF012,0,10\ntai chi,short,0,10\n")
    wanted = load("700", "validate", annotations=str(rows))
    assert len(wanted) == 1
    assert [(record.levelno, record.name) for record in caplog.records] == [(logging.WARNING, "kinetics")]
    assert wanted.warnings[0] == caplog.messages[0]
    assert capfd.readouterr() == ("", "")


def test_a_stored_clip_is_plain_data_that_a_loaders_process_can_be_given(dataset: DatasetOnDisk) -> None:
    dataset.put(numbered(1)[0])
    (clip,) = clips(loaded(dataset), dataset.folder)
    assert pickle.loads(pickle.dumps(clip)) == clip


def test_a_proxy_that_is_none_is_said_by_load_and_nothing_of_it_stays_in_the_environment(
    dataset: DatasetOnDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "host:3128")
    before = dict(os.environ)
    loaded(dataset, *numbered(1))
    with pytest.raises(Fatal, match="proxy: 'socks5://host:1' is not the address of an HTTP proxy"):
        load("700", "validate", annotations="rows.csv", proxy="socks5://host:1")
    with pytest.raises(Fatal, match="Cannot read the annotations"):
        load("700", "validate", annotations="missing.csv", proxy="other:3128")
    assert dict(os.environ) == before


def test_while_files_are_given_their_places_the_progress_names_that_step() -> None:
    class Seen(Listener):
        steps: ClassVar[list[str]] = []

        @contextmanager
        def showing(self, what: str, total: int, *, done: str = "", failed: str = "") -> Iterator[ShowProgress]:
            yield lambda progress: self.steps.append(progress.step)

    (clip,) = numbered(1)
    assert [*shown(Seen(), "adopt", 1, [None, Outcome(clip, "done")])] == [Outcome(clip, "done")]
    assert Seen.steps == ["adopt", "adopt"]
