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


def lasting(seconds: float) -> str:
    """A time in the largest unit of which it has at least two."""
    for unit, name in ((86_400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:,.1f} {name}"
    return f"{seconds:.0f} seconds"
