"""The table of what is known of the videos of one subset, which only the parent process writes: a row a video.

It is a Parquet file, which cannot be appended to. So a run adds lines to a journal, and merges that into the table at
its end; what a killed run left there is merged by the next one. At a URL the merge fetches the table and uploads it
again. The texts are other people's, and are stored as they came. Without pyarrow the journal stays.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from datetime import UTC, date, datetime
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, Self, TextIO

from kinetics.errors import Fatal, check_installed, is_installed
from kinetics.records import SPLIT_OF, Outcome, StableFacts, Subset
from kinetics.storage.atomic import atomic_write, cannot_read, cannot_write, require_plain, temporary_path
from kinetics.storage.layout import Layout

if TYPE_CHECKING:
    import pyarrow as pa

VIDEOS = "videos.parquet"
"""How the table's name ends."""
JOURNAL = "videos.jsonl"
"""How the journal's name ends; it is with the locks, in `.partial`."""
COLUMNS: Mapping[str, type] = {
    **dict.fromkeys(("youtube_id", "title", "channel", "channel_id", "description"), str),
    "keywords": list,
    "views": int,
    "length_s": float,
    "category": str,
    "published": date,
    "language": str,
    "width": int,
    "height": int,
    "fps": float,
    "answered": datetime,
}
"""The columns, with the type of their values: the fields of VideoFacts, and when YouTube said so."""
GROUP_ROWS = 10_000
"""Rows that are in memory at once, and in each row group of the table. With more, long descriptions take more memory;
with fewer, the table is larger and slower to read."""
SOON_MERGED_BYTES = 10_000_000
"""Bytes of table and journal together that are merged within 2 seconds, so that a run which is interrupted can wait for
that. With more, Ctrl-C would take longer."""
PARQUET = "pyarrow"
"""The package that reads and writes the table."""
Row = dict[str, Any]


