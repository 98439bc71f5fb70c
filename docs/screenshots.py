"""The two pictures in the README, from a run against the loopback YouTube: `python -m docs.screenshots`.

It takes some minutes, and needs what tests/requirements-browser.txt says. The terminal's picture is what the
program wrote to a terminal, as an emulator shows it.
"""

from __future__ import annotations

import os
import pty
import random
import subprocess
import sys
import tempfile
import termios
from collections.abc import Iterator
from html import escape
from pathlib import Path

import pyte

from kinetics.annotations.load import load
from kinetics.report import page
from kinetics.report.collect import collect
from kinetics.storage.layout import Layout
from tests.support.browser import chromium
from tests.support.commands import ROOT
from tests.support.sandbox import Sandbox
from tests.youtube.samples import scenarios_of
from tests.youtube.server import LoopbackYouTube
from tests.youtube.world import FakeThrottle, Row

HERE = Path(__file__).parent
COLUMNS, LINES = 118, 14
CLIPS, GONE_SHARE, SHOWN_AT = 420, 0.12, 0.72
WINDOW = (1180, 1330)
"""As much of the report as the README shows."""
LABELS = (
    *("abseiling", "baking cookies", "bouncing ball (not juggling)", "dancing macarena", "flipping pancake"),
    *("juggling balls", "massaging person's head", "playing harmonica", "surfing water", "tai chi", "yoga", "zumba"),
)
TERMINAL = """<!doctype html><meta charset="utf-8"><style>
body { margin: 0; } pre { display: inline-block; margin: 0; padding: 18px 22px; border-radius: 10px; color: #d7dde6;
background: #12161c; font: 14px/1.45 "DejaVu Sans Mono", monospace; }
</style><pre>"""


def main() -> None:
    """Make both pictures anew."""
    with tempfile.TemporaryDirectory() as folder:
        chance = random.Random(5)
        rows = [_row(chance, number) for number in range(CLIPS)]
        sandbox = Sandbox(Path(folder), rows, scenarios_of(rows, gone_share=GONE_SHARE), official=True)
        sandbox.world.latency_s, sandbox.world.bandwidth_bit_s = 0.05, 4e6
        sandbox.world.throttle = FakeThrottle(after=150, for_s=40, kind="bot")
        sandbox.world.prepare()
        with LoopbackYouTube(sandbox.world) as youtube:
            screen = _run(Path(folder), youtube.env)
        sandbox.write_csv(rows)
        layout = Layout(Path(folder), "700")
        report = collect(layout, "validate", load("700", "validate", sandbox.csv).frame)
        written = page.write(report, layout, "validate")[0]
        terminal = Path(folder, "terminal.html")
        terminal.write_text(TERMINAL + escape("\n".join(screen)), "utf-8")
        with chromium() as browser:
            window = browser.new_page(viewport={"width": WINDOW[0], "height": WINDOW[1]})
            window.goto(terminal.as_uri())
            window.locator("pre").screenshot(path=HERE / "progress.png", omit_background=True)
            window.goto(written.as_uri())
            window.screenshot(path=HERE / "report.png")


def _row(chance: random.Random, number: int) -> Row:
    start = chance.randrange(40)
    return Row(chance.choice(LABELS), f"shown-{number:05}", start, start + 10)


def _run(folder: Path, env: dict[str, str]) -> list[str]:
    """Run the program in a terminal until it ends; what the screen showed when most of the clips were there."""
    command = ["python", "download.py", "-v", "700", "-s", "validate", "-w", "8"]
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (LINES, COLUMNS))
    screen = pyte.Screen(COLUMNS, LINES)
    stream = pyte.ByteStream(screen)
    stream.feed(f"$ {' '.join(command)}\r\n".encode())
    shown: list[str] = []
    program = [sys.executable, str(ROOT / command[1]), *command[2:]]
    with subprocess.Popen(program, cwd=folder, env=env, stdin=theirs, stdout=theirs, stderr=theirs):
        os.close(theirs)
        for output in _output(ours):
            stream.feed(output)
            there = sum(1 for _ in folder.rglob("*.mp4"))
            if there >= SHOWN_AT * (1 - GONE_SHARE) * CLIPS and not shown:
                shown = [line.rstrip().replace(str(folder), "/data") for line in screen.display]
    os.close(ours)
    while shown and not shown[-1]:
        shown.pop()
    return shown


def _output(terminal: int) -> Iterator[bytes]:
    """What comes out of a terminal until nobody writes to it any more."""
    while True:
        try:
            yield os.read(terminal, 1 << 16)
        except OSError:
            return


if __name__ == "__main__":
    main()
