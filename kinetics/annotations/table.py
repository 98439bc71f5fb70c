"""Checks rows of any format by one set of rules: which are clips, and what is said of those that are left out."""

from __future__ import annotations

import re
import string
from collections import defaultdict
from collections.abc import Container, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from kinetics.annotations.files import AnnotationFile, subset_in
from kinetics.annotations.formats import MAX_NAMED_ROWS, MAX_SECONDS, left_out, read_rows, to_seconds
from kinetics.annotations.headers import ALIASES, FileFormat
from kinetics.errors import Fatal
from kinetics.humanize import counted, quoted
from kinetics.records import KEY, SPLIT_OF, Clip, Subset
from kinetics.storage.layout import label_folder

YOUTUBE_ID = re.compile(r"[A-Za-z0-9_-]{11}")
ID_CHARACTERS = f"{string.ascii_letters}{string.digits}_-".encode()
MAX_LABEL_BYTES = 200
"""Maximum length of a label, in bytes of UTF-8; file systems allow a folder's name 255."""
MAX_CELL_CHARS = 1 << 17
"""Maximum length of a cell, in characters; a longer one is what an open quote makes of the following lines."""
CLIPS_PER_BATCH = 1024
"""Rows that become plain values in one step, which is faster than one by one."""


@dataclass(frozen=True, slots=True)
class Annotations:
    """The wanted clips, in the order of their file, and the warnings about rows that were left out."""

    frame: pd.DataFrame
    """Columns youtube_id, time_start and time_end (float64, seconds, to the millisecond), label ('' where there is
    none) and split (train, val or test), these two categorical; unique by (youtube_id, time_start, time_end, split).
    Clips of the published lists have `named_in`, too: which of the lists that were read name the clip."""
    warnings: tuple[str, ...]
    """One text for each cause, with the number of rows and the first few of them; shown to the user."""
    data_set: str = ""
    """The data set whose format all files of the list have; empty for Kinetics, or if they differ."""

    def clips(self) -> Iterator[Clip]:
        """Yield the rows as clips, made in batches so that memory does not grow with the list."""
        for first in range(0, len(self), CLIPS_PER_BATCH):
            rows = self.frame.iloc[first : first + CLIPS_PER_BATCH]
            yield from map(Clip, *(rows[column].tolist() for column in ALIASES))

    def __len__(self) -> int:
        return len(self.frame)


def usable_rows(
    file: AnnotationFile, subset: Subset | None, named: FileFormat | None = None
) -> tuple[pd.DataFrame, FileFormat, list[str]]:
    """Return the rows of a file that are clips, as in Annotations.frame, the file's format, and the warnings about it.

    All rows belong to `subset`; under None each row's own cell, or else the file's name, says to which. Of a format
    with all subsets in one file, the rows of the others are left out.
    """
    cells, found_format, warnings = read_rows(file, named)
    if cells.empty:
        warnings.append("it holds no rows.")
    by_cell = subset is None or (found_format.own_splits and bool(_subsets(cells).values()))
    if by_cell and subset:
        cells, others = _of_subset(cells, subset)
        warnings += others
    split, split_warnings = _splits(cells, file, None if by_cell else subset)
    rows, bad = valid_rows(cells, split, file.name)
    return rows, found_format, [*warnings, *split_warnings, *bad]


def _subsets(cells: pd.DataFrame) -> dict[str, Subset]:
    """Return the subsets that the texts of the split column name; the texts that name none are not in it."""
    texts = cells["split"].cat.categories if "split" in cells else ()
    return {text: subset for text in texts if (subset := subset_in(text))}


def _of_subset(cells: pd.DataFrame, subset: Subset) -> tuple[pd.DataFrame, list[str]]:
    """Return the rows that are not of other subsets, and a warning with the number of those that are."""
    others = {text: other for text, other in _subsets(cells).items() if other != subset}
    elsewhere = cells["split"].isin([*others])
    count = counted(int(elsewhere.sum()), "row")
    what = f"{count} of {' and '.join(sorted({*others.values()}))} left out: -s {subset} was chosen."
    return cells[~elsewhere], [what] if elsewhere.any() else []


def valid_rows(cells: pd.DataFrame, split: pd.Series[str], file_name: str) -> tuple[pd.DataFrame, list[str]]:
    """Return the rows that are clips, as in Annotations.frame, and a warning for each cause of rows left out.

    `split` has a row's split, or NaN. Raises Fatal if a row that is left out has a cell above MAX_CELL_CHARS.
    """
    label = cells["label"] if "label" in cells else constant_column(cells, "")
    rows = pd.DataFrame(
        {
            "youtube_id": cells["youtube_id"],
            "time_start": to_seconds(cells["time_start"]),
            "time_end": to_seconds(cells["time_end"]),
            "label": label,
            "split": split,
        }
    )
    in_order = rows["time_start"] < rows["time_end"]
    usable = np.array([*map(_can_be_folder, label.cat.categories)], dtype=bool)
    rules = [
        ("there are more cells than in the header", ["youtube_id", "surplus"], cells["surplus"] == ""),
        ("the id is not 11 of A-Z a-z 0-9 _ -", ["youtube_id"], _are_ids(cells["youtube_id"])),
        (f"the times are not 0 <= start < end <= {MAX_SECONDS} s", ["time_start", "time_end"], in_order),
        ("the label cannot be the name of a folder", ["label"], pd.Series(usable[label.cat.codes], index=cells.index)),
        ("the split is not train, validate or test", ["split"], split.notna()),
    ]
    warnings = list[str]()
    good = pd.Series(True, index=cells.index)
    for cause, columns, passed in rules:
        bad = cells[good & ~passed].astype(object)
        if bad.map(len).gt(MAX_CELL_CHARS).any(axis=None):
            what = f"{file_name} has a cell of more than {MAX_CELL_CHARS:,} characters. Is a quote left open?"
            raise Fatal(f"{what} Close it, or name another file.")
        warnings += left_out(bad.reindex(columns=columns), cause)
        good &= passed
    rows, repeats = _without_repeats(rows[good])
    label, spellings = one_spelling(rows["label"].cat.remove_unused_categories())  # labels of rows that were left out
    if "label" in cells and "" in label.cat.categories:
        nameless = counted(int((label == "").sum()), "row")
        warnings.append(f"{nameless} without a label: unlabelled, in _unlabeled.")
    return rows.assign(label=label).astype({"youtube_id": str}), [*warnings, *spellings, *repeats]


