"""The published lists of a version, the official archive and CVDF's list: fetched whole or not at all, and kept."""

from __future__ import annotations

import re
import tarfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Literal
from urllib.parse import urlsplit

import platformdirs
from urllib3 import BaseHTTPResponse
from urllib3.exceptions import HTTPError, ProtocolError

from kinetics.annotations.archives import ARCHIVE_ERRORS, MAX_FILE, decompress, regular_members
from kinetics.annotations.files import AnnotationFile
from kinetics.annotations.formats import read_rows
from kinetics.errors import ClipError, Fatal
from kinetics.humanize import counted
from kinetics.net.http import AllowedHosts, HttpSession
from kinetics.net.proxy import refused_login
from kinetics.net.responses import root_cause
from kinetics.records import SPLIT_OF, ListChoice, Subset
from kinetics.storage.atomic import atomic_write

ListName = Literal["official", "cvdf"]
ProgressCallback = Callable[[int, int | None], None]
"""Called with the bytes received in this attempt, and with the size if the server announced it."""
VERSIONS = {
    version: f"https://storage.googleapis.com/deepmind-media/Datasets/kinetics{version.replace('-', '_')}.tar.gz"
    for version in ("400", "600", "700", "700-2020")
}
"""The URL of each version's official archive: a folder with {train,validate,test}.{csv,json}, about 25 MB."""
CVDF_URL = "https://s3.amazonaws.com/kinetics/{folder}/annotations/{file}"
CVDF_FILES: Mapping[str, Mapping[Subset, str]] = {
    "400": {"train": "train.csv", "validate": "val.csv", "test": "test.csv"},
    "600": {"train": "train.txt", "validate": "val.txt", "test": "test.csv"},
    "700-2020": {"train": "train.csv", "validate": "val.csv", "test": "test.csv"},
}
"""The files of CVDF's list of each version, about 20 MB. Of 600 there are train.csv and val.csv as well, incomplete."""
TITLES: Mapping[ListName, str] = {"official": "the official list", "cvdf": "CVDF's list"}
LIST_HOSTS = AllowedHosts("the hosts of the lists", re.compile(r"storage\.googleapis\.com|s3\.amazonaws\.com"))
FETCH_S = 3600
"""Seconds for one attempt, after which it is given up although data still arrive."""
BEGIN_S = 5.0
"""Seconds in which an answer must begin where another list can serve. All retries until then count: a host that does
not answer costs no command more than this."""
PAUSES_S = (1, 4, 10)
"""Seconds to wait before each further attempt; there is one attempt more than waits."""
RETRY_STATUSES = {408, 429, 500, 502, 503, 504}
"""HTTP statuses after which another attempt may succeed."""
HEAD_BYTES = 1 << 16
"""Bytes of a table after which its header is checked, so that a file of another form is not fetched to its end."""


class NotFetchedError(Fatal):
    """A file of a published list did not come, or not completely."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(f"Cannot fetch the annotations from {url}: {reason}. {_REMEDY}")
        self.url = url
        self.reason = reason


_REMEDY = "Try again later, or download the file by hand and name it: --annotations PATH"


def none_fetched(failures: Sequence[NotFetchedError]) -> Fatal:
    """Return the error for lists none of which came."""
    causes = "; nor from ".join(f"{one.url}: {one.reason}" for one in failures)
    return Fatal(f"Cannot fetch the annotations from {causes}. {_REMEDY}")


@dataclass(frozen=True, slots=True)
class ListFile:
    """A file of a published list: where it comes from, and where it is kept."""

    url: str
    path: Path

    @property
    def host(self) -> str:
        """The host that is asked for it."""
        return urlsplit(self.url).hostname or ""


@dataclass(frozen=True, slots=True)
class PublishedList:
    """One list of a version's clips: an archive of all subsets, or a file for each."""

    name: ListName
    version: str
    files: Mapping[Subset, ListFile]

    @property
    def title(self) -> str:
        """What a person calls it."""
        return TITLES[self.name]

    def files_of(self, subsets: Sequence[Subset]) -> list[ListFile]:
        """Return the files that hold these subsets, each once."""
        return [*dict.fromkeys(self.files[subset] for subset in subsets)]


def published_lists(version: str, choice: ListChoice = "all") -> list[PublishedList]:
    """Return the chosen lists of a version, the official one first. CVDF has none of 700."""
    cache = platformdirs.user_cache_path("kinetics-downloader")
    archive = ListFile(VERSIONS[version], cache / VERSIONS[version].rpartition("/")[2])
    lists = [PublishedList("official", version, dict.fromkeys(SPLIT_OF, archive))]
    if version in CVDF_FILES:
        folder = version.replace("-", "_")
        files = {
            subset: ListFile(CVDF_URL.format(folder=folder, file=file), cache / f"cvdf-{folder}" / file)
            for subset, file in CVDF_FILES[version].items()
        }
        lists.append(PublishedList("cvdf", version, files))
    return [one for one in lists if choice in ("all", one.name)]


