"""A report as lines of text for the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kinetics.humanize import duration_text, one_line, percent, size
from kinetics.report.model import Completeness, Duration, Reason, Report, Space
from kinetics.report.timeline import CAUSES

WORST = 10
"""Classes and reasons that the terminal shows."""


def report_lines(report: Report) -> Iterator[str]:
    """Yield a report as lines of text."""
    total = report.total
    yield f"{report.title}: {total.here:,} of {total.wanted:,} clips are here ({percent(total.share)})"
    yield f"  {total.gone:,} gone, {total.may_work:,} may work later, {total.untried:,} not tried yet"
    if len(report.splits) > 1:
        yield from (f"  {split.name}: {split.here:,} of {split.wanted:,}" for split in report.splits)
    yield from _lines_on_reasons(report.reasons)
    if report.neither:
        yield f"  {report.neither:8,}  of these are gone from YouTube, and the mirror has no whole copy either"
    yield from _lines_on_durations(report.durations)
    yield from _lines_on_time(report)
    yield from _lines_on_space(report.space)
    if report.to_try:
        much, long = size(report.to_go.size), duration_text(report.to_go.seconds)
        yield f"to go: {report.to_try:,} clips, about {much} and {long}, by {report.to_go.basis}"
    for source in report.sources:
        yield f"{source.kind} {one_line(source.name)}: {source.done:,} done, {source.failed:,} failed"
    yield from _lines_on_classes([one for one in report.classes if one.missing])


def _lines_on_reasons(reasons: Sequence[Reason]) -> Iterator[str]:
    if reasons:
        yield "why clips are missing:"
    for one in reasons[:WORST]:
        yield f"  {one.clips:8,}  {one.category:14}  {one_line(one.words)}"
    yield from _more(len(reasons), "reasons")


def _lines_on_durations(durations: Sequence[Duration]) -> Iterator[str]:
    if not durations:
        return
    yield "seconds a clip:     mean   median       max   mean and max within the fence (Q3 + 1.5 IQR)"
    for one in durations:
        figures = f"{one.mean_s:10.2f} {one.median_s:8.2f} {one.max_s:9.2f}"
        yield f"  {one.step:10} {figures} {one.mean_within_s:8.2f} {one.max_within_s:9.2f}"
    shares = (f"{one.step} for {percent(one.longest / one.clips)}" for one in durations[:-1])
    yield f"  the longest step: {', '.join(shares)} of the clips"


def _lines_on_time(report: Report) -> Iterator[str]:
    when = report.timeline
    if not when.begin:
        return
    yield f"time: {duration_text(when.span_s)} in all, {duration_text(when.working_s)} of it at work"
    for cause, words in CAUSES.items():
        if paused_s := when.paused_s(cause):
            yield f"  {duration_text(paused_s)} paused: {words}"
    yield f"  {when.per_hour:,.0f} clips an hour at work, {when.per_hour_overall:,.0f} with YouTube's pauses"
    if report.durations:
        yield f"  one after the other, the clips would have taken {duration_text(report.durations[-1].total_s)}"
    if report.refusals:
        yield f"  {report.refusals}"


def _lines_on_space(space: Space) -> Iterator[str]:
    about = "" if space.measured == space.clips else "about "
    free = "" if space.free is None else f", {size(space.free)} free"
    yield f"space: {about}{size(space.here)} in clips, {size(space.received)} received{free}"
    if space.clips:
        yield f"  {size(space.per_clip)} a clip"


def _lines_on_classes(worst: Sequence[Completeness]) -> Iterator[str]:
    if worst:
        yield "least complete classes:"
    for one in worst[:WORST]:
        yield f"  {percent(one.share):>8} of {one.wanted:6,}  {one_line(one.name)}"
    yield from _more(len(worst), "classes")


def _more(count: int, what: str) -> Iterator[str]:
    if count > WORST:
        yield f"  and {count - WORST:,} more {what}"
