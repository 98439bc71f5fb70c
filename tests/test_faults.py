"""Whatever goes wrong with one clip costs that clip only, is written down as what it is, and ends.

One run meets all the faults side by side, each on a video of its own, between healthy ones.
"""

from __future__ import annotations

import csv
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import pytest

from kinetics.records import Category
from tests.youtube.samples import template
from tests.youtube.server import LoopbackYouTube
from tests.youtube.world import PLAYER_FAULTS, MediaFault, Scenario, Shape, World

pytestmark = pytest.mark.xdist_group("faults")  # they share one run
ROOT = Path(__file__).parent.parent
TIMEOUT_S = 30
VIDEO = template(20)
HEALTHY = 12
GOT = None
"""In place of a category: the clip is there in the end."""


@dataclass(frozen=True)
class Fault:
    """What is wrong with a video, and how its clip ends."""

    name: str
    scenario: Scenario
    category: Category | None


def player(name: str, category: Category | None, times: Literal["once", "always"]) -> Fault:
    fault = replace(PLAYER_FAULTS[name], times=1 if times == "once" else None)
    return Fault(f"player {name} {times}", Scenario(VIDEO, player_faults=(fault,)), category)


def media(
    kind: Any, category: Category | None, times: Literal["once", "always"], shape: Shape = "dash", **more: Any
) -> Fault:
    fault = MediaFault(kind, times=1 if times == "once" else None, **more)
    detail = " ".join(str(value) for value in more.values())
    return Fault(f"{shape} {kind} {detail} {times}", Scenario(VIDEO, (shape,), media_faults=(fault,)), category)


NOT_UNDERSTOOD = ("403", "404", "html", "cut JSON", "empty reply", "no streams", "SABR only")
SHAPES: tuple[Shape, ...] = ("dash", "progressive")
FAULTS = [
    *(player(name, Category.ENGINE_ERROR, "always") for name in NOT_UNDERSTOOD),
    *(player(name, GOT, "once") for name in NOT_UNDERSTOOD),
    *(player(name, Category.SERVER_ERROR, "always") for name in ("500", "503", "cut body")),
    player("stalled", Category.TIMEOUT, "always"),
    *(
        media("status", Category.MEDIA_ERROR, "always", shape, status=s)
        for s in (403, 404, 410, 416)
        for shape in SHAPES
    ),
    *(media("status", GOT, "once", shape, status=status) for status in (403, 404, 410, 503) for shape in SHAPES),
    *(media("status", Category.SERVER_ERROR, "always", shape, status=503) for shape in SHAPES),
    *(
        media(kind, Category.MEDIA_ERROR, "always", shape)
        for kind in ("html", "empty", "whole_file", "wrong_range")
        for shape in SHAPES
    ),
    *(media(kind, GOT, "once", shape, after=20_000) for kind in ("cut", "reset") for shape in SHAPES),
    *(media("cut", Category.MEDIA_ERROR, "always", shape, at=30_000) for shape in SHAPES),
    *(media("drip", Category.TIMEOUT, "always", shape, after=20_000) for shape in SHAPES),
]


@dataclass(frozen=True)
class Ended:
    """What a run left behind."""

    code: int
    errors: dict[str, str]
    attempts: Counter[str]
    clips: set[str]
    others: list[Path]
    asked_elsewhere: int


def video_id(number: int) -> str:
    return f"fault-{number:05d}"


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    folder = tmp_path_factory.mktemp("faults")
    healthy = {f"healthy-{number:03d}": Scenario(VIDEO) for number in range(HEALTHY)}
    faulty = {video_id(number): fault.scenario for number, fault in enumerate(FAULTS)}
    ids = [*faulty]
    for place, one in enumerate(healthy):  # between the others: many failures in a row would mean something else
        ids.insert(place * len(FAULTS) // HEALTHY + place, one)
    with open(folder / "rows.csv", "w", newline="") as file:
        rows = [("tai chi", one, 5, 7) for one in ids]
        csv.writer(file).writerows([("label", "youtube_id", "time_start", "time_end"), *rows])
    command = [
        *(sys.executable, str(ROOT / "download.py"), "-s", "test", "-o", str(folder), "-w", "16"),
        *("--annotations", str(folder / "rows.csv"), "--timeout", str(TIMEOUT_S), "--cut", "keyframe"),
    ]
    with LoopbackYouTube(World(healthy | faulty)) as youtube:
        code = subprocess.run(command, env=youtube.env, check=False, timeout=250).returncode
        asked_elsewhere = sum(request.kind == "refused" for request in youtube.requests)
    errors = [line.split("\t") for line in (folder / "Kinetics700_test_errors.log").read_text().splitlines()]
    with open(folder / "Kinetics700_test_stats.csv", newline="") as file:
        attempts = Counter(row["youtube_id"] for row in csv.DictReader(file) if row["status"] != "postponed")
    files = [path for path in (folder / "Kinetics700").rglob("*") if path.is_file() and path.suffix != ".lock"]
    return Ended(
        code,
        {line[0]: line[3] for line in errors},
        attempts,
        {path.name[:11] for path in files if path.suffix == ".mp4"},
        [path for path in files if path.suffix != ".mp4"],
        asked_elsewhere,
    )


@pytest.mark.parametrize(("number", "fault"), [*enumerate(FAULTS)], ids=[fault.name for fault in FAULTS])
def test_a_fault_costs_its_clip_one_try_and_is_called_what_it_is(ended: Ended, number: int, fault: Fault) -> None:
    one = video_id(number)
    assert ended.errors.get(one) == fault.category
    assert (one in ended.clips) is (fault.category is GOT)
    assert ended.attempts[one] == 1


def test_the_healthy_ones_between_them_all_arrive(ended: Ended) -> None:
    assert sum(one.startswith("healthy") for one in ended.clips) == HEALTHY


def test_faults_leave_nothing_half_done_and_the_run_says_that_a_re_run_may_help(ended: Ended) -> None:
    assert (ended.code, ended.others) == (1, [])


def test_no_fault_makes_the_program_ask_anyone_but_youtube(ended: Ended) -> None:
    assert ended.asked_elsewhere == 0
