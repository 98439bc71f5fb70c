"""Tells from its header, or from its first row, of which format an annotation file is, and which columns it has."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kinetics.errors import Fatal
from kinetics.humanize import letters_and_digits, quoted
from kinetics.records import KEY

ALIASES: dict[str, tuple[str, ...]] = {
    "youtube_id": ("youtube_id", "video_id", "ytid", "id"),
    "time_start": ("time_start", "start_time", "start", "start_seconds"),
    "time_end": ("time_end", "end_time", "end", "end_seconds"),
    "label": ("label", "class", "class_name", "label_name", "action", "action_class"),
    "split": ("split", "subset"),
}
"""Our columns, in the order of Clip's fields, with the names that files give them. Case, spaces, hyphens and
underscores do not matter. Several columns of one meaning must agree, but of those with ids only the first name found
counts, because a bare `id` is often the number of the row."""
NOT_LABELS = {"", "unnamed0", "iscc", "duration", "url", "segment", "resolution"}
"""Titles of further columns in published lists, none of which holds a class."""
LIKE_LABEL = re.compile("label|class|action|activit|categor|target|verb|noun")
"""Occurs in a title of a column that holds a class, perhaps as a number."""
EXAMPLE = "label,youtube_id,time_start,time_end"
"""A header that is understood, for messages."""
MAX_OTHER_COLUMNS = 100
"""Columns of unknown meaning in a file without labels; each of them is read to see whether it may hold the labels."""

_ID, _NUMBER, _BOX = "[A-Za-z0-9_-]{11}", r"[0-9]+(?:\.[0-9]*)?", r"(?:[01]?\.[0-9]+|[01])?"


class UnknownHeaderError(Fatal):
    """A file has no header of a known format."""


@dataclass(frozen=True, slots=True)
class FileFormat:
    """A format of annotation files, and how it is recognised."""

    name: str
    """As --format names it."""
    columns: Mapping[str, tuple[str, ...]]
    """The columns that are read, by our names or the format's own, with the names that files give them."""
    required: Sequence[str] = (*KEY,)
    marks: Sequence[set[str]] = ()
    """Titles, as `letters_and_digits` gives them, by which a header of this format is recognised: all of one set."""
    no_header: Sequence[str] = ()
    """The columns of a file without a header, in their order; empty if files of this format have one."""
    first_row: re.Pattern[str] | None = None
    """Matches the cells of a row without a header, each behind a line break."""
    needs_name: bool = False
    """Whether a row alone could be another format's, so that the file's name must have this one's in it."""
    own_splits: bool = False
    """Whether one file holds all subsets, so that its split column says which rows are wanted."""
    data_set: str = ""
    """The data set whose lists have this format, as its folder is named; empty for Kinetics."""


def _row(*cells: str) -> re.Pattern[str]:
    return re.compile("".join(f"\n{cell}" for cell in cells))


_AVA_COLUMNS = {
    "youtube_id": ALIASES["youtube_id"],
    "timestamp": ("timestamp", "middle_frame_timestamp", "middle_frame", "key_frame", "key_frame_timestamp"),
}
_VGGSOUND_COLUMNS = {name: ALIASES[name] for name in ("youtube_id", "time_start", "label", "split")}
KINETICS = FileFormat("kinetics", ALIASES, marks=[set()])
ACTIVITYNET = FileFormat("activitynet", ALIASES, own_splits=True, data_set="ActivityNet")
HACS = FileFormat(
    "hacs",
    {**ALIASES, "label": ("class_name",), "sign": ("label",)},
    required=(*KEY, "label", "sign"),
    marks=[{"classname", "label"}],
    own_splits=True,
    data_set="HACS",
)
COUNTIX = FileFormat(
    "countix",
    {**ALIASES, "time_start": ("repetition_start",), "time_end": ("repetition_end",)},
    marks=[{"repetitionstart", "repetitionend"}],
    data_set="Countix",
)
AVA_KINETICS = FileFormat(
    "ava-kinetics",
    _AVA_COLUMNS,
    required=[*_AVA_COLUMNS],
    marks=[{"actionid"}],
    no_header=("youtube_id", "timestamp", "x1", "y1", "x2", "y2", "action_id", "person_id"),
    first_row=_row(_ID, _NUMBER, *[_BOX] * 4, "[0-9]*", "[0-9]*"),
    data_set="AVA-Kinetics",
)
AUDIOSET = FileFormat(
    "audioset",
    {name: ALIASES[name] for name in KEY},
    marks=[{"ytid", "positivelabels"}, {"ytid", "labels"}],
    no_header=("youtube_id", "time_start", "time_end", "labels"),
    first_row=_row(_ID, _NUMBER, _NUMBER, r"/[a-z]/\w+(?:,/[a-z]/\w+)*"),
    data_set="AudioSet",
)
VGGSOUND = FileFormat(
    "vggsound",
    _VGGSOUND_COLUMNS,
    required=[*_VGGSOUND_COLUMNS],
    no_header=("youtube_id", "time_start", "label", "split"),
    first_row=_row(_ID, _NUMBER, r"(?=[^\n]*[^\W\d])[^\n]*", "(?:train|test|val|validation)"),
    needs_name=True,
    own_splits=True,
    data_set="VGGSound",
)
FORMATS = {one.name: one for one in (HACS, COUNTIX, AUDIOSET, ACTIVITYNET, KINETICS, AVA_KINETICS, VGGSOUND)}
"""The formats that --format names, in the order in which a header is compared with them."""