def one_spelling(label: pd.Series[Any], preferred: Container[str] = ()) -> tuple[pd.Series[Any], list[str]]:
    """Return labels without two that have one folder, and a warning about those that are taken as another.

    A preferred spelling counts, else the one with the most spaces, because that is how the official lists write
    classes.
    """
    texts = defaultdict[str, list[str]](list)
    for text in label.cat.categories:
        texts[label_folder(text)].append(text)
    if len(texts) == len(label.cat.categories):
        return label, []
    spelt = {
        text: max(same, key=lambda one: (one in preferred, not one, one.count(" "), one))
        for same in texts.values()
        for text in same
    }
    changed = {text: kept for text, kept in spelt.items() if text != kept}
    named = [f"{quoted(text)} as {quoted(changed[text]) if changed[text] else 'unlabelled'}" for text in changed]
    more = f" and {len(named) - MAX_NAMED_ROWS:,} more" if len(named) > MAX_NAMED_ROWS else ""
    rows = counted(int(label.isin([*changed]).sum()), "row")
    what = f"{rows} spelt like others of the same folder, and taken for the same class: "
    warning = f"{what}{', '.join(named[:MAX_NAMED_ROWS])}{more}."
    categories = pd.Index([*dict.fromkeys(spelt.values())], dtype=object)
    codes = categories.get_indexer(pd.Index([spelt[text] for text in label.cat.categories], dtype=object))
    return pd.Series(pd.Categorical.from_codes(codes[label.cat.codes], categories), index=label.index), [warning]


def _splits(cells: pd.DataFrame, file: AnnotationFile, subset: Subset | None) -> tuple[pd.Series[str], list[str]]:
    """Return the split of each row, NaN where its cell names none, and warnings. Raises Fatal if nothing names one."""
    named = _subsets(cells)
    found = {*named.values()}
    if subset is None and found:
        return cells["split"].map({text: SPLIT_OF[one] for text, one in named.items()}), []
    subset = subset or subset_in(file.path.stem)
    if subset is None:
        raise Fatal(
            f"Neither a split column nor its name says which subset {file.name} holds. "
            "Choose it: -s train, -s validate or -s test."
        )
    # Few-shot files keep the original split in this column, so it does not overrule the person who named the file.
    differs = f"its split column says {' and '.join(sorted(found))}, but all rows are taken as {subset}."
    return constant_column(cells, SPLIT_OF[subset]), [differs] if found - {subset} else []


def constant_column(cells: pd.DataFrame, text: str) -> pd.Series[Any]:
    """Return a categorical column with the same text in all rows."""
    return pd.Series(text, index=cells.index, dtype=pd.CategoricalDtype([text]))


def _are_ids(column: pd.Series[str]) -> pd.Series[bool]:
    """Tell for each cell whether it is an id. Nearly always all are, so that is tested first: in one text, by lines."""
    lines = "\n".join([*column.tolist(), ""]).encode("utf-8", "replace")
    ends = b"\n" * len(column)
    if lines[11::12] == ends == lines.translate(None, ID_CHARACTERS):
        return pd.Series(True, index=column.index)
    return column.map(YOUTUBE_ID.fullmatch).notna()


def _can_be_folder(label: str) -> bool:
    """Return whether a label is a plain, visible name, or empty: clips without a label have their own folder."""
    plain = label.isprintable() and not label.startswith(".") and "/" not in label and "\\" not in label
    return plain and len(label.encode()) <= MAX_LABEL_BYTES


def _without_repeats(rows: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Return the first row of each clip, and the warnings about the others."""
    ids = rows["youtube_id"]
    again = ids.duplicated()
    if not again.any():
        return rows, []
    candidates = rows[ids.isin(ids[again])].astype({"label": object, "split": object})
    groups = candidates[candidates.duplicated([*KEY, "split"], keep=False)]
    kept = groups.groupby([*KEY, "split"])["label"].transform("first")
    repeats = groups.assign(kept=kept)[groups.duplicated([*KEY, "split"])]
    same = repeats["label"] == repeats["kept"]
    return rows.drop(repeats.index), [
        *left_out(repeats.loc[same, KEY], "an earlier row has the same clip"),
        *left_out(repeats.loc[~same, [*KEY, "label", "kept"]], "an earlier row gives the clip the label shown last"),
    ]
