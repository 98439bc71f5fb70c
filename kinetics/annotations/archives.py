"""Reads the files in an archive, or a compressed file, into memory.

Nothing is written to disk, and every size is bounded, since an archive may come from anybody.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePath

from kinetics.errors import Fatal
from kinetics.storage.user_files import read_blocks, too_large

MAX_FILE = 1 << 28
"""Maximum size of one annotation file, in bytes; the largest of Kinetics is a JSON file of about 150 MB."""
MAX_ARCHIVE = 1 << 30
"""Maximum size of an archive, in bytes, both as it is stored and decompressed."""
MAX_MEMBERS = 10_000
"""Maximum number of members of an archive; the official ones have fewer than ten."""
ARCHIVE_ERRORS = (
    *(tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError),
    *(EOFError, OSError, ValueError, OverflowError),
    RuntimeError,  # a zip with a password, or compressed in a way that Python does not know
)
DECOMPRESSORS: dict[bytes, Callable[[io.BytesIO], io.BufferedIOBase]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\0": lzma.open,
}
"""The function that opens a compressed file, by the bytes with which the file begins."""
PACKED_SUFFIXES = {".gz", ".bz2", ".xz"}
"""What a compressed file has behind the name of the file in it."""
TAR_SUFFIXES = (".tar", ".tgz", *(f".tar{suffix}" for suffix in PACKED_SUFFIXES))
ZIP_BEGINNINGS = (b"PK\3\4", b"PK\5\6")
"""The first bytes of a zip archive, and of an empty one."""
ZIP_ENTRY = b"PK\1\2"
"""The first bytes of each member's entry in the list of a zip archive."""

Reader = Callable[[], bytes]
"""Returns a file's bytes, or somewhat more than MAX_FILE of them."""


class DamagedArchiveError(Fatal):
    """An archive is damaged, cut short, or not an archive."""


@contextmanager
def archive_errors(path: Path) -> Iterator[None]:
    """Raise DamagedArchiveError for whatever the readers of archives raise."""
    try:
        yield
    except ARCHIVE_ERRORS as error:
        raise DamagedArchiveError(f"{path} is damaged, cut short, or not an archive. Download it again.") from error


def unpack(path: Path, data: bytes) -> tuple[dict[PurePath, Reader], bool]:
    """Return a reader for each file in an archive, by name, and True; for any other file, its own reader, and False.

    A zip archive with a single table stands for that table. Call this and the readers within `archive_errors`. Raises
    Fatal if the data are too large.
    """
    if data.startswith(ZIP_BEGINNINGS):
        inside = _zip_members(data)
        tables = [name for name in inside if plain_name(name).suffix.lower() in {".csv", ".json", ".txt"}]
        return ({tables[0]: inside[tables[0]]}, False) if len(tables) == 1 else (inside, True)
    is_tar = path.name.lower().endswith(TAR_SUFFIXES) or _beginning(data)[257:262] == b"ustar"
    content = decompress(path, data, MAX_ARCHIVE if is_tar else MAX_FILE)
    plain = content.getvalue()
    if is_tar:
        tar = tarfile.open(fileobj=content, mode="r:")  # noqa: SIM115 - it is read from memory: there is nothing to close
        return {name: _member_reader(tar, member) for name, member in regular_members(tar).items()}, True
    return {plain_name(path): lambda: plain}, False


def plain_name(name: PurePath) -> PurePath:
    """Return the name of the file in a compressed file: `val.csv` of `val.csv.gz`."""
    return name.with_suffix("") if name.suffix.lower() in PACKED_SUFFIXES and name.stem else name


def _member_reader(tar: tarfile.TarFile, member: tarfile.TarInfo) -> Reader:
    def read() -> bytes:
        file = tar.extractfile(member)
        return read_blocks(file.read, MAX_FILE) if file else b""

    return read


def _zip_members(data: bytes) -> dict[PurePath, Reader]:
    """Return the readers of the regular files in a zip archive. Raises BadZipFile above MAX_MEMBERS."""
    if data.count(ZIP_ENTRY) > MAX_MEMBERS:  # counted first, because zipfile makes an object of each
        raise zipfile.BadZipFile
    archive = zipfile.ZipFile(io.BytesIO(data))

    def reader(member: zipfile.ZipInfo) -> Reader:
        def read() -> bytes:
            with archive.open(member) as file:
                return read_blocks(file.read, MAX_FILE)

        return read

    inside: dict[PurePath, Reader] = {}
    for member in archive.infolist():
        name, mode = PurePath(member.filename), member.external_attr >> 16
        plain = not member.is_dir() and stat.S_IFMT(mode) in (0, stat.S_IFREG)
        if plain and not name.is_absolute() and ".." not in name.parts and "\0" not in member.filename:
            inside[name] = reader(member)
    return inside


def decompress(name: Path | str, data: bytes, limit: int = MAX_ARCHIVE) -> io.BytesIO:
    """Return a file's uncompressed bytes, read to the end so that the checksum behind the last one is verified.

    Raises Fatal above the limit: tarfile has none, and a few well-packed megabytes would fill the memory.
    """
    with _opened(data) as content:
        data = read_blocks(content.read, limit)
    if len(data) > limit:
        raise too_large(str(name), limit)
    return io.BytesIO(data)


def _beginning(data: bytes) -> bytes:
    """Return a tar header's length of a file's uncompressed bytes, or fewer."""
    with _opened(data) as content:
        return content.read(512)


def _opened(data: bytes) -> io.BufferedIOBase:
    """Return a file of the uncompressed bytes."""
    for magic, opener in DECOMPRESSORS.items():
        if data.startswith(magic):
            return opener(io.BytesIO(data))
    return io.BytesIO(data)


def regular_members(tar: tarfile.TarFile) -> dict[PurePath, tarfile.TarInfo]:
    """Return the regular files of an archive whose names stay inside its folder. Raises ReadError above MAX_MEMBERS.

    Links and devices are not annotations, and tarfile's data filter refuses names that lead out of the folder.
    """
    # Python 3.11.0 to 3.11.3 lack the filter. It is safe without: a name only chooses what is read into memory.
    data_filter = getattr(tarfile, "data_filter", lambda member, _: member)
    inside: dict[PurePath, tarfile.TarInfo] = {}
    for number, member in enumerate(tar):
        if number == MAX_MEMBERS:  # a negative size makes tarfile read the same members again without end
            raise tarfile.ReadError
        if member.isreg():
            with suppress(tarfile.TarError):
                inside[PurePath(data_filter(member, "/archive").name)] = member
    return inside