@dataclass(frozen=True, slots=True)
class Header:
    """The columns of a file."""

    format: FileFormat
    titles: Sequence[str]
    """The titles as the file has them, or our own for a file without a header."""
    columns: Mapping[str, Sequence[int]]
    """The indices of the columns that hold each of the format's."""

    @property
    def others(self) -> list[int]:
        """The columns that are not read, nor known to hold something else than a class."""
        known = {index for indices in self.columns.values() for index in indices}
        titles = enumerate(map(letters_and_digits, self.titles))
        return [index for index, title in titles if index not in known and title not in NOT_LABELS]


def match_titles(titles: Sequence[str], named: FileFormat | None = None) -> Header | None:
    """Return the columns if these titles are the header of the named format, or else of any; None if of none."""
    places = _places(titles)
    for one in [named] if named else FORMATS.values():
        columns = {name: _indices(name, names, places) for name, names in one.columns.items()}
        marked = any(marks <= places.keys() for marks in one.marks)
        # A clip of AudioSet and AVA has several labels: with a column of one label it is another's list.
        labelled = "label" not in one.columns and _indices("label", ALIASES["label"], places)
        if all(columns[name] for name in one.required) and (named or (marked and not labelled)):
            return Header(one, titles, columns)
    return None


def _places(titles: Sequence[str]) -> dict[str, list[int]]:
    """Return the indices of the columns with each title."""
    places: dict[str, list[int]] = {}
    for index, title in enumerate(titles):
        places.setdefault(letters_and_digits(title), []).append(index)
    return places


def _indices(column: str, names: Sequence[str], places: Mapping[str, list[int]]) -> list[int]:
    found = [places[name] for name in map(letters_and_digits, names) if name in places]
    return sorted(index for indices in (found[:1] if column == "youtube_id" else found) for index in indices)


def match_row(row: Sequence[str], file_name: str, named: FileFormat | None = None) -> Header | None:
    """Return the columns of a file without a header, by its first row; None if it is of no known format.

    Raises UnknownHeaderError if only a person can tell of which format it is.
    """
    for one in [named] if named else FORMATS.values():
        # The last cell of AVA's rows, the person, is not in all of its versions.
        enough = one.no_header and len(row) in (len(one.no_header), len(one.no_header) - (one is AVA_KINETICS))
        if not enough or not (named or _is_first_row(one, row)):
            continue
        if one.needs_name and not named and one.name not in letters_and_digits(file_name):
            what = f"{file_name} has no header. If it is a list of {one.name}, say so: --format {one.name}"
            raise UnknownHeaderError(
                f"{what} (one of {', '.join(sorted(FORMATS))}). If not, write one above it: {EXAMPLE}"
            )
        columns = {name: [index] for index, name in enumerate(one.no_header) if name in one.columns}
        return Header(one, one.no_header, columns)
    return None


def _is_first_row(one: FileFormat, row: Sequence[str]) -> bool:
    cells = [*row, *[""] * (len(one.no_header) - len(row))]
    return bool(one.first_row and one.first_row.fullmatch("".join(f"\n{cell.strip()}" for cell in cells)))


def no_columns(titles: Sequence[str], file_name: str, named: FileFormat | None = None) -> UnknownHeaderError:
    """Return the error for a file that has no header of a known format."""
    one = named or KINETICS
    places = _places(titles)
    missing = [name for name in one.required if not _indices(name, one.columns[name], places)]
    present = ", ".join(map(quoted, titles[:10])) or "none"
    what = f"{file_name} lacks the columns {', '.join(missing)} (found: {present})"
    return UnknownHeaderError(
        f"{what}. Give it a header such as {EXAMPLE}, name its format with --format ({', '.join(sorted(FORMATS))}), "
        "or name another file."
    )
