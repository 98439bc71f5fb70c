"""The README's commands, typed as they stand: a new environment, a clone of this checkout, the loopback YouTube."""

from __future__ import annotations

import os
import re
import shlex
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from kinetics.cli.parser import parse
from kinetics.records import SPLIT_OF
from kinetics.run.options import Command, Options
from kinetics.storage.layout import label_folder
from tests.support.commands import ROOT
from tests.support.documents import fenced_blocks
from tests.support.shell import Shell, Typed, wrapper
from tests.youtube.samples import sample_world
from tests.youtube.server import LoopbackYouTube
from tests.youtube.world import World

README = ROOT / "README.md"
MARKER = "runs: fresh"
PROGRAM = "python download.py "
BROUGHT_BY_OTHERS = {"numpy", "trustme"}
"""Packages of the tests that come with one in requirements.txt, or that the README installs for the demo."""

pytestmark = [pytest.mark.fresh, pytest.mark.timeout(900)]


@dataclass(frozen=True)
class FirstHour:
    """A home folder in which all of the README's commands were typed, and the session, which goes on."""

    home: Path
    shell: Shell
    world: World
    lines: list[str]

    def download_with(self, options: str) -> Typed:
        """Type the first of the README's downloads with more options."""
        return self.shell.type(f"{re.sub(' #.*', '', self.downloads[0])} {options}")

    @property
    def downloads(self) -> list[str]:
        """The lines that download, as they were typed."""
        found = [line for line in self.lines if line.startswith(PROGRAM)]
        return [line for line in found if _options(line).command is Command.DOWNLOAD and not _options(line).dry_run]


def marked_lines(page: Path) -> list[str]:
    marked = [line for block in fenced_blocks(page) if block.marker == MARKER for line in block.commands]
    return [line for line in marked if not line.startswith("#")]


def type_all(lines: Sequence[str], shell: Shell) -> None:
    """Type the lines. Each has to end with 0, a download the second time at the latest."""
    for line in lines:
        typed = shell.type(line)
        if typed.code == 1 and line.startswith(PROGRAM):
            typed = shell.type(line)
        assert typed.code == 0, f"{line}\n{typed.output}"


@pytest.fixture(scope="module")
def first_hour() -> Iterator[FirstHour]:
    lines = marked_lines(README)
    cloned = [url for line in lines for url in re.findall(r"git clone (\S+)", line)]
    assert cloned, f"no `git clone` is marked {MARKER!r}"
    with tempfile.TemporaryDirectory(prefix="first-hour-", ignore_cleanup_errors=True) as folder:
        home, world = Path(folder), sample_world()
        (home / "gitconfig").write_text(f'[url "{ROOT}"]\ninsteadOf = {cloned[0]}\n[safe]\ndirectory = *\n')
        with LoopbackYouTube(world) as youtube, Shell(home, _environment(home)) as shell:
            shell.type(wrapper("python", youtube.env | {"HOME": str(home)}))  # pip and git keep the real network
            type_all(lines, shell)
            yield FirstHour(home, shell, world, lines)


def test_every_clip_that_youtube_still_has_is_there(first_hour: FirstHour) -> None:
    expected = {path for line in first_hour.downloads for path in _clips(first_hour.world, _options(line))}
    found = {str(path).rpartition("/Kinetics")[2] for path in first_hour.home.rglob("Kinetics*/*/*/*.mp4")}
    assert found == expected
    assert expected


def test_the_report_is_written(first_hour: FirstHour) -> None:
    reported = first_hour.download_with("--report")
    assert reported.code == 0, reported.output
    pages = [path for path in first_hour.home.rglob("Kinetics*.html") if f"{path}\n" in reported.output]
    assert len(pages) == 1, reported.output
    assert "<svg" in pages[0].read_text() or "<img" in pages[0].read_text()


def test_nothing_is_installed_for_other_options_nor_for_the_tests(first_hour: FirstHour) -> None:
    needless = set[str]()
    for path in (ROOT / "tests").glob("requirements*.txt"):
        needless |= {_package(line) for line in path.read_text().splitlines() if re.match(r"\w", line)}
    for extra in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"].values():
        needless |= {_package(requirement) for requirement in extra}
    assert {"webdataset", "pytest"} <= needless
    listed = first_hour.shell.type("pip list --format freeze")
    installed = {_package(line) for line in listed.output.splitlines() if "==" in line}
    assert {"pytubefix", "matplotlib"} <= installed
    assert not installed & needless - BROUGHT_BY_OTHERS


@pytest.mark.parametrize(
    ("option", "line"),
    [
        ("--scheduler 127.0.0.1:8786", "--scheduler needs distributed: pip install distributed"),
        ("-o s3://bucket/kinetics", "-o s3://bucket/kinetics needs fsspec and s3fs: pip install fsspec s3fs"),
        ("--engine pytube", "--engine pytube needs pytube: pip install pytube"),
    ],
    ids=["scheduler", "s3", "pytube"],
)
def test_an_option_that_needs_more_says_in_one_line_what(first_hour: FirstHour, option: str, line: str) -> None:
    assert first_hour.download_with(option) == Typed(2, f"error: {line}\n")


def _environment(home: Path) -> dict[str, str]:
    """That of a user who has just logged in: without the tests' own environment, and with a home folder of its own."""
    dropped = re.compile(r"PYTHON(PATH|HOME)|VIRTUAL_ENV.*|XDG_.*|GIT_.*|PYTEST_.*")
    kept = {name: value for name, value in os.environ.items() if not dropped.fullmatch(name)}
    ours = {str(Path(sys.prefix) / "bin")} if sys.prefix != sys.base_prefix else set()
    return kept | {
        "HOME": str(home),
        "PATH": os.pathsep.join(folder for folder in os.environ["PATH"].split(os.pathsep) if folder not in ours),
        "GIT_CONFIG_GLOBAL": str(home / "gitconfig"),
        "PIP_NO_COMPILE": "1",
        "PIP_CACHE_DIR": os.environ.get("PIP_CACHE_DIR", str(Path.home() / ".cache" / "pip")),
    }


def _options(line: str) -> Options:
    return parse(shlex.split(line.removeprefix(PROGRAM), comments=True))


def _clips(world: World, options: Options) -> Iterator[str]:
    """The paths, from the version on, of the clips of living videos that a line is to bring."""
    for subset, rows in world.annotations[options.version].items():
        for row in rows:
            if options.subset in (subset, "all") and world.scenario(row.youtube_id).video:
                name = f"{row.youtube_id}_{row.time_start:06d}_{row.time_end:06d}.mp4"
                yield f"{options.version}/{SPLIT_OF[subset]}/{label_folder(row.label)}/{name}"


def _package(requirement: str) -> str:
    return re.split(r"[\[=<>~; ]", requirement, maxsplit=1)[0].lower().replace("_", "-")