class VideoTable:
    """Keeps what YouTube says of the videos of one subset, or of our shard of it.

    Use it with `with`, and hold the subset's lock. Every answer is flushed when it is written. Raises Fatal if journal
    or table cannot be read or written.
    """

    def __init__(self, layout: Layout, subset: Subset) -> None:
        self._layout = layout
        self.path = layout.table(subset, VIDEOS)
        self._journal = layout.state_file(subset, JOURNAL)
        self._partial = layout.partial(SPLIT_OF[subset])
        self._file: TextIO | None = None
        for path in (self.path, self._journal):
            require_plain(path)

    def __enter__(self) -> Self:
        self.merge()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Merge the journal into the table. After an error, or if Ctrl-C would have to wait, the next run does that."""
        if self._file:
            with suppress(OSError):  # each answer was flushed when it was written
                self._file.close()
        if not error:
            self.merge()
        elif not isinstance(error, Exception) and self._is_soon_merged:
            with suppress(Fatal):
                self.merge()

    @property
    def display_path(self) -> str:
        """Where a person finds the table."""
        return self._layout.display_path(self.path)

    @property
    def lacks_package(self) -> bool:
        """Whether the journal has to wait, since pyarrow is not installed."""
        return self._journal.exists() and not is_installed(PARQUET)

    @property
    def _is_soon_merged(self) -> bool:
        files = [path for path in (self.path, self._journal) if path.exists()]
        return not self._layout.store and sum(path.stat().st_size for path in files) < SOON_MERGED_BYTES

    def record(self, outcome: Outcome) -> None:
        """Write down what YouTube has just said of a video, if the outcome bears that."""
        facts = outcome.video
        if facts is None:
            return
        row = {**asdict(facts), "answered": int(datetime.now().timestamp())}
        row["published"] = facts.published and facts.published.isoformat()
        known = {name: value for name, value in row.items() if value not in (None, ())}
        try:
            if not self._file:
                self._journal.parent.mkdir(parents=True, exist_ok=True)
                self._file = open(self._journal, "a", encoding="utf-8")  # noqa: SIM115 - until the end of the run
                self._file.write("\n" if self._file.tell() else "")  # ends half a line that a crash left
            self._file.write(json.dumps(known) + "\n")
            self._file.flush()
        except OSError as error:
            raise cannot_write(error, self._journal) from error

    def merge(self) -> None:
        """Merge the journal into the table and remove it; a table that cannot be read is kept as `<name>.old`."""
        if not self._journal.exists() or not is_installed(PARQUET):
            return
        import pyarrow as pa  # noqa: PLC0415 - an extra package, and slow to import

        try:
            with self._present_table() as present:
                try:
                    self._replace(present, damaged=False)
                except (pa.ArrowException, OSError) as error:
                    if (isinstance(error, OSError) and error.errno) or not present:
                        raise
                    self._replace(present, damaged=True)
            self._journal.unlink()
        except OSError as error:
            raise cannot_write(error, self.path) from error

    @contextmanager
    def _present_table(self) -> Iterator[Path | None]:
        """Yield where the table can be read on this machine; None if there is none yet."""
        if not self._layout.store:
            yield self.path if self.path.exists() else None
            return
        with temporary_path(self.path, self._partial) as copy:
            name = self._layout.object_name(self.path)
            yield copy if self._layout.store.fetch(name, copy) else None

    def _replace(self, present: Path | None, *, damaged: bool) -> None:
        rows = _merged(None if damaged else present, self._journal)
        store = self._layout.store
        if not store:
            with atomic_write(self.path, self._partial, keep_old=damaged) as temporary:
                _write(temporary, rows)
            return
        with temporary_path(self.path, self._partial) as temporary:
            _write(temporary, rows)
            name = self._layout.object_name(self.path)
            if damaged and present:
                store.put(present, f"{name}.old")
            store.put(temporary, name)


def known_videos(layout: Layout, subset: Subset, ids: Collection[str] = ()) -> dict[str, StableFacts]:
    """Return what hardly changes of the videos that any run on the subset, with whatever shard, has asked for.

    `ids`: of these videos alone, which is faster. Raises Fatal if a table cannot be read.
    """
    known = dict[str, StableFacts]()
    columns = ["youtube_id", *StableFacts._fields]
    for part in layout.without_shard.shard_layouts(subset):
        path = part.table(subset, VIDEOS)
        if path.exists():
            known.update(_stable(_present_rows(path, columns, ids)))
        answered = (row for row in _rows(part.state_file(subset, JOURNAL)) if not ids or row["youtube_id"] in ids)
        known.update(_stable(_completed(known, row) for row in answered))
    return known


def _present_rows(path: Path, columns: Sequence[str], ids: Collection[str]) -> Iterator[Row]:
    """Yield the rows of a table, those of some videos or all. Raises Fatal if it cannot be read."""
    check_installed(f"Reading {path}", PARQUET)
    import pyarrow as pa  # noqa: PLC0415 - an extra package, and slow to import
    import pyarrow.compute as pc  # noqa: PLC0415

    try:
        wanted = pa.array([*ids], pa.string())
        for table in _tables(path, columns):
            yield from (table.filter(pc.is_in(table["youtube_id"], value_set=wanted)) if ids else table).to_pylist()
    except (OSError, pa.ArrowException) as error:
        remedy = "Move it away, or put a copy of it back, and run the command again."
        raise Fatal(f"Cannot read {path}: {error}. {remedy}") from error


def _stable(rows: Iterable[Row]) -> Iterator[tuple[str, StableFacts]]:
    for row in rows:
        yield row["youtube_id"], StableFacts(row["title"], row["channel"], row["language"])


def _completed(known: Mapping[str, StableFacts], row: Row) -> Row:
    older = known.get(row["youtube_id"])
    return _merge(older._asdict(), row) if older else row


def _merge(older: Row, newer: Row) -> Row:
    """Return the values of the newer row, and of the older one where that has none."""
    return older | {name: value for name, value in newer.items() if value is not None}


def _rows(journal: Path) -> Iterator[Row]:
    """Yield the rows of a journal, in the order in which they were written."""
    try:
        with open(journal, "rb") as file:
            yield from filter(None, map(_row, file))
    except FileNotFoundError:
        return
    except OSError as error:
        raise cannot_read(error, journal) from error


def _row(line: bytes) -> Row | None:
    """Return the row in a line of the journal; None for half a line, and for one that is none of ours."""
    try:
        found = json.loads(line)
        row = {name: found.get(name) for name in COLUMNS}
        row["published"] = date.fromisoformat(row["published"]) if row["published"] else None
        row["answered"] = datetime.fromtimestamp(row["answered"], UTC)
        row["keywords"] = row["keywords"] and [str(one) for one in row["keywords"]]
    except (ValueError, TypeError, AttributeError, OverflowError, OSError):
        return None
    sound = all(value is None or isinstance(value, COLUMNS[name]) for name, value in row.items())
    return row if sound and row["youtube_id"] else None


def _merged(present: Path | None, journal: Path) -> Iterator[pa.Table]:
    """Yield the table anew, in parts: the rows of the present one, updated, and those of the videos that it lacks.

    Of the journal only the places of its lines are in memory.
    """
    import pyarrow as pa  # noqa: PLC0415 - an extra package, and slow to import
    import pyarrow.compute as pc  # noqa: PLC0415

    schema = _schema()
    with open(journal, "rb") as file:
        places = _places(file)
        answered = pa.array([*places], pa.string())
        for table in _tables(present, [*COLUMNS]) if present else ():
            newly = pc.is_in(table["youtube_id"], value_set=answered)
            yield table.filter(pc.invert(newly))
            rows = table.filter(newly).to_pylist()
            updated = [_last(file, places.pop(row["youtube_id"], ()), row) for row in rows]
            yield pa.Table.from_pylist(updated, schema)
        left = iter(places.values())
        while group := [_last(file, lines, {}) for lines in islice(left, GROUP_ROWS)]:
            yield pa.Table.from_pylist(group, schema)


def _places(journal: BinaryIO) -> dict[str, list[int]]:
    """Return where in a journal the rows of each video begin."""
    places = dict[str, list[int]]()
    begin = 0
    for line in journal:
        if row := _row(line):
            places.setdefault(row["youtube_id"], []).append(begin)
        begin += len(line)
    return places


def _last(journal: BinaryIO, places: Sequence[int], row: Row) -> Row:
    """Return a row, updated by the journal's rows at these places."""
    for place in places:
        journal.seek(place)
        row = _merge(row, _row(journal.readline()) or {})
    return row


