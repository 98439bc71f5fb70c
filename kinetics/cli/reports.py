"""The report as a command: once, or again and again while a run is at work."""

from __future__ import annotations

import math
import socket
import time
from collections.abc import Sequence
from pathlib import Path

from kinetics.cli.terminal import tell
from kinetics.report.collect import LiveReport, collect
from kinetics.report.model import LiveState, Report
from kinetics.report.text import report_lines
from kinetics.run.context import Context
from kinetics.run.options import Options
from kinetics.storage.layout import Layout
from kinetics.storage.locks import is_at_work
from kinetics.storage.status_file import RunStatus, alive, statuses
from kinetics.storage.table_sync import readable_tables

REFRESH_EVERY_S = 5.0
"""Shortest time in seconds from one refresh of a page to the next. Less takes more of the machine from the run."""
REST_FACTOR = 9
"""The wait after a refresh, in multiples of its duration, so that the report is at work a tenth of the time at most."""
LOOK_EVERY_S = 1.0
"""Seconds after which it is seen that the run has ended."""


def report(options: Options, context: Context) -> int:
    """Tell how the download has gone so far, in figures and as a page, which is kept fresh while a run is at work."""
    layout, subsets, frame = context.layout, context.subsets, context.annotations.frame
    began, at_work = time.monotonic(), is_at_work(layout, subsets)
    with readable_tables(layout, subsets, at_work=at_work) as tables:
        live = LiveReport(tables, subsets, frame, options.cut)
        page = _LivePage(context, live.refresh())
        if not at_work:
            _tell(page.report, page.write_once(tables))
            return 0
        try:
            _tell(page.report, page.write_at_work(began))
            tell("a run is at work: this page is kept fresh, and reloads itself, until the run ends; Ctrl-C stops that")
            while page.wait_while_at_work():
                began = time.monotonic()
                page.report = live.refresh()
                page.write_at_work(began)
            page.report = live.refresh()
        except KeyboardInterrupt:
            page.write_left()
            tell("this page is not kept fresh any more; the run goes on")
            return 0
    if layout.url:  # the run has uploaded its tables, and removed those that it wrote here
        with readable_tables(layout, subsets) as tables:
            page.report = collect(tables, subsets, frame, options.cut)
    page.write_ended()
    tell(f"the run has ended: {next(report_lines(page.report))}")
    return 0


def _tell(found: Report, paths: Sequence[Path]) -> None:
    tell("\n".join([*report_lines(found), *map(str, paths)]))


class _LivePage:
    """The page of a report, with what it says of the run beside it."""

    def __init__(self, context: Context, report: Report) -> None:
        from kinetics.report.page import PageWriter  # noqa: PLC0415 - brings matplotlib and jinja2

        self.report = report
        self._layout, self._subsets = context.layout, context.subsets
        self._writer = PageWriter(context.layout)
        self._runs: list[RunStatus] = []
        self._due = 0.0

    def write_once(self, tables: Layout) -> list[Path]:
        """Write a page that is not written again; a run on another machine may be known by its status file."""
        elsewhere = [one for one in alive(statuses(tables, self._subsets)) if one.host != socket.gethostname()]
        return self._writer.write(self.report, LiveState("at work", elsewhere) if elsewhere else None)

    def write_at_work(self, began: float) -> list[Path]:
        """Write the page of a refresh that began at a time (monotonic seconds), and decide when the next is due."""
        self._runs = alive(statuses(self._layout, self._subsets))
        spent_s = time.monotonic() - began
        interval_s = max(REFRESH_EVERY_S, spent_s * (REST_FACTOR + 1))
        paths = self._writer.write(self.report, LiveState("at work", self._runs, math.ceil(interval_s)))
        spent_s = time.monotonic() - began
        self._due = began + max(REFRESH_EVERY_S, spent_s * (REST_FACTOR + 1))
        return paths

    def wait_while_at_work(self) -> bool:
        """Wait until the next refresh is due; return False as soon as no run is at work."""
        while at_work := is_at_work(self._layout, self._subsets):
            left_s = self._due - time.monotonic()
            if left_s <= 0:
                break
            time.sleep(min(left_s, LOOK_EVERY_S))
        return at_work

    def write_left(self) -> None:
        """Write the last page of a report that stops before the run does."""
        self._writer.write(self.report, LiveState("left", self._runs))

    def write_ended(self) -> None:
        """Write the page after the run, with what its status file last said."""
        known = {(one.host, one.pid) for one in self._runs}
        ended = [one for one in statuses(self._layout, self._subsets) if (one.host, one.pid) in known]
        self._writer.write(self.report, LiveState("ended", ended))
