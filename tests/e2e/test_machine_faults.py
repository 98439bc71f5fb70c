"""Faults of the machine: a table of what each makes of a run, and one test that holds for every row of it.

A run ends in one line with exit code 2, or goes on as if there were no fault; no clip fails, and no table loses a row.
"""

from __future__ import annotations

import csv
import errno
import gzip
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from kinetics.annotations.archives import MAX_FILE
from kinetics.errors import Fatal
from kinetics.records import Category, Clip, Outcome
from kinetics.scheduling.dispatch import Event
from kinetics.scheduling.events import Notice
from kinetics.scheduling.pool import run
from kinetics.scheduling.throttle import Unthrottled
from kinetics.scheduling.worker import Worker
from kinetics.storage.layout import Layout
from kinetics.storage.ledger import STATS_FIELDS, Ledger
from tests.support.dataset import PLAIN
from tests.support.failing_calls import KILLED, failing
from tests.support.sandbox import Run, Sandbox, frames, many_rows
from tests.support.sweeps import first_of, soak_unless
from tests.youtube.world import FAILURES, BadLine, FakeThrottle, Row, Scenario

COPY = ("--cut", "keyframe", "-w", "2")
"""A download that costs the processor little."""
VERIFY = ("--verify", *COPY)
MOST_TRIED = 25 + 2
"""Clips that may be tried after a fault began: 25, and those in the two workers."""
GONE = Row("tai chi", "is-private1", 0, 10)
"""A clip that an earlier run found gone: a row that each table has from before."""
NETWORK_DRIVE = ("ESTALE", "ENOTCONN", "ETIMEDOUT", "EHOSTDOWN", "ENODEV", "ENXIO", "ENOMEM", "EIO", "EPERM", "EROFS")
FULL = {"ENOSPC": "the disk is full", "EDQUOT": "the disk quota is used up", "EFBIG": "file too large"}
Change = Callable[[Sandbox], object]


# -- how a fault is brought about -------------------------------------------------------------------------------------


def nothing(sandbox: Sandbox) -> None:
    pass


def environment(**values: str) -> Change:
    return lambda sandbox: sandbox.env.update(values)


def calls_fail(calls: str, error: str, path: str, after: int = 0) -> Change:
    """These calls of the C library fail, for files whose path has this text in it."""
    return lambda sandbox: sandbox.env.update(failing(calls, getattr(errno, error), path, after))


def killed_in(calls: str, path: str) -> Change:
    return lambda sandbox: sandbox.env.update(failing(calls, KILLED, path))


def limited(limit: str) -> Change:
    """A limit of prlimit's on each process; those of memory are in MiB."""

    def change(sandbox: Sandbox) -> None:
        if not shutil.which("prlimit"):
            pytest.skip("prlimit is not installed")
        name, number = limit.split("=")
        sandbox.prefix = ("prlimit", f"--{name}={int(number) << 20}")

    return change


def limited_processes(most: int) -> Change:
    """The run may have that many processes and threads.

    The limit counts all that a user has, and does not hold for root: so it is a user of this test alone, who may open
    root's files.
    """

    def change(sandbox: Sandbox) -> None:
        if os.geteuid() != 0 or not shutil.which("setpriv") or not shutil.which("prlimit"):
            pytest.skip("only root can become another user, by setpriv, whose processes prlimit limits")
        able, user = "-all,+dac_override,+dac_read_search", f"--reuid={100_000 + os.getpid()}"
        abilities = (f"--inh-caps={able}", f"--ambient-caps={able}", f"--bounding-set={able}")
        kept = "--securebits=+no_setuid_fixup"  # else access() would not count them
        sandbox.prefix = ("prlimit", f"--nproc={most}", "setpriv", user, "--clear-groups", kept, *abilities)

    return change


def long_folder_for_temporary_files(sandbox: Sandbox) -> None:
    folder = sandbox.folder.joinpath("t" * 90)
    folder.mkdir()
    sandbox.env["TMPDIR"] = str(folder)


def killers(sandbox: Sandbox) -> None:
    """Each worker is killed half a second after its start, and YouTube answers no sooner than that."""
    sandbox.world.latency_s = 60.0
    folder = sandbox.folder / "killer"
    folder.mkdir()
    sandbox.env["PYTHONPATH"] = str(folder)
    (folder / "sitecustomize.py").write_text(
        "import os, threading\n"
        "os.register_at_fork(after_in_child=lambda: threading.Timer(0.5, os.kill, (os.getpid(), 9)).start())\n"
    )


