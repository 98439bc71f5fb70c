"""What is on disk already is not fetched again, whatever tool or annotation file has named it."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import av
import pytest

from kinetics.storage.layout import label_folder
from tests.support.sandbox import ROWS, Sandbox, frames
from tests.youtube.world import FAILURES, Row, Scenario


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Mapping[Row, Path]:
    """The clips that a download makes, each of which belongs to a row."""
    sandbox = Sandbox(tmp_path_factory.mktemp("clips"))
    assert sandbox.run().code == 0
    return {row: sandbox.path(row) for row in ROWS}


def unpadded(row: Row) -> str:
    return f"{row.youtube_id}_{row.time_start}_{row.time_end}.mp4"


def bare(row: Row) -> str:
    return label_folder(row.label).translate({ord(sign): None for sign in "'()"})


LAYOUTS: Mapping[str, Callable[[Row, str], str]] = {
    "ActivityNet's crawler": lambda row, name: f"val/{row.label}/{name}",
    "CVDF's archives": lambda row, name: f"val/{name}",
    "unpadded": lambda row, _: f"val/{label_folder(row.label)}/{unpadded(row)}",
    "torchvision": lambda row, name: f"val/{bare(row)}/{name}",
    "no split": lambda row, name: f"{label_folder(row.label)}/{name}",
    "an older list": lambda row, name: f"train/{label_folder(row.label)}_(old)/{name}",
    "not labelled yet": lambda _, name: f"test/_unlabeled/{name}",
}
THERE = ROWS[1:7]


def place(clips: Mapping[Row, Path], folder: Path, row: Row, layout: str) -> Path:
    path = folder / LAYOUTS[layout](row, clips[row].name)
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(clips[row], path)
    return path


def test_six_of_eight_in_the_layouts_of_other_tools_are_moved_and_two_are_fetched(
    tmp_path: Path, clips: Mapping[Row, Path]
) -> None:
    sandbox = Sandbox(tmp_path)
    for row, layout in zip(THERE, LAYOUTS, strict=False):
        place(clips, sandbox.data, row, layout)
    said = sandbox.run_here("--dry-run")
    assert "6  perhaps elsewhere in this folder" in said.out
    run = sandbox.run()
    assert run.code == 0
    assert "6 moved to their places (listed in Kinetics700_validate_moves.csv); 2 to do" in run.out
    assert "8 of 8 on disk, 2 of them new, 6 moved to their places" in run.out
    fetched = {one["youtube_id"] for one in sandbox.attempts() if one["source"] == "youtube"}
    assert fetched == {ROWS[0].youtube_id, ROWS[7].youtube_id}
    sandbox.assert_complete()
    assert not any(path.is_dir() and not any(path.iterdir()) for path in sandbox.data.glob("[!.]*/**/"))
    again = sandbox.run_here()
    assert (again.code, again.requests) == (0, [])


def test_clips_of_another_tool_are_adopted_whatever_their_container_and_unfit_ones_fetched(
    tmp_path: Path, clips: Mapping[Row, Path]
) -> None:
    sandbox, folder = Sandbox(tmp_path / "here"), tmp_path / "unpacked"
    files = [place(clips, folder, row, layout) for row, layout in zip(THERE, LAYOUTS, strict=False)]
    in_mkv = files[0].with_suffix(".mkv")
    with av.open(str(files[0])) as source, av.open(str(in_mkv), "w") as target:
        copies = {stream.index: target.add_stream_from_template(stream) for stream in source.streams}
        for packet in source.demux():
            if packet.dts is not None:
                packet.stream = copies[packet.stream.index]
                target.mux(packet)
    files[0].unlink()
    files[1].write_bytes(files[1].read_bytes()[:-100])
    (folder / f"{ROWS[0].youtube_id}.mp4").write_bytes(b"")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    run = sandbox.run("--adopt", str(folder))
    assert run.code == 0
    assert "5 adopted from files of other tools; 3 to do" in run.out
    assert "1 file named by a video's id alone" in run.out
    assert f"{files[1]}: it is cut off" in run.err
    sources = {(one["youtube_id"], one["time_start"]): one["source"] for one in sandbox.attempts()}
    assert sorted(sources.values()) == ["folder"] * 5 + ["youtube"] * 3
    assert sandbox.files() == sorted(map(sandbox.path, ROWS))
    assert all(frames(sandbox.path(row)) == sandbox.expected(row) for row in ROWS)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert sandbox.path(THERE[2]).samefile(files[2])


@pytest.mark.soak
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("adopted", [False, True], ids=["here", "adopted"])
def test_each_layout(tmp_path: Path, clips: Mapping[Row, Path], layout: str, adopted: bool) -> None:
    sandbox, folder = Sandbox(tmp_path / "here"), tmp_path / "unpacked"
    for row in THERE:
        place(clips, folder if adopted else sandbox.data, row, layout)
    run = sandbox.run(*(["--adopt", str(folder)] if adopted else []))
    assert (run.code, run.kinds()["player"]) == (0, 2)
    sandbox.assert_complete()
    again = sandbox.run(*(["--adopt", str(folder)] if adopted else []))
    assert (again.code, again.requests) == (0, [])


def test_files_without_times_and_with_other_times_stay_and_are_listed(
    tmp_path: Path, clips: Mapping[Row, Path]
) -> None:
    """Shifted times are another clip; a name without times may be any."""
    sandbox = Sandbox(tmp_path, ROWS[:3])
    shifted = sandbox.path(ROWS[0]).with_name(f"{ROWS[0].youtube_id}_000002_000012.mp4")
    alone = sandbox.path(ROWS[1]).with_name(f"{ROWS[1].youtube_id}.mp4")
    for path, row in ((shifted, ROWS[0]), (alone, ROWS[1])):
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(clips[row], path)
    run = sandbox.run("--cut", "keyframe", "-w", "1")
    assert run.code == 0
    assert "3 of 3 on disk, 3 of them new" in run.out
    with open(tmp_path / "Kinetics700_validate_other_files.csv", newline="") as file:
        listed = {row["file"]: row["why"] for row in csv.DictReader(file)}
    why = {alone: "named by the video's id alone", shifted: "the video is annotated with other times"}
    assert listed == {str(path.relative_to(sandbox.data)): reason for path, reason in why.items()}
    assert f"1 file named by a video's id alone, such as {alone}" in run.out
    assert sandbox.files() == sorted([shifted, alone, *map(sandbox.path, ROWS[:3])])
    shifted.unlink()
    alone.unlink()
    assert sandbox.run_here().code == 0
    assert not (tmp_path / "Kinetics700_validate_other_files.csv").exists()


@pytest.mark.soak
def test_what_was_called_gone_is_moved_although_no_clip_is_to_be_tried(
    tmp_path: Path, clips: Mapping[Row, Path]
) -> None:
    sandbox = Sandbox(tmp_path, ROWS[:1], {ROWS[0].youtube_id: Scenario(failure=FAILURES["private"])})
    assert sandbox.run().code == 0
    assert sandbox.errors()
    place(clips, sandbox.data, ROWS[0], "CVDF's archives")
    run = sandbox.run("--retry", "none")
    assert (run.code, run.requests, sandbox.errors()) == (0, [], {})
    assert sandbox.files() == [sandbox.path(ROWS[0])]
