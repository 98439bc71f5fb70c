"""What the pages tell a reader to type runs as it stands, in a clone whose network is the loopback YouTube."""

from __future__ import annotations

import importlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from kinetics.annotations.select import select
from kinetics.annotations.table import Annotations
from kinetics.records import Shard
from tests.support.cluster import kill_all
from tests.support.commands import PATIENCE_S, ROOT
from tests.support.documents import Block, marked_blocks
from tests.support.s3 import S3
from tests.support.sandbox import kill, session, wait_until
from tests.youtube.mirror import stock_all
from tests.youtube.picture import read_counter
from tests.youtube.samples import scenarios_of
from tests.youtube.server import LoopbackYouTube
from tests.youtube.world import FAILURES, Row, Scenario, World

pytestmark = pytest.mark.fresh

ROWS = (
    Row("juggling balls", "--07WQ2iBlw", 1, 5),
    Row("tai chi", "-two_parts1", 0, 4),
    Row("tai chi", "-two_parts1", 7, 11),
    Row("javelin throw", "gone-prlvat", 0, 10),
)
SHARED = "/shared/kinetics"
"""What all machines see, in the pages."""
CLIPS = 3
"""Those of `ROWS` that YouTube has."""
JOBQUEUE = """
import os
from contextlib import nullcontext
from distributed import Client

def SLURMCluster(*, cores, processes, memory, walltime, job_extra_directives):
    return nullcontext(Cluster())

class Cluster:
    scheduler_address = os.environ["SCHEDULER"]

    def scale(self, *, jobs):
        pass

    def get_client(self):
        return Client(self.scheduler_address)
"""
"""A stand-in for dask-jobqueue, whose cluster is there already."""


@dataclass
class Clone:
    """A folder that looks like a clone of this checkout, and a shell in it."""

    folder: Path
    env: dict[str, str]
    typed: set[str] = field(default_factory=set)

    def type(self, command: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Run a command by bash, and wait for what it puts into the background; then end all that it left running."""
        process = subprocess.Popen(
            ["bash", "-c", command + ("\nwait $!" if command.endswith("&") else "")],
            cwd=self.folder,
            env=self.env | env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            out, err = process.communicate(timeout=PATIENCE_S)
        finally:
            for left in session(process.pid):
                kill(left)
        return subprocess.CompletedProcess(command, process.returncode, out, err)

    def run(self, command: str, **env: str) -> str:
        """The same for a command that has to succeed; returns what it prints."""
        ended = self.type(command, **env)
        assert ended.returncode == 0, f"{command}\n{ended.stdout}{ended.stderr}"
        return ended.stdout

    def script(self, name: str, text: str) -> None:
        """Put a program on the shell's path."""
        (self.bin / name).write_text(f"#!/bin/bash\n{text}\n")
        (self.bin / name).chmod(0o755)

    @property
    def bin(self) -> Path:
        return self.folder.parent / "bin"


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clone]:
    """A clone with a finished data set, which all tests of this module share."""
    home = tmp_path_factory.mktemp("home")
    folder = home / "kinetics-downloader"
    folder.mkdir()
    (home / "bin").mkdir()
    for name in ("download.py", "kinetics", "tests", "benchmarks", "docs", "pyproject.toml"):
        (folder / name).symlink_to(ROOT / name)
    world = World(scenarios_of(ROWS[:CLIPS]) | {ROWS[-1].youtube_id: Scenario(failure=FAILURES["private"])})
    for version in ("400", "600", "700", "700-2020"):
        for subset in ("train", "validate", "test"):
            world.annotate(version, subset, ROWS[:CLIPS])
    stock_all(world)
    for subsets in world.annotations.values():
        for rows in subsets.values():
            rows.append(ROWS[-1])  # what no source has
    with LoopbackYouTube(world) as youtube:
        path = f"{home / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}"
        clone = Clone(folder, youtube.env | {"PATH": path, "HOME": str(home), "XDG_STATE_HOME": str(home / "state")})
        clone.run("python download.py -v 400 -s validate && python download.py -v 400 -s validate --manifest")
        for name in ("other_manifest.csv", "mine.csv", "theirs.csv"):
            shutil.copy(folder / "Kinetics400_validate_manifest.csv", folder / name)
        yield clone


