"""The status file: what a run writes for whoever watches it, and what a reader makes of any file."""

from __future__ import annotations

import json
import os
import random
import re
import socket
import time
from collections.abc import Iterator
from dataclasses import asdict, fields, is_dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from kinetics.cli.parser import parse
from kinetics.errors import Fatal
from kinetics.records import Category, Outcome
from kinetics.run import status
from kinetics.run.context import Context
from kinetics.run.listener import Listener
from kinetics.run.progress import ProgressTracker
from kinetics.run.status import StatusWriter
from kinetics.scheduling.awake_clock import shared_time
from kinetics.scheduling.call_budget import BURST, PUBLISHED_PER_HOUR, CallBudget
from kinetics.scheduling.call_pace import CallPace, Pacing
from kinetics.scheduling.events import Pause
from kinetics.scheduling.shared_pace import SharedPace
from kinetics.storage.layout import Layout
from kinetics.storage.status_file import RunStatus, is_alive, read_status, statuses, write_status
from tests.support.commands import ROOT
from tests.support.small_run import A1, A2, A4, CLIPS


class Heard(Listener):
    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn(self, text: str) -> None:
        self.warnings.append(text)


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def writer(tmp_path: Path, heard: Heard) -> StatusWriter:
    return StatusWriter(Context(parse(["-v", "700", "-s", "train", "-o", str(tmp_path)]), heard))


@pytest.fixture
def tracker() -> ProgressTracker:
    return ProgressTracker(len(CLIPS), wanted=12, on_disk=2, expected_s=600.0, basis="published figures")


def written(writer: StatusWriter) -> RunStatus:
    found = read_status(writer.path)
    assert found
    return found


def test_a_run_says_how_far_it_is_from_its_beginning_to_its_end(
    writer: StatusWriter, tracker: ProgressTracker, tmp_path: Path
) -> None:
    pace = CallPace()
    writer.begin(tracker, {"here": pace})
    first = written(writer)
    assert writer.path == tmp_path / "Kinetics700_train_status.json"
    assert (first.state, first.exit_code, first.pid, first.host) == ("running", None, os.getpid(), socket.gethostname())
    assert (first.counts.wanted, first.counts.on_disk, first.counts.left) == (12, 2, 10)
    assert first.left_s == pytest.approx(600, abs=60)
    assert first.basis == "published figures"
    assert [(one.address, one.spent, one.left) for one in first.calls] == [("here", 0, PUBLISHED_PER_HOUR)]
    for outcome in (
        Outcome(A1, "done"),
        Outcome(A2, "failed", Category.PRIVATE),
        Outcome(A4, "failed", Category.TIMEOUT),
    ):
        tracker.take(outcome)
        pace.sent(shared_time())
    tracker.take(Pause(Category.THROTTLED, "HTTP Error 429", 300))
    writer.write()
    paused = written(writer)
    assert paused.state == "paused"
    assert paused.pause
    assert (paused.pause.category, paused.pause.reason) == ("throttled", "HTTP Error 429")
    assert timedelta(0) < paused.pause.until - paused.written <= timedelta(seconds=301)
    counts = paused.counts
    assert (counts.done, counts.gone, counts.failed, counts.left, counts.on_disk) == (1, 1, 1, 7, 3)
    assert counts.by_category == {"private": 1, "timeout": 1}
    assert [(one.spent, one.left) for one in paused.calls] == [(3, PUBLISHED_PER_HOUR - 3)]
    for error, code in ((KeyboardInterrupt(), 130), (Fatal("the disk is full"), 2)):
        writer.ended(type(error), error, None)
        ended = written(writer)
        assert (ended.state, ended.exit_code, ended.pause, ended.left_s) == ("ended", code, None, None)
    assert ended.why == "the disk is full"
    assert [*tmp_path.glob("*.part")] == []


def test_nothing_is_written_before_a_run_begins(writer: StatusWriter) -> None:
    writer.write_if_due()
    writer.ended(None, None, None)
    assert not writer.path.exists()