def answers_at_once(sandbox: Sandbox) -> None:
    sandbox.world.latency_s = 0.0


def addresses_expire(sandbox: Sandbox) -> None:
    for row in sandbox.rows:
        scenario = sandbox.world.scenarios[row.youtube_id]
        sandbox.world.scenarios[row.youtube_id] = replace(scenario, expired_replies=1)


def line_resets(sandbox: Sandbox) -> None:
    sandbox.world.bad_line = BadLine(0.3)


def line_holds(sandbox: Sandbox) -> None:
    sandbox.world.bad_line = None


def one_call_in_2_s(sandbox: Sandbox) -> None:
    sandbox.world.throttle = FakeThrottle(after=1, for_s=2.0, again=True)


def stopped_for_a_while(sandbox: Sandbox) -> None:
    """As by Ctrl-Z, and then fg, while clips are fetched."""
    sandbox.world.latency_s = 0.2
    script = sandbox.folder / "stopper.py"
    script.write_text(
        "import os, signal, subprocess, sys, time\n"
        "run = subprocess.Popen(sys.argv[1:], start_new_session=True)\n"
        "for number, seconds in ((signal.SIGSTOP, 3), (signal.SIGCONT, 16)):\n"
        "    time.sleep(seconds)\n"
        "    os.killpg(run.pid, number)\n"
        "sys.exit(run.wait())\n"
    )
    sandbox.prefix = (sys.executable, str(script))


def older_table_and(change: Change) -> Change:
    """The attempts table is one of an earlier version, which is written anew, and a fault."""

    def changes(sandbox: Sandbox) -> None:
        rows = sandbox.attempts()
        with open(sandbox.stats, "w", newline="") as file:
            table = csv.DictWriter(file, STATS_FIELDS[:-1], extrasaction="ignore", lineterminator="\n")
            table.writeheader()
            table.writerows(rows)
        change(sandbox)

    return changes


def a_file(name: str) -> Change:
    return lambda sandbox: (sandbox.folder / name).write_text("a file")


def a_link_to_an_unmounted_disk(sandbox: Sandbox) -> None:
    (sandbox.folder / "linked").symlink_to("/nowhere/disk")


def a_pipe(sandbox: Sandbox) -> None:
    os.mkfifo(sandbox.folder / "pipe.csv")


def a_bomb(sandbox: Sandbox) -> None:
    (sandbox.folder / "bomb.csv.gz").write_bytes(gzip.compress(bytes(MAX_FILE + 1), 1))


def holes(sandbox: Sandbox) -> None:
    (sandbox.folder / "holes.csv").touch()
    os.truncate(sandbox.folder / "holes.csv", 10 << 30)


def one_bit_rots(sandbox: Sandbox) -> None:
    """A manifest is written, and then a bit of a clip turns over, which no time and no size tells."""
    assert sandbox.run("--manifest").code == 0
    turn_a_bit_over(sandbox)


def turn_a_bit_over(sandbox: Sandbox) -> None:
    path = sandbox.path(sandbox.rows[0])
    content, status = bytearray(path.read_bytes()), path.stat()
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


# -- the table --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fault:
    """A fault of the machine, how it is brought about, and how the run that meets it ends.

    The next run finds a healthy machine: no changed environment, prefix or world, and what `undo` leaves.
    """

    name: str
    """What the run makes of it, which is the name of the test."""
    inject: Change
    """Changes the sandbox's environment, prefix, files or world before the run."""
    says: tuple[str, ...] = ()
    """The words of its one line, which also says what to do; without any, nothing is said."""
    codes: tuple[int, ...] = (2,)
    """The exit code; others behind it are right as well, without the line."""
    options: tuple[str, ...] = COPY
    """`{folder}` stands for the output folder."""
    wanted: int = 6
    """Clips to fetch."""
    on_disk: int = 1
    """Clips that are there before."""
    costs: frozenset[Category] = frozenset()
    """What clips that were at work may be called."""
    undo: Change = nothing
    ordinary: bool = False
    """Whether the ordinary run has it: no cheaper test does."""

    @property
    def next_options(self) -> tuple[str, ...]:
        """The options of the next run on a healthy machine."""
        return COPY if self.wanted else VERIFY


