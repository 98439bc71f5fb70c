"""Commands that run to their end in a process of their own."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from unittest.mock import patch

from kinetics.cli.main import main
from kinetics.cli.terminal import StopSignals

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


def run_here(*options: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run the program in this process, which spares it a second of imports, and keep what it prints.

    The fork server that it may start stays, with the environment of its start: so this is not for workers that ask
    YouTube.
    """
    before = {number: signal.getsignal(number) for number in StopSignals.SIGNALS}
    said, warned = io.StringIO(), io.StringIO()
    with patch.dict(os.environ, env or {}), redirect_stdout(said), redirect_stderr(warned):
        try:
            code = main(options)
        except SystemExit as ended:  # argparse, on bad usage
            code = int(ended.code or 0)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
    return subprocess.CompletedProcess(options, code, said.getvalue(), warned.getvalue())


def download(*options: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run the program, without a loopback YouTube."""
    return python("download.py", *options, env=env)
