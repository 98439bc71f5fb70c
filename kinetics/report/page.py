"""The report as a page: one HTML file that needs no network, and its tables as CSV files.

Labels, reasons and ids come from outside. The template engine escapes all of them, and the page's security policy
allows only its own script, by the script's hash.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from contextlib import nullcontext, suppress
from pathlib import Path
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from kinetics.errors import MayWorkLater
from kinetics.humanize import counted, duration_text, percent, size
from kinetics.media.convert import thumbnail
from kinetics.records import Category, PackedClip
from kinetics.report import plots
from kinetics.report.csv_tables import tables
from kinetics.report.model import Completeness, Report, Sample
from kinetics.report.plots import SERIES, ChartPart, Colour
from kinetics.report.timeline import PAUSE_CAUSES, PauseCause
from kinetics.storage.atomic import write_text
from kinetics.storage.layout import Layout
from kinetics.storage.ledger import outlook

TEMPLATES = Path(__file__).parent / "templates"
MAX_ROWS = 50
"""Rows of the page's tables of reasons, sessions and origins; the CSV files have all reasons and sessions."""
STEP_COLOURS: dict[str, Colour] = {"resolve": "second", "download": "done", "cut": "third"}


def write(report: Report, layout: Layout) -> list[Path]:
    """Write the page and its tables, and return their paths. Raises Fatal if one cannot be written."""
    csv_files = {layout.table(report.subset, f"report_{name}.csv"): text for name, text in tables(report).items()}
    page = {layout.table(report.subset, "report.html"): render(report, layout, csv_files)}
    for path, text in (page | csv_files).items():
        write_text(path, [text.encode("utf-8", "backslashreplace").decode()])  # a path may contain any bytes
    return [*page, *csv_files]


def render(report: Report, layout: Layout, csv_files: Iterable[Path] = ()) -> str:
    """Return the page's HTML. Its links to clips and CSV files work if it is stored next to the data set's folder."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "count": "{:,}".format,
        "counted": counted,
        "percent": percent,
        "size": size,
        "duration": duration_text,
        "category_label": _category_label,
        "outlook": outlook,
    }
    script, style = ((TEMPLATES / f"report.{kind}").read_text("utf-8") for kind in ("js", "css"))
    pictures = _pictures(report.samples, layout)
    return environment.get_template("report.html").render(
        report=report,
        max_rows=MAX_ROWS,
        missing=_missing(report.total),
        categories=_categories(report.missing_by_category),
        longest_by_step=[(one.step, one.clips_longest, STEP_COLOURS[one.step]) for one in report.durations[:-1]],
        seconds_by_step=[(one.step, round(one.total_s), STEP_COLOURS[one.step]) for one in report.durations[:-1]],
        pauses=_pauses(report),
        best_hour=max(report.timeline.hours, key=lambda hour: hour.done, default=None),
        plots={name: Markup(svg) for name, svg in _plots(report).items()},
        pictures=pictures,
        csv_files=[path.name for path in csv_files],
        undecodable=len(report.samples) - len(pictures),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        style=Markup(style),
    )


def _plots(report: Report) -> dict[str, str]:
    sessions, drawn = report.timeline.sessions, dict[str, str]()
    if report.reasons:
        drawn["categories"] = plots.donut(
            "categories", "Why clips are missing", _categories(report.missing_by_category)
        )
    drawn |= {one.step: plots.histogram(one) for one in report.durations}
    if report.timeline.curve.begins:
        drawn["hours"] = plots.curve(report.timeline, wide=False)
        drawn["hours_wide"] = plots.curve(report.timeline, wide=True)
    if sessions:
        drawn["sessions"] = plots.session_sizes(sessions)
    return drawn


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


def _pictures(samples: Iterable[Sample], layout: Layout) -> list[tuple[Sample, str, str]]:
    """Return each sample with its first frame and the link to its clip; samples that cannot be decoded are left out."""
    found = []
    for sample in samples:
        with suppress(MayWorkLater, OSError):  # it may have been removed meanwhile
            packed = isinstance(sample.clip, PackedClip)
            with layout.clip_file(sample.clip) if packed else nullcontext(sample.path) as path:
                found.append((sample, thumbnail(path), quote(str(sample.path.relative_to(layout.root)))))
    return found
