"""Atomic writes: a file or folder appears under its final name when it is complete, or not at all."""

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

_DISK_FULL = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "file too large",
}
_IN_THE_WAY = {errno.EEXIST: "a file", errno.ENOTDIR: "a file", errno.EISDIR: "a folder"}


@contextmanager
def atomic_write(final: Path, partial: Path | None = None) -> Iterator[Path]:
    """Yield a temporary path; when the block ends without an error, move the file there to its final name.

    The temporary file is in `partial`, else beside the final name, under a name that no other process uses, and it is
    removed in any case. It is synced before the move, so that a power cut cannot leave an empty file under the final
    name. If the final name is on another file system (behind a link), the file is first copied there.
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
    """Yield a path in a folder for the file that is to become `final`; remove what is still there in the end."""
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f"{final.name}.{os.getpid()}-{uuid.uuid4().hex[:8]}.part"
    try:
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, chunks: Iterable[str]) -> None:
    """Write a text file atomically. Raises Fatal if it cannot be written."""
    try:
        with atomic_write(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
            file.writelines(chunks)
    except OSError as error:
        raise cannot_write(error, path) from error


@contextmanager
def atomic_folder(final: Path, partial: Path) -> Iterator[Path]:
    """Yield a new folder in `partial`; when the block ends without an error, move it to its final name, else remove it.

    Its files are not synced, which would take longer than writing them: after a power cut, the last folders may have to
    be made again.
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
    """Return the Fatal that says why `path`, or a file below it, cannot be written, and what to do."""
    if error.errno in _DISK_FULL:
        what, remedy = f"to {path}: {_DISK_FULL[error.errno]}", "Free some space, or choose another folder with -o,"
    else:
        blocked = error.filename2 or error.filename or path
        what = f"{blocked}: {error.strerror or error}"
        remedy = "Fix that, or choose another folder with -o,"
        if error.errno == errno.ENOENT:
            remedy = "If it was moved or removed during the run, put it back, or choose another folder with -o,"
        elif error.errno in _IN_THE_WAY:
            what, remedy = f"{path}: {_IN_THE_WAY[error.errno]} is in the way, {blocked}", "Move it away,"
    return Fatal(f"Cannot write {what}. {remedy} and run the command again. The files written so far are complete.")


def write_csv(path: Path, fields: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table as a CSV file, atomically. Raises Fatal if it cannot be written."""
    write_text(path, _csv_lines(chain([fields], rows)))


def _csv_lines(rows: Iterable[Sequence[object]]) -> Iterator[str]:
    line = io.StringIO()
    writer = csv.writer(line, lineterminator="\n")
    for row in rows:
        writer.writerow(row)
        yield line.getvalue()
        line.seek(0)
        line.truncate()
