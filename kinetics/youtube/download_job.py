"""A worker's job for YouTube: resolve a clip's video, fetch its section, cut it, and return the Outcome."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import overload

from kinetics.errors import MayWorkLater, NotOffered, Unconfirmed
from kinetics.media import cut as media
from kinetics.media.fragment_index import HeaderSizes
from kinetics.media.section import RemoteMedia
from kinetics.net.http import HttpSession
from kinetics.net.proxy import use_proxy
from kinetics.net.range_file import RangeFile
from kinetics.net.rate_limit import shared_rate_limiter
from kinetics.net.responses import MediaRefused
from kinetics.records import Clip, ControlCall, ControlResult, Cut, Outcome
from kinetics.scheduling.worker import limit_memory, record_failure
from kinetics.storage.layout import Layout
from kinetics.youtube.engines import ALIKE_CLIPS, Engine, Resolver, open_engines, resolve
from kinetics.youtube.formats import MediaSource
from kinetics.youtube.thumbnails import ThumbnailChecker

CUTTERS = {"smart": media.cut_smart, "exact": media.cut_exact, "keyframe": media.cut_keyframe}
"""The function for each value of `--cut` but `none`."""


@dataclass(frozen=True, slots=True)
class DownloadClip:
    """The job of getting one clip after another from YouTube."""

    layout: Layout
    cut: Cut
    engines: tuple[str, ...]
    """Names of the engines, in the order in which they are asked."""
    max_height: int
    """Pixels; among the formats of at most this height the best one is taken."""
    cookies: Path | None = None
    limit_rate: float | None = None
    """Bytes a second, for all workers together."""
    shared: Path | None = None
    """A folder for what the workers share: the state of the rate limit, and the visitor id they send to YouTube."""
    proxy: str | None = None
    thumbnails: bool = True
    """Whether to look for the thumbnail of a video that YouTube calls unavailable."""

    @property
    def modules(self) -> tuple[str, ...]:
        """The modules that every worker needs, so that they are imported once for all of them."""
        return (__name__, self.engines[0].replace("-", "_"), *self.layout.modules)

    def at(self, scratch: Path) -> DownloadClip:
        """Return the same job for another host, whose workers have the folder `scratch` to themselves.

        All hosts share what is below the layout's root, except where clips go to a URL: then the root is local, too.
        """
        layout = replace(self.layout, root=scratch) if self.layout.url else self.layout
        return replace(self, shared=scratch, layout=layout)

    def open(self) -> ClipDownloader:
        """Return the worker."""
        limit_memory()
        use_proxy(self.proxy)
        limit = shared_rate_limiter(self.shared, self.limit_rate)
        visitor_file = self.shared / "visitor" if self.shared else None
        notices: list[str] = []
        engines = open_engines(self.engines, self.cookies, visitor_file, notices.append)
        return ClipDownloader(self, engines, HttpSession(limit), notices)


class ClipDownloader:
    """One worker: a function of a clip, and of a callback for when YouTube has answered the player call.

    Its engines and connections are kept from clip to clip. What they put into `notices` goes out with an outcome.
    """

    def __init__(self, job: DownloadClip, engines: list[Engine], session: HttpSession, notices: list[str]) -> None:
        self._job = job
        self._engines = engines
        self._resolver = Resolver(engines)
        self._session = session
        self._notices = notices
        self._header_sizes = HeaderSizes()
        self._media_refused = 0  # clips in a row whose first media were refused, none of which came
        self._thumbnails = ThumbnailChecker() if job.thumbnails else None

    @overload
    def __call__(self, item: Clip, on_answer: Callable[[], None]) -> Outcome: ...

    @overload
    def __call__(self, item: ControlCall, on_answer: Callable[[], None]) -> ControlResult: ...

    def __call__(self, item: Clip | ControlCall, on_answer: Callable[[], None]) -> Outcome | ControlResult:
        """Get one clip, or make a control call. Raises Fatal if files cannot be written."""
        if isinstance(item, ControlCall):
            return self._check_again(item, on_answer)
        return self._with_thumbnail(self._get(item, on_answer))

    def _check_again(self, call: ControlCall, on_answer: Callable[[], None]) -> ControlResult:
        """Ask for a video that came before, and for the first byte of its media."""
        with record_failure(self._job.layout.folder) as failure:
            source = resolve(self._engines, call.clip.youtube_id, self._job.max_height)
            on_answer()
            for media_format in source.formats:
                RangeFile(self._session, media_format.url, media_format.headers).read(1)
        return failure.applied_to(ControlResult(call, "done"))

    def _with_thumbnail(self, outcome: Outcome) -> Outcome:
        """Return the outcome with the thumbnail of a video that is called unavailable, and nothing else."""
        if not self._thumbnails:
            return outcome
        if outcome.status == "done":
            self._thumbnails.came(outcome.clip.youtube_id)
        if not outcome.unconfirmed:
            return outcome
        living = self._thumbnails.living()
        return replace(outcome, thumbnail=self._thumbnails.thumbnail(outcome.clip.youtube_id), living_thumbnails=living)

    def _get(self, clip: Clip, on_answer: Callable[[], None]) -> Outcome:
        """Get one clip. Raises Fatal if its files cannot be written."""
        job = self._job
        outcome = Outcome(clip, "failed", host=socket.gethostname(), cut=job.cut, max_height=job.max_height)
        session, start = self._session, time.monotonic()
        bytes_before, requests_before, busy_before_s = session.bytes_received, session.requests, session.busy_s
        with record_failure(job.layout.folder) as failure:
            source = self._resolver.resolve(clip.youtube_id, job.max_height, in_full=clip.again)
            outcome = replace(outcome, engine=source.engine, itag=source.itag, resolve_s=time.monotonic() - start)
            on_answer()
            outcome = self._download(clip, source, outcome)
        notice = self._notices.pop() if self._notices else ""
        outcome = replace(
            failure.applied_to(outcome), unconfirmed=isinstance(failure.error, Unconfirmed), notice=notice
        )
        total_s, download_s = time.monotonic() - start, session.busy_s - busy_before_s
        if outcome.resolve_s is None:
            return replace(outcome, resolve_s=total_s)
        return replace(
            outcome,
            download_s=download_s,
            cut_s=max(0.0, total_s - outcome.resolve_s - download_s),
            bytes_received=session.bytes_received - bytes_before,
            requests=session.requests - requests_before,
        )

    def _download(self, clip: Clip, source: MediaSource, outcome: Outcome) -> Outcome:
        """Download from this source; if the media host refuses its addresses, from those of the next engine."""
        try:
            outcome = self._write_clip(clip, source, outcome)
        except MediaRefused as refused:
            others = [engine for engine in self._engines if engine.name != source.engine]
            self._media_refused += 1
            if not others or (self._media_refused > ALIKE_CLIPS and not clip.again):
                raise
            try:
                source = resolve(others, clip.youtube_id, self._job.max_height)
            except (MayWorkLater, NotOffered):
                raise refused from None
            outcome = self._write_clip(clip, source, replace(outcome, engine=source.engine, itag=source.itag))
        self._media_refused = 0
        return outcome

    def _write_clip(self, clip: Clip, source: MediaSource, outcome: Outcome) -> Outcome:
        """Cut the clip from its source, move it to its final name, and return what the file is like."""
        cut, layout = self._job.cut, self._job.layout
        media_files = [
            RemoteMedia(
                RangeFile(self._session, media_format.url, media_format.headers, streaming=cut == "none"),
                media_format.container,
                source.duration_s,
                progressive=bool(media_format.video_codec and media_format.audio_codec),
                header_bytes=media_format.header_bytes,
                sizes=self._header_sizes,
            )
            for media_format in source.formats
        ]
        with layout.atomic_clip(clip, cut) as temporary:
            if cut == "none":
                result = media.copy_whole(media_files, temporary)
            else:
                result = CUTTERS[cut](media_files, clip.time_start, clip.time_end, temporary)
            clip_bytes = temporary.stat().st_size
        return replace(
            outcome,
            status="done",
            height=result.height,
            clip_bytes=clip_bytes,
            offset_s=None if cut == "none" else result.offset_s,
            duration_s=result.duration_s,
            sound=result.sound,
        )
