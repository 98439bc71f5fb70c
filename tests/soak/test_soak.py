"""Very long runs: memory, open files and processes stay as few as they were, whatever goes wrong on the way.

`pytest -m soak -n 0 -s tests/soak/test_soak.py` prints the figures.
"""

from __future__ import annotations

import ctypes
import gc
import os
import random
import re
import statistics
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from itertools import pairwise
from pathlib import Path

import av
import pytest

from kinetics.media.cut import probe
from kinetics.records import Category, Clip, Outcome
from kinetics.scheduling.call_pace import CallPace
from kinetics.scheduling.pool import run
from kinetics.scheduling.throttle import Throttle
from kinetics.storage.layout import Layout
from kinetics.storage.ledger import Ledger
from tests.support.sandbox import Nothing, Sandbox, frames, kill, session, wait_until, workers
from tests.youtube.server import LoopbackYouTube
from tests.youtube.videos import Video
from tests.youtube.world import FAILURES, FakeThrottle, MediaFault, PlayerFault, Row, Scenario

WORKERS = 8
TIMEOUT_S = 30
SAMPLE_S = 1.0
OUTAGE_S = 3.0
GROWTH = 1.1
"""What is there in the last quarter of a run may be so much more than in the second one, when all is warm."""
KILLS = (0.03, 0.08, 0.13, 0.18, 0.85)
"""Where in the run a worker is killed; mostly early, so that some live long enough to be compared with themselves."""
STALLS = (0.02, 0.05, 0.1, 0.15)
"""Where a clip's media stall until its time is up, which costs its worker too."""
BOTH_ENGINES = (0.1, 0.3)
"""Between these the first engine fails every other time, so that all workers have loaded the second one then."""

DASH = Scenario(Video(8, moving=False))
PROGRESSIVE = Scenario(DASH.video, ("progressive",))
WEBM = Scenario(Video(8, moving=False, codec="vp9"), ("webm",))
HEALTHY = (DASH, DASH, DASH, PROGRESSIVE, PROGRESSIVE, WEBM)
NOT_UNDERSTOOD = Scenario(DASH.video, player_faults=(PlayerFault("html", times=1),))
STALLED = Scenario(DASH.video, media_faults=(MediaFault("stall", after=1000, times=2),))
GOT = None
"""In place of a category: the clip is there in the end."""
FAULTS: tuple[tuple[Scenario, Category | None], ...] = (
    (Scenario(failure=FAILURES["private"]), Category.PRIVATE),
    (Scenario(DASH.video, player_faults=(PlayerFault("status", 503, times=2),)), Category.SERVER_ERROR),
    (NOT_UNDERSTOOD, GOT),
    (Scenario(DASH.video, media_faults=(MediaFault("cut", after=1000, times=1),)), GOT),
    (Scenario(DASH.video, media_faults=(MediaFault("reset", after=1000, times=1),)), GOT),
    (Scenario(DASH.video, media_faults=(MediaFault("status", 403, times=1),)), GOT),
    (Scenario(DASH.video, media_faults=(MediaFault("html", times=1),)), Category.MEDIA_ERROR),
)
Script = dict[Row, tuple[Scenario, Category | None]]
"""What each clip meets, and how it ends."""


@dataclass(frozen=True)
class Vitals:
    """What the system says of a process at one moment; memory in MB."""

    rss: float
    anonymous: float
    """Without what is mapped from files."""
    data: float
    """Claimed, whether used or not."""
    files: float
    sockets: float
    threads: float


@dataclass(frozen=True)
class Sample:
    """The whole program at one moment, seen from outside."""

    share: float
    """How much of the run is done."""
    parent: dict[int, Vitals]
    helpers: dict[int, Vitals]
    """The fork server and multiprocessing's resource tracker."""
    workers: dict[int, Vitals]
    zombies: set[int]
    unfinished: int
    """Files in `.partial`."""
    connections: int
    """The loopback YouTube's threads: it has one for each."""

    @property
    def processes(self) -> dict[int, Vitals]:
        return self.parent | self.helpers | self.workers


