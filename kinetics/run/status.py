"""Writes the status file of a run, so that one can watch it from elsewhere."""

from __future__ import annotations

import math
import os
import socket
import time
from collections.abc import Mapping
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING

from kinetics import __version__
from kinetics.humanize import without_password
from kinetics.run.context import Context
from kinetics.run.messages import why_stopped
from kinetics.run.progress import ProgressTracker, RunProgress
from kinetics.scheduling.awake_clock import shared_time
from kinetics.scheduling.call_pace import Pacing
from kinetics.storage.status_file import (
    FORMAT,
    STATUS,
    RunState,
    RunStatus,
    StatusCalls,
    StatusCounts,
    StatusPause,
    write_status,
)
from kinetics.storage.table_sync import SYNC_INTERVAL_S

if TYPE_CHECKING:
    from kinetics.run.result import RunResult

STATUS_EVERY_S = 5.0
"""Seconds between two writes. With fewer, the run spends more time on them; with more, one learns of a pause later."""
FAILED, INTERRUPTED = 2, 130
"""The exit codes of a run that an error has ended, and of one that was interrupted."""


class StatusWriter:
    """Writes the status file of a run every few seconds, and when it pauses and ends.

    Nothing is written before `begin`. That the file cannot be written does not end the run: where the disk is full, the
    tables will.
    """

    def __init__(self, context: Context) -> None:
        self._layout, self._listener = context.layout, context.listener
        self.path = self._layout.table(context.options.subset, STATUS)
        self._title = self._layout.title(context.options.subset)
        self._partial = context.own_folder
        self._tracker: ProgressTracker | None = None
        self._paces: Mapping[str, Pacing] = {}
        self._started = datetime.now().astimezone()
        self._due = -math.inf
        self._warned = False
        self.result: RunResult | None = None
        """What the run has come to, once that is known."""

    def begin(self, tracker: ProgressTracker, paces: Mapping[str, Pacing]) -> None:
        """Write the first status. `paces`: what is known of the player calls of each address; some may come later."""
        self._tracker, self._paces = tracker, paces
        self.write()

    def write_if_due(self) -> None:
        """Write the status if the last one is some seconds old."""
        if time.monotonic() >= self._due:
            self.write()

    def write(self, exit_code: int | None = None, why: str = "") -> None:
        """Write the status; one with an exit code says that the run has ended."""
        if not self._tracker:
            return
        self._due = time.monotonic() + STATUS_EVERY_S
        try:
            write_status(self.path, self._status(self._tracker, exit_code, why), self._partial)
        except OSError as error:
            if not self._warned:
                self._listener.warn(
                    f"{self.path} cannot be written: {error.strerror or error}. The run goes on without it"
                )
            self._warned = True

    def ended(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Write how the run has ended; an error, or an interrupt, is the last word."""
        if error is not None:
            interrupted = not isinstance(error, Exception)
            self.write(*((INTERRUPTED, "interrupted") if interrupted else (FAILED, str(error))))
        elif self.result:
            self.write(self.result.exit_code, why_stopped(self.result.gave_up) if self.result.gave_up else "")

    def _status(self, tracker: ProgressTracker, exit_code: int | None, why: str) -> RunStatus:
        now, clock = tracker.progress, shared_time()
        state: RunState = "ended" if exit_code is not None else "paused" if now.pause else "running"
        calls = [StatusCalls(without_password(address), *pace.calls(clock)) for address, pace in [*self._paces.items()]]
        return RunStatus(
            format=FORMAT,
            program=__version__,
            title=self._title,
            pid=os.getpid(),
            host=socket.gethostname(),
            started=self._started,
            written=datetime.now().astimezone(),
            interval_s=SYNC_INTERVAL_S if self._layout.url else STATUS_EVERY_S,
            state=state,
            exit_code=exit_code,
            why=why,
            counts=StatusCounts(
                wanted=now.wanted,
                on_disk=now.on_disk,
                todo=now.todo,
                done=now.done,
                gone=now.gone,
                not_offered=now.not_offered,
                failed=now.failed,
                left=now.left,
                by_category={str(one): count for one, count in tracker.counts.counts.items() if one and count},
            ),
            clips_an_hour=round(now.clips_an_hour, 1),
            bytes_a_second=round(now.bytes_a_second, 1),
            pause=_pause(now) if state == "paused" else None,
            calls=calls,
            left_s=None if exit_code is not None or now.left_s is None else round(now.left_s, 1),
            basis=now.basis if exit_code is None else "",
        )


def _pause(now: RunProgress) -> StatusPause | None:
    if not (now.pause and now.paused_until):
        return None
    return StatusPause(now.paused_until.astimezone(), str(now.pause.category), now.pause.reason, now.pause.server)