def fetch(
    url: str,
    into: Path,
    progress: ProgressCallback | None = None,
    notify: Callable[[str], None] | None = None,
    *,
    briefly: bool = False,
) -> None:
    """Fetch a tar archive or a table into a file, completely or not at all; each attempt reports its `progress` anew.

    `notify` is told why an attempt failed, and when the next one begins. Briefly: if the server has not begun to answer
    within BEGIN_S, no more attempts are made; once it has begun, they are.

    Raises NotFetchedError if no attempt brings the complete file, or it is not annotations; Fatal if it cannot be
    written.
    """
    session, reason = HttpSession(hosts=LIST_HOSTS), ""
    begin_by = time.monotonic() + BEGIN_S if briefly else None
    for pause_s in (0, *PAUSES_S):
        if begin_by is not None and time.monotonic() + pause_s >= begin_by:
            break
        if pause_s and notify:
            notify(f"no annotations yet ({reason}); trying again in {counted(pause_s, 'second')}")
        time.sleep(pause_s)
        try:
            with atomic_write(into) as temporary:
                with _answer(session, url, begin_by) as reply:
                    begin_by = None
                    _save(session, reply, url, temporary, progress)
                _check(url, temporary)
            return
        except HTTPError as error:
            reason = root_cause(error)
            if refused := refused_login(reason):
                raise refused from error
        except ClipError as error:
            raise NotFetchedError(url, error.reason) from error
        except OSError as error:
            what = f"Cannot write {into}: {error.strerror or error}. Fix that"
            raise Fatal(f"{what}, choose another cache folder (XDG_CACHE_HOME), or use --annotations PATH.") from error
    raise NotFetchedError(url, reason)


def _answer(session: HttpSession, url: str, begin_by: float | None) -> BaseHTTPResponse:
    """Return the reply with the file, its body still to be read. Raises HTTPError if another attempt may bring one.

    Where there is a time to begin by, a thread asks, because the timeouts of a connection bound neither the search for
    the host's address nor the sum of its steps. A late answer is thrown away.
    """
    answers: SimpleQueue[BaseHTTPResponse | Exception] = SimpleQueue()

    def ask() -> None:
        try:
            answers.put(session.get(url, {}))
        except (HTTPError, ClipError, Fatal, OSError) as error:
            answers.put(error)

    if begin_by is None:
        ask()
    else:
        Thread(target=ask, daemon=True).start()
    try:
        reply = answers.get(timeout=None if begin_by is None else max(0.0, begin_by - time.monotonic()))
    except Empty:
        raise ProtocolError(f"no answer within {BEGIN_S:g} seconds") from None
    if isinstance(reply, Exception):
        raise reply
    if reply.status != 200:
        reply.close()
        status = f"HTTP {reply.status} {reply.reason}"
        raise ProtocolError(status) if reply.status in RETRY_STATUSES else NotFetchedError(url, status)
    return reply


def _save(
    session: HttpSession, reply: BaseHTTPResponse, url: str, into: Path, progress: ProgressCallback | None
) -> None:
    """Write the body of a reply. Raises HTTPError if another attempt may bring more, NotFetchedError if not."""
    deadline = time.monotonic() + FETCH_S
    length = reply.headers.get("Content-Length", "")
    total, done = int(length) if re.fullmatch(r"\d{1,15}", length, re.ASCII) else None, 0
    with open(into, "wb") as file:
        for block in session.body(reply, MAX_FILE + 1):
            before, done = done, done + file.write(block)
            if progress:
                progress(done, total)
            if done > MAX_FILE or time.monotonic() > deadline:
                raise NotFetchedError(url, f"the reply did not end after {done:,} bytes")
            if before < HEAD_BYTES <= done and not _is_archive(url):
                file.flush()
                _check_table(url, into.read_bytes().rpartition(b"\n")[0])
    if total is not None and done < total:
        raise ProtocolError(f"the reply ended after {done:,} of {total:,} bytes")


def _is_archive(url: str) -> bool:
    return url.endswith(".tar.gz")


def _check(url: str, path: Path) -> None:
    """Raise ProtocolError if an archive is not complete, NotFetchedError if a table is not of annotations."""
    if not _is_archive(url):
        _check_table(url, path.read_bytes())
    elif not _is_complete(path):
        raise ProtocolError("the reply is not a complete tar archive")


def _check_table(url: str, data: bytes) -> None:
    name = Path(url).name
    try:
        read_rows(AnnotationFile(name, Path(name), data))
    except Fatal as error:
        raise NotFetchedError(url, f"what came is not a list of clips: {str(error).partition('. ')[0]}") from error


def _is_complete(archive: Path) -> bool:
    try:
        with tarfile.open(fileobj=decompress(archive, archive.read_bytes()), mode="r:") as tar:
            regular_members(tar)
    except (*ARCHIVE_ERRORS, Fatal):
        return False
    return True
