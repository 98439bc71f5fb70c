"""The same run on a Dask cluster: a real scheduler and real workers, at addresses of their own, as hosts have them."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from distributed import Client

from kinetics.errors import Fatal
from kinetics.records import Category, Clip, Item, Outcome, Video
from kinetics.scheduling import dask_client, dask_worker
from kinetics.scheduling.dask_client import run
from kinetics.scheduling.dispatch import Event
from kinetics.scheduling.events import GaveUp, Notice
from kinetics.scheduling.throttle import Unthrottled
from kinetics.scheduling.worker import Notify, PortableJob, Worker
from kinetics.storage.layout import Layout
from tests.support.cluster import HOSTS, Cluster, cluster, kill_all
from tests.support.commands import PATIENCE_S, ROOT
from tests.support.sandbox import Sandbox, children, many_rows, session, wait_until
from tests.youtube.samples import template
from tests.youtube.server import LoopbackYouTube
from tests.youtube.world import FAILURES, FakeThrottle, PlayerFault, Row, Scenario, World

MakeSandbox = Callable[..., Sandbox]
COPY = ("--cut", "keyframe")
"""What costs the processor least."""
TIMES = {"time", "resolve_s", "download_s", "cut_s", "host", "bytes_received", "calls"}
"""What differs from run to run; how much of a header is asked for first, each worker learns for itself, and each host
asks for a visitor id of its own."""


def mixed(count: int) -> tuple[list[Row], dict[str, Scenario]]:
    """Short clips, some of them gone, and some failing whenever they are tried."""
    rows = many_rows(count)
    odd = {
        4: Scenario(failure=FAILURES["private"]),
        9: Scenario(template(20), player_faults=(PlayerFault("status", 503),)),
    }
    return rows, {row.youtube_id: odd[n % 20] for n, row in enumerate(rows) if n % 20 in odd}


def ended(sandbox: Sandbox, env: dict[str, str], *more: str) -> subprocess.CompletedProcess[str]:
    command = sandbox.command(*more)
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=PATIENCE_S, check=False)


@contextmanager
def on_cluster(sandbox: Sandbox, *more: str) -> Iterator[tuple[Cluster, subprocess.Popen[str]]]:
    """A run on two hosts that has some clips already, and others not yet."""
    sandbox.world.latency_s = 0.15  # takes time, but little of the processor
    with (
        LoopbackYouTube(sandbox.world) as youtube,
        cluster(sandbox.folder / "dask", youtube.env, youtube.env, nannies=False) as dask,
        sandbox.start(youtube, "--scheduler", dask.address, *more) as process,
    ):
        try:
            wait_until(lambda: any(sandbox.folder.rglob("*.mp4")) or process.poll() is not None, "a first clip")
            yield dask, process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.parametrize("count", [12, pytest.param(300, marks=pytest.mark.soak)])
def test_a_cluster_gives_the_files_and_tables_that_this_machine_gives(tmp_path: Path, count: int) -> None:
    rows, odd = mixed(count)
    here, there = Sandbox(tmp_path / "here", rows, odd), Sandbox(tmp_path / "there", rows, odd)
    local = here.run(*COPY, "-w", "1")
    with LoopbackYouTube(there.world) as youtube, cluster(tmp_path / "dask", youtube.env) as dask:
        dask.start_worker(
            HOSTS[1], "--no-nanny", env=youtube.env | {"PYTHONPATH": ""}
        )  # it finds the program all the same
        first = ended(there, youtube.env, "--scheduler", dask.address, *COPY)
        asked = len(youtube.requests)
        again = there.run_here("--scheduler", dask.address, *COPY, "--retry", "none")
        assert len(youtube.requests) == asked
    assert (first.returncode, again.code) == (local.code, 1) == (1, 1)
    assert [path.relative_to(there.folder) for path in there.files()] == [
        path.relative_to(here.folder) for path in here.files()
    ]
    assert [path.read_bytes() for path in there.files()] == [path.read_bytes() for path in here.files()]
    assert there.errors() == here.errors()

    def told(sandbox: Sandbox) -> list[dict[str, str]]:
        rows = [{name: cell for name, cell in row.items() if name not in TIMES} for row in sandbox.attempts()]
        return sorted(rows, key=lambda row: row["youtube_id"])

    assert told(there) == told(here)
    assert {row["host"] for row in there.attempts()} == set(HOSTS)


@pytest.mark.soak
def test_a_complete_data_set_needs_no_scheduler(make_sandbox: MakeSandbox) -> None:
    sandbox = make_sandbox(many_rows(2))
    assert sandbox.run(*COPY).code == 0
    assert sandbox.run("--scheduler", "tcp://127.0.0.1:1", *COPY).code == 0


def test_workers_that_die_and_workers_that_come_later_lose_nothing(make_sandbox: MakeSandbox, tmp_path: Path) -> None:
    sandbox = make_sandbox(many_rows(24))
    with on_cluster(sandbox, *COPY) as (dask, process):
        kill_all(dask.workers[0])
        with LoopbackYouTube(sandbox.world) as late:
            dask.start_worker("127.0.0.4", "--no-nanny", env=late.env)
            dask.start_worker("127.0.0.5", "--no-nanny", env=late.env | without_the_program(tmp_path / "poor"))
            output, _ = process.communicate(timeout=PATIENCE_S)
            assert late.requests
    assert process.returncode == 0, output
    assert sandbox.files() == sorted(map(sandbox.path, sandbox.rows))
    assert len(sandbox.attempts()) == 24
    assert {row["host"] for row in sandbox.attempts()} >= {HOSTS[1], "127.0.0.4"}
    assert f"the Dask worker tcp://{HOSTS[0]}" in output
    assert "go out again" in output
    assert re.search(r"the Dask worker tcp://127\.0\.0\.5:\d+ is left out: it cannot run this program", output)


@pytest.mark.soak
def test_what_is_done_with_clips_that_are_here_is_done_there_too(make_sandbox: MakeSandbox, tmp_path: Path) -> None:
    sandbox = make_sandbox(many_rows(6))
    assert sandbox.run(*COPY).code == 0
    sandbox.path(sandbox.rows[3]).write_bytes(b"no clip")
    with LoopbackYouTube(sandbox.world) as youtube, cluster(tmp_path / "dask", youtube.env) as dask:
        frames, verify = (
            ended(sandbox, youtube.env, "--scheduler", dask.address, *action)
            for action in (("--frames", "1"), ("--verify",))
        )
        assert not youtube.requests
    assert (frames.returncode, verify.returncode) == (1, 1)
    assert len({path.parent for path in sandbox.folder.glob("Kinetics700_frames/val/*/*/img_*.jpg")}) == 5
    assert "6 clips checked, 5 as they should be" in verify.stdout
    assert (
        sandbox.partial / "rejected" / sandbox.path(sandbox.rows[3]).relative_to(sandbox.folder / "Kinetics700")
    ).exists()


@pytest.mark.soak
def test_a_scheduler_that_is_restarted_costs_nothing(make_sandbox: MakeSandbox) -> None:
    sandbox = make_sandbox(many_rows(24))
    with on_cluster(sandbox) as (dask, process):
        port = int(dask.address.rpartition(":")[2])
        assert dask.scheduler
        kill_all(dask.scheduler)
        time.sleep(3.0)  # by then the workers have ended, as Dask's do
        dask.start_scheduler(port)
        with LoopbackYouTube(sandbox.world) as youtube:
            dask.start_worker(HOSTS[0], "--no-nanny", env=youtube.env)
            output, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, output
    assert "no Dask worker at" in output
    sandbox.assert_complete()
    assert len(sandbox.attempts()) == 24


@pytest.mark.soak
def test_a_run_whose_cluster_is_gone_ends_and_another_one_goes_on(make_sandbox: MakeSandbox) -> None:
    sandbox = make_sandbox(many_rows(30))
    with on_cluster(sandbox) as (dask, process):
        for worker in dask.workers:
            kill_all(worker)
        assert dask.scheduler
        kill_all(dask.scheduler)
        output, _ = process.communicate(timeout=2 * dask_client.NO_WORKER_TIMEOUT_S + PATIENCE_S)
    assert process.returncode == 1, output
    assert re.search(r"stopped: no Dask worker .* Run the command again", output)
    assert sandbox.run().code == 0
    sandbox.assert_complete()


def test_one_throttled_host_pauses_alone(make_sandbox: MakeSandbox, tmp_path: Path) -> None:
    """None of its clips is called failed or gone: the other host gets them.

    There are enough of them that both hosts still ask when the one is refused, however slowly it starts.
    """
    sandbox = make_sandbox(many_rows(40))
    closed = World(sandbox.world.scenarios, FakeThrottle(after=10, for_s=3600.0))
    sandbox.world.latency_s = closed.latency_s = 0.03
    with ExitStack() as stack:
        free, refusing = (stack.enter_context(LoopbackYouTube(world)) for world in (sandbox.world, closed))
        dask = stack.enter_context(cluster(tmp_path / "dask", refusing.env, free.env, nannies=False))
        told = ended(sandbox, free.env, "--scheduler", dask.address, *COPY)
        calls = sum(request.kind == "player" for request in refusing.requests)
    assert told.returncode == 0, told.stderr
    assert sandbox.files() == sorted(map(sandbox.path, sandbox.rows))
    assert not sandbox.errors()
    by = Counter((row["host"], row["status"]) for row in sandbox.attempts())
    assert by[HOSTS[0], "done"] == 10
    assert by[HOSTS[1], "done"] == 30
    assert 1 <= by[HOSTS[0], "postponed"] == calls - 10 <= 3
    assert re.search(rf"-- {HOSTS[0]} is paused until", told.stderr)
    assert "all workers" not in told.stderr


@pytest.mark.soak
def test_ctrl_c_ends_a_run_and_what_its_workers_are_at(make_sandbox: MakeSandbox) -> None:
    sandbox = make_sandbox(many_rows(24))
    with on_cluster(sandbox, *COPY) as (dask, process):
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 130
        assert "Traceback" not in output
        wait_until(lambda: not clip_processes(dask), "workers without a clip's process")
    assert not [path for path in sandbox.files() if ".partial" in path.parts]


def clip_processes(dask: Cluster) -> list[int]:
    """The processes that Dask's workers have for clips, beside their own."""
    of_workers = [pid for worker in dask.workers for pid in session(worker.pid)]
    servers = [pid for pid in of_workers if "multiprocessing.forkserver" in command(pid)]
    return [pid for server in servers for pid in children(server)]