def blocks_of(test: str) -> list[Any]:
    """The blocks that a test of this module runs, as its parameters."""
    return [
        pytest.param(block, id=str(block)) for block in marked_blocks(f"runs: tests/fresh/test_documents.py::{test}")
    ]


def commands_of(test: str) -> list[str]:
    """The commands in all of its blocks, each once, without their comments."""
    return [*dict.fromkeys(bare(command) for param in blocks_of(test) for command in param.values[0].commands)]


def bare(command: str) -> str:
    return re.sub(r"\s+#[^'\"]*$", "", command)


@pytest.mark.parametrize(
    ("block", "code"),
    [
        pytest.param(block, code, id=str(block))
        for marker, code in (("runs: sandbox", 0), ("runs: sandbox, exit 1", 1))
        for block in marked_blocks(marker)
    ],
)
def test_what_a_page_says_to_type_runs_as_it_stands(clone: Clone, block: Block, code: int) -> None:
    """A command that stands on several pages is typed once."""
    for command in map(bare, block.commands):
        if command not in clone.typed:
            ended = clone.type(command.replace(SHARED, "shared"))
            assert ended.returncode == code, f"{command}\n{ended.stdout}{ended.stderr}"
            clone.typed.add(command)


def importable(name: str) -> None:
    """Skip the test where another program is not installed, or does not start."""
    try:
        importlib.import_module(name)
    except (ImportError, RuntimeError, OSError) as error:
        pytest.skip(f"{name} cannot be used here: {error}")


