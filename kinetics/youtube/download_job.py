"""A worker's job for YouTube: resolve a video, fetch its wanted sections, cut them, and return the Outcomes."""

from __future__ import annotations

import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import overload

from kinetics.errors import Unconfirmed
from kinetics.media import cut as cutting
from kinetics.media.fragment_index import HeaderSizes
from kinetics.media.remote_media import RemoteMedia
from kinetics.net.http import HttpSession
from kinetics.net.proxy import use_proxy
from kinetics.net.rate_limit import shared_rate_limiter
from kinetics.records import AS_IN_SOURCE, Clip, ControlCall, ControlResult, Cut, Outcome, PictureSettings, Video
from kinetics.scheduling.worker import Notify, limit_memory, record_failure
from kinetics.storage.layout import Layout
from kinetics.youtube.client_record import ClientRecord
from kinetics.youtube.engines import open_engines
from kinetics.youtube.fallback import Resolver
from kinetics.youtube.formats import MediaSource
from kinetics.youtube.player_calls import player_calls
from kinetics.youtube.thumbnails import ThumbnailChecker
from kinetics.youtube.video_media import VideoMedia
from kinetics.youtube.visitor import visitor_file


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
    """A folder for what the workers share: the state of the rate limit, and how YouTube refused its clients."""
    proxy: str | None = None
    thumbnails: bool = True
    """Whether to look for the thumbnail of a video that YouTube calls unavailable."""
    picture: PictureSettings = AS_IN_SOURCE

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
        record_file = self.shared and self.shared / "clients"
        visitor = visitor_file() if self.shared else None
        notices: list[str] = []
        player_calls()  # counts from here on
        engines = open_engines(self.engines, self.cookies, visitor, notices.append)
        return ClipDownloader(self, Resolver(engines, ClientRecord(record_file)), HttpSession(limit), notices)


class ClipDownloader:
    """One worker: a function of a clip or a video, and of a callback for how far it has come.

    Its engines and connections are kept from clip to clip. What they put into `notices` goes out with an outcome.
    """

    def __init__(self, job: DownloadClip, resolver: Resolver, session: HttpSession, notices: list[str]) -> None:
        self._job = job
        self._resolver = resolver
        self._session = session
        self._notices = notices
        self._header_sizes = HeaderSizes()
        self._thumbnails = ThumbnailChecker() if job.thumbnails else None

    @overload
    def __call__(self, item: Clip | Video, notify: Notify) -> Outcome: ...

    @overload
    def __call__(self, item: ControlCall, notify: Notify) -> ControlResult: ...

    def __call__(self, item: Clip | Video | ControlCall, notify: Notify) -> Outcome | ControlResult:
        """Get the sections of one video, or make a control call. Raises Fatal if files cannot be written.

        All outcomes but the last are notified. One that is postponed is the last, whatever sections are left.
        """
        if isinstance(item, ControlCall):
            return self._check_again(item, notify)
        *clips, last = item.clips if isinstance(item, Video) else (item,)
        media = self._media(item.youtube_id, in_full=last.again)
        for clip in clips:
            outcome = self._with_thumbnail(self._get(clip, media, notify))
            if outcome.status == "postponed":
                return outcome
            notify(outcome)
        return self._with_thumbnail(self._get(last, media, notify))

    def _media(self, video_id: str, *, in_full: bool) -> VideoMedia:
        search = self._resolver.search(video_id, self._job.max_height, in_full=in_full)
        return VideoMedia(search, self._session, self._header_sizes, streaming=self._job.cut == "none")

    def _check_again(self, call: ControlCall, notify: Notify) -> ControlResult:
        """Ask for a video that came before, and for the first byte of its media."""
        calls_before = player_calls().sent
        media = self._media(call.clip.youtube_id, in_full=True)
        with record_failure(self._job.layout.folder) as failure:
            media.resolve()
            notify(calls=player_calls().sent - calls_before)
            media.use(_read_first_bytes)
        return failure.applied_to(ControlResult(call, "done", calls=player_calls().sent - calls_before))

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

    def _get(self, clip: Clip, media: VideoMedia, notify: Notify) -> Outcome:
        """Get one section of a video. Raises Fatal if its files cannot be written."""
        job = self._job
        outcome = Outcome(
            clip,
            "failed",
            host=socket.gethostname(),
            cut=job.cut,
            max_height=job.max_height,
            picture=job.picture,
        )
        session, start, calls_before = self._session, time.monotonic(), player_calls().sent
        bytes_before, requests_before, busy_before_s = session.bytes_received, session.requests, session.busy_s
        later_before_s = media.later_s
        with record_failure(job.layout.folder) as failure:
            is_first = not media.asked
            source = media.resolve()
            outcome = replace(outcome, engine=source.engine, itag=source.itag, resolve_s=time.monotonic() - start)
            if is_first:
                notify(calls=player_calls().sent - calls_before)
            outcome = media.use(partial(self._write_clip, clip, outcome))
        notice = self._notices.pop() if self._notices else ""
        outcome = replace(
            failure.applied_to(outcome),
            unconfirmed=isinstance(failure.error, Unconfirmed),
            notice=notice,
            calls=player_calls().sent - calls_before,
            video=media.new_facts(clip.split),
        )
        total_s, download_s = time.monotonic() - start, session.busy_s - busy_before_s
        if outcome.resolve_s is None:
            return replace(outcome, resolve_s=total_s)
        resolve_s = outcome.resolve_s + media.later_s - later_before_s
        return replace(
            outcome,
            resolve_s=resolve_s,
            download_s=download_s,
            cut_s=max(0.0, total_s - resolve_s - download_s),
            bytes_received=session.bytes_received - bytes_before,
            requests=session.requests - requests_before,
        )

    def _write_clip(
        self, clip: Clip, outcome: Outcome, source: MediaSource, media_files: Sequence[RemoteMedia]
    ) -> Outcome:
        """Cut the clip from its source, move it to its final name, and return what the file is like."""
        cut, layout, section = self._job.cut, self._job.layout, (clip.time_start, clip.time_end)
        with layout.atomic_clip(clip, cut) as temporary:
            match cut:
                case "none":
                    result = cutting.copy_whole(media_files, temporary)
                case "keyframe":
                    result = cutting.cut_keyframe(media_files, *section, temporary)
                case "exact":
                    result = cutting.cut_exact(media_files, *section, temporary, self._job.picture)
                case "smart":
                    result = cutting.cut_smart(media_files, *section, temporary, self._job.picture)
            clip_bytes = temporary.stat().st_size
        return replace(
            outcome,
            status="done",
            engine=source.engine,
            itag=source.itag,
            height=result.height,
            clip_bytes=clip_bytes,
            offset_s=None if cut == "none" else result.offset_s,
            duration_s=result.duration_s,
            sound=result.sound,
        )


def _read_first_bytes(source: MediaSource, media_files: Sequence[RemoteMedia]) -> None:
    for one in media_files:
        one.file.seek(0)
        one.file.read(1)
