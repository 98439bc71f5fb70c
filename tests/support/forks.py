"""Python code in a process of its own that need not import first what takes a second."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from textwrap import dedent

from tests.support.commands import PATIENCE_S, ROOT

SCRIPT = dedent("""
    import json, os, sys

    for line in sys.stdin:
        out, err, ended, env, code, argv = json.loads(line)
        if watcher := os.fork():
            os.waitpid(watcher, 0)
            continue
        if os.fork():
            os._exit(0)
        if child := os.fork():
            with open(ended, "w") as file:
                print(child, file=file, flush=True)
                print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), file=file)
            os._exit(0)
        os.environ.clear()
        os.environ.update(env)
        for number, path in enumerate((os.devnull, out, err)):
            os.dup2(os.open(path, os.O_RDWR | os.O_CREAT), number)
        sys.argv = argv
        break
    else:
        os._exit(0)
    exec(compile(code, "<string>", "exec"), {"__name__": "__main__"})
""")
"""Forks for each line. Who waits for the code's end is an orphan, so that any number of them can run at once."""
READ_WHEN_PYTHON_STARTS = ("PYTHON", "LC_", "LANG", "LD_")
"""How the names of variables begin whose values a fork cannot change any more."""


class Forks:
    """A process that has imported some modules, and a fork of it for each piece of code, which has done nothing yet."""

    def __init__(self, *modules: str) -> None:
        self._modules = modules

    @cached_property
    def _importer(self) -> subprocess.Popen[str]:
        """The process that forks; it ends with this one, whose end closes its input."""
        script = f"import {', '.join(self._modules)}\n{SCRIPT}"
        return subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdin=subprocess.PIPE, text=True)

    @staticmethod
    def can_have(env: Mapping[str, str]) -> bool:
        """Whether a fork with this environment is as good as a process that was started with it."""
        changed = (name for name in env.keys() | os.environ.keys() if env.get(name) != os.environ.get(name))
        return not any(name.startswith(READ_WHEN_PYTHON_STARTS) for name in changed)

    def run(
        self, code: str, *argv: str, env: Mapping[str, str], timeout: float = PATIENCE_S
    ) -> subprocess.CompletedProcess[str]:
        """Run the code as a script, and keep what it prints; it finds nothing on its standard input."""
        with tempfile.TemporaryDirectory() as folder:
            out, err, ended = (Path(folder, name) for name in ("out", "err", "ended"))
            os.mkfifo(ended)
            reading = os.open(ended, os.O_RDONLY | os.O_NONBLOCK)
            try:
                assert self._importer.stdin
                request = [*map(str, (out, err, ended)), dict(env), code, argv]
                self._importer.stdin.write(json.dumps(request) + "\n")
                self._importer.stdin.flush()
                process = int(_read_line(reading, PATIENCE_S))
                try:
                    exit_code = int(_read_line(reading, timeout))
                except TimeoutError:
                    os.kill(process, signal.SIGKILL)
                    raise TimeoutError(f"process {process} did not end within {timeout:g} s") from None
            finally:
                os.close(reading)
            return subprocess.CompletedProcess(argv, exit_code, out.read_text(), err.read_text())


def _read_line(reading: int, timeout: float) -> str:
    """Return the next line, however late its writer opens the pipe; a line is written at once, so it comes whole."""
    deadline, line = time.monotonic() + timeout, b""
    while not line.endswith(b"\n"):
        if not select.select([reading], [], [], max(0.0, deadline - time.monotonic()))[0]:
            raise TimeoutError
        line += os.read(reading, 1)
    return line.decode()
