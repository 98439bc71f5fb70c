"""Runs a command as a child process whose network is the loopback YouTube."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Mapping, Sequence


def run_child(command: Sequence[str], env: Mapping[str, str]) -> int:
    """Run the command to its end; Ctrl-C and SIGTERM stop it, and it is waited for.

    Returns its exit code; 128 + the signal's number where a signal ended it.
    """
    with subprocess.Popen(command, env=env) as process:
        before = signal.signal(signal.SIGTERM, lambda *_: process.terminate())
        try:
            while True:
                try:
                    code = process.wait()
                except KeyboardInterrupt:  # the command has it too, and says when it is done
                    continue
                return 128 - code if code < 0 else code
        finally:
            signal.signal(signal.SIGTERM, before)
