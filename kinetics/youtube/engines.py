"""A video's id -> where its media are, or why not. Foreign clients are called, and their errors end, here.

An engine only resolves; fetching is ours (remote.py), since no engine bounds, resumes or proves its downloads. What
went wrong is sorted by YouTube's own words, because the same condition comes as different exceptions, or as none.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from kinetics.errors import MayWorkLater
from kinetics.records import Category
from kinetics.youtube.engine_errors import TIMEOUT_S
from kinetics.youtube.formats import Format, MediaSource, choose_formats
from kinetics.youtube.pytube_engine import Pytube
from kinetics.youtube.ytdlp_engine import YtDlp

NAMES = ("pytubefix", "yt-dlp", "pytube")


class Engine(Protocol):
    """A client that knows how to ask YouTube about a video."""

    name: str

    def formats(self, video_id: str) -> tuple[list[Format], float | None]:
        """All that YouTube offers, and the length in seconds where known. Raises ClipError."""


def resolve(engines: Sequence[Engine], video_id: str, max_height: int) -> MediaSource:
    """Ask the engines in turn for media of at most `max_height` lines.

    The next one is asked only when an engine itself fails, never when YouTube gave an answer about the video. Raises
    Gone, MayWorkLater or StopEveryone.
    """
    failures = []
    for engine in engines:
        try:
            formats, duration_s = _ask_again_if_broken(engine, video_id)
            return MediaSource(engine.name, choose_formats(formats, max_height), duration_s)
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
