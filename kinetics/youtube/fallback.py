"""Finds the media of a clip: which client is asked, and what is tried after a refusal.

The order for each clip, each step once: the best formats of a reply, the other formats of the same reply, the next
client. Player calls are scarce, so what YouTube says about the video ends the search, and the clients' refusals are
remembered (client_record.py).
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit

from kinetics.errors import REASON_LIMIT, ClientRefused, ClientUnusable, ClipError, Gone, MayWorkLater, NotOffered
from kinetics.net.responses import ConnectionBroken, MediaExpired, MediaRefused
from kinetics.records import ASKED_WITH, Category, VideoFacts
from kinetics.youtube.client_record import PASSED_ON, ClientRecord
from kinetics.youtube.engines import Engine, engine_versions
from kinetics.youtube.formats import Choice, MediaSource, picture_duration, positive_number, ranked_formats
from kinetics.youtube.replies import join_words

MAX_CALLS = 3
"""Player calls for one clip that are answered, besides those for broken connections and an expired URL. A larger
number gets a clip that only the last client has, and spends more of YouTube's allowance on clips that nobody has."""
BROKEN_REPLIES = 5
"""Replies about one clip that are cut before it fails: some lines reset many connections. With fewer, clips of such a
line would fail; with more, a video whose reply YouTube always cuts would cost more calls."""
MAX_AD_S = 30.0
"""Seconds that an announced ad is waited for. A longer one is not: the next client may have none."""
LOOK_BACK_CLIPS = 50
"""Clips of a worker after which the refused clients are asked in their usual order again. With fewer, more calls go to
a client that is still refused; with more, one that works again is found later."""


class EngineClient(NamedTuple):
    """An engine that poses as one of its clients."""

    engine: Engine
    client: str

    @property
    def key(self) -> str:
        """What identifies it in the record: `yt-dlp android`."""
        return f"{self.engine.name} {self.client}"


class Resolver:
    """One worker's engines, each with the clients that it can pose as."""

    def __init__(self, engines: Sequence[Engine], record: ClientRecord | None = None) -> None:
        clients = [EngineClient(engine, client) for engine in engines for client in engine.clients]
        names = [one.client for one in clients]
        self._clients = sorted(clients, key=lambda one: names.index(one.client))
        self._record = record or ClientRecord()
        self._clips = 0

    def search(self, video_id: str, max_height: int, *, in_full: bool = False) -> MediaSearch:
        """Return the search for media of at most `max_height` pixels in height.

        The clients that are refused clip after clip are asked last. If all of them are, only the first one is asked,
        until its answer differs. `in_full`, and now and then, all are asked in the usual order.
        """
        self._clips += 1
        working = [one for one in self._clients if not self._record.is_refused(one.key)]
        if in_full or self._clips % LOOK_BACK_CLIPS == 0:
            order = self._clients
        elif working:
            order = sorted(self._clients, key=lambda one: one not in working)
        else:
            order = self._clients[:1]
        return MediaSearch(self._clients, order, self._record, video_id, max_height)


