"""The report's plots, as SVG elements for the page, whose style sheet defines the colours.

A plot contains numbers and the program's own words, never text from outside.
"""

from __future__ import annotations

import io
import math
import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import Any, Literal, get_args

from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from kinetics.humanize import counted
from kinetics.report.model import Duration
from kinetics.report.timeline import PauseCause, Timeline

Colour = Literal[
    "ink", "rule", "card", "done", "gone", "notoffered", "later", "never", "throttled", "network", "stopped",
    "first", "second", "third", "fourth", "fifth", "sixth", "other",
]  # fmt: skip
"""The name of a custom property in the page's style sheet."""
ChartPart = tuple[str, int, Colour]
"""A part of a chart that shows shares: its label, count and colour."""
SERIES: tuple[Colour, ...] = ("first", "second", "third", "fourth", "fifth", "sixth")
"""Colours that colour-blind readers can tell apart, too (after Okabe and Ito)."""
UNITS_PER_INCH = 72
"""Units of the SVG drawing in an inch of matplotlib."""
SMALL_SIZE, WIDE_SIZE = (380, 225), (1000, 270)
"""Width and height of a plot in units. The page scales it, so that larger sizes make the letters smaller."""
PAUSE_BAND = (-0.075, 0.05)
"""Bottom and height of the band that marks the pauses, as shares of the plot's height: it is below the time axis."""
MIN_PAUSE_SHARE = 1 / 1000
"""Share of the whole time span: a shorter pause is not drawn, as it would be thinner than one unit."""
_PLACEHOLDERS: dict[Colour, str] = {colour: f"#0a0b{number:02x}" for number, colour in enumerate(get_args(Colour))}
"""A colour code for each custom property, replaced in the finished SVG, since matplotlib knows no properties."""
_STYLE: Mapping[Any, Any] = {
    "svg.fonttype": "none",
    "font.size": 11,
    "text.color": _PLACEHOLDERS["ink"],
    "text.parse_math": False,
    "axes.labelcolor": _PLACEHOLDERS["ink"],
    "axes.edgecolor": _PLACEHOLDERS["rule"],
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": _PLACEHOLDERS["rule"],
    "xtick.color": _PLACEHOLDERS["rule"],
    "xtick.labelcolor": _PLACEHOLDERS["ink"],
    "ytick.left": False,
    "ytick.labelcolor": _PLACEHOLDERS["ink"],
}
_THOUSANDS = FuncFormatter(lambda value, _: f"{value:,.0f}")


def donut(name: str, title: str, parts: Sequence[ChartPart]) -> str:
    """Return a ring of the parts' shares, with the number of all clips in the middle."""
    with _plot_style(name):
        figure = Figure(figsize=(220 / UNITS_PER_INCH, 220 / UNITS_PER_INCH))
        axes = figure.add_axes((0, 0, 1, 1))
        axes.pie(
            [count for _, count, _ in parts],
            colors=[_PLACEHOLDERS[colour] for _, _, colour in parts],
            startangle=90,
            counterclock=False,
            radius=1.2,
            wedgeprops={"width": 0.38, "edgecolor": _PLACEHOLDERS["card"], "linewidth": 1.5},
        )
        number, noun = counted(sum(count for _, count, _ in parts), "clip").split()
        axes.text(0, 0.05, number, ha="center", va="center", size=24, weight="bold")
        axes.text(0, -0.28, noun, ha="center", va="center", size=13)
        return _svg(figure, name, title, "; ".join(f"{label}: {count:,}" for label, count, _ in parts))


def histogram(duration: Duration) -> str:
    """Return the histogram of a step's seconds, without the outliers."""
    with _plot_style(duration.step):
        figure, axes = _new_axes(SMALL_SIZE)
        _steps(axes, duration.counts, duration.edges_s, "done")
        for seconds, label, line in (
            (duration.median_s, "median", "--"),
            (duration.mean_within_s, "mean without outliers", ":"),
        ):
            axes.axvline(seconds, color=_PLACEHOLDERS["ink"], linewidth=1.5, linestyle=line, label=label)
        # labels at the lines would overlap wherever median and mean are close
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False, borderpad=0, fontsize=10)
        axes.set_xlim(0, duration.edges_s[-1])
        axes.set_xlabel("seconds")
        axes.set_ylabel("clips")
        title = f"Histogram of the seconds per clip: {duration.step}"
        tallest = max(range(len(duration.counts)), key=duration.counts.__getitem__)
        begin_s, end_s = duration.edges_s[tallest : tallest + 2]
        description = (
            f"{counted(duration.clips_within, 'clip')} from 0 to {duration.edges_s[-1]:.2f} seconds; the tallest bar, "
            f"from {begin_s:.2f} to {end_s:.2f}, has {duration.counts[tallest]:,}."
        )
        return _svg(figure, duration.step, title, description)


