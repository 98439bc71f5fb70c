"""What a worker does with an archive of the mirror: the wanted clips taken out, checked, and moved to their names."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from kinetics.errors import ClipError, MayWorkLater
from kinetics.media import check
from kinetics.mirror.tar_stream import MIRROR, Archive, ArchiveMember, Damaged
from kinetics.mirror.wanted_clips import Wanted
from kinetics.net.http import HttpSession, use_proxy
from kinetics.net.rate_limit import shared_rate_limiter
from kinetics.records import (
    ArchiveListing,
    ArchiveProgress,
    ArchiveRequest,
    ArchiveResult,
    Category,
    Clip,
    Facts,
    Outcome,
)
from kinetics.scheduling.worker import Notify, limit_memory, record_failure
from kinetics.storage.layout import Layout, clip_name

PROGRESS_EVERY_BYTES = 1 << 22
"""So many bytes of an archive bring it on: if they do not come in the time for one clip, it is given up."""


class UnfitError(MayWorkLater):
    """A clip of the mirror that has come is not as it should be; it never will be."""


@dataclass(frozen=True, slots=True)
class ExtractArchive:
    """The job of taking from archives the clips that are wanted; `wanted` is their file.

    `limit_rate` is in bytes a second, for all workers together, which keep the account of it in the folder `shared`.
    """

    layout: Layout
    wanted: Path
    limit_rate: float | None = None
    shared: Path | None = None
    proxy: str | None = None

    @property
    def modules(self) -> tuple[str, ...]:
        """What workers need from the start."""
        return (__name__, *self.layout.modules)

    def open(self) -> Callable[[ArchiveRequest, Notify], ArchiveResult]:
        limit_memory()
        use_proxy(self.proxy)
        line, wanted = HttpSession(shared_rate_limiter(self.shared, self.limit_rate), MIRROR), Wanted(self.wanted)
        return lambda need, say: _Extraction(self.layout, line, wanted, need, say).harvest()


class _Extraction:
    """At work on one archive."""

    def __init__(self, layout: Layout, line: HttpSession, wanted: Wanted, need: ArchiveRequest, say: Notify) -> None:
        self._layout = layout
        self._line = line
        self._wanted = wanted
        self._need = need
        self._say = say
        self._archive = Archive(line, need.url, self._on_data)
        self._had = set[str]()
        self._unfit = set[str]()
        self._told: int | None = None
        self._before = line.bytes_received, line.requests, line.busy_s

    def harvest(self) -> ArchiveResult:
        """Read the archive to where it holds nothing more that is wanted, and say what it holds.

        Raises Fatal where clips cannot be written.
        """
        archive, harvest = self._archive, ArchiveResult(self._need, "failed")
        with archive, record_failure(self._layout.folder) as failure:
            try:
                self._take_all()
                self._tell()
                harvest = replace(harvest, status="done")
            except Damaged as error:  # nobody can have what is behind that
                harvest = replace(harvest, status="done", category=error.category, reason=error.reason)
        if archive.size is not None:
            held = (clip_name(*key) for key in archive.passed)
            contents = ArchiveListing(
                archive.size, archive.etag, frozenset(held), frozenset(self._unfit), archive.exhausted
            )
            harvest = replace(harvest, contents=contents)
        return failure.applied_to(harvest)

    def _take_all(self) -> None:
        left = set(self._need.names)
        for member in self._archive.members():
            name = clip_name(*member.key)
            settled = name in self._had or name in self._need.unfit  # it may come twice
            clip = None if settled else self._wanted.find(member.key)
            if clip and (outcome := self._taken(member, clip)):
                self._say(outcome)
            left.discard(name)
            if self._need.all_known and not left:
                return

    def _taken(self, member: ArchiveMember, clip: Clip) -> Outcome | None:
        """What came of one clip; nothing where its bytes did not come, for that the archive will say.

        A clip that is not as it should be stays wanted: another archive may have it whole.
        """
        outcome = Outcome(clip, "failed", source="mirror", host=socket.gethostname())
        try:
            with self._layout.arriving(clip, "exact") as temporary:
                member.copy_to(temporary)
                self._tell(clip_name(*clip.key))
                facts = _fit(temporary, clip)
        except UnfitError as error:
            self._unfit.add(clip_name(*clip.key))
            outcome = replace(outcome, category=error.category, reason=error.reason)
        except ClipError:
            return None
        else:
            self._had.add(clip_name(*clip.key))
            self._unfit.discard(clip_name(*clip.key))
            outcome = replace(
                outcome,
                status="done",
                height=facts.height,
                clip_bytes=facts.size,
                duration_s=facts.duration_s,
                sound=facts.sound,
            )
        now = self._line.bytes_received, self._line.requests, self._line.busy_s
        received, requests, busy_s = (after - before for after, before in zip(now, self._before, strict=True))
        self._before = now
        return replace(outcome, bytes_received=int(received), requests=int(requests), download_s=busy_s)

    def _on_data(self) -> None:
        """Some bytes have come."""
        if self._told is None:
            self._say()
        if self._told is None or abs(self._archive.position - self._told) >= PROGRESS_EVERY_BYTES:
            self._tell()

    def _tell(self, name: str = "") -> None:
        """Say how far it is, and which clip is looked at now."""
        self._told = self._archive.position
        self._say(ArchiveProgress(self._need.url, self._told, self._archive.size or 0, name))


def _fit(path: Path, clip: Clip) -> Facts:
    """What a clip is like that plays, and is as long as it should be."""
    try:
        facts = check.decode_fully(path)
        # A little more than the section does no harm, and whether the mirror's clips are cut that exactly is not known.
        reason = check.mismatch(facts, clip, check.Expected(), "keyframe")
    except MayWorkLater as error:
        reason = error.reason
    except MemoryError:
        reason = "it takes too much memory"
    if reason:
        raise UnfitError(Category.NOT_FOUND, f"the mirror's clip is unfit: {reason}")
    return facts
