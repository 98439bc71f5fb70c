"""The text of a data set's card: figures in, Markdown out, with the header that Hugging Face reads."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from kinetics import __version__
from kinetics.dataset.lists import hugging_face_splits
from kinetics.humanize import counted, size
from kinetics.records import NO_CLASS, SPLIT_OF, Split
from kinetics.storage.card_file import MARK

MAX_CLASSES = 2000
"""Classes in the table of a card; a reader of the page needs no more, and the manifest has all."""
MAX_VALUES = 5
"""Heights, and ways of making the clips, that are listed: the most frequent ones."""
SIZES = (("n<1K", 10**3), ("1K<n<10K", 10**4), ("10K<n<100K", 10**5), ("100K<n<1M", 10**6), ("1M<n<10M", 10**7))
"""Hugging Face's words for the number of clips, each with the number that it is below."""
SOURCES: Mapping[str, str] = {
    "youtube": "cut from YouTube's videos",
    "mirror": "from the archives of the CVDF foundation's mirror",
    "folder": "taken from files of another tool",
    "": "of a source that the attempts table does not know",
}
"""What the card says of the clips of each source."""
_MEANINGFUL = re.compile(r"[^\w ,.'()-]|_|(?<=www)\.", re.IGNORECASE)
"""A character that may mean something to Markdown or HTML; a text that begins with `www.` would become a link."""
LICENCE = """\
The annotations of Kinetics were published by Google DeepMind under [CC BY 4.0](https://creativecommons.org/licenses/by/4.0/)."""
OTHER_LICENCE = "The annotations are under the licence of those who published them."
VIDEOS_LICENCE = """\
The videos belong to the people who uploaded them, and [YouTube's terms](https://www.youtube.com/t/terms) hold for them:
this card gives no licence to them."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest that the card describes."""

    name: str
    sha256: str
    table: pd.DataFrame
    """Columns label, split, cut and source (text), bytes, duration, height and fps (numbers, NaN if unknown)."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """One way in which clips were made, in the words of the options; empty where an option was not given."""

    cut: str = ""
    max_height: str = ""
    short_side: str = ""
    fps: str = ""
    keyframes: str = ""
    source: str = ""

    def command(self, version: str, subset: str, annotations: str) -> str:
        """Return the command that makes such clips; it holds nothing but what every reader may know."""
        values = {
            **{"-v": version, "-s": subset, "--annotations": annotations, "--cut": self.cut},
            **{"--max-height": self.max_height, "--short-side": self.short_side, "--fps": self.fps},
            **{"--keyframes": self.keyframes, "--source": self.source if self.source == "mirror" else ""},
            "--adopt": "FOLDER" if self.source == "folder" else "",
        }
        return shlex.join(["python", "download.py", *(one for pair in values.items() if pair[1] for one in pair)])


@dataclass(frozen=True, slots=True)
class CardFigures:
    """What a card says."""

    name: str
    """Of the data set, as its folder is named."""
    version: str
    of_kinetics: bool
    """Whether the annotations are those of Kinetics, whose licence is known."""
    manifests: Sequence[Manifest]
    classes: Sequence[str]
    """The labels in the order of their numbers."""
    annotations: Sequence[tuple[str, str]]
    """The name of each list of annotations, as Markdown, and the day from which it is here."""
    own_list: str
    """The name of the user's own list; empty with the published ones."""
    days: tuple[str, str] | None
    """The days of the first and of the last download."""
    recipes: Mapping[Recipe, int]
    """The number of clips that were made in each way."""
    shards: str = ""
    """The folder of the shards that clips were downloaded into; empty without any."""
    in_shards: Sequence[Split] = ()
    """The splits that have such shards."""
    in_folder: Sequence[Split] = ()
    """The splits of which there are clips as files."""

    @property
    def title(self) -> str:
        return f"Kinetics-{self.version}" if self.name == f"Kinetics{self.version}" else self.name


def card_text(figures: CardFigures, *, beside_shards: bool = False) -> str:
    """Return the card of a data set, for the folder of its clips or for that of its shards."""
    table = pd.concat([one.table for one in figures.manifests], ignore_index=True)
    there = {*table["split"].unique()}
    splits = [split for split in SPLIT_OF.values() if split in there]
    parts = [
        _header(figures, len(table), beside_shards=beside_shards),
        f"{MARK}\n\n# {escaped(figures.title)}\n",
        f"{counted(len(table), 'clip')} of YouTube videos, labelled with actions: {_places(figures, beside_shards)}.\n",
        *_counts(table, splits),
        *_files(table),
        *_origin(figures, table),
        *_recipes(figures, splits),
        *_manifests(figures),
        f"## Licence\n\n{LICENCE if figures.of_kinetics else OTHER_LICENCE}\n{VIDEOS_LICENCE}\n",
        *_classes(figures, table, splits),
    ]
    return "\n".join(parts)


def escaped(text: str) -> str:
    """Return a foreign text as Markdown that shows it and does nothing else, on one line.

    A character without a shape, such as a line end or a change of direction, is shown as Python writes it; one that may
    mean something to Markdown or HTML becomes a reference to it.
    """
    shown = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
    return _MEANINGFUL.sub(lambda found: f"&#{ord(found[0])};", shown)


