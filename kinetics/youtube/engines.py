"""The engines: foreign programs that resolve a video id to the addresses of its media.

An engine only resolves, as the client that it is told to pose as; fallback.py decides which one is asked when. The
media are fetched by kinetics.net.range_file, since no engine bounds, resumes or verifies its downloads.
"""

from __future__ import annotations

import importlib.metadata
import logging
import socket
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Protocol

from kinetics.errors import check_installed
from kinetics.youtube.engine_errors import TIMEOUT_S
from kinetics.youtube.formats import Format
from kinetics.youtube.pytube_engine import Pytube
from kinetics.youtube.video_facts import Learn, ignore
from kinetics.youtube.ytdlp_engine import YtDlp

ENGINE_NAMES = ("pytubefix", "yt-dlp", "pytube")
"""The engines that a user can choose."""


class Engine(Protocol):
    """A program that asks YouTube about a video, as one of YouTube's clients."""

    name: str

    @property
    def clients(self) -> Sequence[str]:
        """The clients that it can pose as, in the order in which they are asked. Engines name the same client alike."""

    def formats(self, video_id: str, client: str, learn: Learn = ignore) -> tuple[list[Format], float | None]:
        """Return all formats on offer to this client, and the video's length in seconds where known.

        It takes one player call; a second one only with a new visitor id. `learn` is given what the reply says of the
        video, also where that is a refusal and the engine passes it on. Raises ClipError: ClientRefused or NotOffered
        where YouTube refuses the client, and MayWorkLater where the engine itself fails.
        """


def check_engines(names: Sequence[str]) -> None:
    """Raise Fatal if one of these engines is not installed."""
    for name in names:
        check_installed(f"--engine {name}", name)


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
        "yt-dlp": lambda: YtDlp(cookies, on_notice),
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
