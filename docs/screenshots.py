"""The two pictures in the README, from a recorded session of the demo: `python -m docs.screenshots`.

It takes a minute, and needs what tests/requirements-browser.txt says. The terminal's picture is what the demo wrote to
a terminal, as an emulator shows it.
"""

from __future__ import annotations

import tempfile
from html import escape
from pathlib import Path

import pyte

from tests.support.browser import chromium
from tests.support.demo_session import checkout_in, record

HERE = Path(__file__).parent
COLUMNS, LINES = 100, 24
SHOWN_AT = "0:04 paused by YouTube"
"""The picture is taken when the terminal shows this."""
SHOWN_AS = "/home/you/kinetics-downloader"
"""Stands in the picture for the folder of the session."""
WINDOW = (1180, 1330)
"""As much of the report as the README shows."""
TERMINAL = """<!doctype html><meta charset="utf-8"><style>
body { margin: 0; } pre { display: inline-block; margin: 0; padding: 18px 22px; border-radius: 10px; color: #d7dde6;
background: #12161c; font: 14px/1.45 "DejaVu Sans Mono", monospace; }
</style><pre>"""


def main() -> None:
    """Make both pictures anew."""
    with tempfile.TemporaryDirectory() as folder:
        checkout = checkout_in(Path(folder))
        terminal = checkout / "terminal.html"
        terminal.write_text(TERMINAL + escape("\n".join(_screen(checkout))), "utf-8")
        with chromium() as browser:
            window = browser.new_page(viewport={"width": WINDOW[0], "height": WINDOW[1]})
            window.goto(terminal.as_uri())
            window.locator("pre").screenshot(path=HERE / "progress.png", omit_background=True)
            window.goto((checkout / "demo" / "Kinetics400_validate_report.html").as_uri())
            window.screenshot(path=HERE / "report.png")


def _screen(checkout: Path) -> list[str]:
    """Return what the terminal showed in the demo's pause."""
    screen = pyte.Screen(COLUMNS, LINES)
    stream = pyte.ByteStream(screen)
    shown: list[str] = []
    for output in record(checkout, COLUMNS, LINES):
        stream.feed(output)
        if not shown and any(SHOWN_AT in line for line in screen.display):
            shown = [line.rstrip().replace(str(checkout), SHOWN_AS) for line in screen.display]
    while shown and not shown[-1]:
        shown.pop()
    return shown


if __name__ == "__main__":
    main()
