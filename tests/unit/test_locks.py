"""Locks where the file system has none: a lease keeps a second run away, and ends when its run does."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from kinetics.errors import Fatal
from kinetics.net.rate_limit import RateLimiter
from kinetics.os_errors import NO_LOCKS
from kinetics.storage.layout import Layout
from kinetics.storage.lease import LEASE_S, _host, _start_of
from kinetics.storage.locks import hold_subsets, is_at_work, share_subset


def silent(_: str) -> None:
    pass


@pytest.fixture(params=[errno.ENOSYS, errno.EOPNOTSUPP])
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Layout:
    def flock(file: int, kind: int) -> None:
        raise OSError(request.param, os.strerror(request.param))

    monkeypatch.setattr(fcntl, "flock", flock)
    return Layout(tmp_path, "700")


def held(layout: Layout) -> Path:
    return layout.state_file("train", "lock.held")


def test_a_lease_keeps_a_second_run_away_and_is_gone_after_the_first(layout: Layout) -> None:
    said = list[str]()
    with hold_subsets(layout, ["train", "test"], said.append):
        with pytest.raises(Fatal, match=rf"another run is already working.*process {os.getpid()}"):
            hold_subsets(layout, ["train"], silent).__enter__()
        with pytest.raises(Fatal, match="another run"), share_subset(layout, "train"):
            pass
        assert held(layout).exists()
    assert len(said) == 1
    assert "no locks" in said[0]
    assert not held(layout).exists()
    with hold_subsets(layout, ["train"], silent):
        pass


HOLDERS: dict[str, tuple[str, float, str]] = {
    "one that ended here": (f"{_host()} {2**22 + 1} 1 x\n", 0, ""),
    "its number is another process's now": (f"{_host()} {os.getpid()} 1 x\n", 0, ""),
    "one that is here": (f"{_host()} {os.getpid()} {_start_of(os.getpid())} x\n", 2 * LEASE_S, "process"),
    "one elsewhere": ("other/boot/space 12 34 x\n", LEASE_S / 2, "process 12 on other"),
    "one elsewhere that was killed": ("other/boot/space 12 34 x\n", LEASE_S + 5, ""),
    "half a line, just written": ("oth", 0, "another run"),
    "half a line, left behind": ("oth", LEASE_S + 5, ""),
}


@pytest.mark.parametrize(("content", "age_s", "busy"), HOLDERS.values(), ids=HOLDERS)
def test_a_lease_that_a_killed_run_left_is_not_held_for_good(
    layout: Layout, content: str, age_s: float, busy: str
) -> None:
    path = held(layout)
    path.parent.mkdir(parents=True)
    path.write_text(content)
    os.utime(path, (time.time() - age_s,) * 2)
    if busy:
        with pytest.raises(Fatal, match=busy):
            hold_subsets(layout, ["train"], silent).__enter__()
        assert path.read_text() == content
    else:
        with hold_subsets(layout, ["train"], silent):
            assert path.read_text() != content
    assert {one.name for one in path.parent.iterdir()} <= {"train.lock", "train.lock.held", "train.at_work.lock"}


def test_runs_on_shards_share_a_subset(layout: Layout) -> None:
    one, two = (replace(layout, shard=shard) for shard in ("1of2", "2of2"))
    with hold_subsets(one, ["train"], silent), hold_subsets(two, ["train"], silent):
        pass


def test_a_limit_on_the_rate_needs_no_locks(layout: Layout) -> None:
    limits = [RateLimiter(layout.root / "rate", 10_000) for _ in range(2)]
    before = time.time()
    for limit in limits * 2:
        limit.acquire(500)
    assert time.time() - before >= 0.15 - 0.001


@pytest.mark.parametrize("call", ["flock", "pwrite"])
def test_a_limit_that_cannot_be_kept_is_no_fault_of_a_connection(
    tmp_path: Path, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    limit = RateLimiter(tmp_path / "rate", 10_000)
    monkeypatch.setattr(fcntl if call == "flock" else os, call, fail)
    with pytest.raises(Fatal, match=r"--limit-rate cannot use .*rate: Input/output error"):
        limit.acquire(1)
    assert errno.EIO not in NO_LOCKS


@pytest.fixture
def with_locks(tmp_path: Path) -> Layout:
    return Layout(tmp_path, "700")


@pytest.fixture(params=["locks", "leases"])
def any_layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Layout:
    def flock(file: int, kind: int) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    if request.param == "leases":
        monkeypatch.setattr(fcntl, "flock", flock)
    return Layout(tmp_path, "700")


def test_a_run_is_seen_at_work_while_it_is(any_layout: Layout) -> None:
    layout = any_layout
    assert not is_at_work(layout, ["train"])
    assert not layout.folder.exists(), "nothing is made by looking"
    with hold_subsets(layout, ["train", "test"], silent):
        assert is_at_work(layout, ["train"])
        assert is_at_work(layout, ["validate", "test"])
        assert not is_at_work(layout, ["validate"])
    assert not is_at_work(layout, ["train"])


def test_the_run_on_a_shard_is_one_on_its_subset_and_on_no_other_shard(any_layout: Layout) -> None:
    layout = any_layout
    one, two = (replace(layout, shard=shard) for shard in ("1of2", "2of2"))
    with hold_subsets(one, ["train"], silent):
        assert is_at_work(layout, ["train"])
        assert is_at_work(one, ["train"])
        assert not is_at_work(two, ["train"])


def test_looking_turns_no_run_away(with_locks: Layout) -> None:
    """Whoever looks touches no lock that runs hold against each other, and a run waits for a look that it meets."""
    with hold_subsets(with_locks, ["train"], silent):
        pass
    with open(with_locks.state_file("train", "at_work.lock")) as looked_at:
        fcntl.flock(looked_at, fcntl.LOCK_EX)  # as a look would, if it took for ever
        with hold_subsets(with_locks, ["train"], silent):
            pass
    with open(with_locks.state_file("train", "lock")) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert not is_at_work(with_locks, ["train"])
