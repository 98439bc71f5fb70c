"""Clips and tables at a URL: they come whole or not at all, and what is there is seen, whoever put it."""

from __future__ import annotations

import asyncio
import pickle
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem
from s3fs import S3FileSystem

from kinetics.cli.parser import parse
from kinetics.errors import Fatal
from kinetics.storage import table_sync as copies
from kinetics.storage.layout import Layout, local_folder
from kinetics.storage.object_store import ObjectStore, open_store
from kinetics.storage.table_sync import TableSync, merge_tables, readable_tables
from kinetics.storage.thumbnail_log import ThumbnailLog
from kinetics.youtube.download_job import DownloadClip
from tests.support.s3 import S3

FOLDERS = ("Kinetics700/train/tai_chi", "Kinetics700/train/massaging_person's_head", "Kinetics700/val/odd_[a]*?{b}_(c)")


@pytest.fixture
def memory() -> Iterator[str]:
    yield "memory://data/mine"
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]


@pytest.fixture(params=["s3", "memory", "file"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    """One of each kind: an object store, one that copies instead of moving, and a file system."""
    if request.param == "file":
        return ObjectStore(f"file://{tmp_path}/store")
    url: str = request.getfixturevalue("bucket" if request.param == "s3" else "memory")
    return ObjectStore(url)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.part"
    path.write_bytes(b"a whole clip" * 1000)
    return path


class TestStore:
    def test_what_is_put_is_listed_by_folder_and_can_be_read(self, store: ObjectStore, clip: Path) -> None:
        for number, folder in enumerate(FOLDERS):
            for name in ("-a.mp4", "b_000001.500.mp4")[number:]:
                store.put(clip, f"{folder}/{name}")
        found = store.names_in_all([*FOLDERS, "Kinetics700/train", "Kinetics700/test/none", ""])
        assert [*map(sorted, found[:3])] == [["-a.mp4", "b_000001.500.mp4"], ["b_000001.500.mp4"], []]
        assert sorted(found[3]) == ["massaging_person's_head", "tai_chi"]
        assert (found[4], set(found[5]) - {".partial"}) == ([], {"Kinetics700"})
        assert store.read(f"{FOLDERS[1]}/b_000001.500.mp4") == clip.read_bytes()
        assert store.read(f"{FOLDERS[1]}/none") is None

    def test_a_small_file_is_replaced(self, store: ObjectStore) -> None:
        for content in (b"old", b"", b"new"):
            store.write("probe", content)
            assert store.read("probe") == content

    def test_any_label_names_a_folder(self, store: ObjectStore, clip: Path) -> None:
        store.put(clip, f"{FOLDERS[2]}/a.mp4")
        assert store.names_in(FOLDERS[2]) == ["a.mp4"]

    def test_where_there_is_nothing_nothing_is_listed(self, store: ObjectStore) -> None:
        assert open_store(store.url).names_in("Kinetics700") == []

    def test_a_worker_is_told_what_to_import_before_it_is_forked(self) -> None:
        layout = Layout(Path("here"), "700", url="s3://bucket")
        job = DownloadClip(layout, "exact", ("pytubefix",), 360)
        assert set(job.modules) >= {"fsspec", "s3fs"}
        assert not set(replace(job, layout=replace(layout, url="")).modules) & {"fsspec", "s3fs"}

    def test_it_goes_to_other_processes_and_says_no_password(self) -> None:
        layout = Layout(Path("here"), "700", url="sftp://me:hush@host:22/data")
        assert pickle.loads(pickle.dumps(layout)) == layout
        assert str(layout.store) == "sftp://me:***@host:22/data"
        assert "hush" not in f"{layout.store!r} {local_folder(layout.url)}"

    @pytest.mark.parametrize("backend", [MemoryFileSystem, LocalFileSystem])
    def test_a_file_that_comes_only_in_part_is_not_under_its_name(
        self, backend: type[Any], memory: str, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store = ObjectStore(memory if backend is MemoryFileSystem else f"file://{tmp_path}/store")
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
        store = ObjectStore(bucket)
        store.write("a/mine", b"")
        assert store.names_in("a") == ["mine"]
        s3.put(f"/{bucket.removeprefix('s3://')}/a/theirs".replace(" ", "%20"))
        assert sorted(store.names_in("a")) == ["mine", "theirs"]

    def test_an_object_that_stands_for_its_folder_is_nothing_in_it(self, bucket: str, s3: S3) -> None:
        """As the consoles of object stores make one for a folder that is empty otherwise."""
        s3.put(f"/{bucket.removeprefix('s3://')}/a/".replace(" ", "%20"))
        assert ObjectStore(bucket).names_in("a") == []

    def test_a_folder_costs_a_request_for_each_thousand_names(
        self, bucket: str, s3: S3, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "10")  # the server's own thousand
        store, names = ObjectStore(bucket), [f"{number:02}" for number in range(25)]
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
            ObjectStore(bucket).put(clip, "a.mp4", timeout_s=0.1)


class TestTables:
    """What stands at the URL, and here while a run is at work."""

    @pytest.fixture
    def layout(self, memory: str, tmp_path: Path) -> Layout:
        return Layout(tmp_path / "own", "700", url=memory)

    @staticmethod
    def there(layout: Layout) -> bytes | None:
        return ObjectStore(layout.url).read("Kinetics700_train_stats.csv")

    def test_they_are_put_before_the_first_event_now_and_then_and_in_the_end(
        self, layout: Layout, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(copies, "SYNC_INTERVAL_S", 0.0)
        monkeypatch.setattr(copies, "SYNC_PAUSE_FACTOR", 0)
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
        ObjectStore(layout.url).write("Kinetics700_train_stats.csv", b"a\nb\n")
        before = MemoryFileSystem.store["/data/mine/Kinetics700_train_stats.csv"]
        with TableSync(layout, ["train"]) as tables:
            assert layout.stats("train").read_bytes() == b"a\nb\n"
            assert [*tables.syncing(range(3))] == [0, 1, 2]
        assert MemoryFileSystem.store["/data/mine/Kinetics700_train_stats.csv"] is before

    def test_what_a_killed_run_left_is_taken_up_and_what_was_deleted_is_forgotten(self, layout: Layout) -> None:
        store = ObjectStore(layout.url)
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
        names = [f"Kinetics700_train_shard02of16_{name}" for name in ("stats.csv", "thumbnails.csv")]
        for name in (*names, *others):
            ObjectStore(layout.url).write(name, b"a\n")
        with readable_tables(replace(layout, shard="01of16"), ["train"]) as found:
            assert sorted(path.name for path in found.root.iterdir()) == names

    def test_what_was_seen_of_thumbnails_is_there_for_the_next_machine(self, layout: Layout) -> None:
        for youtube_id in ("-_video0001", "-_video0002"):
            with TableSync(layout, ["train"]):
                layout.root.mkdir(exist_ok=True)
                with ThumbnailLog(layout, "train") as log:
                    log.note(youtube_id, "missing")
        assert len((ObjectStore(layout.url).read("Kinetics700_train_thumbnails.csv") or b"").splitlines()) == 3
        with readable_tables(layout, ["train"]) as found:
            assert {*ThumbnailLog(found, "train").sightings()["youtube_id"]} == {"-_video0001", "-_video0002"}

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
        assert merge_tables(theirs, ours) == both

    def test_the_status_goes_along_and_is_never_fetched_nor_merged(self, layout: Layout) -> None:
        name, status = "Kinetics700_train_status.json", layout.table("train", "status.json")
        store = ObjectStore(layout.url)
        store.write(name, b"{another run's}\n")
        with TableSync(layout, ["train"], status) as tables:
            assert not status.exists()
            layout.root.mkdir(exist_ok=True)
            status.write_bytes(b"{begun}\n")
            for _ in tables.syncing(range(1)):
                assert store.read(name) == b"{begun}\n"
            status.write_bytes(b"{ended}\n")
            with readable_tables(layout, ["train"]) as found:
                assert found.table("train", "status.json").read_bytes() == b"{ended}\n", "what is here is newer"
        assert store.read(name) == b"{ended}\n"
        assert not status.exists()
        with readable_tables(layout, ["train"]) as found:
            assert found.table("train", "status.json").read_bytes() == b"{ended}\n"

    def test_beside_a_run_its_own_tables_are_read_as_they_grow(self, layout: Layout) -> None:
        ObjectStore(layout.url).write("Kinetics700_train_shard1of2_stats.csv", b"a\n")
        layout.root.mkdir(exist_ok=True)
        layout.stats("train").write_bytes(b"a\n")
        with readable_tables(layout, ["train"], at_work=True) as found:
            layout.stats("train").write_bytes(b"a\nb\n")
            assert found.stats("train").read_bytes() == b"a\nb\n"
            assert replace(found, shard="1of2").stats("train").read_bytes() == b"a\n"

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
        assert parse(["-o", "s3://bucket"]).output == local_folder("s3://bucket")
        assert local_folder("s3://bucket/a-b") != local_folder("s3://bucket/a/b")
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
