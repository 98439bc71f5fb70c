"""The terminal as a listener: prints what a run says, and shows its progress as a bar."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tqdm import tqdm

from kinetics.cli.summary import summary
from kinetics.cli.terminal import columns, tell, wrapped
from kinetics.humanize import duration_text, size
from kinetics.run.listener import Listener
from kinetics.run.messages import pause_in_short

if TYPE_CHECKING:
    from kinetics.annotations.published import ProgressCallback
    from kinetics.run.listener import ShowProgress
    from kinetics.run.options import Options
    from kinetics.run.progress import RunProgress
    from kinetics.run.result import RunResult

BAR = "{desc} {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} {elapsed}{postfix}"
PAUSED_BAR = "{desc} {n_fmt}/{total_fmt}{postfix}"
SHORTEST_BAR = 5
"""Columns that the bar itself keeps; what does not fit beside it is left out."""
LOG_INTERVAL_S = 30.0
"""Seconds between two lines of progress where standard error is not a terminal."""


class ProgressBar:
    """A bar with the progress of a run: clips done, gone, not offered and failed, remaining time, speed; or a pause.

    `done` and `failed` are the words for these two.
    """

    def __init__(self, bar: tqdm[None], *, done: str = "done", failed: str = "failed") -> None:
        self._bar = bar
        self._done, self._failed = done, failed

    def show(self, progress: RunProgress) -> None:
        """Show the progress; where nothing has ended since the last time, move the clock on, if there is a terminal."""
        terminal, news = sys.stderr.isatty(), progress.ended - self._bar.n
        if news or terminal:
            self._set_postfix(progress)
        if news:
            self._bar.update(news)
        elif terminal:
            self._bar.refresh()

    def _set_postfix(self, progress: RunProgress) -> None:
        """Set the text beside the bar, or instead of it in a pause: as much, in order of importance, as fits."""
        width = columns(sys.stderr)
        counts = f"{self._bar.desc} {self._bar.total}/{self._bar.total}, "
        room = math.inf if width is None else width - len(counts)
        if progress.pause and progress.paused_until:
            left_s = math.ceil(progress.pause_left_s)
            self._bar.bar_format = PAUSED_BAR
            text = f"{left_s // 60}:{left_s % 60:02} {pause_in_short(progress.pause, progress.paused_until)}"
            text = text if len(text) <= room else text.partition(" (")[0]
        else:
            self._bar.bar_format = BAR
            room -= len(" 100%|| 00:00:00") + SHORTEST_BAR
            text = ""
            for part in self._parts(progress):
                longer = f"{text}, {part}" if text else part
                text = longer if len(longer) <= room or not text else text
        self._bar.set_postfix_str(text, refresh=False)

    def _parts(self, now: RunProgress) -> Iterator[str]:
        numbers = (
            (now.done, self._done),
            (now.gone, "gone"),
            (now.not_offered, "not offered"),
            (now.failed, self._failed),
        )
        yield ", ".join(f"{number} {what}" for number, what in numbers if number or what == self._done)
        if now.ended and now.left and now.left_s is not None:
            yield f"{duration_text(now.left_s)} left"
        if now.allowed_an_hour:
            yield f"about {now.allowed_an_hour:,.0f} an hour"
        if now.bytes_a_second:
            yield f"{now.bytes_a_second / 1e6:.1f} MB/s"
        if now.read:
            yield f"{size(now.read)} of {size(now.to_read)} read"


class Terminal(Listener):
    """Prints what a run says, and shows its progress as a bar with the lines above it."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._bar: tqdm[None] | None = None
        self._loading: tqdm[None] | None = None

    def tell(self, text: str) -> None:
        """Print to standard output."""
        tell(text)

    def notice(self, text: str) -> None:
        """Print to standard error, above the bar."""
        if self._bar is not None:
            width = columns(sys.stderr)
            self._bar.write(text if width is None else wrapped(text, width), file=sys.stderr)
            return
        if self._loading is not None and sys.stderr.isatty():
            self._loading.clear()
        tell(text, sys.stderr)

    def warn(self, text: str) -> None:
        """Print to standard error, and call it a warning."""
        self.notice(f"warning: {text}")

    @contextmanager
    def loading(self) -> Iterator[ProgressCallback]:
        """Show how much of the annotations has come, if that takes a while."""
        with tqdm(desc="annotations", unit="B", unit_scale=True, delay=0.5, leave=False) as bar:

            def progress(done: int, total: int | None) -> None:
                bar.total = total
                bar.update(done - bar.n)

            self._loading = bar
            try:
                yield progress
            finally:
                self._loading = None

    @contextmanager
    def showing(self, what: str, total: int, *, done: str = "done", failed: str = "failed") -> Iterator[ShowProgress]:
        """Show a bar."""
        with make_bar(what, total) as bar:
            self._bar = bar
            try:
                yield ProgressBar(bar, done=done, failed=failed).show
            finally:
                self._bar = None

    def ended(self, result: RunResult) -> None:
        """Print the summary."""
        tell(summary(self._options, result.layout, result.plan, result.counts, result.ledgers))


class _LineWriter:
    """Standard error where it is not a terminal: each state of the bar becomes a line of its own."""

    def write(self, text: str) -> None:
        if line := text.strip("\r\n "):
            sys.stderr.write(line + "\n")

    def flush(self) -> None:
        sys.stderr.flush()


def make_bar(what: str, total: int) -> tqdm[None]:
    """Return a bar for `total` items; nothing is shown where there are none."""
    terminal = sys.stderr.isatty()
    tqdm.monitor_interval = 0  # its thread would take signals, and `refresh` does its work
    return tqdm(
        total=total,
        desc=what,
        bar_format=BAR,
        file=sys.stderr if terminal else _LineWriter(),
        dynamic_ncols=terminal,
        mininterval=0.1 if terminal else LOG_INTERVAL_S,
        miniters=1,
        disable=not total,
    )
