"""A line that resets many connections: each that broke is tried again by itself, and everybody hardly ever waits."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from tests.support.sandbox import Sandbox, many_rows
from tests.support.sweeps import soak_unless
from tests.youtube.mirror import Crate, stock
from tests.youtube.world import BadLine, ResetStage

COPY = ("--cut", "keyframe")
ALL: Sequence[ResetStage] = ("connect", "handshake", "request", "reply")
ENGINES = ("pytubefix", "yt-dlp", "both")


@pytest.mark.parametrize(
    ("clips", "stages", "engine"),
    soak_unless(
        lambda clips, *_: clips == 20,
        (20, ALL, "pytubefix"),
        *((60, stages, engine) for stages in (ALL, *((stage,) for stage in ALL)) for engine in ENGINES),
    ),
)
def test_where_3_of_10_connections_are_reset_every_clip_comes_at_little_more_cost(
    make_sandbox: Callable[..., Sandbox], clips: int, stages: Sequence[ResetStage], engine: str
) -> None:
    sandbox = make_sandbox(many_rows(clips), official=True)
    sandbox.world.bad_line = BadLine(0.3, stages, seed=clips)
    run = sandbox.run(*COPY, *(() if engine == "both" else ("--engine", engine)))
    assert run.code == 0, run.err
    assert sandbox.files() == sorted(map(sandbox.path, sandbox.rows))
    assert run.kinds()["player"] <= 1.8 * clips
    assert (run.out + run.err).count("all workers are paused") <= 2
    assert {row["status"] for row in sandbox.attempts()} <= {"done", "postponed"}


@pytest.mark.soak
@pytest.mark.parametrize("stage", ALL)
def test_where_3_of_10_connections_are_reset_the_mirror_gives_every_clip(
    make_sandbox: Callable[..., Sandbox], stage: ResetStage
) -> None:
    rows = many_rows(12)
    sandbox = make_sandbox(rows, official=True)
    crates = [Crate(f"part_{number}.tar.gz", rows[number::4]) for number in range(4)]
    stock(sandbox.world, "700", "validate", crates)
    sandbox.world.bad_line = BadLine(0.3, (stage,))
    run = sandbox.run("--source", "mirror")
    assert run.code == 0, run.err
    assert sandbox.files() == sorted(map(sandbox.path, rows))
    assert (run.out + run.err).count("all workers are paused") <= 2
