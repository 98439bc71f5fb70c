"""The clips of published lists, kept as they were loaded, since parsing and comparing the lists takes longer.

They count as long as the lists' files are as they were. A file that is damaged, or of another version, tells nothing.
"""

from __future__ import annotations

import hashlib
import io
import json
from contextlib import suppress
from pathlib import Path

from kinetics.annotations.table import Annotations
from kinetics.errors import is_installed
from kinetics.records import KEY
from kinetics.storage.atomic import atomic_write

CATEGORIES = ("label", "split", "named_in")
"""The columns with few different texts."""
DIGEST_BYTES = 32
"""Bytes of the SHA-256 before the Parquet file: that has no checksum of what it says of itself."""
_ABOUT = b"kinetics"
"""The key of what the file says of itself: the state of the lists, and the warnings about them."""


def keep_clips(path: Path, state: object, clips: Annotations) -> None:
    """Keep the clips of lists whose files are in this state, which JSON can say. Nothing is kept if that fails."""
    if not is_installed("pyarrow"):
        return
    import pyarrow as pa  # noqa: PLC0415 - pandas has imported it by now
    import pyarrow.parquet as pq  # noqa: PLC0415

    with suppress(OSError, pa.ArrowException, UnicodeError):
        table = pa.Table.from_pandas(clips.frame, preserve_index=False)
        about = json.dumps({"state": state, "warnings": clips.warnings})
        table = table.replace_schema_metadata({**(table.schema.metadata or {}), _ABOUT: about.encode()})
        file = io.BytesIO()
        pq.write_table(table, file, compression="zstd", use_dictionary=[*CATEGORIES])
        with atomic_write(path) as temporary:
            temporary.write_bytes(hashlib.sha256(file.getvalue()).digest() + file.getvalue())


def kept_clips(path: Path, state: object) -> Annotations | None:
    """Return the clips that were kept for lists in this state; None if there are none, or the file is damaged."""
    if not is_installed("pyarrow"):
        return None
    import pyarrow as pa  # noqa: PLC0415 - pandas has imported it by now
    import pyarrow.parquet as pq  # noqa: PLC0415

    with suppress(OSError, pa.ArrowException, ValueError, LookupError, TypeError, RecursionError):
        content = path.read_bytes()
        digest, file = content[:DIGEST_BYTES], pa.py_buffer(content)[DIGEST_BYTES:]
        if digest != hashlib.sha256(file).digest():
            return None
        schema = pq.read_schema(pa.BufferReader(file))
        about = json.loads((schema.metadata or {})[_ABOUT])
        if about["state"] == state and schema.names == [*KEY, *CATEGORIES]:
            frame = pq.read_table(pa.BufferReader(file)).to_pandas()
            for column in CATEGORIES:
                frame[column] = frame[column].cat.rename_categories(frame[column].cat.categories.astype(object))
            return Annotations(frame, tuple(map(str, about["warnings"])))
    return None
