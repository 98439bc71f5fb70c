"""Finds the annotation file of each subset: a file that is named, one in a folder, or a member of an archive."""

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
MAX_FILE = 1 << 28
"""Bytes of one file; the largest of Kinetics has about 150 MB, as JSON."""
MAX_ARCHIVE = 1 << 30
MAX_MEMBERS = 10_000
BROKEN_ARCHIVE = (tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, OSError, ValueError, OverflowError)
DECOMPRESSORS: dict[bytes, Callable[[io.BytesIO], io.BufferedIOBase]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\0": lzma.open,
}
"""By the bytes with which a compressed file begins."""


@dataclass(frozen=True, slots=True)
class AnnotationFile:
    """One annotation file: how to name it to a person, its path, and what is in it."""

    name: str
    path: PurePath
    data: bytes


class DamagedArchiveError(Fatal):
    """An archive cannot be read to its end."""


def find_files(path: Path, wanted: Sequence[Subset]) -> dict[Subset | None, AnnotationFile]:
    """The file of each wanted subset; under None a single file for all, whose rows say where they belong."""
    if path.is_dir():
        # One level down as well: that is where the official archive unpacks to.
        inside: dict[PurePath, Path] = {file.relative_to(path): file for file in [*path.iterdir(), *path.glob("*/*")]}
        chosen = _choose((name for name, file in inside.items() if file.is_file()), wanted, path)
        return {
            part: AnnotationFile(f"{quoted(name)} in {path}", name, read_limited(inside[name], MAX_FILE))
            for part, name in chosen.items()
        }
    data = read_limited(path, MAX_ARCHIVE)
    if _is_archive(path, data):
        return _unpack(path, data, wanted)
    if len(data) > MAX_FILE:
        raise too_large(str(path), MAX_FILE)
    return {wanted[0] if len(wanted) == 1 else None: AnnotationFile(str(path), path, data)}


def _choose(names: Iterable[PurePath], wanted: Sequence[Subset], where: Path) -> dict[Subset, PurePath]:
    """The best file for each subset, by its name: the least deep, then the official name, then CSV before JSON.

    JSON comes last because it is keyed by video, and so holds only one segment of each.
    """
    ranked: dict[Subset, dict[tuple[int, bool, bool], list[PurePath]]] = defaultdict(lambda: defaultdict(list))
    for name in names:
        part, kind = subset_in(name.stem), name.suffix.lower()
        hidden = any(step.startswith(".") for step in name.parts)  # macOS puts `._train.csv` beside `train.csv`
        if part and part in wanted and kind in {".csv", ".json"} and not hidden:
            ranked[part][len(name.parts), name.stem.lower() != part, kind != ".csv"].append(name)
    if not ranked:
        raise Fatal(f"{where} holds no CSV or JSON for {' or '.join(wanted)}. Name the file: --annotations FILE")
    best = {part: sorted(ranked[part][min(ranked[part])]) for part in wanted if part in ranked}
    for part, rivals in best.items():
        if len(rivals) > 1:
            listed = ", ".join(map(quoted, rivals[:10]))
            raise Fatal(f"{where} holds {len(rivals)} files for {part}: {listed}. Name one: --annotations FILE")
    return {part: rivals[0] for part, rivals in best.items()}


def subset_in(text: str) -> Subset | None:
    """The one subset that a file name or a cell of the split column names, like `k400_val` or `holdout_test`."""
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
    """Return the error about a file that is larger than `limit` bytes."""
    return Fatal(f"{name} has more than {limit >> 20} MiB, too much for annotations. Name another file.")


def _is_archive(path: Path, data: bytes) -> bool:
    named = path.suffix.lower() in {".tar", ".gz", ".tgz"}
    return named or data.startswith((*DECOMPRESSORS,)) or data[257:262] == b"ustar"


def _unpack(path: Path, data: bytes, wanted: Sequence[Subset]) -> dict[Subset | None, AnnotationFile]:
    """Read the wanted members into memory: nothing that an archive holds is ever written to disk."""
    files: dict[Subset | None, AnnotationFile] = {}
    try:
        with tarfile.open(fileobj=decompressed(path, data), mode="r:") as tar:
            inside = regular_members(tar)
            for part, name in _choose(inside, wanted, path).items():
                shown = f"{quoted(name)} in {path}"
                member = tar.extractfile(inside[name]) if inside[name].size <= MAX_FILE else None
                if member is None:
                    raise too_large(shown, MAX_FILE)
                files[part] = AnnotationFile(shown, name, member.read())
    except BROKEN_ARCHIVE as error:
        raise DamagedArchiveError(f"{path} is damaged, cut short, or no tar archive. Get it again.") from error
    return files


def decompressed(path: Path, data: bytes) -> io.BytesIO:
    """An archive's own bytes, all of them: the check sum stands behind the last one.

    They are counted here, since tarfile would let a few megabytes that are packed well enough fill the memory.
    """
    unpack = next((unpack for magic, unpack in DECOMPRESSORS.items() if data.startswith(magic)), None)
    if unpack is not None:
        with unpack(io.BytesIO(data)) as packed:
            data = packed.read(MAX_ARCHIVE + 1)
    if len(data) > MAX_ARCHIVE:
        raise too_large(str(path), MAX_ARCHIVE)
    return io.BytesIO(data)


def regular_members(tar: tarfile.TarFile) -> dict[PurePath, tarfile.TarInfo]:
    """The regular files inside an archive's own folder.

    Links and devices are no annotations, and tarfile's data filter refuses names that lead out of the folder.
    """
    # Python 3.11.0 to 3.11.3 lack the filter, and can do without: a name only picks what is read into memory.
    data_filter = getattr(tarfile, "data_filter", lambda member, _: member)
    inside: dict[PurePath, tarfile.TarInfo] = {}
    for number, member in enumerate(tar):
        if number == MAX_MEMBERS:  # also where a negative size leads tarfile round and round
            raise tarfile.ReadError
        if member.isreg():
            with suppress(tarfile.TarError):
                inside[PurePath(data_filter(member, "/archive").name)] = member
    return inside
