"""Who is told what a run does and how far it is: the terminal, or a Python program."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from kinetics.humanize import one_line
from kinetics.records import Outcome
from kinetics.run.progress import ProgressTracker, RunProgress

if TYPE_CHECKING:
    from kinetics.annotations.published import ProgressCallback
    from kinetics.run.result import RunResult
    from kinetics.scheduling.dispatch import Event

MAX_NAMED = 20
"""Failed clips that are named to a listener, for each subset; the tables name them all."""
ShowProgress = Callable[[RunProgress], object]
"""Takes the progress each time that something has happened, and about twice a second while nothing does."""


class Listener:
    """Is told what a run does, and ignores it: subclasses show or keep what is for them."""

    def tell(self, text: str) -> None:
        """Take what a person should know of the run: what it will do, or what it has done."""

    def notice(self, text: str) -> None:
        """Take what happens just now: a pause, a list that is fetched, a file that does not fit."""

    def warn(self, text: str) -> None:
        """Take what a person may have to do something about."""

    @contextmanager
    def loading(self) -> Iterator[ProgressCallback]:
        """Yield what takes the number of bytes of the annotations that have come, and of all, if that is known."""
        yield lambda done, total: None

    @contextmanager
    def showing(self, what: str, total: int, *, done: str = "done", failed: str = "failed") -> Iterator[ShowProgress]:
        """Yield what takes the progress of a run, or of one of its steps, with `total` clips.

        `done` and `failed` are the words for what becomes of these.
        """
        yield lambda progress: None

    def ended(self, result: RunResult) -> None:
        """Take the result of a download that has ended, by itself or because of an error."""


def shown(
    listener: Listener,
    what: str,
    total: int,
    events: Iterable[Event],
    *,
    done: str = "done",
    failed: str = "failed",
) -> Iterator[Outcome]:
    """Yield the outcomes among the events, while their progress is shown as they come; the first failures are named.

    `done` and `failed` are the words for what becomes of the clips.
    """
    failures, tracker = 0, ProgressTracker(total)
    with listener.showing(what, total, done=done, failed=failed) as show:
        for event in events:
            tracker.take(event)
            show(tracker.progress)
            if not isinstance(event, Outcome):
                continue
            failures += event.status == "failed"
            if event.status == "failed" and failures <= MAX_NAMED:
                listener.notice(f"{event.clip}: {one_line(event.reason)}")
            yield event
