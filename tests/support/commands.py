"""Commands that run to their end in a process of their own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""The folder of the project: `tests` and `kinetics` can be imported from there."""
PATIENCE_S = 120.0
"""For what takes a second or two: a busy machine may need longer, but not for ever."""


def python(
    *arguments: str, env: Mapping[str, str] | None = None, given: str = "", timeout: float = PATIENCE_S
) -> subprocess.CompletedProcess[str]:
    """Run Python in the project's folder, and keep what it prints."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=env,
        input=given,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def download(*options: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run the program, without a loopback YouTube."""
    return python("download.py", *options, env=env)
