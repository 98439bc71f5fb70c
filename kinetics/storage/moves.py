"""The table of the files that were moved to their places: with it, the moves can be undone."""

from __future__ import annotations

import csv
import os
from pathlib import Path

from kinetics.storage.atomic import cannot_write

FIELDS = ("from", "to")
"""Both are paths in the folder where the table is."""


def note_move(table: Path, source: Path, target: Path) -> None:
    """Add a move that is about to be made. Raises Fatal if it cannot be written down: then nothing is moved."""
    root = table.parent
    try:
        with open(table, "a+", encoding="utf-8", newline="", errors="surrogateescape") as file:
            writer = csv.writer(file, lineterminator="\n")
            if not file.tell():
                writer.writerow(FIELDS)
            elif _ends_in_half_a_line(table):
                file.write("\n")
            writer.writerow((os.path.relpath(source, root), os.path.relpath(target, root)))
    except OSError as error:
        raise cannot_write(error, table) from error


def _ends_in_half_a_line(table: Path) -> bool:
    with open(table, "rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read() != b"\n"
