"""Resolves a video id to the addresses of its media, with one or more foreign clients, here called engines.

An engine only resolves. The media are fetched by kinetics.net.range_file, since no engine bounds, resumes or verifies
its downloads.
"""

from __future__ import annotations

import importlib.metadata
import logging
import re
import socket
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Protocol

from kinetics.errors import REASON_LIMIT, ClipError, Gone, MayWorkLater, NotOffered, check_installed
from kinetics.records import ASKED_WITH, Category
from kinetics.youtube.engine_errors import TIMEOUT_S
from kinetics.youtube.formats import Format, MediaSource, ranked_formats
from kinetics.youtube.pytube_engine import Pytube
from kinetics.youtube.replies import join_words
from kinetics.youtube.ytdlp_engine import YtDlp

ENGINE_NAMES = ("pytubefix", "yt-dlp", "pytube")
"""The engines that a user can choose."""


ALIKE_CLIPS = 5
"""Clips in a row, all refused by all engines in the same words, after which a clip costs one player call instead of one
for each client; a higher number spends more of YouTube's allowance on a refusal that is known."""
PASSED_ON = (Category.ENGINE_ERROR, Category.NOT_OFFERED)
"""Failures that say something of the engine or its clients, so that the next engine is asked."""


class Engine(Protocol):
    """A client that asks YouTube about a video."""

    name: str

    def formats(self, video_id: str, first_client_only: bool = False) -> tuple[list[Format], float | None]:
        """Return all formats on offer, and the video's length in seconds where known. Raises ClipError.

        An engine that can pose as several clients asks with only the first one if `first_client_only`. Of several
        refusals the first client's words stand first in the reason.
        """


def check_engines(names: Sequence[str]) -> None:
    """Raise Fatal if one of these engines is not installed."""
    for name in names:
        check_installed(f"--engine {name}", name)


class YtDlpInTurn:
    """yt-dlp, asked as one of its clients after another; as the one that runs JavaScript only with a login."""

    name = YtDlp.name

    def __init__(self, yt_dlp: YtDlp) -> None:
        self._yt_dlp = yt_dlp
        self._clients = [client for client in yt_dlp.clients if client != "tv_samsung"]

    def formats(self, video_id: str, first_client_only: bool = False) -> tuple[list[Format], float | None]:
        failures: list[MayWorkLater | NotOffered] = []
        for client in self._clients[: 1 if first_client_only else None]:
            try:
                return self._yt_dlp.formats(video_id, client)
            except (MayWorkLater, NotOffered) as error:
                if error.category not in PASSED_ON:
                    raise
                failures.append(error)
        words = join_words((), [error.reason for error in failures])
        if all(isinstance(error, NotOffered) for error in failures):
            raise NotOffered(words)
        raise MayWorkLater(Category.ENGINE_ERROR, words)


def open_engines(
    names: Sequence[str],
    cookies: Path | None = None,
    visitor_file: Path | None = None,
    on_notice: Callable[[str], None] = lambda _: None,
) -> list[Engine]:
    """Return the engines of these names; each is imported at its first request. Call this once in a process.

    All of them take the proxy and the certificates from the environment. `visitor_file` is where the processes of a run
    share the visitor id that one of them requested. `on_notice` is told what a person should know about the cookies.
    Raises Fatal if an engine is not installed, or the cookies cannot be read.
    """
    check_engines(names)
    socket.setdefaulttimeout(TIMEOUT_S)
    for module in ("pytubefix", "pytube"):  # they log what they also raise, which would tear the progress bar
        logging.getLogger(module).addHandler(logging.NullHandler())
    makers: dict[str, Callable[[], Engine]] = {
        "pytubefix": lambda: Pytube("pytubefix", visitor_file),
        "pytube": lambda: Pytube("pytube"),
        "yt-dlp": lambda: YtDlpInTurn(YtDlp(cookies, on_notice)),
    }
    return [makers[name]() for name in names]


def engine_versions(names: Sequence[str]) -> str:
    """Return the engines' names and installed versions: `pytubefix 11.2.1, yt-dlp 2026.10.26`."""
    return ", ".join(map(_name_and_version, names))


@cache
def _name_and_version(name: str) -> str:
    try:
        return f"{name} {importlib.metadata.version(name)}"
    except importlib.metadata.PackageNotFoundError:
        return name


