"""A report as lines of text for the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kinetics.humanize import duration_text, one_line, percent, size
from kinetics.report.model import Completeness, Duration, Reason, Report, Space
from kinetics.report.timeline import PAUSE_CAUSES

MAX_LISTED = 10
"""Classes, and reasons, that the terminal lists; the CSV files have all of them."""


def report_lines(report: Report) -> Iterator[str]:
    """Yield a report as lines of text."""
    total = report.total
    yield f"{report.title}: {total.on_disk:,} of {total.wanted:,} clips on disk ({percent(total.share)})"
    not_offered = f"{total.not_offered:,} not offered, " if total.not_offered else ""
    yield f"  {total.gone:,} gone, {not_offered}{total.may_work:,} may work later, {total.never_tried:,} not tried yet"
    if len(report.splits) > 1:
        yield from (f"  {split.name}: {split.on_disk:,} of {split.wanted:,}" for split in report.splits)
    yield from _reason_lines(report.reasons)
    if report.gone_everywhere:
        yield f"  {report.gone_everywhere:8,}  of these are gone from YouTube, and the mirror has no complete copy"
    yield from _duration_lines(report.durations)
    yield from _time_lines(report)
    yield from _space_lines(report.space)
    if report.clips_to_fetch:
        estimate = f"about {size(report.estimate.size)} and {duration_text(report.estimate.seconds)}"
        yield f"still to fetch: {report.clips_to_fetch:,} clips, {estimate}, from {report.estimate.basis}"
    for origin in report.origins:
        yield f"{origin.kind} {one_line(origin.name)}: {origin.done:,} done, {origin.failed:,} failed"
    yield from _class_lines([one for one in report.classes if one.missing])


def _reason_lines(reasons: Sequence[Reason]) -> Iterator[str]:
    if reasons:
        yield "why clips are missing:"
    for one in reasons[:MAX_LISTED]:
        yield f"  {one.clips:8,}  {one.category:14}  {one_line(one.text)}"
    yield from _rest(len(reasons), "reasons")


def _duration_lines(durations: Sequence[Duration]) -> Iterator[str]:
    if not durations:
        return
    yield "seconds per clip:   mean   median       max   mean and max without outliers (above Q3 + 1.5 IQR)"
    for one in durations:
        figures = f"{one.mean_s:10.2f} {one.median_s:8.2f} {one.max_s:9.2f}"
        yield f"  {one.step:10} {figures} {one.mean_within_s:8.2f} {one.max_within_s:9.2f}"
    shares = (f"{one.step} for {percent(one.clips_longest / one.clips)}" for one in durations[:-1])
    yield f"  the longest step: {', '.join(shares)} of the clips"


def _time_lines(report: Report) -> Iterator[str]:
    timeline = report.timeline
    if not timeline.begin:
        return
    yield f"time: {duration_text(timeline.span_s)} in total, {duration_text(timeline.active_s)} active"
    for cause, words in PAUSE_CAUSES.items():
        if paused_s := timeline.paused_s(cause):
            yield f"  {duration_text(paused_s)} paused: {words}"
    active, overall = f"{timeline.per_hour:,.0f}", f"{timeline.per_hour_overall:,.0f}"
    yield f"  {active} clips an hour while active, {overall} with the pauses of runs"
    if report.durations:
        yield f"  one worker alone would have taken {duration_text(report.durations[-1].total_s)}"
    if report.refusals:
        yield f"  {report.refusals}"


def _space_lines(space: Space) -> Iterator[str]:
    about = "" if space.clips_measured == space.clips else "about "
    free = "" if space.bytes_free is None else f", {size(space.bytes_free)} free"
    yield f"space: {about}{size(space.bytes_on_disk)} of clips on disk, {size(space.bytes_received)} received{free}"
    if space.clips:
        yield f"  {size(space.bytes_per_clip)} per clip"


def _class_lines(incomplete: Sequence[Completeness]) -> Iterator[str]:
    if incomplete:
        yield "least complete classes:"
    for one in incomplete[:MAX_LISTED]:
        yield f"  {percent(one.share):>8} of {one.wanted:6,}  {one_line(one.name)}"
    yield from _rest(len(incomplete), "classes")


def _rest(count: int, what: str) -> Iterator[str]:
    if count > MAX_LISTED:
        yield f"  and {count - MAX_LISTED:,} more {what}"
