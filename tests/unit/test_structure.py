"""The packages: which may import which, who prints, and what a worker imports."""

from __future__ import annotations

import ast
import multiprocessing
import os
import re
import subprocess
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests.support.commands import ROOT

PACKAGES = {
    "records": "",
    "errors": "records",
    "humanize": "",
    "os_errors": "",
    "net": "records errors humanize os_errors",
    "storage": "records errors humanize os_errors",
    "media": "records errors os_errors net",
    "annotations": "records errors humanize net storage",
    "scheduling": "records errors humanize storage",
    "youtube": "records errors net storage media scheduling",
    "mirror": "records errors humanize net storage media scheduling",
    "planning": "records errors humanize os_errors net storage media annotations scheduling mirror",
    "dataset": "records errors humanize os_errors storage media annotations scheduling",
    "report": "records errors humanize storage media annotations planning",
    "run": "records errors humanize net storage annotations scheduling youtube mirror planning",
    "api": "records errors net storage annotations planning run",
    "cli": "records errors humanize net storage annotations scheduling youtube mirror planning dataset report run",
}
"""What each package may import, all of it above its own line: so imports run one way, and there is no cycle."""
MODULES = {
    ".".join(path.relative_to(ROOT / "kinetics").with_suffix("").parts): path
    for path in sorted((ROOT / "kinetics").rglob("*.py"))
}
BROAD = {
    "youtube.engine_errors.translated_errors": "foreign clients raise anything, and none of it may get past the seam",
    "storage.object_store.ObjectStore._connected": "each of fsspec's backends has errors of its own, of any kind",
    "scheduling.worker.record_failure": "one clip's surprise must not cost the others",
    "media.container.muxer": "a container must be closed whatever happens; it raises again",
    "scheduling.worker.serve": "the reason why a worker does not start is worth more at the parent than a traceback",
    "scheduling.worker._attempt": "a mistake in a job must not cost more than a crash would",
}
"""Where everything is caught, and why: a new place needs a reason as good."""
LEAVES = {
    "scheduling.worker._attempt.notify": "the parent is gone; no foreign `except Exception` may keep this going",
    "scheduling.dispatch.dispatch": "failures that are held back are told first, then the interrupt goes on",
}
MAX_FUNCTION_LINES = 60
NOBODY_SAYS = (r"\bmend\b", "no line to", r"\bso many\b", "by YouTube's word", r"\bha[sd] in hand\b", r"\btrouble\b")
PRINTS = {"print", "input", "exit", "quit", "breakpoint"}
PRINTING_METHODS = {("sys", "exit"), ("os", "_exit"), ("os", "abort"), ("sys", "stdout"), ("sys", "stderr")}


@cache
def tree(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text("utf-8"))


def imported(module: ast.Module) -> set[str]:
    """All modules that are imported, wherever in the file, by their dotted names."""
    found = set()
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "relative imports hide who uses whom"
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
    return found


def used(module: str) -> set[str]:
    """The modules of the program that one imports, by their names below `kinetics`."""
    names = {name.removeprefix("kinetics.") for name in imported(tree(module)) if name.startswith("kinetics.")}
    return names & MODULES.keys()


def named(module: ast.AST, path: str = "") -> Iterator[tuple[str, ast.AST]]:
    """Each node with the dotted name of the function or class in which it stands."""
    for node in ast.iter_child_nodes(module):
        yield path, node
        inner = f"{path}.{node.name}" if isinstance(node, ast.FunctionDef | ast.ClassDef) else path
        yield from named(node, inner)


def test_the_listing_is_short_and_every_package_is_in_the_table() -> None:
    listed = (path for path in (ROOT / "kinetics").iterdir() if path.name not in ("__pycache__", "py.typed"))
    entries = {path.stem for path in listed}
    assert entries == {*PACKAGES, "__init__"}
    assert len(entries) <= 20


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_uses_only_those_above_it(package: str) -> None:
    above = [*PACKAGES][: [*PACKAGES].index(package)]
    assert {*PACKAGES[package].split()} <= {*above}


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_one_way(module: str) -> None:
    package = module.split(".", maxsplit=1)[0]
    if package == "__init__" or module.endswith(".__init__"):
        assert not imported(tree(module)), "what is heavy loads where it is used"
        return
    assert {name.split(".")[0] for name in used(module)} <= {package, *PACKAGES[package].split()}
    assert not {name for name in imported(tree(module)) if name.split(".")[0] in ("download", "tests")}


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert [*TopologicalSorter({module: used(module) for module in MODULES}).static_order()]