def on_clips(name: str, inject: Change, *says: str, **more: Any) -> Fault:
    """A fault of a command on clips that are on disk."""
    return Fault(name, inject, says, **{"options": VERIFY, "wanted": 0, "on_disk": 4, **more})


def goes_on(name: str, inject: Change, *says: str, **more: Any) -> Fault:
    """A fault that a run gets everything in spite of."""
    return Fault(name, inject, says, **{"codes": (0,), "wanted": 2, **more})


def only_words(name: str, inject: Change, *says: str, options: tuple[str, ...]) -> Fault:
    """A fault that is found before anything is fetched."""
    return Fault(name, inject, says, options=(*COPY, *options), wanted=2)


NO_ROOM = "Free some space"
AGAIN = "run the command again"
NO_PROCESSES = ("No more processes or threads", "use fewer workers (-w)", AGAIN)

FAULTS = [
    # no thread or process can be started
    *(
        Fault(
            f"with a limit of {most} on processes the run ends and names the limit",
            limited_processes(most),
            (*NO_PROCESSES, f"this user may have {most} (ulimit -u)"),
            (2, 0) if most > 8 else (2,),
            ("--cut", "keyframe"),
            wanted=4,
            ordinary=most == 7,
        )
        for most in range(1, 12)
    ),
    # workers are killed at work; those that live where fewer go on are in the tests of the pool below
    Fault(
        "a run whose workers are all killed ends after few clips",
        killers,
        ("5 worker processes in a row were killed at work", AGAIN),
        options=(*COPY, "--engine", "pytubefix"),
        wanted=40,
        costs=frozenset({Category.LOST_WORKER}),
        undo=answers_at_once,
    ),
    # the disk, or a network drive, no longer writes
    *(
        Fault(
            f"where {call} says {error} of a clip the run ends and the clip does not fail",
            calls_fail(call, error, ".mp4", after),
            ("Cannot write", os.strerror(getattr(errno, error)), AGAIN),
            ordinary=(call, error) == ("write", "ESTALE"),
        )
        for (call, after), error in product((("write", 4), ("fsync", 1), ("rename", 1)), NETWORK_DRIVE)
    ),
    *(
        Fault(
            f"where {call} says {error} of a clip the run ends and the clip does not fail",
            calls_fail(call, error, ".mp4", 1),
            ("Cannot write", words, NO_ROOM, AGAIN),
        )
        for call, (error, words) in product(("write", "fsync"), FULL.items())
    ),
    *(
        Fault(
            f"where {call} says {error} of {table} the run ends and the rows stay",
            calls_fail(call, error, table, after),
            ("Cannot", table, os.strerror(getattr(errno, error)), AGAIN),
        )
        for (call, after), error, table in product(
            (("write", 1), ("open", 1), ("rename", 0)), ("ESTALE", "EIO", "EROFS"), ("stats.csv", "errors.log")
        )
        if (call, table) != ("rename", "stats.csv")  # which is not written anew here
    ),
    # a table is being written anew
    *(
        Fault(
            f"where {call} is refused for a table of an earlier version the old one stays",
            older_table_and(calls_fail(call, "EIO", "stats.csv")),
            ("Cannot write", os.strerror(errno.EIO), AGAIN),
        )
        for call in ("fsync", "rename", "write")
    ),
    *(
        Fault(
            f"a run killed in the {call} of a table of an earlier version leaves the old one",
            older_table_and(killed_in(call, "stats.csv")),
            codes=(-signal.SIGKILL,),
            ordinary=call == "fsync",
        )
        for call in ("fsync", "rename", "write")
    ),
    # the file system has no locks
    *(
        goes_on(
            f"where flock says {error} a run with a limited rate gets everything and says once what it does instead",
            calls_fail("flock", error, ""),
            "this file system has no locks, so a file keeps other runs away",
            options=(*COPY, "--limit-rate", "50M"),
            ordinary=error == "ENOSYS",
        )
        for error in ("ENOSYS", "EOPNOTSUPP", "ENOLCK")
    ),
    Fault(
        "a rate that cannot be shared by the workers ends the run",
        calls_fail("pwrite", "ENOSPC", "/rate"),
        ("--limit-rate", os.strerror(errno.ENOSPC)),
        options=(*COPY, "--limit-rate", "50M"),
    ),
    # clips cannot be read, or there is too little memory to decode them
    *(
        on_clips(
            f"where {call} says {error} --verify moves no clip",
            calls_fail(call, error, ".mp4"),
            *(("4 clips could not be read to the end", "left in place") if error == "EIO" else ("Cannot read", AGAIN)),
            codes=(1,) if error == "EIO" else (2,),
            ordinary=(call, error) == ("read", "EIO"),
        )
        for call, error in product(("read", "open"), NETWORK_DRIVE)
    ),
    *(
        on_clips(
            f"where {call} says {error} after {after} calls --verify moves no clip",
            calls_fail(call, error, ".mp4", after),
            codes=(0, 1, 2),
            options=(*VERIFY, "-w", "1"),
        )
        for call, error, after in product(("read", "open"), NETWORK_DRIVE, range(1, 14, 3))
    ),
    *(
        on_clips(f"with a limit of {limit} on memory --verify moves no clip", limited(limit), codes=(0, 1, 2))
        for limit in (f"{kind}={most}" for kind, most in product(("data", "as"), range(100, 1300, 150)))
    ),
    *(
        on_clips(
            f"where a clip cannot be read {' '.join(options)} says that it stays",
            calls_fail("read", "EIO", ".mp4"),
            "4 clips could not be read to the end, and left in place",
            codes=(1,),
            options=options,
        )
        for options in (("--frames", "1"), ("--sound", "wav"), ("--lists",), ("--manifest",))
    ),
    # memory is limited
    *(
        goes_on(f"a run with a limit of {limit} on memory gets everything", limited(limit), ordinary=ordinary)
        for limit, ordinary in (("as=1200", True), ("data=200", False))
    ),
    *(
        Fault(
            f"a run with a limit of {limit} on memory gets everything or ends and names the limit",
            limited(limit),
            ("too little memory", "ulimit", "Raise the limit", AGAIN),
            (2, 0) if int(limit.split("=")[1]) > lowest else (2,),
            wanted=2,
        )
        for kind, sizes, lowest in (("as", range(50, 450, 25), 300), ("data", range(20, 220, 20), 40))
        for limit in (f"{kind}={size}" for size in sizes)
    ),
    # the environment
    goes_on(
        "a folder for temporary files that is too long for sockets costs no clip",
        long_folder_for_temporary_files,
        ordinary=True,
    ),
    goes_on(
        "a Python that leaves the scripts folder out of its search path runs the program",
        environment(PYTHONSAFEPATH="1"),
        ordinary=True,
    ),
    # the addresses of media expire; how many calls that costs is in test_fallback.py
    *(
        goes_on(
            f"{engine} alone gets every clip whose address has expired",
            addresses_expire,
            options=(*COPY, "--engine", engine),
            wanted=12,
        )
        for engine in ("pytubefix", "yt-dlp")
    ),
    # the line, the pace and the terminal; more of them is in test_bad_line.py, test_throttle.py and test_waiting.py
    goes_on(
        "a line that resets 3 of 10 connections fails no clip",
        line_resets,
        wanted=20,
        costs=frozenset({Category.NETWORK}),
        undo=line_holds,
    ),
    goes_on(
        "where YouTube answers 1 call in 2 s the run slows down and gets everything",
        one_call_in_2_s,
        wanted=10,
        costs=frozenset({Category.THROTTLED}),
    ),
    goes_on(
        "a run that is stopped for longer than its --timeout gets everything",
        stopped_for_a_while,
        options=(*COPY, "--timeout", "12"),
        wanted=6,
    ),
    # something is in the way; the kinds of things are in tests/unit/test_obstacles.py
    only_words(
        "a file in the way is named",
        a_file("out"),
        "{folder}/out is a file, not a folder",
        options=("-o", "{folder}/out/x"),
    ),
    only_words(
        "a link to a disk that is not mounted is named and nothing is made behind it",
        a_link_to_an_unmounted_disk,
        "{folder}/linked is a link to /nowhere/disk, which is not there (is its disk mounted?)",
        options=("-o", "{folder}/linked"),
    ),
    # files that an option names; every option is in tests/unit/test_user_files.py
    *(
        only_words(
            f"--compare of {name} ends in one line",
            inject,
            *says,
            options=("--compare", "{folder}/" + file, "{folder}/" + file),
        )
        for name, inject, file, says in (
            ("a gzip bomb", a_bomb, "bomb.csv.gz", ("bomb.csv.gz", "MiB")),
            ("a file of 10 GB of holes", holes, "holes.csv", ("holes.csv has more than", "MiB")),
            ("a pipe that nobody writes to", a_pipe, "pipe.csv", ("pipe.csv", "it is a pipe, and nothing came")),
        )
    ),
    only_words(
        "a device for a list ends in one line",
        nothing,
        "it is a device, not a file",
        options=("--classes", "@/dev/zero"),
    ),
    # bits have rotted
    on_clips(
        "--manifest says that it has not read again what has kept its size and time",
        one_bit_rots,
        "4 clips not read again, since size and time are as before; --verify reads all",
        options=("--manifest",),
        codes=(0,),
        undo=turn_a_bit_over,
    ),
    # values that no machine has
    only_words(
        "an endless time limit is refused",
        nothing,
        "--timeout",
        "is too large: at most",
        options=("--timeout", "1e300"),
    ),
    *(
        only_words(f"an empty {option} is refused", nothing, option, options=(option, ""))
        for option in ("-o", "--annotations")
    ),
]


