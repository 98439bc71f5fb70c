"""Finds the clips on disk that are of another kind than a run would add: made with another cut, height or picture.

The attempts tables say what was asked for. Clips from elsewhere than YouTube are another source, not another kind, as
long as their pictures were to be the same, and so are clips that a table does not name. Where no table names any clip,
the clips' headers are read instead: the tables were lost, or another program put the clips there.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import IntEnum
from itertools import product
from pathlib import Path
from typing import Any, BinaryIO, Literal, get_args

import numpy as np
import pandas as pd

from kinetics.annotations.table import Annotations
from kinetics.errors import MayWorkLater
from kinetics.media.check import ANNOTATED_LEEWAY_S
from kinetics.media.clip_header import read_header
from kinetics.planning.plan import on_disk
from kinetics.records import AS_IN_SOURCE, KEY, SPLIT_OF, Clip, Cut, PictureSettings, Source, Subset
from kinetics.storage import attempts
from kinetics.storage.layout import UNLABELED, Layout, names_in
from kinetics.storage.ledger import LINE_LIMIT, PICTURE_FIELDS, STATS_FIELDS

MAX_HEADERS = 500
"""Headers read, of clips spread over the list; with more of them, a start takes longer (0.1 s for these)."""
MIN_SHARE = 0.01
"""Share of the clips that must differ, where only their headers say so: some videos have no picture as small as was
asked for, so a lower share would stop runs that always asked for the same."""
MAX_LINES = 1 << 16
"""Pixels; a greater height in a table is none."""
BLOCK_BYTES = 1 << 18
"""Bytes of a table that are searched at a time; with 1 MiB, more than the processor's cache holds, it takes longer."""
DONE = b",done,"
"""What the row of a successful attempt contains."""
EXACT_CUTS: tuple[Cut, ...] = ("smart", "exact")
"""The values of `--cut` that give the same frames."""
Sign = Literal["longer", "taller"]
"""What a header shows: longer than the section, as a clip that was cut at a keyframe; taller than the limit."""


@dataclass(frozen=True, slots=True)
class ClipKind:
    """What a run asks for."""

    cut: Cut
    max_height: int
    """In pixels."""
    picture: PictureSettings = AS_IN_SOURCE

    @property
    def same_cuts(self) -> tuple[Cut, ...]:
        """The values of `--cut` that give the same frames as this one, which comes first."""
        return tuple(sorted(EXACT_CUTS, key=self.cut.__ne__)) if self.cut in EXACT_CUTS else (self.cut,)

    def signs(self, clip: Clip, path: Path) -> list[Sign]:
        """Return what the header of a file shows that a clip of this kind does not. Raises as `read_header` does."""
        header, section_s = read_header(path), clip.time_end - clip.time_start
        longer = self.cut in EXACT_CUTS and header.duration_s > section_s + ANNOTATED_LEEWAY_S
        most = min(self.max_height, self.picture.short_side or self.max_height)
        taller = min(header.picture.width, header.picture.height) > most
        shown: Mapping[Sign, bool] = {"longer": longer, "taller": taller}
        return [sign for sign, is_shown in shown.items() if is_shown]


@dataclass(frozen=True, slots=True)
class OtherKind:
    """Clips on disk that differ in the same way from what a run makes; whole videos with `--cut none`."""

    count: int
    cut: str = ""
    """What they were cut with, if that is what differs."""
    max_height: int = 0
    """What they were asked for with, in pixels, if that is what differs."""
    picture: PictureSettings | None = None
    """What their pictures were to be like, if that is what differs."""
    sign: Sign | None = None
    """How they differ by their headers."""
    looked_at: int = 0
    """How many clips `count` was found among, if not all of them were looked at."""


def other_kinds(
    layout: Layout, subsets: Iterable[Subset], there: Callable[[Subset], pd.DataFrame], wanted: ClipKind
) -> list[OtherKind]:
    """Return what is on disk of other kinds than the wanted one.

    `there` returns the chosen clips of a subset that are on disk. Other clips that the subset's tables name count as
    well if they are on disk. Raises Fatal if a table cannot be read.
    """
    found = dict[tuple[object, ...], OtherKind]()
    for subset in subsets:
        for kind in _in_subset(layout, subset, there, wanted):
            alike = kind.cut, kind.max_height, kind.picture, kind.sign, bool(kind.looked_at)
            other = found.get(alike)
            count, looked_at = (other.count, other.looked_at) if other else (0, 0)
            found[alike] = replace(kind, count=kind.count + count, looked_at=kind.looked_at + looked_at)
    return [*found.values()]


