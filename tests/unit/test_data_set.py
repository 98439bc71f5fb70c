"""In which folder the clips of a list are: that of Kinetics, or one of the name of the data set whose list it is."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from kinetics.annotations.load import load
from kinetics.cli.main import main
from kinetics.errors import Fatal
from kinetics.planning import data_set
from kinetics.planning.plan import make_plan
from kinetics.planning.reuse import search
from kinetics.run import jobs
from kinetics.storage.layout import Layout

ONE, TWO = "-_abcDEF012", "--zyxwvut98"
HACS = f"classname,youtube_id,subset,start,end,label\nArchery,{ONE},training,5,7,1\nTai chi,{TWO},validation,3,5,1\n"
KINETICS = f"label,youtube_id,time_start,time_end\nmy own class,{ONE},0,10\n"
COUNTIX = f"video_id,class,repetition_start,repetition_end\n{ONE},yoga,81.5,85.7\n"
AUDIOSET = f'{ONE}, 30.000, 40.000, "/m/09x0r"\n'


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def activitynet(*labels: str) -> str:
    """A list in ActivityNet's form, with the last label in the validation set."""
    subsets = [*["training"] * (len(labels) - 1), "validation"]
    rows = {
        f"{number:011}": {"annotations": [{"label": label, "segment": [0, 10]}], "subset": subset}
        for number, (label, subset) in enumerate(zip(labels, subsets, strict=True))
    }
    return json.dumps({"database": rows})


def touch(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()


def folder(capsys: pytest.CaptureFixture[str], content: str, *more: str, name: str = "list.csv") -> tuple[str, str]:
    """The name of the folder that a run on a list says it uses, and what it says beside that."""
    Path(name).write_text(content)
    assert main(["-s", "train", "--dry-run", "--annotations", name, *more]) == 0
    said = capsys.readouterr()
    (line,) = (line for line in said.out.splitlines() if "  folder: " in line)
    return line.rpartition("/")[2], said.err


def test_the_clips_and_tables_of_another_data_set_have_its_name(tmp_path: Path) -> None:
    layout = Layout(tmp_path, "700", data_set="AVA-Kinetics")
    assert layout.whole(ONE) == tmp_path / "AVA-Kinetics" / "whole" / f"{ONE}.mp4"
    assert layout.derived_layout("frames").folder == tmp_path / "AVA-Kinetics_frames"
    assert layout.errors_log("train") == tmp_path / "AVA-Kinetics_train_errors.log"
    touch("AVA-Kinetics_train_shard1of2_stats.csv", "Kinetics700_train_shard2of2_stats.csv")
    assert [part.shard for part in layout.shard_layouts("train")] == ["", "1of2"]
    assert replace(layout, shard="03of16").title("train") == "AVA-Kinetics train, shard 3/16"


@pytest.mark.parametrize(
    ("content", "name", "expected"),
    [
        (HACS, "list.csv", "HACS"),
        (f"{ONE},1,marching,train\n", "vggsound.csv", "VGGSound"),
        (AUDIOSET, "list.csv", "AudioSet"),
        (f"{ONE},0902,0.077,0.151,0.283,0.811,80,1\n", "ava_train_v2.2.csv", "AVA-Kinetics"),
        (COUNTIX, "list.csv", "Countix"),
        (activitynet("Dodgeball", "Archery"), "list.json", "ActivityNet"),
        (activitynet("yoga", "yoga", "Dodgeball"), "list.json", "ActivityNet"),
        (activitynet("yoga", "archery"), "list.json", "Kinetics700"),
        (KINETICS, "few_shot.csv", "Kinetics700"),
        (HACS.replace(",1\nTai", ",Archery\nTai").replace(",1\n", ",Tai chi\n"), "list.csv", "Kinetics700"),
    ],
)
def test_a_list_has_the_folder_of_its_data_set(
    capsys: pytest.CaptureFixture[str], content: str, name: str, expected: str
) -> None:
    assert folder(capsys, content, name=name)[0] == expected


def test_a_list_of_a_named_format_has_the_folder_of_that(capsys: pytest.CaptureFixture[str]) -> None:
    vggsound = f"{ONE},1,marching,train\n"
    assert folder(capsys, vggsound, "--format", "vggsound")[0] == "VGGSound"


def test_lists_of_several_data_sets_together_have_the_folder_of_kinetics(capsys: pytest.CaptureFixture[str]) -> None:
    Path("lists").mkdir()
    Path("lists/train.csv").write_text(HACS)
    Path("lists/val.csv").write_text(COUNTIX)
    assert main(["-s", "all", "--dry-run", "--annotations", "lists"]) == 0
    assert "/Kinetics700\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "there"),
    [
        pytest.param(HACS, f"train/Archery/{ONE}_000005_000007.mp4", id="a clip"),
        pytest.param(HACS, f"val/Tai_chi/{TWO}_000003_000005.mp4", id="a clip of another subset"),
        pytest.param(HACS, f"whole/{TWO}.mp4", id="a whole video"),
        pytest.param(AUDIOSET, f"test/_unlabeled/{ONE}_000030_000040.mp4", id="a clip of a list without subsets"),
    ],
)
def test_a_list_stays_where_its_clips_are_and_that_is_said_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str, there: str
) -> None:
    touch(f"Kinetics700/{there}")
    name, said = folder(capsys, content)
    own = "HACS" if content == HACS else "AudioSet"
    assert name == "Kinetics700"
    line = f"{tmp_path}/Kinetics700 has clips of this list of {own}, so it stays there unless {tmp_path}/{own} exists"
    assert said.splitlines().count(line) == 1


