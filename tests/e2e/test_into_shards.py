"""Shards while downloading: the clips of a run are in whole tar files, each once, whatever stops it on the way."""

from __future__ import annotations

import csv
import io
import json
import os
import random
import signal
import tarfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from s3fs import S3FileSystem

from kinetics.annotations.classes import class_names
from kinetics.storage.layout import Layout, clip_name
from kinetics.storage.shard_writer import ShardWriter
from kinetics.storage.shards import INDEX_FIELDS, ShardFolder
from kinetics.storage.tar_samples import add_sample, open_tar, read_samples, tar_size
from tests.e2e.test_storage_faults import KILLED, at_call, kill, refuse
from tests.support.dataset import numbered
from tests.support.s3 import S3
from tests.support.sandbox import ROWS, Run, Sandbox, many_rows
from tests.youtube.server import LoopbackYouTube
from tests.youtube.world import FAILURES, Row, Scenario

COPY = ("--cut", "keyframe", "-w", "2")
"""What costs the processor least."""
INTO = (*COPY, "--into-shards", "3")
MakeSandbox = Callable[..., Sandbox]


def shards(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.tar"))


def samples(path: Path) -> dict[str, dict[str, bytes]]:
    """What a shard holds, by the sample's key. Its last bytes are those of an archive that is whole."""
    content, found = path.read_bytes(), dict[str, dict[str, bytes]]()
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        for member in tar:
            key, _, ending = member.name.partition(".")
            file = tar.extractfile(member)
            assert file
            assert ending not in found.setdefault(key, {})
            found[key][ending] = file.read()
            end = member.offset_data + -(-member.size // 512) * 512
    assert len(content) == tar_size(end)
    assert not content[end:].strip(b"\0")
    return found


def key_of(row: Row) -> str:
    return f"{row.youtube_id}_{row.time_start:06d}_{row.time_end:06d}"


def index(folder: Path) -> list[dict[str, str]]:
    with open(folder / "val_index.csv", newline="") as file:
        rows = list(csv.DictReader(file, strict=True))
    assert all(tuple(row) == INDEX_FIELDS for row in rows)
    return rows


def assert_whole(folder: Path) -> Counter[str]:
    """Every shard under its name opens to its end, and no clip is in two of them; returns how often each is there."""
    held = Counter(key for path in shards(folder) for key in samples(path))
    assert not held or max(held.values()) == 1, held
    return held


def assert_complete(folder: Path, rows: list[Row]) -> None:
    """All clips are in shards, each once and as its row says, the index has them where they are, and that is all."""
    assert {*assert_whole(folder)} == {*map(key_of, rows)}
    about = {key_of(row): row for row in rows}
    for row in index(folder):
        content = (folder / row["shard"]).read_bytes()
        sample = samples(folder / row["shard"])[row["key"]]
        begin = int(row["offset"])
        assert content[begin : begin + int(row["bytes"])] == sample["mp4"]
        assert sample["mp4"][4:8] == b"ftyp"
        said = json.loads(sample["json"])
        wanted = {**about[row["key"]]._asdict(), "split": "val"}
        assert {name: said[name] for name in wanted} == wanted
        assert int(sample["cls"]) == int(row["class"]) == class_names("700").index(said["label"])
    assert sorted(row["key"] for row in index(folder)) == sorted(about)
    left = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock"]
    assert sorted(left) == sorted([*shards(folder), folder / "val_index.csv"])


def clips_outside_of_shards(sandbox: Sandbox) -> list[Path]:
    return [*sandbox.folder.rglob("*.mp4")]


def test_a_run_into_shards_has_the_clips_of_a_run_into_files_and_every_command_reads_them(
    make_sandbox: MakeSandbox, tmp_path: Path
) -> None:
    rows = [row for row in ROWS if row.youtube_id != "n0t_basebal"]
    as_files, packed = (Sandbox(tmp_path / name, rows) for name in ("files", "packed"))
    assert as_files.run(*COPY).code == 0
    run = packed.run(*INTO)
    assert run.code == 0, run.err
    folder = packed.folder / "Kinetics700_shards"
    assert f"folder: {folder}\n" in run.out
    assert f"{folder}: 3 new shards\n" in run.out
    assert [path.name for path in shards(folder)] == [f"val-00000{number}.tar" for number in range(3)]
    assert_complete(folder, rows)
    assert not clips_outside_of_shards(packed)
    held = {key: sample["mp4"] for path in shards(folder) for key, sample in samples(path).items()}
    assert held == {key_of(row): as_files.path(row).read_bytes() for row in rows}

    for options in (["--manifest"], ["--frames", "1"], ["--sound", "wav"], ["--verify", "--cut", "keyframe"]):
        said = [sandbox.run_here(*options) for sandbox in (as_files, packed)]
        assert [run.code for run in said] == [0, 0], said[1].err
        assert said[0].out.replace(str(as_files.folder), "") == said[1].out.replace(str(packed.folder), "")
    for name in ("Kinetics700_validate_manifest.csv", "Kinetics700_frames", "Kinetics700_sound"):
        found = (sandbox.folder / name for sandbox in (as_files, packed))
        one, other = ({path.relative_to(top).name: path.read_bytes() for path in files_in(top)} for top in found)
        assert one == other
    again = packed.run_here("--frames", "1")
    assert "7 there, 0 to do" in again.out
    report = packed.run_here("--report", "--cut", "keyframe")
    assert "7 of 7 clips on disk" in report.out
    page = next(packed.folder.glob("*.html")).read_text()
    assert page.count("<img") == len(rows)


def files_in(top: Path) -> list[Path]:
    """All files but the tables of what was made, which have times in them."""
    found = [top] if top.is_file() else [path for path in top.rglob("*") if path.is_file()]
    return [path for path in found if path.suffix not in (".lock", ".tsv")]


def test_what_is_in_shards_is_never_fetched_again_nor_lost_by_packing_files(make_sandbox: MakeSandbox) -> None:
    sandbox = make_sandbox(many_rows(5))
    assert sandbox.run(*INTO, "--limit", "4").code == 0
    before = {path: path.read_bytes() for path in shards(sandbox.folder / "Kinetics700_shards")}
    for options in (COPY, INTO):
        run = sandbox.run(*options, "--limit", "4")
        assert (run.code, run.player_calls) == (0, 0), run.err
        assert "4 on disk; nothing to do" in run.out
    assert sandbox.run(*COPY).code == 0
    assert len(clips_outside_of_shards(sandbox)) == 1
    refused = sandbox.run_here("--shards", "9")
    assert refused.code == 2
    assert "holds 4 clips of validate that are in no file: --shards would lose them" in refused.err
    assert {path: path.read_bytes() for path in before} == before


def test_a_clip_that_verify_rejects_is_missing_and_comes_anew_in_a_later_shard(make_sandbox: MakeSandbox) -> None:
    sandbox = make_sandbox(many_rows(4))
    folder = sandbox.folder / "Kinetics700_shards"
    assert sandbox.run(*INTO).code == 0
    bad = index(folder)[0]
    shard, begin = folder / bad["shard"], int(bad["offset"])
    content = bytearray(shard.read_bytes())
    content[begin + 2_000 : begin + int(bad["bytes"]) - 100] = bytes(int(bad["bytes"]) - 2_100)
    shard.write_bytes(content)
    found = sandbox.run_here("--verify", "--cut", "keyframe")
    assert found.code == 1
    assert f"1 unfit clip marked in the index of {folder}" in found.out
    assert shard.read_bytes() == content
    assert "3 on disk; 1 to do" in sandbox.run_here("--dry-run", *INTO).out
    assert sandbox.run(*INTO).code == 0
    rows = [row for row in index(folder) if row["key"] == bad["key"]]
    assert [(row["shard"], row["rejected"]) for row in rows] == [
        (bad["shard"], ""),
        (bad["shard"], "1"),
        ("val-000002.tar", ""),
    ]
    assert shard.read_bytes() == content
    checked = sandbox.run_here("--verify", "--cut", "keyframe")
    assert "4 clips checked, 4 as they should be" in checked.out, checked.out


def test_two_machines_with_the_same_manifest_and_seed_repack_to_the_same_bytes(
    make_sandbox: MakeSandbox, tmp_path: Path
) -> None:
    rows = many_rows(6)
    one, two = Sandbox(tmp_path / "one", rows), Sandbox(tmp_path / "two", rows)
    assert one.run(*INTO).code == two.run(*COPY, "--into-shards", "2", "--limit", "4").code == two.run(*COPY).code == 0
    assert one.run_here("--manifest").code == 0
    manifest = str(one.folder / "Kinetics700_validate_manifest.csv")
    packed = [
        sandbox.run_here("--repack", "4", "--seed", "3", *more)
        for sandbox, more in ((one, ()), (two, ("--only", manifest)))
    ]
    assert [run.code for run in packed] == [0, 0], packed[1].err
    made = [{path.name: path.read_bytes() for path in repacked(sandbox)} for sandbox in (one, two)]
    assert made[0] == made[1]
    assert sorted(key for path in repacked(one) for key in samples(path)) == sorted(map(key_of, rows))
    one.run_here("--repack", "4", "--seed", "4")
    assert {path.name: path.read_bytes() for path in repacked(one)} != made[0]
    lines = Path(manifest).read_text().splitlines()
    Path(manifest).write_text("\n".join([*lines[:-1], lines[-1].replace(lines[-1].split(",")[6], "0" * 64), ""]))
    other = one.run_here("--repack", "4")
    assert other.code == 1
    assert "1 clip of the manifest left out: missing here, or with another content" in other.out


def repacked(sandbox: Sandbox) -> list[Path]:
    return shards(sandbox.folder / "Kinetics700_repacked")


def killed_run(sandbox: Sandbox, chance: random.Random, *options: str, env: dict[str, str] | None = None) -> None:
    with LoopbackYouTube(sandbox.world) as youtube, sandbox.start(youtube, *options, env=env) as process:
        time.sleep(chance.uniform(0.9, 2.6))
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.mark.parametrize("kills", [2, pytest.param(200, marks=[pytest.mark.soak, pytest.mark.timeout(2400)])])
def test_kills_at_random_leave_whole_shards_and_the_last_run_completes_them(
    make_sandbox: MakeSandbox, kills: int
) -> None:
    chance, rows = random.Random(kills), many_rows(40)
    sandbox = make_sandbox(rows, {rows[7].youtube_id: Scenario(failure=FAILURES["private"])})
    folder, done = sandbox.folder / "Kinetics700_shards", 0
    for number in range(kills):
        sandbox.world.latency_s = 0.05
        killed_run(sandbox, chance, *INTO, "--rate", "none")
        assert_whole(folder)
        if len(sandbox.errors()) and "nothing to do" in sandbox.run_here("--dry-run", *INTO).out:
            assert_finished(sandbox, sandbox.run(*INTO), rows)
            done += 1
            sandbox = Sandbox(sandbox.folder.with_name(f"set {number}"), rows, sandbox.scenarios)
            folder = sandbox.folder / "Kinetics700_shards"
    assert_finished(sandbox, sandbox.run(*INTO), rows)


def assert_finished(sandbox: Sandbox, run: Run, rows: list[Row]) -> None:
    assert run.code == 0, run.err
    gone = {*sandbox.errors()}
    assert_complete(sandbox.folder / "Kinetics700_shards", [row for row in rows if row.youtube_id not in gone])
    assert len(gone) == 1
    assert not clips_outside_of_shards(sandbox)


@pytest.mark.parametrize("kills", [2, pytest.param(50, marks=pytest.mark.soak)])
def test_the_same_at_a_url(make_sandbox: MakeSandbox, bucket: str, s3: S3, tmp_path: Path, kills: int) -> None:
    chance, rows = random.Random(kills), many_rows(30)
    sandbox = make_sandbox(rows)
    sandbox.world.latency_s = 0.05
    env, options = s3.env | {"XDG_STATE_HOME": str(tmp_path / "state")}, (*INTO, "-o", bucket)
    for number in range(kills):
        killed_run(sandbox, chance, *options, "--rate", "none", env=env)
        seen = at_url(bucket, tmp_path / f"seen {number}")
        assert_whole(seen)
        if {*assert_whole(seen)} == {*map(key_of, rows)}:
            bucket = f"{bucket}/{number}"
            options = (*INTO, "-o", bucket)
    run = sandbox.run(*options, env=env)
    assert run.code == 0, run.err
    assert_complete(at_url(bucket, tmp_path / "at last"), rows)
    again = sandbox.run(*options, env=env | {"XDG_STATE_HOME": str(tmp_path / "another machine")})
    assert (again.code, again.player_calls) == (0, 0), again.err
    assert "nothing to do" in again.out
    assert not [*tmp_path.rglob("*.waiting/*"), *tmp_path.rglob("*.open.tar")]


def at_url(bucket: str, folder: Path) -> Path:
    """Copy the shards to a folder."""
    backend = S3FileSystem()
    backend.invalidate_cache()
    source = f"{bucket.removeprefix('s3://')}/Kinetics700_shards"
    folder.mkdir()
    if backend.exists(source):
        backend.get(f"{source}/", str(folder), recursive=True)
    return folder


# -- the writer alone --------------------------------------------------------------------------------------------------


def writer(root: Path, clips: int = 3) -> ShardWriter:
    layout = Layout(root, "700", into_shards=True)
    return ShardWriter(ShardFolder(layout, "validate"), clips, lambda: ["tai chi"], seed=1)


def put(root: Path, count: int, size: int = 20_000) -> None:
    folder = Layout(root, "700", into_shards=True).waiting_folder("val")
    folder.mkdir(parents=True, exist_ok=True)
    for clip in numbered(count):
        (folder / clip_name(*clip.key)).write_bytes(random.Random(clip.youtube_id).randbytes(size))


@pytest.mark.parametrize("fail", [kill, pytest.param(refuse, marks=pytest.mark.soak)])
def test_no_clip_is_lost_nor_twice_whichever_call_fails_while_they_are_packed(
    tmp_path: Path, fail: Callable[[], None]
) -> None:
    clips = numbered(8)

    def pack(root: Path) -> None:
        with writer(root) as shards:
            shards.take_waiting(lambda names: clips)

    for number in range(1, 300):
        root = tmp_path / str(number)
        put(root, len(clips))
        code = at_call(number, fail, root, lambda root=root: pack(root))  # type: ignore[misc]
        assert code in (0, 1, KILLED)
        assert_whole(root / "Kinetics700_shards")
        known = ShardFolder(Layout(root, "700", into_shards=True), "validate").keys()
        assert known == {clip_name(*clip.key, suffix="") for clip in clips}, number
        with writer(root) as shards:
            shards.take_waiting(lambda names: [clip for clip in clips if clip_name(*clip.key) in names])
        held = assert_whole(root / "Kinetics700_shards")
        assert {*held} == known, f"call {number}"
        assert {row["key"] for row in index(root / "Kinetics700_shards")} == known
        if code == 0:
            assert number > 30, "the calls were not counted"
            return
    pytest.fail("the sweep does not end")


def test_clips_whose_files_still_wait_are_packed_from_these_whatever_a_power_cut_left_in_the_shard(
    tmp_path: Path,
) -> None:
    """Neither the removal of the last files nor their copies in the shard had reached the disk."""
    clips, layout = numbered(6), Layout(tmp_path, "700", into_shards=True)
    put(tmp_path, len(clips))
    files = {clip.key: layout.waiting_folder("val") / clip_name(*clip.key) for clip in clips}
    contents = {key: path.read_bytes() for key, path in files.items()}
    with pytest.raises(KeyboardInterrupt), writer(tmp_path, clips=3) as packed:
        packed.take_waiting(lambda names: clips)
        while packed._waiting:
            packed._pack_one()
        raise KeyboardInterrupt
    assert not any(path.exists() for path in files.values())
    with open(layout.open_shard("val"), "r+b") as file:
        _, *lost = read_samples(file)
        for sample in lost:
            file.seek(sample.offset)
            file.write(bytes(sample.size))
    for sample in lost:
        files[sample.clip.key].write_bytes(contents[sample.clip.key])

    with writer(tmp_path, clips=3) as packed:
        packed.take_waiting(lambda names: [clip for clip in clips if clip_name(*clip.key) in names])
    assert len(lost) == 2
    assert len(assert_whole(tmp_path / "Kinetics700_shards")) == len(clips)
    held = {key: one["mp4"] for path in shards(tmp_path / "Kinetics700_shards") for key, one in samples(path).items()}
    assert held == {clip_name(*key, suffix=""): content for key, content in contents.items()}


def test_the_disk_holds_hardly_more_than_the_clips_while_they_are_packed(tmp_path: Path) -> None:
    """Of 2,000 clips of 40 kB, 16 may be there twice, as files and in the shard."""
    clips, most, waiting = numbered(2_000), 0, Layout(tmp_path, "700", into_shards=True).waiting_folder("val")
    waiting.mkdir(parents=True)
    with writer(tmp_path, clips=300) as packed:
        for number, clip in enumerate(clips):
            (waiting / clip_name(*clip.key)).write_bytes(bytes(40_000))
            packed.add(clip)
            if number % 50 == 0 or number > 1_990:
                most = max(most, bytes_in(tmp_path))
    assert most <= 1.02 * bytes_in(tmp_path)
    assert len(assert_whole(tmp_path / "Kinetics700_shards")) == 2_000


def bytes_in(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_the_next_clip_of_a_shard_is_drawn_from_those_that_wait_by_the_seed(tmp_path: Path) -> None:
    def order(name: str, seed: int) -> list[str]:
        put(tmp_path / name, 60)
        folder = ShardFolder(Layout(tmp_path / name, "700", into_shards=True), "validate")
        with ShardWriter(folder, 20, lambda: ["tai chi"], seed) as packed:
            packed.take_waiting(lambda names: numbered(60))
        return [row["key"] for row in index(tmp_path / name / "Kinetics700_shards")]

    one, same, other = order("one", 1), order("same", 1), order("other", 2)
    assert one == same
    assert sorted(one) == sorted(other) != one != other


# -- an index that is not as the shards are ----------------------------------------------------------------------------

HEADER = ",".join(INDEX_FIELDS)
DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "missing": lambda index: b"",
    "no header": lambda index: index.partition(b"\n")[2],
    "its last row torn": lambda index: index[:-12],
    "a row of its own lacking": lambda index: b"".join(index.splitlines(keepends=True)[:-1]),
    "zeros after a power cut": lambda index: index[: len(index) // 2] + bytes(len(index) - len(index) // 2),
    "another file": lambda index: b"<!doctype html>\n<p>a,b,c\n",
    "quotes that never end": lambda index: index.replace(b"tai chi", b'"tai chi'),
    "numbers that are none": lambda index: index.replace(b",20000,", b",4e999,").replace(b",2560,", b",-1,"),
    "rows of shards that are gone": lambda index: index + b"val-000099.tar,x,x,0,4,tai chi,0,20000,,2560,\n",
    "not text": lambda index: b"\xff\0\xfe" * 99,
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_an_index_that_is_lost_or_damaged_is_made_anew_from_the_shards(tmp_path: Path, damage: str) -> None:
    put(tmp_path, 8)
    with writer(tmp_path) as packed:
        packed.take_waiting(lambda names: numbered(8))
    path = tmp_path / "Kinetics700_shards" / "val_index.csv"
    before = sorted(path.read_text().splitlines())
    path.write_bytes(DAMAGE[damage](path.read_bytes()))
    layout = Layout(tmp_path, "700")
    assert ShardFolder(layout, "validate").keys() == {clip_name(*clip.key, suffix="") for clip in numbered(8)}
    with writer(tmp_path):
        pass
    assert sorted(path.read_text().splitlines()) == before
    put(tmp_path, 9)
    with writer(tmp_path) as packed:
        packed.take_waiting(lambda names: [numbered(9)[8]])
    assert path.with_name("val-000003.tar").exists()


def test_of_a_clip_in_two_shards_the_later_one_counts_also_once_the_index_is_lost(tmp_path: Path) -> None:
    """As after --verify has rejected the first, and it came anew: which one it was, only the index knew."""
    layout, (clip,) = Layout(tmp_path, "700"), numbered(1)
    path = tmp_path / "clip.mp4"
    for number in range(12):
        path.write_bytes(bytes([number]) * 20_000)
        shard = tmp_path / "Kinetics700_shards" / f"val-{number:06d}.tar"
        shard.parent.mkdir(exist_ok=True)
        with open(shard, "wb") as file:
            tar = open_tar(file)
            add_sample(tar, clip, path, 0)
            tar.close()
    (row,) = ShardFolder(layout, "validate").rows().to_dict("records")
    assert row["shard"] == "val-000011.tar"


@pytest.mark.parametrize(
    ("content", "held"),
    [
        (b"", 0),
        (bytes(10_240), 0),
        (b"<!doctype html>" * 999, 0),
        ("a json of 2 MB", 0),
        ("a json that is a list", 0),
        ("the json of another clip", 0),
        ("times that are no numbers", 0),
        ("a link for a clip", 0),
        ("cut in the second clip", 1),
    ],
)
def test_a_shard_that_makes_no_sense_holds_what_can_be_read(tmp_path: Path, content: bytes | str, held: int) -> None:
    path = tmp_path / "Kinetics700_shards" / "val-000000.tar"
    path.parent.mkdir()
    path.write_bytes(content if isinstance(content, bytes) else odd_shard(content))
    found = ShardFolder(Layout(tmp_path, "700"), "validate").keys()
    assert len(found) == held
    with writer(tmp_path):
        pass
    assert path.exists()


def odd_shard(what: str) -> bytes:
    about: dict[str, object] = {"youtube_id": "_1", "time_start": 0, "time_end": 4, "label": "", "split": "val"}
    said: object = {
        "a json of 2 MB": about | {"label": "x" * 2_000_000},
        "a json that is a list": [about],
        "the json of another clip": about | {"time_end": 5},
        "times that are no numbers": about | {"time_start": "0", "time_end": [4]},
    }.get(what, about)
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for key in ("_1_000000_000004", "_1_000004_000008"):
            second = {"time_start": 4, "time_end": 8} if key.endswith("8") and said is about else {}
            content = json.dumps({**said, **second} if isinstance(said, dict) else said).encode()
            for ending, data in (("json", content), ("mp4", b"clip" * 999)):
                member = tarfile.TarInfo(f"{key}.{ending}")
                member.size = len(data)
                if what == "a link for a clip" and ending == "mp4":
                    member.type, member.linkname, member.size = tarfile.SYMTYPE, "/etc/passwd", 0
                tar.addfile(member, io.BytesIO(data if member.size else b""))
    return file.getvalue()[:-12_000] if what.startswith("cut") else file.getvalue()
