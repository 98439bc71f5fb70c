"""Estimates the size and duration of a download, from recent attempts in the tables or from published figures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path

from kinetics.errors import Fatal
from kinetics.records import MAY_WORK_LATER

PUBLISHED_VIDEOS_PER_HOUR = 300.0
"""Videos an hour that YouTube is said to allow a guest."""
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

    @property
    def basis(self) -> str:
        """What the estimate was computed from, for a person."""
        return f"the last {self.attempts:,} attempts here" if self.attempts else "published figures"


def estimate(clips: int, tables: Iterable[Path], *, whole: bool = False, per_hour: float | None = None) -> Estimate:
    """Estimate a number of clips, or of whole videos, from the last attempts at such in the tables that can be read.

    The same share is assumed to fail as before. `per_hour` is the user's limit of attempts an hour.
    """
    rows = sorted((row for table in tables for row in _recent(table) if row.whole == whole), key=lambda row: row.time)
    tried = [row for row in rows if row.status != "postponed"]
    slowest_s = 3600.0 / per_hour if per_hour else 0.0
    if len(tried) < MIN_SAMPLES:
        each = PUBLISHED_VIDEO_BYTES if whole else PUBLISHED_CLIP_BYTES
        return Estimate(clips * each, clips * max(3600.0 / PUBLISHED_VIDEOS_PER_HOUR, slowest_s), 0, ASSUMED_GONE_SHARE)
    size = sum(row.size for row in tried)
    busy_s = max(1.0, sum(_busy_s(rows)))  # the table's times are whole seconds
    settled = sum(row.settled for row in tried) / len(tried)
    return Estimate(clips * size / len(tried), clips * max(busy_s / len(tried), slowest_s), len(tried), settled)


@dataclass(frozen=True, slots=True)
class _Attempt:
    time: datetime
    status: str
    settled: bool
    """Whether the clip is gone or not offered."""
    whole: bool
    size: float
    """Bytes of the clip or video; 0 if it failed."""


def _busy_s(rows: Sequence[_Attempt]) -> Iterator[float]:
    """Yield the seconds between attempts during which a run was at work, its pauses included."""
    for before, after in pairwise(rows):
        gap_s = (after.time - before.time).total_seconds()
        if gap_s <= MAX_GAP_S or before.status == "postponed":
            yield gap_s


def _recent(table: Path) -> Iterator[_Attempt]:
    """Yield the last attempts at YouTube in a table; none if it cannot be read. It may be written to meanwhile."""
    from kinetics.storage import attempts  # noqa: PLC0415 - imports pandas, which is slow

    columns = ("time", "status", "category", "cut", "clip_bytes", "source")
    try:
        rows = attempts.read([table], columns, last_bytes=RECENT_BYTES)
    except Fatal:
        return
    for time, status, category, cut, clip_bytes, source in rows.itertuples(index=False, name=None):
        if source == "youtube":
            with suppress(ValueError):
                settled = status == "failed" and category not in MAY_WORK_LATER
                when = datetime.fromisoformat(time).astimezone()
                yield _Attempt(when, status, settled, cut == "none", float(clip_bytes or 0))
