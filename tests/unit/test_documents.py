"""The pages keep their word: every block is tested, every link leads somewhere, every promise names its tests."""

from __future__ import annotations

import ast
import errno
import os
import re
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from kinetics.records import Category
from kinetics.storage.ledger import STATS_FIELDS
from tests.support.commands import ROOT
from tests.support.documents import PAGES, Block, fenced_blocks, marked_blocks

README = ROOT / "README.md"
DOCS = ROOT / "docs"
LINKED_PAGES = (*PAGES, ROOT / "CHANGELOG.md")
SAMPLES = {"text", "mermaid", "json", "csv", "bibtex"}
"""The languages of blocks that nobody runs."""
KNOWN_MARKERS = re.compile(r"runs: (?:fresh|sandbox(?:, exit 1)?|\.ci/run|tests/\S+::\w+)|needs YouTube")
VARIES = re.compile(
    r"\.\.\.|\d[\d,.:]*|python download\.py|\bKinetics|--max-height|\b(?:YouTube(?:'s)?|CVDF's list|clips?|results|now"
    r"|all workers|worker processes|a file|a folder|does not answer|is|are|was|were|cut|made|smart|keyframe|it|them)\b"
)
"""What the program puts into its messages, so that the words around it are fixed."""
MOST_LINES = 180
"""Of README.md: what is longer belongs into a page of docs/."""


def all_blocks() -> list[Block]:
    return [block for page in PAGES for block in fenced_blocks(page)]


@cache
def names_of_tests() -> tuple[str, ...]:
    """Every test's name as pytest writes it, but for its parameters."""
    return tuple(_names_of_tests())


