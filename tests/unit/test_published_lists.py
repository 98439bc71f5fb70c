"""Both published lists together: every clip that either names is wanted, and a host that is away costs little."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pandas as pd
import pytest

from kinetics.annotations import load as loading
from kinetics.annotations import published
from kinetics.annotations.kept_clips import CATEGORIES, keep_clips, kept_clips
from kinetics.annotations.load import load
from kinetics.annotations.table import Annotations
from kinetics.cli.main import main
from kinetics.errors import Fatal
from kinetics.planning.plan import make_plan
from kinetics.records import KEY, Category, Clip, Outcome
from kinetics.storage.layout import Layout
from kinetics.storage.ledger import Ledger
from tests.support.network import go_through
from tests.youtube.server import LoopbackYouTube
from tests.youtube.world import CvdfList, ListFault, Row, World

pytestmark = pytest.mark.filterwarnings("error")

IN_BOTH = [Row("tai chi", f"in_both_{n:03}", n, n + 10) for n in (5, 3, 8)]
ONLY_OFFICIAL = Row("zumba", "official_01", 1, 11)
ONLY_CVDF = [Row("abseiling", "only_cvdf_1", 4, 14), Row("tai chi", "only_cvdf_2", 0, 10)]
OFFICIAL = [*IN_BOTH[:2], ONLY_OFFICIAL, IN_BOTH[2]]
CVDF = [ONLY_CVDF[0], *sorted(IN_BOTH), ONLY_CVDF[1]]
ARCHIVE = "/deepmind-media/Datasets/kinetics400.tar.gz"
VAL = "/kinetics/400/annotations/val.csv"


@pytest.fixture
def youtube(monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopbackYouTube]:
    """Both hosts, with lists of Kinetics-400 that differ; failed attempts are repeated at once."""
    monkeypatch.setattr(published, "PAUSES_S", (0, 0, 0))
    world = World()
    world.annotate("400", "validate", OFFICIAL)
    world.cvdf["400"] = CvdfList({"validate": CVDF})
    with LoopbackYouTube(world) as server:
        go_through(server, monkeypatch)
        monkeypatch.setenv("XDG_CACHE_HOME", server.env["XDG_CACHE_HOME"])
        yield server


def asked(youtube: LoopbackYouTube) -> list[str]:
    """Everything that was asked for since the last call, in order."""
    paths = [request.path for request in youtube.requests if request.kind in ("archive", "list")]
    new = paths[getattr(youtube, "seen", 0) :]
    youtube.seen = len(paths)  # type: ignore[attr-defined]
    return new


def kept(youtube: LoopbackYouTube) -> list[str]:
    cache = Path(youtube.env["XDG_CACHE_HOME"]) / "kinetics-downloader"
    return sorted(str(path.relative_to(cache)) for path in cache.rglob("*") if path.is_file())


def rows(loaded: Annotations) -> list[Row]:
    return [Row(clip.label, clip.youtube_id, int(clip.time_start), int(clip.time_end)) for clip in loaded.clips()]


def named_in(loaded: Annotations) -> dict[str, str]:
    """Where each video's clip is named."""
    return dict(zip(loaded.frame["youtube_id"], loaded.frame["named_in"], strict=True))


# -- what is wanted ---------------------------------------------------------------------------------------------------


def test_every_clip_that_either_list_names_is_there_the_official_ones_first(youtube: LoopbackYouTube) -> None:
    loaded = load("400", "validate")
    assert rows(loaded) == [*OFFICIAL, *ONLY_CVDF]
    assert loaded.warnings == ()
    assert asked(youtube) == [ARCHIVE, VAL]
    both = {row.youtube_id: "both" for row in IN_BOTH}
    assert named_in(loaded) == both | {"official_01": "official", "only_cvdf_1": "cvdf", "only_cvdf_2": "cvdf"}


def test_a_dry_run_says_how_many_come_from_which_list(
    youtube: LoopbackYouTube, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["-v", "400", "-s", "validate", "--dry-run", "-o", str(tmp_path)]) == 0
    first, second = capsys.readouterr().out.splitlines()[:2]
    assert first == "lists: 3 clips in both, 1 in the official one alone, 2 in CVDF's alone"
    assert second.startswith("Kinetics400 validate: 6 clips wanted, 0 on disk; 6 to do")


