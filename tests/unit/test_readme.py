"""The README says what the program does: its options come from the parser, its promises name tests.

`python -m tests.unit.test_readme` writes the table of options anew.
"""

from __future__ import annotations

import argparse
import ast
import re
from collections.abc import Iterator

from kinetics.cli.options import make_parser
from kinetics.records import Category
from tests.support.commands import ROOT

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


def names_of_tests() -> Iterator[str]:
    """Every test's name as pytest writes it, but for its parameters."""
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        place = path.relative_to(ROOT).as_posix()
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.ClassDef):
                inner = (one.name for one in node.body if isinstance(one, ast.FunctionDef))
                yield from (f"{place}::{node.name}::{name}" for name in inner if name.startswith("test_"))
            elif isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                yield f"{place}::{node.name}"


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
    tests = [*names_of_tests()]
    for arguments in (*shown_by, *re.findall(r"`python -m pytest (tests/[^`]*)`", text)):
        places, _, name = arguments.partition(" -k ")
        for place in places.split():
            assert any(test.startswith(place) and name in test for test in tests), arguments


if __name__ == "__main__":
    text = README.read_text()
    before, after = text.split("<!-- end of options -->")
    README.write_text(
        before[: len(before) - len(written_table(text))] + options_table() + "<!-- end of options -->" + after
    )
