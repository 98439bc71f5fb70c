"""Asks for the thumbnails of videos, a second witness for death that costs no player call.

The thumbnail host answers 404 for most videos that are deleted or private, and 200 for public and unlisted ones (link
checkers rely on it: lychee#214, lychee#906). It errs one way: a terminated account's thumbnails may stay for years.
"""

from __future__ import annotations

import re

import urllib3
from urllib3.exceptions import HTTPError

from kinetics.errors import KineticsError
from kinetics.net.http import AllowedHosts, HttpSession
from kinetics.records import Thumbnail

HOST = AllowedHosts("YouTube's thumbnails", re.compile(r"i\.ytimg\.com"))
TIMEOUT_S = 5.0
"""Seconds to wait for the host: it serves files, so one that takes longer does not work."""
CONNECTIONS = 5
"""Connections in a row that may break before the host counts as one that does not answer: some lines reset many."""
LIVING_ASKED = 3
"""Videos that came whose thumbnails each worker asks for, so that the host shows whether it can be believed."""


class ThumbnailHost:
    """The connection of one thread to the thumbnail host."""

    def __init__(self) -> None:
        self._session = HttpSession(hosts=HOST, timeout_s=TIMEOUT_S)

    def ask(self, video_id: str) -> Thumbnail:
        """Return whether a video has a thumbnail, or that the host does not answer."""
        status = self._status(f"https://i.ytimg.com/vi/{video_id}/mqdefault.jpg")
        if status in (200, 404):
            return "there" if status == 200 else "missing"
        return "no answer"

    def _status(self, url: str) -> int | None:
        """Return the status of the reply; None if none came on CONNECTIONS connections, or on one that took long."""
        for _ in range(CONNECTIONS):
            try:
                response = self._session.head(url)
            except (urllib3.exceptions.TimeoutError, KineticsError):
                break
            except (HTTPError, OSError):
                continue
            response.release_conn()  # a HEAD has no body, so the connection is free again
            return response.status
        return None


class ThumbnailChecker:
    """One worker's way to the thumbnail host; it stops asking once the host does not answer."""

    def __init__(self) -> None:
        self._host = ThumbnailHost()
        self._answers = True
        self._living: list[str] = []
        self._asked_for_living = 0
        self._last: tuple[str, Thumbnail | None] = ("", None)

    def came(self, video_id: str) -> None:
        """Note a video that came: its thumbnail has to be there."""
        if len(self._living) < LIVING_ASKED and video_id not in self._living:
            self._living.append(video_id)

    def living(self) -> tuple[Thumbnail, ...]:
        """Return the thumbnails of videos that came and were not asked for yet."""
        ids, self._asked_for_living = self._living[self._asked_for_living :], len(self._living)
        return tuple(found for found in map(self.thumbnail, ids) if found)

    def thumbnail(self, video_id: str) -> Thumbnail | None:
        """Return whether a video has a thumbnail; None once the host has failed to answer."""
        if not self._answers:
            return None
        if self._last[0] == video_id:  # of another section of the video
            return self._last[1]
        found = self._host.ask(video_id)
        self._answers = found != "no answer"
        if self._answers:
            self._last = video_id, found
        return found
