"""The rooms of the house: who may use whom, who prints, and what a worker carries."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = (
    *("records", "errors", "store", "layout", "annotations", "choose", "engines", "remote", "mp4", "container"),
    *("section", "pictures", "avc", "smart", "media", "archives", "mirror", "jobs", "header", "check"),
    *(
        "convert",
        "tasks",
        "pace",
        "dispatch",
        "wanted",
        "harvest",
        "gather",
        "pool",
        "dask_worker",
        "cluster",
        "tally",
        "ledger",
    ),
    *(
        "copies",
        "locks",
        "attempts",
        "plan",
        "reuse",
        "journal",
        "inventory",
        "export",
        "compare",
        "estimate",
        "sources",
    ),
    *("amounts", "timeline", "report", "tables", "thumbnails", "plots", "page", "options"),
)
"""Each room may use those before it."""
MAY_USE = {
    "records": set(),
    "errors": {"records"},
    "store": {"errors"},
    "layout": {"records", "errors", "store"},
    "annotations": {"records", "errors", "layout"},
    "choose": {"records", "errors", "annotations"},
    "engines": {"records", "errors", "layout"},
    "remote": {"records", "errors"},
    "mp4": {"records", "errors", "remote"},
    "container": {"records", "errors", "remote"},
    "section": {"records", "errors", "remote", "mp4", "container"},
    "pictures": {"records", "errors", "section"},
    "avc": set(),
    "smart": {"section", "pictures", "avc"},
    "media": {"records", "errors", "container", "section", "pictures", "smart"},
    "archives": {"records", "errors", "remote"},
    "mirror": {"records", "errors", "layout", "remote", "archives"},
    "jobs": {"records", "errors", "layout", "engines", "remote", "mp4", "section", "media"},
    "header": {"records", "errors"},
    "check": {"records", "errors", "container", "header"},
    "wanted": {"records", "errors"},
    "harvest": {
        *("records", "errors", "layout", "remote", "archives", "jobs", "check", "dispatch", "wanted"),
    },
    "gather": {"records", "layout", "archives", "mirror", "pace", "dispatch"},
    "convert": {"container"},
    "tasks": {"records", "errors", "layout", "check", "convert"},
    "pace": {"records"},
    "dispatch": {"records", "pace"},
    "pool": {"records", "errors", "pace", "dispatch"},
    "dask_worker": {"records", "errors", "store", "pace", "dispatch", "pool"},
    "cluster": {"records", "errors", "layout", "pace", "dispatch", "dask_worker"},
    "tally": {"records"},
    "ledger": {"records", "errors", "layout"},
    "copies": {"records", "errors", "store", "layout"},
    "locks": {"records", "errors", "layout"},
    "attempts": {"records", "errors", "layout", "ledger"},
    "plan": {"records", "layout", "annotations", "ledger"},
    "reuse": {"records", "errors", "layout", "annotations", "header", "plan"},
    "journal": {"records", "layout"},
    "inventory": {
        *("records", "layout", "annotations", "check", "tasks", "dispatch", "ledger", "attempts", "journal"),
    },
    "export": {"records", "errors", "layout", "annotations", "ledger", "attempts"},
    "compare": {"records", "errors", "layout", "ledger"},
    "estimate": {"records", "ledger"},
    "sources": {
        *("records", "layout", "remote", "archives", "mirror", "pace", "dispatch", "wanted", "gather"),
        *("plan", "estimate"),
    },
    "amounts": set(),
    "timeline": {"records"},
    "report": {
        *("records", "errors", "layout", "annotations", "ledger", "attempts", "plan", "estimate", "amounts"),
        "timeline",
    },
    "tables": {"ledger", "report"},
    "thumbnails": {"records", "errors", "container"},
    "plots": {"timeline", "report"},
    "page": {"records", "errors", "layout", "amounts", "timeline", "report", "tables", "thumbnails", "plots"},
    "options": {"records", "store", "layout", "engines"},
}
BROAD = {
    "engines._engine_errors": "foreign clients raise anything, and none of it may get past the seam",
    "store.Store._reached": "each of fsspec's backends has errors of its own, of any kind",
    "jobs.caught": "one clip's surprise must not cost the others",
    "container.muxer": "a container must be closed whatever happens; it raises again",
    "pool._serve": "the reason why a worker does not start is worth more at the parent than a traceback",
    "pool._attempt": "a mistake in a job must not cost more than a crash would",
}
"""Where everything is caught, and why: a new place needs a reason as good."""
LEAVES = {"pool._attempt.say": "the parent is gone, and no foreign `except Exception` may keep the worker alive"}
HEAVY = {"pandas", "numpy", "matplotlib", "pytubefix", "yt_dlp", "pytube"}
PRINTS = {"print", "input", "exit", "quit", "breakpoint"}
PRINTING_METHODS = {("sys", "exit"), ("os", "_exit"), ("os", "abort"), ("sys", "stdout"), ("sys", "stderr")}


def tree(room: str) -> ast.Module:
    return ast.parse((ROOT / "kinetics" / f"{room}.py").read_text("utf-8"))


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


def named(module: ast.AST, path: str = "") -> Iterator[tuple[str, ast.AST]]:
    """Each node with the dotted name of the function or class in which it stands."""
    for node in ast.iter_child_nodes(module):
        yield path, node
        inner = f"{path}.{node.name}" if isinstance(node, ast.FunctionDef | ast.ClassDef) else path
        yield from named(node, inner)


def test_every_room_is_on_the_list() -> None:
    assert {path.stem for path in (ROOT / "kinetics").glob("*.py")} == {*ROOMS, "__init__"}
    assert set(MAY_USE) == set(ROOMS)
    assert not imported(tree("__init__"))


@pytest.mark.parametrize("room", ROOMS)
def test_imports_point_one_way(room: str) -> None:
    used = {name.split(".")[1] for name in imported(tree(room)) if name.startswith("kinetics.")}
    assert used <= MAY_USE[room]
    assert MAY_USE[room] <= set(ROOMS[: ROOMS.index(room)])
    assert not {name for name in imported(tree(room)) if name.split(".")[0] in ("download", "tests")}


@pytest.mark.parametrize("room", ROOMS)
def test_only_the_entry_prints_or_exits(room: str) -> None:
    for where, node in named(tree(room)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in PRINTS, f"{room}{where} calls {node.func.id}"
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            assert (node.value.id, node.attr) not in PRINTING_METHODS, f"{room}{where} uses {node.value.id}.{node.attr}"
        if isinstance(node, ast.Name) and node.id in ("SystemExit", "KeyboardInterrupt"):
            assert f"{room}{where}" in LEAVES


BROADEST = {"Exception", "BaseException"}


def test_everything_is_caught_in_few_places_each_with_a_reason() -> None:
    broad = [
        f"{room}{where}"
        for room in ROOMS
        for where, node in named(tree(room))
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or {name.id for name in ast.walk(node.type) if isinstance(name, ast.Name)} & BROADEST)
    ]
    assert sorted(broad) == sorted(BROAD)


def test_a_worker_starts_without_pandas_and_the_engines() -> None:
    script = "import sys, kinetics.jobs; print(*{name.partition('.')[0] for name in sys.modules})"
    ran = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "av" in ran.stdout.split()
    assert not HEAVY & set(ran.stdout.split())


def test_the_parent_imports_neither_the_engines_nor_pandas_before_it_needs_to() -> None:
    script = "import sys, download; print(*{name.partition('.')[0] for name in sys.modules})"
    ran = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not HEAVY - {"numpy"} & set(ran.stdout.split()), "PyAV may bring numpy"