@pytest.mark.parametrize(
    ("choice", "wanted", "path"), [("official", OFFICIAL, ARCHIVE), ("cvdf", CVDF, VAL)], ids=["official", "cvdf"]
)
def test_one_list_can_be_chosen_and_the_other_is_not_asked_for(
    youtube: LoopbackYouTube, capsys: pytest.CaptureFixture[str], choice: str, wanted: Sequence[Row], path: str
) -> None:
    loaded = load("400", "validate", clip_list=choice)  # type: ignore[arg-type]
    assert (rows(loaded), {*named_in(loaded).values()}) == ([*wanted], {choice})
    assert main(["-v", "400", "-s", "validate", "--dry-run", "--clip-list", choice]) == 0
    assert capsys.readouterr().out.startswith(f"Kinetics400 validate: {len(wanted)} clips wanted")
    assert asked(youtube) == [path]


def test_700_has_the_official_list_alone(youtube: LoopbackYouTube) -> None:
    youtube.world.annotate("700", "validate", OFFICIAL)
    youtube.world.annotate("700-2020", "validate", CVDF)
    loaded = load("700", "validate")
    assert (rows(loaded), loaded.warnings) == (OFFICIAL, ())
    assert asked(youtube) == ["/deepmind-media/Datasets/kinetics700.tar.gz"]


@pytest.mark.parametrize(
    ("version", "paths"),
    [
        ("400", ["400/annotations/train.csv", "400/annotations/val.csv", "400/annotations/test.csv"]),
        ("600", ["600/annotations/train.txt", "600/annotations/val.txt", "600/annotations/test.csv"]),
        ("700-2020", [f"700_2020/annotations/{split}.csv" for split in ("train", "val", "test")]),
    ],
)
def test_the_files_of_each_version_that_are_whole_are_read(
    youtube: LoopbackYouTube, version: str, paths: list[str]
) -> None:
    for subset, row in zip(("train", "validate", "test"), IN_BOTH, strict=True):
        youtube.world.annotate(version, subset, [row])  # type: ignore[arg-type]
    youtube.world.cvdf.clear()
    loaded = load(version, "all")
    assert {*named_in(loaded).values()} - {"official"} == {"both"}
    assert asked(youtube)[1:] == [f"/kinetics/{path}" for path in paths]
    load(version, "train")
    assert asked(youtube) == []


# -- what contradicts -------------------------------------------------------------------------------------------------


def test_where_both_label_a_clip_the_official_label_counts_and_the_others_are_counted(youtube: LoopbackYouTube) -> None:
    youtube.world.cvdf["400"] = CvdfList({"validate": [row._replace(label="zumba") for row in IN_BOTH]})
    loaded = load("400", "validate")
    assert rows(loaded) == OFFICIAL
    (warning,) = loaded.warnings
    assert warning.startswith("3 clips labelled by the two lists differently, and taken as the official one has it: ")
    assert "in_both_003 3-13 s ('tai chi', not 'zumba')" in warning


def test_a_clip_without_an_official_label_stays_without_one(youtube: LoopbackYouTube) -> None:
    youtube.world.annotate("700-2020", "test", IN_BOTH)
    youtube.world.cvdf["700-2020"] = CvdfList({"test": CVDF})
    loaded = load("700-2020", "test")
    assert rows(loaded) == [*[row._replace(label="") for row in IN_BOTH], *ONLY_CVDF]
    assert all("labelled by" not in warning for warning in loaded.warnings)


@pytest.mark.parametrize(("ours", "theirs"), [("tai chi", "tai_chi"), ("tai_chi", "tai chi")])
def test_a_label_that_is_spelt_otherwise_is_the_official_class(
    youtube: LoopbackYouTube, ours: str, theirs: str
) -> None:
    official = [row._replace(label=ours) for row in IN_BOTH]
    youtube.world.annotations["400"]["validate"] = official
    youtube.world.cvdf["400"] = CvdfList({"validate": [row._replace(label=theirs) for row in (*IN_BOTH, ONLY_CVDF[1])]})
    loaded = load("400", "validate")
    assert rows(loaded) == [*official, ONLY_CVDF[1]._replace(label=ours)]
    (warning,) = loaded.warnings
    assert f"'{theirs}' as '{ours}'" in warning


