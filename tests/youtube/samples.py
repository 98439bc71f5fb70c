"""Whole worlds: the small one of the wrapper, and one that has a video for every row of an annotation file."""

from __future__ import annotations

import csv
import random
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from tests.youtube.videos import Video
from tests.youtube.world import FAILURES, MediaFault, PlayerFault, Row, Scenario, Shape, Subset, World

TEMPLATES_S = (20, 60, 240, 960)
"""Many ids share one of these lengths, since each costs an encode."""
SUBSET_OF_SPLIT: dict[str, Subset] = {"train": "train", "test": "test", "holdout_test": "test"}
"""Any other split is taken for `validate`."""
GONE = ("unavailable", "private", "terminated", "age", "copyright", "removed", "region", "terms")


def template(end_s: float, shapes: tuple[Shape, ...] = ("dash",)) -> Video:
    """The shortest shared video that reaches to `end_s`, or the longest one."""
    length = next((length for length in TEMPLATES_S if length >= end_s), TEMPLATES_S[-1])
    return Video(duration_s=length, codec="vp9" if shapes == ("webm",) else "h264", moving=length <= 240)


def scenarios_of(
    rows: Iterable[Row], shapes: Sequence[tuple[Shape, ...]] = (("dash",), ("progressive",)), gone_share: float = 0
) -> dict[str, Scenario]:
    """A video for each id, long enough for all of its segments; the shapes take turns.

    About `gone_share` of them are gone instead, by all sorts of reasons, always the same ones.
    """
    ends: dict[str, int] = {}
    for row in rows:
        ends[row.youtube_id] = max(row.time_end, ends.get(row.youtube_id, 0))
    chance, scenarios = random.Random(7), {}
    for number, (video_id, end) in enumerate(ends.items()):
        if chance.random() < gone_share:
            scenarios[video_id] = Scenario(failure=FAILURES[chance.choice(GONE)])
        else:
            chosen = shapes[number % len(shapes)]
            scenarios[video_id] = Scenario(template(end, chosen), chosen)
    return scenarios


def read_rows(path: Path) -> list[tuple[Subset, Row]]:
    """The rows of an annotation file in CSV, with the subset that each row's split means."""
    with open(path, newline="") as file:
        return [
            (
                SUBSET_OF_SPLIT.get(line.get("split", ""), "validate"),
                Row(
                    line.get("label", ""),
                    line["youtube_id"],
                    int(float(line["time_start"])),
                    int(float(line["time_end"])),
                ),
            )
            for line in csv.DictReader(file)
        ]


def sample_world() -> World:
    """The rows of `SAMPLE` in the archive of every version, with short videos, and a failure of each common kind."""
    world = World(scenarios_of(row for rows in SAMPLE.values() for row in rows) | dict(MISHAPS))
    for version in VERSIONS:
        for subset, rows in SAMPLE.items():
            world.annotate(version, subset, rows)
    return world


VERSIONS = ("400", "600", "700", "700-2020")
REAL_ENDINGS = frozenset("AEIMQUYcgkosw048")
"""The last characters that an id of YouTube's can have: it writes 64 bits as 11 characters of 6 bits, which leaves the
last two bits 0. So an id of `SAMPLE`, which ends in another character, never names a real video, and a made-up clip
can never pass for a real one."""
LABELS = (
    *("abseiling", "baking cookies", "flipping pancake", "javelin throw", "juggling balls", "massaging person's head"),
    *("playing harmonica", "surfing water", "tai chi", "throwing ball", "washing feet", "zumba"),
)
SAMPLE: Mapping[Subset, Sequence[Row]] = {
    "train": (
        Row("abseiling", "Ab5eil1ng_1", 4, 14),
        Row("abseiling", "Ab5eil1ng_2", 2, 12),
        Row("playing harmonica", "h4rmOn-ica1", 7, 17),
        Row("playing harmonica", "h4rmOn-ica2", 0, 10),
        Row("playing harmonica", "h4rmOn-ica2", 10, 20),
        Row("massaging person's head", "_massage-01", 1, 11),
        Row("throwing ball", "thr0wing_01", 35, 45),
        Row("tai chi", "--ta1Ch1-01", 30, 40),
        Row("washing feet", "gone-pr1vat", 5, 15),
        Row("washing feet", "gone-regi0n", 5, 15),
    ),
    "validate": sorted(  # by label, as in the real files: so what goes wrong is spread over a run
        [
            *(Row(label, f"made-up-{number:02}x", number, number + 10) for number, label in enumerate(LABELS * 2)),
            Row("flipping pancake", "flip_pan-02", 20, 30),
            Row("flipping pancake", "flip_pan-02", 41, 51),
            Row("throwing ball (not baseball or American football)", "n0t_basebal", 0, 10),
            Row("tai chi", "cut_once-01", 12, 22),
            Row("washing feet", "short_row-1", 15, 19),
            Row("baking cookies", "busy_once-1", 3, 13),
            Row("surfing water", "busy_once-2", 20, 30),
            Row("washing feet", "busy_once-3", 3, 13),
            Row("abseiling", "gone-prlvat", 17, 27),
            Row("abseiling", "gone-remov1", 117, 127),
            Row("javelin throw", "gone-age-19", 60, 70),
            Row("javelin throw", "gone-reg1on", 10, 20),
            Row("tai chi", "gone-unava1", 0, 10),
            Row("zumba", "gone-termin", 6, 16),
        ]
    ),
    "test": (
        Row("abseiling", "te5t-abse-1", 3, 13),
        Row("javelin throw", "te5t-jave-1", 48, 58),
        Row("playing harmonica", "-te5t_harm1", 10, 20),
        Row("tai chi", "te5t_taich1", 25, 35),
        Row("washing feet", "gone-te5t-1", 0, 10),
    ),
}
BUSY = PlayerFault("status", 503, times=2)
"""Spoils one attempt at a clip: both engines make a call in it."""
MISHAPS: Mapping[str, Scenario] = {
    "gone-pr1vat": Scenario(failure=FAILURES["private"]),
    "gone-regi0n": Scenario(failure=FAILURES["region"]),
    "gone-prlvat": Scenario(failure=FAILURES["private, as a message"]),
    "gone-remov1": Scenario(failure=FAILURES["removed"]),
    "gone-termin": Scenario(failure=FAILURES["terminated"]),
    "gone-unava1": Scenario(failure=FAILURES["unavailable"]),
    "gone-age-19": Scenario(failure=FAILURES["age"]),
    "gone-reg1on": Scenario(failure=FAILURES["region"]),
    "gone-te5t-1": Scenario(failure=FAILURES["unavailable"]),
    "busy_once-1": Scenario(template(13), player_faults=(BUSY,)),
    "busy_once-2": Scenario(template(30), player_faults=(BUSY,)),
    "busy_once-3": Scenario(template(13), player_faults=(BUSY,)),
    "cut_once-01": Scenario(template(22), media_faults=(MediaFault("cut", after=20_000, times=1),)),
}