def _in_subset(
    layout: Layout, subset: Subset, there: Callable[[Subset], pd.DataFrame], wanted: ClipKind
) -> list[OtherKind]:
    tables = [part.stats(subset) for part in layout.without_shard.shard_layouts(subset)]
    content = max(_first_look(table, wanted) for table in tables)
    if content is _Content.AS_WANTED:
        return []
    columns, whole = ("label", "cut", "height", "max_height", "source", *PICTURE_FIELDS), wanted.cut == "none"
    rows = attempts.last_successes(layout, subset, columns, whole=whole) if content is _Content.PERHAPS_OTHERS else None
    if rows is None or rows.empty:
        clips = there(subset)
        return _by_headers(layout, clips, wanted, of=len(clips))
    of = int((rows["source"] == "youtube").sum())
    rows = _differing(rows, wanted)
    rows = _whole_on_disk(layout, rows) if whole else _clips_on_disk(layout, subset, there(subset), rows)
    sure = rows[~rows["unsure"]]
    asked = Counter(zip(*(sure[column].tolist() for column in ("cut", "max_height", "picture")), strict=True))
    found = [OtherKind(count, *differs) for differs, count in asked.most_common()]
    return found + _by_headers(layout, rows[rows["unsure"]], wanted, of=of)


def _differing(rows: pd.DataFrame, wanted: ClipKind) -> pd.DataFrame:
    """Return the rows that are, or may be (`unsure`), of another kind; cut, max_height and picture where they differ.

    Without a max_height, as earlier versions wrote it, the height of the clip shows whether it may be taller: of an
    upright one it is the longer side.
    """
    numbers = (pd.to_numeric(rows[column], errors="coerce") for column in ("max_height", "height"))
    asked, height = (number.where(number.between(1, MAX_LINES)) for number in numbers)
    of_youtube, known_cut = rows["source"] == "youtube", rows["cut"] != ""
    other_cut = of_youtube & known_cut & ~rows["cut"].isin(wanted.same_cuts)
    other_height = of_youtube & asked.notna() & (asked != wanted.max_height)
    pictures = _pictures(rows)
    other_picture = pictures.map(wanted.picture.__ne__).astype(bool)
    other = other_cut | other_height | other_picture
    unsure = of_youtube & ~other & (~known_cut | (asked.isna() & ~(height <= wanted.max_height)))
    differing: pd.DataFrame = rows.assign(
        cut=rows["cut"].where(other_cut, ""),
        max_height=asked.where(other_height, 0).astype(int),
        picture=pictures.where(other_picture, None),
        unsure=unsure,
    )[other | unsure]
    return differing


def _pictures(rows: pd.DataFrame) -> pd.Series[Any]:
    """Return what the clip of each row was to look like; a value that is none counts as not asked for."""
    numbers = [pd.to_numeric(rows[column], errors="coerce").fillna(0).tolist() for column in PICTURE_FIELDS]
    known = dict[tuple[float, ...], PictureSettings]()
    for asked in {*zip(*numbers, strict=True)}:
        short_side, fps, keyframes = (one if 0 < one <= MAX_LINES else 0 for one in asked)
        known[asked] = PictureSettings(int(short_side) or None, fps or None, int(keyframes) or None)
    return pd.Series([known[asked] for asked in zip(*numbers, strict=True)], rows.index, dtype=object)


