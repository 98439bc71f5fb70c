"""The report's plots, as SVG to stand in a page: the page's style sheet says what the colours are.

A plot holds numbers and our own words, never text from outside.
"""

from __future__ import annotations

import io
import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import Any, Literal, get_args

from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from kinetics.report.model import Duration
from kinetics.report.timeline import Cause, Session, Timeline

Colour = Literal[
    "ink", "rule", "card", "here", "gone", "later", "untried", "throttled", "network", "stopped",
    "first", "second", "third", "fourth", "fifth", "sixth", "other",
]  # fmt: skip
"""A custom property of the page's style sheet."""
SERIES: tuple[Colour, ...] = ("first", "second", "third", "fourth", "fifth", "sixth")
"""Colours that can be told apart, also by the colour-blind (after Okabe and Ito)."""
UNITS = 72
"""Of the drawing in matplotlib's inch."""
SMALL, WIDE = (380, 225), (1000, 270)
BAND = (-0.075, 0.05)
"""Where pauses are marked: begin and height, as shares of the plot's."""
THINNEST = 1 / 1000
"""Of the whole time: a shorter pause cannot be seen."""
_MARKS: dict[Colour, str] = {colour: f"#0a0b{place:02x}" for place, colour in enumerate(get_args(Colour))}
"""What stands for a colour until it becomes a property: matplotlib knows none."""
_STYLE: Mapping[Any, Any] = {
    "svg.fonttype": "none",
    "font.size": 11,
    "text.color": _MARKS["ink"],
    "text.parse_math": False,
    "axes.labelcolor": _MARKS["ink"],
    "axes.edgecolor": _MARKS["rule"],
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": _MARKS["rule"],
    "xtick.color": _MARKS["rule"],
    "xtick.labelcolor": _MARKS["ink"],
    "ytick.left": False,
    "ytick.labelcolor": _MARKS["ink"],
}
_THOUSANDS = FuncFormatter(lambda value, _: f"{value:,.0f}")


def donut(name: str, title: str, parts: Sequence[tuple[str, int, Colour]], middle: str) -> str:
    """The shares of a whole: what each is, its count and colour."""
    with _drawing(name):
        figure = Figure(figsize=(220 / UNITS, 220 / UNITS))
        axes = figure.add_axes((0, 0, 1, 1))
        axes.pie(
            [count for _, count, _ in parts],
            colors=[_MARKS[colour] for _, _, colour in parts],
            startangle=90,
            counterclock=False,
            radius=1.2,
            wedgeprops={"width": 0.38, "edgecolor": _MARKS["card"], "linewidth": 1.5},
        )
        axes.text(0, 0, middle, ha="center", va="center", size=24, weight="bold")
        return _svg(figure, name, title, "; ".join(f"{what}: {count:,}" for what, count, _ in parts))


def histogram(duration: Duration) -> str:
    """How many clips took how long in a step, within the fence."""
    with _drawing(duration.step):
        figure, axes = _axes(SMALL)
        axes.stairs(duration.counts, duration.edges_s, fill=True, color=_MARKS["here"])
        for seconds, what, style, side in _middles(duration):
            axes.axvline(seconds, color=_MARKS["ink"], linewidth=1, linestyle=style)
            place = (seconds, 1.0)
            axes.annotate(f" {what} ", place, xycoords=("data", "axes fraction"), ha=side, va="bottom", size=10)
        axes.set_xlim(0, duration.edges_s[-1])
        axes.set_xlabel("seconds")
        axes.set_ylabel("clips")
        title = f"Histogram of the seconds of {duration.step}"
        most = max(range(len(duration.counts)), key=duration.counts.__getitem__)
        said = (
            f"{duration.within:,} clips from 0 to {duration.edges_s[-1]:.2f} seconds; most of them, "
            f"{duration.counts[most]:,}, from {duration.edges_s[most]:.2f} to {duration.edges_s[most + 1]:.2f}."
        )
        return _svg(figure, duration.step, title, said)