def command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


# --- who may take part ---


def test_another_program_on_a_worker_is_refused(make_sandbox: MakeSandbox, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(ROOT / "kinetics", other / "kinetics")
    with open(other / "kinetics" / "scheduling" / "throttle.py", "a") as file:
        file.write("# an older one\n")
    sandbox = make_sandbox(many_rows(2))
    with LoopbackYouTube(sandbox.world) as youtube, cluster(tmp_path / "dask") as dask:
        dask.start_worker(HOSTS[0], "--no-nanny", env=youtube.env | {"PYTHONPATH": str(other)})
        told = sandbox.run_here("--scheduler", dask.address)
        assert not youtube.requests
    assert told.code == 2
    assert re.search(rf"error: The Dask worker tcp://{HOSTS[0]}:\d+ runs another version of this program", told.err)


def without_the_program(folder: Path) -> dict[str, str]:
    """The environment of a worker that does not have it."""
    (folder / "kinetics").mkdir(parents=True)
    (folder / "kinetics" / "__init__.py").write_text("raise ModuleNotFoundError(\"No module named 'kinetics'\")\n")
    return {"PYTHONPATH": str(folder)}


@pytest.mark.soak
def test_a_worker_on_which_the_program_does_not_run_is_refused(make_sandbox: MakeSandbox, tmp_path: Path) -> None:
    sandbox = make_sandbox(many_rows(2))
    with LoopbackYouTube(sandbox.world) as youtube, cluster(tmp_path / "dask") as dask:
        dask.start_worker(env=youtube.env | without_the_program(tmp_path / "poor"))
        told = ended(sandbox, youtube.env, "--scheduler", dask.address)
    assert told.returncode == 2
    assert re.search(
        r"error: The Dask worker .* cannot run this program \(No module named 'kinetics'\): install", told.stderr
    )


@pytest.mark.soak
def test_a_worker_that_lacks_a_package_is_refused(
    dask: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = dask_worker.packages()
    monkeypatch.setattr(dask_worker, "packages", lambda: ours | {"av": "1.0", "only-here": "2.0"})
    with pytest.raises(Fatal, match=r"lacks only-here: run pip install -r requirements.txt"):
        outcomes(dask, Deadly(), clips(3), tmp_path)
    monkeypatch.setattr(dask_worker, "packages", lambda: ours | {"av": "1.0"})
    told = [event.text for event in outcomes(dask, Deadly(), clips(3), tmp_path) if isinstance(event, Notice)]
    assert sum(f"has av {ours['av']} (here 1.0)" in text for text in told) == 2


def test_no_scheduler_is_one_clear_error(make_sandbox: MakeSandbox) -> None:
    sandbox = make_sandbox(many_rows(2))
    for address in ("tcp://127.0.0.1:1", str(sandbox.csv)):
        told = sandbox.run_here("--scheduler", address)
        assert told.code == 2
        assert re.fullmatch(r"error: .*scheduler.*", told.err.splitlines()[-1]), told.err
        assert "Traceback" not in told.err


# --- the client itself ---


@dataclass(frozen=True)
class Deadly:
    """A job in which one clip kills the Dask worker that holds it, and one never ends; some hosts can do nothing."""

    modules = (__name__,)
    deadly: str = ""
    stuck: str = ""
    sick: tuple[str, ...] = ()
    host: str = ""

    def at(self, scratch: Path) -> Deadly:
        assert scratch.is_dir()
        return replace(self, host=scratch.name.rpartition("-")[2])

    def open(self) -> Worker:
        nanny = os.getppid()  # of this process: the fork server's

        def work(item: Clip | Video, notify: Notify) -> Outcome:
            notify()
            *others, last = item.clips if isinstance(item, Video) else (item,)
            for clip in others:
                notify(one(clip))
            return one(last)

        def one(clip: Clip) -> Outcome:
            if self.deadly in (clip.youtube_id, str(clip)):
                time.sleep(0.3)  # so that the report of the section before it has gone out
                kill_dask_worker(nanny)
            if clip.youtube_id == self.stuck:
                time.sleep(60.0)
            if self.host in self.sick:
                raise Fatal("Cannot write here: the disk is full.")
            return Outcome(clip, "done")

        return work


def kill_dask_worker(fork_server: int) -> None:
    status = Path(f"/proc/{fork_server}/status").read_text()
    os.kill(int(status.split("PPid:")[1].split()[0]), signal.SIGKILL)
    time.sleep(60.0)


def clips(count: int) -> list[Clip]:
    return [Clip(f"{number:011d}", 0.0, 10.0, "tai chi", "val") for number in range(count)]


def outcomes(dask: Cluster, job: PortableJob, wanted: Sequence[Item], shared: Path, **more: object) -> list[Event]:
    layout = Layout(shared, "700")
    options = {
        "scheduler": dask.address,
        "layout": layout,
        "run_folder": shared,
        "timeout_s": 60.0,
        "new_throttle": lambda workers, _: Unthrottled(workers),
    } | more
    return [event for event in run(job, wanted, **options) if event]  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def dask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    env = {"PYTHONPATH": str(ROOT)}
    with cluster(tmp_path_factory.mktemp("dask"), env, env) as dask:
        yield dask


@pytest.mark.soak
def test_a_clip_that_kills_worker_after_worker_is_recorded_in_the_end(dask: Cluster, tmp_path: Path) -> None:
    wanted = clips(40)
    events = outcomes(dask, Deadly(deadly=wanted[5].youtube_id), wanted, tmp_path)
    found = {event.clip: event for event in events if isinstance(event, Outcome)}
    assert len([event for event in events if isinstance(event, Outcome)]) == len(found) == 40
    assert found[wanted[5]].category is Category.LOST_WORKER
    assert "4 Dask workers in a row" in found[wanted[5]].reason
    assert {one.status for clip, one in found.items() if clip != wanted[5]} == {"done"}


def sections(videos: int) -> list[Video]:
    return [
        Video(tuple(Clip(f"{number:011d}", at, at + 10.0, "tai chi", "val") for at in (0.0, 20.0, 40.0)))
        for number in range(videos)
    ]


def test_each_section_of_a_video_has_its_own_outcome_on_a_cluster_too(dask: Cluster, tmp_path: Path) -> None:
    wanted = sections(6)
    events = outcomes(dask, Deadly(), wanted, tmp_path)
    told = Counter(event.clip for event in events if isinstance(event, Outcome))
    assert told == Counter(clip for video in wanted for clip in video.clips)


@pytest.mark.soak
def test_a_section_that_kills_worker_after_worker_costs_no_other_of_its_video(dask: Cluster, tmp_path: Path) -> None:
    wanted = sections(6)
    deadly = wanted[2].clips[1]
    events = outcomes(dask, Deadly(deadly=str(deadly)), wanted, tmp_path)
    found = {event.clip: event.category for event in events if isinstance(event, Outcome)}
    assert len([event for event in events if isinstance(event, Outcome)]) == len(found) == 18
    assert {clip for clip, category in found.items() if category is Category.LOST_WORKER} == {deadly}
    assert set(found.values()) == {None, Category.LOST_WORKER}


@pytest.mark.soak
def test_a_clip_that_takes_too_long_is_stopped_and_costs_no_other(dask: Cluster, tmp_path: Path) -> None:
    wanted = clips(12)
    events = outcomes(dask, Deadly(stuck=wanted[5].youtube_id), wanted, tmp_path, timeout_s=2.0)
    found = {event.clip: event for event in events if isinstance(event, Outcome)}
    assert (found[wanted[5]].category, found[wanted[5]].host in HOSTS) == (Category.TIMEOUT, True)
    assert Counter(one.status for one in found.values()) == {"done": 11, "failed": 1}


def test_a_worker_whose_own_fault_it_is_is_left_out(dask: Cluster, tmp_path: Path) -> None:
    events = outcomes(dask, Deadly(sick=HOSTS[:1]), clips(40), tmp_path)
    assert {(event.host, event.status) for event in events if isinstance(event, Outcome)} == {(HOSTS[1], "done")}
    assert len([event for event in events if isinstance(event, Outcome)]) == 40
    told = [event.text for event in events if isinstance(event, Notice)]
    assert any(
        re.search(rf"worker tcp://{HOSTS[0]}:\d+ is left out: Cannot write here: the disk", text) for text in told
    )


def test_what_no_worker_can_do_ends_the_run(dask: Cluster, tmp_path: Path) -> None:
    with pytest.raises(Fatal, match=r"^Cannot write here: the disk is full\.$"):
        outcomes(dask, Deadly(sick=HOSTS), clips(40), tmp_path)


@pytest.mark.skipif(sys.platform != "linux", reason="needs a name that stands for another folder in each process")
def test_a_worker_that_does_not_see_the_folder_is_refused(
    dask: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if each host had a disk of its own under that name."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Fatal, match="does not reach /proc/self/cwd/Kinetics700 as this machine does"):
        outcomes(dask, Deadly(), clips(3), Path("/proc/self/cwd"))


def test_no_worker_is_waited_for_but_not_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dask_client, "NO_WORKER_TIMEOUT_S", 2.0)
    with cluster(tmp_path / "dask") as dask:
        *_, notice, end = outcomes(dask, Deadly(), clips(3), tmp_path)
    assert isinstance(notice, Notice)
    assert "waiting for one, 2 s at most" in notice.text
    assert isinstance(end, GaveUp)
    assert end.category is Category.LOST_WORKER


@pytest.mark.soak
def test_workers_that_others_keep_busy_are_waited_for_but_not_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dask_client, "HANDSHAKE_TIMEOUT_S", 1.0)
    monkeypatch.setattr(dask_client, "NO_WORKER_TIMEOUT_S", 2.0)
    with cluster(tmp_path / "dask", {}) as dask, Client(dask.address, set_as_default=False) as other:
        naps = [other.submit(time.sleep, 60.0, pure=False) for _ in range(2)]
        wait_until(lambda: any(other.processing().values()), "a worker at work for somebody else")
        *_, end = outcomes(dask, Deadly(), clips(3), tmp_path)
        other.cancel(naps)
    assert isinstance(end, GaveUp)


def test_one_address_for_all_hosts_is_one_throttle(dask: Cluster, tmp_path: Path) -> None:
    throttles = list[Unthrottled]()

    def new_throttle(workers: int, _: str) -> Unthrottled:
        throttles.append(Unthrottled(workers))
        return throttles[-1]

    outcomes(dask, Deadly(), clips(20), tmp_path, new_throttle=new_throttle, one_address=True)
    assert [one.workers for one in throttles] == [4]
    throttles.clear()
    outcomes(dask, Deadly(), clips(20), tmp_path, new_throttle=new_throttle, max_per_host=1)
    assert [one.workers for one in throttles] == [1, 1]