def _clips_on_disk(layout: Layout, subset: Subset, there: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows whose clips are on disk: among the chosen ones, or else where the table's label says."""
    split = SPLIT_OF[subset]
    there = there[there["youtube_id"].isin(rows["youtube_id"])]  # mostly few, and a join with all takes a second
    present = there[KEY].assign(chosen=there["label"].astype(object))
    rows = rows.merge(present, "left", on=KEY).assign(split=split)
    chosen = rows["chosen"].notna()
    rows["label"] = rows["chosen"].where(chosen, rows["label"])
    folders = rows["label"].str.replace(" ", "_").replace("", UNLABELED)
    has_times = np.isfinite(rows["time_start"]) & np.isfinite(rows["time_end"])
    is_there = chosen.to_numpy(copy=True)
    others = np.flatnonzero(~is_there & has_times & folders.isin(names_in(layout.folder / split)))
    is_there[others] = on_disk(rows.iloc[others], layout)
    found: pd.DataFrame = rows[is_there]
    return found


def _whole_on_disk(layout: Layout, rows: pd.DataFrame) -> pd.DataFrame:
    found: pd.DataFrame = rows[rows["youtube_id"].isin(layout.wholes_on_disk())]
    return found.assign(label="", split="train")  # which play no part in the path of a whole video


def _by_headers(layout: Layout, clips: pd.DataFrame, wanted: ClipKind, *, of: int) -> list[OtherKind]:
    """Return what the headers of at most MAX_HEADERS of these clips show; `of` is how many clips there are in all."""
    if layout.url or clips.empty:
        return []
    picked = np.linspace(0, len(clips) - 1, min(len(clips), MAX_HEADERS)).astype(int)
    looked_at, signs = 0, Counter[Sign]()
    for clip in Annotations(clips.iloc[picked], ()).clips():
        with suppress(MayWorkLater, OSError):
            signs.update(wanted.signs(clip, layout.target(clip, wanted.cut)))
            looked_at += 1
    among = looked_at if len(picked) < len(clips) else 0
    enough = MIN_SHARE * of * looked_at / len(clips)
    return [OtherKind(count, sign=sign, looked_at=among) for sign, count in signs.items() if count >= enough]


class _Content(IntEnum):
    """What a table holds about clips that came, as far as a first look shows."""

    NOTHING = 0
    AS_WANTED = 1
    PERHAPS_OTHERS = 2


def _first_look(table: Path, wanted: ClipKind) -> _Content:
    """Return what a table holds, without parsing it: that takes 0.1 s for 650,000 rows, and parsing them 2 s."""
    unusual, unusual_older, content = _ends(wanted), _ends(wanted, older=True), _Content.NOTHING
    try:
        with open(table, "rb") as file:
            header = file.readline(LINE_LIMIT)
            ours = header.rstrip(b"\r\n") == ",".join(STATS_FIELDS).encode()
            for rows in _blocks(file) if ours else ():
                if not content and DONE in rows:
                    content = _Content.AS_WANTED
                if unusual.search(rows) and (
                    any(DONE in line for line in _lines(unusual_older, rows)) or _may_be_taller(rows, wanted)
                ):
                    return _Content.PERHAPS_OTHERS
    except FileNotFoundError:
        return _Content.NOTHING
    except OSError:
        return _Content.PERHAPS_OTHERS  # who reads all of it says why it cannot be read
    return content if ours else _Content.PERHAPS_OTHERS


def _ends(wanted: ClipKind, *, older: bool = False) -> re.Pattern[bytes]:
    """Return a pattern for the end of a row, unless it is as in rows about clips of the wanted kind.

    With `older`, rows without a max_height are such, too. The last columns are the cut, whether there is sound (empty
    if the attempt failed), the source, max_height and those of the picture. The usual end comes first, since the first
    look backwards that matches ends the search.
    """
    heights = (wanted.max_height, "") if older else (wanted.max_height,)
    own, picture = product(wanted.same_cuts, ("1", "0", ""), heights), ",".join(wanted.picture.texts)
    usual = [f",{cut},{sound},youtube,{height},{picture}" for cut, sound, height in own]
    usual += [f",{source},,{picture}" for source in get_args(Source) if source != "youtube"]
    return re.compile(b"\n" + "".join(f"(?<!{end}\n)" for end in usual).encode())


def _lines(ends: re.Pattern[bytes], rows: bytes) -> Iterator[bytes]:
    """Yield the lines whose ends a pattern finds."""
    for found in ends.finditer(rows):
        yield rows[rows.rfind(b"\n", 0, found.start()) + 1 : found.end()]


_OLDER = re.compile(rb",done,,,[^,\n]*+,([^,\n]*+),([0-9]{0,9}),[^\n]*+\n(?<=,youtube,,,,\n)")
"""A row about a clip that came, without max_height; in the groups the format's itag and the height of the clip."""


def _may_be_taller(rows: bytes, wanted: ClipKind) -> bool:
    """Return whether rows without a max_height have clips in a format above the wanted height, or without a height.

    An upright video is higher than others in the same format, so the lowest clip of each format counts.
    """
    lowest = dict[bytes, int]()
    for itag, height in set(_OLDER.findall(rows)):
        lowest[itag] = min(int(height or MAX_LINES), lowest.get(itag, MAX_LINES))
    return max(lowest.values(), default=0) > wanted.max_height


def _blocks(file: BinaryIO) -> Iterator[bytes]:
    """Yield the complete rows of a table, many at a time."""
    half = b""
    while block := file.read(BLOCK_BYTES):
        rows, end, half = (half + block).rpartition(b"\n")
        yield rows + end
