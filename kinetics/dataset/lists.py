"""Writes list files of the clips on disk for MMAction2, PyTorchVideo, SlowFast and Hugging Face.

A further list names the clips without sound.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from kinetics.annotations.table import Annotations
from kinetics.records import NO_CLASS, SPLIT_OF, Clip, Split, Subset
from kinetics.storage.atomic import write_text
from kinetics.storage.layout import Layout, names_in

HUGGING_FACE_SPLITS: Mapping[Split, str] = {"train": "train", "val": "validation", "test": "test"}
"""The names of the splits in Hugging Face's `datasets`."""


def write_lists(
    layout: Layout, target: Layout, subset: Subset, frame: pd.DataFrame, classes: Sequence[str]
) -> list[Path]:
    """Write the list files of these clips and the files of the classes; returns their paths.

    Each line of a list is `<path> <class>`. The path is relative to the data set's folder, because every reader has an
    option for a prefix. The class is an index into `classes`, or NO_CLASS. `target` is the layout of the lists.
    """
    folder, split, class_numbers = target.folder, SPLIT_OF[subset], _numbers(classes)
    lines = [
        f"{layout.clip(clip).relative_to(layout.folder)} {class_numbers.get(clip.label, NO_CLASS)}\n"
        for clip in Annotations(frame, ()).clips()
    ]
    texts = {
        folder / "mmaction2" / f"{layout.name.lower()}_{split}_list_videos.txt": lines,
        folder / "pytorchvideo" / f"{split}.txt": lines,
        folder / "slowfast" / f"{split}.csv": lines,
        folder / "classes.txt": [f"{label}\n" for label in classes],
        folder / "labels.json": [json.dumps(class_numbers, indent=1, ensure_ascii=False), "\n"],
        layout.folder / ".huggingface.yaml": [
            hugging_face_splits([split for split in HUGGING_FACE_SPLITS if (layout.folder / split).is_dir()])
        ],
    }
    for path, text in texts.items():
        write_text(path, text)
    return [*texts]


def write_frame_list(
    frames: Layout, target: Layout, subset: Subset, frame: pd.DataFrame, classes: Sequence[str]
) -> list[Path]:
    """Write the list of the frames of these clips for MMAction2; returns its path, if there are any.

    Each line is `<folder> <number of frames> <class>`, with the folder relative to that of `frames`. Without any
    frames, an earlier list is removed.
    """
    path = target.folder / "mmaction2" / f"{frames.name.lower()}_{SPLIT_OF[subset]}_list_rawframes.txt"
    if frame.empty:
        path.unlink(missing_ok=True)
        return []
    class_numbers, lines = _numbers(classes), list[str]()
    for clip in Annotations(frame, ()).clips():
        folder = frames.clip(clip, "")
        number = class_numbers.get(clip.label, NO_CLASS)
        lines.append(f"{folder.relative_to(frames.folder)} {len(names_in(folder))} {number}\n")
    write_text(path, lines)
    return [path]


def _numbers(classes: Sequence[str]) -> dict[str, int]:
    return {label: number for number, label in enumerate(classes)}


def hugging_face_splits(splits: Iterable[Split], pattern: str = "{split}/**") -> str:
    """Return where the splits are, as YAML.

    By itself Hugging Face would take `val/training_dog` for a part of `train`.
    """
    places = (
        f'  - {{split: {HUGGING_FACE_SPLITS[split]}, path: "{pattern.format(split=split)}"}}\n' for split in splits
    )
    return "configs:\n- config_name: default\n  data_files:\n" + "".join(places)


def write_silent_list(layout: Layout, subset: Subset, silent: Iterable[Clip], suffix: str) -> Path:
    """Add clips to the list of those without sound; returns its path. Each line is a path in the data set's folder.

    A clip that is gone, or that now has a sound file of that suffix, is removed from the list.
    """
    path, sounds = layout.table(subset, "silent.txt"), layout.derived_layout("sound").folder
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    still_silent = [
        line for line in lines if (layout.folder / line).exists() and not (sounds / line).with_suffix(suffix).exists()
    ]
    found = {str(layout.clip(clip).relative_to(layout.folder)) for clip in silent}
    write_text(path, [f"{line}\n" for line in sorted(found.union(still_silent))])
    return path
