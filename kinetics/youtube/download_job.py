"""What is done to one clip in a worker process: Clip -> Outcome. The only broad `except` about a clip is here."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from kinetics.errors import MayWorkLater
from kinetics.media import cut as media
from kinetics.media.fragment_index import HeaderSizes
from kinetics.media.section import RemoteMedia
from kinetics.net.http import HttpSession, MediaRefused, use_proxy
from kinetics.net.range_file import RangeFile
from kinetics.net.rate_limit import shared_rate_limiter
from kinetics.records import Clip, Cut, Outcome
from kinetics.scheduling.worker import limit_memory, record_failure
from kinetics.storage.layout import Layout
from kinetics.youtube.engines import Engine, open_engines, resolve
from kinetics.youtube.formats import MediaSource

CUTTERS = {"smart": media.cut_smart, "exact": media.cut_exact, "keyframe": media.cut_keyframe}


@dataclass(frozen=True, slots=True)
class Download:
    """The job of getting a clip from YouTube.

    `limit_rate` is in bytes a second, for all workers together. `shared` is a folder for what they tell each other: how
    far they have come with that rate, and the id as which YouTube knows them.
    """

    layout: Layout
    cut: Cut
    engines: tuple[str, ...]
    max_height: int
    cookies: Path | None = None
    limit_rate: float | None = None
    shared: Path | None = None
    proxy: str | None = None

    @property
    def modules(self) -> tuple[str, ...]:
        """What workers need from the start, so that it is imported once for all of them."""
        return (__name__, self.engines[0].replace("-", "_"), *self.layout.modules)

    def at(self, scratch: Path) -> Download:
        """The same job on another host, where the workers have this folder to themselves.

        What belongs below the root of the layout is shared by all hosts, but not where the clips are at a URL.
        """
        layout = replace(self.layout, root=scratch) if self.layout.url else self.layout
        return replace(self, shared=scratch, layout=layout)

    def open(self) -> Callable[[Clip, Callable[[], None]], Outcome]:
        limit_memory()
        use_proxy(self.proxy)
        limit = shared_rate_limiter(self.shared, self.limit_rate)
        visitor_file = self.shared / "visitor" if self.shared else None
        return _Downloader(self, open_engines(self.engines, self.cookies, visitor_file), HttpSession(limit))


class _Downloader:
    """One worker's engines and connections, kept from clip to clip."""

    def __init__(self, job: Download, engines: list[Engine], line: HttpSession) -> None:
        self._job = job
        self._engines = engines
        self._line = line
        self._sizes = HeaderSizes()

    def __call__(self, clip: Clip, answered: Callable[[], None]) -> Outcome:
        """Get one clip. Raises Fatal where nothing can be written."""
        outcome = Outcome(clip, "failed", host=socket.gethostname(), cut=self._job.cut)
        line, began = self._line, time.monotonic()
        bytes_before, requests_before, busy_before_s = line.bytes_received, line.requests, line.busy_s
        with record_failure(self._job.layout.folder) as failure:
            source = resolve(self._engines, clip.youtube_id, self._job.max_height)
            outcome = replace(outcome, engine=source.engine, itag=source.itag, resolve_s=time.monotonic() - began)
            answered()
            outcome = self._fetch(clip, source, outcome)
        outcome = failure.applied_to(outcome)
        spent_s, download_s = time.monotonic() - began, line.busy_s - busy_before_s
        if outcome.resolve_s is None:
            return replace(outcome, resolve_s=spent_s)
        return replace(
            outcome,
            download_s=download_s,
            cut_s=max(0.0, spent_s - outcome.resolve_s - download_s),
            bytes_received=line.bytes_received - bytes_before,
            requests=line.requests - requests_before,
        )

    def _fetch(self, clip: Clip, source: MediaSource, outcome: Outcome) -> Outcome:
        """Fetch from this source; where the media host refuses it, from the next engine's, if there is one."""
        try:
            return self._make(clip, source, outcome)
        except MediaRefused as refused:
            others = [engine for engine in self._engines if engine.name != source.engine]
            if not others:
                raise
            try:
                source = resolve(others, clip.youtube_id, self._job.max_height)
            except MayWorkLater:
                raise refused from None
            return self._make(clip, source, replace(outcome, engine=source.engine, itag=source.itag))

    def _make(self, clip: Clip, source: MediaSource, outcome: Outcome) -> Outcome:
        cut, layout = self._job.cut, self._job.layout
        inputs = [
            RemoteMedia(
                RangeFile(self._line, one.url, one.headers, streaming=cut == "none"),
                one.container,
                source.duration_s,
                progressive=bool(one.video_codec and one.audio_codec),
                header_bytes=one.header_bytes,
                sizes=self._sizes,
            )
            for one in source.formats
        ]
        with layout.arriving(clip, cut) as temporary:
            if cut == "none":
                made = media.copy_whole(inputs, temporary)
            else:
                made = CUTTERS[cut](inputs, clip.time_start, clip.time_end, temporary)
            clip_bytes = temporary.stat().st_size
        return replace(
            outcome,
            status="done",
            height=made.height,
            clip_bytes=clip_bytes,
            offset_s=None if cut == "none" else made.offset_s,
            duration_s=made.duration_s,
            sound=made.sound,
        )
