"""The order of a run by what the thumbnail host says: videos whose thumbnails are missing go to the end of the queue.

An order, never a verdict: YouTube is asked for each of them all the same. Whether the order is worth anything is
measured as the run goes on, by what came of videos with and without a thumbnail.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from heapq import merge
from itertools import chain
from operator import itemgetter

from kinetics.planning.gone_videos import GoneVideos, RunEvent
from kinetics.planning.thumbnail_lookup import ThumbnailLookup
from kinetics.records import Category, Clip, Outcome, Thumbnail, Video
from kinetics.scheduling.dispatch import TICK_S, Event
from kinetics.scheduling.events import GaveUp, Notice

LOOKAHEAD = 300
"""Items ahead that are not known to lack a thumbnail: an hour's player calls. With fewer, dead videos go out where
many of them stand in a row; with more, the host is asked for what a run may never come to."""
WAIT_S, WAIT_SHARE = 1.0, 0.02
"""Seconds that an item waits for its thumbnail at most; and all of them together: that, and this share of the run."""
MIN_MISSING_TRIED = 3
"""Items without a thumbnail that were tried before the order is called worthless. With fewer, chance decides."""
PROBE_EVERY = 100
"""An item without a thumbnail is tried out of turn after this many with one, of which each that is gone counts as
PROBE_EVERY; after each such item in a row that was gone, PROBE_EVERY times as many; and at once after one that came. A
smaller number spends more calls on dead videos before the living are there, a larger one finds a misleading host
later."""


class OrderRecord:
    """What came of the videos with and without a thumbnail: whether it is worth to try the former first."""

    def __init__(self) -> None:
        self._tried: dict[Thumbnail, int] = {"there": 0, "missing": 0}
        self._came: dict[Thumbnail, int] = {"there": 0, "missing": 0}
        self._since_probe = 0
        self._gone_probes = 0  # in a row

    def take(self, thumbnail: Thumbnail, *, came: bool) -> None:
        """Take in what came of a video."""
        self._tried[thumbnail] += 1
        self._came[thumbnail] += came
        if thumbnail == "there":
            self._since_probe += 1 if came else PROBE_EVERY
        elif came:
            self._since_probe, self._gone_probes = PROBE_EVERY, 0
        else:
            self._gone_probes += 1

    def probed(self) -> None:
        """Take in that an item without a thumbnail goes out out of turn."""
        self._since_probe = 0

    @property
    def probe_due(self) -> bool:
        return self._since_probe >= int(PROBE_EVERY ** (1 + self._gone_probes))

    @property
    def misleads(self) -> bool:
        """Whether videos without a thumbnail come as often as those with one.

        Of the latter, one more counts as come and one as gone, so that a few by chance decide nothing.
        """
        if self._tried["missing"] < MIN_MISSING_TRIED:
            return False
        with_one = (self._came["there"] + 1) / (self._tried["there"] + 2)
        return self._came["missing"] / self._tried["missing"] >= with_one


class LivingFirst:
    """An iterator of the items of a run in the order that the thumbnails suggest; `watching` runs them.

    `items` come first, in their order; then the gone ones. What comes back before that is asked for at once.
    """

    def __init__(
        self,
        items: Iterable[Clip | Video],
        gone: GoneVideos,
        lookup: ThumbnailLookup,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._items = enumerate(items)
        self._gone, self._lookup, self._clock = gone, lookup, clock
        self._window = dict[int, Clip | Video]()
        self._missing = deque[tuple[int, Clip | Video]]()
        self._answers = dict[str, Thumbnail]()  # of the videos in the window
        self._out = dict[str, Thumbnail | None]()
        self._measured = set[str]()  # videos that are out, and were measured by a doubt
        self._record = OrderRecord()
        self._in_order: Iterator[Clip | Video] | None = None
        self._notices = deque[Notice]()
        self._said_silent = False
        self._began, self._waited_s = clock(), 0.0
        self._next: Clip | Video | None = None

    def __iter__(self) -> Iterator[Clip | Video]:
        return self

    def __next__(self) -> Clip | Video:
        item, self._next = self._next or self._choose(), None
        if item is None:
            raise StopIteration
        return item

    def watching(
        self, run: Callable[[Iterator[Clip | Video]], Generator[Event, None, None]]
    ) -> Generator[RunEvent, None, None]:
        """Have the items done by `run`, and yield its events, those of the gone videos, and what is to be said.

        `run` is called again if videos come up after its end that were still looked for.
        """
        self._lookup.start()
        try:
            self._look_ahead()
            yield from self._waiting(until=self._clock() + WAIT_S)
            while True:
                yield from self._waiting()
                if not self._find_next():
                    return
                with closing(run(self)) as events:
                    for event in events:
                        if isinstance(event, Outcome):
                            self._take(event)
                        yield event
                        yield from self._said()
                        if isinstance(event, GaveUp):
                            return
        finally:
            self._lookup.close()

    def _find_next(self) -> bool:
        """Return whether there is another item; it is kept for the next call of `next`."""
        self._next = self._next or self._choose()
        return self._next is not None

    def _waiting(self, until: float | None = None) -> Iterator[RunEvent]:
        """Yield what becomes of the gone videos that are looked for, and None while that takes.

        It ends when one is to be asked for, and at the clock's `until`. Without that, it ends when nothing is to come.
        """
        yield from self._said()
        while self._gone.looking and (until is None or (self._lookup.answering and self._clock() < until)):
            if self._gone.any_back or (until is None and self._find_next()):
                return
            if until is None:
                self._gone.give_up_in_vain()
            self._lookup.wait(TICK_S if until is None else min(TICK_S, until - self._clock()))
            yield from self._said()
            yield None

    def _said(self) -> Iterator[RunEvent]:
        """Take in the answers that came, and yield what they mean."""
        self._look_ahead()
        yield from self._gone.confirmed()
        while self._notices:
            yield self._notices.popleft()

    def _choose(self) -> Clip | Video | None:
        self._look_ahead()
        item = self._gone.take_back() or self._take_in_turn() or self._gone.take_last()
        if item:
            self._out.setdefault(item.youtube_id, None)
        return item

    def _take_in_turn(self) -> Clip | Video | None:
        """Return the next of the videos that were not gone, as far as is known."""
        if self._in_order:
            return next(self._in_order, None)
        if self._missing and self._record.probe_due:
            self._record.probed()
            return self._take_missing()
        self._wait_for_first()
        if not self._window:
            return self._take_missing() if self._missing else None
        item = self._window.pop(next(iter(self._window)))
        self._out[item.youtube_id] = self._answers.get(item.youtube_id)
        return item

    def _take_missing(self) -> Clip | Video:
        _, item = self._missing.popleft()
        self._out[item.youtube_id] = "missing"
        return item

    def _wait_for_first(self) -> None:
        """Wait until the first item in the window is known to have a thumbnail, for a bounded time."""
        began = now = self._clock()
        left_s = min(WAIT_S, WAIT_S + WAIT_SHARE * (began - self._began) - self._waited_s)
        while self._lookup.answering and now < began + left_s and self._first_is_unknown:
            self._lookup.wait(began + left_s - now)
            self._look_ahead()
            now = self._clock()
        self._waited_s += now - began

    @property
    def _first_is_unknown(self) -> bool:
        first = next(iter(self._window.values()), None)
        return first is not None and first.youtube_id not in self._answers

    def _look_ahead(self) -> None:
        """Take in the answers that came, and fill the window."""
        new = self._lookup.answers()
        for youtube_id, thumbnail in new:
            self._gone.take_answer(youtube_id, thumbnail)
            if youtube_id in self._out:
                self._out[youtube_id] = thumbnail
            if not self._in_order:
                self._answers[youtube_id] = thumbnail
        self._gone.advance()
        if self._in_order:
            return
        if not self._lookup.answering and not self._said_silent:
            self._said_silent = True
            self._notices.append(Notice("i.ytimg.com does not answer: clips go out in the list's order until it does"))
        if new:
            self._set_missing_aside()
        self._fill()

    def _set_missing_aside(self) -> None:
        ids = {item.youtube_id for item in self._window.values()}
        self._answers = {one: thumbnail for one, thumbnail in self._answers.items() if one in ids}
        missing = [one for one in self._window.items() if self._answers.get(one[1].youtube_id) == "missing"]
        for number, item in missing:
            del self._window[number]
            self._missing.append((number, item))

    def _fill(self) -> None:
        """Ask for the thumbnails of more items, until LOOKAHEAD are in the window."""
        asked = list[str]()
        while len(self._window) < LOOKAHEAD and (one := next(self._items, None)):
            number, item = one
            self._window[number] = item
            asked.append(item.youtube_id)
        if asked:
            self._lookup.request(asked, soon=True)

    def _take(self, outcome: Outcome) -> None:
        """Take in what came of a clip: only YouTube's answers about its video count."""
        self._look_ahead()
        category, youtube_id = outcome.category, outcome.clip.youtube_id
        came = outcome.status == "done" or category is Category.PAST_END
        if youtube_id not in self._out or (outcome.status == "postponed" and not outcome.unconfirmed):
            return
        thumbnail = self._out[youtube_id]
        if outcome.status == "postponed":  # a doubt, which tells enough of the order
            self._measure(youtube_id, thumbnail, came=False)
            self._measured.add(youtube_id)
            return
        del self._out[youtube_id]
        if came or (category and category.gone):
            self._gone.take_verdict(outcome, thumbnail, came=came)
            self._measure(youtube_id, thumbnail, came=came)
        self._measured.discard(youtube_id)

    def _measure(self, youtube_id: str, thumbnail: Thumbnail | None, *, came: bool) -> None:
        """Compare what came of a video with its thumbnail, once; drop the order if it is worth nothing."""
        if thumbnail and youtube_id not in self._measured:
            self._record.take(thumbnail, came=came)
        if self._record.misleads and not self._in_order:
            self._drop()

    def _drop(self) -> None:
        """Let all items that are still to come go out in the list's order."""
        waiting = merge(self._window.items(), self._missing, key=itemgetter(0))
        self._in_order = (item for _, item in chain([*waiting], self._items))
        self._window, self._missing = {}, deque()
        self._notices.append(
            Notice(
                "i.ytimg.com has no thumbnails of videos that come all the same: "
                "clips go out in the list's order from now on"
            )
        )
