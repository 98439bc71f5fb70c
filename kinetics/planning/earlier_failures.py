"""The failures of earlier runs, as the error logs have them, and sightings of thumbnails, for the clips of a plan."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kinetics.records import KEY, ClipKey, Split
from kinetics.storage.attempts import seconds_since_1970
from kinetics.storage.ledger import ERROR_FIELDS, Ledger
from kinetics.storage.thumbnail_log import ThumbnailLog


def find_failures(frame: pd.DataFrame, ledgers: Mapping[Split, Ledger]) -> tuple[NDArray[np.intp], pd.DataFrame]:
    """Return a number for the video of each row of `frame`, and why clips of it were missing after their last attempts.

    The latter has a line for each such clip, in the order of the rows: its `row`, `video`, key, split, `category`,
    `reason` and `time_s`, in seconds since 1970, NaN if the log does not say. Numbers of videos are compared several
    times faster than their ids.
    """
    logs = [_table(ledger.failures()).assign(split=split) for split, ledger in ledgers.items()]
    log = pd.concat(logs or [_table({}).assign(split="")], ignore_index=True)
    numbers, _ = pd.factorize(pd.concat([frame["youtube_id"], log["youtube_id"]], ignore_index=True))
    video, log["video"] = numbers[: len(frame)], numbers[len(frame) :]
    log["time_s"] = seconds_since_1970(log["time"])
    rows = np.flatnonzero(np.isin(video, log["video"]))
    tried = frame[[*KEY[1:], "split"]].iloc[rows].astype({"split": object}).assign(row=rows, video=video[rows])
    return video, tried.merge(log, on=["video", *KEY[1:], "split"])


def keys_of(failures: pd.DataFrame) -> list[ClipKey]:
    """Return the keys of the clips in a table."""
    return [*zip(*(failures[column].tolist() for column in KEY), strict=True)]


def settle(failures: pd.DataFrame, ledgers: Mapping[Split, Ledger], there: NDArray[np.bool_]) -> pd.DataFrame:
    """Return the failures of the clips that are not `there`, on disk, and let the ledgers miss these and no others."""
    on_disk = there[failures["row"]]
    for split, ledger in ledgers.items():
        in_split = (failures["split"] == split).to_numpy()
        for key in keys_of(failures[on_disk & in_split]):
            ledger.mark_present(key)
        ledger.take_over(keys_of(failures[~on_disk & in_split]))
    return failures[~on_disk]


def with_sightings(failures: pd.DataFrame, logs: Mapping[Split, ThumbnailLog]) -> pd.DataFrame:
    """Return failures with the last sighting of each video's `thumbnail`, at `seen_s`; NaN where there is none."""
    seen = pd.concat([log.sightings().assign(split=split) for split, log in logs.items()], ignore_index=True)
    return failures.merge(seen, "left", on=["youtube_id", "split"])


def _table(failures: Mapping[ClipKey, str]) -> pd.DataFrame:
    """Return lines of an error log as a table, with the keys as the ledger has read them."""
    cells = pd.read_csv(
        io.StringIO("\n".join(["\t".join(ERROR_FIELDS), *failures.values()])),
        sep="\t",
        dtype=str,
        usecols=[*ERROR_FIELDS[3:]],
        quoting=csv.QUOTE_NONE,
        keep_default_na=False,
        lineterminator="\n",
    )
    keys = pd.DataFrame([*failures], columns=KEY).astype(dict.fromkeys(KEY[1:], float))  # none at all have no type
    return pd.concat([keys, cells], axis="columns")
