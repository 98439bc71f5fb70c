"""Looks for missing clips in the mirror's archives, round after round, until nothing that they hold is missing.

A round asks for the archives that are known to hold some, or may; what they turn out to hold says what the next one
asks for. An archive that cannot be read is asked for again; one clip that brings down the worker that looks at it is
left out then.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import replace

from kinetics.mirror.catalog import UNLISTED, ArchiveIndex, Labels, needed
from kinetics.mirror.tar_stream import MIRROR
from kinetics.records import ArchiveProgress, ArchiveRequest, ArchiveResult, Category, Outcome
from kinetics.scheduling.dispatch import Event
from kinetics.scheduling.events import GaveUp, Notice, Pause, SpacingChanged
from kinetics.storage.layout import clip_name

TRIES = 3
"""Of an archive in a run."""
BLAMED = 2
"""So many workers lost in looking at one clip are that clip's fault."""

ReadArchives = Callable[[Iterable[ArchiveRequest]], Generator[Event, None, None]]
"""Reads archives: `pool.run` with a job."""


class MirrorSearch:
    """The search for the clips of one subset whose names are in `missing`: what is found is taken out of there."""

    def __init__(self, urls: Sequence[str], index: ArchiveIndex, missing: set[str], labels: Labels) -> None:
        self.missing = missing
        self.unread: dict[str, str] = {}
        """The archives that could not be read to their ends, and why: they may hold clips that are missing."""
        self.unfit = set[str]()
        """Those of `missing` that came, and were not as they should be."""
        self._urls = urls
        self._index = index
        self._labels = labels
        self._tries: Counter[str] = Counter()
        self._read = dict[str, frozenset[str]]()  # and for which clips
        self._looked_at = dict[str, str]()
        self._lost: Counter[tuple[str, str]] = Counter()

    def needs(self) -> list[ArchiveRequest]:
        """The archives to ask for now."""
        needs = needed(self._urls, self._index.find, self.missing, self._labels) if self.missing else []
        return [
            replace(need, unfit=need.unfit | self._blamed(need.url))
            for need in needs
            if self._tries[need.url] < TRIES and self._read.get(need.url) != need.names
        ]

    @property
    def exhausted(self) -> bool:
        """Whether the archives hold nothing more of what is missing."""
        return not (self.unread or self.needs())

    def run(self, run: ReadArchives) -> Generator[Event, None, None]:
        """Search. Yields what the archives bring, each clip that is done once. Raises Fatal when `run` does."""
        while needs := self.needs():
            with closing(run(needs)) as events:
                for event in events:
                    match event:
                        case Outcome(clip, "done"):
                            if (name := clip_name(*clip.key)) in self.missing:
                                self.missing.discard(name)
                                yield event
                            if not self.missing:
                                return
                        case Outcome(clip):
                            self.unfit.add(name := clip_name(*clip.key))
                            if name in self.missing:
                                yield event
                        case ArchiveProgress():
                            self._looked_at[event.url] = event.name
                            yield event
                        case ArchiveResult():
                            yield from self._settled(event)
                        case Pause() | SpacingChanged() | GaveUp():
                            yield replace(event, server=MIRROR.name)
                        case _:
                            yield event
                    if isinstance(event, GaveUp):
                        return

    def _settled(self, harvest: ArchiveResult) -> Generator[Notice, None, None]:
        """An archive's turn is over: keep what is known of it now, or see to it that it is asked for again."""
        need, contents = harvest.need, harvest.contents
        if contents:
            unfit = contents.unfit | self._blamed(need.url)
            self._index.keep(need.url, replace(contents, unfit=unfit))
        if harvest.status == "postponed":
            return
        if harvest.status == "done":
            self._read[need.url] = need.names
            self.unread.pop(need.url, None)
            if harvest.reason:
                yield Notice(f"{need.url}: {harvest.reason}")
            return
        self._tries[need.url] += 1
        if need.url not in UNLISTED:
            self.unread[need.url] = harvest.reason
        name = self._looked_at.get(need.url)
        if name and harvest.category in (Category.LOST_WORKER, Category.TIMEOUT):
            self._lost[need.url, name] += 1
            self._tries[need.url] -= self._lost[need.url, name] == BLAMED
        if self._tries[need.url] >= TRIES and need.url in self.unread:
            yield Notice(f"{need.url} cannot be read: {harvest.reason}")

    def _blamed(self, url: str) -> frozenset[str]:
        """The clips of an archive at which too many workers were lost."""
        return frozenset(name for (of, name), times in self._lost.items() if of == url and times >= BLAMED)
