"""Finds out whether a Dask worker can take part: it has to have this program, and to reach the folder of the clips."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distributed import Future

from kinetics.errors import Fatal
from kinetics.scheduling import dask_worker
from kinetics.scheduling.dask_connection import DASK_CALL_TIMEOUT_S
from kinetics.storage.atomic import write_text
from kinetics.storage.layout import Layout

REMEDY = "install it there, in the same folder as here or in one that PYTHONPATH names, with its requirements.txt"


@dataclass(frozen=True, slots=True)
class ProbeFile:
    """A small file that workers read to show that they reach the folder, or the URL, where the clips go."""

    layout: Layout
    path: Path
    content: str

    def write(self) -> None:
        if self.layout.store:
            self.layout.store.write(self.layout.object_name(self.path), self.content.encode())
        else:
            write_text(self.path, [self.content])

    def remove(self) -> None:
        if self.layout.store:
            with suppress(Fatal):  # the store may be what ended the run, and a probe file does no harm
                self.layout.store.remove(self.layout.object_name(self.path))
        else:
            self.path.unlink(missing_ok=True)

    def handshake_task(self) -> Callable[[], Mapping[str, Any]]:
        """Return a task for workers of which nothing is known yet, and which a task from an unknown module would end.

        They look for the program where it is on this machine, too: often it is in a folder that all of them see.
        """
        url, probe = self.layout.url, self.layout.object_name(self.path) if self.layout.url else str(self.path)
        program = str(Path(__file__).resolve().parent.parent.parent)

        def handshake_task() -> Mapping[str, Any]:
            if program not in sys.path:
                sys.path.append(program)
            from kinetics.scheduling.dask_worker import handshake  # noqa: PLC0415 - imported on the worker

            return handshake(url, probe)

        return handshake_task

    def check(self, future: Future[Any]) -> tuple[str, str]:
        """Return why a worker with this answer is not used, and what to warn of; either may be empty."""
        if future.status == "error":
            error = future.exception(timeout=DASK_CALL_TIMEOUT_S)
            return f"cannot run this program ({error}): {REMEDY}.", ""
        try:
            answer = future.result(timeout=DASK_CALL_TIMEOUT_S)
        except OSError as error:
            return f"does not answer ({error}).", ""
        if answer["program"] != dask_worker.PROGRAM_DIGEST:
            return "runs another version of this program: install the same one on all machines, and restart it.", ""
        if answer["probe"] != self.content:
            folder, found = self.layout.display_path(self.layout.folder), answer["probe"]
            return f"does not reach {folder} as this machine does {found}: use one that all machines share.", ""
        ours, theirs = dask_worker.packages(), answer["packages"]
        if missing := [name for name in ours if name not in theirs]:
            return f"lacks {', '.join(missing)}: run pip install -r requirements.txt there.", ""
        other = [f"{name} {theirs[name]} (here {ours[name]})" for name in ours if theirs[name] != ours[name]]
        return "", f"has {', '.join(other)}" if other else ""
