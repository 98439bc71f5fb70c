"""Remembers for a run how each client was refused at its last clips, so that none is asked in vain clip after clip."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from kinetics.errors import ClipError
from kinetics.records import Category
from kinetics.storage.atomic import atomic_write

ALIKE_CLIPS = 5
"""Clips in a row at which a client is refused in the same words, after which it is asked last, or, if all clients are
refused, not at all; a higher number spends more of YouTube's allowance on a refusal that is known."""
PASSED_ON = (Category.ENGINE_ERROR, Category.NOT_OFFERED)
"""Failures of a player call that say something of the engine or its client, so that the next one is asked."""


@dataclass(frozen=True, slots=True)
class _Refusals:
    """Refusals of a client in a row."""

    category: str
    words: str
    """What each of them said, without the numbers and the id, which differ from clip to clip."""
    clips: int


class ClientRecord:
    """The refusals of each client in a row, which the workers of a host share through a file.

    A client that answers, or whose media come, starts anew, and so do those after it, which were not asked. The file is
    advice: where two workers write it at once, one of the refusals is lost, which costs a call at most.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._own: dict[str, _Refusals] = {}

    def is_refused(self, key: str) -> bool:
        """Whether this client was refused alike at the last ALIKE_CLIPS clips or more."""
        found = self._read().get(key)
        return bool(found and found.clips >= ALIKE_CLIPS)

    def last_refusal(self, key: str) -> Category | None:
        """Return why this client was last refused; None if it was not since it last worked."""
        found = self._read().get(key)
        return Category(found.category) if found else None

    def refused(self, keys: Iterable[str], error: ClipError, video_id: str) -> None:
        """Note that these clients were refused a clip."""
        words = re.sub(r"\d+", "", error.reason.replace(video_id, ""))
        known = self._read()
        for key in keys:
            last = known.get(key, _Refusals("", "", 0))
            alike = (last.category, last.words) == (error.category, words)
            known[key] = _Refusals(error.category, words, last.clips + 1 if alike else 1)
        self._write(known)

    def answered(self, keys: Iterable[str], *, with_media: bool) -> None:
        """Note that these clients are not refused; an answer without media says nothing of refused media."""
        known = self._read()
        ended = {key for key in keys if key in known and (with_media or known[key].category in PASSED_ON)}
        if ended:
            self._write({key: refusals for key, refusals in known.items() if key not in ended})

    def _read(self) -> dict[str, _Refusals]:
        if self._file:
            with suppress(OSError, ValueError, TypeError, AttributeError):
                found = json.loads(self._file.read_text("utf-8"))
                self._own = {key: _Refusals(**refusals) for key, refusals in found.items()}
        return dict(self._own)

    def _write(self, refusals: dict[str, _Refusals]) -> None:
        self._own = refusals
        if self._file:
            with suppress(OSError), atomic_write(self._file) as temporary:
                temporary.write_text(json.dumps({key: asdict(one) for key, one in refusals.items()}), "utf-8")