def _names_of_tests() -> Iterator[str]:
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        place = path.relative_to(ROOT).as_posix()
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.ClassDef):
                inner = (one.name for one in node.body if isinstance(one, ast.FunctionDef))
                yield from (f"{place}::{node.name}::{name}" for name in inner if name.startswith("test_"))
            elif isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                yield f"{place}::{node.name}"


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as a code host makes them."""
    text = page.read_text("utf-8")
    for block in fenced_blocks(page):
        text = text.replace(block.text, "")
    found = set[str]()
    for heading in re.findall(r"^#+ +(.+?) *$", text, re.MULTILINE):
        plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower()
        slug = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        found.add(slug if slug not in found else f"{slug}-1")
    return found


def local_links(page: Path) -> list[str]:
    """What a page links to in this checkout: files, and places in them."""
    links = re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8"))
    return [link for link in links if not re.match(r"[a-z]+:", link)]


class TestBlocks:
    def test_every_block_says_how_it_is_tested(self) -> None:
        unmarked = [
            f"{block}: {block.marker!r}"
            for block in all_blocks()
            if block.language not in SAMPLES and not KNOWN_MARKERS.fullmatch(block.marker)
        ]
        assert unmarked == []

    def test_a_new_environment_is_made_for_the_readme_alone(self) -> None:
        assert {block.path for block in marked_blocks("runs: fresh")} <= {README}

    def test_what_the_sandbox_types_is_for_a_shell(self) -> None:
        typed = [block for block in all_blocks() if block.marker.startswith("runs: sandbox")]
        assert typed
        assert {block.language for block in typed} <= {"sh", "bash"}

    def test_a_block_names_a_test_that_is_there_and_reads_it(self) -> None:
        named = {block.marker.removeprefix("runs: ") for block in all_blocks() if "::" in block.marker}
        assert named
        assert named - {*names_of_tests()} == set()
        for test in named:
            file, _, name = test.partition("::")
            text = (ROOT / file).read_text()
            assert text.count(name) > 1 or test in text, f"{test} does not ask for its blocks"

    def test_what_ci_runs_is_in_its_script(self) -> None:
        """The test command is read from the page by the script itself."""
        script = (ROOT / ".ci" / "run").read_text().replace('"', "").replace("$environment", ".venv")
        for block in marked_blocks("runs: .ci/run"):
            for command in re.split(r" && |\n", block.text.strip()):
                by_the_script = command.startswith(("pip install -r tests/requirements.txt", "python -m pytest"))
                assert by_the_script or command in script.splitlines(), command


class TestFencedBlocks:
    """The reader of blocks."""

    def blocks(self, text: str, folder: Path) -> list[Block]:
        page = folder / "page.md"
        page.write_text(text)
        return fenced_blocks(page)

    def test_a_marker_stands_directly_before_the_fence(self, tmp_path: Path) -> None:
        text = "<!-- first -->\n<!-- runs: sandbox -->\n```sh\none\n```\n<!-- far -->\n\n~~~\ntwo\n~~~\n"
        blocks = [(block.line, block.language, block.marker, block.text) for block in self.blocks(text, tmp_path)]
        assert blocks == [(3, "sh", "runs: sandbox", "one\n"), (8, "", "", "two\n")]

    def test_a_block_in_a_list_loses_its_indentation(self, tmp_path: Path) -> None:
        (block,) = self.blocks("1. so:\n\n   <!-- m -->\n   ```python\n   if x:\n       y\n   ```\n", tmp_path)
        assert (block.marker, block.text) == ("m", "if x:\n    y\n")

    def test_a_longer_fence_holds_a_shorter_one(self, tmp_path: Path) -> None:
        assert [block.text for block in self.blocks("````md\n```sh\n```\n````\n", tmp_path)] == ["```sh\n```\n"]

    def test_a_fence_that_is_never_closed_is_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="line 2 is never closed"):
            self.blocks("\n```sh\none\n", tmp_path)

    def test_a_command_has_the_lines_that_belong_to_it(self, tmp_path: Path) -> None:
        (block,) = self.blocks("```sh\n# first\none \\\n  more\n\npython - <<'END'\nx\n\nEND\nlast\n```\n", tmp_path)
        assert block.commands == ["one \\\n  more", "python - <<'END'\nx\n\nEND", "last"]


@pytest.mark.parametrize("page", LINKED_PAGES, ids=lambda page: page.name)
class TestLinks:
    def test_every_link_leads_to_a_file_or_a_heading(self, page: Path) -> None:
        for link in local_links(page):
            name, _, anchor = link.partition("#")
            target = (page.parent / name).resolve() if name else page
            assert target.exists(), link
            assert not anchor or anchor in anchors(target), link

    def test_every_file_that_is_named_is_there(self, page: Path) -> None:
        named = re.findall(r"`((?:kinetics|tests|docs|benchmarks)/[\w./-]+)(?:::\w+)*`", page.read_text())
        assert [name for name in named if not (ROOT / name).exists()] == []


def test_every_page_is_reached_from_the_readme() -> None:
    reached, fresh = {README}, {README}
    while fresh:
        links = {(page.parent / link.partition("#")[0]).resolve() for page in fresh for link in local_links(page)}
        fresh = {page for page in links if page.suffix == ".md"} - reached
        reached |= fresh
    assert {*DOCS.glob("*.md")} - reached == set()


@pytest.mark.parametrize("page", [page for page in PAGES if page != README], ids=lambda page: page.name)
def test_every_page_says_first_what_it_is_for(page: Path) -> None:
    title, first, *_ = page.read_text().split("\n\n")
    assert title.startswith("# ")
    assert first.startswith("This page ")


def test_every_option_is_explained_on_a_page() -> None:
    """The README's table names them all; that alone tells nobody when to use one."""
    before, table, after = re.split("<!-- options:|<!-- end of options -->", README.read_text())
    pages = "\n".join([before, after, *(page.read_text() for page in PAGES if page != README)])
    options = re.findall(r"^[|] `((?:-\w, )?--[\w-]+)", table, re.MULTILINE)
    assert len(options) > 40
    named = {
        option: [re.search(rf"(?<![\w-]){one}(?![\w-])", pages) for one in option.split(", ")] for option in options
    }
    assert [option for option, found in named.items() if not any(found)] == []


def test_constants_have_the_values_that_the_pages_give() -> None:
    known = dict(constants_of_the_program())
    named = [pair for page in PAGES for pair in re.findall(r"`([A-Z][A-Z_]{3,})` \((\d[\d.,]*)\)", page.read_text())]
    assert len(named) > 15
    assert [pair for pair in named if float(pair[1].replace(",", "")) not in known.get(pair[0], [])] == []


def constants_of_the_program() -> Iterator[tuple[str, list[float]]]:
    """The numbers that each name of a constant stands for in some module."""
    found = defaultdict[str, list[float]](list)
    for path in (ROOT / "kinetics").rglob("*.py"):
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.Assign):
                for name, value in assigned(node):
                    found[name].append(value)
    yield from found.items()


