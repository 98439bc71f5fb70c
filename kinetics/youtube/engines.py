"""Resolves a video id to the addresses of its media, with one or more foreign clients, here called engines.

An engine only resolves. The media are fetched by kinetics.net.range_file, since no engine bounds, resumes or verifies
its downloads.
"""

from __future__ import annotations

import importlib.metadata
import logging
import socket
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Protocol

from kinetics.errors import REASON_LIMIT, ClipError, MayWorkLater, NotOffered
from kinetics.records import Category
from kinetics.youtube.engine_errors import TIMEOUT_S
from kinetics.youtube.formats import Format, MediaSource, choose_formats
from kinetics.youtube.pytube_engine import Pytube
from kinetics.youtube.replies import join_words
from kinetics.youtube.ytdlp_engine import YtDlp

ENGINE_NAMES = ("pytubefix", "yt-dlp", "pytube")
"""The engines that a user can choose."""


PASSED_ON = (Category.ENGINE_ERROR, Category.NOT_OFFERED)
"""Failures that say something of the engine or its clients, so that the next engine is asked."""
ASKED_WITH = " (asked with "
"""What stands in the reason of NotOffered between YouTube's words and the engines that were asked."""


class Engine(Protocol):
    """A client that asks YouTube about a video."""

    name: str

    def formats(self, video_id: str) -> tuple[list[Format], float | None]:
        """Return all formats on offer, and the video's length in seconds where known. Raises ClipError."""


def open_engines(names: Sequence[str], cookies: Path | None = None, visitor_file: Path | None = None) -> list[Engine]:
    """Return the engines of these names; each is imported at its first request. Call this once in a process.

    All of them take the proxy and the certificates from the environment. `visitor_file` is where the processes of a run
    share the visitor id that one of them requested. Raises Fatal if the cookies cannot be read.
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


def engine_versions(names: Sequence[str]) -> str:
    """Return the engines' names and installed versions: `pytubefix 11.2.1, yt-dlp 2026.10.26`."""
    return ", ".join(map(_name_and_version, names))


@cache
def _name_and_version(name: str) -> str:
    try:
        return f"{name} {importlib.metadata.version(name)}"
    except importlib.metadata.PackageNotFoundError:
        return name


def resolve(engines: Sequence[Engine], video_id: str, max_height: int) -> MediaSource:
    """Ask the engines in turn for media of at most `max_height` pixels in height.

    The next engine is asked only where an engine fails, or where YouTube refuses its clients; never when YouTube gave
    an answer about the video. Raises ClipError: NotOffered only where all of the engines are refused.
    """
    failures: list[tuple[str, ClipError]] = []
    for engine in engines:
        try:
            formats, duration_s = _ask_with_one_retry(engine, video_id)
            return MediaSource(engine.name, choose_formats(formats, max_height), duration_s)
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


def _ask_with_one_retry(engine: Engine, video_id: str) -> tuple[list[Format], float | None]:
    """Ask again after a cut or missing reply: the second try tells a hiccup from a network that is down."""
    try:
        return engine.formats(video_id)
    except MayWorkLater as error:
        if error.category not in (Category.SERVER_ERROR, Category.TIMEOUT):
            raise
        return engine.formats(video_id)
