"""The whole program as a user runs it: a folder, a list of rows, and a loopback YouTube that has their videos."""

from __future__ import annotations

import csv
import hashlib
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import av

from kinetics.records import Clip, Outcome
from kinetics.scheduling.worker import Worker
from kinetics.storage.layout import label_folder
from tests.support.commands import PATIENCE_S, ROOT, run_here
from tests.support.forks import Forks
from tests.youtube.innertube import PLAYER_PATH
from tests.youtube.log import Request
from tests.youtube.mirror import Crate, clip_of, clips_in, length_of, replace_corrupt, stock
from tests.youtube.picture import read_counter
from tests.youtube.samples import scenarios_of, template
from tests.youtube.server import LoopbackYouTube
from tests.youtube.world import FAILURES, Row, Scenario, World

ROWS = (
    Row("javelin throw", "--07WQ2iBlw", 1, 11),
    Row("javelin throw", "---QUuC4vJs", 45, 55),
    Row("flipping pancake", "-two_parts1", 0, 10),
    Row("tai chi", "-two_parts1", 7, 17),
    Row("massaging person's head", "_Head-00001", 33, 43),
    Row("throwing ball (not baseball or American football)", "n0t_basebal", 49, 59),
    Row("tai chi", "short_clip1", 4, 8),
    Row("tai chi", "past_the-en", 15, 25),
)
"""Odd ids and labels, two segments of one video, a short clip, and one that the end of its 20 s video cuts short."""

PROGRAM = Forks("kinetics.cli.main", "kinetics.run.download", "kinetics.cli.commands", "pandas")
"""Whoever runs the whole program and waits for it: most of what its own process does is to import these."""
RUN_SCRIPT = "import runpy, sys; runpy.run_path(sys.argv[0], run_name='__main__')"


@dataclass
class Run:
    """A run of the command that has ended."""

    code: int
    out: str
    err: str
    requests: list[Request]

    def kinds(self) -> Counter[str]:
        return Counter(request.kind for request in self.requests)

    @property
    def player_calls(self) -> int:
        """Player calls that arrived, of any client, those for a visitor id among them."""
        return sum(request.method == "POST" and request.path.startswith(PLAYER_PATH) for request in self.requests)


def assert_stopped(run: Run, *words: str) -> None:
    """One clear line for the person at the terminal, and exit code 2."""
    errors = [line for line in run.err.splitlines() if line.startswith("error: ")]
    assert (run.code, len(errors)) == (2, 1), run.err
    assert all(word in errors[0] for word in words), errors
    assert "Traceback" not in run.err


