"""The README's table of options is the parser's.

`python -m tests.unit.test_readme` writes the table of options anew.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from kinetics.cli.parser import make_parser
from tests.support.commands import ROOT

README = ROOT / "README.md"


def options_table() -> str:
    """The options as a Markdown table, in the order and the words of `--help`."""
    return "| option | meaning |\n|---|---|\n" + "".join(_rows(make_parser()))


def _rows(parser: argparse.ArgumentParser) -> Iterator[str]:
    for group in parser._action_groups:
        for action in group._group_actions:
            if action.dest == "help":
                continue
            named = " ".join(action.metavar) if isinstance(action.metavar, tuple) else action.metavar
            choices = "{" + ",".join(action.choices) + "}" if action.choices else named
            value = "" if action.nargs == 0 else f" [{choices}]" if action.nargs == "?" else f" {choices}"
            yield f"| `{', '.join(action.option_strings)}{value}` | {action.help} |\n"


def written_table(readme: str) -> str:
    start = readme.index("<!-- options:")
    return readme[readme.index("\n", start) + 1 : readme.index("<!-- end of options -->")]


def test_the_options_in_the_readme_are_the_parsers() -> None:
    assert written_table(README.read_text()) == options_table()


if __name__ == "__main__":
    text = README.read_text()
    before, after = text.split("<!-- end of options -->")
    README.write_text(
        before[: len(before) - len(written_table(text))] + options_table() + "<!-- end of options -->" + after
    )