class MediaSearch:
    """The search for one clip's media: what to try next, until something works or nothing is left.

    `clients` are all clients in their usual order; one that turns out to be unusable is removed from them, for all
    searches. `order` are those that are asked, in the order in which they are.
    """

    def __init__(
        self,
        clients: list[EngineClient],
        order: Sequence[EngineClient],
        record: ClientRecord,
        video_id: str,
        max_height: int,
    ) -> None:
        self._clients, self._left, self._record = clients, [*order], record
        self._video_id, self._max_height = video_id, max_height
        self._calls = 0
        self._asked = order[0]
        self._others: list[Choice] = []
        self._failures: dict[EngineClient, ClipError] = {}
        self._media_failure: ClipError | None = None
        self._asked_twice = self._renewed = False
        self._broken_replies = 0
        self._waited_for: MediaSource | None = None
        self.later_s = 0.0
        """Seconds spent on further calls and waits after the first media had failed."""
        self.facts: VideoFacts | None = None
        """What the replies so far say of the video."""

    def next_source(self) -> MediaSource:
        """Return the media that the next client finds. Raises ClipError: why none was found, once no client is left."""
        while self._left and self._calls < MAX_CALLS:
            self._asked = self._left.pop(0)
            self._calls += 1
            try:
                return self._ask()
            except ClientUnusable:
                self._clients.remove(self._asked)
            except (MayWorkLater, NotOffered) as error:
                if error.category not in PASSED_ON:
                    raise self._media_failure or error from error
                self._refuse(error, by_youtube=isinstance(error, ClientRefused | NotOffered))
            except Gone as error:
                self._record.answered(self._keys_from_asked(), with_media=False)
                raise self._media_failure or error from error  # a client that named media has shown that it lives
        raise self._media_failure or self._summary()

    def after(self, source: MediaSource, failure: MayWorkLater) -> MediaSource:
        """Return what to try after the media of `source` failed. Raises the first such failure if nothing is left.

        A broken connection and a failing host are no faults of the file, so nothing else is tried after them.
        """
        if failure.category is not Category.MEDIA_ERROR or isinstance(failure, ConnectionBroken):
            raise failure
        self._media_failure = self._media_failure or failure
        began = time.monotonic()
        try:
            return self._next_after(source, failure)
        finally:
            self.later_s += time.monotonic() - began

    def _next_after(self, source: MediaSource, failure: MayWorkLater) -> MediaSource:
        if isinstance(failure, MediaRefused):
            if self._wait_for_ad(source):
                return source
            if not self._renewed and (isinstance(failure, MediaExpired) or _has_expired(source)):
                self._renewed = True
                return self._renew()
        if self._others:
            return replace(source, formats=self._others.pop(0))
        self._refuse(failure, by_youtube=True)
        return self.next_source()

    def came(self) -> None:
        """Note that the media of the last source were whole."""
        self._record.answered(self._keys_from_asked(), with_media=True)

    def _ask(self) -> MediaSource:
        """Ask the client: again if its reply was cut, and once more if none came, which may be a hiccup."""
        engine, client = self._asked
        while True:
            try:
                formats, duration_s = engine.formats(self._video_id, client, self._learn)
                break
            except MayWorkLater as error:
                if not self._asks_again(error):
                    raise
        best, *self._others = ranked_formats(formats, self._max_height)
        return MediaSource(engine.name, best, duration_s, picture_duration(formats, duration_s), tuple(self._others))

    def _learn(self, facts: VideoFacts | None) -> None:
        self.facts = facts.completed_by(self.facts) if facts else self.facts

    def _asks_again(self, error: MayWorkLater) -> bool:
        if isinstance(error, ConnectionBroken):
            self._broken_replies += 1
            return self._broken_replies < BROKEN_REPLIES
        is_first = not self._asked_twice
        self._asked_twice = True
        return is_first and error.category in (Category.SERVER_ERROR, Category.TIMEOUT)

    def _renew(self) -> MediaSource:
        """Ask the same client again, for URLs that have not expired."""
        try:
            return self._ask()
        except (MayWorkLater, NotOffered) as error:
            raise self._media_failure or error from error

    def _wait_for_ad(self, source: MediaSource) -> bool:
        """Wait until the ads before a video are over, once; whether there were any."""
        wait_s = max(one.available_at for one in source.formats) - time.time()
        if source is self._waited_for or not 0 < wait_s <= MAX_AD_S:
            return False
        self._waited_for = source
        time.sleep(wait_s)
        return True

    def _refuse(self, error: ClipError, *, by_youtube: bool) -> None:
        """Note how the client failed. What YouTube refuses to it, it refuses to the same client of other engines."""
        if self._asked in self._failures:  # at an earlier section of the video
            return
        self._failures[self._asked] = error
        alike = [one for one in self._clients if one.client == self._asked.client] if by_youtube else [self._asked]
        self._left = [one for one in self._left if one not in alike]
        self._record.refused([one.key for one in alike], error, self._video_id)

    def _keys_from_asked(self) -> list[str]:
        """Return the keys of the client that answered and of those after it that were not refused for this clip."""
        behind = self._clients[self._clients.index(self._asked) :]
        return [one.key for one in behind if one not in self._failures]

    def _summary(self) -> ClipError:
        """Return the one error that the failures of the clients amount to, with the names of their engines.

        The video is not offered only where all clients were refused it, now or, where only the first one is asked, at
        the last clips.
        """
        failed = [one for one in self._clients if one in self._failures]
        engines = [*dict.fromkeys(one.engine.name for one in failed)]
        words = {
            name: join_words((), [_youtubes_words(self._failures[one]) for one in failed if one.engine.name == name])
            for name in engines
        }
        if all(isinstance(self._failures[one], NotOffered) for one in failed) and self._not_offered_by(failed):
            asked = f"{ASKED_WITH}{engine_versions(engines)})"
            return NotOffered(join_words((), [*words.values()])[: REASON_LIMIT - len(asked)] + asked)
        reason = "; ".join(f"{name}: {said}" for name, said in words.items())
        return MayWorkLater(Category.ENGINE_ERROR, reason)

    def _not_offered_by(self, failed: Iterable[EngineClient]) -> bool:
        """Whether the clients that were not asked were last refused because a video was not offered to them."""
        names = {one.client for one in failed}
        last = [self._record.last_refusal(one.key) for one in self._clients if one.client not in names]
        return all(category in (None, Category.NOT_OFFERED) for category in last)


def _youtubes_words(error: ClipError) -> str:
    return error.reason.partition(ASKED_WITH)[0]


def _has_expired(source: MediaSource) -> bool:
    """Whether a URL of the source names a time that is past."""
    named = [parse_qs(urlsplit(one.url).query).get("expire", [""])[-1] for one in source.formats]
    return any((positive_number(text) or math.inf) < time.time() for text in named)
