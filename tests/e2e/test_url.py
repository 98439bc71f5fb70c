"""The whole program with a data set at a URL: an S3 server that comes, goes and refuses."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from s3fs import S3FileSystem

from tests.support.cluster import HOSTS, cluster
from tests.support.commands import PATIENCE_S, python
from tests.support.s3 import S3, strangers_refused
from tests.support.sandbox import ROWS, Run, Sandbox, frames, many_rows, wait_until
from tests.support.sweeps import first_of
from tests.youtube.server import LoopbackYouTube
from tests.youtube.world import FAILURES, Row, Scenario

COPY = ("--cut", "keyframe", "-w", "2")
"""What costs the processor least."""


class TestRun:
    """The whole program."""

    @pytest.fixture
    def machine(self, s3: S3, tmp_path: Path) -> Callable[[str], dict[str, str]]:
        """The environment of a machine: what it keeps to itself, no other knows."""
        return lambda name: s3.env | {"XDG_STATE_HOME": str(tmp_path / name)}

    @staticmethod
    def copied(url: str, sandbox: Sandbox) -> None:
        """Copy the data set to the sandbox's folder, where it can be looked at."""
        backend = S3FileSystem()
        backend.invalidate_cache()
        backend.get(url.removeprefix("s3://") + "/", str(sandbox.folder), recursive=True)

    @pytest.mark.soak
    def test_workers_of_a_cluster_put_their_clips_there(
        self, sandbox: Sandbox, bucket: str, machine: Callable[[str], dict[str, str]], tmp_path: Path
    ) -> None:
        scratch = {"TMPDIR": str(tmp_path)}
        with LoopbackYouTube(sandbox.world) as youtube:
            parent, worker = (youtube.env | machine(name) | scratch for name in ("parent", "worker"))
            with cluster(tmp_path / "dask", worker, worker) as dask:
                first, again = (
                    subprocess.run(
                        sandbox.command("-o", bucket, "--scheduler", dask.address),
                        env=parent,
                        capture_output=True,
                        text=True,
                        timeout=PATIENCE_S,
                        check=False,
                    )
                    for _ in range(2)
                )
        assert (first.returncode, again.returncode) == (0, 0), first.stderr
        assert "8 on disk; nothing to do" in again.stdout
        self.copied(bucket, sandbox)
        sandbox.assert_complete()
        assert {row["host"] for row in sandbox.attempts()} == set(HOSTS)
        assert not [*tmp_path.rglob("*.part"), *tmp_path.glob("kinetics-*"), *sandbox.folder.rglob("probe-*")]

    @pytest.mark.soak
    def test_a_worker_without_credentials_is_refused(
        self, sandbox: Sandbox, bucket: str, machine: Callable[[str], dict[str, str]], tmp_path: Path
    ) -> None:
        with LoopbackYouTube(sandbox.world) as youtube:
            stranger = youtube.env | machine("stranger") | {"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}
            with cluster(tmp_path / "dask", stranger) as dask:
                run = sandbox.run("-o", bucket, "--scheduler", dask.address, env=machine("parent"))
        assert run.code == 2
        assert re.search(rf"error: The Dask worker .* does not reach {bucket}/Kinetics700 as", run.err), run.err
        assert not run.kinds()["player"]

    def test_the_clips_and_tables_of_one_machine_are_there_for_another(
        self, make_sandbox: Callable[..., Sandbox], bucket: str, machine: Callable[[str], dict[str, str]]
    ) -> None:
        sandbox = make_sandbox(ROWS[:4])
        gone = sandbox.rows[0]
        sandbox.world.scenarios[gone.youtube_id] = Scenario(failure=FAILURES["private"])
        run = sandbox.run("-o", bucket, "-w", "2", env=machine("one"))
        assert run.code == 0, run.err
        assert f"folder: {bucket}/Kinetics700\n" in run.out
        assert f"reasons: {bucket}/Kinetics700_validate_errors.log" in run.out
        assert "free" not in run.out
        self.copied(bucket, sandbox)
        assert set(sandbox.errors()) == {gone.youtube_id}
        assert len(sandbox.attempts()) == len(sandbox.rows)
        sandbox.rows = sandbox.rows[1:]
        sandbox.assert_complete()
        assert not [path for path in (sandbox.folder / "one").rglob("*") if path.suffix in (".mp4", ".csv", ".part")]

        def elsewhere(*options: str) -> Run:
            run = sandbox.run_here("-o", bucket, *options, env=machine("other"))
            assert (run.code, run.kinds()["player"]) == (0, 0), run.err
            return run

        again = sandbox.run("-o", bucket, "--retry", "none", env=machine("other"))
        assert (again.code, again.kinds()["player"]) == (0, 0), again.err
        assert "3 on disk; nothing to do\n         1  gone before\n" in again.out
        assert "3 on disk; 1 to do\n         1  gone before" in elsewhere("--dry-run").out
        assert "4        3  in 3 classes" in elsewhere("--list-classes").out
        report = elsewhere("--report").out
        assert "3 of 4 clips on disk" in report
        assert "1 gone, 0 may work later, 0 not tried yet" in report
        assert "free" not in report
        (page,) = (sandbox.folder / "other").rglob("*.html")
        assert f"from <code>{bucket}/Kinetics700</code>" in page.read_text()
        assert "Are they right?" not in page.read_text(), "it would have to fetch clips to show them"

    def test_a_store_that_goes_away_ends_the_run_and_fails_no_clip(
        self, make_sandbox: Callable[..., Sandbox], bucket: str, s3: S3, machine: Callable[[str], dict[str, str]]
    ) -> None:
        sandbox = make_sandbox(many_rows(12))
        sandbox.world.latency_s = 0.2
        bucket = bucket.removesuffix("/data sets/mine")  # a bucket of their own is good enough for clips, too
        command, env = ("-o", bucket, *COPY), machine("one")
        with LoopbackYouTube(sandbox.world) as youtube, sandbox.start(youtube, *command, env=env) as process:
            try:
                wait_until(lambda: any(".mp4" in request for request in s3.requests), "a first clip")
            finally:
                s3.stop()
            said, _ = process.communicate(timeout=120)
        s3.start()
        assert process.returncode == 2
        assert said.count("error: ") == 1
        assert "error: Cannot write Kinetics700" in said
        assert "Traceback" not in said, said
        self.copied(bucket, sandbox)
        assert 0 < len(sandbox.files()) < 12
        assert all(map(frames, sandbox.files())), "one does not play"
        sandbox.world.latency_s = 0
        assert sandbox.run(*command, env=env).code == 0
        self.copied(bucket, sandbox)
        assert sandbox.files() == sorted(map(sandbox.path, sandbox.rows))
        assert {row["status"] for row in sandbox.attempts()} == {"done"}
        assert sandbox.errors() == {}

    @pytest.mark.parametrize("fault", first_of(["refused", "no bucket", "no server"]))
    def test_a_store_that_cannot_be_used_is_said_in_one_line_and_nobody_is_asked(
        self, fault: str, make_sandbox: Callable[..., Sandbox], bucket: str, machine: Callable[[str], dict[str, str]]
    ) -> None:
        sandbox, env = make_sandbox([Row("tai chi", "n0t_basebal", 0, 3)]), machine("one")
        if fault == "no server":
            env["AWS_ENDPOINT_URL"] = "http://127.0.0.1:1"
        if fault == "no bucket":
            bucket = "s3://none-of-that-name/prefix"
        if fault == "refused":
            with strangers_refused():
                run = sandbox.run("-o", bucket, env=env)
        else:
            run = sandbox.run("-o", bucket, env=env)
        errors = [line for line in run.err.splitlines() if line.startswith("error: ")]
        assert (run.code, len(errors), run.kinds()["player"]) == (2, 1, 0), run.err
        assert bucket in errors[0]
        words = {"no bucket": "bucket does not exist", "refused": "Access Key", "no server": "Could not connect"}
        assert words[fault] in errors[0]
        assert "hush-hush" not in run.err + run.out


def test_a_request_that_breaks_off_unseen_leaves_the_terminal_alone() -> None:
    script = (
        "import gc, kinetics.storage.object_store, fsspec.asyn\n"
        "kinetics.storage.object_store.open_store('memory://data')\n"
        "async def fail(): raise OSError\n"
        "async def begin(): __import__('asyncio').ensure_future(fail())\n"
        "fsspec.asyn.sync(fsspec.asyn.get_loop(), begin)\n"
        "fsspec.asyn.sync(fsspec.asyn.get_loop(), __import__('asyncio').sleep, 0.01)\n"
        "gc.collect()\n"
    )
    ran = python("-c", script)
    assert (ran.returncode, ran.stderr) == (0, "")
