"""Resolves a video id to the addresses of its media, with one or more foreign clients, here called engines.

An engine only resolves. The media are fetched by kinetics.net.range_file, since no engine bounds, resumes or verifies
its downloads.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Protocol

from kinetics.errors import MayWorkLater
from kinetics.records import Category
from kinetics.youtube.engine_errors import TIMEOUT_S
from kinetics.youtube.formats import Format, MediaSource, choose_formats
from kinetics.youtube.pytube_engine import Pytube
from kinetics.youtube.ytdlp_engine import YtDlp

ENGINE_NAMES = ("pytubefix", "yt-dlp", "pytube")
"""The engines that a user can choose."""


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
    """Return the engines with the versions of their packages: "pytubefix 11.2.1, yt-dlp 2026.10.26"."""
    return ", ".join(f"{name} {_version(name)}" for name in names)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "is not installed"


def resolve(engines: Sequence[Engine], video_id: str, max_height: int) -> MediaSource:
    """Ask the engines in turn for media of at most `max_height` pixels in height.

    The next engine is asked only when an engine itself fails, never when YouTube gave an answer about the video. Raises
    Gone, MayWorkLater or StopEveryone.
    """
    failures = []
    for engine in engines:
        try:
            formats, duration_s = _ask_with_one_retry(engine, video_id)
            return MediaSource(engine.name, choose_formats(formats, max_height), duration_s)
        except MayWorkLater as error:
            if error.category is not Category.ENGINE_ERROR:
                raise
            failures.append(f"{engine.name}: {error.reason}")
    raise MayWorkLater(Category.ENGINE_ERROR, "; ".join(failures))


def _ask_with_one_retry(engine: Engine, video_id: str) -> tuple[list[Format], float | None]:
    """Ask again after a cut or missing reply: the second try tells a hiccup from a network that is down."""
    try:
        return engine.formats(video_id)
    except MayWorkLater as error:
        if error.category not in (Category.SERVER_ERROR, Category.TIMEOUT):
            raise
        return engine.formats(video_id)
