"""Asks YouTube with yt-dlp.

Without a login it asks as the visionOS client and, if that brings no streams or is refused, as the Android client. Web
page, JavaScript, configuration and initial data are switched off: these clients need none of them, and each costs a
request. With the cookies of a login, yt-dlp's own choice of clients is used, because only its web clients can send
them. HLS and DASH playlists are switched off in both cases, and so are yt-dlp's retries and its cache. It asks in
English without being told to.
"""

from __future__ import annotations

import importlib
import io
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kinetics.errors import ClipError, Fatal, Gone, MayWorkLater, NotOffered
from kinetics.records import Category
from kinetics.youtube.engine_errors import TIMEOUT_S, connection_failure, http_failure, translated_errors
from kinetics.youtube.formats import Format, positive_number, shorter_side
from kinetics.youtube.replies import join_words, sort_reason

SKIPPED_REQUESTS = ["webpage", "js", "configs", "initial_data"]
"""Requests that yt-dlp makes beside the player call, and that the clients used here do not need."""
SKIPPED_MANIFESTS = ["hls", "dash"]
"""Playlists that yt-dlp would fetch from whatever host the reply names; the formats used here are not in them."""


class YtDlp:
    """An engine on yt-dlp, with one YoutubeDL object for all videos of a process."""

    name = "yt-dlp"

    def __init__(self, cookies: Path | None = None) -> None:
        self._cookies = _read_cookies(cookies) if cookies else None
        self._messages = _Messages()
        self._youtube_dl: Any = None
        self._logged_in = False

    def formats(self, video_id: str, first_client_only: bool = False) -> tuple[list[Format], float | None]:
        with translated_errors(self.name):
            self._youtube_dl = self._youtube_dl or self._create()
            if self._logged_in:
                return self._extract(video_id)
            try:
                return self._extract(video_id, "visionos")
            except (MayWorkLater, NotOffered) as error:
                if first_client_only or error.category not in (Category.ENGINE_ERROR, Category.NOT_OFFERED):
                    raise
                return self._extract_as_second(video_id, error)

    def _extract_as_second(self, video_id: str, first: MayWorkLater | NotOffered) -> tuple[list[Format], float | None]:
        """Ask as the Android client, which has videos that are made for kids (yt-dlp#15780).

        `first` is the visionOS client's failure. The video is not offered only where both of them are refused.
        """
        try:
            return self._extract(video_id, "android")
        except NotOffered as second:
            if isinstance(first, MayWorkLater):
                raise first from second
            raise NotOffered(join_words((), (first.reason, second.reason))) from second
        except MayWorkLater as second:
            if isinstance(first, MayWorkLater):
                raise first from second
            if second.category is not Category.ENGINE_ERROR:
                raise
            raise MayWorkLater(Category.ENGINE_ERROR, join_words((), (first.reason, second.reason))) from second

    def _extract(self, video_id: str, client: str = "") -> tuple[list[Format], float | None]:
        """Ask as one client, or as the clients that yt-dlp chooses if `client` is empty."""
        if client:
            arguments = {"player_client": [client], "player_skip": SKIPPED_REQUESTS, "skip": SKIPPED_MANIFESTS}
            self._youtube_dl.params["extractor_args"] = {"youtube": arguments}
        self._messages.texts.clear()
        try:
            info = self._youtube_dl.extract_info(
                f"https://www.youtube.com/watch?v={video_id}", download=False, process=False
            )
        except importlib.import_module("yt_dlp.utils").YoutubeDLError as error:
            raise self._clip_error(error) from error
        if info.get("live_status") in ("is_live", "is_upcoming", "post_live"):
            raise Gone(Category.LIVE, "This is a live stream or a premiere")
        offered = [entry for entry in info.get("formats", ()) if entry.get("protocol", "https") == "https"]
        formats = [_format_from_info(entry) for entry in offered if not entry.get("has_drm")]
        if not any(media_format.video_codec for media_format in formats):
            raise MayWorkLater(Category.ENGINE_ERROR, "no downloadable stream in YouTube's reply")
        return formats, positive_number(info.get("duration"))

    def _create(self) -> Any:
        """Return a YoutubeDL object, and note whether the cookies are those of a login."""
        options: dict[str, Any] = {
            "quiet": True,
            "logger": self._messages,
            "socket_timeout": TIMEOUT_S,
            "extractor_retries": 0,
            "retries": 0,
            "cachedir": False,
            "color": "never",
            "extractor_args": {"youtube": {"skip": SKIPPED_MANIFESTS}},
        }
        if os.environ.get("SSL_CERT_FILE") or os.environ.get("SSL_CERT_DIR"):
            options["compat_opts"] = {"no-certifi"}
        if self._cookies is not None:  # as a stream, because yt-dlp would write to a cookie file
            options["cookiefile"] = io.StringIO(self._cookies)
        try:
            youtube_dl = importlib.import_module("yt_dlp").YoutubeDL(options)
            names = {cookie.name for cookie in youtube_dl.cookiejar}
        except importlib.import_module("yt_dlp.utils").YoutubeDLError as error:
            raise Fatal(f"yt-dlp cannot be set up: {_cleaned(str(error))}") from error
        self._logged_in = "LOGIN_INFO" in names and any(name.endswith("SAPISID") for name in names)
        return youtube_dl

    def _clip_error(self, error: Exception) -> ClipError:
        """Return what an error of yt-dlp means.

        YouTube's words are in the error. The warnings beside it are yt-dlp's own words, and the only place of an HTTP
        status, 429 among them.
        """
        messages = [str(error), *self._messages.texts]
        words, *others = map(_cleaned, messages)
        found = sort_reason("", [words])
        if not isinstance(found, MayWorkLater):
            return found
        for message in messages:
            if status := re.search(r"HTTP Error (\d{3})", message):
                return http_failure(int(status[1]), _cleaned(message))
            if "IncompleteRead" in message:
                return MayWorkLater(Category.SERVER_ERROR, f"YouTube broke the connection: {_cleaned(message)}")
            if re.search(r"caused by \w*(Transport|Proxy|SSL|CertificateVerify)Error", message):
                return connection_failure(_cleaned(message), stalled="Read timed out" in message)
        return MayWorkLater(found.category, join_words((), [found.reason, *others]))


