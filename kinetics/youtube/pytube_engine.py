"""Asks YouTube with pytubefix, or with pytube, its predecessor, which has the same interface.

pytubefix asks as its default client, visionOS, which needs neither a web page nor JavaScript. Its fallback clients are
switched off, because some of them run Node. It would request a new visitor id for every video; here one id is kept for
all processes of a run, which saves a call for each video. pytube is asked as it is.
"""

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
from kinetics.youtube.replies import check_reply, object_at, status_error


class Pytube:
    """An engine on pytubefix or pytube; `visitor_file` is where processes share pytubefix's visitor id."""

    def __init__(self, name: Literal["pytubefix", "pytube"], visitor_file: Path | None = None) -> None:
        self.name: str = name
        self._visitor_id = ""
        self._visitor_file = visitor_file

    def formats(self, video_id: str, first_client_only: bool = False) -> tuple[list[Format], float | None]:
        """Return all formats on offer, and the video's length. There is one client, the first and the last.

        Raises ClipError.
        """
        with translated_errors(self.name):
            module = importlib.import_module(self.name)
            self._ask_in_english()
            video = module.YouTube(f"https://www.youtube.com/watch?v={video_id}")
            if self.name == "pytubefix":
                video.fallback_clients = []
                video._visitor_data = (
                    self._visitor_id or self._read_shared_visitor_id() or self._request_visitor_id(module, video_id)
                )
            reply = video.vid_info
            check_reply(reply, video_id)
            streams = [stream for stream in video.streams if not getattr(stream, "is_sabr", False)]
            duration_s = positive_number(object_at(reply, "videoDetails").get("lengthSeconds"))
            header_bytes = _header_bytes_by_itag(reply)
            return [_format_from_stream(stream, header_bytes.get(str(stream.itag))) for stream in streams], duration_s

    def _ask_in_english(self) -> None:
        """Have YouTube answer in English, whose words replies.py knows; neither package names a language.

        All InnerTube objects of one client share the context that they send, so this holds for those that come later.
        An upgrade that ends this costs the language, and no more.
        """
        innertube = importlib.import_module(f"{self.name}.innertube").InnerTube
        with suppress(AttributeError, KeyError, TypeError):
            for client in (innertube(), innertube("WEB")):
                client.base_data["context"]["client"]["hl"] = "en"

    def _read_shared_visitor_id(self) -> str:
        if self._visitor_file:
            with suppress(OSError, ValueError):
                self._visitor_id = self._visitor_file.read_text("ascii")
        return self._visitor_id

    def _request_visitor_id(self, module: ModuleType, video_id: str) -> str:
        """Request a visitor id and share it. pytubefix would do this itself, but ignore a refusal and ask again."""
        reply = importlib.import_module(f"{module.__name__}.innertube").InnerTube("WEB").player(video_id)
        refusal = status_error(object_at(reply, "playabilityStatus"))
        if isinstance(refusal, StopEveryone):
            raise refusal
        self._visitor_id = str(reply["responseContext"]["visitorData"])
        if self._visitor_file:
            with suppress(OSError, ValueError), atomic_write(self._visitor_file) as temporary:
                temporary.write_text(self._visitor_id, "ascii")
        return self._visitor_id


def _header_bytes_by_itag(reply: Mapping[str, object]) -> dict[str, int]:
    """Return by itag how many bytes the header and index of each adaptive file take.

    Several files may share an itag, such as dubbed sound; theirs is the largest number.
    """
    header_bytes: dict[str, int] = {}
    offered = object_at(reply, "streamingData").get("adaptiveFormats")
    for entry in offered if isinstance(offered, list) else ():
        if last := positive_number(object_at(entry, "indexRange").get("end")):
            itag = str(entry.get("itag"))
            header_bytes[itag] = max(header_bytes.get(itag, 0), int(last) + 1)
    return header_bytes


def _format_from_stream(stream: Any, header_bytes: int | None) -> Format:
    """Return a format from pytube's or pytubefix's Stream."""
    resolution = re.match(r"\d+", str(stream.resolution or ""))
    dubbed = getattr(stream, "includes_multiple_audio_tracks", False) and not stream.is_default_audio_track
    return Format(
        itag=str(stream.itag),
        url=stream.url if isinstance(stream.url, str) else "",
        container="webm" if stream.subtype == "webm" else "mp4",
        video_codec=(stream.video_codec or "") if stream.includes_video_track else "",
        audio_codec=(stream.audio_codec or "") if stream.includes_audio_track else "",
        height=shorter_side(getattr(stream, "width", None), getattr(stream, "height", None))
        or (int(resolution[0]) if resolution else None),
        bitrate=positive_number(stream.bitrate) or 0.0,
        original=not dubbed and not getattr(stream, "is_drc", False),
        header_bytes=header_bytes,
    )
