"""The CVDF mirror of trimmed clips: which archives a subset has, what is known of each, and which of them are needed.

What an archive holds is known once it has been read, and kept in the user's cache folder, a small file for each: the
next run asks only for those that hold something it lacks.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import zlib
from collections.abc import Callable, Collection, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from multiprocessing.pool import ThreadPool
from pathlib import Path, PurePosixPath
from threading import Event
from urllib.parse import unquote

import platformdirs

from kinetics.errors import ClipError, Fatal, StopEveryone
from kinetics.mirror.tar_stream import CLIPS_LIMIT
from kinetics.net.http import FILES_AT_ONCE, HttpSession, size_and_tag
from kinetics.net.stream import HttpStream
from kinetics.records import SPLIT_OF, ArchiveListing, ArchiveRequest, Subset
from kinetics.storage.atomic import atomic_write

BASE = "https://s3.amazonaws.com/kinetics/"
FOLDERS = {"400": "400", "600": "600", "700": "700_2020", "700-2020": "700_2020"}
"""Of each version; 700's clips are among those of 700-2020, with the same ids and times."""
REPLACEMENTS = {"400": (f"{BASE}400/replacement_for_corrupted_k400.tgz",)}
"""Archives of clips that are corrupt in those of the lists."""
UNLISTED = frozenset(url for urls in REPLACEMENTS.values() for url in urls)
"""Nobody says that these are there, so it is no loss if they are not."""
LIST_LIMIT = 1 << 20
"""Bytes of a list; the longest of the mirror's has some hundred lines."""
INDEX_LIMIT = CLIPS_LIMIT * 40
UNFIT = "!"
"""Before the names of clips that were found unfit."""


class ArchiveIndex:
    """What is known of each archive. One process writes at a time; what is damaged is as if it was never known."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder or _cache() / "index"

    def find(self, url: str) -> ArchiveListing | None:
        with suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
            path = self._path(url)
            if path.stat().st_size <= INDEX_LIMIT:
                return _read(url, path.read_text("ascii"))
        return None

    def keep(self, url: str, contents: ArchiveListing) -> None:
        """Add this to what is known of the archive in that state. Raises Fatal where it cannot be written."""
        before = self.find(url)
        if before and (before.size, before.etag) == (contents.size, contents.etag):
            contents = replace(
                contents,
                names=before.names | contents.names,
                unfit=before.unfit | contents.unfit,
                exhausted=before.exhausted or contents.exhausted,
            )
        about = {"url": url, "size": contents.size, "etag": contents.etag, "exhausted": contents.exhausted}
        names = (f"{UNFIT if name in contents.unfit else ''}{name}" for name in sorted(contents.names | contents.unfit))
        text = "\n".join([json.dumps(about), *names])
        _write(self._path(url), f"{_checksum(text)}\n{text}")

    def _path(self, url: str) -> Path:
        """Not by the archive's own name, which is the mirror's to choose."""
        return self._folder / f"{hashlib.sha256(url.encode()).hexdigest()[:32]}.txt"


def archives(line: HttpSession, version: str, subset: Subset) -> list[str]:
    """The addresses of a subset's archives, in the order in which to ask for them.

    Their list is fetched once and kept. Raises Fatal where it cannot be had.
    """
    folder, split = FOLDERS[version], SPLIT_OF[subset]
    url = f"{BASE}{folder}/{split}/k{folder}_{split}_path.txt"
    kept = _cache() / url.rpartition("/")[2]
    listed = list[str]()
    with suppress(OSError):
        listed = _listed(kept.read_text("utf-8", errors="replace"))
    if not listed:
        listed = _listed(_fetched(line, url))
        if not listed:
            raise Fatal(f"{url} lists no archives. Use --source youtube, until the mirror has some again.")
        _write(kept, "".join(f"{one}\n" for one in listed))
    return [*REPLACEMENTS.get(version, ()), *listed]


@dataclass(frozen=True, slots=True)
class Labels:
    """The classes of the clips that are missing, and all that there are: some archives are named after their class."""

    missing: Collection[str] = ()
    known: Collection[str] = ()

    def spared(self, urls: Sequence[str]) -> set[str]:
        """The archives that by their names hold none of the missing clips."""
        class_in = {url: _squeezed(class_of(url)) for url in urls}
        missing, known = {*map(_squeezed, self.missing)} - {""}, {*map(_squeezed, self.known)}
        if missing and missing <= {*class_in.values()}:
            return {url for url, name in class_in.items() if name not in missing}
        return {url for url, name in class_in.items() if name in known - missing}


def needed(
    urls: Sequence[str],
    find: Callable[[str], ArchiveListing | None],
    missing: Collection[str],
    labels: Labels = Labels(),
) -> list[ArchiveRequest]:
    """The archives that hold missing clips, in order, and behind them those that may, if these do not hold them all.

    `missing` has the names of clips' files.
    """
    left, spared = set(missing), labels.spared(urls)
    sure, perhaps = list[ArchiveRequest](), list[ArchiveRequest]()
    for url in urls:
        contents = find(url) or ArchiveListing(0)
        held = left & (contents.names - contents.unfit)
        if held:
            sure.append(ArchiveRequest(url, frozenset(held), contents.exhausted, contents.unfit))
            left -= held
        elif not contents.exhausted and url not in spared:
            perhaps.append(ArchiveRequest(url, unfit=contents.unfit))
    return [*sure, *(perhaps if left else ())]


def class_of(url: str) -> str:
    """The class whose clips an archive holds, if its name is one, as Kinetics-600's are."""
    return PurePosixPath(unquote(url)).name.partition(".")[0]


