"""The demo's ids, words and folder, and what its command says where packages are missing."""

from __future__ import annotations

import base64
import csv
import re
import shutil
import sys
import webbrowser
from importlib import metadata
from pathlib import Path

import pytest

from tests.youtube import __main__ as start
from tests.youtube import demo
from tests.youtube.samples import MISHAPS, REAL_ENDINGS, SAMPLE, VERSIONS, sample_world

IDS = {row.youtube_id for rows in SAMPLE.values() for row in rows}


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("video_id", sorted(IDS))
def test_no_id_of_the_sample_can_be_one_of_a_real_video(video_id: str) -> None:
    possible = {base64.urlsafe_b64encode(bytes([*range(7), last]))[10] for last in range(256)}
    assert {ord(character) for character in REAL_ENDINGS} == possible
    assert re.fullmatch(r"[\w-]{11}", video_id, re.ASCII)
    assert ord(video_id[-1]) not in possible


@pytest.mark.parametrize("version", VERSIONS)
def test_every_version_has_the_whole_sample(version: str) -> None:
    assert sample_world().annotations[version] == {subset: [*rows] for subset, rows in SAMPLE.items()}


def test_every_mishap_is_that_of_a_clip_of_the_sample() -> None:
    assert MISHAPS.keys() <= IDS


def test_the_demos_own_lines_fit_a_terminal_of_80_columns() -> None:
    texts = [demo.INTRODUCTION, demo.CONCLUSION, demo.STOPPED, demo.NOTE_TEXT]
    texts += [text for step in demo.STEPS for text in (step.before, step.after)]
    texts += [" ".join(("$ python download.py", *demo.OPTIONS, *step.options)) for step in demo.STEPS]
    assert [line for text in texts for line in text.splitlines() if len(line) > 80] == []


def an_earlier_demo() -> Path:
    """Make demo/ as an earlier demo left it, and return a clip in it."""
    demo.make_folder()
    clip = Path("demo/Kinetics400/val/abseiling/made-up-00x_000000_000010.mp4")
    clip.parent.mkdir(parents=True)
    clip.touch()
    Path("demo/Kinetics400_validate_report.html").touch()
    Path("demo/Kinetics400/.partial").mkdir()
    Path("demo/Kinetics400/.partial/validate.lock").touch()
    write_stats("made-up-00x")
    return clip


def write_stats(*video_ids: str) -> None:
    with open(demo.STATS, "w", newline="") as file:
        csv.writer(file).writerows([["time", "youtube_id"], *(["now", video_id] for video_id in video_ids)])


def test_a_demo_removes_what_an_earlier_one_left() -> None:
    an_earlier_demo()
    demo.make_folder()
    assert [*Path("demo").iterdir()] == [demo.NOTE]


def test_an_empty_folder_will_do() -> None:
    Path("demo").mkdir()
    demo.make_folder()
    assert demo.NOTE.exists()


@pytest.mark.parametrize(
    "name",
    [
        "notes.txt",
        "Kinetics400/notes.txt",
        "Kinetics400/val/abseiling/0123456789A_000000_000010.mp4",
        "Kinetics600/val/abseiling/made-up-00x_000000_000010.mp4",
        "elsewhere/MADE-UP.txt",
    ],
)
def test_a_demo_deletes_nothing_where_a_file_is_not_a_demos(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    clip, foreign = an_earlier_demo(), Path("demo", name)
    foreign.parent.mkdir(parents=True, exist_ok=True)
    foreign.touch()
    assert demo.show_demo() == 2
    assert clip.exists()
    assert foreign.exists()
    assert str(foreign) in capsys.readouterr().err


def test_a_demo_deletes_nothing_where_the_real_youtube_was_asked(capsys: pytest.CaptureFixture[str]) -> None:
    clip = an_earlier_demo()
    write_stats("made-up-00x", "0123456789A")
    assert demo.show_demo() == 2
    assert clip.exists()
    assert str(demo.STATS) in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["a folder without the note", "a file", "a link"])
def test_a_demo_leaves_somebodys_own_demo_alone(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    clip = an_earlier_demo()
    if kind == "a folder without the note":
        demo.NOTE.unlink()
    elif kind == "a link":
        Path("demo").rename("mine")
        Path("demo").symlink_to("mine")
    else:
        clip = demo.FOLDER
        shutil.rmtree(clip)
        clip.touch()
    assert demo.show_demo() == 2
    assert clip.exists()
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize(
    ("missing", "said"), [(["trustme"], "trustme."), (["av", "pandas", "trustme"], "pandas and 2 more.")]
)
def test_missing_packages_give_one_line(
    missing: list[str], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def distribution(name: str) -> None:
        if name in missing:
            raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", distribution)
    assert start.entry() == 2
    [line] = capsys.readouterr().err.splitlines()
    assert f"not installed: {said}" in line
    assert len(line) <= 80


@pytest.mark.parametrize(
    ("terminal", "display", "opened"), [(True, ":0", True), (True, "", False), (False, ":0", False)]
)
def test_the_browser_opens_only_where_somebody_sits_at_a_display(
    terminal: bool, display: str, opened: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    addresses = list[str]()
    monkeypatch.setattr(webbrowser, "open", addresses.append)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    monkeypatch.setenv("DISPLAY", display)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    page = Path("demo", "report.html")
    demo.show_page(page)
    assert addresses == [page.resolve().as_uri()] * opened
    assert str(page) in capsys.readouterr().out