def resolve(engines: Sequence[Engine], video_id: str, max_height: int, first_client_only: bool = False) -> MediaSource:
    """Ask the engines in turn for media of at most `max_height` pixels in height.

    The next engine is asked only where an engine fails, or where YouTube refuses its clients; never when YouTube gave
    an answer about the video. Raises ClipError: NotOffered only where all of the engines are refused.
    """
    failures: list[tuple[str, ClipError]] = []
    for engine in engines:
        try:
            formats, duration_s = _ask_with_one_retry(engine, video_id, first_client_only)
            best, *others = ranked_formats(formats, max_height)
            return MediaSource(engine.name, best, duration_s, tuple(others))
        except (MayWorkLater, NotOffered) as error:
            if error.category not in PASSED_ON:
                raise
            failures.append((engine.name, error))
    raise _summary(failures)


def _summary(failures: Sequence[tuple[str, ClipError]]) -> ClipError:
    """Return the one error that the failures of all engines, with their names, amount to."""
    if failures and all(isinstance(error, NotOffered) for _, error in failures):
        asked = f"{ASKED_WITH}{engine_versions([name for name, _ in failures])})"
        words = join_words((), [error.reason for _, error in failures])
        return NotOffered(words[: REASON_LIMIT - len(asked)] + asked)
    return MayWorkLater(Category.ENGINE_ERROR, "; ".join(f"{name}: {error.reason}" for name, error in failures))


class Resolver:
    """One worker's engines, and how its last clips were refused.

    After ALIKE_CLIPS clips in a row at which all engines failed in the same words, only the first client of the first
    engine is asked, until a clip is not refused, or refused in other words. What NotOffered then says names only that
    engine. A refused address or a cut connection says nothing of the clients and changes nothing.
    """

    def __init__(self, engines: Sequence[Engine]) -> None:
        self._engines = engines
        self._refused_as: Category | None = None
        self._words = ""
        """What the last refusal said, without the numbers and the id, which differ from clip to clip."""
        self._alike = 0
        """Clips in a row that were refused like this."""

    def resolve(self, video_id: str, max_height: int, *, in_full: bool = False) -> MediaSource:
        """Do what the function `resolve` does, with fewer calls where the answer is known, unless `in_full`."""
        try:
            source = self._ask(video_id, max_height, in_full)
        except (MayWorkLater, NotOffered) as error:
            if error.category in PASSED_ON:
                self._count(error, video_id)
            raise
        except Gone:
            self._alike = 0
            raise
        self._alike = 0
        return source

    def _ask(self, video_id: str, max_height: int, in_full: bool) -> MediaSource:
        if in_full or self._alike < ALIKE_CLIPS:
            return resolve(self._engines, video_id, max_height)
        first = self._engines[:1]
        try:
            return resolve(first, video_id, max_height, first_client_only=True)
        except NotOffered as error:
            if self._refused_as is Category.NOT_OFFERED:
                raise
            # The other clients failed in other ways, so this refusal alone does not say that the video is not offered.
            raise MayWorkLater(Category.ENGINE_ERROR, f"{first[0].name}: {_youtubes_words(error)}") from error

    def _count(self, error: ClipError, video_id: str) -> None:
        """Note a refusal. What the first client says alone is alike if what all of them said began with it."""
        words = re.sub(r"\d+", "", _youtubes_words(error).replace(video_id, ""))
        same = self._words.startswith(words) if self._alike >= ALIKE_CLIPS else self._words == words
        self._alike = self._alike + 1 if same and error.category is self._refused_as else 1
        if self._alike == 1:
            self._refused_as, self._words = error.category, words


def _youtubes_words(error: ClipError) -> str:
    return error.reason.partition(ASKED_WITH)[0]


def _ask_with_one_retry(engine: Engine, video_id: str, first_client_only: bool) -> tuple[list[Format], float | None]:
    """Ask again after a cut or missing reply: the second try tells a hiccup from a network that is down."""
    try:
        return engine.formats(video_id, first_client_only)
    except MayWorkLater as error:
        if error.category not in (Category.SERVER_ERROR, Category.TIMEOUT):
            raise
        return engine.formats(video_id, first_client_only)
