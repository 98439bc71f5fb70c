"""docs/python.md runs as it stands, in a script and in a notebook; an installed package shows its types to mypy."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from tests.support.commands import ROOT
from tests.support.documents import marked_blocks
from tests.youtube.samples import sample_world
from tests.youtube.server import LoopbackYouTube

pytestmark = [pytest.mark.fresh, pytest.mark.timeout(900)]

CELLS = [
    block.text
    for block in marked_blocks(
        "runs: tests/fresh/test_python_page.py::test_the_page_runs_as_a_script_and_in_a_notebook"
    )
]
TYPES = """
    from collections.abc import Iterator, Sequence
    from typing import assert_type

    from kinetics.api import (
        Category, Clip, DownloadOptions, DownloadResult, Fatal, LoadedClips, MissingClip, RunProgress, Selection,
        StoredClip, clips, download, load,
    )

    def show(now: RunProgress) -> None:
        assert_type(now.left_s, float | None)

    chosen = Selection(limit=3, classes=["tai chi"])
    how = DownloadOptions(workers=4, cut="exact", limit_rate="5M")
    wanted = assert_type(load("400", "validate", **chosen), LoadedClips)
    assert_type(wanted.class_names, list[str])
    result = assert_type(download(wanted, "data", progress=show, **how), DownloadResult)
    assert_type(result.on_disk, int)
    for clip, why in result.missing():
        assert_type(clip, Clip)
        assert_type(why, MissingClip | None)
    assert_type(clips(wanted, "data"), Iterator[StoredClip])
    assert_type([one.class_number for one in clips(wanted)], list[int])
    assert_type([one.category for _, one in result.missing() if one], list[Category])
    assert issubclass(Fatal, Exception)
"""
"""Uses every public name, as a user's strictly typed program does."""
WRONG = {
    'load("500", "validate")': "arg-type",
    'load("400", "validate", limits=3)': "call-arg",
    'download(load(), "data", cut="sharp")': "typeddict-item|arg-type",
    'download(load(), "data", workers="4")': "arg-type",
    "download(load(), progress=lambda: None)": "misc|arg-type",
    "next(clips(load())).title": "attr-defined",
}
"""What mypy has to find wrong, with the code of its error."""


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new environment, in which nothing is but the package and what it needs."""
    folder = tmp_path_factory.mktemp("installed")
    for name in ("kinetics", "pyproject.toml", "requirements.txt", "README.md", "LICENSE"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, folder / name)
    venv = folder / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    subprocess.run([str(venv / "bin" / "pip"), "install", "--quiet", str(folder)], check=True)
    shutil.rmtree(folder / "kinetics")
    return venv


@pytest.fixture
def youtube() -> Iterator[LoopbackYouTube]:
    with LoopbackYouTube(sample_world()) as youtube:
        yield youtube


def home_of(tmp_path: Path, youtube: LoopbackYouTube) -> dict[str, str]:
    """The environment of somebody whose home is an empty folder."""
    dropped = re.compile(r"PYTHON(PATH|HOME)|VIRTUAL_ENV.*|XDG_.*")
    kept = {name: value for name, value in (os.environ | youtube.env).items() if not dropped.fullmatch(name)}
    return kept | {"HOME": str(tmp_path)}


def assert_as_the_page_says(out: str) -> None:
    """Of the page's two classes, the loopback YouTube has five clips, and three that are gone."""
    assert out.startswith("5 of 8 clips on disk, 5 of them new\n")
    assert len(re.findall(r"\.mp4 (?:abseiling 0|tai chi 346)$", out, re.M)) == 5
    assert len(re.findall(r"^gone-\w+ (private|removed|unavailable): ", out, re.M)) == 3
    assert re.search(r"^5 of 5, 0 minutes left, by ", out, re.M)
    assert "stopped: Cannot write /proc/kinetics" in out
    assert re.search(r"^\(8, \d+, \d+, 3\) (abseiling|tai chi)$", out, re.M)


def test_the_page_runs_as_a_script_and_in_a_notebook(
    environment: Path, youtube: LoopbackYouTube, tmp_path: Path
) -> None:
    """The script in the new environment, the notebook in a kernel of this one."""
    assert len(CELLS) == 5
    script = tmp_path / "script.py"
    script.write_text("\n".join(CELLS))
    command = [str(environment / "bin" / "python"), str(script)]
    env = home_of(tmp_path, youtube)
    ran = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300, check=False)
    assert ran.returncode == 0, ran.stderr
    assert_as_the_page_says(ran.stdout)
    assert "INFO:kinetics:" in ran.stderr
    shutil.rmtree(tmp_path / "kinetics")
    assert_as_the_page_says(run_notebook(CELLS, tmp_path, env | {"PYTHONPATH": str(ROOT)}))


def run_notebook(cells: list[str], folder: Path, env: dict[str, str]) -> str:
    """Run cells in a kernel, and return what they print."""
    import nbformat  # noqa: PLC0415 - takes a while
    from nbclient import NotebookClient  # noqa: PLC0415

    code = [{"cell_type": "code", "source": cell, "metadata": {}, "outputs": []} for cell in cells]
    notebook = nbformat.from_dict({"cells": code, "metadata": {}, "nbformat": 4, "nbformat_minor": 4})  # type: ignore[no-untyped-call]
    client = NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(folder)}})
    client.execute(env=env)
    outputs = (output for cell in notebook.cells for output in cell.outputs)
    return "".join(output.text for output in outputs if output.get("name") == "stdout")


def test_the_installed_command_and_the_package_are_there(environment: Path, tmp_path: Path) -> None:
    for command in (["kinetics-download", "--help"], ["python", "-c", "import kinetics.api"]):
        ran = subprocess.run(
            [str(environment / "bin" / command[0]), *command[1:]], cwd=tmp_path, capture_output=True, check=False
        )
        assert ran.returncode == 0, ran.stderr


def checked(environment: Path, program: Path) -> str:
    """What mypy's strict mode says of a program beside which the package is installed."""
    command = ["-m", "mypy", "--strict", "--config-file=", "--python-executable", str(environment / "bin" / "python")]
    ran = subprocess.run(
        [sys.executable, *command, str(program)], cwd=program.parent, capture_output=True, text=True, check=False
    )
    return ran.stdout + ran.stderr


def test_a_strictly_typed_program_sees_the_types(environment: Path, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(dedent(TYPES))
    assert checked(environment, program).startswith("Success"), checked(environment, program)
    program.write_text("from kinetics.api import clips, download, load\n" + "\n".join(WRONG) + "\n")
    said = checked(environment, program)
    for line, (statement, codes) in enumerate(WRONG.items(), start=2):
        assert re.search(rf"program\.py:{line}: error: .*\[({codes})\]", said), f"{statement}\n{said}"
