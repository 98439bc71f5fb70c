"""The table of what is known of the videos: what runs add to it, what a killed run leaves, and what reads it."""

from __future__ import annotations

import errno
import io
import random
import re
from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from kinetics.errors import Fatal
from kinetics.records import Clip, Outcome, StableFacts, VideoFacts
from kinetics.storage import video_table
from kinetics.storage.layout import Layout
from kinetics.storage.ledger import Ledger
from kinetics.storage.object_store import ObjectStore
from kinetics.storage.video_table import COLUMNS, VideoTable, known_videos
from tests.support.commands import ROOT
from tests.support.documents import marked_blocks

pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")
ODD = 'a\nb\0c \u202edlrow\u2069 <script>alert("1")</script> =1+1 \U0001f3b8'
FACTS = VideoFacts(
    "-_video0001",
    ODD,
    "Someone",
    "UC0123456789012345678901",
    f"{ODD}\r\n\u2028",
    ("harmonica", "blues, slow"),
    12345,
    61.5,
    "Music",
    date(2011, 3, 4),
    "pt-BR",
    640,
    360,
    29.97,
)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path, "700")


def outcome(facts: VideoFacts | None) -> Outcome:
    return Outcome(Clip(facts.youtube_id if facts else "none", 0, 10, "tai chi", "train"), "done", video=facts)


def run(layout: Layout, *facts: VideoFacts | None) -> None:
    """A run that is told these facts and ends as it should."""
    with VideoTable(layout, "train") as table:
        for one in facts:
            table.record(outcome(one))


def killed_run(layout: Layout, *facts: VideoFacts) -> None:
    """A run that is killed once it was told these facts."""
    table = VideoTable(layout, "train").__enter__()
    for one in facts:
        table.record(outcome(one))


def rows(layout: Layout) -> dict[str, dict[str, Any]]:
    """The rows of the table, by their ids, without the time of the answer."""
    found: list[dict[str, Any]] = parquet.read_table(layout.table("train", "videos.parquet")).to_pylist()
    assert len({one["youtube_id"] for one in found}) == len(found), "a row a video"
    return {one["youtube_id"]: {name: value for name, value in one.items() if name != "answered"} for one in found}


def row(facts: VideoFacts) -> dict[str, Any]:
    return asdict(facts) | {"keywords": [*facts.keywords] or None}


def journal(layout: Layout) -> Path:
    return layout.state_file("train", "videos.jsonl")


def test_what_a_run_was_told_is_in_the_table_as_it_was_said_with_types(layout: Layout) -> None:
    bare = VideoFacts("-_video0002")
    run(layout, FACTS, None, bare)
    assert rows(layout) == {FACTS.youtube_id: row(FACTS), bare.youtube_id: row(bare)}
    schema = parquet.read_schema(layout.table("train", "videos.parquet"))
    assert schema.names == [*COLUMNS]
    assert {str(schema.field(name).type) for name in ("title", "description", "language")} == {"string"}
    assert [str(schema.field(name).type) for name in ("views", "length_s", "published", "answered")] == [
        *("int64", "double", "date32[day]", "timestamp[ms, tz=UTC]")
    ]
    assert schema.field("keywords").type.value_type == pa.string()
    assert not journal(layout).exists()
    said = parquet.read_table(layout.table("train", "videos.parquet"))["answered"].to_pylist()[0]
    assert abs((datetime.now(UTC) - said).total_seconds()) < 60


def test_a_later_answer_replaces_the_row_and_keeps_what_it_lacks(layout: Layout) -> None:
    other = replace(FACTS, youtube_id="-_video0002")
    run(layout, FACTS, other)
    run(layout, VideoFacts(FACTS.youtube_id, title="New", views=0), VideoFacts(FACTS.youtube_id, channel="Another"))
    newest = replace(FACTS, title="New", views=0, channel="Another")
    assert rows(layout) == {FACTS.youtube_id: row(newest), other.youtube_id: row(other)}


