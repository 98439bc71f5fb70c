"""A session of the demo in a terminal of some width."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

from tests.support.commands import ROOT

DEMO = (sys.executable, "-m", "tests.youtube")


def checkout_in(folder: Path) -> Path:
    """Make a folder look like the project's, so that the demo can write to it."""
    for name in ("download.py", "kinetics", "tests", "requirements.txt"):
        (folder / name).symlink_to(ROOT / name)
    return folder


def record(checkout: Path, columns: int, lines: int) -> Iterator[bytes]:
    """Run the demo in a terminal, and yield what it writes; fails if the demo does not end with 0."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (lines, columns))
    with subprocess.Popen(DEMO, cwd=checkout, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        yield from _output(ours)
    os.close(ours)
    assert process.returncode == 0


def _output(terminal: int) -> Iterator[bytes]:
    """Yield what comes out of a terminal until nobody writes to it any more."""
    while True:
        try:
            yield os.read(terminal, 1 << 16)
        except OSError:
            return
