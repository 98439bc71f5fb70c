"""A video's id -> where its media are, or why not. Foreign clients are called, and their errors end, here.

An engine only resolves; fetching is ours (remote.py), since no engine bounds, resumes or proves its downloads. What
went wrong is sorted by YouTube's own words, because the same condition comes as different exceptions, or as none.
"""

from __future__ import annotations

import http.client
import importlib
import io
import json
import logging
import math
import os
import re
import socket
import urllib.error
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, Protocol

from kinetics.errors import ClipError, Fatal, Gone, KineticsError, MayWorkLater, StopEveryone, retry_after
from kinetics.records import Category
from kinetics.storage.layout import whole_or_absent

TIMEOUT_S = 20.0
"""For each wait on a socket in an engine: some of them set none of their own."""
NAMES = ("pytubefix", "yt-dlp", "pytube")
MANIFESTS = ["hls", "dash"]
"""yt-dlp would fetch these playlists from whatever host the reply names, and no use is made of them here."""


@dataclass(frozen=True, slots=True)
class Format:
    """One of the files that YouTube offers for a video."""

    itag: str
    url: str
    container: Literal["mp4", "webm"]
    video_codec: str
    """As in RFC 6381 (`avc1.4d401e`); empty for sound alone."""
    audio_codec: str
    height: int | None = None
    """The shorter side, which is what YouTube's 360p means for an upright video too."""
    bitrate: float = 0.0
    original: bool = True
    """Not dubbed, not evened out in loudness (DRC), not upscaled."""
    headers: Mapping[str, str] = field(default_factory=dict)
    header_bytes: int | None = None
    """How far the header and the index of an adaptive file reach, where the reply says so."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where the media of a video are: one progressive format, or a video and its sound."""

    engine: str
    formats: tuple[Format, ...]
    duration_s: float | None

    @property
    def itag(self) -> str:
        return "+".join(one.itag for one in self.formats)


class Engine(Protocol):
    """A client that knows how to ask YouTube about a video."""

    name: str

    def formats(self, video_id: str) -> tuple[list[Format], float | None]:
        """All that YouTube offers, and the length in seconds where known. Raises ClipError."""


def resolve(engines: Sequence[Engine], video_id: str, max_height: int) -> Source:
    """Ask the engines in turn for media of at most `max_height` lines.

    The next one is asked only when an engine itself fails, never when YouTube gave an answer about the video. Raises
    Gone, MayWorkLater or StopEveryone.
    """
    failures = []
    for engine in engines:
        try:
            formats, duration_s = _ask_again_if_broken(engine, video_id)
            return Source(engine.name, choose(formats, max_height), duration_s)
        except MayWorkLater as error:
            if error.category is not Category.ENGINE_ERROR:
                raise
            failures.append(f"{engine.name}: {error.reason}")
    raise MayWorkLater(Category.ENGINE_ERROR, "; ".join(failures))


def _ask_again_if_broken(engine: Engine, video_id: str) -> tuple[list[Format], float | None]:
    """A reply that breaks off or stays away may be a hiccup, or a line that is just going down: the next try tells."""
    try:
        return engine.formats(video_id)
    except MayWorkLater as error:
        if error.category not in (Category.SERVER_ERROR, Category.TIMEOUT):
            raise
        return engine.formats(video_id)


def choose(formats: Iterable[Format], max_height: int) -> tuple[Format, ...]:
    """The best media of at most `max_height` lines (the smallest where none is that small).

    With sound before without, H.264 in mp4 before anything else, as uploaded before altered, then the tallest; among
    equals video and sound apart, which cost fewer bytes than both in one. Sound is in the original language, and AAC
    where there is any. Raises MayWorkLater where there is no picture.
    """
    formats = [one for one in formats if one.url]
    sounds = [one for one in formats if one.audio_codec and not one.video_codec]
    sound = max(sounds, key=lambda one: (one.original, one.audio_codec.startswith("mp4a"), one.bitrate), default=None)
    videos = [one for one in formats if one.video_codec]
    if not videos:
        raise MayWorkLater(Category.ENGINE_ERROR, "no downloadable stream in YouTube's reply")

    def worth(one: Format) -> tuple[object, ...]:
        height = one.height or 0
        fits = height <= max_height
        h264 = one.container == "mp4" and one.video_codec.startswith("avc1")
        apart = not one.audio_codec
        tall = height if fits else -height
        return fits, bool(one.audio_codec or sound), h264, one.original, tall, apart, -one.bitrate

    best = max(videos, key=worth)
    return (best,) if best.audio_codec or sound is None else (best, sound)