@pytest.mark.parametrize("subset", ["validate", "all"])
def test_a_clip_that_the_official_list_has_in_another_subset_is_left_out_and_counted(
    youtube: LoopbackYouTube, subset: str
) -> None:
    youtube.world.annotate("400", "train", ONLY_CVDF[:1])
    loaded = load("400", subset)  # type: ignore[arg-type]
    there = [clip.split for clip in loaded.clips() if clip.youtube_id == "only_cvdf_1"]
    assert there == (["train"] if subset == "all" else [])
    assert [*map(str, rows(loaded))].count(str(ONLY_CVDF[1])) == 1
    moved = [warning for warning in loaded.warnings if "another subset" in warning]
    assert len(moved) == 1
    assert "1 clip of CVDF's list left out" in moved[0]
    assert "only_cvdf_1 4-14 s (not val)" in moved[0]


def test_a_clip_that_both_lists_have_in_two_subsets_stays_in_both(youtube: LoopbackYouTube) -> None:
    youtube.world.annotate("400", "train", OFFICIAL[:1])
    youtube.world.cvdf["400"] = CvdfList({"train": OFFICIAL[:1], "validate": CVDF})
    loaded = load("400", "all")
    assert [clip.split for clip in loaded.clips() if clip.youtube_id == OFFICIAL[0].youtube_id] == ["train", "val"]
    assert not [warning for warning in loaded.warnings if "another subset" in warning]


# -- what is kept -----------------------------------------------------------------------------------------------------


def test_lists_are_kept_until_they_are_to_be_refreshed(youtube: LoopbackYouTube) -> None:
    load("400", "validate")
    assert kept(youtube) == ["clips-400-validate-official-cvdf.kept", "cvdf-400/val.csv", "kinetics400.tar.gz"]
    asked(youtube)
    youtube.world.annotations["400"]["validate"] = OFFICIAL[:1]
    youtube.world.cvdf["400"] = CvdfList({"validate": ONLY_CVDF[:1]})
    assert rows(load("400", "validate")) == [*OFFICIAL, *ONLY_CVDF]
    assert asked(youtube) == []
    assert rows(load("400", "validate", refresh=True)) == [OFFICIAL[0], ONLY_CVDF[0]]
    assert asked(youtube) == [ARCHIVE, VAL]


@pytest.mark.parametrize("alone", [False, True])
def test_a_kept_copy_serves_where_the_refreshed_one_does_not_come(youtube: LoopbackYouTube, alone: bool) -> None:
    choice = "cvdf" if alone else "all"
    before = load("400", "validate", clip_list=choice)  # type: ignore[arg-type]
    youtube.world.cvdf["400"] = CvdfList({"validate": ONLY_CVDF[:1]}, fault="missing")
    loaded = load("400", "validate", clip_list=choice, refresh=True)  # type: ignore[arg-type]
    assert rows(loaded) == rows(before)
    (warning,) = loaded.warnings
    assert re.search(r"CVDF's list of Kinetics-400 .*val\.csv \(HTTP 404 .*\): the copy in the cache serves", warning)


def test_lists_that_are_the_same_as_before_are_not_compared_again(
    youtube: LoopbackYouTube, monkeypatch: pytest.MonkeyPatch
) -> None:
    youtube.world.cvdf["400"] = CvdfList({"validate": [*CVDF[:2], CVDF[2]._replace(label="zumba"), *CVDF[3:]]})
    youtube.world.annotate("400", "train", ONLY_CVDF[:1])
    first = load("400", "validate")
    assert len(first.warnings) == 2
    with monkeypatch.context() as patch:
        patch.setattr(loading, "compare_lists", None)
        again = load("400", "validate")
    assert again.warnings == first.warnings
    assert again.frame.astype({"label": object}).equals(first.frame.astype({"label": object}))
    youtube.world.cvdf["400"] = CvdfList({"validate": ONLY_CVDF[:1]})
    assert rows(load("400", "validate", refresh=True)) == OFFICIAL


