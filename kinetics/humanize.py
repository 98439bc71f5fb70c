"""How numbers are said to a person."""

from __future__ import annotations

import re

_NUMBER = re.compile(r"(?<!HTTP )(?<!HTTP Error )\b\d+(?:[.,:]\d+)*")
"""Differs from clip to clip; an HTTP status says what happened."""


def without_numbers(reason: str) -> str:
    """What reasons have in common that are of one kind."""
    return _NUMBER.sub("..", reason)


def percent(share: float) -> str:
    """Never 100 % of what is not complete, nor 0 % of what has begun."""
    if share in (0, 1):
        return f"{share:.0%}"
    return f"{share:.1%}" if 0.01 <= share <= 0.99 else f"{min(max(share, 0.0001), 0.9999):.2%}"


def size(count: float) -> str:
    """Bytes, in the units in which disks are sold."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 999.5:
            return f"{count:.0f} {unit}" if unit == "bytes" or count >= 99.95 else f"{count:#.3g} {unit}"
        count /= 1000
    return f"{count:,.2f} TB"


def duration_text(seconds: float) -> str:
    """A time in the largest unit of which it has at least two."""
    for unit, name in ((86_400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:,.1f} {name}"
    return f"{seconds:.0f} seconds"


_STEERING = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]+")
"""Control characters, line ends, changes of direction, and halves of characters, which no file can hold."""


_FORMULA = re.compile(r"""(^|[;,])(?=["\s]*[=+\-@\uff1d\uff0b\uff0d\uff20])|^(?=")""")
"""Where one begins, also behind what some spreadsheets take for the end of a cell, and in quotes: the error log has
none of its own, so that a reader would take them for its."""


SHOWN_REASON_LIMIT = 400


def one_line(text: str) -> str:
    """Text from outside, fit for a table and a terminal: nothing that steers either, and not endless."""
    text = _STEERING.sub(" ", text).strip()
    return text if len(text) <= SHOWN_REASON_LIMIT else text[: SHOWN_REASON_LIMIT - 1] + "\u2026"


def safe_cell(text: str) -> str:
    """A spreadsheet runs a cell that begins like a formula; an apostrophe in front stops it.

    Ids stay as they are, since tables are joined by them: what can stand in one is no formula that does anything.
    """
    return _FORMULA.sub(r"\1'", one_line(text))


def seconds_text(seconds: float) -> str:
    """To the millisecond, without zeros that say nothing."""
    return f"{seconds:.3f}".rstrip("0").rstrip(".")


_LOGIN = re.compile(r"""(?:(?<=://)|(?<![^\s'"=]))([^/\s:@'"=]*):[^/\s]*@""")
"""User and password in a URL, or in an address without a scheme at the beginning of a word."""


def without_password(text: str) -> str:
    """A text as it may be shown, whatever URLs are in it."""
    return _LOGIN.sub(r"\1:***@", text)


MAX_SHOWN = 60


def quoted(value: object) -> str:
    """Something from outside, fit for a terminal: escaped and cut."""
    text = str(value)
    text = text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 3] + "..."
    return text if isinstance(value, float) else repr(text)
