"""Manifests and attempts as Parquet: typed, exact, whole or absent, and read within bounds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kinetics.annotations.clip_list import read_clip_list
from kinetics.cli.parser import parse
from kinetics.dataset import manifest
from kinetics.dataset.compare import ONLY_A, SAME, compare
from kinetics.dataset.manifest import (
    MANIFEST_FIELDS,
    MANIFEST_KINDS,
    STATS_KINDS,
    manifest_rows,
    write_attempts,
    write_manifest,
)
from kinetics.errors import Fatal
from kinetics.records import Category, Clip, Facts, Outcome
from kinetics.run.packages import check_packages
from kinetics.storage.ledger import STATS_FIELDS, Ledger
from kinetics.storage.parquet import (
    BLOCKS_PER_GROUP,
    MAX_TEXT_BYTES,
    ROWS_PER_BLOCK,
    ColumnKind,
    parquet_as_csv,
    write_parquet,
)
from tests.support.dataset import DatasetOnDisk
from tests.support.documents import marked_blocks

HOSTILE = "=cmd()\n\0\u202e`|` <script>alert(1)</script>"
"""A label or a title as nobody should write it."""
CLIPS = (
    Clip("-_abcDEF012", 7, 11, "playing harmonica", "val"),
    Clip("__thr0w-ing", 0.5, 10.25, HOSTILE, "val"),
    Clip("_n0-label_1", 3, 13, "", "val"),
)


@pytest.fixture
def dataset(tmp_path: Path) -> DatasetOnDisk:
    dataset = DatasetOnDisk(tmp_path, [*CLIPS])
    dataset.record(
        Outcome(CLIPS[0], "done", itag="18", cut="smart", offset_s=-0.5, duration_s=4.0, sound=True, height=360),
        Outcome(CLIPS[1], "failed", Category.PRIVATE, "This video is private"),
        Outcome(CLIPS[1], "done", itag="134+140", cut="keyframe", sound=False),
    )
    return dataset


def written(dataset: DatasetOnDisk, path: Path, clips: int = 3) -> Path:
    facts = {
        clip.key: Facts(100 + n, n, 300, 10 + n / 3, 640, 360, True, f"{n:064x}", 48)
        for n, clip in enumerate(dataset.clips[:clips])
    }
    write_manifest(path, manifest_rows(dataset.layout, "validate", dataset.frame, facts))
    return path


def test_a_manifest_has_types_and_its_texts_are_exact(dataset: DatasetOnDisk, tmp_path: Path) -> None:
    path = written(dataset, tmp_path / "m.parquet")
    table = pd.read_parquet(path)
    assert tuple(table.columns) == MANIFEST_FIELDS
    assert table["label"].tolist() == [clip.label for clip in CLIPS]
    of_kind = {kind: [name for name, one in MANIFEST_KINDS.items() if one == kind] for kind in MANIFEST_KINDS.values()}
    assert {str(table[name].dtype) for name in of_kind["integer"]} == {"int64"}
    assert {str(table[name].dtype) for name in of_kind["number"]} == {"float64"}
    assert {str(table[name].dtype) for name in of_kind["category"]} == {"category"}
    assert table["itag"].tolist()[:2] == ["18", "134+140"]
    assert table[["itag", "cut", "offset", "source"]].isna().all(axis=1).tolist() == [False, False, True]
    as_csv = pd.read_csv(written(dataset, tmp_path / "m.csv"))
    for name in (*of_kind["integer"], *of_kind["number"]):
        assert table[name].equals(as_csv[name].astype(table[name].dtype)), name
    assert as_csv["label"][1].startswith("'=cmd()"), "a spreadsheet would run it"


def test_the_attempts_have_types_and_the_rows_of_all_subsets(dataset: DatasetOnDisk, tmp_path: Path) -> None:
    other = replace(CLIPS[0], split="train")
    with Ledger(replace(dataset.layout, shard="1of2"), "train") as ledger:
        ledger.record(Outcome(other, "done"))
    frames = {"validate": dataset.frame, "train": dataset.frame[:1]}
    write_attempts(tmp_path / "a.parquet", dataset.layout, frames)  # type: ignore[arg-type]
    table = pd.read_parquet(tmp_path / "a.parquet")
    assert tuple(table.columns) == (*STATS_FIELDS, "split") == (*STATS_KINDS,)
    assert str(table["time"].dtype) == "datetime64[us, UTC]"
    assert table["time"].notna().all()
    assert table["split"].tolist() == ["val", "val", "val", "train"]
    assert table["label"].tolist() == [CLIPS[0].label, HOSTILE, HOSTILE, CLIPS[0].label]
    assert table["category"].tolist()[1] == "private"
    assert table["sound"].tolist() == [True, None, False, None]
    assert table["height"].tolist()[0] == 360
    assert table["offset_s"].tolist()[0] == -0.5


def test_the_page_says_how_the_tables_are_read(
    dataset: DatasetOnDisk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    written(dataset, Path("all.parquet"))
    write_attempts(Path("all_attempts.parquet"), dataset.layout, {"validate": dataset.frame})
    (block,) = marked_blocks("runs: tests/unit/test_parquet.py::test_the_page_says_how_the_tables_are_read")
    exec(compile(block.text, str(block), "exec"), {})
    told = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["val", "playing", "harmonica", "100"] in told
    assert ["private", "1"] in told


def test_an_older_or_damaged_attempts_table_gives_what_it_has(dataset: DatasetOnDisk, tmp_path: Path) -> None:
    table = dataset.layout.stats("validate")
    table.write_text(
        "time,youtube_id,time_start,time_end,status,height\n"
        "2026-01-31T23:30:00+02:00,-_abcDEF012,7,11,done,360\n"
        "yesterday,x,y,z,done,tall\n"
        "too,many,cells,in,a,row,by,far\n"
        "2026-01-31T23:31:00+02:00,half"
    )
    write_attempts(tmp_path / "a.parquet", dataset.layout, {"validate": dataset.frame})
    found = pd.read_parquet(tmp_path / "a.parquet")
    assert found["source"].tolist() == ["youtube"] * 3
    assert found["time"][0] == pd.Timestamp("2026-01-31T21:30:00Z")
    assert found.loc[1, ["time", "time_start", "height"]].isna().all()
    table.unlink()
    write_attempts(tmp_path / "a.parquet", dataset.layout, {"validate": dataset.frame})
    assert pd.read_parquet(tmp_path / "a.parquet").empty


def test_a_cell_that_is_not_of_its_column_s_kind_is_null(tmp_path: Path) -> None:
    cells = {
        "integer": ["3", 4, "3.5", "1e300", "inf", "x", ""],
        "number": ["3", 4, "3.5", None, "", "x", "-"],
        "flag": ["1", 0, "0", "2", "", "x", None],
        "time": ["2026-01-31T23:30:00+02:00", "2026-01-31", "x", "", None, "24", "2026-13-01T00:00:00+00:00"],
    }
    kinds: dict[str, ColumnKind] = {"integer": "integer", "number": "number", "flag": "flag", "time": "time"}
    write_parquet(tmp_path / "x.parquet", kinds, zip(*cells.values(), strict=True))
    found = pq.read_table(tmp_path / "x.parquet").to_pydict()
    assert found["integer"] == [3, 4, *[None] * 5]
    assert found["number"] == [3, 4, 3.5, *[None] * 4]
    assert found["flag"] == [True, False, False, *[None] * 4]
    assert [moment and moment.isoformat() for moment in found["time"]] == [
        "2026-01-31T21:30:00+00:00",
        "2026-01-31T00:00:00+00:00",
        *[None] * 5,
    ]


def test_many_rows_are_written_in_groups_so_that_memory_stays_small(tmp_path: Path) -> None:
    count = BLOCKS_PER_GROUP * ROWS_PER_BLOCK + 5
    seen = list[int]()

    def rows() -> Iterator[tuple[object, ...]]:
        for number in range(count):
            seen.append(number)
            yield (f"{number}", number)

    write_parquet(tmp_path / "x.parquet", {"id": "id", "number": "integer"}, rows())
    file = pq.ParquetFile(tmp_path / "x.parquet")
    assert [file.metadata.row_group(at).num_rows for at in range(2)] == [count - 5, 5]
    assert file.read()["number"].to_pylist() == seen


def test_it_is_replaced_as_a_whole_or_not_at_all(
    dataset: DatasetOnDisk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(dataset, tmp_path / "m.parquet")
    before = path.read_bytes()

    def full(*_: object) -> list[object]:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(manifest, "_manifest_row", full)
    with pytest.raises(Fatal, match="the disk is full"):
        written(dataset, path)
    assert path.read_bytes() == before
    assert not [one for one in tmp_path.iterdir() if one.suffix == ".part"]


@pytest.mark.parametrize("name", ["m.parquet", "manifest.of.mine"])
def test_compare_and_only_read_it_like_a_csv(dataset: DatasetOnDisk, tmp_path: Path, name: str) -> None:
    a = written(dataset, tmp_path / "a.parquet").rename(tmp_path / name)
    b = written(dataset, tmp_path / "b.csv", clips=2)
    found = compare(a, b)
    assert {verdict: count for verdict, count in found.counts.items() if count} == {SAME: 2, ONLY_A: 1}
    assert {*read_clip_list(a).keys.itertuples(index=False, name=None)} == {clip.key for clip in CLIPS}
    assert not read_clip_list(a).warnings


def a_table(**columns: object) -> Callable[[Path], None]:
    return lambda path: pq.write_table(pa.table(columns), path)


def cut_short(path: Path) -> None:
    a_table(youtube_id=["-_abcDEF012"] * 1000)(path)
    path.write_bytes(path.read_bytes()[:-20])


def scratched(path: Path) -> None:
    """An id has become another one, which no decompression finds."""
    ids = pa.table({"youtube_id": [f"id-{number:08}" for number in range(1000)]})
    pq.write_table(ids, path, compression="none", use_dictionary=False, write_page_checksum=True)
    path.write_bytes(path.read_bytes().replace(b"id-00000500", b"id-00000501"))


def repeating(text: str, times: int) -> Callable[[Path], None]:
    """A small file that says the same many times."""
    return a_table(youtube_id=pa.DictionaryArray.from_arrays(pa.array([0] * times, pa.int32()), [text]))


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "not one": (lambda path: path.write_text("youtube_id,time_start\n"), "is not a Parquet file"),
    "empty": (Path.touch, "is not a Parquet file"),
    "cut short": (cut_short, "is not a Parquet file, or damaged"),
    "a few bytes lost": (scratched, "is not a Parquet file, or damaged"),
    "other columns": (a_table(title=["x"]), "has none of the columns youtube_id"),
    "lists for texts": (a_table(youtube_id=[["x"]], time_start=[[1]]), "has none of the columns youtube_id"),
    "bytes that are no text": (a_table(youtube_id=[b"\xff\xfe"]), "is not a Parquet file, or damaged"),
    "a hostile cell": (repeating("x" * (MAX_TEXT_BYTES + 1), 10), "a cell has more than 128 KiB"),
    "a hostile size": (repeating("x" * 1000, 400_000), "has more than 256 MiB"),
}


@pytest.mark.parametrize(("make", "words"), BAD.values(), ids=BAD)
def test_a_bad_file_is_one_clear_line(tmp_path: Path, make: Callable[[Path], object], words: str) -> None:
    path = tmp_path / "bad.parquet"
    make(path)
    for read in (lambda: compare(path, path), lambda: read_clip_list(path)):
        with pytest.raises(Fatal, match=words) as error:
            read()
        assert str(error.value).startswith(f"{path} ")
        assert "\n" not in str(error.value)


def test_a_manifest_that_lacks_columns_or_has_bad_times_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    a_table(youtube_id=["-_abcDEF012"], time_start=[1.0])(path)
    with pytest.raises(Fatal, match="lacks the columns time_end, label, split, sha256"):
        compare(path, path)
    a_table(youtube_id=["x"], time_start=[None], time_end=[2], label=[""], split=["val"], sha256=[""])(path)
    with pytest.raises(Fatal, match="time_start that is not a number of seconds"):
        compare(path, path)


def test_the_columns_come_in_the_order_asked_for_whatever_their_types(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    a_table(b=[1.5, None], a=pa.array(["x", None]).dictionary_encode(), c=[True, False])(path)
    assert (
        parquet_as_csv("x", path.read_bytes(), ["a", "b", "c", "d"], 999)
        == b'"a","b","c"\n"x","1.5","true"\n,,"false"\n'
    )


@pytest.mark.parametrize("options", ["--manifest x.parquet", "--compare a.csv b.PARQUET", "--only c.parquet"])
def test_the_package_is_checked_for_before_any_work(options: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(Fatal, match=r"needs pyarrow: pip install pyarrow"):
        check_packages(parse([*options.split(), "--source", "mirror"]))
    check_packages(parse(["--manifest", "x.csv"]))


def test_a_manifest_goes_to_a_file_of_a_known_format(capsys: pytest.CaptureFixture[str]) -> None:
    assert parse(["--manifest"]).manifest is None
    assert parse(["--manifest", "x.Parquet"]).manifest == Path("x.Parquet")
    with pytest.raises(SystemExit) as ended:
        parse(["--manifest", "x.xlsx"])
    said = capsys.readouterr().err
    assert (ended.value.code, said.count("\n")) == (2, 1)
    assert "'x.xlsx' ends in neither .csv nor .parquet" in said