def test_lists_that_are_the_same_as_before_are_not_read_again(
    youtube: LoopbackYouTube, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = load("400", "all")
    monkeypatch.setattr(loading, "find_files", None)
    again = load("400", "all")
    assert again.warnings == first.warnings
    pd.testing.assert_frame_equal(again.frame, first.frame)
    with pytest.raises(TypeError):
        load("400", "all", clip_list="official")
    with pytest.raises(TypeError):
        load("400", "validate")


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "another file": lambda content: b"<!doctype html>" * 99,
    "half": lambda content: content[: len(content) // 2],
    "its end alone": lambda content: bytes(200) + content[200:],
}


@pytest.mark.parametrize("damage", [*DAMAGE, "a folder"])
def test_damaged_clips_that_were_kept_are_made_anew(youtube: LoopbackYouTube, damage: str) -> None:
    first = load("400", "validate")
    (path,) = (Path(youtube.env["XDG_CACHE_HOME"]) / "kinetics-downloader").glob("clips-*.kept")
    good = path.read_bytes()
    if damage == "a folder":
        path.unlink()
        path.mkdir()
    else:
        path.write_bytes(DAMAGE[damage](good))
        assert path.read_bytes() != good
    again = load("400", "validate")
    pd.testing.assert_frame_equal(again.frame, first.frame)
    assert again.warnings == first.warnings
    assert damage == "a folder" or path.read_bytes() == good


def test_a_byte_that_changed_in_clips_that_were_kept_makes_them_count_no_more(tmp_path: Path) -> None:
    frame = pd.DataFrame([row[1:] for row in CVDF], columns=KEY).astype({"time_start": float, "time_end": float})
    columns = {name: pd.Categorical(["tai chi"] * len(CVDF)) for name in CATEGORIES}
    clips, path = Annotations(frame.assign(**columns), ("a warning",)), tmp_path / "clips.kept"
    keep_clips(path, ["state"], clips)
    assert kept_clips(path, ["another state"]) is None
    kept = kept_clips(path, ["state"])
    assert kept
    assert kept.frame.equals(clips.frame.astype(kept.frame.dtypes.to_dict()))
    assert kept.warnings == clips.warnings
    content = path.read_bytes()
    for at in range(0, len(content), 5):
        path.write_bytes(content[:at] + bytes([content[at] ^ 4]) + content[at + 1 :])
        assert kept_clips(path, ["state"]) is None


def test_a_damaged_copy_is_fetched_anew(youtube: LoopbackYouTube) -> None:
    load("400", "validate")
    asked(youtube)
    copy = Path(youtube.env["XDG_CACHE_HOME"]) / "kinetics-downloader" / "cvdf-400" / "val.csv"
    copy.write_text("<html>Sign in</html>")
    assert rows(load("400", "validate")) == [*OFFICIAL, *ONLY_CVDF]
    assert asked(youtube) == [VAL]


# -- hosts that are away ----------------------------------------------------------------------------------------------

REQUESTS: dict[ListFault, tuple[int, int]] = {
    "missing": (1, 1),
    "busy": (4, 4),
    "silent": (1, 1),
    "reset": (4, 4),
    "html": (4, 1),
    "cut": (4, 4),
}
"""How often the archive and the table are asked for, with pauses of no time."""


@pytest.mark.parametrize("fault", REQUESTS)
@pytest.mark.parametrize("away", ["official", "cvdf"])
def test_where_one_list_does_not_come_the_other_serves(
    youtube: LoopbackYouTube, monkeypatch: pytest.MonkeyPatch, away: str, fault: ListFault
) -> None:
    monkeypatch.setattr(published, "BEGIN_S", 0.3 if fault == "silent" else 60.0)
    if away == "cvdf":
        youtube.world.cvdf["400"] = CvdfList({"validate": CVDF}, fault)
    else:
        youtube.world.archive_faults["400"] = fault
    loaded = load("400", "validate")
    assert rows(loaded) == (OFFICIAL if away == "cvdf" else CVDF)
    (warning,) = loaded.warnings
    title, host = ("CVDF's list", "s3.amazonaws.com") if away == "cvdf" else ("the official list", "storage.googleapis")
    assert warning.startswith(f"{title} of Kinetics-400 was not fetched from https://{host}")
    assert f"clips that only {title} names are left out" in warning
    assert Counter(asked(youtube)) == {
        ARCHIVE: REQUESTS[fault][0] if away == "official" else 1,
        VAL: REQUESTS[fault][1] if away == "cvdf" else 1,
    }
    assert kept(youtube) == (["kinetics400.tar.gz"] if away == "cvdf" else ["cvdf-400/val.csv"])


class Clock:
    """The time as a module sees it, which passes in its sleeps alone."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.mark.parametrize(("fault", "requests", "passed_s"), [("busy", 2, 1.0), ("cut", 4, 15.0)])
def test_retries_must_begin_within_the_bound_unless_an_answer_has_begun(
    youtube: LoopbackYouTube, monkeypatch: pytest.MonkeyPatch, fault: ListFault, requests: int, passed_s: float
) -> None:
    clock = Clock()
    monkeypatch.setattr(published, "time", clock)
    monkeypatch.setattr(published, "PAUSES_S", (1, 4, 10))
    youtube.world.cvdf["400"] = CvdfList({"validate": CVDF}, fault)
    assert rows(load("400", "validate")) == OFFICIAL
    assert (asked(youtube).count(VAL), clock.now) == (requests, passed_s)
    assert passed_s <= published.BEGIN_S or fault == "cut"


def test_where_no_list_comes_each_is_asked_for_patiently_and_the_error_names_both(
    youtube: LoopbackYouTube, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(published, "time", clock)
    monkeypatch.setattr(published, "PAUSES_S", (1, 4, 10))
    youtube.world.archive_faults["400"] = "busy"
    youtube.world.cvdf["400"] = CvdfList(fault="busy")
    with pytest.raises(Fatal, match=rf"{ARCHIVE}: HTTP 503 .*{VAL}: HTTP 503 .*--annotations PATH"):
        load("400", "validate")
    assert Counter(asked(youtube)) == {ARCHIVE: 2 + 4, VAL: 2 + 4}


def test_a_list_that_comes_after_a_while_is_enough(youtube: LoopbackYouTube, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody answers at first. Then one is there, and the other one is not waited for again for long."""
    clock, world = Clock(), youtube.world
    monkeypatch.setattr(published, "time", clock)
    monkeypatch.setattr(published, "PAUSES_S", (1, 4, 10))
    world.archive_faults["400"] = "busy"
    world.cvdf["400"] = CvdfList(fault="busy")

    def notify(text: str) -> None:
        if "again in 10 seconds" in text:
            world.archive_faults.clear()

    loaded = load("400", "validate", notify=notify)
    assert rows(loaded) == OFFICIAL
    assert "CVDF's list" in loaded.warnings[0]
    assert Counter(asked(youtube)) == {ARCHIVE: 2 + 4, VAL: 2 + 2}


def test_a_list_of_another_form_is_named_and_not_fetched_to_its_end(youtube: LoopbackYouTube) -> None:
    text = "".join(f"/data/train/tai_chi/in_both_{n % 1000:03}.mp4 {n % 600}\n" for n in range(30_000))
    youtube.world.annotate("600", "train", OFFICIAL)
    youtube.world.cvdf["600"] = CvdfList(text=text)
    youtube.world.bandwidth_bit_s = 40e6
    loaded = load("600", "train")
    assert rows(loaded) == OFFICIAL
    (warning,) = loaded.warnings
    assert "600/annotations/train.txt (what came is not a list of clips: train.txt lacks the columns" in warning
    (sent,) = [request.bytes_sent for request in youtube.requests if request.kind == "list"]
    assert sent < len(text) / 2
    with pytest.raises(Fatal, match=r"train\.txt lacks the columns .*--annotations PATH"):
        load("600", "train", clip_list="cvdf")
    assert kept(youtube) == ["kinetics600.tar.gz"]


def test_log_lines_of_clips_that_only_the_missing_list_names_stay(youtube: LoopbackYouTube, tmp_path: Path) -> None:
    layout, label, (youtube_id, start, end) = Layout(tmp_path, "400"), ONLY_CVDF[0].label, ONLY_CVDF[0][1:]
    (tmp_path / "Kinetics400").mkdir()
    gone = Outcome(Clip(youtube_id, start, end, label, "val"), "failed", Category.PRIVATE, "This video is private")
    with Ledger(layout, "validate") as ledger:
        ledger.record(gone)
    before = layout.errors_log("validate").read_text()
    youtube.world.cvdf["400"] = CvdfList(fault="missing")
    ledger = Ledger(layout, "validate")
    plan = make_plan(load("400", "validate"), layout, {"val": ledger}, "smart", "due", source="youtube", engines="")
    assert plan.todo == len(OFFICIAL)
    ledger.compact()
    assert layout.errors_log("validate").read_text() == before
