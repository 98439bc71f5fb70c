"""The tables of a data set at a URL, where nothing can be appended: written on this machine and uploaded at intervals.

The copies on this machine are removed at the end of a run. Those that a killed run left, or one that could not reach
the URL, are merged by the next run. So a table deleted at the URL is forgotten, as in a folder.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Self, TypeVar

from kinetics.errors import Fatal
from kinetics.records import SPLIT_OF, Subset
from kinetics.storage.atomic import atomic_write, cannot_write
from kinetics.storage.layout import Layout, names_in
from kinetics.storage.object_store import ObjectStore
from kinetics.storage.shards import ShardFolder
from kinetics.storage.status_file import ALL_SUBSETS, STATUS
from kinetics.storage.thumbnail_log import THUMBNAILS

SYNC_INTERVAL_S = 600.0
"""Seconds between two uploads; a machine that is lost takes at most the rows of that time with it."""
SYNC_PAUSE_FACTOR = 20
"""The pause after an upload, in multiples of its duration, so that long tables take at most 5 % of a run."""
FINAL_SYNC_TIMEOUT_S = 10.0
"""Timeout in seconds for each table when a run ends with an error, so that its message does not wait long."""
EventT = TypeVar("EventT")


@contextmanager
def readable_tables(layout: Layout, subsets: Sequence[Subset], *, at_work: bool = False) -> Iterator[Layout]:
    """Yield a layout whose tables can be read: if they are at a URL, with temporary copies of them.

    With a run `at_work` on this machine, they are links to the tables that it writes here, which have all rows.
    """
    if not layout.store:
        yield layout
        return
    with TemporaryDirectory() as folder:
        prefixes = tuple(layout.without_shard.table(one, "").name for one in (*subsets, ALL_SUBSETS))
        for name in {*layout.store.names_in(""), *names_in(layout.root)}:
            local = layout.root / name
            if name.startswith(prefixes) and name.endswith(STATUS):
                _write(Path(folder, name), _content(local) or layout.store.read(name) or b"", Path(folder))
            elif name.startswith(prefixes) and name.endswith(("errors.log", "stats.csv", THUMBNAILS)):  # of every shard
                if at_work and local.exists():
                    Path(folder, name).symlink_to(local)
                    continue
                content = merge_tables(layout.store.read(name) or b"", _content(layout.root / name))
                _write(Path(folder, name), content, Path(folder))
        yield replace(layout, root=Path(folder))


class TableSync:
    """Fetches a run's tables from the URL, and uploads them during the run and at its end; does nothing in a folder.

    Use it with `with` around whatever writes the tables, and hold the subsets' locks. The `status` file of the run is
    uploaded with them, and never fetched. Raises Fatal if the tables cannot
    be downloaded or uploaded.
    """

    def __init__(self, layout: Layout, subsets: Sequence[Subset], status: Path | None = None) -> None:
        self._store = layout.store
        self._status = {status: layout.object_name(status)} if status else {}
        self._names = {path: layout.object_name(path) for path in _tables(layout, subsets)}
        self._partial = layout.partial(SPLIT_OF[subsets[0]])
        self._uploaded = dict[Path, tuple[int, int]]()
        """Size and time of each table when it was last the same at the URL."""

    def __enter__(self) -> Self:
        if not self._store:
            return self
        for path, name in self._names.items():
            theirs = self._store.read(name) or b""
            if content := merge_tables(theirs, _content(path)):
                _write(path, content, self._partial)
            if content and content == theirs:
                self._uploaded[path] = _state(path)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._store:
            return
        try:
            self._upload(self._store, FINAL_SYNC_TIMEOUT_S if error else None)
        except Fatal:
            if not error:
                raise
            return  # the first error matters more, and the next run merges the copies
        for path in (*self._names, *self._status):
            path.unlink(missing_ok=True)

    def syncing(self, events: Iterable[EventT]) -> Iterator[EventT]:
        """Pass on the events of a run, and upload the tables between them.

        They are uploaded before the first event, too: a run that cannot store its tables should not start.
        """
        if not self._store:
            yield from events
            return
        due = self._upload(self._store)
        for event in events:
            yield event
            if time.monotonic() >= due:
                due = self._upload(self._store)

    def _upload(self, store: ObjectStore, timeout_s: float | None = None) -> float:
        """Upload the tables that have changed; return when to do so again (monotonic seconds)."""
        begin = time.monotonic()
        for path, name in (self._names | self._status).items():
            if path.exists() and (state := _state(path)) != self._uploaded.get(path):
                store.put(path, name, timeout_s)
                self._uploaded[path] = state
        end = time.monotonic()
        return end + max(SYNC_INTERVAL_S, SYNC_PAUSE_FACTOR * (end - begin))


def merge_tables(theirs: bytes, ours: bytes) -> bytes:
    """Return the complete lines of both tables, each once; usually one is an earlier state of the other."""
    theirs, ours = (table[: table.rfind(b"\n") + 1] for table in (theirs, ours))
    if ours.startswith(theirs):
        return ours
    known = set(theirs.splitlines())
    return theirs + b"".join(line + b"\n" for line in ours.splitlines() if line not in known)


def _tables(layout: Layout, subsets: Sequence[Subset]) -> list[Path]:
    return [
        path
        for subset in subsets
        for path in (
            layout.errors_log(subset),
            layout.stats(subset),
            layout.table(subset, THUMBNAILS),
            *([ShardFolder(layout, subset).index_path] if layout.into_shards else []),
        )
    ]


def _state(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


def _write(path: Path, content: bytes, partial: Path) -> None:
    try:
        with atomic_write(path, partial) as temporary:
            temporary.write_bytes(content)
    except OSError as error:
        raise cannot_write(error, path) from error
