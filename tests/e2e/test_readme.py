"""The README says what the program does: its options come from the parser, its commands run.

`python -m tests.e2e.test_readme` writes the table of options anew.
"""

from __future__ import annotations

import argparse
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from kinetics.cli.options import make_parser
from kinetics.records import Category

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"


def options_table() -> str:
    """The options as a Markdown table, in the groups and words of `--help`."""
    return "| option | meaning |\n|---|---|\n" + "".join(_rows(make_parser()))


def _rows(parser: argparse.ArgumentParser) -> Iterator[str]:
    for group in parser._action_groups:
        actions = [action for action in group._group_actions if action.option_strings and action.dest != "help"]
        if actions:
            yield f"| **{group.title}** | |\n"
        for action in actions:
            named = " ".join(action.metavar) if isinstance(action.metavar, tuple) else action.metavar
            choices = "{" + ",".join(action.choices) + "}" if action.choices else named
            value = f" {choices}" if action.nargs != 0 else ""
            yield f"| `{', '.join(action.option_strings)}{value}` | {action.help} |\n"


def written_table(readme: str) -> str:
    start = readme.index("<!-- options:")
    return readme[readme.index("\n", start) + 1 : readme.index("<!-- end of options -->")]


def command_after(marker: str) -> list[str]:
    found = re.search(rf"<!-- {marker} -->\n```sh\n(.*)\n```", README.read_text())
    assert found
    return shlex.split(found[1])


def test_the_options_in_the_readme_are_the_parsers() -> None:
    assert written_table(README.read_text()) == options_table()


def test_every_category_is_in_the_readme() -> None:
    assert all(f"`{category}`" in README.read_text() for category in Category)


def test_every_file_the_readme_names_is_there() -> None:
    named = re.findall(r"`((?:kinetics|tests)/[\w./]+)`", README.read_text())
    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_every_promise_names_tests_that_are_there() -> None:
    text = README.read_text()
    promises = text[text.index("## What it promises") : text.index("## Options")]
    shown_by = re.findall(r"^\| \*\*.*\| `(?:-m soak )?(.*)` \|$", promises, re.MULTILINE)
    assert len(shown_by) >= 10
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-n", "0", "-m", "soak or not soak"]
    tests = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    for arguments in (*shown_by, *re.findall(r"`python -m pytest (tests/[^`]*)`", text)):
        places, _, name = arguments.partition(" -k ")
        for place in places.split():
            assert any(test.startswith(place) and name in test for test in tests), arguments


def test_the_command_without_a_network_runs_as_it_stands(tmp_path: Path) -> None:
    python, *rest = command_after("without a network")
    assert python == "python"
    rest = [sys.executable if word == "python" else word for word in rest]
    ended = subprocess.run(
        [sys.executable, *rest, "-o", str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 1, "one of its videos fails once"
    assert "10 of 16 on disk" in ended.stdout
    assert len(list(tmp_path.rglob("*.mp4"))) == 10


if __name__ == "__main__":
    text = README.read_text()
    before, after = text.split("<!-- end of options -->")
    README.write_text(
        before[: len(before) - len(written_table(text))] + options_table() + "<!-- end of options -->" + after
    )
