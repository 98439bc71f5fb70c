"""What a refusal or a failed connection is the fault of: this clip, the pace of the calls, or the line.

Pure decisions, without I/O; times are seconds of the throttle's clock.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from dataclasses import dataclass
from itertools import zip_longest

from kinetics.records import Item

ITEM_REFUSAL_LIMIT = 3
"""Refusals of one clip, while others are answered, that make it fail for itself. Each of them costs everybody a pause;
with a smaller limit an unlucky clip would fail that only came at the wrong time."""
ITEM_BROKEN_LIMIT = 10
"""Failed connections for one clip, while others are answered, that make it fail for itself. With a smaller limit a line
that resets many connections would cost clips."""
BROKEN_CONNECTION_LIMIT = 5
"""Connections in a row that fail, whichever clips they were for, before everybody pauses. On a line that resets 3 of 10
connections, 1 clip in 400 meets that; with a smaller limit such a line would pause the run again and again, and with a
larger one a line that is down would be asked more often before the run says so."""
BROKEN_CONNECTION_S = 20.0
"""Seconds that such connections may take together before everybody pauses, however few they are: a line that answers
nothing fails slowly."""
ROW_LIMIT = 10
"""Answered calls before another one whose times are compared. Limits of fewer calls are known by them; those of more
calls are learnt by the throttle, which spreads the calls."""


@dataclass
class BrokenConnections:
    """The connections that failed since the last one that brought an answer."""

    count: int = 0
    seconds: float = 0.0

    def add(self, seconds: float) -> bool:
        """Count one that took this long, and return whether the line may be down, so that everybody should pause."""
        self.count += 1
        self.seconds += seconds
        return self.count >= BROKEN_CONNECTION_LIMIT or self.seconds >= BROKEN_CONNECTION_S

    def answered(self) -> None:
        self.count, self.seconds = 0, 0.0


class AnsweredCalls:
    """When those calls of an address were made that were answered, and how close together they were."""

    def __init__(self) -> None:
        self._times: list[float] = []
        self._closest: list[float] = []  # the shortest time that the last one, two, ... of them came before another

    def add(self, sent: float) -> None:
        """Take in an answered call."""
        for number, (since, closest) in enumerate(zip_longest(self._since(sent), self._closest, fillvalue=math.inf)):
            self._closest[number : number + 1] = [min(since, closest)]
        insort(self._times, sent)
        del self._times[: -2 * ROW_LIMIT]  # answers come in another order than calls

    def none_was_closer(self, sent: float) -> bool:
        """Whether a call came closer upon answered ones than any that was answered, so that a limit may explain why."""
        return any(since < closest for since, closest in zip(self._since(sent), self._closest, strict=False))

    def _since(self, sent: float) -> list[float]:
        """Return the seconds from each of the last answered calls until this one, the last of them first."""
        before = self._times[: bisect_left(self._times, sent)]
        return [sent - one for one in reversed(before[-ROW_LIMIT:])]


class RefusedItems:
    """The clips that were refused, to find those that are refused for themselves: others are answered meanwhile.

    All hosts of a cluster share one, as an answer at any host counts.
    """

    def __init__(self) -> None:
        # By item and limit: its refusals, and all answers before the first of them.
        self._refused: dict[tuple[Item, int], tuple[int, int]] = {}
        self._at_pace: dict[Item, int] = {}  # refusals that the pace may explain
        self._answers = 0

    def __len__(self) -> int:
        return len(self._refused) + len(self._at_pace)

    def answered(self) -> None:
        """Count an answer to any clip."""
        self._answers += 1

    def clear(self, item: Item) -> None:
        """Forget a clip that is settled."""
        for limit in (ITEM_REFUSAL_LIMIT, ITEM_BROKEN_LIMIT):
            self._refused.pop((item, limit), None)
        self._at_pace.pop(item, None)

    def refused(self, item: Item, last: bool, limit: int = ITEM_REFUSAL_LIMIT) -> bool:
        """Count a refusal, and return whether this clip alone is refused; of the last clip of all that is assumed.

        Of that one the refusals that the pace may have explained count, too: no other call came before this one.
        """
        times, answers_before = self._refused.get((item, limit), (0, self._answers))
        self._refused[item, limit] = times + 1, answers_before
        enough = times + 1 + (self._at_pace.get(item, 0) if last else 0) >= limit
        return enough and (last or self._answers > answers_before)

    def refused_at_pace(self, item: Item) -> bool:
        """Count a refusal that the pace may explain, and return whether the clip should go first after the pause.

        Right after another call it may be refused each time; as the first one it shows whether that was why.
        """
        times = self._at_pace[item] = self._at_pace.get(item, 0) + 1
        return times % ITEM_REFUSAL_LIMIT == 0
