"""The sources, YouTube and the mirror: estimates what each costs for the missing clips, and runs them in order."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from kinetics.mirror.catalog import (
    ArchiveIndex,
    Labels,
    Unreachable,
    answers_now,
    archive_sizes,
    archive_urls,
    knows_archives,
)
from kinetics.mirror.search import MirrorSearch, ReadArchives
from kinetics.mirror.tar_stream import MIRROR
from kinetics.mirror.wanted_clips import write_wanted_clips
from kinetics.net.http import HttpSession
from kinetics.planning.estimate import Estimate
from kinetics.planning.gone_videos import RunEvent
from kinetics.planning.plan import Plan
from kinetics.records import SPLIT_OF, ArchiveRequest, Category, Outcome, Source, Subset
from kinetics.scheduling.dispatch import Event
from kinetics.scheduling.events import GaveUp, Notice
from kinetics.storage.layout import clip_name

MIRROR_SHARE = 240_258 / 246_534
"""Share of the clips that the mirror has: its own count for Kinetics-400's training set."""
NOT_AT_MIRROR = "the mirror has no complete copy of it"
MIRROR_ARCHIVE_CLIPS, MIRROR_ARCHIVE_BYTES = 1_000, 1.5e9
"""Clips and bytes of a usual archive: the 240,258 clips of Kinetics-400's training set are in some 240 of them."""
MIRROR_PATIENCE_S = 30.0
"""Seconds of nothing but failed connections after which the mirror's turn ends where YouTube is a source as well. A
larger value lets the clips wait that YouTube has, a smaller one reads fewer archives over a line that is often down."""
MIRROR_BYTES_S = 25e6
"""Bytes a second from the mirror, at 200 Mbit/s; the estimated times and the order of the sources depend on it."""


@dataclass(frozen=True, slots=True)
class MirrorOffer:
    """What the mirror has of the missing clips, as far as that is known before its archives are read."""

    missing: int
    archives: tuple[tuple[float, float], ...]
    """Of each archive that is needed: its bytes, and the number of missing clips expected in it."""
    unknown_sizes: int
    """Archives whose size the mirror does not state. They count as the mean of the others, or as a usual one."""

    @property
    def size(self) -> float:
        """Bytes of all these archives."""
        return sum(size for size, _ in self.archives)

    @property
    def without_sizes(self) -> bool:
        """Whether the mirror states no size at all, so that nothing is known of how long it would take."""
        return 0 < len(self.archives) == self.unknown_sizes

    @property
    def seconds(self) -> float:
        """The estimated time to read these archives."""
        return self.size / MIRROR_BYTES_S

    @property
    def share(self) -> float:
        """The share of the missing clips that is expected in these archives."""
        return min(1.0, sum(clips for _, clips in self.archives) / self.missing) if self.missing else 0.0

    def size_for(self, share: float) -> float:
        """Return the expected bytes of the archives needed if only this share of the clips, at random, is missing."""
        return sum(size * (1.0 - math.pow(1.0 - share, clips)) for size, clips in self.archives)

    def __add__(self, other: MirrorOffer) -> MirrorOffer:
        return MirrorOffer(
            self.missing + other.missing, self.archives + other.archives, self.unknown_sizes + other.unknown_sizes
        )


def usual_offer(plan: Plan) -> MirrorOffer:
    """Return what the mirror is likely to have of a plan for whole subsets, without asking it."""
    archives = math.ceil(plan.wanted / MIRROR_ARCHIVE_CLIPS)
    needed = archives * (1.0 - math.pow(1.0 - plan.todo / max(1, plan.wanted), MIRROR_ARCHIVE_CLIPS))
    one = (round(needed * MIRROR_ARCHIVE_BYTES), MIRROR_SHARE * plan.todo)
    return MirrorOffer(plan.todo, (one,), 0)


def _offer(session: HttpSession, index: ArchiveIndex, missing: int, requests: Sequence[ArchiveRequest]) -> MirrorOffer:
    """Return what these archives offer for that many missing clips."""
    sizes = archive_sizes(session, index, [request.url for request in requests])
    unknown = sum(not request.names for request in requests)
    certain = sum(len(request.names) for request in requests)
    per_archive = MIRROR_SHARE * (missing - certain) / unknown if unknown else 0.0
    known = [size for size in sizes if size is not None]
    usual = sum(known) / len(known) if known else MIRROR_ARCHIVE_BYTES
    offered = (
        (usual if size is None else size, len(request.names) or per_archive)
        for size, request in zip(sizes, requests, strict=True)
    )
    return MirrorOffer(missing, tuple(offered), sizes.count(None))


@dataclass(frozen=True, slots=True)
class SourceTimes:
    """The estimated seconds with the mirror alone, and with both sources, for either order."""

    mirror_s: float
    mirror_first_s: float
    youtube_first_s: float

    def seconds(self, first: Source) -> float:
        """Return the seconds with this source first."""
        return self.mirror_first_s if first == "mirror" else self.youtube_first_s

    @property
    def order(self) -> tuple[Source, Source]:
        """The quicker order of the two sources."""
        return ("youtube", "mirror") if self.youtube_first_s < self.mirror_first_s else ("mirror", "youtube")


