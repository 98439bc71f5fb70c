"""Asks YouTube with pytubefix, or with pytube, its predecessor, which has the same interface.

pytubefix asks as its default client, visionOS, which needs neither a web page nor JavaScript. Its fallback clients are
switched off, because some of them run Node. It would request a new visitor id for every video; here one id is kept for
all processes of a run, which saves a call for each video. pytube is asked as it is.
"""

from __future__ import annotations

import importlib
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from kinetics.errors import ClientRefused, MayWorkLater, StopEveryone, VisitorRefused
from kinetics.youtube.ads import ads_s
from kinetics.youtube.engine_errors import translated_errors
from kinetics.youtube.formats import Format, picture_size, positive_number, shorter_side, track_and_alteration
from kinetics.youtube.replies import check_reply, object_at, offered_formats, status_error
from kinetics.youtube.video_facts import Learn, facts_from_reply, ignore
from kinetics.youtube.visitor import VisitorId


class Pytube:
    """An engine on pytubefix or pytube; `visitor_file` is where processes share pytubefix's visitor id."""

    def __init__(self, name: Literal["pytubefix", "pytube"], visitor_file: Path | None = None) -> None:
        self.name: str = name
        self.clients = ("visionos",) if name == "pytubefix" else ("default",)
        self._visitor_id = VisitorId(visitor_file)

    def formats(self, video_id: str, client: str, learn: Learn = ignore) -> tuple[list[Format], float | None]:
        """Return all formats on offer, and the video's length. There is one client only. Raises ClipError.

        If YouTube turns away the visitor id, it is asked once more, with a new one.
        """
        with translated_errors(self.name):
            self._ask_in_english()
            if self.name == "pytube":
                return self._ask(video_id, learn)
            request = partial(self._request_visitor_id, video_id)
            visitor_id = self._visitor_id.get(request)
            try:
                return self._ask(video_id, learn, visitor_id)
            except VisitorRefused:
                return self._ask(video_id, learn, self._visitor_id.get(request, refused=visitor_id))

    def _ask(self, video_id: str, learn: Learn, visitor_id: str = "") -> tuple[list[Format], float | None]:
        video = importlib.import_module(self.name).YouTube(f"https://www.youtube.com/watch?v={video_id}")
        if visitor_id:
            video.fallback_clients = []
            video._visitor_data = visitor_id
        reply = video.vid_info
        learn(facts_from_reply(reply, video_id))
        try:
            check_reply(reply, video_id)
        except MayWorkLater as error:
            served = object_at(reply, "playabilityStatus").get("status") == "OK"
            if served or isinstance(error, VisitorRefused):
                raise
            raise ClientRefused(error.category, error.reason) from error
        entries = offered_formats(reply)
        for entry in entries:
            object_at(entry, "audioTrack").setdefault("displayName", "")  # without a name pytubefix fails
        formats = [*_formats(video.streams, entries)]
        if wait_s := ads_s(reply):
            formats = [replace(one, available_at=time.time() + wait_s) for one in formats]
        return formats, positive_number(object_at(reply, "videoDetails").get("lengthSeconds"))

    def _ask_in_english(self) -> None:
        """Have YouTube answer in English, whose words replies.py knows; neither package names a language.

        All InnerTube objects of one client share the context that they send, so this holds for those that come later.
        An upgrade that ends this costs the language, and no more.
        """
        innertube = importlib.import_module(f"{self.name}.innertube").InnerTube
        with suppress(AttributeError, KeyError, TypeError):
            for client in (innertube(), innertube("WEB")):
                client.base_data["context"]["client"]["hl"] = "en"

    def _request_visitor_id(self, video_id: str) -> str:
        """Request a visitor id. pytubefix would do this itself, but ignore a refusal and ask again."""
        reply = importlib.import_module(f"{self.name}.innertube").InnerTube("WEB").player(video_id)
        refusal = status_error(object_at(reply, "playabilityStatus"))
        if isinstance(refusal, StopEveryone):
            raise refusal
        return str(reply["responseContext"]["visitorData"])


def _formats(streams: Iterable[Any], entries: Iterable[Mapping[str, Any]]) -> Iterator[Format]:
    """Yield the formats that can be fetched, from pytube's or pytubefix's Streams.

    Left out are those that are encrypted (DRM), made while they are sent (OTF), or without an address of their own.
    """
    entry_by_url = {str(entry.get("url")): entry for entry in entries}
    for stream in streams:
        url = stream.url if isinstance(stream.url, str) else ""
        entry = entry_by_url.get(url, {})
        if not (entry.get("drmFamilies") or stream.is_otf or getattr(stream, "is_sabr", False)):
            yield _format_from_stream(stream, url, entry)


def _format_from_stream(stream: Any, url: str, entry: Mapping[str, Any]) -> Format:
    """Return a format from a Stream and from what the reply says of it, which both packages drop in part."""
    resolution = re.match(r"\d+", str(stream.resolution or ""))
    track = object_at(entry, "audioTrack")
    default = bool(track.get("audioIsDefault")) if track else None
    kind, altered = track_and_alteration(url, name=str(track.get("displayName")), default=default)
    index_end = positive_number(object_at(entry, "indexRange").get("end"))
    duration_ms = positive_number(entry.get("approxDurationMs"))
    return Format(
        itag=str(stream.itag),
        url=url,
        container="webm" if stream.subtype == "webm" else "mp4",
        video_codec=(stream.video_codec or "") if stream.includes_video_track else "",
        audio_codec=(stream.audio_codec or "") if stream.includes_audio_track else "",
        height=shorter_side(getattr(stream, "width", None), getattr(stream, "height", None))
        or (int(resolution[0]) if resolution else None),
        bitrate=positive_number(stream.bitrate) or 0.0,
        track=kind,
        altered=altered or bool(entry.get("isDrc")),
        surround=(positive_number(entry.get("audioChannels")) or 2) > 2,
        duration_s=duration_ms and duration_ms / 1000,
        header_bytes=int(index_end) + 1 if index_end else None,
        size=picture_size(entry.get("width"), entry.get("height")),
        fps=positive_number(entry.get("fps")),
    )
