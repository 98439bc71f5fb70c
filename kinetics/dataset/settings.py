"""Keeps the settings with which a folder of converted clips is made, so that they cannot be mixed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from kinetics.errors import Fatal
from kinetics.records import SPLIT_OF
from kinetics.storage.atomic import write_text

SETTINGS_FILE = "terms.json"
"""Folders that exist have it under this name; under another one their settings would be unknown."""


def keep_settings(folder: Path, settings: Mapping[str, object]) -> None:
    """Write the settings into a folder that holds no clips yet. Raises Fatal if it was made with other settings."""
    path = folder / SETTINGS_FILE
    if not any((folder / split).exists() for split in SPLIT_OF.values()):
        write_text(path, [json.dumps(settings), "\n"])
    try:
        before = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise Fatal(f"Cannot read {path}: {error}. It says how {folder} was made: remove both.") from error
    if before != settings:
        text = ", ".join(f"{name} {value}" for name, value in before.items())
        raise Fatal(f"{folder} was made with {text}: choose the same settings, or move the folder away.")
