"""The benchmarks still run, on a harness that does what they need; what they measure is theirs to say."""

from __future__ import annotations

import re
import subprocess
import sys

import av
import pytest

from benchmarks.report import NAMES
from tests.support.commands import ROOT
from tests.support.sandbox import frames
from tests.support.sweeps import first_of, soak_unless
from tests.youtube.videos import Video
from tests.youtube.world import World


def run(*arguments: str) -> str:
    command = [sys.executable, "-m", *arguments]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=250, check=False)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_every_benchmark_is_on_the_list() -> None:
    measuring = [path for path in (ROOT / "benchmarks").glob("*.py") if "def measure(" in path.read_text("utf-8")]
    assert {path.stem for path in measuring} == set(NAMES)


@pytest.mark.parametrize("name", first_of(NAMES))
def test_each_benchmark_says_how_it_is_run(name: str) -> None:
    assert f"usage: python -m benchmarks.{name} " in run(f"benchmarks.{name}", "--help")


@pytest.mark.parametrize(
    ("named", "count"), soak_unless(lambda *_: False, (("cost",), 2), (("network", "cost"), 4)), ids=["one", "two"]
)
def test_benchmarks_that_are_named_print_their_tables_in_markdown(named: tuple[str, ...], count: int) -> None:
    printed = run("benchmarks", *named, "--clips", "2", "--rounds", "1", "--cuts", "keyframe")
    tables = re.findall(r"^### (.+)\n\n\|(.+)\|\n\| -[- |:]+\|\n((?:\|.+\|\n)+)", printed, re.MULTILINE)
    assert len(tables) == printed.count("### ") == count
    for title, header, rows in tables:
        assert title
        assert {row.count("|") for row in rows.splitlines()} == {header.count("|") + 2}


def test_a_long_video_repeats_a_short_one_without_a_seam() -> None:
    video = Video(duration_s=18, repeats=3)
    assert frames(video.progressive.path) == [video.counter(index) for index in range(540)] == [*range(180)] * 3
    with av.open(str(video.dash_video.path)) as picture:
        shown = [
            (packet.pts * packet.time_base, packet.is_keyframe) for packet in picture.demux() if packet.pts is not None
        ]
    assert sorted(time for time, _ in shown) == video.frame_times
    assert [time * 30 for time, is_keyframe in shown if is_keyframe] == video.keyframes
    with av.open(str(video.dash_audio.path)) as sound:
        heard = [packet.pts for packet in sound.demux() if packet.pts is not None]
    assert heard == [*range(heard[0], heard[0] + 1024 * len(heard), 1024)]
    assert heard[-1] + 1024 >= 18 * 44_100


def test_all_connections_share_the_line() -> None:
    world = World()
    assert world.time_on_line(1_000_000) == 0
    world.line_bit_s = 8e3
    assert world.time_on_line(1_000_000) == pytest.approx(1000, abs=1)
    assert world.time_on_line(500_000) == pytest.approx(1500, rel=0.1)
