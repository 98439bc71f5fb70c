"""The fenced code blocks of a Markdown page, each with the marker that says how it is tested.

The marker is the text of an HTML comment on the line directly before the fence:

- `runs: fresh`: typed in a new environment by `tests/fresh`; only in README.md
- `runs: sandbox`, or `runs: sandbox, exit 1`: its commands are typed by `tests/fresh/test_documents.py`
- `runs: tests/...::test_name`: that test reads the block and runs it
- `runs: .ci/run`: its commands are those of `.ci/run`
- `needs YouTube`: it cannot be run without the real YouTube
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.support.commands import ROOT

PAGES: Final = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))
"""The pages whose blocks are tested."""
FENCE: Final = re.compile(r"^( *)(`{3,}|~{3,}) *([^\s`]*)[^`]*$")
"""The line that opens a block: its indentation, the fence, and the language, "" where none is named."""
COMMENT: Final = re.compile(r"^ *<!-- *(.*?) *-->$")
HEREDOC: Final = re.compile(r"<<-?\s*['\"]?(\w+)")


@dataclass(frozen=True)
class Block:
    """A fenced block: `line` is that of its opening fence, counted from 1; `text` ends with a newline."""

    path: Path
    line: int
    language: str
    marker: str
    text: str

    def __str__(self) -> str:
        return f"{self.path.relative_to(ROOT)}:{self.line}"

    @property
    def commands(self) -> list[str]:
        """The commands of a shell block: one a line, with the lines that a backslash or a here-document adds.

        Lines that are comments are left out.
        """
        commands, until = list[str](), ""
        for line in self.text.splitlines():
            if commands and (until or commands[-1].endswith("\\")):
                commands[-1] += "\n" + line
                until = "" if line == until else until
            elif line.strip() and not line.startswith("#"):
                commands.append(line)
                found = HEREDOC.search(line)
                until = found[1] if found else ""
        return commands


def marked_blocks(marker: str) -> list[Block]:
    """Return the blocks of all pages with a marker."""
    return [block for page in PAGES for block in fenced_blocks(page) if block.marker == marker]


def fenced_blocks(path: Path) -> list[Block]:
    """Return the fenced blocks of a page, in its order, without the indentation of their fences.

    Raises `ValueError` for a fence that is never closed.
    """
    lines = path.read_text("utf-8").split("\n")
    blocks = []
    at = 0
    while at < len(lines):
        opening = FENCE.match(lines[at])
        if opening:
            indent, fence, language = opening.groups()
            end = next((n for n in range(at + 1, len(lines)) if _closes(lines[n], fence)), None)
            if end is None:
                raise ValueError(f"{path.name}: the fence of line {at + 1} is never closed")
            comment = COMMENT.match(lines[at - 1]) if at else None
            text = "".join(line.removeprefix(indent) + "\n" for line in lines[at + 1 : end])
            blocks.append(Block(path, at + 1, language, comment[1] if comment else "", text))
            at = end
        at += 1
    return blocks


def _closes(line: str, fence: str) -> bool:
    bare = line.strip()
    return len(bare) >= len(fence) and set(bare) == {fence[0]}
