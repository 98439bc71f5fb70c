"""A report that is asked for again and again: it reads only what is new, and says what one from scratch says."""

from __future__ import annotations

import os
import random
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from kinetics.planning.plan import ClipFolders
from kinetics.records import SPLIT_OF, Category, Outcome, Subset
from kinetics.report import clips_on_disk
from kinetics.report.attempts_so_far import AttemptsSoFar
from kinetics.report.collect import LiveReport, collect
from kinetics.report.model import Report
from kinetics.storage.growing_file import BLOCK_BYTES, COMPARED_BYTES, GrowingFile
from kinetics.storage.layout import Layout
from kinetics.storage.ledger import Ledger
from tests.support import small_run
from tests.support.small_run import A4, CLIPS, HERE, J1, OTHERS, Y3, Y4

ALL = [*CLIPS, *OTHERS]
FAILURES = (Category.PRIVATE, Category.NOT_OFFERED, Category.TIMEOUT, Category.NOT_FOUND)
SUBSET_OF = {split: subset for subset, split in SPLIT_OF.items()}


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = small_run.small_run(tmp_path)
    small_run.add_other_subsets(layout)
    return layout


def live(layout: Layout) -> LiveReport:
    return LiveReport(layout, [*SPLIT_OF], small_run.frame(ALL))


def figures(report: Report) -> Report:
    """A report without what depends on the moment."""
    at = small_run.BEGIN
    return replace(report, created_at=at, space=replace(report.space, bytes_free=0))


def scratch(layout: Layout) -> Report:
    return figures(collect(layout, [*SPLIT_OF], small_run.frame(ALL)))


# --- what may happen beside a report ---


def outcome(rng: random.Random) -> Outcome:
    clip = rng.choice(ALL)
    made, category = rng.random() < 0.5, rng.choice(FAILURES)
    size = rng.randrange(100, 900)
    return Outcome(
        clip,
        "done" if made else "failed" if rng.random() < 0.7 else "postponed",
        None if made else category,
        "" if made else f'it, "said" {rng.random()} of {clip.youtube_id}',
        engine="yt-dlp" if made else "",
        itag="18" if made else "",
        resolve_s=rng.random(),
        download_s=rng.random() * 3 if made else None,
        cut_s=rng.random() if made else None,
        bytes_received=size,
        calls=1,
        clip_bytes=size if made else None,
        source="mirror" if category is Category.NOT_FOUND and not made else "youtube",
    )


def run(layout: Layout, rng: random.Random) -> None:
    """A run, of all clips or of a shard: it compacts its log at its beginning and end, and appends in between."""
    part = replace(layout, shard=rng.choice(["", "1of2", "2of2"]))
    subset: Subset = rng.choice([*SPLIT_OF])
    with Ledger(part, subset) as ledger:
        for _ in range(rng.randrange(4)):
            one = outcome(rng)
            if SUBSET_OF[one.clip.split] == subset:
                ledger.record(one)
                if one.status == "done":
                    layout.clip(one.clip).parent.mkdir(parents=True, exist_ok=True)
                    layout.clip(one.clip).write_bytes(bytes(one.clip_bytes or 0))


def append(layout: Layout, rng: random.Random) -> None:
    """Half a row that a killed run leaves, or one of nonsense."""
    table = rng.choice([layout.stats("train"), layout.errors_log("train")])
    if table.exists():
        with open(table, "a") as file:
            file.write(
                rng.choice(["2026-03-01T10:00:09+00:00,yoga_0", '"open,\n', "1,2,3\n", "\n", "\0" * 9, "a\tb\n"])
            )


def rewrite(layout: Layout, rng: random.Random) -> None:
    """Somebody leaves out, doubles or changes a line, with an editor or in place."""
    table = rng.choice([*layout.root.glob("*stats.csv"), *layout.root.glob("*errors.log")])
    lines = table.read_text().splitlines(keepends=True)
    for _ in range(rng.randrange(1, 3)):
        if len(lines) > 1:
            place = rng.randrange(1, len(lines))
            lines[place : place + 1] = rng.choice([[], [lines[place]] * 2, [lines[place].replace("yoga", "tide")]])
    if rng.random() < 0.5:
        table.write_text("".join(lines))
        os.utime(table, ns=(table.stat().st_atime_ns, rng.getrandbits(60)))  # faster than the clock of the disk
    else:
        table.with_name("new").write_text("".join(lines))
        table.with_name("new").rename(table)


def remove(layout: Layout, rng: random.Random) -> None:
    """A person, or --verify, takes files away."""
    found = [*layout.folder.glob("*/*/*.mp4")]
    if found:
        rng.choice(found).unlink()
    if rng.random() < 0.2:
        shutil.rmtree(layout.folder / "train", ignore_errors=True)
    if rng.random() < 0.2:
        rng.choice([*layout.root.glob("*_stats.csv"), *layout.root.glob("*_errors.log")]).unlink()
        small_run.write_tables(layout)


EVENTS: tuple[Callable[[Layout, random.Random], None], ...] = (run, run, run, append, rewrite, remove)


@pytest.mark.parametrize("seed", range(3))
def test_whatever_happens_between_refreshes_the_figures_are_those_from_scratch(layout: Layout, seed: int) -> None:
    check_any_history(layout, seed)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(100, 200))
def test_the_same_for_many_histories(layout: Layout, seed: int) -> None:
    check_any_history(layout, seed)


def check_any_history(layout: Layout, seed: int) -> None:
    rng, report = random.Random(seed), live(layout)
    for _ in range(6):
        for _ in range(rng.randrange(4)):
            rng.choice(EVENTS)(layout, rng)
        if rng.random() < 0.7:
            assert figures(report.refresh()) == scratch(layout)
    assert figures(report.refresh()) == scratch(layout)


