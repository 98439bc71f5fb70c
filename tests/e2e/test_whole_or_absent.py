"""A process that is killed while it writes leaves nothing under the final name."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.support.commands import python


@pytest.mark.parametrize("moment", ["while writing", "before the move"])
def test_a_writer_that_is_killed_leaves_no_folder_under_the_final_name(tmp_path: Path, moment: str) -> None:
    kill = "os.kill(os.getpid(), 9)"
    script = (
        "import os, pathlib, sys; from kinetics.storage.atomic import atomic_folder\n"
        f"pathlib.Path.rename = lambda *_: {kill}\n"
        "with atomic_folder(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])) as folder:\n"
        "    (folder / 'one').touch()\n"
        f"    {kill if moment == 'while writing' else 'pass'}\n"
    )
    ran = python("-c", script, str(tmp_path / "final"), str(tmp_path / "partial"))
    assert ran.returncode == -signal.SIGKILL
    assert not (tmp_path / "final").exists()


@pytest.mark.parametrize("moment", ["while writing", "before the move"])
def test_a_writer_that_is_killed_leaves_no_final_file(tmp_path: Path, moment: str) -> None:
    kill = "os.kill(os.getpid(), 9)"
    script = (
        "import os, pathlib, sys; from kinetics.storage.atomic import atomic_write\n"
        f"def replace(*_): {kill}\n"
        "os.replace = replace\n"
        "with atomic_write(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])) as temporary:\n"
        "    temporary.write_text('whole')\n"
        f"    {kill if moment == 'while writing' else 'pass'}\n"
    )
    ran = python("-c", script, str(tmp_path / "final"), str(tmp_path / ".partial"))
    assert ran.returncode == -signal.SIGKILL
    assert not (tmp_path / "final").exists()
    assert len(list((tmp_path / ".partial").iterdir())) == 1
