"""How two data sets differ, by their manifests."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from kinetics.dataset.compare import ONLY_A, ONLY_B, OTHER, SAME, compare
from kinetics.dataset.manifest import MANIFEST_FIELDS
from kinetics.errors import Fatal

Manifest = dict[tuple[str, int, int], tuple[str, str]]
"""Label and SHA-256 of each clip."""

A: Manifest = {
    ("aaaaaaaaaaa", 0, 10): ("tai chi", "1"),
    ("bbbbbbbbbbb", 0, 10): ("tai chi", "2"),
    ("bbbbbbbbbbb", 7, 17): ("yoga", "3"),
    ("-ccccccccc-", 0, 10): ("yoga", "4"),
    ("ddddddddddd", 5, 15): ("", "5"),
}
B: Manifest = {
    ("aaaaaaaaaaa", 0, 10): ("tai chi", "1"),
    ("bbbbbbbbbbb", 7, 17): ("yoga", "changed"),
    ("eeeeeeeeeee", 0, 10): ("yoga", "6"),
    ("ddddddddddd", 5, 15): ("", "5"),
}


def write(path: Path, clips: Manifest) -> Path:
    with open(path, "w", newline="") as file:
        table = csv.DictWriter(file, MANIFEST_FIELDS, restval="0")
        table.writeheader()
        for (youtube_id, start, end), (label, sha256) in clips.items():
            times = {"youtube_id": youtube_id, "time_start": start, "time_end": end}
            table.writerow({**times, "label": label, "split": "train", "sha256": sha256})
    return path


def test_each_clip_is_only_in_one_the_same_or_other_content(tmp_path: Path) -> None:
    found = compare(write(tmp_path / "a.csv", A), write(tmp_path / "b.csv", B))
    columns = (found.table[column].tolist() for column in ("youtube_id", "time_start", "verdict"))
    verdicts = {(youtube_id, int(start)): verdict for youtube_id, start, verdict in zip(*columns, strict=True)}
    assert verdicts == {
        ("aaaaaaaaaaa", 0): SAME,
        ("bbbbbbbbbbb", 0): ONLY_A,
        ("bbbbbbbbbbb", 7): OTHER,
        ("-ccccccccc-", 0): ONLY_A,
        ("ddddddddddd", 5): SAME,
        ("eeeeeeeeeee", 0): ONLY_B,
    }
    assert found.counts == {ONLY_A: 2, ONLY_B: 1, SAME: 2, OTHER: 1}


def test_the_classes_that_differ_come_with_their_counts_most_different_first(tmp_path: Path) -> None:
    found = compare(write(tmp_path / "a.csv", A), write(tmp_path / "b.csv", B))
    assert [*found.classes()] == [
        ("yoga", {ONLY_A: 1, ONLY_B: 1, SAME: 0, OTHER: 1}),
        ("tai chi", {ONLY_A: 1, ONLY_B: 0, SAME: 1, OTHER: 0}),
    ]


def test_a_data_set_compared_with_itself_does_not_differ(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", A)
    found = compare(path, path)
    assert found.counts == {ONLY_A: 0, ONLY_B: 0, SAME: len(A), OTHER: 0}
    assert not [*found.classes()]


def test_times_that_are_written_in_another_way_are_the_same(tmp_path: Path) -> None:
    a, b = write(tmp_path / "a.csv", A), write(tmp_path / "b.csv", A)
    b.write_text(b.read_text().replace(",0,10,", ",0.0,10.000,"))
    assert compare(a, b).counts[SAME] == len(A)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "Cannot read the manifest"),
        ("", "Cannot read the manifest"),
        ("label,youtube_id\nx,y\n", "lacks the columns time_start, time_end, split, sha256: --manifest writes"),
        ("youtube_id,time_start,time_end,label,split,sha256\naaaaaaaaaaa,soon,10,x,train,1\n", "time_start"),
        (b"\xff\xfe\x00", "Cannot read the manifest"),
    ],
)
def test_what_is_no_manifest_is_refused_by_name(tmp_path: Path, content: str | bytes | None, words: str) -> None:
    bad = tmp_path / "bad.csv"
    if content is not None:
        bad.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(Fatal, match=words) as caught:
        compare(write(tmp_path / "a.csv", A), bad)
    assert str(bad) in str(caught.value)