def curve(timeline: Timeline, *, wide: bool) -> str:
    """Return the attempts an hour over time, with the pauses in a band below."""
    name, rates = f"hours-{'wide' if wide else 'small'}", timeline.curve
    with _plot_style(name):
        figure, axes = _new_axes(WIDE_SIZE if wide else SMALL_SIZE)
        edges = _days([*rates.begins, rates.begins[-1] + timedelta(seconds=rates.width_s)])
        for cause in ("stopped", "network", "throttled"):
            spans, colour = _pause_spans(timeline, cause), _PLACEHOLDERS[cause]
            axes.broken_barh(
                spans, PAUSE_BAND, transform=axes.get_xaxis_transform(), color=colour, linewidth=0, clip_on=False
            )
        axes.tick_params("x", pad=14)
        both = [done + failed for done, failed in zip(rates.done, rates.failed, strict=True)]
        _steps(axes, both, edges, "gone")
        _steps(axes, rates.done, edges, "done")
        last_pause = _days([pause.end for pause in timeline.pauses[-1:]])  # it may come after the last answer
        axes.set_xlim(edges[0], max([edges[-1], *last_pause]))
        axes.set_ylabel("attempts an hour")
        locator = AutoDateLocator(tz=rates.begins[-1].tzinfo, minticks=3 if wide else 2, maxticks=10 if wide else 6)
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(ConciseDateFormatter(locator, tz=rates.begins[-1].tzinfo))
        description = (
            f"From {rates.begins[0]:%d %B %Y %H:%M} on, in steps of {rates.width_s:,.0f} seconds: at most "
            f"{max(both):,.0f} attempts an hour; {counted(len(timeline.pauses), 'pause')}."
        )
        return _svg(figure, name, "Attempts an hour over time", description)


def session_sizes(counts: Sequence[float], *, goes_on: bool) -> str:
    """Return the attempts of each session, in order of time; the last one is grey if no refusal has ended it."""
    with _plot_style("sessions"):
        figure, axes = _new_axes(SMALL_SIZE)
        numbers = [number + 0.5 for number in range(len(counts) + 1)]
        _steps(axes, counts, numbers, "done")
        if goes_on:
            _steps(axes, counts[-1:], numbers[-2:], "never")
        axes.set_xlim(0.5, len(counts) + 0.5)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
        axes.set_xlabel("session")
        axes.set_ylabel("attempts")
        least = "" if min(counts) == max(counts) else f"{min(counts):,.0f} to "
        description = f"{counted(len(counts), 'session')} of {least}{counted(round(max(counts)), 'attempt')}."
        return _svg(figure, "sessions", "Attempts in each session, in order of time", description)


def as_seen(values: Sequence[float]) -> tuple[float, ...]:
    """Return values to the precision that can be seen in a plot: at least 1/200 of the largest.

    Plots are drawn from these, so that one that would look the same need not be drawn again.
    """
    top = max(map(abs, values), default=0.0)
    digits = -math.floor(math.log10(top / 200)) if top else 0
    return tuple(round(value, digits) for value in values)


def _plot_style(name: str) -> AbstractContextManager[None]:
    """Set the plots' style, whatever the user's own matplotlib style is, and ids that no other plot of the page has."""
    return style.context(["default", {**_STYLE, "svg.hashsalt": name}])


def _new_axes(units: tuple[int, int]) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(units[0] / UNITS_PER_INCH, units[1] / UNITS_PER_INCH), layout="constrained")
    axes = figure.subplots()
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.yaxis.set_major_formatter(_THOUSANDS)
    return figure, axes


def _steps(axes: Axes, heights: Sequence[float], edges: Sequence[float], colour: Colour) -> None:
    """Fill the area below steps, one between each two edges. `Axes.stairs` looks alike, and takes ten times as long."""
    tops = [0.0, *(height for height in heights for _ in range(2)), 0.0]
    axes.fill_between([edge for edge in edges for _ in range(2)], tops, color=_PLACEHOLDERS[colour], linewidth=0)
    axes.update_datalim([(edges[0], 0.0), (edges[-1], max(heights, default=0.0))])
    axes.set_ylim(bottom=0)


def _pause_spans(timeline: Timeline, cause: PauseCause) -> list[tuple[float, float]]:
    """Return begin and width, in days, of the pauses that are long enough to be drawn."""
    pauses = [pause for pause in timeline.pauses if pause.cause == cause]
    drawn = [pause for pause in pauses if pause.seconds >= MIN_PAUSE_SHARE * timeline.span_s]
    begins = _days([pause.begin for pause in drawn])
    return [(begin, pause.seconds / 86_400) for pause, begin in zip(drawn, begins, strict=True)]


def _days(times: Sequence[datetime]) -> list[float]:
    """Return times in matplotlib's unit, days since 1970."""
    return [float(date2num(time)) for time in times]


def _drawn(figure: Figure) -> str:
    """Return a figure as SVG, drawn once: `savefig` would draw it twice."""
    for patch in (figure.patch, *(axes.patch for axes in figure.axes)):
        patch.set_facecolor("none")
    if layout := figure.get_layout_engine():
        layout.execute(figure)
        figure.set_layout_engine("none")
    file = io.StringIO()
    FigureCanvasSVG(figure).print_svg(file, metadata={"Date": None})
    return file.getvalue()


def _svg(figure: Figure, name: str, title: str, description: str) -> str:
    """Return a figure as an element of the page: with title and description, in the page's font and colours."""
    svg = ET.fromstring(_drawn(figure))
    for element in svg.iter():
        element.tag = element.tag.rpartition("}")[2]
        element.attrib = {key.rpartition("}")[2]: value for key, value in element.attrib.items()}
        if element.tag == "g":
            element.attrib.pop("id", None)  # nothing refers to them, and all plots have the same
        if "style" in element.attrib:
            element.set("style", re.sub(r"font-family: [^;]*(; )?", "", element.get("style", "")))
    for parent in [*svg.iter()]:
        for child in [*parent]:
            if child.tag in ("metadata", "style"):
                parent.remove(child)
    box = svg.get("viewBox", "")
    svg.attrib = {"viewBox": box, "role": "img", "aria-labelledby": f"{name}-title {name}-description"}
    for tag, suffix, words in (("desc", "description", description), ("title", "title", title)):
        element = ET.Element(tag, id=f"{name}-{suffix}")
        element.text = words
        svg.insert(0, element)
    text = ET.tostring(svg, "unicode")
    for colour, code in _PLACEHOLDERS.items():
        text = text.replace(code, f"var(--{colour})")
    return text
