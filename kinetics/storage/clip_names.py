"""The names of the files of many clips at once, as `layout.clip_name` says them."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kinetics.records import KEY
from kinetics.storage.layout import time_stamp


def clip_names(frame: pd.DataFrame, suffix: str = ".mp4") -> NDArray[np.object_]:
    """Return the name of each row's clip: few of their times differ, so each is made a text once."""
    name = frame["youtube_id"].reset_index(drop=True).astype("str")
    for column in KEY[1:]:
        codes, times = pd.factorize(frame[column])
        stamps = pd.Series([f"_{time_stamp(seconds)}" for seconds in times], dtype="str")
        name = name + stamps.take(codes).reset_index(drop=True)
    names: NDArray[np.object_] = (name + suffix).to_numpy(object)
    return names
