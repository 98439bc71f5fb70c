"""How much there is to come, and for how long: from this machine's own attempts, or from published figures."""

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
"""So many videos a guest is said to get from YouTube in an hour."""
PUBLISHED_CLIP_BYTES, PUBLISHED_VIDEO_BYTES = 1.0e6, 24e6
"""Bytes: 631,604 clips of Kinetics-700 took 628 GB (2019); a whole video lasts 4 minutes."""
ASSUMED_GONE_SHARE = 0.25
"""Of the clips; 2.4 % were gone in 2019, and many more have gone since, but nobody has counted them all."""
RECENT_BYTES = 1 << 20
"""So many bytes at the end of a table, some 7,000 attempts, say how it goes."""
MIN_SAMPLES = 20
"""Fewer attempts say nothing."""
MAX_GAP_S = 600.0
"""A longer gap between two attempts is no part of a run, unless YouTube asked for it."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """Of a number of clips: bytes on disk, and seconds; and on what that rests."""

    size: float
    seconds: float
    attempts: int
    """0 where it rests on published figures."""
    gone_share: float
    """Of the clips, so many are gone."""

    @property
    def basis(self) -> str:
        """What the figures rest on, for a person."""
        return f"the last {self.attempts:,} attempts here" if self.attempts else "published figures"


def estimate(clips: int, tables: Iterable[Path], *, whole: bool = False, per_hour: float | None = None) -> Estimate:
    """Of that many clips, or whole videos, by the last attempts at such in the tables, as far as these can be read.

    Some will fail, as many as did there. `per_hour`: no more are to go out.
    """
    rows = sorted((row for table in tables for row in _recent(table) if row.whole == whole), key=lambda row: row.time)
    tried = [row for row in rows if row.status != "postponed"]
    slowest_s = 3600.0 / per_hour if per_hour else 0.0
    if len(tried) < MIN_SAMPLES:
        each = PUBLISHED_VIDEO_BYTES if whole else PUBLISHED_CLIP_BYTES
        return Estimate(clips * each, clips * max(3600.0 / PUBLISHED_VIDEOS_PER_HOUR, slowest_s), 0, ASSUMED_GONE_SHARE)
    size = sum(row.size for row in tried)
    busy_s = max(1.0, sum(_busy_s(rows)))  # the table tells whole seconds
    gone = sum(row.gone for row in tried) / len(tried)
    return Estimate(clips * size / len(tried), clips * max(busy_s / len(tried), slowest_s), len(tried), gone)


@dataclass(frozen=True, slots=True)
class _Attempt:
    time: datetime
    status: str
    gone: bool
    whole: bool
    size: float
    """In bytes, of what was made."""


def _busy_s(rows: Sequence[_Attempt]) -> Iterator[float]:
    """The seconds between attempts in which a run was under way: the pauses belong to it."""
    for before, after in pairwise(rows):
        gap_s = (after.time - before.time).total_seconds()
        if gap_s <= MAX_GAP_S or before.status == "postponed":
            yield gap_s


def _recent(table: Path) -> Iterator[_Attempt]:
    """Yield the last attempts at YouTube in a table; none if it cannot be read. It may be written to meanwhile."""
    from kinetics.storage import attempts  # noqa: PLC0415 - pandas comes with it, and who imports this may not need it

    columns = ("time", "status", "category", "cut", "clip_bytes", "source")
    try:
        rows = attempts.read([table], columns, last_bytes=RECENT_BYTES)
    except Fatal:
        return
    for time, status, category, cut, clip_bytes, source in rows.itertuples(index=False, name=None):
        if source == "youtube":
            with suppress(ValueError):
                gone = status == "failed" and category not in MAY_WORK_LATER
                when = datetime.fromisoformat(time).astimezone()
                yield _Attempt(when, status, gone, cut == "none", float(clip_bytes or 0))
