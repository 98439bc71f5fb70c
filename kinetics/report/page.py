"""The report as a page: one HTML file that needs no network, and its tables as CSV files.

Labels, reasons and ids come from outside. The template engine escapes all of them, and the page's security policy
allows only its own script, by the script's hash.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterable
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from kinetics.errors import MayWorkLater
from kinetics.humanize import counted, duration_text, one_line, percent, size
from kinetics.media.convert import thumbnail
from kinetics.records import Category, PackedClip
from kinetics.report import plots
from kinetics.report.csv_tables import tables
from kinetics.report.model import Completeness, Duration, LiveState, PageState, Report, Sample
from kinetics.report.plots import SERIES, ChartPart, Colour
from kinetics.report.timeline import PAUSE_CAUSES, PauseCause, Timeline
from kinetics.storage.atomic import write_text
from kinetics.storage.layout import Layout
from kinetics.storage.ledger import outlook

TEMPLATES = Path(__file__).parent / "templates"
MAX_ROWS = 50
"""Rows of the page's tables of reasons, sessions and origins; the CSV files have all reasons and sessions."""
_NO_DURATION = Duration("", 0, 0.0, 0.0, 0.0, 0.0, 0, 0.0, 0.0, 0.0, 0, (), ())
STEP_COLOURS: dict[str, Colour] = {"resolve": "second", "download": "done", "cut": "third"}


PAGE_STATES: dict[PageState, str] = {
    "at work": "A run is at work.",
    "left": "A run was at work.",
    "ended": "The run has ended.",
}
"""What the page says where no status file says more."""


def write(report: Report, layout: Layout) -> list[Path]:
    """Write the page and its tables, and return their paths. Raises Fatal if one cannot be written."""
    return PageWriter(layout).write(report)


def render(report: Report, layout: Layout, csv_files: Iterable[Path] = ()) -> str:
    """Return the page's HTML. Its links to clips and CSV files work if it is stored next to the data set's folder."""
    return PageWriter(layout).render(report, csv_files)


class PageWriter:
    """Writes a page and its tables, as often as one asks; what did not change since is neither drawn nor written again.

    It keeps what it drew for the last page alone.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._drawn = dict[object, str]()
        self._thumbnails = dict[object, str]()
        self._written = dict[Path, str]()
        self._environment = Environment(
            loader=FileSystemLoader(TEMPLATES),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters |= {
            "count": "{:,}".format,
            "counted": counted,
            "percent": percent,
            "size": size,
            "duration": duration_text,
            "category_label": _category_label,
            "outlook": outlook,
            "one_line": one_line,
            "clock": _clock,
        }

    def write(self, report: Report, live: LiveState | None = None) -> list[Path]:
        """Write the page and its tables, and return their paths. Raises Fatal if one cannot be written."""
        layout = self._layout
        csv_files = {layout.table(report.subset, f"report_{name}.csv"): text for name, text in tables(report).items()}
        page = {layout.table(report.subset, "report.html"): self.render(report, csv_files, live)}
        for path, text in (page | csv_files).items():
            if self._written.get(path) != text:
                write_text(path, [text.encode("utf-8", "backslashreplace").decode()])  # a path may contain any bytes
        self._written = csv_files
        return [*page, *csv_files]

    def render(self, report: Report, csv_files: Iterable[Path] = (), live: LiveState | None = None) -> str:
        """Return the page's HTML."""
        script, style = ((TEMPLATES / f"report.{kind}").read_text("utf-8") for kind in ("js", "css"))
        pictures = self._pictures(report.samples)
        return self._environment.get_template("report.html").render(
            report=report,
            live=live,
            says=PAGE_STATES[live.state] if live else "",
            max_rows=MAX_ROWS,
            missing=_missing(report.total),
            categories=_categories(report.missing_by_category),
            longest_by_step=[(one.step, one.clips_longest, STEP_COLOURS[one.step]) for one in report.durations[:-1]],
            seconds_by_step=[(one.step, round(one.total_s), STEP_COLOURS[one.step]) for one in report.durations[:-1]],
            pauses=_pauses(report),
            best_hour=max(report.timeline.hours, key=lambda hour: hour.done, default=None),
            plots=self._plots(report),
            pictures=pictures,
            csv_files=[path.name for path in csv_files],
            undecodable=len(report.samples) - len(pictures),
            script=Markup(script),
            script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
            style=Markup(style),
        )

    def _plots(self, report: Report) -> dict[str, Markup]:
        """Return the plots by their names; only those whose looks have changed are drawn."""
        calls = _plot_calls(report)
        self._drawn = {call: self._drawn.get(call) or call() for call in calls.values()}
        return {name: Markup(self._drawn[call]) for name, call in calls.items()}

    def _pictures(self, samples: Iterable[Sample]) -> list[tuple[Sample, str, str]]:
        """Return each sample with its first frame and the link to its clip, without those that cannot be decoded."""
        found, thumbnails, layout = [], dict[object, str](), self._layout
        for sample in samples:
            with suppress(MayWorkLater, OSError):  # it may have been removed meanwhile
                packed = isinstance(sample.clip, PackedClip)
                key = sample, None if packed else sample.path.stat().st_mtime_ns
                if key in self._thumbnails:
                    thumbnails[key] = self._thumbnails[key]
                else:
                    with layout.clip_file(sample.clip) if packed else nullcontext(sample.path) as path:
                        thumbnails[key] = thumbnail(path)
                found.append((sample, thumbnails[key], quote(str(sample.path.relative_to(layout.root)))))
        self._thumbnails = thumbnails
        return found


