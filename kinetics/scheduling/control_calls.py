"""Control calls: when clips fail alike, a video that is likely to be offered is asked for, to find out why.

If YouTube offers it, the clips' failures are their own. Pure decisions, without I/O.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from kinetics.records import Category, Clip, ControlCall, ControlResult, Outcome
from kinetics.scheduling.undecided import cause

CONTROLS = 3
"""Clips that came last, one of which a control call asks for again; at the start of a run, clips that are likely to be
offered. With 1, a video that is removed in the middle of a run could make everybody wait in vain; with many, a change
of YouTube's is found late."""


class ControlCalls:
    """The control calls of one address: at most one is out at a time.

    `likely` are clips that are likely to be offered, until one has come in this run.
    """

    def __init__(self, likely: Iterable[Clip]) -> None:
        self.any_came = False
        """Whether a clip has come in this run."""
        self.alike: Outcome | None = None
        """The last of the clips that failed alike, while a control call is out for them."""
        self._clips = deque(likely, CONTROLS)  # the last one is asked for next
        self._left = 0  # calls that may follow the one that is out, before everybody pauses

    def came(self, clip: Clip) -> None:
        """Note a clip that came: better for control calls than those that were likely to be offered."""
        if not self.any_came:
            self._clips.clear()
        self.any_came = True
        self._clips.append(clip)

    def begin(self, alike: Outcome) -> ControlCall | None:
        """Return the call to make because clips failed alike; None if there is no video to ask for."""
        if not self._clips:
            return None
        self.alike, self._left = alike, len(self._clips) - 1
        return ControlCall(self._clips[-1])

    def end(self, result: ControlResult) -> ControlCall | None:
        """Take in a result; return the call that follows it at once, as the video failed for itself."""
        alike, self.alike = self.alike, None
        if result.status == "done":
            return None
        self._clips.rotate()  # this video may fail for itself meanwhile, but hardly all of them
        if result.status == "postponed" or not (alike and self._left and _fails_otherwise(result, alike)):
            return None
        self.alike, self._left = alike, self._left - 1
        return ControlCall(self._clips[-1])


def _fails_otherwise(result: ControlResult, alike: Outcome) -> bool:
    """Whether a control call's video fails for itself, and not as the others do; "unavailable" may be said of all."""
    own = Outcome(result.call.clip, "failed", result.category, result.reason)
    return result.category is not Category.UNAVAILABLE and cause(own) != cause(alike)
