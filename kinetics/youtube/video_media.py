"""The media of one video, found with one player call and read for all of its wanted sections.

The files stay open from section to section, so their headers are read once, and so are bytes in which sections overlap.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from kinetics.errors import ClipError, MayWorkLater, StopEveryone
from kinetics.media.fragment_index import HeaderSizes
from kinetics.media.remote_media import MAX_SHORTFALL_S, RemoteMedia
from kinetics.media.section import EndsEarly
from kinetics.net.http import HttpSession
from kinetics.net.range_file import RangeFile
from kinetics.records import Split, VideoFacts
from kinetics.youtube.fallback import MediaSearch
from kinetics.youtube.formats import Format, MediaSource

KEPT_BETWEEN_SECTIONS = 1 << 26
"""Bytes of a file that are kept for the next section. With more, the sections of a long video could take all the memory
that a worker may use; with fewer, headers are read again."""
_ResultT = TypeVar("_ResultT")


class VideoMedia:
    """What a search finds for one video, and the open files of it."""

    def __init__(
        self, search: MediaSearch, session: HttpSession, sizes: HeaderSizes, *, streaming: bool = False
    ) -> None:
        self._search = search
        self._session = session
        self._sizes = sizes
        self._streaming = streaming
        self._source: MediaSource | None = None
        self._failure: ClipError | None = None
        self._files: list[tuple[RangeFile, RemoteMedia]] = []
        self._early_ends_s: dict[str, float] = {}
        """Of the pictures that are shorter than promised, by URL: their duration in seconds."""
        self._picture: Format | None = None
        """The format whose picture was read for a section."""
        self._told = set[Split]()
        """The splits whose sections bear the facts about the video."""

    @property
    def later_s(self) -> float:
        """Seconds spent on further calls and waits after the first media had failed."""
        return self._search.later_s

    @property
    def asked(self) -> bool:
        """Whether YouTube has been asked about this video, and has answered."""
        return bool(self._source or self._failure)

    def new_facts(self, split: Split) -> VideoFacts | None:
        """Return what YouTube said of the video, and the picture's size if it was read; None once a split was told."""
        facts = self._search.facts
        if facts is None or split in self._told:
            return None
        self._told.add(split)
        if not self._picture or not self._picture.size:
            return facts
        width, height = self._picture.size
        return replace(facts, width=width, height=height, fps=self._picture.fps)

    def resolve(self) -> MediaSource:
        """Return where the media are, asking YouTube at the first section alone.

        Raises ClipError: what YouTube said, for each section alike; a refusal of everybody is asked about again.
        """
        if self._failure:
            raise self._failure
        if self._source is None:
            try:
                self._open(self._search.next_source())
            except StopEveryone:
                raise
            except ClipError as error:
                self._failure = error
                raise
        assert self._source
        return self._source

    def use(self, use: Callable[[MediaSource, Sequence[RemoteMedia]], _ResultT]) -> _ResultT:
        """Return what `use` makes of the first media that do, beginning with those that did for the section before."""
        source = self.resolve()
        if any(file.kept_bytes > KEPT_BETWEEN_SECTIONS for file, _ in self._files):
            self._open(source)
        while True:
            try:
                result = use(source, [media for _, media in self._files])
            except MayWorkLater as failure:
                if isinstance(failure, EndsEarly) and self._is_confirmed(source.formats[0].url, failure.total_s):
                    source = replace(source, picture_s=failure.total_s)
                else:
                    source = self._search.after(source, failure)
                self._open(source)
            else:
                self._search.came()
                self._picture = source.formats[0]
                return result

    def _is_confirmed(self, url: str, total_s: float) -> bool:
        """Whether another file has ended where this one does, so that the video is shorter than the reply says."""
        others_s = [seconds for other, seconds in self._early_ends_s.items() if other != url]
        self._early_ends_s[url] = total_s
        return any(abs(seconds - total_s) <= MAX_SHORTFALL_S for seconds in others_s)

    def _open(self, source: MediaSource) -> None:
        self._source = source
        files = (
            RangeFile(self._session, media_format.url, media_format.headers, streaming=self._streaming)
            for media_format in source.formats
        )
        self._files = [
            (
                file,
                RemoteMedia(
                    file,
                    media_format.container,
                    source.duration_s,
                    source.picture_s,
                    progressive=bool(media_format.video_codec and media_format.audio_codec),
                    header_bytes=media_format.header_bytes,
                    sizes=self._sizes,
                ),
            )
            for file, media_format in zip(files, source.formats, strict=True)
        ]
