"""Atomic writes: a file or folder appears under its final name when it is complete, or not at all."""

from __future__ import annotations

import csv
import errno
import filecmp
import io
import os
import shutil
import stat
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, count
from pathlib import Path

from kinetics.errors import Fatal

_DISK_FULL = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "file too large",
}
_KINDS = {stat.S_IFREG: "a file", stat.S_IFDIR: "a folder", stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket"}
_WRONG_KIND = {*(errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENOENT, errno.ELOOP, errno.ENXIO)}
"""What a call says if something of another kind stands at a name, or a link that leads nowhere."""
COPY_BLOCK = 1 << 20
"""Bytes of a file that are copied at a time."""


@contextmanager
def atomic_write(final: Path, partial: Path | None = None, *, keep_old: bool = False) -> Iterator[Path]:
    """Yield a temporary path; when the block ends without an error, move the file there to its final name.

    The temporary file is in `partial`, else beside the final name, and it is removed in any case. It is synced before
    the move, so that a power cut cannot leave an empty file under the final name. With `keep_old`, the file that it
    replaces is kept as `<name>.old`, or `.old-2` and so on. Until the new file is there, the old one is.
    """
    with temporary_path(final, partial or final.parent) as temporary:
        yield temporary
        _sync(temporary)
        if keep_old:
            _keep(final, temporary.parent)
        move(temporary, final)


@contextmanager
def atomic_folder(final: Path, partial: Path) -> Iterator[Path]:
    """Yield a new folder in `partial`; when the block ends without an error, move it to its final name, else remove it.

    Its files are not synced, which would take longer than writing them: after a power cut, the last folders may have to
    be made again.
    """
    with temporary_path(final, partial) as temporary:
        temporary.mkdir()
        yield temporary
        move(temporary, final)


@contextmanager
def temporary_path(final: Path, folder: Path) -> Iterator[Path]:
    """Yield a path in a folder for the file or folder that is to become `final`; remove what is there in the end.

    No other process uses the same name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f"{final.name}.{os.getpid()}-{uuid.uuid4().hex[:8]}.part"
    try:
        yield temporary
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            temporary.unlink(missing_ok=True)


def move(source: Path, final: Path) -> None:
    """Move a file or a folder to its final name, where it appears whole.

    If the final name is on another file system (behind a link), it is first copied there; a crash then may leave it at
    both names. Raises FileNotFoundError if there is none.
    """
    try:
        _rename(source, final)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        with temporary_path(final, final.parent) as copy:
            if source.is_dir():
                shutil.copytree(source, copy)
            else:
                shutil.copyfile(source, copy)
                _sync(copy)
            _rename(copy, final)
        discard(source, source.parent)


def _rename(source: Path, final: Path) -> None:
    final.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.replace(source, final)
    except FileNotFoundError:  # a run on another shard has just removed the folder, as it was empty
        final.parent.mkdir(parents=True, exist_ok=True)
        os.replace(source, final)


def _sync(path: Path) -> None:
    with open(path, "rb+") as file:
        os.fsync(file.fileno())


def _keep(path: Path, partial: Path) -> None:
    """Give a file a second name, `<name>.old`, or `.old-2` and so on if that is another file; it keeps its own.

    A run that was killed before it replaced the file may have done so already.
    """
    for number in count(1):
        old = path.with_name(f"{path.name}.old" + (f"-{number}" if number > 1 else ""))
        if not old.exists():
            break
        if filecmp.cmp(old, path, shallow=False):
            return
    if not link_or_copy(path, old, partial):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))


def write_text(path: Path, chunks: Iterable[str]) -> None:
    """Write a text file atomically. Raises Fatal if it cannot be written."""
    try:
        with atomic_write(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
            file.writelines(chunks)
    except OSError as error:
        raise cannot_write(error, path) from error


def link_or_copy(source: Path, target: Path, partial: Path) -> bool:
    """Link a file, or copy it if it cannot be linked; return False if it was removed meanwhile."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source.resolve() if source.is_symlink() else source, target)
    except FileNotFoundError:
        return False
    except OSError:
        with atomic_write(target, partial) as temporary:
            shutil.copyfile(source, temporary)
    return True


def copy_part(source: Path, offset: int, size: int, target: Path) -> None:
    """Copy `size` bytes of a file, from `offset` on, into a new one. Raises OSError if the file has fewer."""
    with open(source, "rb") as whole, open(target, "wb") as part:
        whole.seek(offset)
        while size and (block := whole.read(min(size, COPY_BLOCK))):
            size -= part.write(block)
    if size:
        raise _too_short(source)


def read_part(source: Path, offset: int, size: int) -> bytes:
    """Return `size` bytes of a file, from `offset` on. Raises OSError if the file has fewer."""
    with open(source, "rb") as whole:
        whole.seek(offset)
        content = whole.read(size)
    if len(content) < size:
        raise _too_short(source)
    return content


def _too_short(source: Path) -> OSError:
    return OSError(errno.EIO, "it is shorter than the index of its folder says", str(source))


def discard(path: Path, partial: Path) -> None:
    """Remove a file or a folder, if it is there; at no moment is a part of it under its name.

    A folder is first moved to `partial`, or, if that is on another file system, to a hidden name beside it.
    """
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
        return
    partial.mkdir(parents=True, exist_ok=True)
    hidden = f".{path.name}.{os.getpid()}-{uuid.uuid4().hex[:8]}.part"
    try:
        temporary = path.rename(partial / hidden)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        temporary = path.rename(path.with_name(hidden))
    shutil.rmtree(temporary)


def remove_empty_folders(folder: Path) -> None:
    """Remove the empty folders in a folder, then the folder itself if it is empty; what is a link is left.

    Readers take every folder for a class, and some refuse one without clips.
    """
    for path in [*folder.iterdir(), folder] if folder.is_dir() else ():
        try:
            path.rmdir()
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR, errno.ENOENT, errno.EBUSY):
                raise


