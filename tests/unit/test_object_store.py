"""Clips and tables at a URL: they come whole or not at all, and what is there is seen, whoever put it."""

from __future__ import annotations

import asyncio
import pickle
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem
from s3fs import S3FileSystem

from kinetics.cli.options import parse
from kinetics.errors import Fatal
from kinetics.storage import table_sync as copies
from kinetics.storage.layout import Layout, own_folder
from kinetics.storage.object_store import Store, open_store
from kinetics.storage.table_sync import TableSync, merged, readable_tables
from kinetics.youtube.download_job import Download
from tests.support.cluster import HOSTS, cluster
from tests.support.program import PATIENCE_S, ROOT, Bench, Run, frames, many_rows, wait_until
from tests.support.s3 import S3, strangers_refused
from tests.youtube.server import LoopbackYouTube
from tests.youtube.world import FAILURES, Row, Scenario

FOLDERS = ("Kinetics700/train/tai_chi", "Kinetics700/train/massaging_person's_head", "Kinetics700/val/odd_[a]*?{b}_(c)")
COPY = ("--cut", "keyframe", "-w", "2")
"""What costs the processor least."""


@pytest.fixture(scope="module")
def s3() -> Iterator[S3]:
    server = S3()
    server.start()
    yield server
    server.stop()


