"""Errors that are the machine's and not the clip's, however they are wrapped."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import resource
import subprocess
import threading
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from kinetics.annotations.files import read_file
from kinetics.errors import Fatal, MayWorkLater
from kinetics.records import Category
from kinetics.scheduling import machine
from kinetics.scheduling.machine import check_room, machine_fault
from kinetics.scheduling.worker import record_failure

NO_THREAD = RuntimeError("can't start new thread")


def _execute_child(number: int) -> object:
    raise OSError(number, "as subprocess raises it where fork fails")


def wrapped(fault: Callable[[], object]) -> MayWorkLater:
    """What an engine's seam makes of an error that the engine has wrapped itself."""
    try:
        try:
            try:
                fault()
            except (OSError, RuntimeError):
                raise ValueError("ERROR: [youtube] cannot run node") from None
        except ValueError as error:
            raise MayWorkLater(Category.ENGINE_ERROR, "yt-dlp failed: ValueError") from error
    except MayWorkLater as error:
        return error
    raise AssertionError("nothing was raised")


def no_thread() -> None:
    raise NO_THREAD


FAULTS: dict[str, Callable[[], object]] = {
    "no thread": no_thread,
    "no process": lambda: _execute_child(errno.EAGAIN),
    "no memory for a process": lambda: _execute_child(errno.ENOMEM),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_promise_5_that_nothing_can_be_started_is_no_clips_fault(tmp_path: Path, fault: Callable[[], object]) -> None:
    with pytest.raises(Fatal, match="No more processes or threads can be started here"), record_failure(tmp_path):
        fault()
    with pytest.raises(Fatal, match="No more processes or threads can be started here"), record_failure(tmp_path):
        raise wrapped(fault)


def test_a_lock_that_is_held_and_other_surprises_stay_what_they_are(tmp_path: Path) -> None:
    with open(tmp_path / "a", "w") as one, open(tmp_path / "a", "w") as two:
        fcntl.flock(one, fcntl.LOCK_EX)
        with pytest.raises(BlockingIOError) as held:
            fcntl.flock(two, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert machine_fault(held.value) is None
    assert machine_fault(RuntimeError("generator raised StopIteration")) is None
    with record_failure(tmp_path) as failure:
        raise RuntimeError("generator raised StopIteration")
    assert failure.category is Category.MEDIA_ERROR


def test_the_name_of_the_function_by_which_a_failed_start_is_known_is_pythons_own() -> None:
    assert callable(getattr(subprocess.Popen, "_execute_child", None))


@pytest.mark.parametrize(("limit", "is_the_machines"), [(1200 << 20, True), (resource.RLIM_INFINITY, False)])
def test_promise_5_memory_that_a_limit_denies_is_no_clips_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int, is_the_machines: bool
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (limit, limit))
    with contextlib.ExitStack() as stack:
        if is_the_machines:
            stack.enter_context(pytest.raises(Fatal, match=r"a process may have 1,200 MiB \(ulimit -v\)"))
        with record_failure(tmp_path) as failure:
            raise MemoryError
    assert (failure.category is Category.MEDIA_ERROR) is not is_the_machines


def test_a_file_takes_memory_for_its_own_bytes_only(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"x")
    tracemalloc.start()
    read_file(tmp_path / "a.csv")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 23


def test_the_limit_of_a_container_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pids.max").write_text("64\n")
    (tmp_path / "none").write_text("max\n")
    monkeypatch.setattr(machine, "PIDS_LIMITS", (tmp_path / "none", tmp_path / "missing", tmp_path / "pids.max"))
    monkeypatch.setattr(threading.Thread, "start", lambda _: no_thread())
    with pytest.raises(Fatal, match=r"this container may have 64 \(pids limit\)\. Raise the limit"):
        check_room()