@dataclass(frozen=True, slots=True)
class _PlotCall:
    """A plot that is drawn when it is called; those that are equal look the same."""

    draw: Callable[..., str]
    figures: tuple[Any, ...]
    options: tuple[tuple[str, bool], ...] = ()

    def __call__(self) -> str:
        return self.draw(*self.figures, **dict(self.options))


def _plot_calls(report: Report) -> dict[str, _PlotCall]:
    """Return how each plot of the page is drawn, from figures as precise as can be seen."""
    timeline, calls = report.timeline, dict[str, _PlotCall]()
    if report.reasons:
        parts = tuple(_categories(report.missing_by_category))
        calls["categories"] = _PlotCall(plots.donut, ("categories", "Why clips are missing", parts))
    for one in report.durations:
        seen = replace(
            _NO_DURATION,
            step=one.step,
            clips_within=round(plots.as_seen([one.clips_within])[0]),
            counts=tuple(map(round, plots.as_seen(one.counts))),
            edges_s=plots.as_seen(one.edges_s),
            median_s=plots.as_seen([one.median_s])[0],
            mean_within_s=plots.as_seen([one.mean_within_s])[0],
        )
        calls[one.step] = _PlotCall(plots.histogram, (seen,))
    if timeline.curve.begins:
        curve = timeline.curve
        rates = plots.as_seen([*curve.done, *curve.failed])
        curve = replace(curve, done=rates[: len(curve.done)], failed=rates[len(curve.done) :])
        end = curve.begins[-1] + timedelta(seconds=curve.width_s)
        drawn = Timeline((), timeline.pauses, (), curve, begin=curve.begins[0], end=end)
        for name, wide in (("hours", False), ("hours_wide", True)):
            calls[name] = _PlotCall(plots.curve, (drawn,), (("wide", wide),))
    if timeline.sessions:
        counts = plots.as_seen([session.attempts for session in timeline.sessions])
        goes_on = not timeline.sessions[-1].throttled
        calls["sessions"] = _PlotCall(plots.session_sizes, (counts,), (("goes_on", goes_on),))
    return calls


def _missing(total: Completeness) -> list[ChartPart]:
    parts: list[ChartPart] = [
        ("gone from YouTube", total.gone, "gone"),
        ("not offered by YouTube", total.not_offered, "notoffered"),
        ("may work later", total.may_work, "later"),
        ("not tried yet", total.never_tried, "never"),
    ]
    return [part for part in parts if part[1]]


def _categories(counts: dict[Category, int]) -> list[ChartPart]:
    """Return the most frequent categories, and all others as one part."""
    named = [*counts.items()]
    parts: list[ChartPart] = [
        (_category_label(category), count, colour) for (category, count), colour in zip(named, SERIES, strict=False)
    ]
    others = sum(count for _, count in named[len(SERIES) :])
    return [*parts, ("others", others, "other")] if others else parts


def _category_label(category: Category) -> str:
    return category.replace("_", " ")


def _pauses(report: Report) -> list[tuple[str, PauseCause, list[float]]]:
    """Return label, cause and the seconds of each pause, for every cause that occurred."""
    seconds = {cause: [one.seconds for one in report.timeline.pauses if one.cause == cause] for cause in PAUSE_CAUSES}
    return [(PAUSE_CAUSES[cause], cause, lengths) for cause, lengths in seconds.items() if lengths]


def _clock(when: datetime) -> str:
    """Return a time of day, with its date if that is not today."""
    when = when.astimezone()
    return f"{when:%H:%M:%S}" if when.date() == datetime.now().astimezone().date() else f"{when:%d %B %H:%M:%S}"
