"""Estimates the size and duration of a download, from recent attempts in the tables or from published figures.

Player calls are the scarce good: the download takes no less time than YouTube, or the user, allows for its calls.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from kinetics.errors import Fatal
from kinetics.humanize import counted
from kinetics.records import MAY_WORK_LATER
from kinetics.scheduling.ban_learner import HOUR_S
from kinetics.scheduling.call_budget import BURST, PUBLISHED_PER_HOUR

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PUBLISHED = PUBLISHED_PER_HOUR, "as published"
"""Player calls an hour, and how that is known, for a person."""
PUBLISHED_CLIP_BYTES, PUBLISHED_VIDEO_BYTES = 1.0e6, 24e6
"""Bytes of a clip and of a whole video: 631,604 clips of Kinetics-700 took 628 GB (2019); a video lasts 4 minutes."""
ASSUMED_GONE_SHARE = 0.25
"""Share of the clips that are gone: 2.4 % in 2019, and many more since, but nobody has counted them all."""
RECENT_BYTES = 1 << 20
"""Bytes read at the end of each table, some 7,000 attempts; with more, an estimate follows a change later."""
MIN_SAMPLES = 20
"""Attempts needed for an estimate from them; with fewer, the published figures are used."""
MAX_GAP_S = 600.0
"""Seconds; a longer gap between two attempts counts as time between two runs, unless YouTube asked for a pause."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """The bytes on disk and the seconds that a number of clips will take, and what the estimate is based on."""

    size: float
    seconds: float
    attempts: int
    """Attempts that it is based on; 0 if it is based on published figures."""
    settled_share: float
    """Share of the clips that are gone or not offered."""
    calls: float = 0.0
    """Player calls needed."""
    pace: str = ""
    """The limit on calls that the seconds come from, for a person; empty if the attempts took longer than that."""

    @property
    def calls_text(self) -> str:
        """The player calls needed and the limit on them, for a person."""
        return counted(round(self.calls), "player call") + (f", {self.pace}" if self.pace else "")

    @property
    def basis(self) -> str:
        """What the estimate was computed from, for a person."""
        return f"the last {self.attempts:,} attempts here" if self.attempts else "published figures"


def estimate(
    clips: int,
    tables: Iterable[Path],
    *,
    videos: int | None = None,
    whole: bool = False,
    per_hour: float | None = None,
) -> Estimate:
    """Estimate a number of clips, or of whole videos, from the last attempts at such in the tables that can be read.

    The same share is assumed to fail as before. `videos`: how many videos the clips are sections of, if fewer than
    clips. `per_hour` is the user's limit of player calls an hour, infinite for none; without it, YouTube's counts.
    """
    rows = sorted((row for table in tables for row in _recent(table)), key=lambda row: row.time)
    each = _means([row for row in rows if row.whole == whole])
    if not each:
        size = PUBLISHED_VIDEO_BYTES if whole else PUBLISHED_CLIP_BYTES
        each = _Means(0, size=size, seconds=0.0, settled_share=ASSUMED_GONE_SHARE, calls=1.0)
    calls = each.calls * (clips if videos is None else videos)
    allowed, known_from = (per_hour, "as --rate says") if per_hour else _allowed_by_youtube(rows)
    if math.isinf(allowed) and not each.attempts:  # nothing else is known of how long it takes
        allowed, known_from = PUBLISHED
    at_once = _burst_left(rows) if each.attempts and (allowed, known_from) == PUBLISHED else 0.0
    by_attempts_s, by_calls_s = clips * each.seconds, max(0.0, calls - at_once) / allowed * HOUR_S
    pace = f"{allowed:,.10g} an hour {known_from}" if by_calls_s > by_attempts_s else ""
    seconds = max(by_attempts_s, by_calls_s)
    return Estimate(clips * each.size, seconds, each.attempts, each.settled_share, calls, pace)


def busiest_hour(times_s: NDArray[np.float64], calls: NDArray[np.float64]) -> int:
    """Return the most calls within an hour, of attempts in the order of the times at which they ended."""
    import numpy as np  # noqa: PLC0415 - slow

    sums = np.concatenate(([0.0], np.cumsum(calls)))
    begins = np.searchsorted(times_s, times_s - HOUR_S, "right")
    return int(np.max(sums[1:] - sums[begins], initial=0.0))


def _allowed_by_youtube(rows: Sequence[_Attempt]) -> tuple[float, str]:
    """Return the player calls an hour that YouTube allows, and how that is known: more than published came here."""
    import numpy as np  # noqa: PLC0415 - slow

    times_s = np.array([row.time.timestamp() for row in rows])
    busiest = busiest_hour(times_s, np.array([row.calls for row in rows], float))
    return (busiest, "as in the busiest hour here") if busiest > PUBLISHED_PER_HOUR else PUBLISHED


def _burst_left(rows: Sequence[_Attempt]) -> float:
    """Return how many player calls can go out at once, before they are spread over time."""
    an_hour_ago = datetime.now().timestamp() - HOUR_S
    return max(0.0, BURST - sum(row.calls for row in rows if row.time.timestamp() > an_hour_ago))


@dataclass(frozen=True, slots=True)
class _Means:
    """What one clip took on average."""

    attempts: int
    """Attempts that these are the means of; 0 if they are published figures."""
    size: float
    seconds: float
    settled_share: float
    calls: float
    """Player calls for a video, whether one or several clips were made from it."""


def _means(rows: Sequence[_Attempt]) -> _Means | None:
    """Return the means of some attempts, in the order of time; None if they are too few."""
    tried = [row for row in rows if row.status != "postponed"]
    if len(tried) < MIN_SAMPLES:
        return None
    busy_s = max(1.0, sum(_busy_s(rows)))  # the table's times are whole seconds
    videos = sum(row.calls > 0 for row in tried)  # of a video's sections, the first one bears the call
    return _Means(
        attempts=len(tried),
        size=sum(row.size for row in tried) / len(tried),
        seconds=busy_s / len(tried),
        settled_share=sum(row.settled for row in tried) / len(tried),
        calls=sum(row.calls for row in rows) / videos if videos else 1.0,
    )


@dataclass(frozen=True, slots=True)
class _Attempt:
    time: datetime
    status: str
    settled: bool
    """Whether the clip is gone or not offered."""
    whole: bool
    size: float
    """Bytes of the clip or video; 0 if it failed."""
    calls: int
    """Player calls; 1 in a table of an earlier version, which does not count them."""


def _busy_s(rows: Sequence[_Attempt]) -> Iterator[float]:
    """Yield the seconds between attempts during which a run was at work, its pauses included."""
    for before, after in pairwise(rows):
        gap_s = (after.time - before.time).total_seconds()
        if gap_s <= MAX_GAP_S or before.status == "postponed":
            yield gap_s


def _recent(table: Path) -> Iterator[_Attempt]:
    """Yield the last attempts at YouTube in a table; none if it cannot be read. It may be written to meanwhile."""
    from kinetics.storage import attempts  # noqa: PLC0415 - imports pandas, which is slow

    columns = ("time", "status", "category", "cut", "clip_bytes", "source", "calls")
    try:
        rows = attempts.read([table], columns, last_bytes=RECENT_BYTES)
    except Fatal:
        return
    for time, status, category, cut, clip_bytes, source, calls in rows.itertuples(index=False, name=None):
        if source == "youtube":
            with suppress(ValueError):
                settled = status == "failed" and category not in MAY_WORK_LATER
                when = datetime.fromisoformat(time).astimezone()
                yield _Attempt(when, status, settled, cut == "none", float(clip_bytes or 0), int(calls or 1))
