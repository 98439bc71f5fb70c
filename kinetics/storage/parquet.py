"""Parquet tables: written row group by row group, and read as CSV within bounds.

pyarrow takes long to import and is an extra package, so it is imported where it is used; its exceptions end here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from kinetics.errors import Fatal, check_installed
from kinetics.humanize import error_words
from kinetics.storage.atomic import atomic_write, cannot_write
from kinetics.storage.user_files import too_large

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

ColumnKind = Literal["id", "text", "category", "integer", "number", "flag", "time"]
"""What a column holds. `id`: a text that hardly repeats; `category`: one of few texts; `flag`: whether something is so;
`time`: a moment. A cell that is not of its column's kind becomes null, and so does None; a text stays as it is."""
SUFFIX = ".parquet"
"""The ending of a Parquet file's name. A file with another name is one, too, if it begins with MAGIC."""
MAGIC = b"PAR1"
"""The first four bytes of every Parquet file."""
ROWS_PER_BLOCK = 1 << 14
"""Rows that are converted in one step, both ways: more take more memory, fewer more time."""
BLOCKS_PER_GROUP = 8
"""Blocks in a row group, which a reader loads as a whole: larger groups load faster, and take more memory to write."""
MAX_INTEGER = 2**53
"""Integers from here on are neither counts nor sizes; a float could not hold them exactly."""
MAX_TEXT_BYTES = 1 << 17
"""Bytes of a cell that is read; a small file can name a text of gigabytes in a million rows."""
ItemT = TypeVar("ItemT")


def write_parquet(path: Path, kinds: Mapping[str, ColumnKind], rows: Iterable[Sequence[object]]) -> None:
    """Write rows as a Parquet file with columns of these kinds, atomically. Raises Fatal if it cannot be written."""
    check_installed(str(path), "pyarrow")
    import pyarrow as pa  # noqa: PLC0415 - an extra package
    import pyarrow.parquet as pq  # noqa: PLC0415

    schema = pa.schema([(name, _type_of(kind)) for name, kind in kinds.items()])
    repeating = [name for name, kind in kinds.items() if kind != "id"]
    convert = partial(_converted, kinds=kinds, schema=schema)
    try:
        with (
            atomic_write(path) as temporary,
            open(temporary, "wb") as file,  # a full disk is an OSError of Python's own then
            pq.ParquetWriter(
                file, schema, compression="zstd", use_dictionary=repeating, write_page_checksum=True
            ) as writer,
        ):
            for blocks in _in_lists(map(convert, _in_lists(rows, ROWS_PER_BLOCK)), BLOCKS_PER_GROUP):
                writer.write_table(pa.concat_tables(blocks).combine_chunks(), BLOCKS_PER_GROUP * ROWS_PER_BLOCK)
    except OSError as error:
        raise cannot_write(error, path) from error


def parquet_as_csv(name: str, data: bytes, columns: Sequence[str], limit: int) -> bytes:
    """Return those of some columns that a Parquet file has as CSV, in the order given, with null as an empty cell.

    Raises Fatal if it is not a Parquet file, is damaged, has none of the columns, or makes more than `limit` bytes.
    """
    check_installed(name, "pyarrow")
    import pyarrow as pa  # noqa: PLC0415 - an extra package
    import pyarrow.parquet as pq  # noqa: PLC0415
    from pyarrow import csv  # noqa: PLC0415

    try:
        fields = pq.read_schema(pa.BufferReader(data))
        flat = [field.name for field in fields if not pa.types.is_nested(field.type)]
        there = [one for one in columns if flat.count(one) == 1]
        if not there:
            raise Fatal(f"{name} has none of the columns {', '.join(columns)}. Name another file.")
        file = pq.ParquetFile(
            pa.BufferReader(data),
            read_dictionary=there,  # a text that repeats is in memory once
            page_checksum_verification=True,
        )
        sink, text = pa.BufferOutputStream(), pa.schema([(one, pa.string()) for one in there])
        with csv.CSVWriter(sink, text) as writer:
            left = limit
            for batch in file.iter_batches(ROWS_PER_BLOCK, columns=there, use_threads=False):
                left -= sum(map(_text_bytes, batch.columns))
                if left < 0:
                    raise too_large(name, limit)
                writer.write_batch(pa.record_batch([*map(_as_text, batch.select(there).columns)], text))
        content: bytes = sink.getvalue().to_pybytes()
        return content
    except MemoryError:
        raise
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = error_words(error).partition("\n")[0].rstrip(".")
        raise Fatal(f"{name} is not a Parquet file, or damaged: {reason}. Name another file.") from error


def _in_lists(items: Iterable[ItemT], length: int) -> Iterator[list[ItemT]]:
    rest = iter(items)
    return iter(lambda: [*islice(rest, length)], [])


def _type_of(kind: ColumnKind) -> pa.DataType:
    import pyarrow as pa  # noqa: PLC0415 - an extra package

    types = {
        "category": pa.dictionary(pa.int32(), pa.string()),
        "integer": pa.int64(),
        "number": pa.float64(),
        "flag": pa.bool_(),
        "time": pa.timestamp("us", "UTC"),
    }
    return types.get(kind, pa.string())


def _converted(rows: Sequence[Sequence[object]], kinds: Mapping[str, ColumnKind], schema: pa.Schema) -> pa.Table:
    import pyarrow as pa  # noqa: PLC0415 - an extra package

    columns = zip(*rows, strict=True)
    return pa.table(
        [
            pa.array(_cells(column, kind), field.type, from_pandas=True)
            for column, kind, field in zip(columns, kinds.values(), schema, strict=True)
        ],
        schema,
    )


def _cells(column: Sequence[object], kind: ColumnKind) -> Any:
    """Return the cells of a column as pyarrow takes them; what is not of its kind is missing."""
    if kind in ("id", "text", "category"):
        return column
    import pandas as pd  # noqa: PLC0415 - takes a while, and the options need this module's names

    cells: pd.Series[Any] = pd.Series([*column], dtype=object)
    if kind == "time":
        return pd.to_datetime(cells, utc=True, format="ISO8601", errors="coerce")
    numbers = pd.to_numeric(cells, errors="coerce")
    if kind == "flag":
        return numbers.map({0: False, 1: True}).astype(object)
    return numbers.where((numbers % 1 == 0) & (numbers.abs() < MAX_INTEGER)) if kind == "integer" else numbers


def _text_bytes(column: pa.Array) -> int:
    """Return how many bytes a column takes as text, at least. Raises ValueError if a cell is too long."""
    import pyarrow as pa  # noqa: PLC0415 - an extra package
    from pyarrow import compute  # noqa: PLC0415

    if not (pa.types.is_dictionary(column.type) and _is_text(column.type.value_type)):
        return len(column)
    lengths = compute.binary_length(column.dictionary)
    if (compute.max(lengths).as_py() or 0) > MAX_TEXT_BYTES:
        raise ValueError(f"a cell has more than {MAX_TEXT_BYTES >> 10} KiB")
    return len(column) + (compute.sum(lengths.take(column.indices)).as_py() or 0)


def _is_text(kind: pa.DataType) -> bool:
    import pyarrow as pa  # noqa: PLC0415 - an extra package

    types = pa.types
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_binary(kind))


def _as_text(column: pa.Array) -> pa.Array:
    """Return a column as text, each cell on one line: a line break in one is taken for a quote that was left open."""
    import pyarrow as pa  # noqa: PLC0415 - an extra package
    from pyarrow import compute  # noqa: PLC0415

    plain = column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
    return compute.replace_substring_regex(plain.cast(pa.string()), r"[\r\n]+", " ")
