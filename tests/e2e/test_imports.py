"""What a fresh process imports: neither a worker nor the parent loads what it does not need."""

from __future__ import annotations

from tests.support.commands import python

HEAVY = {"pandas", "numpy", "matplotlib", "pytubefix", "yt_dlp", "pytube"}


def test_a_worker_starts_without_pandas_and_the_engines() -> None:
    script = "import sys, kinetics.youtube.download_job; print(*{name.partition('.')[0] for name in sys.modules})"
    ran = python("-c", script)
    assert ran.returncode == 0, ran.stderr
    assert "av" in ran.stdout.split()
    assert not HEAVY & set(ran.stdout.split())


def test_the_parent_imports_neither_the_engines_nor_pandas_before_it_needs_to() -> None:
    script = "import sys, kinetics.cli.main; print(*{name.partition('.')[0] for name in sys.modules})"
    ran = python("-c", script)
    assert ran.returncode == 0, ran.stderr
    assert not HEAVY - {"numpy"} & set(ran.stdout.split()), "PyAV may bring numpy"