def curve(timeline: Timeline, *, wide: bool) -> str:
    """Clips an hour over time, the pauses in a band below."""
    name, rates = f"hours-{'wide' if wide else 'small'}", timeline.curve
    with _drawing(name):
        figure, axes = _axes(WIDE if wide else SMALL)
        edges = _days([*rates.begins, rates.begins[-1] + timedelta(seconds=rates.width_s)])
        for cause in ("stopped", "network", "throttled"):
            spans = _spans(timeline, cause)
            axes.broken_barh(
                spans, BAND, transform=axes.get_xaxis_transform(), color=_MARKS[cause], linewidth=0, clip_on=False
            )
        axes.tick_params("x", pad=14)
        both = [done + failed for done, failed in zip(rates.done, rates.failed, strict=True)]
        axes.stairs(both, edges, fill=True, color=_MARKS["gone"])
        axes.stairs(rates.done, edges, fill=True, color=_MARKS["here"])
        last_pause = _days([pause.end for pause in timeline.pauses[-1:]])  # it may come after the last answer
        axes.set_xlim(edges[0], max([edges[-1], *last_pause]))
        axes.set_ylabel("clips an hour")
        locator = AutoDateLocator(tz=rates.begins[-1].tzinfo, minticks=3 if wide else 2, maxticks=10 if wide else 6)
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(ConciseDateFormatter(locator, tz=rates.begins[-1].tzinfo))
        said = (
            f"From {rates.begins[0]:%d %B %Y %H:%M} on, in steps of {rates.width_s:,.0f} seconds: at most "
            f"{max(both):,.0f} clips an hour, on average {timeline.per_hour:,.0f} while at work. "
            f"{len(timeline.pauses):,} pauses."
        )
        return _svg(figure, name, "Clips an hour over time", said)


def runs(sessions: Sequence[Session]) -> str:
    """How many clips each session had, in their order."""
    with _drawing("sessions"):
        figure, axes = _axes(SMALL)
        clips = [session.clips for session in sessions]
        axes.stairs(clips, [place + 0.5 for place in range(len(clips) + 1)], fill=True, color=_MARKS["here"])
        if not sessions[-1].throttled:
            axes.stairs([clips[-1]], [len(clips) - 0.5, len(clips) + 0.5], fill=True, color=_MARKS["untried"])
        axes.set_xlim(0.5, len(clips) + 0.5)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
        axes.set_xlabel("session")
        axes.set_ylabel("clips")
        said = f"{len(clips):,} sessions of {min(clips):,} to {max(clips):,} clips."
        return _svg(figure, "sessions", "Clips in each session, in the order of time", said)


def _drawing(name: str) -> AbstractContextManager[None]:
    """The style, whatever the user's own is, and ids that no other plot in the page has."""
    return style.context(["default", {**_STYLE, "svg.hashsalt": name}])


def _axes(units: tuple[int, int]) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(units[0] / UNITS, units[1] / UNITS), layout="constrained")
    axes = figure.subplots()
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.yaxis.set_major_formatter(_THOUSANDS)
    return figure, axes


def _middles(duration: Duration) -> list[tuple[float, str, str, str]]:
    """The median and the mean, how to draw the line, and on which side its name is out of the other's way."""
    marks = sorted([(duration.median_s, "median", "--"), (duration.mean_within_s, "mean", ":")])
    return [(*mark, side) for mark, side in zip(marks, ("right", "left"), strict=True)]


def _spans(timeline: Timeline, cause: Cause) -> list[tuple[float, float]]:
    """Begin and width of the pauses that can be seen."""
    pauses = [pause for pause in timeline.pauses if pause.cause == cause]
    seen = [pause for pause in pauses if pause.seconds >= THINNEST * timeline.span_s]
    return [(begin, pause.seconds / 86_400) for pause, begin in zip(seen, _days([p.begin for p in seen]), strict=True)]


def _days(times: Sequence[datetime]) -> list[float]:
    return [float(date2num(time)) for time in times]


def _svg(figure: Figure, name: str, title: str, description: str) -> str:
    """An element for a page: described, as wide as its place, in the page's font and colours."""
    file = io.StringIO()
    figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    svg = ET.fromstring(file.getvalue())
    for element in svg.iter():
        element.tag = element.tag.rpartition("}")[2]
        element.attrib = {key.rpartition("}")[2]: value for key, value in element.attrib.items()}
        if element.tag == "g":
            element.attrib.pop("id", None)  # nothing refers to it, and each plot has the same ones
        if "style" in element.attrib:
            element.set("style", re.sub(r"font-family: [^;]*(; )?", "", element.get("style", "")))
    for parent in [*svg.iter()]:
        for child in [*parent]:
            if child.tag in ("metadata", "style"):
                parent.remove(child)
    box = svg.get("viewBox", "")
    svg.attrib = {"viewBox": box, "role": "img", "aria-labelledby": f"{name}-title {name}-description"}
    for tag, words in (("desc", description), ("title", title)):
        said = ET.Element(tag, id=f"{name}-{'title' if tag == 'title' else 'description'}")
        said.text = words
        svg.insert(0, said)
    text = ET.tostring(svg, "unicode")
    for colour, mark in _MARKS.items():
        text = text.replace(mark, f"var(--{colour})")
    return text
