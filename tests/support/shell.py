"""A bash session that commands are typed into, one line after the other."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self


@dataclass(frozen=True)
class Typed:
    """What came of a line: its exit code, and all that it printed."""

    code: int
    output: str


class Shell:
    """A bash in a folder, as a context manager. What a line changes holds for those after it, as at a terminal."""

    def __init__(self, folder: Path, env: Mapping[str, str]) -> None:
        self._bash = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            cwd=folder,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.killpg(self._bash.pid, signal.SIGKILL)
        self._bash.communicate()

    def type(self, line: str) -> Typed:
        """Run a line; it finds nothing on its standard input, where the lines after it come from."""
        assert self._bash.stdin
        assert self._bash.stdout
        end = uuid.uuid4().hex
        self._bash.stdin.write(f"{{ {line}\n}} </dev/null; printf '\\n%s %s\\n' {end} $?\n")
        self._bash.stdin.flush()
        output = ""
        for printed in self._bash.stdout:
            if printed.startswith(end):
                return Typed(int(printed.split()[1]), output.removesuffix("\n"))
            output += printed
        raise AssertionError(f"{line!r} ended the session: {output}")


def wrapper(command: str, env: Mapping[str, str]) -> str:
    """Return a bash function that runs `command`, wherever PATH has it by then, in another environment than ours."""
    removed = [word for name in sorted(os.environ.keys() - env.keys()) for word in ("-u", name)]
    changed = [f"{name}={value}" for name, value in env.items() if os.environ.get(name) != value]
    return f'{command}() {{ {shlex.join(["env", *removed, *changed, command])} "$@"; }}'