@pytest.mark.parametrize(
    "fault", soak_unless(lambda fault: fault.ordinary, *((fault,) for fault in FAULTS)), ids=lambda fault: fault.name
)
def test_promise_5_whatever_the_machine_does_no_clip_fails_no_row_is_lost_and_the_next_run_has_everything(
    tmp_path: Path, fault: Fault
) -> None:
    sandbox, before = data_set(tmp_path, fault)
    fault.inject(sandbox)
    run = sandbox.run(*(option.format(folder=sandbox.folder) for option in fault.options))
    sandbox.env, sandbox.prefix = {}, ()
    fault.undo(sandbox)
    print(f"{run.code}\n{run.out}\n{run.err}")
    assert_ended(run, fault, sandbox.folder)
    assert_whole(sandbox, before)
    assert_rows_kept(sandbox, fault, before)
    if run.code:
        run = sandbox.run(*fault.next_options)
    assert run.code == 0, run.err
    clips = [path for path in sandbox.files() if path.suffix in (".mp4", ".part")]
    assert clips == sorted(map(sandbox.path, living(sandbox)))
    assert_whole(sandbox, before)
    assert sandbox.errors().keys() == {GONE.youtube_id}
    assert {*before.attempts} <= {*attempts(sandbox)}


@dataclass(frozen=True)
class Before:
    """What is known of a data set before the run that meets the fault."""

    clips: dict[Path, bytes]
    attempts: list[tuple[str, str]]


