"""Everything in a folder of converted clips is made with the same settings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from kinetics.errors import Fatal
from kinetics.records import SPLIT_OF
from kinetics.storage.atomic import write_text


def keep_terms(folder: Path, terms: Mapping[str, object]) -> None:
    """See to it that all in a folder is made in the same way. Raises Fatal if what is there was made in another."""
    path = folder / "terms.json"
    if not any((folder / split).exists() for split in SPLIT_OF.values()):
        write_text(path, [json.dumps(terms), "\n"])
    try:
        before = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise Fatal(f"Cannot read {path}: {error}. It says how {folder} was made: remove both.") from error
    if before != terms:
        said = ", ".join(f"{name} {value}" for name, value in before.items())
        raise Fatal(f"{folder} was made with {said}: choose the same, or move it away.")
