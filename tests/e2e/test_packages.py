"""An option whose package is not installed ends in one line, before anything is asked for or written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.commands import download
from tests.support.sweeps import first_of
from tests.youtube.server import LoopbackYouTube

NEEDS = {
    "--manifest x.parquet": ("pyarrow", "x.parquet needs pyarrow: pip install pyarrow"),
    "--engine pytubefix,yt-dlp": ("yt_dlp", "--engine yt-dlp needs yt-dlp: pip install yt-dlp"),
    "--scheduler 127.0.0.1:1": ("distributed", "--scheduler needs distributed: pip install distributed"),
    "-o s3://bucket/data": ("fsspec", "-o s3://bucket/data needs fsspec and s3fs: pip install fsspec s3fs"),
    "-o s3a://bucket": ("s3fs", "-o s3a://bucket needs fsspec and s3fs: pip install fsspec s3fs"),
    "--report": ("jinja2", "--report needs jinja2: pip install jinja2"),
    "--engine pytube": ("pytube", "--engine pytube needs pytube: pip install pytube"),
    "--source both --dry-run": ("pytubefix", "--engine pytubefix needs pytubefix: pip install pytubefix"),
}
"""Options, the module that is missing, and what is said."""


@pytest.fixture(scope="module")
def youtube() -> Iterator[LoopbackYouTube]:
    with LoopbackYouTube() as youtube:
        yield youtube


def without(module: str, folder: Path) -> dict[str, str]:
    """Return the environment of a Python that finds no such module; its state and its home are in the folder."""
    (folder / "search path").mkdir()
    script = f"import sys\nsys.modules[{module!r}] = None\n"
    (folder / "search path" / "sitecustomize.py").write_text(script)
    home = folder / "home"
    return {"PYTHONPATH": str(folder / "search path"), "HOME": str(home), "XDG_CACHE_HOME": str(home / ".cache")}


@pytest.mark.parametrize("options", first_of(NEEDS, 4))
def test_a_missing_package_is_one_line_before_anything_begins(
    options: str, youtube: LoopbackYouTube, tmp_path: Path
) -> None:
    module, line = NEEDS[options]
    ended = download("-o", str(tmp_path / "data"), *options.split(), env=youtube.env | without(module, tmp_path))
    assert (ended.returncode, ended.stdout, ended.stderr) == (2, "", f"error: {line}\n")
    assert [path.name for path in tmp_path.iterdir()] == ["search path"]
    assert not youtube.requests


def test_what_is_wrong_in_the_command_itself_comes_first(youtube: LoopbackYouTube, tmp_path: Path) -> None:
    ended = download("--engine", "pytube", "--quick", env=youtube.env | without("pytube", tmp_path))
    assert ended.returncode == 2
    assert "--quick belongs to --verify" in ended.stderr
    assert "pip install" not in ended.stderr
