"""The only ways in which a file or folder comes into being: whole under its final name, or not at all."""

from __future__ import annotations

import csv
import errno
import io
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

from kinetics.errors import Fatal

_NO_ROOM = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "the disk quota is used up", errno.EFBIG: "file too large"}


_IN_THE_WAY = {errno.EEXIST: "a file", errno.ENOTDIR: "a file", errno.EISDIR: "a folder"}


@contextmanager
def atomic_write(final: Path, partial: Path | None = None) -> Iterator[Path]:
    """Yield a temporary path; when the block ends well, move what was written there to its final name.

    The temporary file lies in `partial`, else beside the final name, under a name that no other process uses, and is
    gone afterwards whatever happened. It is synced before the move, so that a power cut cannot leave an empty file
    under the final name either. Where a link leads to another file system, which no move can reach, a copy is moved.
    """
    with temporary_file(final, partial or final.parent) as temporary:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        final.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.replace(temporary, final)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            with atomic_write(final) as copy:
                shutil.copyfile(temporary, copy)


@contextmanager
def temporary_file(final: Path, folder: Path) -> Iterator[Path]:
    """Yield a path in a folder, for what is to become `final`; whatever is there in the end is removed."""
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f"{final.name}.{os.getpid()}-{uuid.uuid4().hex[:8]}.part"
    try:
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, pieces: Iterable[str]) -> None:
    """Write a text file, whole or not at all. Raises Fatal where that cannot be."""
    try:
        with atomic_write(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
            file.writelines(pieces)
    except OSError as error:
        raise cannot_write(error, path) from error


@contextmanager
def atomic_folder(final: Path, partial: Path) -> Iterator[Path]:
    """Yield a new folder in `partial`; when the block ends well, move it to its final name. Else it is gone.

    Its files are not synced one by one, which would take longer than to write them: after a power cut, what was made
    last may have to be made again.
    """
    temporary = partial / f"{final.name}.{os.getpid()}-{uuid.uuid4().hex[:8]}.part"
    temporary.mkdir(parents=True)
    try:
        yield temporary
        final.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.rename(final)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            with atomic_folder(final, final.parent) as copy:
                shutil.copytree(temporary, copy, dirs_exist_ok=True)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def cannot_write(error: OSError, path: Path) -> Fatal:
    """What keeps us from writing `path`, or below it, said to the person at the terminal."""
    if error.errno in _NO_ROOM:
        what, remedy = f"to {path}: {_NO_ROOM[error.errno]}", "Make room, or choose another folder with -o,"
    else:
        place = error.filename2 or error.filename or path
        what = f"{place}: {error.strerror or error}"
        remedy = "Mend that, or choose another folder with -o,"
        if error.errno == errno.ENOENT:
            remedy = "If it was moved or removed during the run, put it back, or choose another folder with -o,"
        elif error.errno in _IN_THE_WAY:
            what, remedy = f"{path}: {_IN_THE_WAY[error.errno]} is in the way, {place}", "Move it away,"
    return Fatal(f"Cannot write {what}. {remedy} and run the command again. What is there already is whole.")


def write_csv(path: Path, fields: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table as a CSV file, whole or not at all. Raises Fatal if it cannot be written."""
    write_text(path, _csv_lines(chain([fields], rows)))


def _csv_lines(rows: Iterable[Sequence[object]]) -> Iterator[str]:
    line = io.StringIO()
    writer = csv.writer(line, lineterminator="\n")
    for row in rows:
        writer.writerow(row)
        yield line.getvalue()
        line.seek(0)
        line.truncate()