@pytest.mark.parametrize("module", [module for module in MODULES if not module.startswith("cli.")])
def test_only_the_command_prints_or_exits(module: str) -> None:
    for where, node in named(tree(module)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in PRINTS, f"{module}{where} calls {node.func.id}"
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            assert (node.value.id, node.attr) not in PRINTING_METHODS, (
                f"{module}{where} uses {node.value.id}.{node.attr}"
            )
        if isinstance(node, ast.Name) and node.id in ("SystemExit", "KeyboardInterrupt"):
            assert f"{module}{where}" in LEAVES


@pytest.mark.parametrize("module", [module for module in MODULES if module != "storage.atomic"])
def test_files_are_replaced_in_one_module_alone(module: str) -> None:
    """Where the old file stands until the new one does."""
    calls = [node for _, node in named(tree(module)) if isinstance(node, ast.Call) and not node.keywords]
    names = {ast.unparse(call.func) for call in calls if isinstance(call.func, ast.Attribute)}
    assert not {name for name in names if name.endswith(".rename") or name in ("os.replace", "shutil.move")}


BROADEST = {"Exception", "BaseException"}


def test_everything_is_caught_in_few_places_each_with_a_reason() -> None:
    broad = [
        f"{module}{where}"
        for module in MODULES
        for where, node in named(tree(module))
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or {name.id for name in ast.walk(node.type) if isinstance(name, ast.Name)} & BROADEST)
    ]
    assert sorted(broad) == sorted(BROAD)


STARTS: dict[str, Callable[[], object]] = {
    "a command": lambda: subprocess.run(["true"], check=False),
    "a worker": lambda: multiprocessing.Process().start(),
    "a fork": lambda: os.fork(),  # noqa: PLW0108 - looked up when it is called, not before it is replaced
}


@pytest.mark.parametrize("start", STARTS.values(), ids=STARTS)
def test_no_test_in_this_folder_starts_another_process(start: Callable[[], object]) -> None:
    with pytest.raises(pytest.fail.Exception, match="move it to tests/e2e"):
        start()


def test_the_entry_is_thin_and_can_be_read_by_the_pythons_that_it_turns_away() -> None:
    text = (ROOT / "download.py").read_text("utf-8")
    assert len(text.splitlines()) <= 60
    ast.parse(text, feature_version=(3, 8))


@pytest.mark.parametrize("module", MODULES)
def test_every_function_fits_on_a_screen(module: str) -> None:
    for where, node in named(tree(module)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno:
            assert node.end_lineno - node.lineno < MAX_FUNCTION_LINES, f"{module}.{where}.{node.name}"


def test_no_public_type_has_the_name_of_another() -> None:
    """Classes, type aliases and type variables; the same word for two things makes a reader look twice."""
    places = defaultdict[str, list[str]](list)
    for module in MODULES:
        for node in tree(module).body:
            names = [node.name] if isinstance(node, ast.ClassDef) else []
            if isinstance(node, ast.Assign) and _is_type(node.value):
                names = [target.id for target in node.targets if isinstance(target, ast.Name)]
            for name in names:
                if not name.startswith("_"):
                    places[name].append(module)
    assert "Clip" in places
    assert "PauseCause" in places
    assert {name: where for name, where in places.items() if len(where) > 1} == {}


def _is_type(value: ast.expr) -> bool:
    """Whether what is assigned at the top of a module is a type: `Literal[...]`, `A | B`, `Callable[...]`."""
    if isinstance(value, ast.Subscript):
        return (isinstance(value.value, ast.Name) and value.value.id[0].isupper()) or ast.unparse(value).startswith(
            "tuple["
        )
    if isinstance(value, ast.BinOp) and isinstance(value.op, ast.BitOr):
        return all(isinstance(side, ast.Name) and side.id[0].isupper() for side in (value.left, value.right))
    return isinstance(value, ast.Call) and ast.unparse(value.func) == "TypeVar"


TEXTS = sorted(
    path
    for pattern in ("download.py", "*.md", "docs/*", "kinetics/**/*", "tests/**/*", "benchmarks/*")
    for path in ROOT.glob(pattern)
    if path.suffix in (".py", ".md", ".html") and path != Path(__file__)
)


@pytest.mark.parametrize("path", TEXTS, ids=[path.relative_to(ROOT).as_posix() for path in TEXTS])
def test_everything_is_in_plain_english(path: Path) -> None:
    """Messages, docstrings, comments, pages. What is here was in them once, and sounds like nobody's speech."""
    text = path.read_text("utf-8")
    assert [words for words in NOBODY_SAYS if re.search(words, text, re.IGNORECASE)] == []


def test_a_word_that_nobody_says_would_be_found() -> None:
    assert re.search("|".join(NOBODY_SAYS), "there is No line to YouTube", re.IGNORECASE)
