"""Compares CVDF's list of a version's clips with the official one, and unites them: each clip once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kinetics.annotations.formats import MAX_NAMED_ROWS
from kinetics.annotations.table import constant_column, one_spelling
from kinetics.humanize import counted, quoted
from kinetics.records import KEY

TIME_BITS = 30
"""Bits that hold a time in milliseconds: 10**9, the latest one allowed, is less than 2**30."""
MORE_DTYPES: Mapping[str, Any] = {
    **{"youtube_id": str, "time_start": float, "time_end": float},
    **{"label": "category", "split": "category"},
}


def named_in_one(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return the clips of a list that is read alone, with the column `named_in`."""
    return frame.assign(named_in=constant_column(frame, name))


@dataclass(frozen=True, slots=True)
class Difference:
    """How CVDF's list differs from the official one."""

    in_both: NDArray[np.bool_]
    """Whether CVDF's list names the clip of each official row."""
    more: pd.DataFrame
    """The clips that CVDF's list alone names, as in Annotations.frame."""
    warnings: Sequence[str]

    def unite(self, official: pd.DataFrame) -> pd.DataFrame:
        """Return the clips that either list names, those of CVDF's alone last, with the column `named_in`."""
        names = np.full(len(official) + len(self.more), 2, dtype=np.int8)
        names[: len(official)] = np.where(self.in_both, 0, 1)
        table = pd.concat([official[KEY], self.more[KEY]], ignore_index=True)
        for column in ("label", "split"):
            table[column] = _joined(official[column], self.more[column])
        table["named_in"] = pd.Categorical.from_codes(names, pd.Index(["both", "official", "cvdf"], dtype=object))
        return table


def compare_lists(
    official: pd.DataFrame, cvdf: pd.DataFrame, elsewhere: Callable[[], Iterable[pd.DataFrame]]
) -> Difference:
    """Return how CVDF's list differs from the official one.

    A clip that both name is as the official list has it. `elsewhere` returns the keys of the clips that the official
    list has in the subsets that are not wanted: CVDF's rows of those are left out. It is called only if there are clips
    that CVDF's list alone names.
    """
    count = len(official)
    label = _joined(official["label"], cvdf["label"])
    label, warnings = one_spelling(label, preferred={*official["label"].cat.categories})
    split = _joined(official["split"], cvdf["split"]).cat.codes.to_numpy()
    place, in_both = _matches(cvdf, official)
    alone, moved = place < 0, np.zeros(len(cvdf), dtype=np.bool_)
    if alone.any():
        for others in elsewhere():
            moved[alone] |= _matches(cvdf[alone], others)[0] >= 0
    paired = np.flatnonzero(~alone)
    moved[paired] = split[count + paired] != split[place[paired]]
    if moved.any():  # rarely: so this may take a while
        there = pd.MultiIndex.from_frame(official[[*KEY, "split"]].astype({"split": object}))
        moved[moved] = ~pd.MultiIndex.from_frame(cvdf.loc[moved, [*KEY, "split"]].astype({"split": object})).isin(there)
    warnings += _contradictions(cvdf.iloc[paired], label.iloc[place[paired]], label.iloc[count + paired])
    warnings += _moved(cvdf[moved])
    chosen = alone & ~moved
    more = cvdf[chosen].assign(label=label[count:][chosen].cat.remove_unused_categories().to_numpy())
    return Difference(in_both, more.astype(MORE_DTYPES).reset_index(drop=True), warnings)


def _joined(first: pd.Series[Any], second: pd.Series[Any]) -> pd.Series[Any]:
    """Return one categorical column after the other."""
    texts = [*dict.fromkeys([*first.cat.categories, *second.cat.categories])]
    dtype = pd.CategoricalDtype(pd.Index(texts, dtype=object))
    return pd.concat([first.astype(dtype), second.astype(dtype)], ignore_index=True)


def _matches(rows: pd.DataFrame, others: pd.DataFrame) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Return for each row where `others` has its clip first, -1 if nowhere; and for each of `others` if it is in rows.

    Numbers take the place of the keys: an index of three columns takes several times longer.
    """
    both = pd.concat([rows[KEY], others[KEY]], ignore_index=True)
    start, end = ((both[name].to_numpy() * 1000).round().astype(np.int64) for name in KEY[1:])
    ids, times = pd.factorize(both["youtube_id"])[0], pd.factorize(start << TIME_BITS | end)[0]
    codes, distinct = pd.factorize(ids.astype(np.int64) << 32 | times)
    own, foreign = codes[: len(rows)], codes[len(rows) :]
    first = np.full(len(distinct), -1, dtype=np.intp)
    first[foreign[::-1]] = np.arange(len(foreign))[::-1]
    named = np.zeros(len(distinct), dtype=np.bool_)
    named[own] = True
    return first[own], named[foreign]


def _contradictions(rows: pd.DataFrame, official: pd.Series[str], cvdf: pd.Series[str]) -> list[str]:
    """Return the warning about clips that both lists label, and differently."""
    differ = np.flatnonzero(official.cat.codes.to_numpy() != cvdf.cat.codes.to_numpy())
    labels = [*zip(official.iloc[differ].astype(object), cvdf.iloc[differ].astype(object), strict=True)]
    labelled = [both for both, pair in enumerate(labels) if all(pair)]
    details = [f" ({quoted(labels[at][0])}, not {quoted(labels[at][1])})" for at in labelled[:MAX_NAMED_ROWS]]
    cause = "labelled by the two lists differently, and taken as the official one has it"
    return _warning(rows.iloc[differ[labelled]], cause, details)


def _moved(rows: pd.DataFrame) -> list[str]:
    """Return the warning about clips of CVDF's list that the official one has in another subset."""
    cause = "of CVDF's list left out, because the official one has them in another subset"
    return _warning(rows, cause, [f" (not {split})" for split in rows["split"].head(MAX_NAMED_ROWS)])


def _warning(rows: pd.DataFrame, what: str, details: Sequence[str]) -> list[str]:
    """Return the warning about clips, with the first few of them; nothing if there are none."""
    if rows.empty:
        return []
    first = rows[KEY].head(MAX_NAMED_ROWS).itertuples(index=False)
    named = ", ".join(f"{key[0]} {key[1]:g}-{key[2]:g} s{detail}" for key, detail in zip(first, details, strict=True))
    more = f" and {len(rows) - MAX_NAMED_ROWS:,} more" if len(rows) > MAX_NAMED_ROWS else ""
    return [f"{counted(len(rows), 'clip')} {what}: {named}{more}."]
