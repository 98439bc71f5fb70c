"""The report as a page for a person: one HTML file that needs no network, and the tables behind it as CSV.

Labels, reasons and ids come from outside. The template engine escapes whatever it is given, and the page's own policy
lets nothing run but its one script, whose hash it names.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from kinetics.errors import MayWorkLater
from kinetics.humanize import duration_text, percent, size
from kinetics.media.convert import thumbnail
from kinetics.records import Category, Subset
from kinetics.report import plots
from kinetics.report.csv_tables import NAMES, tables
from kinetics.report.model import Completeness, Report, Sample
from kinetics.report.plots import SERIES, Colour
from kinetics.report.timeline import CAUSES, Cause
from kinetics.storage.atomic import write_text
from kinetics.storage.layout import Layout

TEMPLATES = Path(__file__).parent / "templates"
SHOWN = 50
"""Of the reasons and of the sessions; the CSV files have all of them."""
STEP_COLOURS: dict[str, Colour] = {"resolve": "second", "download": "here", "cut": "third"}
Slice = tuple[str, int, Colour]
"""A share of a whole: what it is, its count and colour."""


def write(report: Report, layout: Layout, subset: Subset) -> list[Path]:
    """Write the page and its tables, and return their paths. Raises Fatal where one cannot be written."""
    paths = {layout.table(subset, "report.html"): render(report, layout)}
    paths |= {layout.table(subset, f"report_{name}.csv"): text for name, text in tables(report).items()}
    for path, text in paths.items():
        write_text(path, [text.encode("utf-8", "backslashreplace").decode()])  # a path may be of any bytes
    return [*paths]


def render(report: Report, layout: Layout) -> str:
    """The page, which is to lie beside the data set's folder."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "count": "{:,}".format,
        "percent": percent,
        "size": size,
        "lasting": duration_text,
        "plain": _words,
    }
    script, style = ((TEMPLATES / f"report.{kind}").read_text("utf-8") for kind in ("js", "css"))
    pictures = _pictures(report.samples, layout.root)
    return environment.get_template("report.html").render(
        report=report,
        shown=SHOWN,
        states=_states(report.total),
        categories=_categories(report.categories),
        longest=[(one.step, one.longest, STEP_COLOURS[one.step]) for one in report.durations[:-1]],
        time_of=[(one.step, round(one.total_s), STEP_COLOURS[one.step]) for one in report.durations[:-1]],
        pauses=_pauses(report),
        best=max(report.timeline.hours, key=lambda hour: hour.done + hour.failed, default=None),
        plots={name: Markup(svg) for name, svg in _plots(report).items()},
        pictures=pictures,
        tables={name: layout.table(report.subset, f"report_{name}.csv").name for name in NAMES},
        undecodable=len(report.samples) - len(pictures),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        style=Markup(style),
    )


def _plots(report: Report) -> dict[str, str]:
    total, sessions, drawn = report.total, report.timeline.sessions, dict[str, str]()
    if total.wanted:
        drawn["states"] = plots.donut("states", "Here and missing", _states(total), percent(total.share))
    if report.reasons:
        parts = _categories(report.categories)
        drawn["categories"] = plots.donut("categories", "Why clips are missing", parts, f"{_count(parts):,}")
    drawn |= {one.step: plots.histogram(one) for one in report.durations}
    if report.timeline.curve.begins:
        drawn["hours"] = plots.curve(report.timeline, wide=False)
        drawn["hours_wide"] = plots.curve(report.timeline, wide=True)
    if sessions:
        drawn["sessions"] = plots.runs(sessions)
    return drawn


def _states(total: Completeness) -> list[Slice]:
    parts: list[Slice] = [
        ("here", total.here, "here"),
        ("gone, by YouTube's word", total.gone, "gone"),
        ("failed, may work later", total.may_work, "later"),
        ("not tried yet", total.untried, "untried"),
    ]
    return [part for part in parts if part[1]]


def _categories(counts: dict[Category, int]) -> list[Slice]:
    """The most frequent ones, and the others together."""
    named = [*counts.items()]
    parts: list[Slice] = [
        (_words(category), count, colour) for (category, count), colour in zip(named, SERIES, strict=False)
    ]
    others = sum(count for _, count in named[len(SERIES) :])
    return [*parts, ("others", others, "other")] if others else parts


def _words(category: Category) -> str:
    return category.replace("_", " ")


def _count(parts: Iterable[Slice]) -> int:
    return sum(count for _, count, _ in parts)


def _pauses(report: Report) -> list[tuple[str, Cause, list[float]]]:
    """How long each pause of a cause was, for those that there were."""
    seconds = {cause: [one.seconds for one in report.timeline.pauses if one.cause == cause] for cause in CAUSES}
    return [(CAUSES[cause], cause, found) for cause, found in seconds.items() if found]


def _pictures(samples: Iterable[Sample], root: Path) -> list[tuple[Sample, str, str]]:
    """First frames, each with the way to its clip; without those that cannot be decoded."""
    found = []
    for sample in samples:
        with suppress(MayWorkLater):
            found.append((sample, thumbnail(sample.path), quote(str(sample.path.relative_to(root)))))
    return found
