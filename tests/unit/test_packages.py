"""What has to be installed for which option."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

import pytest

from kinetics.cli.parser import parse
from kinetics.errors import Fatal, check_installed
from kinetics.run.packages import check_packages
from kinetics.youtube.engines import open_engines
from tests.support.commands import ROOT


def requirements(path: Path) -> set[str]:
    """The lines of a list of requirements, without comments and the lists that it includes."""
    lines = (line.partition("#")[0].strip() for line in path.read_text().splitlines())
    return {line for line in lines if line and not line.startswith("-r")}


def test_the_extras_are_not_in_the_requirements_but_the_tests_install_them() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    packages = {requirement for extra in extras.values() for requirement in extra}
    assert packages <= requirements(ROOT / "tests" / "requirements.txt")
    names = {line.partition(">")[0] for line in requirements(ROOT / "requirements.txt")}
    assert not names & {package.partition(">")[0] for package in packages}


@pytest.mark.parametrize("options", ["--source mirror", "--report", "--list-classes", "--verify"])
def test_engines_are_needed_only_where_youtube_is_asked(options: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yt_dlp", None)
    check_packages(parse(options.split()))
    with pytest.raises(Fatal, match="--engine yt-dlp needs yt-dlp"):
        check_packages(parse([]))


def test_a_worker_that_lacks_an_engine_says_so_instead_of_failing_its_clips(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pytube", None)
    with pytest.raises(Fatal, match="--engine pytube needs pytube: pip install pytube"):
        open_engines(["pytubefix", "pytube"])


def test_a_package_is_looked_for_by_its_module_and_not_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "PIL", raising=False)
    check_installed("--report", "pillow", "yt-dlp")
    assert "PIL" not in sys.modules
    with pytest.raises(Fatal, match=r"^--x needs no-such-package and nor-such: pip install no-such-package nor-such$"):
        check_installed("--x", "no-such-package", "pillow", "nor-such")
