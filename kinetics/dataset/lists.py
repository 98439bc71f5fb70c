"""List files of the clips on disk for MMAction2, PyTorchVideo, SlowFast and Hugging Face, and those without sound."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import pandas as pd

from kinetics.annotations.table import Annotations
from kinetics.records import SPLIT_OF, Clip, Split, Subset
from kinetics.storage.atomic import write_text
from kinetics.storage.layout import Layout

NO_CLASS = -1
HUGGING_FACE: Mapping[Split, str] = {"train": "train", "val": "validation", "test": "test"}
"""What its `datasets` calls the splits."""


def write_lists(layout: Layout, subset: Subset, frame: pd.DataFrame, classes: Sequence[str]) -> list[Path]:
    """Write list files of these clips, and the classes; returns the files.

    Each line of a list is `<path> <class>`, the path from the data set's folder on, where every reader has a prefix
    for it. A class is its place in `classes`; -1 stands for a clip without a label.
    """
    folder, split = layout.derived_layout("lists").folder, SPLIT_OF[subset]
    classes_of = {label: number for number, label in enumerate(classes)}
    lines = [
        f"{layout.clip(clip).relative_to(layout.folder)} {classes_of.get(clip.label, NO_CLASS)}\n"
        for clip in Annotations(frame, ()).clips()
    ]
    texts = {
        folder / "mmaction2" / f"kinetics{layout.version}_{split}_list_videos.txt": lines,
        folder / "pytorchvideo" / f"{split}.txt": lines,
        folder / "slowfast" / f"{split}.csv": lines,
        folder / "classes.txt": [f"{label}\n" for label in classes],
        folder / "labels.json": [json.dumps(classes_of, indent=1, ensure_ascii=False), "\n"],
        layout.folder / ".huggingface.yaml": [*_splits_for_hugging_face(layout)],
    }
    for path, text in texts.items():
        write_text(path, text)
    return [*texts]


def _splits_for_hugging_face(layout: Layout) -> Iterator[str]:
    """Say which folder is which split: left to guess, it takes `val/training_dog` for a part of `train`."""
    yield "configs:\n- config_name: default\n  data_files:\n"
    for split, name in HUGGING_FACE.items():
        if (layout.folder / split).is_dir():
            yield f'  - {{split: {name}, path: "{split}/**"}}\n'


def write_silent(layout: Layout, subset: Subset, silent: Iterable[Clip], suffix: str) -> Path:
    """Add clips to the list of those without sound; returns it. Its lines are paths in the data set's folder.

    A clip that has come to have sound since, in a file of that suffix, is listed no longer.
    """
    path, sounds = layout.table(subset, "silent.txt"), layout.derived_layout("sound").folder
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    before = [line for line in lines if not (sounds / line).with_suffix(suffix).exists()]
    found = {str(layout.clip(clip).relative_to(layout.folder)) for clip in silent}
    write_text(path, [f"{line}\n" for line in sorted(found.union(before))])
    return path