def test_thousands_of_events_are_few_writes(
    writer: StatusWriter, tracker: ProgressTracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the run's clock, whatever that of the machine says: one write in 5 seconds, however much happens."""
    now, writes = [1000.0], list[float]()

    def noting(path: Path, one: RunStatus, partial: Path) -> None:
        writes.append(now[0])
        write_status(path, one, partial)

    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(status, "write_status", noting)
    writer.begin(tracker, {})
    for _ in range(6000):
        now[0] += 0.01
        writer.write_if_due()
    assert len(writes) == pytest.approx(1 + 60 / status.STATUS_EVERY_S, abs=1)


def test_a_status_that_cannot_be_written_does_not_end_the_run(
    writer: StatusWriter, tracker: ProgressTracker, heard: Heard
) -> None:
    writer.path.mkdir()
    writer.begin(tracker, {})
    writer.write()
    assert len(heard.warnings) == 1
    assert str(writer.path) in heard.warnings[0]
    writer.path.rmdir()
    writer.write()
    assert written(writer).state == "running"


def test_a_password_of_a_proxy_is_in_no_file(writer: StatusWriter, tracker: ProgressTracker) -> None:
    writer.begin(tracker, {"http://me:secret@proxy:3128": CallPace()})
    assert "secret" not in writer.path.read_text()
    assert written(writer).calls[0].address == "http://me:***@proxy:3128"


# --- the calls that are left ---


def test_calls_left_are_those_of_the_last_hour_less_than_the_pace_allows() -> None:
    budget = CallBudget()
    budget.spend(BURST, 0.0)
    assert (budget.in_last_hour(10.0), budget.left(10.0)) == (BURST, PUBLISHED_PER_HOUR - BURST)
    assert (budget.in_last_hour(4000.0), budget.left(4000.0)) == (0, PUBLISHED_PER_HOUR)
    budget.spend(400, 4000.0)
    assert budget.left(4000.0) == 0
    budget.handed_over = True
    assert budget.left(4000.0) is None


def paces(folder: Path) -> Iterator[tuple[Pacing, bool]]:
    yield CallPace(), True
    yield CallPace(limited=False), False
    yield SharedPace(folder / "a.json", "here"), True
    yield SharedPace(folder / "b.json", "here", limited=False), False


def test_a_run_without_a_limit_knows_its_calls_and_no_number_that_is_left(tmp_path: Path) -> None:
    now = shared_time()
    for pace, limited in paces(tmp_path):
        pace.sent(now)
        pace.spend(2, now)
        assert pace.calls(now) == (3, PUBLISHED_PER_HOUR - 3 if limited else None)


def test_calls_of_another_run_count_as_well(tmp_path: Path) -> None:
    now = shared_time()
    ours, theirs = (SharedPace(tmp_path / "calls.json", "here") for _ in range(2))
    theirs.sent(now)
    theirs.close(now)
    assert ours.calls(now).spent == 1


# --- what a reader makes of a file ---


def test_a_reader_gets_what_was_written(writer: StatusWriter, tracker: ProgressTracker) -> None:
    writer.begin(tracker, {"a": CallPace(), "b": CallPace(limited=False)})
    tracker.take(Pause(Category.NETWORK, 'no "line"\n', 60))
    writer.write()
    found = json.loads(writer.path.read_text())
    assert json.loads(json.dumps(asdict(written(writer)), default=lambda when: when.isoformat())) == found
    found["new"] = found["counts"]["new"] = "a later version's"
    writer.path.write_text(json.dumps(found))
    assert written(writer).pause


DAMAGE: tuple[Any, ...] = (None, True, -1, 1.5, "x", [], {}, [[]], {"a": "b"}, "2026", 1e999, "\ud800")


def test_any_other_file_is_none(writer: StatusWriter, tracker: ProgressTracker) -> None:
    assert read_status(writer.path) is None
    writer.begin(tracker, {"a": CallPace()})
    text = writer.path.read_text()
    sound, rng = json.loads(text), random.Random(0)
    for half in (0, 1, len(text) // 2, len(text) - 3):
        writer.path.write_text(text[:half])
        assert read_status(writer.path) is None
    for content in (b"\xff\xfe", b"[" * 100_000, b"{}", b"null", b"7", b'{"format": 1}', b"\0" * 100):
        writer.path.write_bytes(content)
        assert read_status(writer.path) is None
    writer.path.write_text(json.dumps(sound | {"format": 2}))
    assert read_status(writer.path) is None
    for name in sound:
        writer.path.write_text(json.dumps({key: value for key, value in sound.items() if key != name}))
        assert read_status(writer.path) is None
        for wrong in rng.sample(DAMAGE, 4):
            writer.path.write_text(json.dumps(sound | {name: wrong}))
            read_status(writer.path)  # None or a status, never an error
    writer.path.unlink()
    os.mkfifo(writer.path)
    assert read_status(writer.path) is None, "and nobody waits for it"


def test_a_run_whose_process_is_gone_is_not_at_work(writer: StatusWriter, tracker: ProgressTracker) -> None:
    writer.begin(tracker, {})
    ours, now = written(writer), datetime.now().astimezone()
    assert is_alive(ours, now)
    assert is_alive(ours, now + timedelta(days=1)), "it may have been stopped"
    assert not is_alive(replace(ours, pid=2**22 + 1), now)
    assert not is_alive(replace(ours, state="ended"), now)
    elsewhere = replace(ours, host="elsewhere", pid=2**22 + 1)
    assert is_alive(elsewhere, now + timedelta(seconds=30))
    assert not is_alive(elsewhere, now + timedelta(minutes=10))
    assert is_alive(replace(elsewhere, interval_s=600), now + timedelta(minutes=20)), "it is uploaded that rarely"


def test_the_runs_on_a_subset_are_those_on_it_on_all_and_on_its_shards(
    tmp_path: Path, writer: StatusWriter, tracker: ProgressTracker
) -> None:
    layout = Layout(tmp_path, "700")
    writer.begin(tracker, {})
    text = writer.path.read_text()
    writer.path.unlink()
    names = ("train", "all", "train_shard1of2", "validate")
    for name in names:
        (tmp_path / f"Kinetics700_{name}_status.json").write_text(text.replace("Kinetics700 train", name))
    assert {one.title for one in statuses(layout, ["train"])} == {"train", "all", "train_shard1of2"}
    assert {one.title for one in statuses(replace(layout, shard="1of2"), ["train"])} == {"train_shard1of2"}


# --- the page about it ---


def test_the_page_names_every_field_and_no_other() -> None:
    text = (ROOT / "docs" / "tables.md").read_text()
    part = text.partition("## The status file")[2].partition("\n## ")[0]
    rows = [line for line in part.splitlines() if line.startswith("| `")]
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])}
    assert named == {field.name for field in fields(RunStatus)}
    inner = get_type_hints(RunStatus)
    for name in ("counts", "pause", "calls"):
        (row,) = (row for row in rows if f"`{name}`" in row.split("|")[1])
        kinds = (inner[name], *getattr(inner[name], "__args__", ()))
        (kind,) = (one for one in kinds if isinstance(one, type) and is_dataclass(one))
        assert {field.name for field in fields(kind)} <= {*re.findall(r"`(\w+)`", row)}
