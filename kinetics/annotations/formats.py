"""Turns the cells of each format into our columns: which clips its rows stand for, and of which class.

A label is as it is written in the file, or the file is refused: no class is guessed, and none is left away unsaid.
"""

from __future__ import annotations

import math
import re

import numpy as np
import pandas as pd

from kinetics.annotations.cells import Cells, read_cells
from kinetics.annotations.files import AnnotationFile
from kinetics.annotations.headers import (
    AUDIOSET,
    AVA_KINETICS,
    EXAMPLE,
    HACS,
    KINETICS,
    LIKE_LABEL,
    VGGSOUND,
    FileFormat,
    Header,
    match_titles,
)
from kinetics.errors import Fatal
from kinetics.humanize import counted, letters_and_digits, quoted, seconds_text

VGGSOUND_CLIP_S = 10.0
"""Seconds that each clip of VGGSound lasts; its list has their beginnings only."""
AVA_MARGIN_S = 5.0
"""Seconds before and after a key frame: the clips of AVA-Kinetics last 10 s, with the key frame in the middle."""
MAX_SECONDS = 1_000_000
"""The latest time in a video, in seconds; file names have six digits for it."""
MAX_NAMED_ROWS = 3
"""The number of rows that a warning names, of all those that it counts."""
_NUMERAL = re.compile(r"[+-]?\d+(?:\.\d*)?")
_SEVERAL = "a clip may have several labels, so all are unlabelled here, in _unlabeled: join them with the file by id"


def read_rows(
    file: AnnotationFile, named: FileFormat | None = None, *, for_keys: bool = False
) -> tuple[pd.DataFrame, FileFormat, list[str]]:
    """Return the rows of a file as text under our column names, the file's format, and warnings.

    `label` and `split` are there if the file has them, unless only the keys of clips are wanted. Raises Fatal if the
    file is not annotations, or if it is not certain which of its columns holds the labels.
    """
    cells = read_cells(file, named)
    header = _checked_format(cells)
    wanted = [name for name, at in header.columns.items() if at and not (for_keys and name in ("label", "split"))]
    columns = {name: _agreed(cells.table, header, name, file.name) for name in wanted}
    rows = pd.DataFrame({**columns, "surplus": cells.table["surplus"]}, copy=False)
    if "label" in rows and named is not KINETICS:
        _check_names(rows["label"], header, file.name)
    elif "label" not in rows and "label" in header.format.columns and not for_keys:
        cells.warnings.extend(_check_unlabelled(cells, file.name))
    warnings = list[str]()
    if header.format is HACS:
        rows, warnings = _positive_samples(rows)
    elif header.format is VGGSOUND:
        rows["time_end"] = _later(rows["time_start"], VGGSOUND_CLIP_S)
    elif header.format is AVA_KINETICS:
        rows, warnings = _sections(rows)
    elif header.format is AUDIOSET:
        warnings = [f"in AudioSet {_SEVERAL}."]
    return rows, header.format, [*cells.warnings, *warnings]


def _checked_format(cells: Cells) -> Header:
    """Return the header, as Kinetics' own if it looks like HACS' but its numbers are not those of samples."""
    header = cells.header
    if header.format is not HACS:
        return header
    texts = [text for at in header.columns["sign"] for text in cells.table[at].cat.categories]
    signs = {float(text) for text in texts if _NUMERAL.fullmatch(text)}
    return header if signs and signs <= {1.0, -1.0} else match_titles(header.titles, KINETICS) or header


def _agreed(table: pd.DataFrame, header: Header, name: str, file_name: str) -> pd.Series[str]:
    """Return the cells of one meaning. Raises Fatal if two columns have it, and differ."""
    if name == "youtube_id":
        return table[name]
    first, *others = [at for at in header.columns[name] if (table[at] != "").any()] or header.columns[name][:1]
    for other in others:
        differ = table.index[table[first].astype(object) != table[other].astype(object)]
        if len(differ):
            texts = " and ".join(quoted(table.at[differ[0], at]) for at in (first, other))
            titles = " and ".join(quoted(header.titles[at]) for at in (first, other))
            what = f"{file_name} has two columns for {name}, {titles}, that differ: {texts}"
            remedy = f"Keep the right one, and rename or remove the other. An example of a header: {EXAMPLE}"
            raise Fatal(f"{what} in {table.index.name} {differ[0]}. {remedy}")
    return table[first]


def _check_names(label: pd.Series[str], header: Header, file_name: str) -> None:
    """Raise Fatal if the labels are numbers, which say the class only together with another list."""
    texts = [text for text in label.cat.categories if text]
    if texts and all(map(_NUMERAL.fullmatch, texts)):
        titles = ", ".join(quoted(header.titles[at]) for at in header.columns["label"])
        what = f"{file_name} has numbers in the column {titles}, such as {quoted(texts[0])}, not the names of classes"
        remedy = "Write the names there, such as archery. If these are the names, add --format kinetics."
        raise Fatal(f"{what}. {remedy}")


