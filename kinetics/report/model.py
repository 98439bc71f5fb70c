"""The figures of a report, as plain records."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from kinetics.planning.estimate import Estimate
from kinetics.records import Category, Clip, Subset
from kinetics.report.timeline import Timeline

NO_LABEL = "(no label)"
SAMPLES = 24
"""Clips that are shown."""
OriginKind = Literal["source", "engine", "format (itag)", "machine"]


@dataclass(frozen=True, slots=True)
class Completeness:
    """How many clips of a class, a split or all are here, and what is known of the others."""

    name: str
    here: int
    gone: int
    may_work: int
    untried: int

    @property
    def wanted(self) -> int:
        return self.here + self.missing

    @property
    def missing(self) -> int:
        return self.gone + self.may_work + self.untried

    @property
    def share(self) -> float:
        """Of what is wanted; nothing is complete."""
        return self.here / self.wanted if self.wanted else 1.0


@dataclass(frozen=True, slots=True)
class Reason:
    """Why clips are missing, in YouTube's own words where there are any, numbers left out."""

    category: Category
    words: str
    clips: int
    example: str
    """One of the ids."""


@dataclass(frozen=True, slots=True)
class Duration:
    """How long a step took for the clips that were made; `fence_s` is Q3 + 1.5 IQR, Tukey's upper fence."""

    step: str
    clips: int
    mean_s: float
    median_s: float
    max_s: float
    fence_s: float
    within: int
    """How many clips were no slower than the fence; what follows is of these."""
    mean_within_s: float
    max_within_s: float
    total_s: float
    longest: int
    """For how many clips this step took the longest of the three."""
    edges_s: tuple[float, ...]
    counts: tuple[int, ...]
    """A histogram: one edge more than counts."""


@dataclass(frozen=True, slots=True)
class Space:
    """Bytes: what came over the line, what is on the disk."""

    received: int
    requests: int
    here: int
    measured: int
    """Of so many clips the size is known, the others are taken to be alike."""
    clips: int
    free: int | None
    """On this machine, if they are here."""

    @property
    def per_clip(self) -> float:
        return self.here / self.clips if self.clips else 0.0


@dataclass(frozen=True, slots=True)
class OriginCounts:
    """How many clips came by an engine, in a format, or by a machine."""

    kind: OriginKind
    name: str
    done: int
    failed: int


@dataclass(frozen=True, slots=True)
class Sample:
    """A clip to look at."""

    clip: Clip
    path: Path


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that is told about a subset."""

    version: str
    subset: Subset
    shard: str
    """Empty where it is about all of the subset."""
    folder: str
    """Or URL."""
    made: datetime
    total: Completeness
    splits: tuple[Completeness, ...]
    classes: tuple[Completeness, ...]
    """The least complete first."""
    reasons: tuple[Reason, ...]
    """The most frequent first."""
    neither: int
    """Clips that are gone from YouTube, and that the mirror does not have either."""
    attempts: int
    durations: tuple[Duration, ...]
    """Of each step, and of all together; empty where no clip was made."""
    timeline: Timeline
    space: Space
    to_go: Estimate
    """For the clips that a run may still get."""
    sources: tuple[OriginCounts, ...]
    samples: tuple[Sample, ...]

    @property
    def title(self) -> str:
        return f"Kinetics{self.version} {self.subset}" + (f", shard {self.shard}" if self.shard else "")

    @property
    def categories(self) -> dict[Category, int]:
        """How many clips are missing by each, the most frequent first."""
        counts = dict[Category, int]()
        for reason in self.reasons:
            counts[reason.category] = counts.get(reason.category, 0) + reason.clips
        return dict(sorted(counts.items(), key=lambda item: -item[1]))

    @property
    def to_try(self) -> int:
        """Clips that a run may still get."""
        return self.total.may_work + self.total.untried

    @property
    def refusals(self) -> str:
        """How often YouTube refused, and after how many clips; empty if it did not."""
        runs = [session.clips for session in self.timeline.sessions if session.throttled]
        if not runs:
            return ""
        often = "once" if len(runs) == 1 else f"{len(runs):,} times"
        least, most = f"{min(runs):,}", f"{max(runs):,}"
        return f"YouTube refused {often}, after {least if least == most else f'{least} to {most}'} clips"