@dataclass
class Sandbox:
    """A folder, a list of rows, and a YouTube that has videos for them.

    With `official` the rows come from the official archive instead of a file of the user's. `prefix` is a command that
    the program is run by, such as `prlimit`, and `env` what it finds in its environment beside what leads to YouTube.
    """

    folder: Path
    rows: Sequence[Row] = ROWS
    scenarios: dict[str, Scenario] = field(default_factory=dict)
    official: bool = False
    prefix: tuple[str, ...] = ()
    version: str = "700"
    env: dict[str, str] = field(default_factory=dict)
    world: World = field(init=False)

    def __post_init__(self) -> None:
        videos = scenarios_of(row for row in self.rows if row.youtube_id not in self.scenarios)
        self.world = World(videos | self.scenarios | past_the_end())
        if self.official:
            self.world.annotate(self.version, "validate", self.rows)
        else:
            self.write_csv(self.rows)

    @property
    def csv(self) -> Path:
        return self.folder / "rows.csv"

    def write_csv(self, rows: Iterable[Row]) -> None:
        self.csv.parent.mkdir(parents=True, exist_ok=True)
        with open(self.csv, "w", newline="") as file:
            csv.writer(file).writerows([("label", "youtube_id", "time_start", "time_end"), *rows])

    def command(self, *more: str) -> list[str]:
        return [
            *(*self.prefix, sys.executable, str(ROOT / "download.py"), "-v", self.version, "-s", "validate"),
            *("-o", str(self.folder), "-w", "4", *([] if self.official else ["--annotations", str(self.csv)]), *more),
        ]

    def run(self, *more: str, env: dict[str, str] | None = None, timeout: float = PATIENCE_S) -> Run:
        """Run the command in a process of its own, which spares it a second of imports where that makes no difference.

        What is about the start of a process, or its end, uses `start`.
        """
        command = self.command(*more)
        with LoopbackYouTube(self.world) as youtube:
            seen = youtube.env | self.env | (env or {})
            if self.prefix or not Forks.can_have(seen):
                ended = subprocess.run(command, env=seen, capture_output=True, text=True, timeout=timeout, check=False)
            else:
                ended = PROGRAM.run(RUN_SCRIPT, *command[1:], env=seen, timeout=timeout)
            return Run(ended.returncode, ended.stdout, ended.stderr, list(youtube.requests))

    def run_here(self, *more: str, env: dict[str, str] | None = None) -> Run:
        """Run the command in this process: for commands that start no workers, or none that ask YouTube."""
        with LoopbackYouTube(self.world) as youtube:
            ended = run_here(*self.command(*more)[len(self.prefix) + 2 :], env=youtube.env | self.env | (env or {}))
            return Run(ended.returncode, ended.stdout, ended.stderr, list(youtube.requests))

    def start(self, youtube: LoopbackYouTube, *more: str, env: dict[str, str] | None = None) -> subprocess.Popen[str]:
        """Start the command as the leader of a session of its own."""
        return subprocess.Popen(
            self.command(*more),
            env=youtube.env | self.env | (env or {}),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    @contextmanager
    def under_way(self, *more: str) -> Iterator[subprocess.Popen[str]]:
        """A run that has some clips already, and others not yet; killed with the block's end, if that comes first."""
        latency_s, self.world.latency_s = self.world.latency_s, 0.2  # takes time, but little of the processor
        with LoopbackYouTube(self.world) as youtube, self.start(youtube, *more) as process:
            try:
                wait_until(lambda: any(self.folder.rglob("*.mp4")) or process.poll() is not None, "a first clip")
                yield process
            finally:
                self.world.latency_s = latency_s
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)

    @property
    def name(self) -> str:
        """The name of the data set."""
        return f"Kinetics{self.version}"

    @property
    def data(self) -> Path:
        return self.folder / self.name

    def path(self, row: Row) -> Path:
        name = f"{row.youtube_id}_{row.time_start:06d}_{row.time_end:06d}.mp4"
        return self.data / "val" / label_folder(row.label) / name

    def files(self) -> list[Path]:
        """Every file in the split folders, and every unfinished one; locks stay, and the journal without pyarrow."""
        folders = [self.data / name for name in ("train", "val", "test", "whole", ".partial")]
        found = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
        return sorted(path for path in found if path.suffix not in (".lock", ".jsonl"))

    @property
    def errors_log(self) -> Path:
        return self.folder / f"{self.name}_validate_errors.log"

    @property
    def stats(self) -> Path:
        return self.folder / f"{self.name}_validate_stats.csv"

    @property
    def partial(self) -> Path:
        return self.data / ".partial"

    def errors(self) -> dict[str, tuple[str, str]]:
        """Category and reason of each id in the error log."""
        log = self.errors_log
        lines = [line.split("\t") for line in log.read_text().splitlines()] if log.exists() else []
        assert all(len(line) == 6 for line in lines)
        return {line[0]: (line[3], line[4]) for line in lines}

    def attempts(self) -> list[dict[str, str]]:
        with open(self.stats, newline="") as file:
            rows = list(csv.DictReader(file, strict=True))
        assert all(None not in row and None not in row.values() for row in rows), "a row with too many or few cells"
        return rows

    def assert_complete(self) -> None:
        """Every clip is there, plays, and nothing else lies about."""
        assert self.files() == sorted(self.path(row) for row in self.rows)
        for row in self.rows:
            assert frames(self.path(row)) == self.expected(row), row

    def expected(self, row: Row) -> list[int]:
        """The numbers of the frames that the section has."""
        video = self.world.scenarios[row.youtube_id].video
        assert video
        return list(range(video.frame_at(row.time_start), min(video.frame_at(row.time_end), len(video.frame_times))))


