"""The rule of these tests: no other process."""

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
