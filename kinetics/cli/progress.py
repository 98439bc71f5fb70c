"""The progress bar of a run, and the lines above it."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from tqdm import tqdm

from kinetics.cli.messages import pause_in_short
from kinetics.cli.run_counts import RunCounts
from kinetics.cli.terminal import columns, wrapped
from kinetics.humanize import duration_text, one_line, size
from kinetics.records import ArchiveProgress, Category, Outcome
from kinetics.scheduling.events import Pause, SpacingChanged

if TYPE_CHECKING:
    from kinetics.scheduling.dispatch import Event

BAR = "{desc} {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} {elapsed}{postfix}"
PAUSED_BAR = "{desc} {n_fmt}/{total_fmt}{postfix}"
SHORTEST_BAR = 5
"""Columns that the bar itself keeps; what does not fit beside it is left out."""
LOG_INTERVAL_S = 30.0
"""Seconds between two lines of progress where standard error is not a terminal."""
MAX_SHOWN = 20
"""Failed clips that are named on the terminal, for each subset; the tables name them all."""


class _Clock:
    """The times of a run: how long it has been at work, and how long what is left will take, pauses included."""

    def __init__(self) -> None:
        self._began = self._counted = self._paused_from = self._paused_until = time.monotonic()
        self._earlier_pauses_s = 0.0

    def count(self) -> None:
        """Take in that a clip has ended now."""
        self._counted = time.monotonic()

    def pause(self, seconds: float) -> None:
        """Take in that a pause begins now; it may replace one that is not over."""
        now = time.monotonic()
        self._earlier_pauses_s += max(0.0, min(now, self._paused_until) - self._paused_from)
        self._paused_from, self._paused_until = now, now + seconds

    @property
    def pause_left_s(self) -> float:
        return max(0.0, self._paused_until - time.monotonic())

    @property
    def active_s(self) -> float:
        """Seconds since the beginning, without pauses."""
        now = time.monotonic()
        paused_s = self._earlier_pauses_s + min(now, self._paused_until) - self._paused_from
        return max(1e-3, now - self._began - paused_s)

    def left_s(self, ended: int, left: int) -> float:
        """Return the seconds until `left` more clips have ended, at the rate of those that have.

        The rate is that of the moment in which the last clip ended, or will be able to go on: so a pause adds its
        length once, and the time counts down while it lasts.
        """
        at = max(self._counted, self._paused_until)
        return max(0.0, (at - self._began) * left / ended + at - time.monotonic())


class ProgressBar:
    """The bar of a run: clips done, gone, not offered and failed, remaining time and speed; or the pause that it is in.

    `provisional`: what the mirror lacks is still to be asked for elsewhere. `to_read`: bytes of the mirror's archives.
    `done` and `failed` are the words for these two.
    """

    def __init__(
        self,
        bar: tqdm[None],
        counts: RunCounts,
        *,
        provisional: bool = False,
        to_read: int = 0,
        done: str = "done",
        failed: str = "failed",
    ) -> None:
        self._bar = bar
        self._counts = counts
        self._done, self._failed = done, failed
        self._provisional = provisional
        self._to_read = to_read
        self._clock = _Clock()
        self._pause = self._spread = ""
        self._bytes = 0
        self._positions = dict[str, int]()
        self._read = 0

    def show(self, outcome: Outcome) -> None:
        """Count an attempt; a postponed clip is still to come."""
        self._bytes += outcome.bytes_received if outcome.source == "youtube" else 0
        self._counts.take(outcome)
        if outcome.status != "postponed":
            self._clock.count()
        self._update()

    def show_still_gone(self, outcome: Outcome) -> None:
        """Count a clip that keeps an earlier outcome, as its video is still gone."""
        self._counts.still_gone += 1
        self.show(outcome)

    def show_archive(self, archive: ArchiveProgress) -> None:
        """Count what has arrived of an archive."""
        arrived = archive.position - self._positions.get(archive.url, 0)
        self._positions[archive.url] = archive.position
        self._read += arrived
        self._bytes += max(0, arrived)  # an archive may have been restarted
        self._update()
        self.refresh()

    def pause(self, event: Pause) -> None:
        """Show a pause of everybody, until it is over; that of one host among several is no pause of the run."""
        if not event.host:
            self._clock.pause(event.seconds)
            self._pause = pause_in_short(event, datetime.now() + timedelta(seconds=event.seconds))
            self._set_postfix()
            self.refresh()

    def spread(self, event: SpacingChanged) -> None:
        """Show that clips are spread over time, so that nobody takes the bar for stuck; not for one host of several."""
        if not event.host:
            self._spread = f"about {3600 / event.seconds:,.0f} an hour" if event.seconds else ""

    def say(self, text: str) -> None:
        """Print a line above the bar."""
        width = columns(sys.stderr)
        self._bar.write(text if width is None else wrapped(text, width), file=sys.stderr)

    def refresh(self) -> None:
        """Move the clock on while nothing happens."""
        if sys.stderr.isatty():
            self._set_postfix()
            self._bar.refresh()

    def _update(self) -> None:
        self._set_postfix()
        counts = self._counts.counts
        self._bar.update(counts.total() - self._lacking - self._bar.n)

    @property
    def _lacking(self) -> int:
        """Clips that the mirror lacks, and that are still to be asked for elsewhere."""
        return self._counts.counts[Category.NOT_FOUND] if self._provisional else 0

    def _set_postfix(self) -> None:
        """Set the text beside the bar, or instead of it in a pause: as much, in order of importance, as fits."""
        width = columns(sys.stderr)
        counts = f"{self._bar.desc} {self._bar.total}/{self._bar.total}, "
        room = math.inf if width is None else width - len(counts)
        if left_s := math.ceil(self._clock.pause_left_s):
            self._bar.bar_format = PAUSED_BAR
            text = f"{left_s // 60}:{left_s % 60:02} {self._pause}"
            text = text if len(text) <= room else text.partition(" (")[0]
        else:
            self._bar.bar_format = BAR
            room -= len(" 100%|| 00:00:00") + SHORTEST_BAR
            text = ""
            for part in self._parts():
                longer = f"{text}, {part}" if text else part
                text = longer if len(longer) <= room or not text else text
        self._bar.set_postfix_str(text, refresh=False)

    def _parts(self) -> Iterator[str]:
        counts = self._counts.counts
        done, gone, not_offered = counts[None], self._counts.gone - self._lacking, counts[Category.NOT_OFFERED]
        ended = counts.total() - self._lacking
        failed = ended - done - gone - not_offered
        numbers = ((done, self._done), (gone, "gone"), (not_offered, "not offered"), (failed, self._failed))
        yield ", ".join(f"{number} {what}" for number, what in numbers if number or what == self._done)
        if ended and ended < self._bar.total:
            yield f"{duration_text(self._clock.left_s(ended, self._bar.total - ended))} left"
        if self._spread:
            yield self._spread
        if speed := self._bytes / 1e6 / self._clock.active_s:
            yield f"{speed:.1f} MB/s"
        if self._read:
            yield f"{size(self._read)} of {size(max(self._read, self._to_read))} read"


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


def shown(
    what: str, total: int, events: Iterable[Event], *, done: str = "done", failed: str = "failed"
) -> Iterator[Outcome]:
    """Yield the outcomes among the events, counted on a bar as they come; the first failures are named.

    `done` and `failed` are the bar's words for what came of them.
    """
    failures = 0
    with make_bar(what, total) as bar:
        progress = ProgressBar(bar, RunCounts(), done=done, failed=failed)
        for event in events:
            if not isinstance(event, Outcome):
                progress.refresh()
                continue
            progress.show(event)
            failures += event.status == "failed"
            if event.status == "failed" and failures <= MAX_SHOWN:
                progress.say(f"{event.clip}: {one_line(event.reason)}")
            yield event
