"""Reads a list of clips that selects among others: a table, this program's own lists, or lines of names or ids."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from kinetics.annotations.cells import as_utf8, is_json, read_cells
from kinetics.annotations.files import AnnotationFile, read_file
from kinetics.annotations.formats import left_out, read_rows
from kinetics.annotations.headers import ALIASES, FileFormat, UnknownHeaderError
from kinetics.annotations.table import constant_column, valid_rows
from kinetics.errors import Fatal
from kinetics.records import KEY, ClipKey

_ID, _TIME = "[A-Za-z0-9_-]{11}", r"\d{1,7}(?:\.\d{1,3})?"
_SUFFIX = r"(?:\.[A-Za-z0-9]{2,4})?"
ROW = re.compile(rf'(?:^|[\t,;]) *"?({_ID})"? *[\t,;] *"?({_TIME})"? *[\t,;] *"?({_TIME})"? *(?=$|[\t,;])')
"""An id and two times in cells side by side, as in a line of errors.log, or in a row of a CSV without its header."""
NAME = re.compile(rf"(?:^|(?<=[/\\\s,;\"']))({_ID})_({_TIME})_({_TIME}){_SUFFIX}(?=$|[\s,;\"'])")
"""The name of a clip, perhaps behind folders and before a class: `tai_chi/<id>_000001_000011.mp4 7`."""
BARE_ID = re.compile(rf"(?:^|[/\\=])({_ID}){_SUFFIX}(?:[\s,]+-?\d+)*$")
"""An id alone, perhaps at the end of a path or a URL, and before a class number."""
IDS = FileFormat("ids", {name: ALIASES[name] for name in KEY}, required=["youtube_id"])
"""A table of ids without times."""


@dataclass(frozen=True, slots=True)
class ClipList:
    """The clips that a list names."""

    keys: pd.DataFrame
    """The clips, by the columns of KEY, each once."""
    ids: frozenset[str]
    """The videos of which all clips are named."""
    warnings: tuple[str, ...] = ()


def read_clip_list(path: Path) -> ClipList:
    """Return the clips and videos that a file names. Raises Fatal if it names none, or cannot be read."""
    try:
        file = read_file(path)
    except OSError as error:
        raise Fatal(f"Cannot read the list of clips in {path}: {error.strerror or error}. Check the path.") from error
    try:
        cells, _, warnings = read_rows(file, for_keys=True)
        rows, bad = valid_rows(cells, constant_column(cells, "train"), file.name)
        found = ClipList(rows[KEY].drop_duplicates(), frozenset(), (*warnings, *bad))
    except UnknownHeaderError as error:
        found = _ids_of_table(file, error) or _named_in_lines(file)
    warnings_here = tuple(f"{path}: {warning}" for warning in found.warnings)
    if found.keys.empty and not found.ids:
        remedy = f"Give it the columns {', '.join(KEY)}, or lines such as <id>_<start>_<end>.mp4 or <id>."
        raise Fatal(" ".join([f"{path} names no clip.", *warnings_here, remedy]))
    return ClipList(found.keys, found.ids, warnings_here)


def _ids_of_table(file: AnnotationFile, unknown: UnknownHeaderError) -> ClipList | None:
    """Return the videos of a table of ids; None if it is no table. Raises `unknown` if it has half of the times."""
    try:
        cells = read_cells(file, IDS)
    except UnknownHeaderError:
        return None
    if cells.header.columns["time_start"] or cells.header.columns["time_end"]:
        raise unknown
    ids = cells.table["youtube_id"]
    good = ids.str.fullmatch(_ID).astype(bool)
    bad = left_out(ids[~good].to_frame(), "the id is not 11 of A-Z a-z 0-9 _ -")
    return ClipList(pd.DataFrame(columns=KEY), frozenset(ids[good]), (*cells.warnings, *bad))


def _named_in_lines(file: AnnotationFile) -> ClipList:
    """Return what the lines of a text, or of a JSON list, name; a line that names nothing is counted."""
    keys, ids = dict[ClipKey, None](), set[str]()
    other = dict[int, str]()
    for number, line in enumerate(_lines(file), 1):
        if not (text := line.strip()) or text.startswith("#"):
            continue
        row = ROW.search(text)
        named = [row.groups()] if row else NAME.findall(text)
        clips = [(name, float(start), float(end)) for name, start, end in named if float(start) < float(end)]
        keys |= dict.fromkeys(clips)
        if not named and (bare := BARE_ID.search(text)):
            ids.add(bare[1])
        elif not clips:
            other[number] = text
    rows: dict[str, list[Any]] = {name: [key[at] for key in keys] for at, name in enumerate(KEY)}
    table = pd.DataFrame({"line": other.values()}, index=pd.Index([*other], name="line"))
    return ClipList(pd.DataFrame(rows), frozenset(ids), (*left_out(table, "no clip is named there"),))


def _lines(file: AnnotationFile) -> list[str]:
    data = as_utf8(file.data)
    text = data.decode("utf-8", errors="replace")
    if is_json(file, data):
        content = json.loads(text)  # it was read as JSON before
        return [entry for entry in content if isinstance(entry, str)] if isinstance(content, list) else []
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
