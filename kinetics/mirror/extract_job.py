"""A worker's job for the mirror: read an archive, extract the wanted clips, check each, move it to its final name."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from kinetics.errors import ClipError, MayWorkLater
from kinetics.media.check import whole_clip
from kinetics.media.resize import resize_in_place
from kinetics.mirror.tar_stream import MIRROR, Archive, ArchiveMember, Damaged
from kinetics.mirror.wanted_clips import WantedClips
from kinetics.net.http import HttpSession
from kinetics.net.proxy import use_proxy
from kinetics.net.rate_limit import shared_rate_limiter
from kinetics.records import (
    AS_IN_SOURCE,
    ArchiveListing,
    ArchiveProgress,
    ArchiveRequest,
    ArchiveResult,
    Category,
    Clip,
    Facts,
    Outcome,
    PictureSettings,
)
from kinetics.scheduling.worker import Notify, limit_memory, record_failure
from kinetics.storage.layout import Layout, clip_name

PROGRESS_EVERY_BYTES = 1 << 22
"""Bytes of an archive between two progress messages, each of which restarts the worker's timeout.

An archive that brings fewer bytes within the timeout of one clip is therefore given up.
"""


class RejectedClip(MayWorkLater):
    """The mirror's copy of a clip does not decode, or is not as long as it should be."""


@dataclass(frozen=True, slots=True)
class ExtractArchive:
    """The job of extracting wanted clips from archives."""

    layout: Layout
    wanted: Path
    """The file with the table of wanted clips."""
    limit_rate: float | None = None
    """Bytes a second, for all workers together."""
    shared: Path | None = None
    """A folder where the workers share the state of the rate limit."""
    proxy: str | None = None
    picture: PictureSettings = AS_IN_SOURCE

    @property
    def modules(self) -> tuple[str, ...]:
        """The modules that every worker needs, so that they are imported once for all of them."""
        return (__name__, *self.layout.modules)

    def open(self) -> Callable[[ArchiveRequest, Notify], ArchiveResult]:
        """Return the worker: a function of an archive to read, and of a callback that reports what happens."""
        limit_memory()
        use_proxy(self.proxy)
        session = HttpSession(shared_rate_limiter(self.shared, self.limit_rate), MIRROR)
        wanted = WantedClips(self.wanted)
        return lambda request, report: _Extraction(self, session, wanted, request, report).run()


class _Extraction:
    """The extraction of clips from one archive."""

    def __init__(
        self, job: ExtractArchive, session: HttpSession, wanted: WantedClips, request: ArchiveRequest, report: Notify
    ) -> None:
        self._layout, self._picture = job.layout, job.picture
        self._session = session
        self._wanted = wanted
        self._request = request
        self._report = report
        self._archive = Archive(session, request.url, self._on_data)
        self._extracted = set[str]()
        self._rejected = set[str]()
        self._reported_position: int | None = None
        self._counts_before = session.bytes_received, session.requests, session.busy_s

    def run(self) -> ArchiveResult:
        """Read the archive until it holds no other wanted clip, and return what it holds as far as it was read.

        Raises Fatal if clips cannot be written.
        """
        archive, result = self._archive, ArchiveResult(self._request, "failed")
        with archive, record_failure(self._layout.folder) as failure:
            try:
                self._extract_wanted()
                self._report_progress()
                result = replace(result, status="done")
            except Damaged as error:  # reading it again would bring nothing more
                result = replace(result, status="done", category=error.category, reason=error.reason)
        if archive.size is not None:
            names = frozenset(clip_name(*key) for key in archive.clips_read)
            rejected = frozenset(self._rejected)
            listing = ArchiveListing(archive.size, archive.etag, names, rejected, archive.fully_read)
            result = replace(result, listing=listing)
        return failure.applied_to(result)

    def _extract_wanted(self) -> None:
        left = set(self._request.names)
        for member in self._archive.members():
            name = clip_name(*member.key)
            skip = name in self._extracted or name in self._request.rejected  # an archive may hold a clip twice
            clip = None if skip else self._wanted.find(member.key)
            if clip and (outcome := self._extract(member, clip)):
                self._report(outcome)
            left.discard(name)
            if self._request.all_known and not left:
                return

    def _extract(self, member: ArchiveMember, clip: Clip) -> Outcome | None:
        """Extract one clip; return None if its bytes could not be read, which concerns the whole archive.

        A rejected clip stays wanted: another archive may have a good copy.
        """
        outcome = Outcome(clip, "failed", source="mirror", host=socket.gethostname(), picture=self._picture)
        name = clip_name(*clip.key)
        try:
            with self._layout.atomic_clip(clip, "exact") as temporary:
                member.copy_to(temporary)
                self._report_progress(name)
                facts = _checked_clip(temporary, clip, self._picture)
        except RejectedClip as error:
            self._rejected.add(name)
            outcome = replace(outcome, category=error.category, reason=error.reason)
        except ClipError:
            return None
        else:
            self._extracted.add(name)
            self._rejected.discard(name)
            outcome = replace(
                outcome,
                status="done",
                height=facts.height,
                clip_bytes=facts.size,
                duration_s=facts.duration_s,
                sound=facts.sound,
            )
        counts = self._session.bytes_received, self._session.requests, self._session.busy_s
        received, requests, busy_s = (now - before for now, before in zip(counts, self._counts_before, strict=True))
        self._counts_before = counts
        return replace(outcome, bytes_received=int(received), requests=int(requests), download_s=busy_s)

    def _on_data(self) -> None:
        """Report the server's answer when the first bytes come, and progress as more of them do."""
        if self._reported_position is None:
            self._report()
            self._report_progress()
        elif abs(self._archive.position - self._reported_position) >= PROGRESS_EVERY_BYTES:
            self._report_progress()

    def _report_progress(self, name: str = "") -> None:
        """Report the position in the archive, and the name of the clip that is about to be checked."""
        self._reported_position = self._archive.position
        size = self._archive.size or 0
        self._report(ArchiveProgress(self._request.url, self._reported_position, size, name))


def _checked_clip(path: Path, clip: Clip, picture: PictureSettings) -> Facts:
    """Return what the file of a clip is like, once its picture is as it should be.

    Raises RejectedClip if it does not decode or has the wrong length.
    """
    try:
        facts = whole_clip(path, clip)
        return resize_in_place(path, picture) if picture else facts
    except MayWorkLater as error:
        raise RejectedClip(Category.NOT_FOUND, f"the mirror's clip was rejected: {error.reason}") from error
