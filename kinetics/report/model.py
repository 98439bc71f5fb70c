"""The figures of a report, as plain records: first the report itself, then its parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from kinetics.humanize import counted, player_calls
from kinetics.planning.estimate import Estimate
from kinetics.records import Category, Clip, Subset
from kinetics.report.timeline import Session, Timeline
from kinetics.storage.status_file import RunStatus

NO_LABEL = "(no label)"
"""The name of the class that stands for all clips without a label."""

PageState = Literal["at work", "left", "ended"]
"""Of the run beside a page: it is at work; it was, but nobody keeps the page fresh any more; it has ended."""
OriginKind = Literal["source", "machine", "engine", "format (itag)"]
"""What attempts are counted by; also the word that the reader sees."""


@dataclass(frozen=True, slots=True)
class Report:
    """The figures of one subset, or of several together, or of one shard of them."""

    name: str
    """Of the data set."""
    title: str
    """The name with the subset, and the shard of a report on one."""
    subset: Subset | Literal["all"]
    folder: str
    """The data set's folder, or its URL."""
    created_at: datetime
    total: Completeness
    subsets: tuple[Completeness, ...]
    """One for each subset that has clips, if the report is on several; together they are the total."""
    classes: tuple[Completeness, ...]
    """The least complete class first."""
    reasons: tuple[Reason, ...]
    """The most frequent reason first."""
    gone_everywhere: int
    """Clips that are gone from YouTube and were not found at the mirror either."""
    attempts: int
    """Rows of the attempts tables that could be read: done, failed and postponed."""
    durations: tuple[Duration, ...]
    """One for each step, then one for all steps together; empty if no clip was made."""
    timeline: Timeline
    space: Space
    calls: PlayerCalls
    videos_to_fetch: int
    """Videos that the `clips_to_fetch` are sections of."""
    estimate: Estimate
    """For the `clips_to_fetch`."""
    origins: tuple[OriginCounts, ...]
    samples: tuple[Sample, ...]

    @property
    def missing_by_category(self) -> dict[Category, int]:
        """Missing clips by the category of their failure, the most frequent first."""
        counts = dict[Category, int]()
        for reason in self.reasons:
            counts[reason.category] = counts.get(reason.category, 0) + reason.clips
        return dict(sorted(counts.items(), key=lambda item: -item[1]))

    @property
    def clips_to_fetch(self) -> int:
        """Missing clips that another run may get."""
        return self.total.may_work + self.total.never_tried

    @property
    def postponed(self) -> int:
        """Attempts that told nothing about the clip, as the server refused, or could not be reached."""
        return sum(hour.postponed for hour in self.timeline.hours)

    @property
    def calls_an_hour(self) -> str:
        """The player calls within an hour, for a person; the mean only where every attempt counted its own."""
        mean = "" if self.calls.uncounted else f", {self.timeline.calls_per_hour:,.0f} on average"
        return f"at most {counted(self.timeline.most_calls, 'player call')} an hour{mean}"

    @property
    def refused_sessions(self) -> list[Session]:
        """The sessions that a refusal of YouTube's has ended."""
        return [session for session in self.timeline.sessions if session.throttled]


@dataclass(frozen=True, slots=True)
class Completeness:
    """How many clips of a class, of a split or of a subset are on disk, and what is known of the others."""

    name: str
    """Of the class, split or subset."""
    on_disk: int
    gone: int
    """Missing clips whose last failure is final (`Category.gone`)."""
    may_work: int
    """Missing clips whose last failure may pass, so that another attempt may get them."""
    never_tried: int
    not_offered: int = 0
    """Missing clips whose videos exist, but which YouTube refused to the engines (`Category.NOT_OFFERED`)."""

    @property
    def wanted(self) -> int:
        """All clips of the annotations, on disk or missing."""
        return self.on_disk + self.missing

    @property
    def missing(self) -> int:
        return self.gone + self.not_offered + self.may_work + self.never_tried

    @property
    def share(self) -> float:
        """The share of the wanted clips that is on disk; 1 if none is wanted."""
        return self.on_disk / self.wanted if self.wanted else 1.0


@dataclass(frozen=True, slots=True)
class Reason:
    """Why clips are missing: one row for each kind of failure."""

    category: Category
    text: str
    """In YouTube's own words where there are any, with ".." for numbers and ids."""
    clips: int
    """Clips that are missing for this reason."""
    example: str
    """The id of one of their videos."""


@dataclass(frozen=True, slots=True)
class Duration:
    """How long a step took, over the clips that were made, with and without the outliers."""

    step: str
    clips: int
    """Attempts that made a clip, and have a time for every step."""
    mean_s: float
    median_s: float
    max_s: float
    fence_s: float
    """Tukey's upper fence, Q3 + 1.5 IQR; slower clips are outliers."""
    clips_within: int
    """Clips that are no outliers."""
    mean_within_s: float
    """Without the outliers."""
    max_within_s: float
    """Without the outliers."""
    total_s: float
    """The sum over all clips."""
    clips_longest: int
    """Clips for which this step took the longest of the three."""
    edges_s: tuple[float, ...]
    """The edges of the histogram's bins, one more than there are bins."""
    counts: tuple[int, ...]
    """Clips in each bin of the histogram, without the outliers."""


@dataclass(frozen=True, slots=True)
class Space:
    """Bytes received from the network, and bytes on disk."""

    bytes_received: int
    requests: int
    bytes_on_disk: int
    """Of all clips on disk; extrapolated if the size of some is not known."""
    clips: int
    """Clips on disk."""
    clips_measured: int
    """Clips on disk whose size is known."""
    bytes_free: int | None
    """On the disk that holds the clips; None for an object store."""

    @property
    def bytes_per_clip(self) -> float:
        return self.bytes_on_disk / self.clips if self.clips else 0.0


@dataclass(frozen=True, slots=True)
class PlayerCalls:
    """The player calls of the attempts at YouTube that counted them, which those of earlier versions did not."""

    calls: int
    attempts: int
    """Attempts that counted their calls."""
    uncounted: int
    """Attempts that did not."""
    clips: int
    """Clips that the attempts made which counted their calls."""
    for_gone: int
    """Calls of attempts that found their videos gone."""
    refused: int
    """Calls of postponed attempts: the server refused, or could not be reached."""

    def __str__(self) -> str:
        told = player_calls(self.calls, clips=self.clips, for_gone=self.for_gone, refused=self.refused)
        of = f" (counted in {self.attempts:,} of {counted(self.attempts + self.uncounted, 'attempt')})"
        return told + (of if self.uncounted else "")


@dataclass(frozen=True, slots=True)
class OriginCounts:
    """How many attempts of one source, machine, engine or format made a clip, and how many failed."""

    kind: OriginKind
    name: str
    done: int
    failed: int | None
    """None for an engine and a format: an attempt that fails before it has one is counted by source and machine."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A clip whose first frame the page shows."""

    clip: Clip
    path: Path
    """Its file, or the shard that it is in."""


@dataclass(frozen=True, slots=True)
class LiveState:
    """What a page says of the run that is at work beside it."""

    state: PageState
    statuses: Sequence[RunStatus] = ()
    """What the runs' status files say."""
    reload_s: int | None = None
    """Seconds after which the page is written again, and reloads itself; None if it is not."""
