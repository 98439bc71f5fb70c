"""Numbers and foreign text, as they are shown to a person and written to tables."""

from __future__ import annotations

import re

_NUMBER = re.compile(r"(?<!HTTP )(?<!HTTP Error )\b\d+(?:[.,:]\d+)*")
"""Numbers that differ from clip to clip; an HTTP status does not, as it says what happened."""


def without_numbers(reason: str) -> str:
    """Return a reason with its numbers replaced, so that reasons of one kind are equal."""
    return _NUMBER.sub("..", reason)


def counted(count: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun: `1 clip`, `2 clips`; of another plural than with an s: `2 classes`."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def player_calls(calls: int, *, clips: int, for_gone: int, refused: int = 0) -> str:
    """Return what clips cost in player calls, for a person: how many came of how many calls, and where others went.

    `for_gone`: calls for videos that are gone; `refused`: calls that brought no answer about the video.
    """
    whole = counted(calls, "call" if clips else "player call")
    parts = [f"{calls / clips:.2f} player calls a clip: {whole}" if clips else whole]
    if for_gone:
        parts.append(f"{for_gone:,} of them for {'a video that is' if for_gone == 1 else 'videos that are'} gone")
    if refused:
        parts.append(f"{refused:,} refused")
    return ", ".join(parts)


def percent(share: float) -> str:
    """Return a share as a percentage: never 100 % while something is missing, nor 0 % once something is there."""
    if share in (0, 1):
        return f"{share:.0%}"
    return f"{share:.1%}" if 0.01 <= share <= 0.99 else f"{min(max(share, 0.0001), 0.9999):.2%}"


def size(count: float) -> str:
    """Return a number of bytes in decimal units, as disks are sold."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 999.5:
            return f"{count:.0f} {unit}" if unit == "bytes" or count >= 99.95 else f"{count:#.3g} {unit}"
        count /= 1000
    return f"{count:,.2f} TB"


def duration_text(seconds: float) -> str:
    """Return a time in the largest unit of which it has at least two."""
    for unit, name in ((86_400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:,.1f} {name}"
    return "1 second" if round(seconds) == 1 else f"{seconds:.0f} seconds"


_STEERING = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]+")
"""Control characters, line ends, changes of direction, and halves of characters, which no file can hold."""
_FORMULA = re.compile(r"""(^|[;,])(?=["\s]*[=+\-@\uff1d\uff0b\uff0d\uff20])|^(?=")""")
"""Where a spreadsheet formula begins: at the start of a cell, behind what some spreadsheets take for the end of one, or
in quotes, since the error log has no quoting of its own."""
SHOWN_REASON_LIMIT = 400
"""Characters of a foreign text in a table or on the terminal."""


def one_line(text: str) -> str:
    """Return a foreign text fit for a table and a terminal: on one line, without control characters, and cut."""
    text = _STEERING.sub(" ", text).strip()
    return text if len(text) <= SHOWN_REASON_LIMIT else text[: SHOWN_REASON_LIMIT - 1] + "\u2026"


def safe_cell(text: str) -> str:
    """Return a foreign text as a cell that no spreadsheet runs: an apostrophe is put before a formula.

    Ids are not passed through here, since tables are joined by them: no formula of their characters does anything.
    """
    return _FORMULA.sub(r"\1'", one_line(text))


def seconds_text(seconds: float) -> str:
    """Return seconds to the millisecond, without trailing zeros."""
    return f"{seconds:.3f}".rstrip("0").rstrip(".")


def error_words(error: Exception) -> str:
    """Return what an error says, without the number and the path that the text of an OSError repeats."""
    return str(getattr(error, "strerror", None) or error)


_LOGIN = re.compile(r"""(?:(?<=://)|(?<![^\s'"=]))([^/\s:@'"=]*):[^/\s]*@""")
"""User and password in a URL, or in an address without a scheme at the beginning of a word."""


def without_password(text: str) -> str:
    """Return a text with the passwords in its URLs replaced."""
    return _LOGIN.sub(r"\1:***@", text)


MAX_SHOWN = 60
"""Characters of a quoted value."""


def quoted(value: object) -> str:
    """Return a foreign value for a message: quoted, escaped and cut."""
    text = str(value)
    text = text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 3] + "..."
    return text if isinstance(value, float) else repr(text)


def letters_and_digits(text: str) -> str:
    """Return a label or a column title without what people write differently: case, spaces, underscores and signs."""
    return re.sub(r"[\W_]+", "", text.lower())