def test_a_run_that_is_told_nothing_neither_writes_nor_reads_the_table(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(layout, None)
    assert not [*layout.root.rglob("*videos*")]
    layout.table("train", "videos.parquet").write_bytes(b"")
    monkeypatch.setattr(parquet, "ParquetFile", None)
    run(layout, None)


@pytest.mark.parametrize(
    "torn", [b"", b'{"youtube_id": "-_video0003", "title": "ha', b"\0\0\0", b'{"title": "no id"}\n']
)
def test_what_a_killed_run_was_told_is_in_the_table_after_the_next_one(layout: Layout, torn: bytes) -> None:
    killed_run(layout, FACTS)
    with open(journal(layout), "ab") as file:
        file.write(torn)
    second = replace(FACTS, youtube_id="-_video0002")
    killed_run(layout, second)
    assert rows(layout) == {FACTS.youtube_id: row(FACTS)}, "merged when the next run began"
    run(layout)
    assert rows(layout) == {FACTS.youtube_id: row(FACTS), second.youtube_id: row(second)}


def test_half_a_line_spoils_none_of_those_that_follow_where_the_journal_goes_on(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(video_table, "is_installed", lambda _: False)
    run(layout, FACTS)
    with open(journal(layout), "ab") as file:
        file.write(b'{"youtube_id": "-_video0003", "title": "ha')
    other = replace(FACTS, youtube_id="-_video0002")
    run(layout, other)
    monkeypatch.undo()
    run(layout)
    assert rows(layout) == {FACTS.youtube_id: row(FACTS), other.youtube_id: row(other)}


@pytest.mark.parametrize(
    "line",
    [
        *("[1]", '"text"', "7", "null", "{}", '{"youtube_id": 7}', '{"youtube_id": "x", "answered": "soon"}'),
        *('{"youtube_id": "x", "answered": 1e300}', '{"youtube_id": "x", "answered": 1, "views": "many"}'),
        *('{"youtube_id": "x", "answered": 1, "published": 7}', '{"youtube_id": "x", "answered": 1, "keywords": 7}'),
    ],
)
def test_a_line_of_the_journal_that_is_none_of_ours_is_left_out(layout: Layout, line: str) -> None:
    killed_run(layout, FACTS)
    with open(journal(layout), "a") as file:
        file.write(line + "\n")
    run(layout)
    assert rows(layout) == {FACTS.youtube_id: row(FACTS)}


def test_without_pyarrow_the_journal_stays_and_is_read_until_it_is_there(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(video_table, "is_installed", lambda _: False)
    with VideoTable(layout, "train") as table:
        assert not table.lacks_package
        table.record(outcome(FACTS))
        assert table.lacks_package
    run(layout, VideoFacts(FACTS.youtube_id, title="New"))
    assert not layout.table("train", "videos.parquet").exists()
    assert known_videos(layout, "train") == {FACTS.youtube_id: StableFacts("New", "Someone", "pt-BR")}
    monkeypatch.undo()
    run(layout)
    assert rows(layout) == {FACTS.youtube_id: row(replace(FACTS, title="New"))}


@pytest.mark.parametrize("content", [b"", b"PAR1 no table", None])
def test_a_table_that_cannot_be_read_is_set_aside(layout: Layout, content: bytes | None) -> None:
    table = layout.table("train", "videos.parquet")
    if content is None:  # damaged in its middle
        run(layout, *(replace(FACTS, youtube_id=f"-_video{number:04}") for number in range(50)))
        whole = table.read_bytes()
        content = b"PAR1" + bytes(len(whole) // 2) + whole[4 + len(whole) // 2 :]
    table.write_bytes(content)
    with pytest.raises(Fatal, match=r"Cannot read .*videos\.parquet"):
        known_videos(layout, "train")
    run(layout, FACTS)
    assert rows(layout) == {FACTS.youtube_id: row(FACTS)}
    assert table.with_name(f"{table.name}.old").read_bytes() == content


def test_a_table_of_another_version_keeps_the_columns_that_we_know(layout: Layout) -> None:
    theirs = pa.table({"title": ["A", None], "youtube_id": ["-_video0001", "-_video0002"], "more": [1, 2]})
    parquet.write_table(theirs, layout.table("train", "videos.parquet"))
    run(layout, VideoFacts("-_video0001", views=3))
    assert rows(layout) == {
        "-_video0001": row(VideoFacts("-_video0001", "A", views=3)),
        "-_video0002": row(VideoFacts("-_video0002")),
    }


def test_an_answer_that_cannot_be_written_ends_the_run_and_says_why(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    class FullDisk(io.StringIO):
        def flush(self) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        close = flush

    monkeypatch.setattr(video_table, "open", lambda *_, **__: FullDisk(), raising=False)
    with pytest.raises(Fatal, match=r"videos\.jsonl: the disk is full"):
        run(layout, FACTS)


def test_a_merge_that_fails_leaves_the_old_table_and_the_journal(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill_the_disk(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    run(layout, FACTS)
    monkeypatch.setattr(video_table, "_write", fill_the_disk)
    with pytest.raises(Fatal, match="the disk is full"):
        run(layout, VideoFacts(FACTS.youtube_id, title="New"))
    assert rows(layout) == {FACTS.youtube_id: row(FACTS)}
    monkeypatch.undo()
    run(layout)
    assert rows(layout)[FACTS.youtube_id]["title"] == "New"


@pytest.mark.parametrize(
    ("error", "most_bytes", "merged"),
    [(KeyboardInterrupt, 10**7, True), (KeyboardInterrupt, 0, False), (Fatal, 10**7, False)],
)
def test_after_an_interrupt_only_what_is_soon_merged_is_and_after_an_error_nothing(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, error: type[BaseException], most_bytes: int, merged: bool
) -> None:
    monkeypatch.setattr(video_table, "SOON_MERGED_BYTES", most_bytes)
    with pytest.raises(error), VideoTable(layout, "train") as table:
        table.record(outcome(FACTS))
        raise error("ended")
    assert layout.table("train", "videos.parquet").exists() == merged
    run(layout)
    assert rows(layout) == {FACTS.youtube_id: row(FACTS)}


def test_whatever_the_runs_are_told_the_table_has_the_last_word_on_each_video(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(video_table, "GROUP_ROWS", 7)
    rng, expected = random.Random(1), dict[str, VideoFacts]()
    for _ in range(12):
        said = list[VideoFacts]()
        for _ in range(rng.choice((0, 1, 5, 40))):
            facts = VideoFacts(
                f"-_video{rng.randrange(60):04}",
                title=rng.choice((None, "A", "B")),
                keywords=rng.choice(((), ("a",), ("b", "c"))),
                views=rng.choice((None, 0, 7)),
                published=rng.choice((None, date(2011, 3, 4))),
            )
            said.append(facts)
            expected[facts.youtube_id] = facts.completed_by(expected.get(facts.youtube_id))
        rng.choice((run, killed_run))(layout, *said)
    run(layout)
    assert rows(layout) == {youtube_id: row(facts) for youtube_id, facts in expected.items()}
    metadata = parquet.read_metadata(layout.table("train", "videos.parquet"))
    assert metadata.num_row_groups <= -(-metadata.num_rows // 7), "small runs leave no small row groups"


def test_each_shard_has_a_table_and_what_is_known_is_read_of_all(layout: Layout) -> None:
    shards = [replace(layout, shard=f"{number}of2") for number in (1, 2)]
    run(shards[0], FACTS)
    killed_run(shards[1], replace(FACTS, youtube_id="-_video0002", channel=None))
    run(layout, VideoFacts("-_video0003", language="en"))
    assert shards[0].table("train", "videos.parquet").name == "Kinetics700_train_shard1of2_videos.parquet"
    known = {
        "-_video0001": StableFacts(ODD, "Someone", "pt-BR"),
        "-_video0003": StableFacts(None, None, "en"),
    }
    assert known_videos(layout, "train") == known | known_videos(shards[1], "train")
    run(shards[1])
    assert known_videos(layout, "train") == known | {"-_video0002": StableFacts(ODD, None, "pt-BR")}
    assert known_videos(layout, "validate") == {}


def test_a_table_without_pyarrow_to_read_it_is_named(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    run(layout, FACTS)
    monkeypatch.setattr("kinetics.errors.find_spec", lambda _: None)
    with pytest.raises(Fatal, match=r"needs pyarrow: pip install pyarrow"):
        known_videos(layout, "train")


def test_the_table_is_loaded_as_the_page_says(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    (block,) = marked_blocks("runs: tests/unit/test_video_table.py::test_the_table_is_loaded_as_the_page_says")
    run(layout, FACTS)
    with Ledger(layout, "train") as ledger:
        ledger.record(outcome(FACTS))
    monkeypatch.chdir(layout.root)
    names: dict[str, Any] = {}
    exec(block.text, names)
    assert names["clips"][["youtube_id", "title", "language"]].to_numpy().tolist() == [["-_video0001", ODD, "pt-BR"]]


def test_the_page_names_each_column_with_its_type(layout: Layout) -> None:
    run(layout, FACTS)
    names = {str: "string", list: "list of strings", int: "int64", float: "double", date: "date32"}
    page = (ROOT / "docs" / "tables.md").read_text().partition("## The table of videos")[2].partition("\n## ")[0]
    told = {
        name: cells[2].strip()
        for line in page.splitlines()
        if (cells := line.split("|"))[0] == "" and len(cells) > 2
        for name in re.findall(r"`(\w+)`", cells[1])
    }
    assert told == {name: names.get(kind, "timestamp, UTC") for name, kind in COLUMNS.items()}


class TestAtAUrl:
    @pytest.fixture
    def layout(self, tmp_path: Path) -> Iterator[Layout]:
        yield Layout(tmp_path / "local", "700", url="memory://data/mine")
        MemoryFileSystem.store.clear()
        MemoryFileSystem.pseudo_dirs[:] = [""]

    def there(self, layout: Layout, tmp_path: Path) -> dict[str, dict[str, Any]]:
        copy = Layout(tmp_path, "700")
        copy.table("train", "videos.parquet").write_bytes(
            ObjectStore(layout.url).read("Kinetics700_train_videos.parquet") or b""
        )
        return rows(copy)

    def test_the_table_there_is_merged_with_and_nothing_stays_here(self, layout: Layout, tmp_path: Path) -> None:
        run(layout, FACTS)
        another_machine = replace(layout, root=tmp_path / "elsewhere")
        later = VideoFacts(FACTS.youtube_id, title="New")
        run(another_machine, later)
        assert self.there(layout, tmp_path) == {FACTS.youtube_id: row(replace(FACTS, title="New"))}
        assert not [path for path in layout.root.rglob("*") if path.is_file()]

    def test_a_store_that_goes_away_costs_no_answer(
        self, layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*_: object, **__: object) -> None:
            raise OSError("no room")

        monkeypatch.setattr(MemoryFileSystem, "put_file", refuse)
        with pytest.raises(Fatal, match="no room"):
            run(layout, FACTS)
        with pytest.raises(Fatal, match="no room"):
            run(layout)
        assert journal(layout).exists()
        monkeypatch.undo()
        run(layout)
        assert self.there(layout, tmp_path) == {FACTS.youtube_id: row(FACTS)}

    def test_a_table_there_that_cannot_be_read_is_set_aside(self, layout: Layout, tmp_path: Path) -> None:
        ObjectStore(layout.url).write("Kinetics700_train_videos.parquet", b"none")
        run(layout, FACTS)
        assert self.there(layout, tmp_path) == {FACTS.youtube_id: row(FACTS)}
        assert ObjectStore(layout.url).read("Kinetics700_train_videos.parquet.old") == b"none"
