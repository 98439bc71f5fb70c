"""A report as lines of text for the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kinetics.humanize import counted, duration_text, one_line, percent, size
from kinetics.report.model import Completeness, Duration, Reason, Report, Space
from kinetics.report.timeline import PAUSE_CAUSES

MAX_LISTED = 10
"""Classes, and reasons, that the terminal lists; the CSV files have all of them."""


def report_lines(report: Report) -> Iterator[str]:
    """Yield a report as lines of text."""
    yield f"{report.title}: {_on_disk(report.total)}"
    yield f"  {_missing(report.total)}"
    for one in report.subsets:
        yield f"  {one.name}: {_on_disk(one)}"
        yield f"    {_missing(one)}"
    yield from _reason_lines(report.reasons)
    if report.gone_everywhere:
        yield f"  {report.gone_everywhere:8,}  of these are gone from YouTube, and the mirror has no complete copy"
    yield from _duration_lines(report.durations)
    yield from _time_lines(report)
    yield from _space_lines(report.space)
    yield from _call_lines(report)
    if report.clips_to_fetch:
        estimate, clips = report.estimate, counted(report.clips_to_fetch, "clip")
        needed = f"about {size(estimate.size)} and {duration_text(estimate.seconds)} ({estimate.calls_text})"
        yield f"still to fetch: {clips}, {needed}, from {estimate.basis}"
    yield from _attempt_lines(report)
    yield from _class_lines([one for one in report.classes if one.missing])


def _on_disk(one: Completeness) -> str:
    return f"{one.on_disk:,} of {counted(one.wanted, 'clip')} on disk ({percent(one.share)})"


def _missing(one: Completeness) -> str:
    not_offered = f"{one.not_offered:,} not offered, " if one.not_offered else ""
    return f"{one.gone:,} gone, {not_offered}{one.may_work:,} may work later, {one.never_tried:,} not tried yet"


def _reason_lines(reasons: Sequence[Reason]) -> Iterator[str]:
    if reasons:
        yield "clips by the reason why they are missing:"
    for one in reasons[:MAX_LISTED]:
        yield f"  {one.clips:8,}  {one.category:14}  {one_line(one.text)}"
    yield from _rest(len(reasons), "reason", "reasons")


def _duration_lines(durations: Sequence[Duration]) -> Iterator[str]:
    if not durations:
        return
    yield "seconds per clip:   mean   median       max   mean and max without outliers"
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
    active, overall = counted(round(timeline.per_hour), "clip"), f"{timeline.per_hour_overall:,.0f}"
    yield f"  {active} an hour while active, {overall} with the pauses of runs"
    if report.durations:
        yield f"  one worker alone would have taken {duration_text(report.durations[-1].total_s)}"
    if sessions := report.refused_sessions:
        often = "once" if len(sessions) == 1 else counted(len(sessions), "time")
        least, most = min(one.attempts for one in sessions), max(one.attempts for one in sessions)
        yield f"  YouTube refused {often}, after {'' if least == most else f'{least:,} to '}{counted(most, 'attempt')}"


def _space_lines(space: Space) -> Iterator[str]:
    about = "" if space.clips_measured == space.clips else "about "
    free = "" if space.bytes_free is None else f", {size(space.bytes_free)} free"
    yield f"space: {about}{size(space.bytes_on_disk)} of clips on disk, {size(space.bytes_received)} received{free}"
    if space.clips:
        yield f"  {size(space.bytes_per_clip)} per clip"


def _call_lines(report: Report) -> Iterator[str]:
    if report.calls.calls:
        yield f"{report.calls}"
        yield f"  {report.calls_an_hour}"


def _attempt_lines(report: Report) -> Iterator[str]:
    if report.attempts:
        postponed = f"; in {report.postponed:,} of them the server refused, or could not be reached"
        yield f"{counted(report.attempts, 'attempt')}{postponed if report.postponed else ''}:"
    for one in report.origins:
        failed = "" if one.failed is None else f", {one.failed:,} failed"
        yield f"  {one.kind} {one_line(one.name)}: {one.done:,} done{failed}"


def _class_lines(incomplete: Sequence[Completeness]) -> Iterator[str]:
    if incomplete:
        yield "least complete classes:"
    for one in incomplete[:MAX_LISTED]:
        yield f"  {percent(one.share):>8} of {one.wanted:6,}  {one_line(one.name)}"
    yield from _rest(len(incomplete), "class", "classes")


def _rest(count: int, one: str, several: str) -> Iterator[str]:
    if count > MAX_LISTED:
        yield f"  and {counted(count - MAX_LISTED, f'more {one}', f'more {several}')}"