# --- what is read ---


def test_a_refresh_parses_the_new_rows_alone(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    parsed, parse = Counter[str](), AttemptsSoFar._parsed

    def counting(self: AttemptsSoFar, lines: bytes) -> object:
        parsed["rows"] += lines.count(b"\n")
        return parse(self, lines)

    monkeypatch.setattr(AttemptsSoFar, "_parsed", counting)
    report = live(layout)
    before = report.refresh().attempts
    assert parsed["rows"] == before
    with Ledger(layout, "train") as ledger:
        for clip in (J1, Y4):
            ledger.record(Outcome(clip, "failed", Category.PRIVATE, "This video is private"))
        assert report.refresh().attempts == before + 2
        assert report.refresh().attempts == before + 2
    assert parsed["rows"] == before + 2


def test_only_folders_that_changed_are_listed_again(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    listed, look = list[str](), ClipFolders.look

    def noting(self: ClipFolders, keys: list[tuple[str, str]], found: object) -> object:
        listed.extend(label for _, label in keys)
        return look(self, keys, found)  # type: ignore[arg-type]

    monkeypatch.setattr(ClipFolders, "look", noting)
    monkeypatch.setattr(clips_on_disk, "SETTLED_S", -10)
    report = live(layout)
    assert report.refresh().total.on_disk == len(HERE) + 1
    assert len(listed) == len({(clip.split, clip.label) for clip in ALL})
    listed.clear()
    layout.clip(A4).touch()
    assert report.refresh().total.on_disk == len(HERE) + 2
    assert listed == [A4.label]
    listed.clear()
    layout.clip(A4).unlink()
    assert report.refresh().total.on_disk == len(HERE) + 1
    assert listed == [A4.label], "the disk decides, whatever the tables say"


def test_a_clip_that_comes_in_the_same_tick_as_the_listing_is_seen(layout: Layout) -> None:
    report, folder = live(layout), layout.clip(Y3).parent
    at = folder.stat().st_mtime_ns
    before = report.refresh().total.on_disk
    layout.clip(Y3).touch()
    os.utime(folder, ns=(at, at))  # as if the disk's clock had not moved
    assert report.refresh().total.on_disk == before + 1


def test_a_row_that_leaves_a_quote_open_costs_only_itself(layout: Layout) -> None:
    before = scratch(layout).attempts
    rows = layout.stats("train").read_text().splitlines(keepends=True)
    layout.stats("train").write_text("".join([*rows, rows[1].replace("tai chi", '"tai chi'), *rows[1:3]]))
    assert scratch(layout).attempts == before + 2


def read(file: GrowingFile) -> tuple[bool, bytes]:
    void, blocks = file.new_lines()
    return void, b"".join(blocks)


def test_a_growing_file_gives_each_whole_line_once(tmp_path: Path) -> None:
    path = tmp_path / "table"
    file = GrowingFile(path)
    assert read(file) == (False, b"")
    path.write_bytes(b"one\ntw")
    assert read(file) == (False, b"one\n")
    path.write_bytes(b"one\ntwo\n")
    assert read(file) == (False, b"two\n")
    assert read(file) == (False, b"")
    path.write_bytes(b"one\n")
    assert read(file) == (True, b"one\n"), "it became shorter"
    path.unlink()
    assert read(file) == (True, b"")


@pytest.mark.parametrize("content", [b"one\nTWO\n", b"one\nTWO\nthree\n"], ids=["as long", "longer"])
@pytest.mark.parametrize("in_place", [True, False])
def test_a_file_that_was_written_anew_is_read_anew(tmp_path: Path, content: bytes, in_place: bool) -> None:
    path = tmp_path / "table"
    path.write_bytes(b"one\ntwo\n")
    file = GrowingFile(path)
    assert read(file) == (False, b"one\ntwo\n")
    if in_place:
        path.write_bytes(content)
        os.utime(path, (1, 1))  # faster than the clock of the disk
    else:
        path.with_name("new").write_bytes(content)
        path.with_name("new").rename(path)
    assert read(file) == (True, content)


@pytest.mark.parametrize(("more", "in_place"), [(b"", True), (b"", False), (b"three\n", False)])
def test_so_is_one_that_differs_far_from_where_reading_would_go_on(tmp_path: Path, more: bytes, in_place: bool) -> None:
    path, same = tmp_path / "table", b"same\n" * COMPARED_BYTES
    path.write_bytes(b"one\n" + same)
    file = GrowingFile(path)
    assert read(file) == (False, b"one\n" + same)
    if in_place:
        path.write_bytes(b"ONE\n" + same)
        os.utime(path, (1, 1))
    else:
        path.with_name("new").write_bytes(b"ONE\n" + same + more)
        path.with_name("new").rename(path)
    assert read(file) == (True, b"ONE\n" + same + more)


def test_a_line_longer_than_a_block_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "table"
    path.write_bytes(b"one\n" + b"x" * (2 * BLOCK_BYTES + 7) + b"\ntwo\n")
    file = GrowingFile(path)
    assert read(file) == (False, b"one\ntwo\n")
    with open(path, "ab") as table:
        table.write(b"three\n")
    assert read(file) == (False, b"three\n")


def test_memory_does_not_grow_with_the_refreshes(layout: Layout) -> None:
    report = live(layout)
    for turn in range(4):  # each run compacts the log, and each failure has words of its own
        with Ledger(layout, "train") as ledger:
            ledger.record(Outcome(J1, "failed", Category.TIMEOUT, f"after {'x' * turn}"))
        report.refresh()
    assert len(report._failures.texts) <= len({one.text for one in report.refresh().reasons}) + 1
