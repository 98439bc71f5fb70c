"""The table of the clips that are wanted from the mirror: a file, since half a million are too many for each worker."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from kinetics.errors import Fatal
from kinetics.records import Clip, ClipKey


def write_wanted_clips(path: Path, clips: Iterable[Clip]) -> None:
    """Write the table to a new file at `path`. Raises Fatal if it cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        with closing(_connect(path, "mode=rwc&nolock=1")) as table, table:
            table.execute("PRAGMA journal_mode = OFF")
            table.execute(
                "CREATE TABLE clips (youtube_id, time_start REAL, time_end REAL, label, split,"
                " PRIMARY KEY (youtube_id, time_start, time_end)) WITHOUT ROWID"
            )
            rows = ((*clip.key, clip.label, clip.split) for clip in clips)
            table.executemany("INSERT OR IGNORE INTO clips VALUES (?, ?, ?, ?, ?)", rows)
    except (sqlite3.Error, OSError) as error:
        raise Fatal(f"Cannot write {path}: {error}. Fix that and run the command again.") from error


class WantedClips:
    """A worker's view of the table. Nobody writes to the file any more, so it is opened without locks."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._table = _connect(path, "mode=ro&immutable=1")

    def find(self, key: ClipKey) -> Clip | None:
        """Return the clip if it is wanted, else None. Raises Fatal if the file cannot be read."""
        try:
            row = self._table.execute(
                "SELECT label, split FROM clips WHERE youtube_id = ? AND time_start = ? AND time_end = ?", key
            ).fetchone()
        except sqlite3.Error as error:
            raise Fatal(f"Cannot read {self._path}: {error}. Fix that and run the command again.") from error
        return Clip(*key, *row) if row else None


def _connect(path: Path, options: str) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?{options}", uri=True)