def data_set(folder: Path, fault: Fault) -> tuple[Sandbox, Before]:
    """A data set that an earlier run has begun: some clips are there, and one video is known to be gone."""
    here = [Row("tai chi", f"here-{number:06d}", 0, 4) for number in range(fault.on_disk)]
    sandbox = Sandbox(
        folder, [*here, *many_rows(fault.wanted), GONE], {GONE.youtube_id: Scenario(failure=FAILURES["private"])}
    )
    content = PLAIN.progressive.path.read_bytes()
    with Ledger(Layout(folder, "700"), "validate") as ledger:
        for row in here:
            sandbox.path(row).parent.mkdir(parents=True, exist_ok=True)
            sandbox.path(row).write_bytes(content)
            ledger.record(Outcome(clip_of(row), "done", duration_s=4.0, sound=True, cut="keyframe"))
        ledger.record(Outcome(clip_of(GONE), "failed", Category.PRIVATE, "This video is private"))
    return sandbox, Before({sandbox.path(row): content for row in here}, attempts(sandbox))


def clip_of(row: Row) -> Clip:
    return Clip(row.youtube_id, row.time_start, row.time_end, row.label, "val")


def living(sandbox: Sandbox) -> list[Row]:
    return [row for row in sandbox.rows if row != GONE]


def attempts(sandbox: Sandbox) -> list[tuple[str, str]]:
    return [(row["youtube_id"], row["category"]) for row in sandbox.attempts()]


