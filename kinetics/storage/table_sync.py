"""The tables of a data set at a URL, where nothing can be appended: written on this machine, put there now and then.

The working copies are there for as long as a run is. What a killed one, or one that could not reach the URL, left of
them is taken up by the next; so deleting a table at the URL makes the program forget it, as in a folder.
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

SYNC_INTERVAL_S = 600.0
"""So often are they put; a run that is killed for good takes no more than that with it."""
SYNC_PAUSE_FACTOR = 20
"""Nor do they take more than a part in so many of the run's time, long as they may become."""
FINAL_SYNC_TIMEOUT_S = 10.0
"""For each table of a run that is ending for another reason, of which nobody should wait long for word."""
EventT = TypeVar("EventT")


@contextmanager
def readable_tables(layout: Layout, subsets: Sequence[Subset]) -> Iterator[Layout]:
    """Yield the layout with tables that can be read: where they are at a URL, with copies of them as they are now."""
    if not layout.store:
        yield layout
        return
    with TemporaryDirectory() as folder:
        about = tuple(layout.without_shard.table(subset, "").name for subset in subsets)
        for name in {*layout.store.names_in(""), *names_in(layout.root)}:
            if name.startswith(about) and name.endswith(("errors.log", "stats.csv")):  # of every shard
                content = merge_tables(layout.store.read(name) or b"", _content(layout.root / name))
                _write(Path(folder, name), content, Path(folder))
        yield replace(layout, root=Path(folder))


class TableSync:
    """The tables of a run. Open it with `with`, holding the subsets' locks, around whatever writes them.

    Does nothing where they are in a folder. Raises Fatal where they cannot be had, or cannot be put.
    """

    def __init__(self, layout: Layout, subsets: Sequence[Subset]) -> None:
        self._store = layout.store
        self._names = {path: layout.object_name(path) for path in _tables(layout, subsets)}
        self._partial = layout.partial(SPLIT_OF[subsets[0]])
        self._put = dict[Path, tuple[int, int]]()
        """What each looked like when it was the same there."""

    def __enter__(self) -> Self:
        if not self._store:
            return self
        for path, name in self._names.items():
            theirs = self._store.read(name) or b""
            if content := merge_tables(theirs, _content(path)):
                _write(path, content, self._partial)
            if content and content == theirs:
                self._put[path] = _state(path)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._store:
            return
        try:
            self._put_all(self._store, FINAL_SYNC_TIMEOUT_S if error else None)
        except Fatal:
            if not error:
                raise
            return  # there is a better reason to end, and the next run takes the copies up
        for path in self._names:
            path.unlink(missing_ok=True)

    def syncing(self, events: Iterable[EventT]) -> Iterator[EventT]:
        """The events of a run, between which the tables are put.

        The first time is before all of them: a run that could not keep what it gets is not to ask for anything.
        """
        if not self._store:
            yield from events
            return
        due = self._put_all(self._store)
        for event in events:
            yield event
            if time.monotonic() >= due:
                due = self._put_all(self._store)

    def _put_all(self, store: ObjectStore, timeout_s: float | None = None) -> float:
        """Put what has changed, and return when to do so again."""
        began = time.monotonic()
        for path, name in self._names.items():
            if path.exists() and (state := _state(path)) != self._put.get(path):
                store.put(path, name, timeout_s)
                self._put[path] = state
        ended = time.monotonic()
        return ended + max(SYNC_INTERVAL_S, SYNC_PAUSE_FACTOR * (ended - began))


def merge_tables(theirs: bytes, ours: bytes) -> bytes:
    """The whole lines of both tables; mostly one is what the other was some time ago."""
    theirs, ours = (table[: table.rfind(b"\n") + 1] for table in (theirs, ours))
    if ours.startswith(theirs):
        return ours
    known = set(theirs.splitlines())
    return theirs + b"".join(line + b"\n" for line in ours.splitlines() if line not in known)


def _tables(layout: Layout, subsets: Sequence[Subset]) -> list[Path]:
    return [path for subset in subsets for path in (layout.errors_log(subset), layout.stats(subset))]


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