def remove_emptied(folders: Iterable[Path], within: Path) -> None:
    """Remove the folders from which all clips were moved, and those around them, up to `within`, if they are empty."""
    for folder in folders:
        for one in chain([folder], folder.parents):
            try:
                if not one.is_relative_to(within) or one == within or one.is_symlink():
                    break
                one.rmdir()
            except OSError:
                break


def obstacle(path: Path, *, folder: bool) -> str:
    """Return what stands where a folder, or a file, is to be, or on the way there; empty if nothing does."""
    for place in (*reversed(path.parents), path):
        wanted = stat.S_IFREG if place == path and not folder else stat.S_IFDIR
        try:
            kind = stat.S_IFMT(place.stat().st_mode)
        except OSError as error:
            if not place.is_symlink():
                return ""  # it is not there, or nobody may look
            if error.errno == errno.ELOOP:
                return f"{place} is a link that leads in a circle"
            return f"{place} is a link to {place.readlink()}, which is not there (is its disk mounted?)"
        if kind != wanted:
            return f"{place} is {_KINDS.get(kind, 'a device')}, not {_KINDS[wanted]}"
    return ""


def _cause(error: OSError, path: Path) -> str:
    """Return what stands in the way of the path in the error, or of the other one, if the error may mean that."""
    if error.errno not in _WRONG_KIND:
        return ""
    wants_folder, blocked = error.errno in (errno.EEXIST, errno.ENOTDIR), error.filename2 or error.filename
    in_the_way = obstacle(Path(blocked), folder=wants_folder) if blocked else ""
    return in_the_way or obstacle(path, folder=os.path.isdir(path))  # noqa: PTH112 - never raises


def require_plain(path: Path) -> None:
    """Raise Fatal if there is something else than a file where a table is to be: opening a pipe would wait for ever."""
    if in_the_way := obstacle(path, folder=False):
        raise Fatal(f"Cannot write {path}: {in_the_way}. Move that away, and run the command again.")


def cannot_write(error: OSError, path: Path) -> Fatal:
    """Return the Fatal that says why `path`, or a file below it, cannot be written, and what to do."""
    if error.errno in _DISK_FULL:
        what, remedy = f"to {path}: {_DISK_FULL[error.errno]}", "Free some space, or choose another folder with -o,"
    else:
        blocked = error.filename2 or error.filename or path
        what = f"{blocked}: {error.strerror or error}"
        remedy = "Fix that, or choose another folder with -o,"
        if in_the_way := _cause(error, path):
            what, remedy = f"{path}: {in_the_way}", "Move that away,"
        elif error.errno == errno.ENOENT:
            remedy = "If it was moved or removed during the run, put it back, or choose another folder with -o,"
    return Fatal(f"Cannot write {what}. {remedy} and run the command again. The files written so far are complete.")


def cannot_read(error: OSError, path: Path) -> Fatal:
    """Return the Fatal that says why this machine cannot read a file."""
    return Fatal(f"Cannot read {path}: {error.strerror or error}. Fix that and run the command again.")


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
