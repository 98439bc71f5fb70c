"""What is known of the CVDF mirror: which archives a subset has, what each of them holds, and which ones to read.

The content of an archive is known once the archive has been read, and is kept in the user's cache folder, in a small
file for each archive: the next run reads only the archives that hold a clip it lacks.
"""

from __future__ import annotations

import hashlib
import io
import json
import zlib
from collections.abc import Callable, Collection, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from multiprocessing.pool import ThreadPool
from pathlib import Path, PurePosixPath
from queue import Empty, SimpleQueue
from threading import Event, Thread
from urllib.parse import unquote

import platformdirs

from kinetics.errors import ClipError, Fatal, StopEveryone
from kinetics.humanize import letters_and_digits
from kinetics.mirror.tar_stream import MAX_CLIPS
from kinetics.net.http import FILES_AT_ONCE, HttpSession
from kinetics.net.responses import size_and_tag
from kinetics.net.stream import HttpStream
from kinetics.records import SPLIT_OF, ArchiveListing, ArchiveRequest, Subset
from kinetics.storage.atomic import atomic_write

BASE_URL = "https://s3.amazonaws.com/kinetics/"
FOLDERS = {"400": "400", "600": "600", "700": "700_2020", "700-2020": "700_2020"}
"""The mirror's folder for each version. The clips of 700 are among those of 700-2020, with the same ids and times."""
REPLACEMENT_ARCHIVES = {"400": (f"{BASE_URL}400/replacement_for_corrupted_k400.tgz",)}
"""By version, archives with sound copies of clips that are corrupt in the listed archives. They are read first."""
UNLISTED_ARCHIVES = frozenset(url for urls in REPLACEMENT_ARCHIVES.values() for url in urls)
"""Archives that no list names. If one cannot be read, that is not reported: it may not exist."""
ANSWER_S = 5.0
"""Seconds that the mirror has to answer where the run has YouTube to ask meanwhile."""
MAX_LIST_BYTES = 1 << 20
"""Bytes read of a list of archives. The mirror's longest list has a few hundred lines."""
MAX_INDEX_BYTES = MAX_CLIPS * 40
"""A larger cache file is ignored: the listing of MAX_CLIPS clips, at most 40 bytes each, is smaller."""
REJECTED_MARK = "!"
"""Stands in a cache file before the names of rejected clips."""


class Unreachable(Fatal):
    """The mirror does not say which archives it has; `what` is why."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what}. Try again later, or use --source youtube.")
        self.what = what


def archive_urls(session: HttpSession, version: str, subset: Subset) -> list[str]:
    """Return the URLs of a subset's archives, in the order in which to read them.

    The mirror's list is fetched once and cached. Raises Unreachable if it cannot be fetched.
    """
    url = _list_url(version, subset)
    urls = _kept_list(url)
    if not urls:
        urls = _parse_list(_fetch_list(session, url))
        if not urls:
            raise Unreachable(f"{url} lists no archives")
        _write(_list_file(url), "".join(f"{archive}\n" for archive in urls))
    return [*REPLACEMENT_ARCHIVES.get(version, ()), *urls]


def knows_archives(version: str, subset: Subset) -> bool:
    """Return whether the list of a subset's archives is in the cache."""
    return bool(_kept_list(_list_url(version, subset)))


def _list_url(version: str, subset: Subset) -> str:
    folder, split = FOLDERS[version], SPLIT_OF[subset]
    return f"{BASE_URL}{folder}/{split}/k{folder}_{split}_path.txt"


def _list_file(url: str) -> Path:
    return _cache_folder() / url.rpartition("/")[2]


def _kept_list(url: str) -> list[str]:
    with suppress(OSError):
        return _parse_list(_list_file(url).read_text("utf-8", errors="replace"))
    return []


def _fetch_list(session: HttpSession, url: str) -> str:
    try:
        with closing(HttpStream(session, url)) as stream, io.BufferedReader(stream) as file:
            return file.read(MAX_LIST_BYTES).decode("utf-8", errors="replace")
    except ClipError as error:
        raise Unreachable(f"Cannot fetch the mirror's list of archives from {url}: {error}") from error


def _parse_list(text: str) -> list[str]:
    """Return the URLs of a list that are on the mirror; there may be spaces in them."""
    lines = dict.fromkeys(line.strip() for line in text.splitlines())
    return [line for line in lines if line.startswith(BASE_URL) and line.isprintable()]


class ArchiveIndex:
    """The cached listings of archives. One process writes at a time; a damaged file counts as absent."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder or _cache_folder() / "index"

    def find(self, url: str) -> ArchiveListing | None:
        """Return what is known of an archive, None if that is nothing."""
        with suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
            path = self._path(url)
            if path.stat().st_size <= MAX_INDEX_BYTES:
                return _parse_listing(url, path.read_text("ascii"))
        return None

    def update(self, url: str, listing: ArchiveListing) -> None:
        """Add to what is known of the archive; what is known of an earlier state of it is dropped.

        Raises Fatal if the file cannot be written.
        """
        before = self.find(url)
        if before and (before.size, before.etag) == (listing.size, listing.etag):
            listing = replace(
                listing,
                names=before.names | listing.names,
                rejected=before.rejected | listing.rejected,
                complete=before.complete or listing.complete,
            )
        header = {"url": url, "size": listing.size, "etag": listing.etag, "exhausted": listing.complete}
        names = sorted(listing.names | listing.rejected)
        marked = (f"{REJECTED_MARK if name in listing.rejected else ''}{name}" for name in names)
        text = "\n".join([json.dumps(header), *marked])
        _write(self._path(url), f"{_checksum(text)}\n{text}")

    def _path(self, url: str) -> Path:
        """Return the cache file of an archive. It is named by a hash, since the mirror chooses the archive's name."""
        return self._folder / f"{hashlib.sha256(url.encode()).hexdigest()[:32]}.txt"