def sizes_of(line: HttpSession, index: ArchiveIndex, urls: Sequence[str]) -> list[int | None]:
    """How many bytes each of these archives has, if the mirror says so.

    It is asked for those of which nothing is known, and the answers are kept. Once it refuses everybody, or there is no
    line to it, it is not asked for any more.
    """
    refused = Event()

    def size(url: str) -> int | None:
        if contents := index.find(url):
            return contents.size
        if refused.is_set():
            return None
        try:
            contents = ArchiveListing(*size_and_tag(line, url))
        except ClipError as error:
            if isinstance(error, StopEveryone):
                refused.set()
            return None
        index.keep(url, contents)
        return contents.size

    with ThreadPool(FILES_AT_ONCE) as asking:  # unlike executors, it does not wait for answers when it is interrupted
        return [*asking.imap(size, urls)]


def _cache() -> Path:
    return platformdirs.user_cache_path("kinetics-downloader") / "mirror"


def _read(url: str, content: str) -> ArchiveListing:
    """Raises ValueError, KeyError or TypeError where this is not what was kept of that archive."""
    checksum, _, text = content.partition("\n")
    first, *lines = text.split("\n")
    about = json.loads(first)
    if checksum != _checksum(text) or about["url"] != url:
        raise ValueError
    unfit = frozenset(line.removeprefix(UNFIT) for line in lines if line.startswith(UNFIT))
    names = frozenset(line.removeprefix(UNFIT) for line in lines)
    return ArchiveListing(about["size"], about["etag"], names, unfit, about["exhausted"])


def _checksum(text: str) -> str:
    return f"{zlib.crc32(text.encode()):08x}"


def _fetched(line: HttpSession, url: str) -> str:
    try:
        with closing(HttpStream(line, url)) as stream, io.BufferedReader(stream) as file:
            return file.read(LIST_LIMIT).decode("utf-8", errors="replace")
    except ClipError as error:
        raise Fatal(
            f"Cannot fetch the mirror's list of archives from {url}: {error}. Try again later, or use --source youtube."
        ) from error


def _listed(text: str) -> list[str]:
    """The addresses in a list, if they are the mirror's; they may have spaces."""
    lines = dict.fromkeys(line.strip() for line in text.splitlines())
    return [line for line in lines if line.startswith(BASE) and line.isprintable()]


def _squeezed(label: str) -> str:
    return re.sub(r"[\W_]+", "", label.lower())


def _write(path: Path, text: str) -> None:
    try:
        with atomic_write(path) as temporary:
            temporary.write_text(text, "utf-8")
    except OSError as error:
        what = f"Cannot write {path}: {error.strerror or error}"
        raise Fatal(f"{what}. Mend that, or choose another cache folder (XDG_CACHE_HOME).") from error
