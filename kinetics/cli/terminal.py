"""The terminal: signals that stop a run, output streams that outlive their reader, the progress bar."""

from __future__ import annotations

import io
import os
import signal
import sys
import time
from collections.abc import Iterable, Iterator
from types import FrameType
from typing import TYPE_CHECKING

from tqdm import tqdm

from kinetics.cli.run_counts import RunCounts
from kinetics.humanize import one_line, size
from kinetics.records import ArchiveProgress, Category, Outcome

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

    from kinetics.scheduling.dispatch import Event

BAR = "{desc} {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} {elapsed}<{remaining}{postfix}"
"""Short enough for 80 columns: the counts matter more than the bar."""
LOG_INTERVAL_S = 30.0
"""Seconds between two lines of progress where standard error is not a terminal."""
MAX_SHOWN = 20
"""Failed clips that are named on the terminal, for each subset; the tables name them all."""


class StopSignals:
    """Makes Ctrl-C, a closed terminal and `kill` end the run in the same orderly way, once."""

    SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __init__(self) -> None:
        self.received = False

    def listen(self) -> None:
        for each in self.SIGNALS:
            if signal.getsignal(each) is not signal.SIG_IGN:  # as nohup leaves it
                signal.signal(each, self._stop)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        for each in self.SIGNALS:
            signal.signal(each, signal.SIG_IGN)
        self.received = True
        raise KeyboardInterrupt


class LossyStream(io.FileIO):
    """Standard output or error. Where its pipe or terminal is gone, or the log's disk full, the download goes on."""

    def write(self, words: ReadableBuffer, /) -> int:
        try:
            return super().write(words)
        except OSError:
            return len(bytes(words))  # dropped


def keep_stdio_alive() -> None:
    """Make standard output and error outlive their reader, and print any character of any path in some form."""
    while (spare := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass  # the shell closed one (`>&-`): a table would take its number, and get what is printed
    os.close(spare)
    sys.stdout, sys.stderr = (
        io.TextIOWrapper(
            io.BufferedWriter(LossyStream(number, "w", closefd=False)), errors="backslashreplace", line_buffering=True
        )
        for number in (1, 2)
    )


class ProgressBar:
    """The bar of a run: clips done, gone, not offered and failed, speed and remaining time.

    `provisional`: what the mirror lacks is still to be asked for elsewhere. `to_read`: bytes of the mirror's archives.
    """

    def __init__(self, bar: tqdm[None], counts: RunCounts, *, provisional: bool = False, to_read: int = 0) -> None:
        self._bar = bar
        self._counts = counts
        self._provisional = provisional
        self._to_read = to_read
        self._began = time.monotonic()
        self._bytes = 0
        self._positions = dict[str, int]()
        self._read = 0

    def show(self, outcome: Outcome) -> None:
        """Count an attempt; a postponed clip is still to come."""
        self._bytes += outcome.bytes_received if outcome.source == "youtube" else 0
        self._counts.take(outcome)
        self._update()

    def show_archive(self, archive: ArchiveProgress) -> None:
        """Count what has arrived of an archive."""
        arrived = archive.position - self._positions.get(archive.url, 0)
        self._positions[archive.url] = archive.position
        self._read += arrived
        self._bytes += max(0, arrived)  # an archive may have been restarted
        self._update()
        self.refresh()

    def _update(self) -> None:
        counts = self._counts.counts
        lacking = counts[Category.NOT_FOUND] if self._provisional else 0
        done, gone, not_offered = counts[None], self._counts.gone - lacking, counts[Category.NOT_OFFERED]
        failed = counts.total() - done - gone - not_offered - lacking
        text = f"{done} done, {gone} gone, "
        text += (f"{not_offered} not offered, " if not_offered else "") + f"{failed} failed"
        speed = self._bytes / 1e6 / max(time.monotonic() - self._began, 1e-3)
        text += f", {speed:.1f} MB/s" if speed else ""
        if self._read:
            text += f", {size(self._read)} of {size(max(self._read, self._to_read))} read"
        self._bar.set_postfix_str(text, refresh=False)
        self._bar.update(counts.total() - lacking - self._bar.n)

    def say(self, text: str) -> None:
        """Print a line above the bar."""
        self._bar.write(text, file=sys.stderr)

    def refresh(self) -> None:
        """Move the clock on while nothing happens."""
        if sys.stderr.isatty():
            self._bar.refresh()


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
        smoothing=0,  # pauses belong to the speed: an estimate without them would promise too much
        file=sys.stderr if terminal else _LineWriter(),
        dynamic_ncols=terminal,
        mininterval=0.1 if terminal else LOG_INTERVAL_S,
        miniters=1,
        disable=not total,
    )


def shown(what: str, total: int, events: Iterable[Event]) -> Iterator[Outcome]:
    """Yield the outcomes among the events, counted on a bar as they come; the first failures are named."""
    failures = 0
    with make_bar(what, total) as bar:
        progress = ProgressBar(bar, RunCounts())
        for event in events:
            if not isinstance(event, Outcome):
                progress.refresh()
                continue
            progress.show(event)
            failures += event.status == "failed"
            if event.status == "failed" and failures <= MAX_SHOWN:
                progress.say(f"{event.clip}: {one_line(event.reason)}")
            yield event
