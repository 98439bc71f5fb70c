"""The rule of these tests: no other process. And the clock of a run, which several of them set."""

from __future__ import annotations

import multiprocessing.process
import os
import subprocess
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True, scope="module")
def no_other_process() -> Iterator[None]:
    """Fail whatever starts another process. A test that has to start one belongs in tests/e2e."""

    def refuse(*_: object, **__: object) -> None:
        pytest.fail("A test in tests/unit starts another process: move it to tests/e2e.")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subprocess.Popen, "__init__", refuse)
        patch.setattr(multiprocessing.process.BaseProcess, "start", refuse)
        for name in ("fork", "forkpty", "posix_spawn", "posix_spawnp", "system"):
            patch.setattr(os, name, refuse)
        yield


class FakeTime:
    """The clock of a run's progress, which a test sets."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def run_clock(monkeypatch: pytest.MonkeyPatch) -> FakeTime:
    fake = FakeTime()
    monkeypatch.setattr("kinetics.run.progress.time", fake)
    return fake