def _schema() -> pa.Schema:
    import pyarrow as pa  # noqa: PLC0415 - an extra package, and slow to import

    types = {
        str: pa.string(),
        list: pa.list_(pa.string()),
        int: pa.int64(),
        float: pa.float64(),
        date: pa.date32(),
        datetime: pa.timestamp("ms", "UTC"),
    }
    return pa.schema([(name, types[kind]) for name, kind in COLUMNS.items()])


def _tables(path: Path, columns: Sequence[str]) -> Iterator[pa.Table]:
    """Yield some columns of a table, a row group at a time; a column that it lacks is empty.

    The file's `iter_batches` would keep all groups in memory.
    """
    import pyarrow as pa  # noqa: PLC0415 - an extra package, and slow to import
    from pyarrow import parquet  # noqa: PLC0415

    schema = pa.schema([_schema().field(name) for name in columns])
    with parquet.ParquetFile(path) as file:
        present = [name for name in columns if name in file.schema_arrow.names]
        for number in range(file.num_row_groups):
            group = file.read_row_group(number, columns=present)
            found = {name: group[name] if name in present else pa.nulls(len(group)) for name in columns}
            yield pa.table(found).cast(schema)


def _write(path: Path, tables: Iterable[pa.Table]) -> None:
    """Write a table, its parts joined to row groups of one size."""
    import pyarrow as pa  # noqa: PLC0415 - an extra package, and slow to import
    from pyarrow import parquet  # noqa: PLC0415

    with parquet.ParquetWriter(path, _schema(), compression="zstd") as writer:
        waiting, rows = list[pa.Table](), 0
        for table in tables:
            waiting.append(table)
            rows += table.num_rows
            if rows >= GROUP_ROWS:
                writer.write_table(pa.concat_tables(waiting))
                waiting, rows = [], 0
        if rows:
            writer.write_table(pa.concat_tables(waiting))
