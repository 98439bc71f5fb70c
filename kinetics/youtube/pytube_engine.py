"""pytubefix, or pytube, asked about a video."""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from kinetics.errors import StopEveryone
from kinetics.storage.atomic import atomic_write
from kinetics.youtube.engine_errors import translated_errors
from kinetics.youtube.formats import Format, positive_number, shorter_side
from kinetics.youtube.replies import check_reply, object_at, verdict


class Pytube:
    """pytubefix, or pytube, which has the same interface.

    pytubefix asks as the visionOS client: no page, no JavaScript. Its fallback clients would run Node, so they are
    switched off; the visitor id, which it would fetch anew for every video, is kept, for all processes where they share
    a file.
    """

    def __init__(self, name: Literal["pytubefix", "pytube"], visitor_file: Path | None = None) -> None:
        self.name: str = name
        self._visitor = ""
        self._visitor_file = visitor_file

    def formats(self, video_id: str) -> tuple[list[Format], float | None]:
        with translated_errors(self.name):
            module = importlib.import_module(self.name)
            video = module.YouTube(f"https://www.youtube.com/watch?v={video_id}")
            if self.name == "pytubefix":
                video.fallback_clients = []
                video._visitor_data = self._visitor or self._shared_visitor() or self._ask_visitor(module, video_id)
            reply = video.vid_info
            check_reply(reply, video_id)
            streams = [stream for stream in video.streams if not getattr(stream, "is_sabr", False)]
            duration_s = positive_number(object_at(reply, "videoDetails").get("lengthSeconds"))
            ends = _index_ends(reply)
            return [_from_stream(stream, ends.get(str(stream.itag))) for stream in streams], duration_s

    def _shared_visitor(self) -> str:
        if self._visitor_file:
            with suppress(OSError, ValueError):
                self._visitor = self._visitor_file.read_text("ascii")
        return self._visitor

    def _ask_visitor(self, module: ModuleType, video_id: str) -> str:
        """pytubefix would do this itself, but pass over a refusal and knock again."""
        reply = importlib.import_module(f"{module.__name__}.innertube").InnerTube("WEB").player(video_id)
        refusal = verdict(object_at(reply, "playabilityStatus"))
        if isinstance(refusal, StopEveryone):
            raise refusal
        self._visitor = str(reply["responseContext"]["visitorData"])
        if self._visitor_file:
            with suppress(OSError, ValueError), atomic_write(self._visitor_file) as temporary:
                temporary.write_text(self._visitor, "ascii")
        return self._visitor


def _index_ends(reply: Mapping[str, object]) -> dict[str, int]:
    """Where the index ends of each adaptive file, by itag; of several with one itag, in the longest."""
    ends: dict[str, int] = {}
    offered = object_at(reply, "streamingData").get("adaptiveFormats")
    for one in offered if isinstance(offered, list) else ():
        if last := positive_number(object_at(one, "indexRange").get("end")):
            itag = str(one.get("itag"))
            ends[itag] = max(ends.get(itag, 0), int(last) + 1)
    return ends


def _from_stream(stream: Any, header_bytes: int | None) -> Format:
    """A format from pytube's or pytubefix's Stream."""
    named = re.match(r"\d+", str(stream.resolution or ""))
    dubbed = getattr(stream, "includes_multiple_audio_tracks", False) and not stream.is_default_audio_track
    return Format(
        itag=str(stream.itag),
        url=stream.url if isinstance(stream.url, str) else "",
        container="webm" if stream.subtype == "webm" else "mp4",
        video_codec=(stream.video_codec or "") if stream.includes_video_track else "",
        audio_codec=(stream.audio_codec or "") if stream.includes_audio_track else "",
        height=shorter_side(getattr(stream, "width", None), getattr(stream, "height", None))
        or (int(named[0]) if named else None),
        bitrate=positive_number(stream.bitrate) or 0.0,
        original=not dubbed and not getattr(stream, "is_drc", False),
        header_bytes=header_bytes,
    )
