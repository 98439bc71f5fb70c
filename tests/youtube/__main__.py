"""The entry of `python -m tests.youtube`: missing packages and Ctrl-C become a line and an exit code."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

REQUIREMENTS = Path(__file__).parents[2] / "requirements.txt"
INSTALL = "pip install -r requirements.txt trustme"


def missing_packages() -> Iterator[str]:
    """Yield each package that the loopback YouTube and the program need, and that is not installed."""
    for name in (*re.findall(r"^[\w.-]+", REQUIREMENTS.read_text("utf-8"), re.MULTILINE), "trustme"):
        try:
            metadata.distribution(name)
        except metadata.PackageNotFoundError:
            yield name


def entry() -> int:
    """Return the exit code of `command.main`; 2 if packages are missing, 130 after Ctrl-C."""
    if missing := [*missing_packages()]:
        others = f" and {len(missing) - 1} more" if missing[1:] else ""
        print(f"not installed: {missing[0]}{others}. Run: {INSTALL}", file=sys.stderr)
        return 2
    try:
        from tests.youtube.command import main  # noqa: PLC0415 - needs the packages

        return main(sys.argv[1:])
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(entry())
