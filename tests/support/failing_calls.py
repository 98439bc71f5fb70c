"""Makes calls of the C library fail in the programs that a test starts, by a library that is loaded before it."""

from __future__ import annotations

import shutil
import subprocess
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import pytest

KILLED = 0
"""In the place of an error: the call kills its process."""


@cache
def _library() -> Path:
    compiler = shutil.which("cc")
    if not compiler:
        pytest.skip("there is no C compiler")
    library = Path(mkdtemp(prefix="failing-calls-"), "failing_calls.so")
    source = Path(__file__).with_suffix(".c")
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
    return library


def failing(calls: str, number: int, path: str, after: int = 0) -> dict[str, str]:
    """Return the environment in which these calls fail with this error, for files whose path has this text in it.

    The first `after` calls succeed.
    """
    names = {"FAIL_CALLS": calls, "FAIL_ERRNO": str(number), "FAIL_PATH": path, "FAIL_AFTER": str(after)}
    return {"LD_PRELOAD": str(_library()), **names}
