"""Searches the mirror's archives for missing clips, round after round, until no archive may hold another one.

A round reads the archives that hold missing clips, or may hold some; what they turn out to hold decides about the next
round. An archive that cannot be read is tried again. A clip whose check costs several workers is skipped from then on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import replace

from kinetics.mirror.catalog import UNLISTED_ARCHIVES, ArchiveIndex, Labels, archives_to_read
from kinetics.mirror.tar_stream import MIRROR
from kinetics.records import ArchiveProgress, ArchiveRequest, ArchiveResult, Category, Outcome
from kinetics.scheduling.dispatch import Event
from kinetics.scheduling.events import GaveUp, Notice, Pause, SpacingChanged
from kinetics.storage.layout import clip_name

MAX_ATTEMPTS = 3
"""Failed attempts at one archive in a run, after which it is given up and reported."""
MAX_WORKERS_LOST = 2
"""Workers lost, or stopped by the timeout, while checking one clip. After that many the clip is skipped."""

ReadArchives = Callable[[Iterable[ArchiveRequest]], Generator[Event, None, None]]
"""Reads archives and yields what happens: `pool.run` with a job."""


class MirrorSearch:
    """The search for missing clips of one subset; `missing` has their file names, and loses those that are found."""

    def __init__(self, urls: Sequence[str], index: ArchiveIndex, missing: set[str], labels: Labels) -> None:
        self.missing = missing
        self.unread: dict[str, str] = {}
        """Archives that could not be read to the end, and why: they may hold missing clips."""
        self.rejected = set[str]()
        """Wanted clips of which the mirror has a copy that failed the check."""
        self._urls = urls
        self._index = index
        self._labels = labels
        self._failures: Counter[str] = Counter()
        self._searched_for = dict[str, frozenset[str]]()
        """For each archive that was read, the clips that it was known to hold before."""
        self._current_clip = dict[str, str]()
        self._workers_lost: Counter[tuple[str, str]] = Counter()

    def requests(self) -> list[ArchiveRequest]:
        """Return the archives to read in the next round."""
        if not self.missing:
            return []
        requests = archives_to_read(self._urls, self._index.find, self.missing, self._labels)
        return [
            replace(request, rejected=request.rejected | self._clips_to_skip(request.url))
            for request in requests
            if self._failures[request.url] < MAX_ATTEMPTS and self._searched_for.get(request.url) != request.names
        ]

    @property
    def complete(self) -> bool:
        """Whether every archive that may hold a missing clip was read."""
        return not (self.unread or self.requests())

    def run(self, read_archives: ReadArchives) -> Generator[Event, None, None]:
        """Read archives and yield what happens; each clip is yielded as done once. Raises what `read_archives` does."""
        while requests := self.requests():
            with closing(read_archives(requests)) as events:
                for event in events:
                    yield from self._handle(event)
                    if isinstance(event, GaveUp) or not self.missing:
                        return

    def _handle(self, event: Event) -> Generator[Event, None, None]:
        """Take note of an event, and yield it if it concerns the caller."""
        match event:
            case Outcome(clip, "done"):
                if (name := clip_name(*clip.key)) in self.missing:
                    self.missing.discard(name)
                    yield event
            case Outcome(clip):
                self.rejected.add(name := clip_name(*clip.key))
                if name in self.missing:
                    yield event
            case ArchiveProgress():
                self._current_clip[event.url] = event.name
                yield event
            case ArchiveResult():
                yield from self._record_result(event)
            case Pause() | SpacingChanged() | GaveUp():
                yield replace(event, server=MIRROR.name)
            case _:
                yield event

    def _record_result(self, result: ArchiveResult) -> Generator[Notice, None, None]:
        """Add to the index what was learnt of an archive, and note whether it is to be read again."""
        request, listing = result.request, result.listing
        if listing:
            rejected = listing.rejected | self._clips_to_skip(request.url)
            self._index.update(request.url, replace(listing, rejected=rejected))
        if result.status == "postponed":
            return
        if result.status == "done":
            self._searched_for[request.url] = request.names
            self.unread.pop(request.url, None)
            if result.reason:
                yield Notice(f"{request.url}: {result.reason}")
            return
        self._failures[request.url] += 1
        if request.url not in UNLISTED_ARCHIVES:
            self.unread[request.url] = result.reason
        name = self._current_clip.get(request.url)
        if name and result.category in (Category.LOST_WORKER, Category.TIMEOUT):
            self._workers_lost[request.url, name] += 1
            if self._workers_lost[request.url, name] == MAX_WORKERS_LOST:  # without that clip it may be readable
                self._failures[request.url] -= 1
        if self._failures[request.url] >= MAX_ATTEMPTS and request.url in self.unread:
            yield Notice(f"{request.url} cannot be read: {result.reason}")

    def _clips_to_skip(self, archive_url: str) -> frozenset[str]:
        """Return the clips of an archive whose check cost too many workers."""
        losses = self._workers_lost.items()
        return frozenset(name for (url, name), lost in losses if url == archive_url and lost >= MAX_WORKERS_LOST)
