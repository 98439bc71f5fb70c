"""The failure tree.

    KineticsError
    ├── Fatal            the run cannot go on: bad annotations, disk full, cannot write, already running (exit 2)
    └── ClipError        one clip failed; carries a Category and a reason
        ├── Gone         YouTube said that this video is gone
        │   └── Unconfirmed  it said "unavailable" and nothing else, as it does of every video in some blocks
        ├── NotOffered   the video lives, but YouTube refuses it to the clients that we pose as
        ├── MayWorkLater a fault of this attempt
        │   └── ClientRefused    YouTube refuses the client that we pose as, and says nothing of the video
        │       ├── VisitorRefused   it turns away the visitor id: a new one is needed
        │       └── ClientUnusable   what this client needs is not installed
        └── StopEveryone a refusal or outage that concerns every clip: slow down, then ask with one

Foreign exceptions become one of these at the seam that calls the foreign code.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from email.utils import parsedate_to_datetime
from importlib.util import find_spec

from kinetics.records import Category

REASON_LIMIT = 2000
"""Characters that are kept of a reason: it is somebody else's text, and longer than this nobody reads it."""
MODULES: Mapping[str, str] = {"pillow": "PIL", "yt-dlp": "yt_dlp"}
"""The modules of packages whose name on the package index is another one."""


class KineticsError(Exception):
    """The base of everything that this program raises on purpose."""


class Fatal(KineticsError):
    """The run cannot go on. The message says what happened, to which file, and what to do.

    It may quote a server or a file name, so characters that steer a terminal are escaped.
    """

    def __init__(self, message: str) -> None:
        super().__init__("".join(char if char.isprintable() else ascii(char)[1:-1] for char in message))


def not_installed(needed_by: str, packages: Iterable[str]) -> Fatal:
    """Return the error of something that needs packages which are not installed."""
    names = [*packages]
    return Fatal(f"{needed_by} needs {' and '.join(names)}: pip install {' '.join(names)}")


def is_installed(package: str) -> bool:
    """Return whether a package is installed. It is looked for and not imported, since an import takes a while."""
    return find_spec(MODULES.get(package, package)) is not None


def check_installed(needed_by: str, *packages: str) -> None:
    """Raise Fatal if a package is not installed."""
    if missing := [package for package in packages if not is_installed(package)]:
        raise not_installed(needed_by, missing)


class ClipError(KineticsError):
    """One clip failed."""

    def __init__(self, category: Category, reason: str) -> None:
        reason = reason[:REASON_LIMIT]
        super().__init__(reason)
        self.category = category
        self.reason = reason


class Gone(ClipError):
    """YouTube said that this video, or this part of it, does not exist or is not shown."""


class Unconfirmed(Gone):
    """YouTube calls this video unavailable, and says nothing else. In some blocks it says so of every video."""


class NotOffered(ClipError):
    """YouTube refuses this video to the clients that were asked as; the video exists."""

    def __init__(self, reason: str) -> None:
        super().__init__(Category.NOT_OFFERED, reason)


class MayWorkLater(ClipError):
    """This attempt failed; another one may not."""


class ClientRefused(MayWorkLater):
    """YouTube's reply brings no media to this client, and says nothing of the video that we know."""


class VisitorRefused(ClientRefused):
    """YouTube turns away the visitor id: a new one is needed."""


class ClientUnusable(ClientRefused):
    """What this client needs is not installed, so it can bring no media of any video."""


class StopEveryone(ClipError):
    """Every request is refused, or there is no connection; `retry_after_s` is what the server asked for, if it did."""

    def __init__(self, category: Category, reason: str, retry_after_s: float | None = None) -> None:
        super().__init__(category, reason)
        self.retry_after_s = retry_after_s


def retry_after(value: str | None) -> float | None:
    """Return the seconds that a Retry-After header asks for, in either of its forms (RFC 9110, section 10.2.3)."""
    if not value:
        return None
    if value.strip().isdecimal():
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None