def open_engines(names: Sequence[str], cookies: Path | None = None, visitor_file: Path | None = None) -> list[Engine]:
    """The engines of these names, each imported when first asked. Call it once in a process.

    Proxy and certificates are taken from the environment by all of them. `visitor_file` is where processes find the
    visitor id that one of them asked for. Raises Fatal if the cookies cannot be read.
    """
    socket.setdefaulttimeout(TIMEOUT_S)
    for module in ("pytubefix", "pytube"):  # they log what they also raise, which would tear the progress bar
        logging.getLogger(module).addHandler(logging.NullHandler())
    makers: dict[str, Callable[[], Engine]] = {
        "pytubefix": lambda: Pytube("pytubefix", visitor_file),
        "pytube": lambda: Pytube("pytube"),
        "yt-dlp": lambda: YtDlp(cookies),
    }
    return [makers[name]() for name in names]


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
        with _engine_errors(self.name):
            module = importlib.import_module(self.name)
            video = module.YouTube(f"https://www.youtube.com/watch?v={video_id}")
            if self.name == "pytubefix":
                video.fallback_clients = []
                video._visitor_data = self._visitor or self._shared_visitor() or self._ask_visitor(module, video_id)
            reply = video.vid_info
            _check_reply(reply, video_id)
            streams = [stream for stream in video.streams if not getattr(stream, "is_sabr", False)]
            duration_s = _number(_at(reply, "videoDetails").get("lengthSeconds"))
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
        refusal = _verdict(_at(reply, "playabilityStatus"))
        if isinstance(refusal, StopEveryone):
            raise refusal
        self._visitor = str(reply["responseContext"]["visitorData"])
        if self._visitor_file:
            with suppress(OSError, ValueError), whole_or_absent(self._visitor_file) as temporary:
                temporary.write_text(self._visitor, "ascii")
        return self._visitor


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
        with _engine_errors(self.name):
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
        return formats, _number(info.get("duration"))

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
                return _from_http(int(status[1]), _plain(text))
            if "IncompleteRead" in text:
                return MayWorkLater(Category.SERVER_ERROR, f"YouTube broke the connection: {_plain(text)}")
            if re.search(r"caused by \w*(Transport|Proxy|SSL|CertificateVerify)Error", text):
                return _from_line(_plain(text), stalled="Read timed out" in text)
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


STOP_WORDS = (
    "not a bot",
    "captcha",
    "try again later",
    "rate-limited by youtube",
    "too many requests",
    "http error 429",
    "all player responses are invalid",
)
"""YouTube refuses everybody at this address for a while; taken at its word, some of it sounds like a dead video."""

CLIENT_WORDS = re.compile(
    r"on other websites|on this (app|device|website)|latest version of youtube|page needs to be reloaded"
    r"|video is restricted|video is not available\W*$"
)
"""YouTube refuses a client or a network, though "Video unavailable" may stand above it: the video lives."""

GONE_WORDS: tuple[tuple[Category, str], ...] = (
    (Category.PRIVATE, r"private video|video is private"),
    (Category.AGE_RESTRICTED, r"confirm your age|inappropriate for some users|content warning|age.restricted"),
    (Category.MEMBERS_ONLY, r"members.only|join this channel|premium members|requires (payment|purchase)"),
    (Category.REGION_BLOCKED, r"available in your (country|region|location)|blocked it in your country"),
    (Category.COPYRIGHT, r"copyright claim|on copyright grounds"),
    (Category.TERMS, r"violating youtube's|community guidelines|terms of service"),
    (Category.TERMINATED, r"account.{0,60}(terminated|closed)|closed their.{0,20}account"),
    (Category.COPYRIGHT, r"copyright infringement"),
    (Category.REMOVED, r"removed by the (uploader|user)"),
    (Category.LIVE, r"live ?stream|live event|premiere|recording is not available"),
    (
        Category.UNAVAILABLE,
        r"video unavailable|no longer (available|exists)|does not exist|isn't available any ?more"
        r"|video (is unavailable|has been (removed|deleted))",
    ),
)
"""YouTube's verdicts on a video, the most telling first: the general ones often stand beside them."""


def sort_reason(status: str, texts: Sequence[str]) -> ClipError:
    """What YouTube's words mean, wherever in its reply they stood.

    `status` is the reply's playabilityStatus, where known. The reason is the text that decided. A text that nobody
    knows is an engine error: a video is not called gone on a guess.
    """
    folded = [(text, text.replace("\u2019", "'").lower()) for text in texts if text]
    for text, low in folded:
        if any(words in low for words in STOP_WORDS):
            return StopEveryone(Category.THROTTLED, text)
    for text, low in folded:
        if CLIENT_WORDS.search(low):
            return MayWorkLater(Category.ENGINE_ERROR, text)
    for category, pattern in GONE_WORDS:
        for text, low in folded:
            if re.search(pattern, low):
                return Gone(category, text)
    words = "; ".join(text for text, _ in folded) or status or "no reason given"
    if status in ("AGE_CHECK_REQUIRED", "AGE_VERIFICATION_REQUIRED", "CONTENT_CHECK_REQUIRED"):
        return Gone(Category.AGE_RESTRICTED, words)
    if status.startswith("LIVE_STREAM"):
        return Gone(Category.LIVE, words)
    return MayWorkLater(Category.ENGINE_ERROR, words)