@pytest.mark.soak
@pytest.mark.timeout(4 * 3600)
class TestWholeProgram:
    @pytest.mark.parametrize(("cut", "count"), [("keyframe", 5000), ("exact", 1500)])
    def test_a_long_run_full_of_faults_stays_as_small_as_it_was_and_loses_nothing(
        self, make_sandbox: Callable[..., Sandbox], cut: str, count: int
    ) -> None:
        script = with_faults(count)
        sandbox = make_sandbox([*script], {row.youtube_id: scenario for row, (scenario, _) in script.items()})
        options = ("-w", str(WORKERS), "--cut", cut, "--timeout", str(TIMEOUT_S), "--rate", "none")
        with LoopbackYouTube(sandbox.world) as youtube:
            with sandbox.start(youtube, *options) as process:
                samples = watch(sandbox, youtube, process, mishaps(sandbox, process))
            assert process.returncode == 1
            wait_until(lambda: not session(process.pid), "the end of the helpers")
            assert_ended_right(sandbox, script, exact=cut == "exact")
            assert_flat(samples)
            again = subprocess.run(sandbox.command(*options), env=youtube.env, check=False)
        assert again.returncode == 0
        gone = {row for row, (_, category) in script.items() if category is Category.PRIVATE}
        assert set(sandbox.errors()) == {row.youtube_id for row in gone}
        assert sandbox.files() == sorted(sandbox.path(row) for row in script if row not in gone)

    def test_a_worker_is_no_larger_after_thousands_of_clips(self, make_sandbox: Callable[..., Sandbox]) -> None:
        rows = many_rows(3000)
        sandbox = make_sandbox(
            rows, {row.youtube_id: HEALTHY[number % len(HEALTHY)] for number, row in enumerate(rows)}
        )
        with (
            LoopbackYouTube(sandbox.world) as youtube,
            sandbox.start(youtube, "-w", "1", "--cut", "keyframe", "--rate", "none") as process,
        ):
            samples = watch(sandbox, youtube, process)
        assert process.returncode == 0
        assert_flat(samples)


