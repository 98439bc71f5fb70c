"""The packages: which may import which, who prints, and what a worker imports."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {
    "records": "",
    "errors": "records",
    "humanize": "",
    "net": "records errors humanize",
    "storage": "records errors humanize",
    "media": "records errors net",
    "annotations": "records errors humanize net storage",
    "scheduling": "records errors storage",
    "youtube": "records errors net storage media scheduling",
    "mirror": "records errors net storage media scheduling",
    "planning": "records errors net storage media annotations scheduling mirror",
    "dataset": "records errors humanize storage media annotations scheduling",
    "report": "records errors humanize storage media annotations planning",
    "cli": "records errors humanize storage youtube",
}
"""What each package may import, all of it above its own line: so imports run one way, and there is no cycle."""
MODULES = {
    ".".join(path.relative_to(ROOT / "kinetics").with_suffix("").parts): path
    for path in sorted((ROOT / "kinetics").rglob("*.py"))
}
BROAD = {
    "youtube.engine_errors.translated_errors": "foreign clients raise anything, and none of it may get past the seam",
    "storage.object_store.Store._reached": "each of fsspec's backends has errors of its own, of any kind",
    "scheduling.worker.record_failure": "one clip's surprise must not cost the others",
    "media.container.muxer": "a container must be closed whatever happens; it raises again",
    "scheduling.worker.serve": "the reason why a worker does not start is worth more at the parent than a traceback",
    "scheduling.worker._attempt": "a mistake in a job must not cost more than a crash would",
}
"""Where everything is caught, and why: a new place needs a reason as good."""
LEAVES = {"scheduling.worker._attempt.notify": "the parent is gone; no foreign `except Exception` may keep this going"}
HEAVY = {"pandas", "numpy", "matplotlib", "pytubefix", "yt_dlp", "pytube"}
PRINTS = {"print", "input", "exit", "quit", "breakpoint"}
PRINTING_METHODS = {("sys", "exit"), ("os", "_exit"), ("os", "abort"), ("sys", "stdout"), ("sys", "stderr")}


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
    entries = {path.stem for path in (ROOT / "kinetics").iterdir() if path.name != "__pycache__"}
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


def test_a_worker_starts_without_pandas_and_the_engines() -> None:
    script = "import sys, kinetics.youtube.download_job; print(*{name.partition('.')[0] for name in sys.modules})"
    ran = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "av" in ran.stdout.split()
    assert not HEAVY & set(ran.stdout.split())


def test_the_parent_imports_neither_the_engines_nor_pandas_before_it_needs_to() -> None:
    script = "import sys, download; print(*{name.partition('.')[0] for name in sys.modules})"
    ran = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not HEAVY - {"numpy"} & set(ran.stdout.split()), "PyAV may bring numpy"
