"""yt-dlp, asked about a video."""

from __future__ import annotations

import importlib
import io
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from kinetics.errors import ClipError, Fatal, Gone, MayWorkLater, StopEveryone
from kinetics.records import Category
from kinetics.youtube.engine_errors import TIMEOUT_S, connection_failure, http_failure, translated_errors
from kinetics.youtube.formats import Format, positive_number, shorter_side
from kinetics.youtube.replies import sort_reason

MANIFESTS = ["hls", "dash"]
"""yt-dlp would fetch these playlists from whatever host the reply names, and no use is made of them here."""


class YtDlp:
    """yt-dlp, one object for all videos of a process.

    It asks as the visionOS client, without any page; where that brings no streams, as the Android one. With the cookies
    of a login it asks as yt-dlp itself thinks best, because only its web clients can carry one.
    """

    name = "yt-dlp"

    def __init__(self, cookies: Path | None = None) -> None:
        self._jar = _read_cookies(cookies) if cookies else None
        self._log = _Messages()
        self._client: Any = None
        self._logged_in = False

    def formats(self, video_id: str) -> tuple[list[Format], float | None]:
        with translated_errors(self.name):
            self._client = self._client or self._open()
            if self._logged_in:
                return self._ask(video_id)
            try:
                return self._ask(video_id, "visionos")
            except MayWorkLater as error:
                if error.category is not Category.ENGINE_ERROR:
                    raise
                with suppress(MayWorkLater):
                    return self._ask(video_id, "android")
                raise

    def _ask(self, video_id: str, client: str = "") -> tuple[list[Format], float | None]:
        if client:
            needless = ["webpage", "js", "configs", "initial_data"]
            asking = {"player_client": [client], "player_skip": needless, "skip": MANIFESTS}
            self._client.params["extractor_args"] = {"youtube": asking}
        self._log.texts.clear()
        try:
            info = self._client.extract_info(
                f"https://www.youtube.com/watch?v={video_id}", download=False, process=False
            )
        except importlib.import_module("yt_dlp.utils").YoutubeDLError as error:
            raise self._sorted(error) from error
        if info.get("live_status") in ("is_live", "is_upcoming", "post_live"):
            raise Gone(Category.LIVE, "This is a live stream or a premiere")
        offered = [one for one in info.get("formats", ()) if one.get("protocol", "https") == "https"]
        formats = [_from_info(one) for one in offered if not one.get("has_drm")]
        if not any(one.video_codec for one in formats):
            raise MayWorkLater(Category.ENGINE_ERROR, "no downloadable stream in YouTube's reply")
        return formats, positive_number(info.get("duration"))

    def _open(self) -> Any:
        options: dict[str, Any] = {
            "quiet": True,
            "logger": self._log,
            "socket_timeout": TIMEOUT_S,
            "extractor_retries": 0,
            "retries": 0,
            "cachedir": False,
            "color": "never",
            "extractor_args": {"youtube": {"skip": MANIFESTS}},
        }
        if os.environ.get("SSL_CERT_FILE") or os.environ.get("SSL_CERT_DIR"):
            options["compat_opts"] = {"no-certifi"}
        if self._jar is not None:  # as a stream, because yt-dlp would write a file of cookies back
            options["cookiefile"] = io.StringIO(self._jar)
        try:
            client = importlib.import_module("yt_dlp").YoutubeDL(options)
            names = {cookie.name for cookie in client.cookiejar}
        except importlib.import_module("yt_dlp.utils").YoutubeDLError as error:
            raise Fatal(f"yt-dlp cannot be set up: {_plain(str(error))}") from error
        self._logged_in = "LOGIN_INFO" in names and any(name.endswith("SAPISID") for name in names)
        return client

    def _sorted(self, error: Exception) -> ClipError:
        """Sort by the message and by the warnings: an HTTP status, or a dead line, is only ever a warning."""
        raw = [str(error), *self._log.texts]
        found = sort_reason("", list(dict.fromkeys(map(_plain, raw))))
        if isinstance(found, Gone | StopEveryone):
            return found
        for text in raw:
            if status := re.search(r"HTTP Error (\d{3})", text):
                return http_failure(int(status[1]), _plain(text))
            if "IncompleteRead" in text:
                return MayWorkLater(Category.SERVER_ERROR, f"YouTube broke the connection: {_plain(text)}")
            if re.search(r"caused by \w*(Transport|Proxy|SSL|CertificateVerify)Error", text):
                return connection_failure(_plain(text), stalled="Read timed out" in text)
        return found


_COOKIE = re.compile(r"[^\t]+\t(TRUE|FALSE)\t[^\t]*\t(TRUE|FALSE)\t[\d.]*\t[^\t]*\t[^\t]*")


def _read_cookies(path: Path) -> str:
    """The cookies of a cookies.txt, without the lines that yt-dlp would print a warning about, secrets and all."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise Fatal(f"cannot read the cookies in {path}: {error}") from error
    cookies = [line for line in lines if _COOKIE.fullmatch(line)]
    if not cookies:
        raise Fatal(f"{path} holds no cookies in Netscape's format: export them anew, as cookies.txt")
    return "\n".join(["# Netscape HTTP Cookie File", *cookies, ""])


class _Messages:
    """A logger for yt-dlp that keeps what it is told of a video."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def debug(self, message: str) -> None:
        """Progress; of no interest."""

    def warning(self, message: str) -> None:
        self.texts.append(message)

    def error(self, message: str) -> None:
        self.texts.append(message)


_FRILLS = re.compile(
    r"""\n | ;\ please\ report\ this\ issue | \ \(caused\ by
      | [.]\ Use\ --cookies | [.]\ (?:Your\ account|The\ current\ session)\ has\ been""",
    re.VERBOSE,
)


def _plain(message: str) -> str:
    """yt-dlp's message without colours, its name for the site, its causes, and its advice."""
    message = re.sub(r"\x1b\[[0-9;]*m", "", message).removeprefix("ERROR: ")
    return _FRILLS.split(re.sub(r"^\[youtube\] (?:[\w-]{11}: )?", "", message))[0]


def _from_info(info: Mapping[str, Any]) -> Format:
    """A format from yt-dlp's description, whose format_id is an itag and, for an altered one, what was done to it."""
    video_codec, audio_codec = (str(info.get(name) or "none") for name in ("vcodec", "acodec"))
    itag, _, altered = str(info.get("format_id", "")).partition("-")
    return Format(
        itag=itag,
        url=info.get("url") or "",
        container="webm" if info.get("ext") in ("webm", "weba") else "mp4",
        video_codec=video_codec.removeprefix("none"),
        audio_codec=audio_codec.removeprefix("none"),
        height=shorter_side(info.get("width"), info.get("height")),
        bitrate=positive_number(info.get("tbr")) or 0.0,
        original=not altered and (info.get("language_preference") or 0) >= 0,
        headers=info.get("http_headers") or {},
    )