def _parse_listing(url: str, content: str) -> ArchiveListing:
    """Return the listing in a cache file. Raises ValueError, KeyError or TypeError if it is not that archive's."""
    checksum, _, text = content.partition("\n")
    first, *lines = text.split("\n")
    header = json.loads(first)
    if checksum != _checksum(text) or header["url"] != url:
        raise ValueError
    rejected = frozenset(line.removeprefix(REJECTED_MARK) for line in lines if line.startswith(REJECTED_MARK))
    names = frozenset(line.removeprefix(REJECTED_MARK) for line in lines)
    return ArchiveListing(header["size"], header["etag"], names, rejected, header["exhausted"])


def _checksum(text: str) -> str:
    return f"{zlib.crc32(text.encode()):08x}"


def _write(path: Path, text: str) -> None:
    try:
        with atomic_write(path) as temporary:
            temporary.write_text(text, "utf-8")
    except OSError as error:
        what = f"Cannot write {path}: {error.strerror or error}"
        raise Fatal(
            f"{what}. Fix that, or choose another cache folder (XDG_CACHE_HOME), and run the command again."
        ) from error


def _cache_folder() -> Path:
    return platformdirs.user_cache_path("kinetics-downloader") / "mirror"


@dataclass(frozen=True, slots=True)
class Labels:
    """The labels of the missing clips, and all labels that exist: some archives are named after a label."""

    missing: Collection[str] = ()
    known: Collection[str] = ()

    def irrelevant_archives(self, urls: Sequence[str]) -> set[str]:
        """Return the archives that by their names hold none of the missing clips."""
        label_of = {url: letters_and_digits(archive_label(url)) for url in urls}
        missing, known = {*map(letters_and_digits, self.missing)} - {""}, {*map(letters_and_digits, self.known)}
        if missing and missing <= {*label_of.values()}:
            return {url for url, label in label_of.items() if label not in missing}
        return {url for url, label in label_of.items() if label in known - missing}


def archive_label(url: str) -> str:
    """Return the label of an archive's clips if it is named after one, as Kinetics-600's are; else any other name."""
    return PurePosixPath(unquote(url)).name.partition(".")[0]


def archives_to_read(
    urls: Sequence[str],
    find_listing: Callable[[str], ArchiveListing | None],
    missing: Collection[str],
    labels: Labels = Labels(),
) -> list[ArchiveRequest]:
    """Return requests for the archives that hold missing clips, followed by those that may hold some.

    The latter only if the former do not hold all missing clips. `missing` has the names of clips' files.
    """
    left, irrelevant = set(missing), labels.irrelevant_archives(urls)
    certain, possible = list[ArchiveRequest](), list[ArchiveRequest]()
    for url in urls:
        listing = find_listing(url) or ArchiveListing(0)
        held = left & (listing.names - listing.rejected)
        if held:
            certain.append(ArchiveRequest(url, frozenset(held), listing.complete, listing.rejected))
            left -= held
        elif not listing.complete and url not in irrelevant:
            possible.append(ArchiveRequest(url, rejected=listing.rejected))
    return [*certain, *(possible if left else ())]


def answers_now(session: HttpSession) -> bool:
    """Return whether the mirror answers within ANSWER_S seconds, whatever it says.

    A thread asks, because the timeouts of a connection bound neither the search for the host's address nor the sum of
    its steps.
    """
    answers: SimpleQueue[bool] = SimpleQueue()

    def ask() -> None:
        try:
            size_and_tag(session, BASE_URL)
        except ClipError as error:  # else it has said that this is no archive
            answers.put(not isinstance(error, StopEveryone))
        else:
            answers.put(True)

    Thread(target=ask, daemon=True).start()
    try:
        return answers.get(timeout=ANSWER_S)
    except Empty:
        return False


def archive_sizes(session: HttpSession, index: ArchiveIndex, urls: Sequence[str]) -> list[int | None]:
    """Return the size of each archive in bytes, None where the mirror does not tell it.

    Sizes that the index lacks are requested, and added to it. Once the mirror refuses everybody or cannot be reached,
    no more are requested.
    """
    refused = Event()

    def size(url: str) -> int | None:
        if listing := index.find(url):
            return listing.size
        if refused.is_set():
            return None
        try:
            listing = ArchiveListing(*size_and_tag(session, url))
        except ClipError as error:
            if isinstance(error, StopEveryone):
                refused.set()
            return None
        index.update(url, listing)
        return listing.size

    with ThreadPool(FILES_AT_ONCE) as pool:  # unlike an executor, it does not wait for replies when interrupted
        return [*pool.imap(size, urls)]
