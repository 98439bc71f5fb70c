"""The data set's card: true, safe to show, never in the place of somebody else's file, and marked once it is older."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import yaml

from kinetics.annotations.classes import class_names
from kinetics.dataset.card import CardFigures, Manifest, Recipe, card_text, escaped
from kinetics.dataset.describe import TableStates, table_states, write_card
from kinetics.dataset.inventory import verify_clips
from kinetics.dataset.lists import write_lists
from kinetics.dataset.manifest import manifest_rows, write_manifest
from kinetics.errors import Fatal
from kinetics.records import Clip, Facts, Outcome, Split, Subset
from kinetics.storage.card_file import MARK, CardFile, older_splits
from kinetics.storage.layout import Layout
from kinetics.storage.ledger import Ledger
from tests.support.dataset import DatasetOnDisk, numbered, run_here

HOSTILE = "a\nb\0\u202e`|` <script>alert(1)</script> [x](http://y) **z** & www.example.org"


@pytest.fixture
def dataset(tmp_path: Path) -> DatasetOnDisk:
    dataset = DatasetOnDisk(tmp_path, numbered(3))
    dataset.record(*(Outcome(clip, "done", cut="smart", max_height=360) for clip in dataset.clips[:2]))
    return dataset


def described(dataset: DatasetOnDisk, subset: Subset = "validate", name: str = "") -> Path:
    """Write manifest and card of a subset, and return the card."""
    layout = dataset.layout
    before = {subset: table_states(layout, subset)}
    path = dataset.folder / name if name else layout.table(subset, "manifest.csv")
    facts = {clip.key: Facts(10**6, 1, 300, 10.0, 640, 360, True, "", 48) for clip in dataset.clips}
    frame = dataset.frame.assign(split={"train": "train", "validate": "val", "test": "test"}[subset])
    write_manifest(path, manifest_rows(layout, subset, frame, facts))
    assert write_card(layout, {path: [subset]}, before, class_names("700"), None)
    return CardFile(layout).path


def header(card: Path | str) -> dict[str, object]:
    text = card if isinstance(card, str) else card.read_text()
    empty, head, _ = text.split("---\n", 2)
    assert not empty
    found = yaml.safe_load(head)
    assert isinstance(found, dict)
    return found


def rows_of(card: Path | str, first: str) -> list[list[str]]:
    """The rows of the table whose header begins with a word."""
    lines = (card if isinstance(card, str) else card.read_text()).splitlines()
    begin = next(at for at, line in enumerate(lines) if line.startswith(f"| {first} |"))

    def cells() -> Iterator[list[str]]:
        for line in lines[begin + 2 :]:
            if not line.startswith("|"):
                return
            yield [cell.strip() for cell in line.strip("|").split("|")]

    return [*cells()]


def test_the_card_has_the_figures_of_the_manifest_and_the_classes_numbers_are_those_of_the_lists(
    dataset: DatasetOnDisk,
) -> None:
    card = described(dataset)
    text = card.read_text()
    assert card == dataset.folder / "Kinetics700/README.md"
    assert rows_of(card, "split") == [["val", "3", "1", "0.0", "3,000,000"], ["all", "3", "1", "0.0", "3,000,000"]]
    lists = write_lists(
        dataset.layout, dataset.layout.derived_layout("lists"), "validate", dataset.frame, class_names("700")
    )
    number = lists[0].read_text().splitlines()[0].split()[-1]
    assert rows_of(card, "number") == [[number, "tai chi", "3"]]
    manifest = dataset.layout.table("validate", "manifest.csv")
    assert rows_of(card, "file") == [
        ["Kinetics700&#95;validate&#95;manifest.csv", "3", f"`{hashlib.sha256(manifest.read_bytes()).hexdigest()}`"]
    ]
    assert "\n# 2 downloads\npython download.py -v 700 -s validate --cut smart --max-height 360\n" in text
    assert "- Cut: smart (2 clips), not known (1 clip)." in text
    assert "- 2 clips cut from YouTube's videos." in text
    assert "CC BY 4.0" in text
    assert str(dataset.folder) not in text
    assert "older" not in text.lower()


def test_the_header_is_what_hugging_face_reads(dataset: DatasetOnDisk) -> None:
    found = header(described(dataset))
    assert found["pretty_name"] == "Kinetics-700"
    assert found["license"] == "other"
    assert found["task_categories"] == ["video-classification"]
    assert found["size_categories"] == ["n<1K"]
    assert found["configs"] == [{"config_name": "default", "data_files": [{"split": "validation", "path": "val/**"}]}]


def test_other_subsets_are_described_by_the_manifests_that_they_have(dataset: DatasetOnDisk) -> None:
    described(dataset, "train")
    card = described(dataset, name="mine.csv")
    assert [row[:2] for row in rows_of(card, "split")] == [["train", "3"], ["val", "3"], ["all", "6"]]
    assert [row[0] for row in rows_of(card, "file")] == ["mine.csv", "Kinetics700&#95;train&#95;manifest.csv"]
    dataset.layout.table("train", "manifest.csv").write_bytes(b"edited\0")
    assert [row[:2] for row in rows_of(described(dataset), "split")] == [["val", "3"], ["all", "3"]]


def figures(**changed: object) -> CardFigures:
    columns = {"label": [HOSTILE, "tai chi"], "split": "val", "cut": HOSTILE, "source": HOSTILE}
    table = pd.DataFrame({**columns, "bytes": [1.0, 2.0], "duration": 1.0, "height": 360.0, "fps": 30.0})
    usual = CardFigures(
        *("HACS", "700"),
        of_kinetics=False,
        manifests=[Manifest(f"{HOSTILE}.csv", "0", table)],
        classes=[HOSTILE],
        annotations=[(escaped(HOSTILE), "2026-01-01")],
        own_list=f"```\n{HOSTILE}",
        days=None,
        recipes={Recipe("smart"): 1},
    )
    return replace(usual, **changed)  # type: ignore[arg-type]


def test_foreign_text_comes_through_as_data() -> None:
    text = card_text(figures())
    assert [row[0] for row in rows_of(text, "number")] == ["0", "-1"], "it is one row, not more"
    (label,) = (row[1] for row in rows_of(text, "number") if row[0] == "0")
    for bad in ("<script", "\0", "\u202e", "](http://y", "**z", "`|`", "www.example"):
        assert bad not in text
    assert "a&#92;nb&#92;x00&#92;u202e&#96;&#124;&#96; &#60;script&#62;" in label
    assert text.count("```") == 2, "no name of a file ends the block of commands"
    assert "--annotations LIST" in text
    assert header(text)["pretty_name"] == "HACS"
    assert "Google" not in text, "the licence is another one"


def test_a_file_of_somebody_else_stays(dataset: DatasetOnDisk) -> None:
    path = CardFile(dataset.layout).path
    path.parent.mkdir(exist_ok=True)
    for make in (
        lambda: path.write_text("# my own notes\n"),
        lambda: path.write_bytes(b"\xff" + MARK.encode()),
        path.mkdir,
        lambda: path.symlink_to("nowhere"),
        lambda: os.mkfifo(path),
    ):
        make()
        before = path.lstat()
        assert not write_card(dataset.layout, {}, {}, [], None)
        CardFile(dataset.layout).clips_changed("val")
        assert path.lstat() == before
        path.rmdir() if path.is_dir() else path.unlink()


def test_a_run_that_changes_clips_marks_the_card_and_a_manifest_of_that_subset_takes_the_mark_away(
    dataset: DatasetOnDisk,
) -> None:
    described(dataset, "train")
    card = described(dataset)
    before = card.read_text()
    with Ledger(dataset.layout, "validate") as ledger:
        ledger.record(Outcome(dataset.clips[2], "failed"))
        assert card.read_text() == before, "no clip came"
        ledger.record(Outcome(dataset.clips[2], "done"))
        assert older_splits(card.read_text()) == ["val"]
    with Ledger(replace(dataset.layout, shard="1of2"), "train") as ledger:
        ledger.record(Outcome(dataset.clips[2], "done"))
    text = card.read_text()
    assert older_splits(text) == ["train", "val"]
    assert "clips of train and val have changed since it was written" in text
    assert [line for line in text.splitlines() if line and not line.startswith("> **Older")] == [
        line for line in before.splitlines() if line
    ], "nothing else changes"
    assert header(card) == header(before)
    assert older_splits(described(dataset).read_text()) == ["train"]
    assert older_splits(described(dataset, "train").read_text()) == []


def test_the_card_is_written_once_a_run_unless_somebody_replaces_it(
    dataset: DatasetOnDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    card, written, looked = described(dataset), list[str](), list[CardFile]()
    fresh = card.read_text()
    write = CardFile.write

    def noted(file: CardFile, text: str, older: Sequence[Split] = ()) -> None:
        written.append(text)
        write(file, text, older)

    read = CardFile.read
    monkeypatch.setattr(CardFile, "write", noted)

    def seen(file: CardFile) -> str | None:
        looked.append(file)
        return read(file)

    monkeypatch.setattr(CardFile, "read", seen)
    with Ledger(dataset.layout, "validate") as ledger:
        for clip in dataset.clips * 3:
            ledger.record(Outcome(clip, "done"))
        assert (len(written), len(looked)) == (1, 1)
        card.unlink()
        card.write_text(fresh)  # as --manifest does meanwhile
        ledger.record(Outcome(dataset.clips[0], "done"))
        assert (len(written), older_splits(card.read_text())) == (2, ["val"])


def test_a_card_at_a_url_is_marked_there_once_a_run_and_another_file_stays(dataset: DatasetOnDisk) -> None:
    there = replace(dataset.layout, url="memory://a-card")
    store = there.store
    assert store
    CardFile(there).clips_changed("val")
    assert not CardFile(there).is_foreign
    assert store.read("Kinetics700/README.md") is None
    card = CardFile(there)
    card.write(described(dataset).read_text())
    card.clips_changed("val")
    assert older_splits((store.read("Kinetics700/README.md") or b"").decode()) == ["val"]
    store.write("Kinetics700/README.md", b"# mine")
    for file in (card, CardFile(there)):
        file.clips_changed("train")
        assert store.read("Kinetics700/README.md") == b"# mine"
    assert card.is_foreign


def test_clips_that_came_while_a_manifest_was_written_leave_the_mark(dataset: DatasetOnDisk) -> None:
    before: dict[Subset, TableStates] = {"validate": table_states(dataset.layout, "validate")}
    with pytest.raises(Fatal, match="the manifest is gone"):
        write_card(dataset.layout, {}, before, [], None)
    dataset.record(Outcome(dataset.clips[2], "done"))
    path = dataset.layout.table("validate", "manifest.csv")
    write_manifest(path, manifest_rows(dataset.layout, "validate", dataset.frame, {}))
    assert write_card(dataset.layout, {path: ["validate"]}, before, [], None)
    assert older_splits(CardFile(dataset.layout).path.read_text()) == ["val"]


def test_verify_marks_the_card_when_it_moves_a_clip_away(tmp_path: Path) -> None:
    dataset = DatasetOnDisk(tmp_path)
    clips = numbered(2)
    for clip in clips:
        dataset.put(clip)
    card = described(dataset)
    layout: Layout = dataset.layout

    def verified() -> None:
        [*verify_clips(run_here, layout, "validate", dataset.frame, quick=True, cut="smart")]

    verified()
    assert older_splits(card.read_text()) == []
    layout.clip(clips[0]).write_bytes(b"")
    verified()
    assert older_splits(card.read_text()) == ["val"]


def test_a_full_disk_leaves_the_card_as_it_was(dataset: DatasetOnDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    card = described(dataset)
    before = card.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("kinetics.storage.atomic.os.fsync", full)
    with pytest.raises(Fatal, match="the disk is full"):
        CardFile(dataset.layout).clips_changed("val")
    assert card.read_bytes() == before
    assert not [*card.parent.glob("*.part")]


def test_a_label_s_folder_may_be_named_as_the_card_is() -> None:
    clip = Clip("-_abcDEF012", 7, 11, "README.md", "val")
    assert Layout(Path("x"), "700").clip(clip).parent.parent != CardFile(Layout(Path("x"), "700")).path.parent
