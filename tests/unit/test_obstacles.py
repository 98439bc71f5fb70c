"""What stands in the way of a folder or a table is named as what it is, and nothing is made behind a link."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from kinetics.errors import Fatal
from kinetics.storage.atomic import atomic_write, cannot_write
from kinetics.storage.layout import Layout, check_folder
from kinetics.storage.ledger import Ledger


def a_socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # the path of a socket is short
    socket.socket(socket.AF_UNIX).bind(path.name)
    os.chdir(here)


STANDS: dict[str, tuple[Callable[[Path], object], str]] = {
    "a file": (Path.touch, "is a file"),
    "a named pipe": (os.mkfifo, "is a named pipe"),
    "a socket": (a_socket, "is a socket"),
    "a device": (lambda path: path.symlink_to("/dev/null"), "is a device"),
    "a link to a disk that is not mounted": (
        lambda path: path.symlink_to("/nowhere/disk"),
        r"is a link to /nowhere/disk, which is not there \(is its disk mounted\?\)",
    ),
    "a link in a circle": (lambda path: path.symlink_to(path), "is a link that leads in a circle"),
}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
@pytest.mark.parametrize("below", ["", "x", "x/y"])
@pytest.mark.parametrize(("make", "words"), STANDS.values(), ids=STANDS)
def test_what_stands_in_the_way_of_a_folder_is_named(
    tmp_path: Path, make: Callable[[Path], object], words: str, below: str
) -> None:
    make(tmp_path / "here")
    with pytest.raises(Fatal, match=f"{tmp_path}/here {words}"):
        check_folder(tmp_path / "here" / below)
    target = tmp_path / "here" / below / "file"
    with pytest.raises(OSError) as caught, atomic_write(target) as temporary:
        temporary.touch()
    assert f"/here {words[:8]}" in str(cannot_write(caught.value, target))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
@pytest.mark.parametrize("table", ["errors_log", "stats"])
@pytest.mark.parametrize(("make", "words"), [*STANDS.values(), (Path.mkdir, "is a folder")], ids=[*STANDS, "a folder"])
def test_what_stands_in_the_way_of_a_table_is_named_and_not_waited_for(
    tmp_path: Path, make: Callable[[Path], object], words: str, table: str
) -> None:
    layout = Layout(tmp_path, "700")
    path: Path = getattr(layout, table)("train")
    if words == "is a file":
        return
    make(path)
    with pytest.raises(Fatal, match=f"Cannot write {path}: {path} {words}"):
        Ledger(layout, "train")


def test_a_file_that_was_removed_is_not_called_an_obstacle(tmp_path: Path) -> None:
    (tmp_path / "there").touch()
    error = FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(tmp_path / "gone"))
    assert "No such file" in str(cannot_write(error, tmp_path / "there"))


def test_the_data_sets_folder_is_not_said_to_be_in_its_own_way(tmp_path: Path) -> None:
    """As if somebody should move the clips away since a device is gone."""
    said = str(cannot_write(OSError(errno.ENXIO, os.strerror(errno.ENXIO)), tmp_path))
    assert said.startswith(f"Cannot write {tmp_path}: No such device or address. Fix that, or choose another folder")