def compare_orders(offered: MirrorOffer, youtube: Estimate, settled: int) -> SourceTimes:
    """Estimate both orders. `youtube` is for all the missing clips; `settled` of them were gone or not offered."""
    settled_share = (settled + youtube.settled_share * (offered.missing - settled)) / max(1, offered.missing)
    mirror_s = offered.seconds
    return SourceTimes(
        mirror_s=mirror_s,
        mirror_first_s=mirror_s + youtube.seconds * (1.0 - offered.share),
        youtube_first_s=youtube.seconds + offered.size_for(settled_share) / MIRROR_BYTES_S,
    )


class Mirror:
    """The mirror as a source for some subsets."""

    def __init__(self, version: str, subsets: Sequence[Subset]) -> None:
        self.unread: dict[str, str] = {}
        """The URLs of the archives that could not be read completely, with the reasons."""
        self.size = 0
        """Bytes of the archives in the last offer."""
        self._version, self._subsets = version, subsets
        self._index = ArchiveIndex()
        self._session = HttpSession(hosts=MIRROR)

    @cached_property
    def _urls(self) -> Mapping[Subset, Sequence[str]]:
        return {subset: archive_urls(self._session, self._version, subset) for subset in self._subsets}

    def offer(self, plan: Plan, *, beside_youtube: bool) -> MirrorOffer:
        """Return what the mirror has for a plan. Raises Unreachable if its lists of archives cannot be fetched.

        `beside_youtube`: also if it does not answer at once. What is known of its archives is of no use then.
        """
        if beside_youtube and self._is_needed(plan) and not answers_now(self._session):
            raise Unreachable("The mirror does not answer")
        offers = []
        for _, search in self._searches(plan):
            offers.append(_offer(self._session, self._index, len(search.missing), search.requests()))
        offered = sum(offers, MirrorOffer(0, (), 0))
        self.size = round(offered.size)
        return offered

    def _is_needed(self, plan: Plan) -> bool:
        """Whether it has to be asked for its lists, or may have clips of the plan."""
        if not all(knows_archives(self._version, subset) for subset in self._subsets):
            return True
        return any(search.requests() for _, search in self._searches(plan))

    def fetch(self, run: ReadArchives, wanted: Path, plan: Plan) -> Generator[Event, None, None]:
        """Extract the clips of a plan from the archives; `run` finds the list of them in the file `wanted`.

        A clip fails with NOT_FOUND only if all archives that may contain it were read completely.
        """
        self.unread = {}
        try:
            _ = self._urls
        except Unreachable as error:
            yield GaveUp(Category.NETWORK, error.what, server=MIRROR.name)
            return
        for part, search in self._searches(plan):
            if search.requests():
                write_wanted_clips(wanted, part.clips())
                yield from search.run(run)
            self.unread |= search.unread
            if not search.complete:
                continue
            absent = search.missing - search.rejected
            for clip in part.clips():
                if clip_name(*clip.key) in absent:
                    yield Outcome(clip, "failed", Category.NOT_FOUND, NOT_AT_MIRROR, source="mirror")

    def _searches(self, plan: Plan) -> Iterator[tuple[Plan, MirrorSearch]]:
        """Yield the part of the plan and the search of each subset that has clips to try."""
        for subset, urls in self._urls.items():
            part = plan.for_split(SPLIT_OF[subset])
            rows = part.to_try
            if rows:
                labels = part.frame["label"]
                about = Labels(missing=labels.iloc[rows].unique().tolist(), known=labels.cat.categories.tolist())
                yield part, MirrorSearch(urls, self._index, set(part.file_names(rows)), about)


SourceRunner = Callable[[Plan], Generator[RunEvent, None, None]]
"""Gets the clips of a plan from one source."""


def run_sources(
    plan: Plan, order: Sequence[Source], runners: Mapping[Source, SourceRunner]
) -> Generator[RunEvent, None, None]:
    """Run each source on the clips that the ones before it did not provide.

    If a source gives up, the next one gets the rest, and after it the mirror a second turn, which costs no player call.
    The first GaveUp of a source that had no better turn later is passed on last, if clips are still missing.
    """
    left, gave_up = deque(order), dict[Source, GaveUp]()
    while left:
        source, done = left.popleft(), set[str]()
        gave_up_before = gave_up.pop(source, None)
        with closing(runners[source](plan)) as events:
            for event in events:
                if isinstance(event, Outcome) and event.status == "done":
                    done.add(clip_name(*event.clip.key))
                if not isinstance(event, GaveUp):
                    yield event
                    continue
                gave_up[source] = event
                if left:
                    yield Notice(f"{event.server} gave up ({event.reason}): trying the other source for the rest")
                    if source == "mirror" and not gave_up_before:
                        left.append(source)
        plan = plan.with_on_disk(done) if done else plan
        if not plan.todo:
            return
    yield from [*gave_up.values()][:1]
