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
        f"os.replace = lambda *_: {kill}\n"
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


@pytest.mark.parametrize("moment", ["before the move", "while removing"])
def test_a_folder_that_is_being_removed_when_the_process_is_killed_is_whole_or_absent(
    tmp_path: Path, moment: str
) -> None:
    final = tmp_path / "label" / "final"
    final.mkdir(parents=True)
    for name in ("one", "two"):
        (final / name).touch()
    where = "pathlib.Path.rename" if moment == "before the move" else "os.unlink"
    script = (
        "import os, pathlib, sys; from kinetics.storage.atomic import discard\n"
        f"{where} = lambda *_, **__: os.kill(os.getpid(), 9)\n"
        "discard(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))\n"
    )
    ran = python("-c", script, str(final), str(tmp_path / ".partial"))
    assert ran.returncode == -signal.SIGKILL
    names = [path.name for path in final.parent.glob("*/*")]
    assert sorted(names) == (["one", "two"] if moment == "before the move" else [])


@pytest.mark.parametrize("kind", ["a file", "a folder"])
@pytest.mark.parametrize("moment", ["while copying", "before the removal"])
def test_what_is_being_moved_to_another_disk_when_the_process_is_killed_is_not_lost(
    tmp_path: Path, moment: str, kind: str
) -> None:
    source, final = tmp_path / "clip", tmp_path / "rejected" / "clip"
    within = "clip" if kind == "a folder" else ""
    (source / within).parent.mkdir(exist_ok=True)
    (source / within).write_text("whole")
    remove = "pathlib.Path.rename" if kind == "a folder" else "pathlib.Path.unlink"
    script = (
        "import errno, os, pathlib, shutil, sys; from kinetics.storage.atomic import move\n"
        "real = os.replace\n"
        "def replace(source, final):\n"
        "    if source.name == 'clip': raise OSError(errno.EXDEV, 'another disk')\n"
        "    real(source, final)\n"
        "os.replace = replace\n"
        "def kill(path, *_, **__): os.kill(os.getpid(), 9) if path.name == 'clip' else None\n"
        f"{'shutil.copyfile' if moment == 'while copying' else remove} = kill\n"
        "move(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))\n"
    )
    ran = python("-c", script, str(source), str(final))
    assert ran.returncode == -signal.SIGKILL
    assert (source / within).read_text() == "whole"
    assert final.exists() == (moment == "before the removal")
    assert not final.exists() or (final / within).read_text() == "whole"
