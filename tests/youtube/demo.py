"""The demo: a download with a pause, the same command again, and the report, all against the loopback YouTube."""

from __future__ import annotations

import csv
import os
import shutil
import sys
import webbrowser
from dataclasses import dataclass
from pathlib import Path

from tests.youtube.child import run_child
from tests.youtube.samples import SAMPLE, sample_world
from tests.youtube.server import LoopbackYouTube
from tests.youtube.world import FakeThrottle, World

ROOT = Path(__file__).parents[2]
FOLDER = Path("demo")
"""Where everything is written, in the current directory."""
NOTE = FOLDER / "MADE-UP.txt"
NOTE_TEXT = "The demo made this folder, and its clips are made up. You can delete all of it.\n"
OPTIONS = ("-v", "400", "-s", "validate", "-o", str(FOLDER))
STATS = FOLDER / "Kinetics400_validate_stats.csv"
CLIPS = {f"{row.youtube_id}_{row.time_start:06}_{row.time_end:06}.mp4" for row in SAMPLE["validate"]}
IDS = {row.youtube_id for row in SAMPLE["validate"]}
THROTTLE = FakeThrottle(after=15, for_s=10)
"""Refuses in the middle of the first run, and no longer than the program's first pause lasts, so that there is one."""
LATENCY_S = 0.2
BANDWIDTH_BIT_S = 8e6
"""Of each connection. With a faster one the progress bar would be over before it is seen."""

INTRODUCTION = """\
This demo downloads made-up clips from a small YouTube on this machine. It takes
about a minute, nothing leaves this machine, and all clips go to demo/.
Making the sample videos ..."""
CONCLUSION = """
That was the demo; you can delete demo/. The commands above work in the demo
alone. For real clips, from the real YouTube, type this, with another folder:

$ python download.py -v 400 -s validate -o ~/kinetics"""
STOPPED = """
The demo was stopped. To start it again: python -m tests.youtube
The commands above would ask the real YouTube now."""


@dataclass(frozen=True)
class Step:
    """A command that the demo runs: what is said before and after it, and the exit code that it should have."""

    before: str
    options: tuple[str, ...]
    code: int
    after: str


STEPS = (
    Step(
        "1. The first run: some videos are gone, some downloads fail, and YouTube asks\n   for a pause.",
        (),
        1,
        "Exit code 1: a few clips are missing that another run may get.",
    ),
    Step(
        "2. The same command again: it tries only what is missing.",
        (),
        0,
        "Exit code 0: all clips are here that YouTube still has.",
    ),
    Step(
        "3. The report: what is here, what is missing, and why.",
        ("--report",),
        0,
        "The report has a page with plots, too:",
    ),
)


def show_demo() -> int:
    """Run the steps, and return 0 if all went as it should, 130 after Ctrl-C, 2 if demo/ cannot be used, else 1."""
    try:
        make_folder()
    except OSError as error:
        print(f"error: cannot use the folder demo: {error.strerror or error}", file=sys.stderr)
        return 2
    print(INTRODUCTION, flush=True)
    with LoopbackYouTube(demo_world()) as youtube:
        for step in STEPS:
            print(f"\n{step.before}\n\n$ {' '.join(('python', *_command(step)))}", flush=True)
            code = run_child([sys.executable, *_command(step)], youtube.env)
            if code == 130:
                print(STOPPED)
                return 130
            if code != step.code:
                print(f"\nThe demo stops here: exit code {code} came where {step.code} should have.", file=sys.stderr)
                return 1
            print(f"\n{step.after}")
    show_page(next(FOLDER.rglob("*.html")))
    print(CONCLUSION)
    return 0


def make_folder() -> None:
    """Make demo/ anew. Raises OSError if it cannot be made, or has a file in it that no demo made."""
    if FOLDER.exists() and any(FOLDER.iterdir()):
        if (foreign := foreign_file()) is not None:
            raise FileExistsError(f"the demo did not make {foreign}. Move it away")
        shutil.rmtree(FOLDER)
    FOLDER.mkdir(exist_ok=True)
    NOTE.write_text(NOTE_TEXT)


def foreign_file() -> Path | None:
    """Return a file in demo/ that no demo made, the folder itself if it lacks the note; None if there is none."""
    if not NOTE.exists():
        return FOLDER
    if STATS.exists():
        with open(STATS, newline="") as file:
            if any(row["youtube_id"] not in IDS for row in csv.DictReader(file)):
                return STATS
    files = (path for path in FOLDER.rglob("*") if path.is_symlink() or not path.is_dir())
    return next((path for path in files if not _is_own(path)), None)


def _is_own(path: Path) -> bool:
    folder, *inner = path.relative_to(FOLDER).parts
    if folder != "Kinetics400":
        return not inner and (path == NOTE or folder.startswith("Kinetics400_validate_"))
    return inner[0].startswith(".") or path.name in CLIPS


def demo_world() -> World:
    """The sample world behind a connection that is slow enough to watch, with one pause."""
    world = sample_world()
    world.throttle, world.latency_s, world.bandwidth_bit_s = THROTTLE, LATENCY_S, BANDWIDTH_BIT_S
    return world


def _command(step: Step) -> tuple[str, ...]:
    return (os.path.relpath(ROOT / "download.py"), *OPTIONS, *step.options)


def show_page(page: Path) -> None:
    """Print the page's path, and open it in the browser if somebody sits at this machine."""
    print(page, flush=True)
    display = sys.platform == "darwin" or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if display and sys.stdout.isatty():
        webbrowser.open(page.resolve().as_uri())
