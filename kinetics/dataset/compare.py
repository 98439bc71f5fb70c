"""Compares two data sets by their manifests: which clips only one has, and which differ in content."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from kinetics.annotations.files import read_file
from kinetics.errors import Fatal
from kinetics.humanize import error_words, seconds_text
from kinetics.records import KEY
from kinetics.storage.atomic import write_text

ONLY_A, ONLY_B, SAME, OTHER = "only in A", "only in B", "the same", "other content"
MAX_ROWS = 1 << 23
"""Lines of a manifest, one for each clip; more would take gigabytes of memory. The largest data sets have 2 million."""
VERDICTS = (ONLY_A, ONLY_B, SAME, OTHER)


@dataclass(frozen=True, slots=True)
class Comparison:
    """The clips of two manifests, A and B, with a verdict about each."""

    table: pd.DataFrame
    """Columns youtube_id, time_start, time_end, label, split, sha256_a, sha256_b ('' if missing) and verdict."""

    @property
    def counts(self) -> dict[str, int]:
        """The number of clips with each verdict."""
        found = self.table["verdict"].value_counts()
        return {verdict: int(found.get(verdict, 0)) for verdict in VERDICTS}

    def classes(self) -> Iterator[tuple[str, dict[str, int]]]:
        """Yield each class in which the two differ and its counts, the class with the most differences first."""
        counts = pd.crosstab(self.table["label"], self.table["verdict"]).reindex(columns=[*VERDICTS], fill_value=0)
        differing = counts.drop(columns=SAME).sum(axis=1)
        for label in differing[differing > 0].sort_values(ascending=False, kind="stable").index:
            yield str(label), dict(zip(VERDICTS, counts.loc[label].tolist(), strict=True))

    def write(self, folder: Path) -> tuple[Path, Path]:
        """Write two CSV files and return their paths: all clips with their verdicts, and the clips that both have.

        The second can be given to --only.
        """
        everything, common = folder / "Kinetics_compare.csv", folder / "Kinetics_common.csv"
        in_both = self.table[self.table["verdict"].isin([SAME, OTHER])]
        for path, table in ((everything, self.table), (common, in_both[[*KEY, "label", "split"]])):
            write_text(path, [table.to_csv(index=False, lineterminator="\n")])
        return everything, common


def compare(a: Path, b: Path) -> Comparison:
    """Compare two manifests. Raises Fatal if one cannot be read or is not a manifest."""
    both = read_manifest(a).merge(read_manifest(b), "outer", on=KEY, suffixes=("_a", "_b"), indicator=True)
    equal = both["sha256_a"] == both["sha256_b"]
    verdict = both["_merge"].map({"left_only": ONLY_A, "right_only": ONLY_B, "both": OTHER}).astype(object)
    verdict[equal] = SAME
    table = both[KEY].assign(
        label=both["label_a"].fillna(both["label_b"]),
        split=both["split_a"].fillna(both["split_b"]),
        sha256_a=both["sha256_a"].fillna(""),
        sha256_b=both["sha256_b"].fillna(""),
        verdict=verdict,
    )
    return Comparison(table)


def read_manifest(path: Path) -> pd.DataFrame:
    """Return the clips of a manifest, their times as `seconds_text`. Raises Fatal if it is none or cannot be read."""
    columns = [*KEY, "label", "split", "sha256"]
    try:
        file = read_file(path)
        rows = file.data.count(b"\n") + file.data.count(b"\r")
        if rows > MAX_ROWS:
            raise Fatal(f"{path} has more than {MAX_ROWS:,} lines, too many for a manifest. Name another file.")
        table = pd.read_csv(
            io.BytesIO(file.data),
            dtype=str,
            keep_default_na=False,
            encoding="utf-8-sig",
            usecols=lambda name: name in columns,
        )
    except (OSError, ValueError, pd.errors.ParserError) as error:
        if "out of memory" in str(error):
            raise MemoryError from error
        raise Fatal(f"Cannot read the manifest {path}: {error_words(error)}. Name another file.") from error
    if missing := [column for column in columns if column not in table]:
        raise Fatal(f"{path} lacks the columns {', '.join(missing)}: --manifest writes a file that has them.")
    for column in KEY[1:]:
        times = pd.to_numeric(table[column], errors="coerce")
        if times.isna().any():
            raise Fatal(
                f"{path} has a {column} that is not a number of seconds: {table[column][times.isna()].iloc[0]!r}."
            )
        table[column] = times.map(seconds_text)
    return table[columns].drop_duplicates(KEY)
