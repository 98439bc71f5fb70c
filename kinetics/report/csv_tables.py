"""The figures of a report as CSV tables for other programs."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import astuple, fields
from datetime import datetime

from kinetics.humanize import safe_cell, seconds_text
from kinetics.records import Category
from kinetics.report.model import Completeness, Report

COUNTS = ("wanted", "here", "share", "gone", "may_work_later", "not_tried", "not_offered")
"""Columns of clips, by what is known of them."""
_ID = re.compile(r"[A-Za-z0-9_-]{11}")
"""A video id. It is written unchanged, since tables are joined by it, and no formula of these characters does harm."""


def tables(report: Report) -> dict[str, str]:
    """Return the text of each CSV file by its name; that of the subsets has a row for each, then the total."""
    contents: dict[str, tuple[Sequence[str], Iterable[Sequence[object]]]] = {
        "classes": (("label", *COUNTS), map(_counts, report.classes)),
        "reasons": (
            ("category", "gone", "reason", "clips", "example", "not_offered"),
            (
                (
                    *(one.category, one.category.gone, one.text, one.clips, one.example),
                    one.category is Category.NOT_OFFERED,
                )
                for one in report.reasons
            ),
        ),
        "durations": (
            (
                *("step", "clips", "mean_s", "median_s", "max_s", "fence_s", "clips_within", "mean_within_s"),
                *("max_within_s", "total_s", "longest_of_clips"),
            ),
            (
                (
                    *(one.step, one.clips, one.mean_s, one.median_s, one.max_s, one.fence_s, one.clips_within),
                    *(one.mean_within_s, one.max_within_s, one.total_s, one.clips_longest),
                )
                for one in report.durations
            ),
        ),
        "hours": (
            ("hour", "done", "failed", "postponed", "bytes_received", "calls"),
            (
                (one.begin, one.done, one.failed, one.postponed, one.bytes_received, one.calls)
                for one in report.timeline.hours
            ),
        ),
        "sessions": (
            ("begin", "end", "done", "failed", "ended_by_a_refusal"),
            ((one.begin, one.end, one.done, one.failed, one.throttled) for one in report.timeline.sessions),
        ),
    }
    if report.calls.calls:
        contents["calls"] = ([field.name for field in fields(report.calls)], [astuple(report.calls)])
    if report.subsets:
        contents["subsets"] = (("subset", *COUNTS), map(_counts, (*report.subsets, report.total)))
    return {name: _csv(*content) for name, content in contents.items()}


def _counts(one: Completeness) -> Sequence[object]:
    return (
        *(one.name, one.wanted, one.on_disk, one.share),
        *(one.gone, one.may_work, one.never_tried, one.not_offered),
    )


def _csv(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows([header, *(map(_cell, row) for row in rows)])
    return file.getvalue()


def _cell(value: object) -> object:
    """Return a value in the form that the attempts table uses."""
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds")
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, float):
        return seconds_text(value)
    return safe_cell(value) if isinstance(value, str) and not _ID.fullmatch(value) else value