def _places(figures: CardFigures, beside_shards: bool) -> str:
    """Return where the clips are."""
    files, shards = "`<split>/<class>/<clip>.mp4`", "WebDataset shards, `<split>-*.tar` with mp4, cls and json of each"
    if beside_shards:
        return f"{shards} clip" + (", and more as files of their own" if figures.in_folder else "")
    of_shards = [f"{shards} clip, in `{figures.shards}`"] if figures.in_shards else []
    return " and ".join([*([files] if figures.in_folder or not of_shards else []), *of_shards])


def _header(figures: CardFigures, clips: int, *, beside_shards: bool) -> str:
    splits = figures.in_shards if beside_shards else figures.in_folder
    places = hugging_face_splits(splits, *(["{split}-*.tar"] if beside_shards else [])) if splits else ""
    sizes = next((name for name, limit in SIZES if clips < limit), "n>10M")
    licence = ("annotations-cc-by-4.0-" if figures.of_kinetics else "") + "videos-youtube-terms"
    return (
        f"---\npretty_name: {json.dumps(figures.title)}\n"
        f"license: other\nlicense_name: {licence}\nlicense_link: https://www.youtube.com/t/terms\n"
        f"task_categories:\n- video-classification\nsize_categories:\n- {sizes}\n{places}---"
    )


def _counts(table: pd.DataFrame, splits: Sequence[Split]) -> Iterator[str]:
    yield "| split | clips | classes | hours | bytes |\n|---|---:|---:|---:|---:|"
    for split, rows in [*((one, table[table["split"] == one]) for one in splits), ("all", table)]:
        labels, hours = rows["label"][rows["label"] != ""].nunique(), rows["duration"].sum() / 3600
        yield f"| {split} | {len(rows):,} | {labels:,} | {hours:,.1f} | {int(rows['bytes'].sum()):,} |"
    yield ""


def _files(table: pd.DataFrame) -> Iterator[str]:
    yield "## The files\n"
    yield f"- {size(table['bytes'].sum())}, {table['duration'].sum() / 3600:,.1f} hours of video in mp4."
    cuts = table["cut"].value_counts()
    yield f"- Cut: {_listed((escaped(str(cut)) or 'not known', clips) for cut, clips in cuts.items())}."
    heights = table["height"].value_counts().head(MAX_VALUES)
    yield f"- Lines of the picture: {_listed((f'{lines:.0f}', clips) for lines, clips in heights.items())}."
    rates = table["fps"].dropna()
    if not rates.empty:
        yield f"- Frames a second: {rates.median():g} in the median, from {rates.min():g} to {rates.max():g}."
    yield ""


def _origin(figures: CardFigures, table: pd.DataFrame) -> Iterator[str]:
    yield "## Sources\n"
    for name, day in figures.annotations:
        yield f"- Annotations: {name}, here since {day}."
    for source, clips in table["source"].value_counts().items():
        yield f"- {counted(clips, 'clip')} {SOURCES.get(str(source)) or f'from {escaped(str(source))}'}."
    if figures.days:
        first, last = figures.days
        yield f"- Downloaded from {first} to {last}."
    yield ""


def _recipes(figures: CardFigures, splits: Sequence[Split]) -> Iterator[str]:
    yield f"## How it was made\n\nWith kinetics-downloader {__version__}:\n\n```sh"
    subset = "all" if len(splits) > 1 else next((one for one, split in SPLIT_OF.items() if split in splits), "all")
    own_list = figures.own_list if re.fullmatch(r"[\w. +=@%-]*", figures.own_list) else "LIST"
    for recipe, clips in sorted(figures.recipes.items(), key=lambda item: -item[1])[:MAX_VALUES]:
        yield f"# {counted(clips, 'download')}\n{recipe.command(figures.version, subset, own_list)}"
    yield "```\n"


def _manifests(figures: CardFigures) -> Iterator[str]:
    yield "## Manifest\n\nThe figures here are those of:\n\n| file | clips | SHA-256 |\n|---|---:|---|"
    for one in figures.manifests:
        yield f"| {escaped(one.name)} | {len(one.table):,} | `{one.sha256}` |"
    yield ""


def _classes(figures: CardFigures, table: pd.DataFrame, splits: Sequence[Split]) -> Iterator[str]:
    numbers = {label: number for number, label in enumerate(figures.classes)}
    counts = pd.crosstab(table["label"], table["split"]).reindex(columns=[*splits], fill_value=0)
    yield f"## Classes\n\n| number | class | {' | '.join(splits)} |\n|---:|---|{'---:|' * len(splits)}"
    for label, clips in counts.head(MAX_CLASSES).iterrows():
        cells = " | ".join(f"{count:,}" for count in clips)
        yield f"| {numbers.get(str(label), NO_CLASS)} | {escaped(str(label)) or '(no label)'} | {cells} |"
    if len(counts) > MAX_CLASSES:
        yield f"\n{counted(len(counts) - MAX_CLASSES, 'more class', 'more classes')}: see the manifest."
    yield "\nThe numbers are those of `--lists` and `--shards`.\n"


def _listed(counts: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f"{value} ({counted(clips, 'clip')})" for value, clips in counts)