def ran(block: Block, clone: Clone, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Run a block of Python beside the data set; returns the names that it leaves behind."""
    monkeypatch.chdir(clone.folder)
    names: dict[str, Any] = {}
    exec(compile(block.text, str(block), "exec"), names)
    return SimpleNamespace(**names)


def assert_evenly_spaced(loaded: SimpleNamespace) -> None:
    """Every clip gives its first frame, its last one, and those between at equal distances."""
    assert len(loaded.clips) == CLIPS
    for clip in loaded.clips:
        frames, label = loaded.load(clip)
        assert (frames.shape, str(frames.dtype)) == ((16, 360, 640, 3), "uint8")
        assert loaded.labels[label] == clip.parent.name
        numbers = [read_counter(frame) for frame in frames]
        assert numbers[-1] - numbers[0] == 4 * 30 - 1, "from the first frame of the clip to its last one"
        assert {after - before for before, after in pairwise(numbers)} <= {7, 8, 9}


@pytest.mark.parametrize("block", blocks_of("test_pyav_loads_the_clips_as_the_page_says"))
def test_pyav_loads_the_clips_as_the_page_says(clone: Clone, block: Block, monkeypatch: pytest.MonkeyPatch) -> None:
    assert_evenly_spaced(ran(block, clone, monkeypatch))


@pytest.mark.loaders
@pytest.mark.parametrize("block", blocks_of("test_torchcodec_loads_the_clips_as_the_page_says"))
def test_torchcodec_loads_the_clips_as_the_page_says(
    clone: Clone, block: Block, monkeypatch: pytest.MonkeyPatch
) -> None:
    importable("torchcodec.decoders")
    assert_evenly_spaced(ran(block, clone, monkeypatch))


@pytest.mark.loaders
@pytest.mark.parametrize("block", blocks_of("test_torchvision_loads_a_batch_as_the_page_says"))
def test_torchvision_loads_a_batch_as_the_page_says(
    clone: Clone, block: Block, monkeypatch: pytest.MonkeyPatch
) -> None:
    importable("torchcodec.decoders")
    importable("torchvision.datasets")
    loaded = ran(block, clone, monkeypatch)
    assert len(loaded.data) == CLIPS * (4 * 30 // 16)
    assert tuple(loaded.videos.shape)[1:] == (16, 3, 128, 128)
    assert loaded.data.classes == ["juggling_balls", "tai_chi"]
    batches = loaded.DataLoader(loaded.data, collate_fn=loaded.drop_sound)
    assert {int(label) for _, labels in batches for label in labels} == {0, 1}


@pytest.mark.loaders
@pytest.mark.parametrize("block", blocks_of("test_torchcodec_reads_the_lists_as_the_page_says"))
def test_torchcodec_reads_the_lists_as_the_page_says(
    clone: Clone, block: Block, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a GPU it reads on the CPU, as the page says."""
    importable("torchcodec.decoders")
    clone.run("python download.py -v 400 -s validate --lists")
    if not importlib.import_module("torch").cuda.is_available():
        assert '"cuda"' in block.text
        block = replace(block, text=block.text.replace('"cuda"', '"cpu"'))
    loaded = ran(block, clone, monkeypatch)
    assert tuple(loaded.videos.shape) == (CLIPS, 16, 3, 224, 224)
    assert sorted(loaded.labels.tolist()) == class_numbers(clone)


@pytest.mark.loaders
@pytest.mark.parametrize("block", blocks_of("test_dali_reads_the_lists_as_the_page_says"))
def test_dali_reads_the_lists_as_the_page_says(clone: Clone, block: Block, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a GPU it reads on the CPU, which DALI 2 no longer does for H.264."""
    importable("nvidia.dali")
    clone.run("python download.py -v 400 -s validate --lists")
    if not Path("/dev/nvidia0").exists():
        if int(importlib.import_module("nvidia.dali").__version__.split(".")[0]) > 1:
            pytest.skip("this DALI reads H.264 on a GPU only")
        block = replace(block, text=block.text.replace('"gpu"', '"cpu"').replace("device_id=0", "device_id=None"))
    loaded = ran(block, clone, monkeypatch)
    assert loaded.pipe.reader_meta("clips")["epoch_size"] == CLIPS
    batches = [(loaded.videos, loaded.labels), *(loaded.pipe.run() for _ in range(CLIPS - 1))]
    seen = [(videos.as_cpu().at(n).shape, int(labels.as_cpu().at(n)[0])) for videos, labels in batches for n in (0, 1)]
    assert {shape for shape, _ in seen} == {(16, 224, 224, 3)}
    assert sorted(label for _, label in seen) == sorted(2 * class_numbers(clone)), "two rounds over the clips"


def class_numbers(clone: Clone) -> list[int]:
    """The numbers of the clips' classes, by the file of the classes."""
    classes = (clone.folder / "Kinetics400_lists" / "classes.txt").read_text().splitlines()
    return sorted(classes.index(row.label) for row in ROWS[:CLIPS])


def test_the_commands_for_an_object_store_run_as_they_stand(clone: Clone, s3: S3) -> None:
    s3.put("/bucket")
    for command in commands_of("test_the_commands_for_an_object_store_run_as_they_stand"):
        assert f"{CLIPS:,} of {len(ROWS)} on disk" in clone.run(command, **s3.env)
    listed = clone.run("python -c 'import s3fs; print(*s3fs.S3FileSystem().find(\"bucket/prefix\"))'", **s3.env)
    assert listed.count(".mp4") == CLIPS * len({*re.findall("Kinetics[0-9-]+/[a-z]+", listed)})


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """The folder that stands for `SHARED`."""
    return tmp_path / "kinetics"


def assert_complete(shared: Path) -> None:
    assert len([*shared.glob("Kinetics700/train/*/*.mp4")]) == CLIPS


@pytest.fixture(scope="module")
def dask(clone: Clone) -> Iterator[str]:
    """The address of the Dask cluster that the pages' lines start."""
    found, log = clone.folder.parent / "scheduler.json", clone.folder.parent / "dask.log"
    (scheduler,) = (line for line in DASK_COMMANDS if line.startswith("dask scheduler"))
    (worker,) = (line for line in DASK_COMMANDS if line.startswith("dask worker"))
    started = [background(clone, f"{scheduler} --host 127.0.0.1 --port 0 --scheduler-file {found}", log)]
    try:
        wait_until(found.exists, "a scheduler")
        address: str = json.loads(found.read_text())["address"]
        started.append(background(clone, f"{with_address(worker, address)} --host 127.0.0.1", log))
        yield address
    finally:
        for process in started:
            kill_all(process)


def background(clone: Clone, command: str, log: Path) -> subprocess.Popen[bytes]:
    """Start a command as the leader of a session of its own."""
    with open(log, "ab") as file:
        return subprocess.Popen(
            ["bash", "-c", f"exec {command} --no-dashboard"],
            cwd=clone.folder,
            env=clone.env,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )


def with_address(command: str, address: str) -> str:
    return re.sub(r"tcp://[\w.]+:8786", address, command)


DASK_COMMANDS = commands_of("test_the_commands_for_a_dask_cluster_run_as_they_stand")


@pytest.mark.parametrize("command", [line for line in DASK_COMMANDS if not line.startswith("dask ")])
def test_the_commands_for_a_dask_cluster_run_as_they_stand(clone: Clone, dask: str, shared: Path, command: str) -> None:
    clone.run(with_address(command, dask).replace(SHARED, str(shared)))
    assert_complete(shared)
    assert "127.0.0.1" in (shared / "Kinetics700_train_stats.csv").read_text(), "a worker of the cluster made them"


@pytest.mark.parametrize("block", blocks_of("test_the_script_for_slurm_runs_as_it_stands"))
def test_the_script_for_slurm_runs_as_it_stands(clone: Clone, dask: str, shared: Path, block: Block) -> None:
    (clone.folder / "on_slurm.py").write_text(block.text)
    (clone.folder / "dask_jobqueue.py").write_text(JOBQUEUE)
    clone.run(f"python on_slurm.py -v 700 -s train -o {shared}", SCHEDULER=dask)
    assert_complete(shared)


def test_the_job_array_runs_as_it_stands(clone: Clone, shared: Path) -> None:
    """A stand-in for Slurm runs those tasks of the array that have clips."""
    array, typed = marked_blocks("runs: tests/fresh/test_documents.py::test_the_job_array_runs_as_it_stands")
    (clone.folder / "kinetics.sh").write_text(array.text.replace(SHARED, str(shared)))
    assert "--array=1-16 " in array.text
    rows = Annotations(pd.DataFrame(ROWS[:CLIPS], columns=Row._fields), ())
    tasks = [str(n) for n in range(1, 17) if len(select(rows, shard=Shard(n, 16)).frame)]
    clone.script("srun", 'exec "$@"')
    clone.script("sbatch", f'for n in {" ".join(tasks)}; do SLURM_ARRAY_TASK_ID=$n bash "$1" || exit; done')
    for command in typed.commands:
        clone.run(command.replace(SHARED, str(shared)))
    assert_complete(shared)
    assert len([*shared.glob("*of16_stats.csv")]) == len(tasks)
    assert len((shared / "Kinetics700_train_manifest.csv").read_text().splitlines()) == 1 + CLIPS


@pytest.mark.parametrize("block", blocks_of("test_the_systemd_unit_starts_a_run_and_knows_the_exit_codes"))
def test_the_systemd_unit_starts_a_run_and_knows_the_exit_codes(clone: Clone, block: Block) -> None:
    service = dict(re.findall(r"^(\w+)=(.*)$", block.text.replace("%h", clone.env["HOME"]), re.MULTILINE))
    assert service["WorkingDirectory"] == str(clone.folder)
    python, program, *options = shlex.split(service["ExecStart"])
    assert python == str(clone.folder / ".venv" / "bin" / "python")
    clone.run(shlex.join(["python", program, *options, "--dry-run"]))
    codes = (ROOT / "docs" / "tables.md").read_text()
    assert f"| {service['RestartPreventExitStatus']} | wrong usage" in codes
    assert f"| {service['SuccessExitStatus']} | interrupted" in codes


@pytest.mark.parametrize("block", blocks_of("test_the_week_of_bans_gives_the_figures_of_the_page"))
def test_the_week_of_bans_gives_the_figures_of_the_page(clone: Clone, block: Block) -> None:
    """docs/throttling.md gives them in the sentence before the block."""
    (command,) = block.commands
    clips, share, bans, calls, spacing = map(float, clone.run(command).split())
    text = " ".join(block.path.read_text().split())
    told = f"{clips:,.0f} clips, {100 * share:.1f} % of the best, {bans:.0f} bans, at most {calls:.0f} calls in one"
    assert told in text
    assert f"one clip every {spacing:.1f} s" in text


@pytest.mark.parametrize("block", blocks_of("test_the_reply_about_a_video_can_be_seen"))
def test_the_reply_about_a_video_can_be_seen(clone: Clone, block: Block) -> None:
    (command,) = block.commands
    said = json.loads(clone.run(command.replace("VIDEO_ID", ROWS[-1].youtube_id)))
    assert said["status"] != "OK"
    assert "private" in json.dumps(said).lower()