@pytest.fixture
def bucket(s3: S3, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of a place in a new bucket, which this process can reach as well."""
    for name, value in s3.env.items():
        monkeypatch.setenv(name, value)
    S3FileSystem.clear_instance_cache()
    name = f"bucket-{abs(hash(request.node.nodeid))}"
    s3.put(f"/{name}")
    s3.requests.clear()
    return f"s3://{name}/data sets/mine"


@pytest.fixture
def memory() -> Iterator[str]:
    yield "memory://data/mine"
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]


@pytest.fixture(params=["s3", "memory", "file"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """One of each kind: an object store, one that copies instead of moving, and a file system."""
    if request.param == "file":
        return Store(f"file://{tmp_path}/store")
    url: str = request.getfixturevalue("bucket" if request.param == "s3" else "memory")
    return Store(url)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.part"
    path.write_bytes(b"a whole clip" * 1000)
    return path


class TestStore:
    def test_what_is_put_is_listed_by_folder_and_can_be_read(self, store: Store, clip: Path) -> None:
        for number, folder in enumerate(FOLDERS):
            for name in ("-a.mp4", "b_000001.500.mp4")[number:]:
                store.put(clip, f"{folder}/{name}")
        found = store.names_in_all([*FOLDERS, "Kinetics700/train", "Kinetics700/test/none", ""])
        assert [*map(sorted, found[:3])] == [["-a.mp4", "b_000001.500.mp4"], ["b_000001.500.mp4"], []]
        assert sorted(found[3]) == ["massaging_person's_head", "tai_chi"]
        assert (found[4], set(found[5]) - {".partial"}) == ([], {"Kinetics700"})
        assert store.read(f"{FOLDERS[1]}/b_000001.500.mp4") == clip.read_bytes()
        assert store.read(f"{FOLDERS[1]}/none") is None

    def test_a_small_file_is_replaced(self, store: Store) -> None:
        for content in (b"old", b"", b"new"):
            store.write("probe", content)
            assert store.read("probe") == content

    def test_any_label_names_a_folder(self, store: Store, clip: Path) -> None:
        store.put(clip, f"{FOLDERS[2]}/a.mp4")
        assert store.names_in(FOLDERS[2]) == ["a.mp4"]

    def test_where_there_is_nothing_nothing_is_listed(self, store: Store) -> None:
        assert open_store(store.url).names_in("Kinetics700") == []

    def test_a_worker_is_told_what_to_import_before_it_is_forked(self) -> None:
        layout = Layout(Path("here"), "700", url="s3://bucket")
        job = Download(layout, "exact", ("pytubefix",), 360)
        assert set(job.modules) >= {"fsspec", "s3fs"}
        assert not set(replace(job, layout=replace(layout, url="")).modules) & {"fsspec", "s3fs"}

    def test_it_goes_to_other_processes_and_says_no_password(self) -> None:
        layout = Layout(Path("here"), "700", url="sftp://me:hush@host:22/data")
        assert pickle.loads(pickle.dumps(layout)) == layout
        assert str(layout.store) == "sftp://me:***@host:22/data"
        assert "hush" not in f"{layout.store!r} {own_folder(layout.url)}"

    @pytest.mark.parametrize("backend", [MemoryFileSystem, LocalFileSystem])
    def test_a_file_that_comes_only_in_part_is_not_under_its_name(
        self, backend: type[Any], memory: str, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store = Store(memory if backend is MemoryFileSystem else f"file://{tmp_path}/store")
        store.write("a/old.mp4", b"old")

        def half(self: Any, local: str, place: str, **_: object) -> None:
            self.pipe_file(place, Path(local).read_bytes()[:100])
            raise OSError("the line broke")

        monkeypatch.setattr(backend, "put_file", half)
        for name in ("a/old.mp4", "a/new.mp4"):
            with pytest.raises(Fatal, match="the line broke"):
                store.put(clip, name)
        assert store.names_in("a") == ["old.mp4"]
        assert store.read("a/old.mp4") == b"old"

    def test_what_another_machine_puts_is_seen(self, bucket: str, s3: S3) -> None:
        store = Store(bucket)
        store.write("a/mine", b"")
        assert store.names_in("a") == ["mine"]
        s3.put(f"/{bucket.removeprefix('s3://')}/a/theirs".replace(" ", "%20"))
        assert sorted(store.names_in("a")) == ["mine", "theirs"]

    def test_an_object_that_stands_for_its_folder_is_nothing_in_it(self, bucket: str, s3: S3) -> None:
        """As the consoles of object stores make one for a folder that is empty otherwise."""
        s3.put(f"/{bucket.removeprefix('s3://')}/a/".replace(" ", "%20"))
        assert Store(bucket).names_in("a") == []

    def test_a_folder_costs_a_request_for_each_thousand_names(
        self, bucket: str, s3: S3, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "10")  # the server's own thousand
        store, names = Store(bucket), [f"{number:02}" for number in range(25)]
        for name in names:
            store.write(f"a/{name}", b"")
        s3.requests.clear()
        assert sorted(store.names_in("a")) == names
        assert len(s3.requests) == 3
        backend, _ = url_to_fs(bucket)
        assert not backend.dircache, "of 650,000 clips it would hold a gigabyte"

    @pytest.mark.parametrize(
        ("url", "missing", "words"),
        [
            ("s3://bucket", "fsspec.core", "pip install fsspec s3fs"),
            ("gs://bucket", "gcsfs", "pip install fsspec gcsfs"),
            ("sftp://me:hush@host/data", "paramiko", "pip install fsspec paramiko"),
            ("nonsense://me:hush@host/data", "", "not known: nonsense"),
            ("ftp://me:hush@127.0.0.1:1/data", "", "refused"),
        ],
    )
    def test_what_cannot_be_reached_is_one_line_without_a_password(
        self, url: str, missing: str, words: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        if missing:
            monkeypatch.setitem(sys.modules, missing, None)
        with pytest.raises(Fatal, match=words) as error:
            open_store(url)
        assert "hush" not in str(error.value)
        assert "\n" not in str(error.value)

    def test_what_a_backend_says_is_passed_on_without_a_password(
        self, memory: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*_: object, **__: object) -> None:
            raise ValueError("nobody at http://me:hush@host:99/path")

        monkeypatch.setattr(MemoryFileSystem, "ls", refuse)
        with pytest.raises(Fatal, match=r"nobody at http://me:\*\*\*@host:99/path"):
            open_store(memory)

    def test_what_does_not_arrive_in_time_is_given_up(
        self, bucket: str, clip: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Else the pool would end the worker, and call it the clip's fault."""

        async def hang(*_: object, **__: object) -> None:
            await asyncio.sleep(1000)

        monkeypatch.setattr(S3FileSystem, "_put_file", hang)
        S3FileSystem.clear_instance_cache()
        with pytest.raises(Fatal, match="FSTimeoutError"):
            Store(bucket).put(clip, "a.mp4", timeout_s=0.1)

    def test_a_request_that_breaks_off_unseen_leaves_the_terminal_alone(self) -> None:
        script = (
            "import gc, kinetics.storage.object_store, fsspec.asyn\n"
            "kinetics.storage.object_store.open_store('memory://data')\n"
            "async def fail(): raise OSError\n"
            "async def begin(): __import__('asyncio').ensure_future(fail())\n"
            "fsspec.asyn.sync(fsspec.asyn.get_loop(), begin)\n"
            "fsspec.asyn.sync(fsspec.asyn.get_loop(), __import__('asyncio').sleep, 0.01)\n"
            "gc.collect()\n"
        )
        ran = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
        assert ran.stderr == ""


class TestTables:
    """What stands at the URL, and here while a run is at work."""

    @pytest.fixture
    def layout(self, memory: str, tmp_path: Path) -> Layout:
        return Layout(tmp_path / "own", "700", url=memory)

    @staticmethod
    def there(layout: Layout) -> bytes | None:
        return Store(layout.url).read("Kinetics700_train_stats.csv")

    def test_they_are_put_before_the_first_event_now_and_then_and_in_the_end(
        self, layout: Layout, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(copies, "EVERY_S", 0.0)
        monkeypatch.setattr(copies, "SHARE", 0)
        seen, table = [], layout.stats("train")
        with TableSync(layout, ["train"]) as tables:
            table.parent.mkdir()
            table.write_bytes(b"header\n")

            def events() -> Iterator[int]:
                for number in range(3):
                    seen.append(self.there(layout))
                    yield number

            for number in tables.syncing(events()):
                with open(table, "ab") as file:
                    file.write(b"%d\n" % number)
            with open(table, "ab") as file:
                file.write(b"last\n")
        assert seen == [b"header\n", b"header\n0\n", b"header\n0\n1\n"]
        assert self.there(layout) == b"header\n0\n1\n2\nlast\n"
        assert not table.exists()

    def test_between_two_times_much_else_is_done(self, layout: Layout) -> None:
        with TableSync(layout, ["train"]) as tables:
            layout.root.mkdir()
            for number in tables.syncing(range(3)):
                layout.stats("train").write_bytes(b"%d\n" % number)
                assert self.there(layout) is None

    def test_a_table_that_stays_as_it_is_is_not_put_again(self, layout: Layout) -> None:
        Store(layout.url).write("Kinetics700_train_stats.csv", b"a\nb\n")
        before = MemoryFileSystem.store["/data/mine/Kinetics700_train_stats.csv"]
        with TableSync(layout, ["train"]) as tables:
            assert layout.stats("train").read_bytes() == b"a\nb\n"
            assert [*tables.syncing(range(3))] == [0, 1, 2]
        assert MemoryFileSystem.store["/data/mine/Kinetics700_train_stats.csv"] is before

    def test_what_a_killed_run_left_is_taken_up_and_what_was_deleted_is_forgotten(self, layout: Layout) -> None:
        store = Store(layout.url)
        store.write("Kinetics700_train_stats.csv", b"a\ntheirs\n")
        layout.root.mkdir()
        layout.stats("train").write_bytes(b"a\nours\nhal")
        with readable_tables(layout, ["train"]) as found:
            assert found.stats("train").read_bytes() == b"a\ntheirs\nours\n"
        assert layout.stats("train").read_bytes() == b"a\nours\nhal", "a run may be at work on it"
        with TableSync(layout, ["train"]):
            pass
        assert self.there(layout) == b"a\ntheirs\nours\n"
        MemoryFileSystem().rm_file("data/mine/Kinetics700_train_stats.csv")
        with TableSync(layout, ["train"]):
            assert not layout.stats("train").exists()

    def test_what_is_read_are_the_tables_of_every_shard(self, layout: Layout) -> None:
        others = ("Kinetics700_validate_stats.csv", "Kinetics700-2020_train_stats.csv", "Kinetics700_train_notes.txt")
        for name in ("Kinetics700_train_shard02of16_stats.csv", *others):
            Store(layout.url).write(name, b"a\n")
        with readable_tables(replace(layout, shard="01of16"), ["train"]) as found:
            assert [path.name for path in found.root.iterdir()] == ["Kinetics700_train_shard02of16_stats.csv"]

    def test_a_run_that_ends_for_a_reason_says_that_one_and_keeps_what_cannot_be_put(
        self, layout: Layout, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*_: object, **__: object) -> None:
            raise OSError("no room")

        monkeypatch.setattr(MemoryFileSystem, "put_file", refuse)
        layout.root.mkdir()
        with pytest.raises(KeyboardInterrupt), TableSync(layout, ["train"]):
            layout.stats("train").write_bytes(b"a\n")
            raise KeyboardInterrupt
        assert layout.stats("train").read_bytes() == b"a\n"
        with pytest.raises(Fatal, match="no room"), TableSync(layout, ["train"]):
            pass
        assert layout.stats("train").read_bytes() == b"a\n"

    @pytest.mark.parametrize(
        ("theirs", "ours", "both"),
        [
            (b"", b"", b""),
            (b"a\nb\n", b"", b"a\nb\n"),
            (b"", b"a\nb\nha", b"a\nb\n"),
            (b"a\nb\n", b"a\n", b"a\nb\n"),
            (b"a\n", b"a\nb\n", b"a\nb\n"),
            (b"a\nb\nhalf", b"a\nc\n", b"a\nb\nc\n"),
        ],
    )
    def test_no_whole_line_of_either_is_lost(self, theirs: bytes, ours: bytes, both: bytes) -> None:
        assert merged(theirs, ours) == both

    def test_in_a_folder_they_are_written_where_they_stay(self, tmp_path: Path) -> None:
        layout = Layout(tmp_path, "700")
        with TableSync(layout, ["train"]) as tables, readable_tables(layout, ["train"]) as found:
            layout.stats("train").write_bytes(b"a\n")
            assert found is layout
            assert [*tables.syncing(range(2))] == [0, 1]
        assert layout.stats("train").read_bytes() == b"a\n"


class TestOption:
    def test_a_url_is_one_and_a_file_url_is_a_folder(self) -> None:
        assert parse(["-o", "s3://bucket/prefix/"]).url == "s3://bucket/prefix"
        assert parse(["-o", "s3://bucket"]).output == own_folder("s3://bucket")
        assert own_folder("s3://bucket/a-b") != own_folder("s3://bucket/a/b")
        folder = parse(["-o", "file:///data/my%20clips"])
        assert (folder.output, folder.url) == (Path("/data/my clips"), "")

    @pytest.mark.parametrize(
        "options",
        [
            ["-o", "s3://"],
            ["-o", "file://data"],
            ["-o", "cache::s3://bucket"],
            ["-o", "9://me:hush@host"],
            *(["-o", "s3://bucket", *what] for what in (["--verify"], ["--frames", "5"], ["--sound", "wav"])),
            *(["-o", "s3://bucket", *what] for what in (["--shards", "9"], ["--lists"], ["--manifest"])),
            ["-o", "s3://bucket", "--compare", "a", "b"],
        ],
    )
    def test_what_cannot_be_there_is_refused_in_one_line(
        self, options: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(SystemExit) as ended:
            parse(options)
        said = capsys.readouterr().err
        assert (ended.value.code, said.count("\n")) == (2, 1)
        assert "hush" not in said
        assert "copy the data set" in said or "neither a folder nor a URL" in said


class TestRun:
    """The whole program."""

    @pytest.fixture
    def machine(self, s3: S3, tmp_path: Path) -> Callable[[str], dict[str, str]]:
        """The environment of a machine: what it keeps to itself, no other knows."""
        return lambda name: s3.env | {"XDG_STATE_HOME": str(tmp_path / name)}

    @staticmethod
    def copied(url: str, bench: Bench) -> None:
        """Copy the data set to the bench's folder, where it can be looked at."""
        backend = S3FileSystem()
        backend.invalidate_cache()
        backend.get(url.removeprefix("s3://") + "/", str(bench.folder), recursive=True)

    @pytest.mark.soak
    def test_workers_of_a_cluster_put_their_clips_there(
        self, bench: Bench, bucket: str, machine: Callable[[str], dict[str, str]], tmp_path: Path
    ) -> None:
        scratch = {"TMPDIR": str(tmp_path)}
        with LoopbackYouTube(bench.world) as youtube:
            parent, worker = (youtube.env | machine(name) | scratch for name in ("parent", "worker"))
            with cluster(tmp_path / "dask", worker, worker) as dask:
                first, again = (
                    subprocess.run(
                        bench.command("-o", bucket, "--scheduler", dask.address),
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
        self.copied(bucket, bench)
        bench.assert_complete()
        assert {row["host"] for row in bench.attempts()} == set(HOSTS)
        assert not [*tmp_path.rglob("*.part"), *tmp_path.glob("kinetics-*"), *bench.folder.rglob("probe-*")]

    def test_a_worker_without_credentials_is_refused(
        self, bench: Bench, bucket: str, machine: Callable[[str], dict[str, str]], tmp_path: Path
    ) -> None:
        with LoopbackYouTube(bench.world) as youtube:
            stranger = youtube.env | machine("stranger") | {"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}
            with cluster(tmp_path / "dask", stranger) as dask:
                run = bench.run("-o", bucket, "--scheduler", dask.address, env=machine("parent"))
        assert run.code == 2
        assert re.search(rf"error: The Dask worker .* does not reach {bucket}/Kinetics700 as", run.err), run.err
        assert not run.kinds()["player"]

    def test_the_clips_and_tables_of_one_machine_are_there_for_another(
        self, bench: Bench, bucket: str, machine: Callable[[str], dict[str, str]]
    ) -> None:
        gone = bench.rows[0]
        bench.world.scenarios[gone.youtube_id] = Scenario(failure=FAILURES["private"])
        run = bench.run("-o", bucket, env=machine("one"))
        assert run.code == 0, run.err
        assert f"-> {bucket}/Kinetics700\n" in run.out
        assert f"reasons: {bucket}/Kinetics700_validate_errors.log" in run.out
        assert "free" not in run.out
        self.copied(bucket, bench)
        assert set(bench.errors()) == {gone.youtube_id}
        assert len(bench.attempts()) == len(bench.rows)
        bench.rows = bench.rows[1:]
        bench.assert_complete()
        assert not [path for path in (bench.folder / "one").rglob("*") if path.suffix in (".mp4", ".csv", ".part")]

        def elsewhere(*options: str) -> Run:
            run = bench.run("-o", bucket, *options, env=machine("other"))
            assert (run.code, run.kinds()["player"]) == (0, 0), run.err
            return run

        assert "7 on disk, 1 gone before; nothing to do" in elsewhere("--retry", "none").out
        assert "7 on disk, 1 gone before; 1 to do" in elsewhere("--dry-run").out
        assert "8        7  in 5 classes" in elsewhere("--list-classes").out
        report = elsewhere("--report").out
        assert "7 of 8 clips on disk" in report
        assert "1 gone, 0 may work later, 0 not tried yet" in report
        assert "free" not in report
        (page,) = (bench.folder / "other").rglob("*.html")
        assert f"from <code>{bucket}/Kinetics700</code>" in page.read_text()
        assert "Are they right?" not in page.read_text(), "it would have to fetch clips to show them"

    def test_a_store_that_goes_away_ends_the_run_and_fails_no_clip(
        self, make_bench: Callable[..., Bench], bucket: str, s3: S3, machine: Callable[[str], dict[str, str]]
    ) -> None:
        bench = make_bench(many_rows(24))
        bench.world.latency_s = 0.2
        bucket = bucket.removesuffix("/data sets/mine")  # a bucket of their own is good enough for clips, too
        command, env = ("-o", bucket, *COPY), machine("one")
        with LoopbackYouTube(bench.world) as youtube, bench.start(youtube, *command, env=env) as process:
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
        self.copied(bucket, bench)
        assert 0 < len(bench.files()) < 24
        assert all(map(frames, bench.files())), "one does not play"
        bench.world.latency_s = 0
        assert bench.run(*command, env=env).code == 0
        self.copied(bucket, bench)
        assert bench.files() == sorted(map(bench.path, bench.rows))
        assert {row["status"] for row in bench.attempts()} == {"done"}
        assert bench.errors() == {}

    @pytest.mark.parametrize("fault", ["no bucket", "refused", "no server"])
    def test_a_store_that_cannot_be_used_is_said_in_one_line_and_nobody_is_asked(
        self, fault: str, make_bench: Callable[..., Bench], bucket: str, machine: Callable[[str], dict[str, str]]
    ) -> None:
        bench, env = make_bench([Row("tai chi", "n0t_basebal", 0, 3)]), machine("one")
        if fault == "no server":
            env["AWS_ENDPOINT_URL"] = "http://127.0.0.1:1"
        if fault == "no bucket":
            bucket = "s3://none-of-that-name/prefix"
        if fault == "refused":
            with strangers_refused():
                run = bench.run("-o", bucket, env=env)
        else:
            run = bench.run("-o", bucket, env=env)
        errors = [line for line in run.err.splitlines() if line.startswith("error: ")]
        assert (run.code, len(errors), run.kinds()["player"]) == (2, 1, 0), run.err
        assert bucket in errors[0]
        words = {"no bucket": "bucket does not exist", "refused": "Access Key", "no server": "Could not connect"}
        assert words[fault] in errors[0]
        assert "hush-hush" not in run.err + run.out