class _Messages:
    """A logger for yt-dlp that keeps its warnings about one video."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def debug(self, message: str) -> None:
        """Ignore a progress message."""

    def warning(self, message: str) -> None:
        self.texts.append(message)

    def error(self, message: str) -> None:
        """Ignore an error, which is raised as well."""


_COOKIE_LINE = re.compile(r"[^\t]+\t(TRUE|FALSE)\t[^\t]*\t(TRUE|FALSE)\t[\d.]*\t[^\t]*\t[^\t]*")


def _read_cookies(path: Path) -> str:
    """Return the cookies of a cookies.txt.

    Other lines are left out, because yt-dlp would print them in a warning, secrets included. Raises Fatal.
    """
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise Fatal(f"Cannot read the cookies in {path}: {error}") from error
    cookies = [line for line in lines if _COOKIE_LINE.fullmatch(line)]
    if not cookies:
        raise Fatal(f"{path} has no cookies in Netscape's format: export them again, as cookies.txt")
    return "\n".join(["# Netscape HTTP Cookie File", *cookies, ""])


_APPENDED_TEXT = re.compile(
    r"""\n | ;\ please\ report\ this\ issue | \ \(caused\ by
      | [.]\ Use\ --cookies | [.]\ (?:Your\ account|The\ current\ session)\ has\ been""",
    re.VERBOSE,
)
"""Where yt-dlp's own advice or technical details begin behind YouTube's words."""


def _cleaned(message: str) -> str:
    """Return YouTube's words from a message of yt-dlp, which adds colours, a prefix, causes and advice."""
    message = re.sub(r"\x1b\[[0-9;]*m", "", message).removeprefix("ERROR: ")
    words: str = _APPENDED_TEXT.split(re.sub(r"^\[youtube\] (?:[\w-]{11}: )?", "", message))[0]
    return re.sub(r"(?<=\w)\.\.(?=\s)", ".", words)  # where a heading that ends with a full stop was joined to a detail


def _format_from_info(info: Mapping[str, Any]) -> Format:
    """Return a format from yt-dlp's description; its format_id is `<itag>`, or `<itag>-<alteration>`."""
    video_codec, audio_codec = (str(info.get(name) or "none") for name in ("vcodec", "acodec"))
    itag, _, alteration = str(info.get("format_id", "")).partition("-")
    return Format(
        itag=itag,
        url=info.get("url") or "",
        container="webm" if info.get("ext") in ("webm", "weba") else "mp4",
        video_codec=video_codec.removeprefix("none"),
        audio_codec=audio_codec.removeprefix("none"),
        height=shorter_side(info.get("width"), info.get("height")),
        bitrate=positive_number(info.get("tbr")) or 0.0,
        original=not alteration and (info.get("language_preference") or 0) >= 0,
        headers=info.get("http_headers") or {},
    )