def _check_reply(reply: object, video_id: str) -> None:
    """Raise what a player reply says, if it is not the media of that video."""
    status, details = _at(reply, "playabilityStatus"), _at(reply, "videoDetails")
    if status.get("status") != "OK":
        raise _verdict(status)
    if details.get("videoId") != video_id:
        raise StopEveryone(
            Category.THROTTLED,
            f"YouTube answered for another video ({str(details.get('videoId'))[:20]}): "
            "it is likely to be blocking this address",
        )
    if True in (details.get("isLive"), details.get("isUpcoming")):
        raise Gone(Category.LIVE, "This is a live stream or a premiere")
    if not _at(reply, "streamingData"):
        raise MayWorkLater(Category.ENGINE_ERROR, "no streams in YouTube's reply")


def _verdict(status: Mapping[str, object]) -> ClipError:
    """What a playabilityStatus other than OK means."""
    return sort_reason(_text(status.get("status")), _texts(status))


def _texts(status: Mapping[str, object]) -> list[str]:
    """All that a playabilityStatus says in words, the most particular first."""
    screen = _at(status, "errorScreen", "playerErrorMessageRenderer")
    overlay = _at(status, "errorScreen", "playerInterstitialRenderer", "content", "interstitialViewModel")
    messages = status.get("messages")
    found = [
        "YouTube asks for a captcha" if "playerCaptchaViewModel" in _at(status, "errorScreen") else "",
        screen.get("subreason"),
        overlay.get("description"),
        status.get("reason"),
        *(messages if isinstance(messages, list) else ()),
        screen.get("reason"),
        overlay.get("title"),
    ]
    return [text for text in map(_text, found) if text]


def _at(node: object, *path: str) -> dict[str, Any]:
    """The object at that place in a reply; an empty one where there is none, or something else."""
    for name in path:
        node = node.get(name) if isinstance(node, dict) else None
    return node if isinstance(node, dict) else {}


def _text(node: object) -> str:
    """YouTube writes a text as a string, as `simpleText`, as `content`, or in `runs`."""
    if isinstance(node, str):
        return node
    if isinstance(node, list):
        return "".join(map(_text, node))
    if isinstance(node, dict):
        return next(filter(None, (_text(node.get(name)) for name in ("simpleText", "content", "text", "runs"))), "")
    return ""


@contextmanager
def _engine_errors(name: str) -> Iterator[None]:
    """No foreign exception gets past here."""
    try:
        yield
    except KineticsError:
        raise
    except urllib.error.HTTPError as error:
        with error:
            raise _from_http(error.code, f"HTTP Error {error.code}: {error.reason}", error) from error
    except urllib.error.URLError as error:
        raise _from_line(str(error.reason), stalled=False) from error
    except TimeoutError as error:
        raise _from_line(f"nothing came for {TIMEOUT_S:g} s", stalled=True) from error
    except (OSError, http.client.HTTPException) as error:
        raise MayWorkLater(Category.SERVER_ERROR, f"YouTube broke the connection: {_said(error)}") from error
    except json.JSONDecodeError as error:
        raise MayWorkLater(Category.ENGINE_ERROR, f"YouTube's reply is no JSON ({error})") from error
    except Exception as error:
        raise MayWorkLater(Category.ENGINE_ERROR, f"{name} failed: {_said(error)}") from error


def _said(error: Exception) -> str:
    name, words = type(error).__name__, str(error)
    return words if words.startswith(name) else f"{name}: {words}".strip(": ")


def _from_http(status: int, words: str, error: urllib.error.HTTPError | None = None) -> ClipError:
    if status == 429:
        wait_s = retry_after(error.headers.get("Retry-After")) if error else None
        return StopEveryone(Category.THROTTLED, words, wait_s)
    if status >= 500:
        return MayWorkLater(Category.SERVER_ERROR, words)
    return MayWorkLater(Category.ENGINE_ERROR, words)


def _from_line(words: str, stalled: bool) -> ClipError:
    if stalled:
        return MayWorkLater(Category.TIMEOUT, f"YouTube did not answer in time: {words}")
    return StopEveryone(Category.NETWORK, f"no line to YouTube: {words}")


def _number(value: object) -> float | None:
    """A size or a length, if it is one."""
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None
    return number if 0 < number < math.inf else None


def _lines(width: object, height: object) -> int | None:
    sides = [side for side in map(_number, (width, height)) if side]
    return int(min(sides)) if sides else None


def _index_ends(reply: Mapping[str, object]) -> dict[str, int]:
    """Where the index ends of each adaptive file, by itag; of several with one itag, in the longest."""
    ends: dict[str, int] = {}
    offered = _at(reply, "streamingData").get("adaptiveFormats")
    for one in offered if isinstance(offered, list) else ():
        if last := _number(_at(one, "indexRange").get("end")):
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
        height=_lines(getattr(stream, "width", None), getattr(stream, "height", None))
        or (int(named[0]) if named else None),
        bitrate=_number(stream.bitrate) or 0.0,
        original=not dubbed and not getattr(stream, "is_drc", False),
        header_bytes=header_bytes,
    )


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
        height=_lines(info.get("width"), info.get("height")),
        bitrate=_number(info.get("tbr")) or 0.0,
        original=not altered and (info.get("language_preference") or 0) >= 0,
        headers=info.get("http_headers") or {},
    )