def _check_unlabelled(cells: Cells, file_name: str) -> list[str]:
    """Return a warning about the columns of numbers in a file without a known column of labels, if it has any.

    Raises Fatal if a column may hold the labels, by its title or because there is text in it.
    """
    header, table = cells.header, cells.table
    suspects = [
        at
        for at in header.others
        if LIKE_LABEL.search(letters_and_digits(header.titles[at]))
        or not all(map(_NUMERAL.fullmatch, filter(None, table[at].cat.categories)))
    ]
    if header.others and not suspects:
        titles = ", ".join(quoted(header.titles[at]) for at in header.others[:10])
        return [f"it has no column of classes, so its clips are unlabelled; not read: {titles}."]
    if suspects:
        titles = ", ".join(quoted(header.titles[at]) for at in suspects[:10])
        what = f"{file_name} has no column that is known to hold the classes, and these that may: {titles}"
        raise Fatal(f"{what}. Name the right one label, as in {EXAMPLE}. If none holds classes, remove them.")
    return []


def _positive_samples(rows: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Return the rows of HACS in which the action is seen: its column `label` is 1 there, and -1 where it is not."""
    sign = pd.to_numeric(rows["sign"].astype(object), errors="coerce")
    neither = rows.loc[~sign.isin([1, -1]), ["youtube_id", "sign"]]
    negative = int((sign == -1).sum())
    what = f"{counted(negative, 'row')} left out, negative samples of HACS: the action is not seen there."
    return rows[sign == 1].drop(columns="sign"), [
        *([what] if negative else []),
        *left_out(neither, "the column label is neither 1 nor -1"),
    ]


def _later(times: pd.Series[str], seconds: float) -> pd.Series[str]:
    """Return times that many seconds later, as text; what is no time stays as it is."""
    texts = [
        text if math.isnan(time) else seconds_text(time + seconds)
        for text, time in zip(times.cat.categories, _numbers(times.cat.categories), strict=True)
    ]
    return pd.Series(np.array(texts, dtype=object)[times.cat.codes], index=times.index, dtype="category")


def _sections(rows: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Return the sections of 10 s around the key frames of AVA, those that overlap as one; rows without a time stay.

    A row is one person's action at a key frame, so most key frames have several. AVA's own videos have one every
    second for 15 minutes, which make one section; those from Kinetics have one each.
    """
    key_frames = to_seconds(rows["timestamp"])
    timed = rows.assign(at=key_frames)[key_frames.notna()]
    frames = timed.sort_values(["youtube_id", "at"], kind="stable").drop_duplicates(["youtube_id", "at"])
    start, end = (frames["at"] - AVA_MARGIN_S).clip(lower=0), frames["at"] + AVA_MARGIN_S
    begins = (frames["youtube_id"] != frames["youtube_id"].shift()) | (start >= end.shift())
    last = begins.shift(-1, fill_value=True)
    sections = frames[begins.to_numpy()].assign(
        time_start=[*map(seconds_text, start[begins])], time_end=[*map(seconds_text, end[last])]
    )
    untimed = rows[key_frames.isna()].assign(time_end="")
    untimed["time_start"] = untimed["timestamp"].astype(object)
    table = pd.concat([sections, untimed])[["youtube_id", "time_start", "time_end", "surplus"]].sort_index()
    table = table.astype({"time_start": "category", "time_end": "category", "surplus": "category"})
    found = f"{counted(len(frames), 'key frame')} of AVA make {counted(len(sections), 'clip')} of 10 s or more"
    return table, [f"{found}; {_SEVERAL} and time."]


def _numbers(texts: pd.Index[str]) -> pd.Series[float]:
    """Return texts as seconds, rounded to milliseconds; NaN if not from 0 to MAX_SECONDS."""
    seconds = pd.Series(pd.to_numeric(texts.to_numpy(), errors="coerce"), dtype="float64")
    return seconds.where(seconds.between(0, MAX_SECONDS)).round(3) + 0.0  # makes 0.0 of -0.0, which prints differently


def to_seconds(column: pd.Series[str]) -> pd.Series[float]:
    """Return a column of text as seconds, rounded to milliseconds; NaN if not from 0 to MAX_SECONDS."""
    return _numbers(column.cat.categories).take(column.cat.codes.to_numpy()).set_axis(column.index)


def left_out(bad: pd.DataFrame, cause: str) -> list[str]:
    """Return the warning about bad rows, with the cells at fault of the first few; nothing if there are none."""
    if bad.empty:
        return []
    first = bad.head(MAX_NAMED_ROWS).itertuples()
    named = [f"{bad.index.name} {number} ({', '.join(map(quoted, cells))})" for number, *cells in first]
    more = f" and {len(bad) - MAX_NAMED_ROWS:,} more" if len(bad) > MAX_NAMED_ROWS else ""
    return [f"{len(bad):,} row{'s' * (len(bad) > 1)} left out, {cause}: {', '.join(named)}{more}."]
