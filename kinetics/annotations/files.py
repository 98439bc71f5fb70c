"""Finds the annotation file of each subset: a named file, one in a folder, or a member of an archive.

Nothing that an archive holds is written to disk, and every size is bounded, since the file may come from anybody.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import re
import tarfile
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePath

from kinetics.errors import Fatal
from kinetics.humanize import quoted
from kinetics.records import Subset

SUBSET_WORDS: dict[str, Subset] = {
    "train": "train",
    "training": "train",
    "val": "validate",
    "validate": "validate",
    "validation": "validate",
    "test": "test",
    "testing": "test",
}
"""The words of a file name, or of a cell of the split column, that name a subset."""
MAX_FILE = 1 << 28
"""Maximum size of one annotation file, in bytes; the largest of Kinetics is a JSON file of about 150 MB."""
MAX_ARCHIVE = 1 << 30
"""Maximum size of an archive, in bytes, both as it is stored and decompressed."""
MAX_MEMBERS = 10_000
"""Maximum number of members of an archive; the official ones have fewer than ten."""
ARCHIVE_ERRORS = (tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, OSError, ValueError, OverflowError)
DECOMPRESSORS: dict[bytes, Callable[[io.BytesIO], io.BufferedIOBase]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\0": lzma.open,
}
"""The function that opens a compressed file, by the bytes with which the file begins."""


@dataclass(frozen=True, slots=True)
class AnnotationFile:
    """One annotation file: its name in messages, its path (inside an archive, the member's), and its bytes."""

    name: str
    path: PurePath
    data: bytes


class DamagedArchiveError(Fatal):
    """An archive is damaged, cut short, or not an archive."""


def find_files(path: Path, wanted: Sequence[Subset]) -> dict[Subset | None, AnnotationFile]:
    """Return the file of each wanted subset, or under None a single file for all, whose rows name their subsets.

    Raises Fatal if there is no such file or it is too large, OSError if it cannot be read.
    """
    if path.is_dir():
        # One level down as well, because the official archive unpacks into a folder of its own.
        inside: dict[PurePath, Path] = {file.relative_to(path): file for file in [*path.iterdir(), *path.glob("*/*")]}
        chosen = _choose((name for name, file in inside.items() if file.is_file()), wanted, path)
        return {
            subset: AnnotationFile(f"{quoted(name)} in {path}", name, read_limited(inside[name], MAX_FILE))
            for subset, name in chosen.items()
        }
    data = read_limited(path, MAX_ARCHIVE)
    if _is_archive(path, data):
        return _unpack(path, data, wanted)
    if len(data) > MAX_FILE:
        raise too_large(str(path), MAX_FILE)
    return {wanted[0] if len(wanted) == 1 else None: AnnotationFile(str(path), path, data)}


def _choose(names: Iterable[PurePath], wanted: Sequence[Subset], source: Path) -> dict[Subset, PurePath]:
    """Return the best file for each subset by its name: the least deep, then the official name, then CSV before JSON.

    JSON comes last because it is keyed by video, and so holds only one segment of each. Raises Fatal if `source` has no
    file, or several that are equally good.
    """
    ranked: dict[Subset, dict[tuple[int, bool, bool], list[PurePath]]] = defaultdict(lambda: defaultdict(list))
    for name in names:
        subset, suffix = subset_in(name.stem), name.suffix.lower()
        hidden = any(part.startswith(".") for part in name.parts)  # macOS puts `._train.csv` beside `train.csv`
        if subset and subset in wanted and suffix in {".csv", ".json"} and not hidden:
            ranked[subset][len(name.parts), name.stem.lower() != subset, suffix != ".csv"].append(name)
    if not ranked:
        raise Fatal(f"{source} holds no CSV or JSON for {' or '.join(wanted)}. Name the file: --annotations FILE")
    best = {subset: sorted(ranked[subset][min(ranked[subset])]) for subset in wanted if subset in ranked}
    for subset, rivals in best.items():
        if len(rivals) > 1:
            listed = ", ".join(map(quoted, rivals[:10]))
            raise Fatal(f"{source} holds {len(rivals)} files for {subset}: {listed}. Name one: --annotations FILE")
    return {subset: rivals[0] for subset, rivals in best.items()}


def subset_in(text: str) -> Subset | None:
    """Return the subset that a file name or a split cell names, like `k400_val`; None unless it names exactly one."""
    found = {SUBSET_WORDS[word] for word in re.split(r"[\W_]+", text.lower()) if word in SUBSET_WORDS}
    return found.pop() if len(found) == 1 else None


def read_limited(path: Path, limit: int) -> bytes:
    """Read a file of at most `limit` bytes. Raises Fatal if it is larger, OSError if it cannot be read."""
    with open(path, "rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise too_large(str(path), limit)
    return data


def too_large(name: str, limit: int) -> Fatal:
    """Return the error for a file of more than `limit` bytes."""
    return Fatal(f"{name} has more than {limit >> 20} MiB, too much for annotations. Name another file.")


def _is_archive(path: Path, data: bytes) -> bool:
    named = path.suffix.lower() in {".tar", ".gz", ".tgz"}
    return named or data.startswith((*DECOMPRESSORS,)) or data[257:262] == b"ustar"


def _unpack(path: Path, data: bytes, wanted: Sequence[Subset]) -> dict[Subset | None, AnnotationFile]:
    """Read the wanted members of an archive into memory. Raises Fatal if one is missing or too large."""
    files: dict[Subset | None, AnnotationFile] = {}
    try:
        with tarfile.open(fileobj=decompress(path, data), mode="r:") as tar:
            inside = regular_members(tar)
            for subset, name in _choose(inside, wanted, path).items():
                shown = f"{quoted(name)} in {path}"
                member = tar.extractfile(inside[name]) if inside[name].size <= MAX_FILE else None
                if member is None:
                    raise too_large(shown, MAX_FILE)
                files[subset] = AnnotationFile(shown, name, member.read())
    except ARCHIVE_ERRORS as error:
        raise DamagedArchiveError(f"{path} is damaged, cut short, or not a tar archive. Download it again.") from error
    return files


def decompress(path: Path, data: bytes) -> io.BytesIO:
    """Return an archive's uncompressed bytes, read to the end so that the checksum behind the last one is verified.

    Raises Fatal above MAX_ARCHIVE: tarfile has no limit, and a few well-packed megabytes would fill the memory.
    """
    unpack = next((unpack for magic, unpack in DECOMPRESSORS.items() if data.startswith(magic)), None)
    if unpack is not None:
        with unpack(io.BytesIO(data)) as packed:
            data = packed.read(MAX_ARCHIVE + 1)
    if len(data) > MAX_ARCHIVE:
        raise too_large(str(path), MAX_ARCHIVE)
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
