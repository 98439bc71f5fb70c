"""Counts the player calls that this process sends to YouTube, whichever engine makes them.

They are counted where Python's HTTP client hands a request to an open connection. So a call that never left, because
no connection came about, does not count, and one whose reply was lost does.
"""

from __future__ import annotations

import sys
from functools import cache

PLAYER_PATH = "/youtubei/v1/player"
"""The path of player calls, those for a visitor id among them."""
_REQUEST = f"POST {PLAYER_PATH}".encode()


class CallCounter:
    """The number of player calls since this process began to count."""

    def __init__(self) -> None:
        self.sent = 0

    def _take(self, event: str, arguments: tuple[object, ...]) -> None:
        if event == "http.client.send":
            data = arguments[1]
            self.sent += isinstance(data, bytes) and data.startswith((_REQUEST + b"?", _REQUEST + b" "))


@cache
def player_calls() -> CallCounter:
    """Return this process's counter; it begins to count with the first call of this function.

    Python tells audit hooks of every request (PEP 578). A hook cannot be removed, hence one for the whole process.
    """
    counter = CallCounter()
    sys.addaudithook(counter._take)
    return counter