def assert_ended(run: Run, fault: Fault, folder: Path) -> None:
    """The exit code is right, and one line says what is wrong."""
    assert run.code in fault.codes, run.err
    assert "Traceback" not in run.out + run.err
    errors = [line for line in run.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == (run.code == 2), run.err
    if fault.says and run.code == fault.codes[0]:
        words = [one.format(folder=folder) for one in fault.says]
        lines = errors or (run.out + run.err).splitlines()
        assert sum(all(word in line for word in words) for line in lines) == 1, run.out + run.err


def assert_whole(sandbox: Sandbox, before: Before) -> None:
    """Every clip under a final name plays, and what was there is as it was."""
    assert {path: path.read_bytes() for path in before.clips} == before.clips
    clips = [path for path in (sandbox.data / "val").rglob("*") if path.is_file()]
    assert {*clips} <= {sandbox.path(row) for row in living(sandbox)}
    assert all(len(frames(path)) >= 24 for path in clips)


def assert_rows_kept(sandbox: Sandbox, fault: Fault, before: Before) -> None:
    """Both tables have what they knew, few clips were tried in vain, and none is called gone that is not."""
    now = attempts(sandbox)
    assert now[: len(before.attempts)] == before.attempts
    failed = [category for youtube_id, category in now if category and youtube_id != GONE.youtube_id]
    assert {*failed} <= fault.costs
    assert len(failed) <= MOST_TRIED
    assert {*sandbox.errors()} <= {youtube_id for youtube_id, category in now if category}
    assert sandbox.errors()[GONE.youtube_id][0] == Category.PRIVATE


# -- workers that are killed, as the pool meets it --------------------------------------------------------------------


@dataclass(frozen=True)
class ShortOfMemory:
    """A job in a folder where every worker at an item has a file; where there are more than `room`, it is killed."""

    folder: Path
    room: int
    modules = (__name__,)

    def open(self) -> Worker:
        def work(clip: Clip, answered: Callable[[], None]) -> Outcome:
            at_work = self.folder / str(os.getpid())
            at_work.touch()
            answered()
            time.sleep(0.02)
            for process in self.folder.iterdir():
                if not Path(f"/proc/{process.name}").exists():
                    process.unlink(missing_ok=True)
            if len([*self.folder.iterdir()]) > self.room:
                os.kill(os.getpid(), signal.SIGKILL)
            at_work.unlink(missing_ok=True)
            return Outcome(clip, "done")

        return work


def results(job: ShortOfMemory, count: int, workers: int, seen: list[Event]) -> Iterator[Outcome]:
    wanted = (Clip(f"{number:011d}", 0.0, 1.0, "a", "val") for number in range(count))
    for event in run(job, wanted, workers=workers, timeout_s=60.0, throttle=Unthrottled(workers)):
        seen.append(event)
        if isinstance(event, Outcome):
            yield event


@pytest.mark.parametrize("workers", first_of([6, 1]))
def test_promise_5_where_every_worker_is_killed_the_run_ends_after_few_clips(tmp_path: Path, workers: int) -> None:
    lost, seen = list[Outcome](), list[Event]()
    with pytest.raises(Fatal, match="5 worker processes in a row were killed at work, the last ones alone"):
        lost.extend(results(ShortOfMemory(tmp_path, 0), 200, workers, seen))
    outcomes = [event for event in seen if isinstance(event, Outcome)]
    assert {outcome.category for outcome in outcomes} == {Category.LOST_WORKER}
    assert len(outcomes) <= 25
    assert bool([event for event in seen if isinstance(event, Notice)]) is (workers > 1)


@pytest.mark.soak
def test_promise_5_where_memory_is_short_for_all_workers_fewer_go_on(tmp_path: Path) -> None:
    seen = list[Event]()
    outcomes = [*results(ShortOfMemory(tmp_path, 1), 60, 6, seen)]
    lost = [outcome for outcome in outcomes if outcome.status == "failed"]
    assert len(outcomes) == 60
    assert {outcome.category for outcome in lost} == {Category.LOST_WORKER}
    said = [event.text for event in seen if isinstance(event, Notice)]
    assert said
    assert said[-1].startswith("5 worker processes in a row were killed at work, as when memory is short: ")