def assigned(node: ast.Assign) -> Iterator[tuple[str, float]]:
    """The names and numbers of an assignment, also of several at once."""
    for target in node.targets:
        pairs = [(target, node.value)]
        if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
            pairs = [*zip(target.elts, node.value.elts, strict=True)]
        for name, value in pairs:
            if isinstance(name, ast.Name) and isinstance(value, ast.Constant) and isinstance(value.value, int | float):
                yield name.id, float(value.value)


def test_what_is_to_be_changed_is_in_the_file_that_the_page_names() -> None:
    page = (DOCS / "architecture.md").read_text()
    rows = page.partition("## Where to change what")[2].partition("\n## ")[0].strip().split("\n\n")[0].splitlines()[2:]
    assert len(rows) > 50
    elsewhere = []
    for row in rows:
        question, names, files = row.strip("| ").split(" | ")
        text = "\n".join((ROOT / file).read_text() for file in re.findall("`([^`]+)`", files))
        for name in re.findall(r"`(?:\w+\.)*(\w+)`", names):
            defined = rf"^ *(?:(?:async )?def |class |(?:\w+, )*){name}\b(?:[(\[:]|(?:, \w+)* =)"
            elsewhere += [] if re.search(defined, text, re.MULTILINE) else [(question, name)]
    assert elsewhere == []


def test_the_readme_is_short() -> None:
    assert len(README.read_text().splitlines()) <= MOST_LINES


def test_every_category_is_in_the_tables_and_is_explained() -> None:
    for page in ("tables.md", "troubleshooting.md"):
        text = (DOCS / page).read_text()
        assert [category for category in Category if f"`{category}`" not in text] == [], page


def test_the_page_of_messages_quotes_what_the_program_says() -> None:
    page = (DOCS / "troubleshooting.md").read_text()
    lines = [
        row.split(" | ")[0]
        for table in page.split("| line |")[1:]
        for row in re.findall("^[|] `.*", table.split("\n\n")[0], re.M)
    ]
    quotes = [quote for line in lines for quote in re.findall("`([^`]+)`", line)]
    assert len(quotes) > 50
    said = words_of_the_program()
    fixed = [(quote, part.strip(" .,:;()'-")) for quote in quotes for part in VARIES.split(quote)]
    assert [(quote, part) for quote, part in fixed if part not in said] == []


def words_of_the_program() -> str:
    """Every text in the program, each on a line of its own, and those of the system about its errors."""
    texts = [os.strerror(number) for number in errno.errorcode]
    for path in (ROOT / "download.py", *(ROOT / "kinetics").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            parts = node.values if isinstance(node, ast.JoinedStr) else [node]
            pieces = [part.value if isinstance(part, ast.Constant) else "\0" for part in parts]
            texts.append("".join(piece for piece in pieces if isinstance(piece, str)))
    return "\n".join(texts)


def test_every_column_of_the_attempts_table_is_explained() -> None:
    text = (DOCS / "tables.md").read_text()
    assert [column for column in STATS_FIELDS if f"`{column}`" not in text] == []


def test_every_promise_names_tests_that_are_there() -> None:
    text = (DOCS / "promises.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("| **")]
    shown_by = [re.fullmatch(r"\| \*\*.*\| `(?:-m soak )?(.*)` \|", row) for row in rows]
    assert len(rows) >= 20
    tests = names_of_tests()
    for row, found in zip(rows, shown_by, strict=True):
        assert found, f"no test: {row}"
        places, _, name = found[1].partition(" -k ")
        for place in places.split():
            assert any(test.startswith(place) and name in test for test in tests), row


def test_every_test_command_of_the_pages_finds_tests() -> None:
    tests = names_of_tests()
    for page in PAGES:
        for arguments in re.findall(r"`python -m pytest (tests/[^`]*)`", page.read_text()):
            place, _, name = re.sub(" -n 0$", "", arguments).partition(" -k ")
            assert any(test.startswith(place) and (name in test or name == "NAME") for test in tests), arguments


def test_every_extra_that_a_page_names_can_be_installed() -> None:
    named = {name for page in PAGES for name in re.findall(r'pip install "?\.\[(\w+)\]', page.read_text())}
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"].get("optional-dependencies", {})
    assert named - extras.keys() == set()
