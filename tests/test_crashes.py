"""Whatever kills or stops the program, clips are whole or absent, and the next run goes on from there."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable

import pytest

from kinetics.records import Category
from tests.bench import Bench, descendants, frames, kill, many_rows
from tests.youtube.server import LoopbackYouTube


class TestCrashes:
    def test_workers_killed_at_random_cost_one_try_each_and_a_re_run_completes(
        self, make_bench: Callable[..., Bench]
    ) -> None:
        bench = make_bench(many_rows(24))
        chance, killed = random.Random(1), 0
        with LoopbackYouTube(bench.world) as youtube, bench.start(youtube) as process:
            while process.poll() is None and killed < 6:
                time.sleep(0.7)
                if workers := descendants(process.pid):
                    kill(chance.choice(workers))
                    killed += 1
            process.communicate(timeout=90)
        assert process.returncode in (0, 1)
        assert {category for category, _ in bench.errors().values()} <= {Category.LOST_WORKER}
        assert len(bench.errors()) <= killed
        assert bench.run().code == 0
        bench.assert_complete()

    def test_everything_killed_at_random_leaves_whole_clips_only(self, make_bench: Callable[..., Bench]) -> None:
        bench = make_bench(many_rows(24))
        chance = random.Random(2)
        for _ in range(6):
            with LoopbackYouTube(bench.world) as youtube, bench.start(youtube) as process:
                time.sleep(chance.uniform(0.8, 3.0))
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
            for path in bench.files():
                if ".partial" not in path.parts:
                    assert len(frames(path)) == 90
        assert bench.run().code == 0
        bench.assert_complete()
        assert bench.errors() == {}

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
    def test_a_signal_ends_the_run_with_130_and_leaves_nothing_half_done(
        self, make_bench: Callable[..., Bench], number: signal.Signals
    ) -> None:
        bench = make_bench(many_rows(24))
        with LoopbackYouTube(bench.world) as youtube, bench.start(youtube) as process:
            while not bench.files():
                time.sleep(0.05)
            (os.killpg if number is signal.SIGINT else os.kill)(process.pid, number)
            out, _ = process.communicate(timeout=5)
        assert process.returncode == 130
        assert "Traceback" not in out
        assert "to go on: python" in out
        assert all(".partial" not in path.parts for path in bench.files())
        assert bench.run().code == 0
        bench.assert_complete()

    def test_ctrl_c_during_the_start_gives_130_without_a_traceback(self, make_bench: Callable[..., Bench]) -> None:
        bench = make_bench(many_rows(4))
        with LoopbackYouTube(bench.world) as youtube:
            for delay in (0.15, 0.3, 0.5, 0.7, 0.9):
                with bench.start(youtube) as process:
                    time.sleep(delay)
                    os.killpg(process.pid, signal.SIGINT)
                    out, _ = process.communicate(timeout=5)
                assert process.returncode in (0, 130), (delay, out)
                assert "Traceback" not in out, (delay, out)

    def test_a_second_run_on_the_same_subset_refuses_in_one_line(self, make_bench: Callable[..., Bench]) -> None:
        bench = make_bench(many_rows(24))
        with LoopbackYouTube(bench.world) as youtube, bench.start(youtube) as first:
            while not bench.files():
                time.sleep(0.05)
            second = subprocess.run(bench.command(), env=youtube.env, capture_output=True, text=True, check=False)
            os.killpg(first.pid, signal.SIGKILL)
            first.communicate()
        assert second.returncode == 2
        assert second.stderr.count("\n") == 1
        assert "another run is already working on Kinetics700 validate" in second.stderr