@dataclass
class MirrorSandbox(Sandbox):
    """The same with a mirror, which has archives and replacements of clips in them, and a cache that outlives a run."""

    version: str = "400"
    crates: Sequence[Crate] = ()
    replaced: Sequence[Row] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        self.env["XDG_CACHE_HOME"] = str(self.folder / "cache")
        stock(self.world, self.version, "validate", self.crates)
        replace_corrupt(self.world, self.replaced)

    def gone(self, rows: Iterable[Row]) -> None:
        """YouTube no longer has the videos of these."""
        self.world.scenarios |= {row.youtube_id: Scenario(failure=FAILURES["private"]) for row in rows}

    @property
    def archives(self) -> dict[str, bytes]:
        """What is in each archive of the mirror, by its path."""
        return {path: bytes(file.content) for path, file in self.world.mirror.items() if "tar" in file.mime_type}

    @property
    def on_mirror(self) -> set[Row]:
        """The rows that the mirror has whole."""
        clips = [one for content in self.archives.values() for one in clips_in(content).items()]
        whole = {name for name, clip in clips if clip == clip_of(length_of(name))}
        return {row for row in self.rows if self.path(row).name in whole}

    @property
    def on_youtube(self) -> set[Row]:
        """The rows that YouTube has."""
        return {row for row in self.rows if self.world.scenario(row.youtube_id).video}


@dataclass(frozen=True)
class Nothing:
    """A job that is done at once."""

    modules = (__name__,)

    def at(self, scratch: Path) -> Nothing:
        return self

    def open(self) -> Worker:
        def work(clip: Clip, answered: Callable[[], None]) -> Outcome:
            answered()
            return Outcome(clip, "done")

        return work


def past_the_end() -> dict[str, Scenario]:
    return {"past_the-en": Scenario(template(20), ("progressive",))}


def many_rows(count: int) -> list[Row]:
    """Clips of one second, for what is about their number rather than their length."""
    return [Row("tai chi", f"many-{number:06d}", number % 9, number % 9 + 1) for number in range(count)]


def frames(path: Path) -> list[int]:
    """Return the numbers in the pictures of a clip, all of which are decoded.

    Equal files have equal pictures, and most tests make the same clips: so each content is decoded once a process.
    """
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if digest not in _numbers:
        with av.open(str(path)) as clip:
            _numbers[digest] = [read_counter(frame.to_ndarray(format="gray")) for frame in clip.decode(video=0)]
    return [*_numbers[digest]]


_numbers: dict[str, list[int]] = {}


def descendants(pid: int) -> list[int]:
    """All processes below one, as the system lists them."""
    found, fresh = [], [pid]
    while fresh:
        fresh = [child for parent in fresh for child in children(parent)]
        found += fresh
    return found


def children(pid: int) -> list[int]:
    return [child for child, parent, _ in _processes() if parent == pid]


def workers(pid: int) -> list[int]:
    """The worker processes of a run: its fork server's children."""
    return [worker for child in children(pid) for worker in children(child)]


def session(leader: int) -> list[int]:
    """All living processes that a run has ever started, whoever their parent is now."""
    return [pid for pid, _, number in _processes() if number == leader]


def _processes() -> list[tuple[int, int, int]]:
    """Each living process with its parent and its session."""
    command = ["ps", "-e", "-o", "pid=,ppid=,sid=,stat="]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rows = [line.split() for line in listed.splitlines()]
    return [(int(pid), int(parent), int(sid)) for pid, parent, sid, state in rows if not state.startswith("Z")]


def wait_until(true: Callable[[], object], what: str) -> None:
    """Look now and then, and fail if it never comes true."""
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.05)


def kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