@pytest.mark.soak
@pytest.mark.timeout(4 * 3600)
class TestParent:
    def test_650_000_clips_leave_the_parent_and_its_tables_as_they_were(self, tmp_path: Path) -> None:
        count, sizes = 650_000, []
        clips = (Clip(f"{number:011d}", 0.0, 10.0, "tai chi", "train") for number in range(count))
        with Ledger(Layout(tmp_path, "700"), "train") as ledger:
            throttle = Throttle(WORKERS, pace=CallPace(limited=False))
            for event in run(Nothing(), clips, workers=WORKERS, timeout_s=60.0, throttle=throttle):
                if isinstance(event, Outcome):
                    ledger.record(event)
                    sizes += [vitals(os.getpid())] if int(event.clip.youtube_id) % (count // 100) == 0 else []
        with open(ledger.stats, "rb") as table:
            assert sum(1 for _ in table) == 1 + count
        before, after = sizes[25:50], sizes[75:]
        print(f"\nparent before: {before[-1]}\nparent after:  {after[-1]}")
        assert max(one.rss for one in after) <= 1.02 * max(one.rss for one in before)
        assert max(one.files for one in after) <= max(one.files for one in before)


class TestLeaks:
    def test_a_probe_leaves_nothing_allocated_behind(self) -> None:
        path = DASH.video.progressive.path if DASH.video else Path()

        def probes(number: int) -> int:
            for _ in range(number):
                probe(path, 0.0)
            return allocated()

        before = probes(50)
        assert probes(200) - before < 200 * 100


class _Mallinfo(ctypes.Structure):
    """What glibc's mallinfo2 returns."""

    _fields_ = (
        ("of_no_interest", ctypes.c_size_t * 4),
        ("hblkhd", ctypes.c_size_t),
        ("of_no_interest_either", ctypes.c_size_t * 2),
        ("uordblks", ctypes.c_size_t),
        ("nor_these", ctypes.c_size_t * 2),
    )


def allocated() -> int:
    """Bytes that this process has of malloc, Python's own small objects aside."""
    gc.collect()
    mallinfo = ctypes.CDLL(None).mallinfo2
    mallinfo.restype = _Mallinfo
    info = mallinfo()
    return int(info.uordblks + info.hblkhd)


def many_rows(count: int) -> list[Row]:
    return [Row("tai chi", f"soak-{number:06d}", number % 5, number % 5 + 2) for number in range(count)]


def with_faults(count: int) -> Script:
    """One in twenty clips meets a fault, each kind in its turn, besides those that STALLS and BOTH_ENGINES name."""
    plays: list[tuple[Scenario, Category | None]] = [(HEALTHY[n % len(HEALTHY)], GOT) for n in range(count)]
    for turn, number in enumerate(range(0, count, 20)):
        plays[number] = FAULTS[turn % len(FAULTS)]
    first, last = (int(share * count) for share in BOTH_ENGINES)
    plays[first:last:2] = [(NOT_UNDERSTOOD, GOT)] * len(range(first, last, 2))
    for share in STALLS:
        plays[int(share * count) + 1] = STALLED, Category.TIMEOUT
    return dict(zip(many_rows(count), plays, strict=True))


def mishaps(sandbox: Sandbox, process: subprocess.Popen[str]) -> list[tuple[float, Callable[[], None]]]:
    """What befalls the run as a whole, and when."""

    def throttle() -> None:
        sandbox.world.throttle = FakeThrottle(after=1, for_s=4.0)

    def outage() -> None:
        sandbox.world.line_down = True
        threading.Timer(OUTAGE_S, setattr, (sandbox.world, "line_down", False)).start()

    def lost_worker() -> None:
        kill(random.Random(7).choice(workers(process.pid)))

    return sorted([(0.5, throttle), (0.6, outage), *((share, lost_worker) for share in KILLS)], key=lambda one: one[0])


def watch(
    sandbox: Sandbox,
    youtube: LoopbackYouTube,
    process: subprocess.Popen[str],
    to_come: Sequence[tuple[float, Callable[[], None]]] = (),
) -> list[Sample]:
    """Look at the program every now and then until it ends; let things happen when so much of the run is done."""
    began, samples, to_come = time.monotonic(), [], [*to_come]
    while process.poll() is None:
        share = max(0, text(sandbox.stats).count("\n") - 1) / len(sandbox.rows)
        samples.append(look(process.pid, share, sandbox.partial))
        while to_come and to_come[0][0] <= share:
            to_come.pop(0)[1]()
        time.sleep(SAMPLE_S)
    print("\n" + process.communicate()[0])
    seconds, clips, requests = time.monotonic() - began, len(sandbox.rows), len(youtube.requests)
    print(f"{clips} clips in {seconds:.0f} s: {clips / seconds:.1f} a second, {requests / clips:.2f} requests each")
    print(figures(samples))
    return samples


def look(parent: int, share: float, partial: Path) -> Sample:
    above, zombies = {}, set()
    for name in filter(str.isdigit, os.listdir("/proc")):
        if stat := text(Path("/proc", name, "stat")).rpartition(")")[2].split():
            above[int(name)] = int(stat[1])
            zombies |= {int(name)} if stat[0] == "Z" else set()
    helpers = {pid for pid in above if above[pid] == parent}
    ours = {pid for pid in above if above[pid] in helpers}
    return Sample(
        share=share,
        parent={parent: vitals(parent)},
        helpers={pid: vitals(pid) for pid in helpers - zombies},
        workers={pid: vitals(pid) for pid in ours - zombies},
        zombies=zombies & (helpers | ours),
        unfinished=sum(len(files) for _, _, files in os.walk(partial)),
        connections=threading.active_count(),
    )


def vitals(pid: int) -> Vitals:
    """Of a process that has just ended, nothing but zeros."""
    folder, files = Path("/proc", str(pid)), list[str]()
    told = dict(re.findall(r"(\w+):\s+(\d+)", text(folder / "status") + text(folder / "smaps_rollup")))
    with suppress(OSError):  # the process has ended
        for file in (folder / "fd").iterdir():
            with suppress(FileNotFoundError):  # closed in between
                files.append(str(file.readlink()))
    return Vitals(
        rss=int(told.get("VmRSS", 0)) / 1024,
        anonymous=int(told.get("Anonymous", 0)) / 1024,
        data=int(told.get("VmData", 0)) / 1024,
        files=len(files),
        sockets=sum(file.startswith("socket:") for file in files),
        threads=int(told.get("Threads", 0)),
    )


def text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def quarter(samples: Iterable[Sample], number: int) -> list[Sample]:
    """The samples of one quarter of the run, counted from 1, by what was done, not by the clock."""
    return [sample for sample in samples if (number - 1) / 4 <= sample.share < number / 4]


def assert_ended_right(sandbox: Sandbox, script: Script, *, exact: bool) -> None:
    """Every clip has come to its one end: the obtainable ones are there and play, the others are in the log."""
    errors = {one: category for one, (category, _) in sandbox.errors().items()}
    lost = {one for one, category in errors.items() if category == Category.LOST_WORKER}
    expected = {row.youtube_id: category for row, (_, category) in script.items() if category}
    assert len(lost) <= len(KILLS)
    assert errors == expected | dict.fromkeys(lost, Category.LOST_WORKER)
    verdicts = Counter(row["youtube_id"] for row in sandbox.attempts() if row["status"] != "postponed")
    assert verdicts == Counter(row.youtube_id for row in script)
    there = [row for row in script if row.youtube_id not in errors]
    assert sandbox.files() == sorted(map(sandbox.path, there))
    for row in there:
        with av.open(str(sandbox.path(row))) as clip:
            assert clip.streams.video[0].frames >= len(sandbox.expected(row))
            assert clip.streams.audio[0].duration
    for row in there[::97]:
        shown, wanted = frames(sandbox.path(row)), sandbox.expected(row)
        assert shown == wanted if exact else set(shown) >= set(wanted)


def assert_flat(samples: list[Sample]) -> None:
    """What is there in the last quarter of the run is no more than there was in the second."""
    early, late = quarter(samples, 2), quarter(samples, 4)
    duration_text = set.intersection(*(set(sample.processes) for sample in early + late))
    assert len(duration_text & set(late[0].workers)) >= len(late[0].workers) / 2
    for pid in duration_text:
        before, after = ([sample.processes[pid] for sample in part] for part in (early, late))
        for name in ("rss", "anonymous", "data"):
            assert middle(after, name) <= GROWTH * middle(before, name), f"{name} of {pid} grows"
        assert middle(after, "files") <= middle(before, "files") + 2
    threads = 1 + 2 * (os.cpu_count() or 1)  # turning Opus into AAC takes some for a moment; all else is done in one
    for sample in samples:
        assert all(worker.threads <= threads for worker in sample.workers.values())
        assert all(one.files <= 64 for one in sample.processes.values())
        assert sample.unfinished <= 2 * len(sample.workers) + 2
    assert not [pid for one, following in pairwise(samples) for pid in one.zombies & following.zombies]
    assert max(one.connections for one in late) <= GROWTH * max(one.connections for one in early) + 2


def middle(ones: Iterable[Vitals], name: str) -> float:
    return float(statistics.median(getattr(one, name) for one in ones))


def figures(samples: list[Sample]) -> str:
    """A table for people: medians over each quarter of the run, of workers also the largest."""
    names = [field.name for field in fields(Vitals)]
    lines = [" ".join(["quarter  process   ", *(f"{name:>9}" for name in names)])]
    for number in range(1, 5):
        for role in ("parent", "helpers", "workers"):
            ones = [one for sample in quarter(samples, number) for one in getattr(sample, role).values()]
            cells = [f"{middle(ones, name):9.1f}" for name in names if ones]
            lines.append(" ".join([f"{number:7}  {role:10}", *cells]))
        cells = [f"{max(getattr(one, name) for one in ones):9.1f}" for name in names if ones]
        lines.append(" ".join([f"{number:7}  {'at most':10}", *cells]))
    lines += [
        f"zombies seen: {sum(len(sample.zombies) for sample in samples)}",
        f"unfinished files: at most {max(sample.unfinished for sample in samples)}",
        f"connections at YouTube: at most {max(sample.connections for sample in samples)}",
    ]
    return "\n".join(lines)
