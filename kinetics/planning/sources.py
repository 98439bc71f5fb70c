"""YouTube and the mirror: what each would cost for the missing clips, and one after the other asked for them."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from kinetics.mirror.catalog import ArchiveIndex, Labels, archive_sizes, archive_urls
from kinetics.mirror.search import MirrorSearch, ReadArchives
from kinetics.mirror.tar_stream import MIRROR
from kinetics.mirror.wanted_clips import write_wanted_clips
from kinetics.net.http import HttpSession
from kinetics.planning.estimate import Estimate
from kinetics.planning.plan import Plan
from kinetics.records import SPLIT_OF, ArchiveRequest, Category, Outcome, Source, Subset
from kinetics.scheduling.dispatch import Event
from kinetics.scheduling.events import GaveUp, Notice
from kinetics.storage.layout import clip_name

MIRROR_SHARE = 240_258 / 246_534
"""Of the clips, so many are at the mirror: so it is for Kinetics-400's training set, by its own count."""
NOT_AT_MIRROR = "the mirror has no whole copy of it"
MIRROR_BYTES_S = 25e6
"""What comes from the mirror in a second, over a line of 200 Mbit/s."""


@dataclass(frozen=True, slots=True)
class MirrorOffer:
    """What the mirror has for the clips that are missing, as far as that is known before its archives are read."""

    missing: int
    archives: tuple[tuple[int, float], ...]
    """Of each one that is needed, the bytes, if the mirror says so, and how many of the clips are expected in it."""
    unknown_sizes: int
    """Archives of which it does not say how many bytes they have."""

    @property
    def size(self) -> int:
        """Of all these archives, in bytes, as far as that is known."""
        return sum(size for size, _ in self.archives)

    @property
    def share(self) -> float:
        """Of the missing clips, those that are expected."""
        return min(1.0, sum(clips for _, clips in self.archives) / self.missing) if self.missing else 0.0

    def size_for(self, share: float) -> float:
        """Bytes of the archives that are needed once only this share of the clips is missing, whichever they are."""
        return sum(size * (1.0 - math.pow(1.0 - share, clips)) for size, clips in self.archives)

    def __add__(self, other: MirrorOffer) -> MirrorOffer:
        return MirrorOffer(
            self.missing + other.missing, self.archives + other.archives, self.unknown_sizes + other.unknown_sizes
        )


def _offer(line: HttpSession, index: ArchiveIndex, missing: int, needs: Sequence[ArchiveRequest]) -> MirrorOffer:
    """What these archives have for so many missing clips."""
    sizes = archive_sizes(line, index, [need.url for need in needs])
    unknown = sum(not need.names for need in needs)
    held = sum(len(need.names) for need in needs)
    each = MIRROR_SHARE * (missing - held) / unknown if unknown else 0.0
    offered = ((size or 0, len(need.names) or each) for size, need in zip(sizes, needs, strict=True))
    return MirrorOffer(missing, tuple(offered), sizes.count(None))


@dataclass(frozen=True, slots=True)
class SourceTimes:
    """How long the mirror takes alone, in seconds, and both of them, depending on which one is asked first."""

    mirror_s: float
    mirror_first_s: float
    youtube_first_s: float

    def seconds(self, first: Source) -> float:
        """With this one first."""
        return self.mirror_first_s if first == "mirror" else self.youtube_first_s

    @property
    def order(self) -> tuple[Source, Source]:
        """The one first that makes it quicker."""
        return ("youtube", "mirror") if self.youtube_first_s < self.mirror_first_s else ("mirror", "youtube")


def compare_orders(offered: MirrorOffer, youtube: Estimate, gone: int) -> SourceTimes:
    """Weigh both ways. `youtube` is the estimate for all the missing clips, of which so many are known to be gone."""
    gone_share = (gone + youtube.gone_share * (offered.missing - gone)) / max(1, offered.missing)
    mirror_s = offered.size / MIRROR_BYTES_S
    return SourceTimes(
        mirror_s=mirror_s,
        mirror_first_s=mirror_s + youtube.seconds * (1.0 - offered.share),
        youtube_first_s=youtube.seconds + offered.size_for(gone_share) / MIRROR_BYTES_S,
    )


class Mirror:
    """The mirror, for some subsets. Raises Fatal where it cannot be asked."""

    def __init__(self, version: str, subsets: Sequence[Subset]) -> None:
        self.unread: dict[str, str] = {}
        """The archives that could not be read to their ends, and why."""
        self.size = 0
        """Of the archives that it last offered, in bytes."""
        self._index = ArchiveIndex()
        self._line = HttpSession(hosts=MIRROR)
        self._urls = {subset: archive_urls(self._line, version, subset) for subset in subsets}

    def offer(self, plan: Plan) -> MirrorOffer:
        """What it has for the clips of a plan."""
        offers = []
        for _, gathering in self._gatherings(plan):
            offers.append(_offer(self._line, self._index, len(gathering.missing), gathering.requests()))
        offered = sum(offers, MirrorOffer(0, (), 0))
        self.size = offered.size
        return offered

    def fetch(self, run: ReadArchives, wanted: Path, plan: Plan) -> Generator[Event, None, None]:
        """Get the clips of a plan from it; of those that it lacks, say so. `run` finds them in the file `wanted`.

        Such a clip has failed, but only where all archives that may hold it were read.
        """
        for part, gathering in self._gatherings(plan):
            if gathering.requests():
                write_wanted_clips(wanted, part.clips())
                yield from gathering.run(run)
            self.unread |= gathering.unread
            if not gathering.complete:
                continue
            lacking = gathering.missing - gathering.rejected
            for clip in part.clips():
                if clip_name(*clip.key) in lacking:
                    yield Outcome(clip, "failed", Category.NOT_FOUND, NOT_AT_MIRROR, source="mirror")

    def _gatherings(self, plan: Plan) -> Iterator[tuple[Plan, MirrorSearch]]:
        """Of each subset of which clips are missing."""
        for subset, urls in self._urls.items():
            part = plan.for_split(SPLIT_OF[subset])
            rows = part.to_try
            if rows:
                labels = part.frame["label"]
                about = Labels(missing=labels.iloc[rows].unique().tolist(), known=labels.cat.categories.tolist())
                yield part, MirrorSearch(urls, self._index, set(part.file_names(rows)), about)


SourceRunner = Callable[[Plan], Generator[Event, None, None]]
"""Asks one source for the clips of a plan."""


def run_sources(plan: Plan, ways: Sequence[SourceRunner]) -> Generator[Event, None, None]:
    """Ask each source for what the ones before it did not give.

    One that gives up, or has no more, leaves the rest to the next. The GaveUp comes last, if anything is missing then.
    """
    gave_up: GaveUp | None = None
    for number, way in enumerate(ways, 1):
        had = set[str]()
        with closing(way(plan)) as events:
            for event in events:
                if isinstance(event, Outcome) and event.status == "done":
                    had.add(clip_name(*event.clip.key))
                if not isinstance(event, GaveUp):
                    yield event
                    continue
                gave_up = gave_up or event
                if number < len(ways):
                    yield Notice(f"{event.server} gives no more ({event.reason}): the rest is looked for elsewhere")
        plan = plan.with_on_disk(had) if had else plan
        if not plan.todo:
            return
    if gave_up:
        yield gave_up