@pytest.mark.parametrize("own", ["HACS/.partial/lock", "HACS_validate_stats.csv"])
def test_a_list_has_its_own_folder_as_soon_as_that_is_there(capsys: pytest.CaptureFixture[str], own: str) -> None:
    touch(f"Kinetics700/train/Archery/{ONE}_000005_000007.mp4", own)
    name, said = folder(capsys, HACS)
    assert (name, "stays there" in said) == ("HACS", False)


def test_clips_of_other_lists_keep_no_list_in_the_folder_of_kinetics(capsys: pytest.CaptureFixture[str]) -> None:
    touch(f"Kinetics700/train/Archery/{ONE}_000005_000008.mp4", f"Kinetics600/train/Archery/{ONE}_000005_000007.mp4")
    assert folder(capsys, HACS)[0] == "HACS"


def test_at_a_url_a_list_has_its_own_folder_or_stays_as_well(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("store").mkdir()
    assert folder(capsys, HACS, "-o", f"file://{tmp_path}/store")[0] == "HACS"
    touch(f"store/Kinetics700/val/Tai_chi/{TWO}_000003_000005.mp4")
    assert folder(capsys, HACS, "-o", f"file://{tmp_path}/store")[0] == "Kinetics700"


def test_clips_of_kinetics_are_linked_into_the_folder_of_another_list(tmp_path: Path) -> None:
    touch(f"Kinetics700/train/Archery/{ONE}_000005_000007.mp4", f"HACS/train/Tai_chi/{TWO}_000003_000005.mp4")
    Path("list.csv").write_text(HACS)
    annotations = load("700", "train", Path("list.csv"))
    layout = data_set.layout_of_list(Layout(tmp_path, "700"), annotations, Path("list.csv"))
    found = search(make_plan(annotations, layout, {}, "smart", "due"), layout)
    assert [*found.beside.values()] == [[tmp_path / f"Kinetics700/train/Archery/{ONE}_000005_000007.mp4"]]


def test_the_folder_of_kinetics_own_lists_costs_no_second_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    touch(f"Kinetics700/train/my_own_class/{ONE}_000000_000010.mp4")
    Path("list.csv").write_text(KINETICS)
    for name in ("load", "classes_of"):
        monkeypatch.setattr(data_set, name, pytest.fail)
    assert main(["-s", "train", "--dry-run", "--annotations", "list.csv"]) == 0


def test_workers_are_made_ready_while_the_annotations_are_loaded(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ready = list[str]()

    def warm_up(modules: Iterable[str]) -> None:
        ready.extend(modules)
        raise Fatal("this far")

    monkeypatch.setattr(jobs, "warm_up", warm_up)
    assert main(["--annotations", "missing.csv"]) == 2
    assert capsys.readouterr().err == "error: this far\n"
    assert "kinetics.youtube.download_job" in ready
