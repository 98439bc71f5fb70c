"""What the server saw."""

from __future__ import annotations

import json
import threading
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

Kind = Literal["visitor", "player", "page", "media", "thumbnail", "archive", "list", "mirror", "other", "refused"]


@dataclass(frozen=True)
class Request:
    """One request. `status` is 0 where no reply was begun; `bytes_sent` counts the body as far as it was sent."""

    time: float
    host: str
    method: str
    path: str
    kind: Kind = "other"
    client: str = ""
    video_id: str = ""
    itag: int | None = None
    range: tuple[int, int | None] | None = None
    """First and last byte asked for."""
    status: int = 0
    bytes_sent: int = 0
    throttled: bool = False
    """It met the closed door of the world's throttle."""
    refused: Literal["", "client", "visitor id", "expired", "ad"] = ""
    """Why the call or the media were refused, whatever the video: what the client is refused, a visitor id that is
    turned away, an address whose time is over, or an ad that is not."""
    cookies: tuple[str, ...] = ()
    """The names of the cookies that came with it."""
    user_agent: str = ""


class RequestLog:
    """The list of requests, in the order in which they came, and on request a file of JSON lines.

    A request stands in the list from its beginning, so that a client never knows of one that the list lacks; a line is
    written when the request is over.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._requests: list[Request] = []
        self._lock = threading.Lock()

    def begin(self, request: Request) -> int:
        """Returns the request's place, by which to add to it."""
        with self._lock:
            self._requests.append(request)
            return len(self._requests) - 1

    def note(self, place: int, **changes: Any) -> None:
        with self._lock:
            self._requests[place] = replace(self._requests[place], **changes)

    def sent(self, place: int, count: int) -> None:
        with self._lock:
            request = self._requests[place]
            self._requests[place] = replace(request, bytes_sent=request.bytes_sent + count)

    def end(self, place: int) -> None:
        if self._file is not None:
            with self._lock, open(self._file, "a") as lines:
                lines.write(json.dumps(asdict(self._requests[place])) + "\n")

    def copy(self) -> list[Request]:
        with self._lock:
            return list(self._requests)
