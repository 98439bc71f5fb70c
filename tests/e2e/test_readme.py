"""The command that the README gives for a first try runs as it stands."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

from tests.support.commands import ROOT


def command_after(marker: str) -> list[str]:
    found = re.search(rf"<!-- {marker} -->\n```sh\n(.*)\n```", (ROOT / "README.md").read_text())
    assert found
    return shlex.split(found[1])


def test_the_command_without_a_network_runs_as_it_stands(tmp_path: Path) -> None:
    python, *rest = command_after("without a network")
    assert python == "python"
    rest = [sys.executable if word == "python" else word for word in rest]
    ended = subprocess.run(
        [sys.executable, *rest, "-o", str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 1, "three of its videos fail once"
    assert len(list(tmp_path.rglob("*.mp4"))) == 29
