"""Whatever goes wrong with one clip costs that clip only, is written down as what it is, and ends.

A table of faults, one row each, met by the real program: side by side, each on a video of its own between healthy ones;
but what sounds as if YouTube refused everybody makes everybody wait, so each of those has a run of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any, Literal

import av
import pytest
from _pytest.mark import ParameterSet

from kinetics.humanize import one_line
from kinetics.records import Category
from kinetics.youtube.fallback import MAX_CALLS
from tests.support.sandbox import Run, Sandbox
from tests.youtube import spoils
from tests.youtube.picture import read_counter, upright
from tests.youtube.samples import template
from tests.youtube.videos import Spoil, Video
from tests.youtube.world import (
    AS_18,
    FAILURES,
    PLAYER_FAULTS,
    MediaFault,
    MediaFaultKind,
    PlayerFault,
    Row,
    Scenario,
    Shape,
)

pytestmark = pytest.mark.timeout(1800)  # the first of them waits for the runs that all share
TIMEOUT_S = 300.0
"""The program's own, for one clip."""
SHORT_TIMEOUT_S = 50.0
"""For what would never end. A wait on a socket takes 20 s: a clip can get over one of them, but hardly over two."""
WORKERS = {"slow": 12, "failing": 4, "passing": 4, "gone": 2}
"""Worker processes of the runs with many faults, at most: each costs the processor, so only waits get many."""
BESIDES = 10
"""Healthy videos that stand between the faulty ones, beside one for each worker at the beginning."""
RUNS_AT_ONCE = 4
"""They mostly wait."""

Often = Literal["once", "always", "once or always"]
GOT = None
"""In place of a category: the clip is there in the end."""
THROTTLED, NETWORK, SERVER_ERROR = Category.THROTTLED, Category.NETWORK, Category.SERVER_ERROR
ENGINE_ERROR, MEDIA_ERROR, TIMEOUT = Category.ENGINE_ERROR, Category.MEDIA_ERROR, Category.TIMEOUT
LIVE, PAST_END = Category.LIVE, Category.PAST_END
End = Category | None

VIDEO = template(20)
SHAPES: tuple[Shape, ...] = ("dash", "progressive")
SHAPE_OF: Mapping[int, Shape] = {134: "dash", 140: "dash", 18: "progressive", 243: "webm"}
MP4, WEBM = (134, 140, 18), (243,)


@dataclass(frozen=True)
class Fault:
    """What is wrong with a video, how its clip ends, and what a person is told.

    `alone` says how it ends where only that engine is asked, if otherwise. What is not `ordinary` is left to `-m soak`:
    the ordinary run takes each kind of fault, but not in each shape of video.
    """

    name: str
    scenario: Scenario
    category: End
    words: str = ""
    alone: Mapping[str, End] = field(default_factory=dict)
    section: tuple[int, int] = (5, 7)
    ordinary: bool = True

    def ends(self, engines: str) -> End:
        return self.alone.get(engines, self.category)


EACH_KIND = ("403", "html", "no streams", "503", "cut body", "stalled")
"""Player faults of each kind; what each engine makes of every one, tests/e2e/test_engines.py asks the engines."""


def player(
    name: str, often: Often, category: End, words: str = "", alone: Mapping[str, End] | None = None
) -> list[Fault]:
    """Calls of the player that go wrong."""
    return [
        Fault(f"player: {name}, {how_often}", scenario, category, words, alone or {}, ordinary=name in EACH_KIND)
        for how_often, times in counts(often)
        for fault in [replace(PLAYER_SAYS.get(name) or PLAYER_FAULTS[name], times=times)]
        for scenario in [Scenario(VIDEO, clients=AS_18, player_faults=(fault,))]
    ]


def media(
    kind: MediaFaultKind,
    often: Often,
    category: End,
    words: str = "",
    alone: Mapping[str, End] | None = None,
    **how: Any,
) -> list[Fault]:
    """Requests for media that go wrong, of a video in each shape; where the clip comes, Android has the video, too."""
    clients = AS_18 if category is GOT else {}
    details = " ".join(f"{name} {value}" for name, value in how.items())
    name = f"media: {kind} {details}"
    return [
        Fault(f"{shape} {name}, {how_often}", scenario, category, words, alone or {}, ordinary=place in (0, 3))
        for place, (shape, (how_often, times)) in enumerate(product(SHAPES, counts(often)))
        for scenario in [Scenario(VIDEO, (shape,), clients, media_faults=(MediaFault(kind, times=times, **how),))]
    ]


def counts(often: Often) -> list[tuple[str, int | None]]:
    return [(how_often, {"once": 1, "always": None}[how_often]) for how_often in often.split(" or ")]


def files(
    name: str, itags: tuple[int, ...], spoil: Spoil, category: End, words: str = "", *, at: tuple[int, int] = (5, 7)
) -> list[Fault]:
    """Files that arrive well but are not what they should be: the picture's, the sound's, or both in one."""
    return [
        Fault(f"{shape} file {itag}: {name}", scenario, category, words, section=at, ordinary=itag == itags[0])
        for itag, shape in SHAPE_OF.items()
        for scenario in [Scenario(template(20, (shape,)), (shape,), spoilt={itag: spoil})]
        if itag in itags
    ]


def odd(name: str, video: Video, section: tuple[int, int], category: End, words: str = "") -> list[Fault]:
    """Videos that are as they are."""
    shapes = SHAPES if video.codec == "h264" else ("webm",)
    return [
        Fault(f"{shape}: {name}", Scenario(video, (shape,)), category, words, section=section, ordinary=not place)
        for place, shape in enumerate(shapes)
    ]


# -- the table --------------------------------------------------------------------------------------------------------

PLAYER_SAYS = {
    "bot check": PlayerFault("failure", failure=FAILURES["bot"]),
    "bot check with a straight apostrophe": PlayerFault("failure", failure=FAILURES["bot, straight apostrophe"]),
    "try again later, as reason": PlayerFault("failure", failure=FAILURES["later"]),
    "try again later, as subreason": PlayerFault("failure", failure=FAILURES["later, as a subreason"]),
}
ONLY_ONE_ASKS = {"pytubefix": ENGINE_ERROR}
"""yt-dlp alone asks as a second client."""
ONLY_ONE_TO_ASK = {"pytubefix": MEDIA_ERROR}


def to_local_file(data: bytes) -> bytes:
    return spoils.playlist("file:///etc/passwd")


def to_local_video(data: bytes) -> bytes:
    """Whoever follows this playlist has a clip, though not from YouTube."""
    return spoils.playlist(f"file://{VIDEO.progressive.path}")


SLOW = [
    *media("drip", "once or always", TIMEOUT, "not finished after 50 s", after=20_000),
    *media("stall", "always", TIMEOUT, "not finished after 50 s", after=20_000),
    *media("stall", "once", GOT, after=20_000),
    *player("stalled", "always", TIMEOUT, "YouTube did not answer in time"),
    *player("stalled", "once", GOT),
]
FAILING = [
    *player("403", "always", ENGINE_ERROR, "HTTP Error 403: Forbidden"),
    *player("404", "always", ENGINE_ERROR, "HTTP Error 404: Not Found"),
    *player("html", "always", ENGINE_ERROR, "YouTube's reply is not JSON"),
    *player("cut JSON", "always", ENGINE_ERROR, "YouTube's reply is not JSON"),
    *player("empty reply", "always", ENGINE_ERROR, "YouTube's reply is not JSON"),
    *player("no streams", "always", ENGINE_ERROR, "no streams in YouTube's reply"),
    *player("SABR only", "always", ENGINE_ERROR, "no downloadable stream in YouTube's reply"),
    *player("500", "always", SERVER_ERROR, "HTTP Error 500"),
    *player("503", "always", SERVER_ERROR, "HTTP Error 503"),
    *player("cut body", "always", SERVER_ERROR, "YouTube broke the connection"),
    *media("status", "always", MEDIA_ERROR, "HTTP 403 from the media host", status=403),
    *media("status", "always", MEDIA_ERROR, "HTTP 404 from the media host", status=404),
    *media("status", "always", MEDIA_ERROR, "HTTP 410 from the media host", status=410),
    *media("status", "always", MEDIA_ERROR, "HTTP 416 from the media host", status=416),
    *media("status", "always", SERVER_ERROR, "HTTP 503 from the media host", status=503),
    *media("html", "always", MEDIA_ERROR, "was sent a whole document (text/html)"),
    *media("empty", "always", MEDIA_ERROR, "was sent a whole document (video/mp4)"),
    *media("whole_file", "always", MEDIA_ERROR, "was sent a whole document (video/mp4)"),
    *media("wrong_range", "always", MEDIA_ERROR, "was sent 'bytes 1000-"),
    *media("cut", "always", MEDIA_ERROR, "the connection broke at byte 30000", at=30_000),
    *media("cut_unsaid", "always", MEDIA_ERROR, "the connection broke at byte 30000", at=30_000),
    *media("reset", "always", MEDIA_ERROR, "the connection broke at byte 30000", at=30_000),
    *media("redirect", "always", MEDIA_ERROR, "refused to follow", location="https://example.org{path}"),
    *media("redirect", "always", MEDIA_ERROR, "refused to follow", location="https://127.0.0.1{path}"),
    *media("redirect", "always", MEDIA_ERROR, "refused to follow", location="http://r2---sn-y.googlevideo.com"),
    *media("redirect", "always", MEDIA_ERROR, "refused to follow", location="file:///etc/passwd"),
    *media("redirect", "always", MEDIA_ERROR, "redirected more than 4 times", location="{path}"),
    *files("half of it", (134, 140), spoils.first_half, MEDIA_ERROR, "points outside the file", at=(14, 16)),
    *files("half of it", (18,), spoils.first_half, MEDIA_ERROR, "no mp4 file, or it is cut off"),
    *files("noise", MP4, spoils.noise, MEDIA_ERROR, "no mp4 file"),
    *files("noise", WEBM, spoils.noise, MEDIA_ERROR, "the media cannot be read"),
    *files("zeros", MP4, spoils.zeros, MEDIA_ERROR, "no mp4 file"),
    *files("zeros", WEBM, spoils.zeros, MEDIA_ERROR, "the media cannot be read"),
    *files("a playlist that names a local file", MP4, to_local_file, MEDIA_ERROR, "no mp4 file"),
    *files("a playlist that names a local file", WEBM, to_local_file, MEDIA_ERROR, "the media cannot be read"),
    *files("a playlist that names a local video", MP4, to_local_video, MEDIA_ERROR, "no mp4 file"),
    *files("a playlist that names a local video", WEBM, to_local_video, MEDIA_ERROR, "the media cannot be read"),
    *files("noise for fragments", (134,), spoils.noise_behind_the_index, MEDIA_ERROR, "no frame of the section"),
    *files("noise for fragments", (140,), spoils.noise_behind_the_index, MEDIA_ERROR, "the sound breaks off"),
    *files("noise for samples", (134, 18), spoils.noise_for_samples, MEDIA_ERROR, "no frame of the section"),
    *files("noise for samples", (140,), spoils.noise_for_samples, MEDIA_ERROR, "the media cannot be read"),
    *files("a header that claims 50 MB", MP4, spoils.header_that_claims(50 << 20), MEDIA_ERROR, "it is cut off"),
    *files("a header of 70 MB", (134,), spoils.long_header(70 << 20), MEDIA_ERROR, "the header claims 73,400,320"),
    *files("an index outside it", (134, 140), spoils.index_outside_the_file, MEDIA_ERROR, "points outside the file"),
]
PASSING = [
    *player("403", "once", GOT, alone=ONLY_ONE_ASKS),
    *player("404", "once", GOT, alone=ONLY_ONE_ASKS),
    *player("html", "once", GOT, alone=ONLY_ONE_ASKS),
    *player("cut JSON", "once", GOT, alone=ONLY_ONE_ASKS),
    *player("empty reply", "once", GOT, alone=ONLY_ONE_ASKS),
    *player("no streams", "once", GOT, alone=ONLY_ONE_ASKS),
    *player("SABR only", "once", GOT, alone=ONLY_ONE_ASKS),
    *player("500", "once", GOT),
    *player("503", "once", GOT),
    *player("cut body", "once", GOT),
    *media("status", "once", GOT, status=403, alone=ONLY_ONE_TO_ASK),
    *media("status", "once", GOT, status=404, alone=ONLY_ONE_TO_ASK),
    *media("status", "once", GOT, status=410, alone=ONLY_ONE_TO_ASK),
    *media("status", "once", GOT, status=416, alone=ONLY_ONE_TO_ASK),
    *media("html", "once", GOT, alone=ONLY_ONE_TO_ASK),
    *media("empty", "once", GOT, alone=ONLY_ONE_TO_ASK),
    *media("whole_file", "once", GOT, alone=ONLY_ONE_TO_ASK),
    *media("wrong_range", "once", GOT, alone=ONLY_ONE_TO_ASK),
    *media("redirect", "once", GOT, location="https://example.org{path}", alone=ONLY_ONE_TO_ASK),
    *media("redirect", "once", GOT, location="https://127.0.0.1{path}", alone=ONLY_ONE_TO_ASK),
    *media("redirect", "once", GOT, location="http://r2---sn-y.googlevideo.com", alone=ONLY_ONE_TO_ASK),
    *media("redirect", "once", GOT, location="file:///etc/passwd", alone=ONLY_ONE_TO_ASK),
    *media("status", "once", GOT, status=503),
    *media("hang_up", "once", GOT),
    *media("unsaid", "once or always", GOT),
    *media("cut", "once or always", GOT, after=60_000),
    *media("cut_unsaid", "once or always", GOT, after=60_000),
    *media("reset", "once or always", GOT, after=60_000),
    *media("redirect", "once or always", GOT, location="https://r2---sn-y.googlevideo.com{path}"),
    *files("half of it, with the section", (134, 140), spoils.first_half, GOT, at=(1, 3)),
    *files("a header of 50 MB", (134,), spoils.long_header(50 << 20), GOT),
    *odd("the end lies past the video's", VIDEO, (18, 28), GOT),
    *odd("no sound", Video(6, sound=False), (2, 4), GOT),
    *odd("variable frame rate", Video(6, vfr=True), (2, 4), GOT),
    *odd("rotated", Video(6, rotation=90), (2, 4), GOT),
    *odd("VP9 only", Video(6, codec="vp9"), (2, 4), GOT),
]
GONE = [
    *odd("the start lies at the video's end", VIDEO, (20, 30), PAST_END, "20.0 s long, the clip starts at 20 s"),
    *odd("the start lies past the video's end", VIDEO, (3000, 3010), PAST_END, "the clip starts at 3000 s"),
    Fault("a live stream", Scenario(failure=FAILURES["live"]), LIVE, "live stream"),
    Fault("a premiere", Scenario(failure=FAILURES["premiere"]), LIVE, "Premieres in 3 hours"),
]
STOPPING = [
    *player("429", "once", GOT),
    *player("429", "always", THROTTLED, "HTTP Error 429: Too Many Requests"),
    *player("429 with Retry-After", "once", GOT),
    *player("429 with Retry-After", "always", THROTTLED, "HTTP Error 429: Too Many Requests"),
    *player("another video's reply", "once", GOT),
    *player("another video's reply", "always", THROTTLED, "likely to be blocking this address"),
    *player("bot check", "once", GOT),
    *player("bot check", "always", THROTTLED, FAILURES["bot"].words),
    *player("bot check with a straight apostrophe", "once", GOT),
    *player("bot check with a straight apostrophe", "always", THROTTLED, "confirm you're not a bot"),
    *player("try again later, as reason", "once", GOT),
    *player("try again later, as reason", "always", THROTTLED, "try again later."),
    *player("try again later, as subreason", "once", GOT),
    *player("try again later, as subreason", "always", THROTTLED, FAILURES["later, as a subreason"].words),
    *media("status", "once", GOT, status=429),
    *media("status", "always", THROTTLED, "HTTP 429 from the media host", status=429),
    *media("hang_up", "always", NETWORK, "no answer from YouTube's media host"),
]

# -- the runs ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Group:
    """Runs that are made at the same time, by name, and which engines they ask."""

    engines: str
    runs: Mapping[str, Sequence[Fault]]


BOTH = "pytubefix,yt-dlp"
SIDE_BY_SIDE = {"slow": SLOW, "failing": FAILING, "passing": PASSING, "gone": GONE}
MORE_OF_A_KIND = ("status 404", "status 410", "location https://127", "location http://", ": zeros", "file 140: noise")
"""In the names of faults beside which the ordinary run has another one of their kind."""
ORDINARY_ONES = {
    name: [fault for fault in faults if fault.ordinary and not any(words in fault.name for words in MORE_OF_A_KIND)]
    for name, faults in SIDE_BY_SIDE.items()
}
REFUSALS = {fault.name: [fault] for fault in STOPPING}
A_FEW = ("player: 429, once", "player: try again later, as subreason, once", "player: bot check, always")
ORDINARY = "as a rule"
GROUPS = {
    ORDINARY: Group(BOTH, ORDINARY_ONES | {name: REFUSALS[name] for name in A_FEW}),
    "every fault": Group(BOTH, SIDE_BY_SIDE | REFUSALS),
    "yt-dlp alone": Group("yt-dlp", SIDE_BY_SIDE | REFUSALS),
    "pytubefix alone": Group("pytubefix", SIDE_BY_SIDE | REFUSALS),
}
ALL_FAULTS = [name for name, group in GROUPS.items() if SIDE_BY_SIDE.keys() <= group.runs.keys()]


@dataclass(frozen=True)
class Ended:
    """A run that has ended, and the folder as it left it."""

    sandbox: Sandbox
    run: Run

    def attempts(self, row: Row) -> list[dict[str, str]]:
        """What the attempts table says of how the clip ended."""
        rows = self.sandbox.attempts()
        return [one for one in rows if one["youtube_id"] == row.youtube_id and one["status"] != "postponed"]

    def missing(self, row: Row) -> list[list[str]]:
        """What the error log says of the clip."""
        lines = self.sandbox.errors_log.read_text().splitlines()
        return [line.split("\t") for line in lines if line.startswith(row.youtube_id)]


def row_of(number: int, fault: Fault) -> Row:
    return Row("tai chi", f"fault-{number:05d}", *fault.section)


def timeout_s(run: str) -> float:
    return SHORT_TIMEOUT_S if run == "slow" else TIMEOUT_S


def meet(run: str, faults: Sequence[Fault], engines: str, folder: Path) -> Ended:
    """Let the program meet these faults, among healthy videos: many failures in a row would mean something else."""
    workers = 2 if len(faults) == 1 else min(WORKERS[run], len(faults) + 2)
    scenarios = {row_of(number, fault).youtube_id: fault.scenario for number, fault in enumerate(faults)}
    rows = [row_of(number, fault) for number, fault in enumerate(faults)]
    healthy = [Row("tai chi", f"healthy-{number:03d}", 5, 7) for number in range(workers + BESIDES)]
    for place, row in enumerate(healthy[workers:]):
        rows.insert(1 + place * (1 + len(faults) // BESIDES), row)
    scenarios |= {row.youtube_id: Scenario(VIDEO) for row in healthy}
    sandbox = Sandbox(folder, [*healthy[:workers], *rows], scenarios)
    sandbox.world.latency_s = 0.2 if len(faults) == 1 else 0.0  # so that healthy ones still come after its refusals
    options = ("-w", str(workers), "--timeout", f"{timeout_s(run):g}", "--engine", engines)
    return Ended(sandbox, sandbox.run(*options, timeout=1500))


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Ended]:
    """Gives the run of that name of a group; the whole group is run when one of them is first asked for."""

    @cache
    def of(name: str) -> dict[str, Ended]:
        group = GROUPS[name]
        with ThreadPoolExecutor(RUNS_AT_ONCE) as pool:
            made = [
                pool.submit(meet, run, faults, group.engines, tmp_path_factory.mktemp("run"))
                for run, faults in group.runs.items()
            ]
            return {run: one.result() for run, one in zip(group.runs, made, strict=True)}

    return lambda group, run: of(group)[run]


def each(group: str, *arguments: Any, name: str) -> ParameterSet:
    marks = [] if group == ORDINARY else [pytest.mark.soak]
    return pytest.param(group, *arguments, id=f"{group}, {name}", marks=marks)


RUNS = [each(group, run, name=run) for group, made in GROUPS.items() for run in made.runs]
FAULTS = [
    each(group, run, number, name=f"{fault.name} -> {fault.ends(made.engines) or 'got'}")
    for group, made in GROUPS.items()
    for run, faults in made.runs.items()
    for number, fault in enumerate(faults)
]


@pytest.mark.parametrize(("group", "run", "number"), FAULTS)
def test_a_fault_costs_its_clip_one_try_and_is_written_down_once_as_what_it_is(
    ended: Callable[[str, str], Ended], group: str, run: str, number: int
) -> None:
    fault, engines, end = GROUPS[group].runs[run][number], GROUPS[group].engines, ended(group, run)
    row, category = row_of(number, fault), fault.ends(engines)
    [attempt] = end.attempts(row)
    if category is GOT:
        assert (attempt["status"], attempt["category"], attempt["reason"]) == ("done", "", "")
        assert end.missing(row) == []
        assert_plays(end.sandbox.path(row), fault.scenario.video, end.sandbox.expected(row))
    else:
        [[*_, logged, reason, _]] = end.missing(row)
        assert (attempt["status"], attempt["category"], logged) == ("failed", category, category), reason
        assert reason == attempt["reason"] == one_line(reason) != ""
        assert fault.words in reason or engines != BOTH
        assert int(attempt["bytes_received"]) <= MAX_CALLS * VIDEO.progressive.size, "more than there is"
    assert sum(float(attempt[spent] or 0) for spent in ("resolve_s", "download_s", "cut_s")) <= timeout_s(run)


def assert_plays(path: Path, video: Video | None, numbers: list[int]) -> None:
    """It shows exactly these frames, upright, and has sound if the video has."""
    with av.open(str(path)) as clip:
        shown = [upright(frame.to_ndarray(format="gray"), frame.rotation) for frame in clip.decode(video=0)]
        assert [read_counter(picture) for picture in shown] == numbers != []
        assert bool(clip.streams.audio) is (video is not None and video.sound)


@pytest.mark.parametrize(("group", "run"), RUNS)
def test_the_exit_code_says_whether_a_re_run_may_help_and_nothing_but_clips_and_tables_is_left(
    ended: Callable[[str, str], Ended], group: str, run: str
) -> None:
    end, made = ended(group, run), GROUPS[group]
    ends = {row_of(number, fault): fault.ends(made.engines) for number, fault in enumerate(made.runs[run])}
    assert end.run.code == any(category and not category.gone for category in ends.values()), end.run.err
    got = {end.sandbox.path(row) for row in end.sandbox.rows if ends.get(row, GOT) is GOT}
    left = {path for path in end.sandbox.folder.rglob("*") if path.is_file() and path.suffix != ".lock"}
    tables = {end.sandbox.stats, end.sandbox.errors_log, *end.sandbox.folder.glob("*_thumbnails.csv")}
    tables |= {*end.sandbox.folder.glob("*_videos.parquet"), *end.sandbox.folder.glob("*_status.json")}
    assert left == {*got, end.sandbox.csv, *tables}


@pytest.mark.parametrize(("group", "run"), RUNS)
def test_the_healthy_ones_among_them_all_arrive(ended: Callable[[str, str], Ended], group: str, run: str) -> None:
    end = ended(group, run)
    healthy = [row for row in end.sandbox.rows if row.youtube_id.startswith("healthy")]
    assert healthy
    assert [row for row in healthy if [one["status"] for one in end.attempts(row)] != ["done"]] == []


@pytest.mark.parametrize(("group", "run"), [each(group, run, name=run) for group in ALL_FAULTS for run in SIDE_BY_SIDE])
def test_what_is_wrong_with_one_video_makes_nobody_wait(
    ended: Callable[[str, str], Ended], group: str, run: str
) -> None:
    end = ended(group, run)
    assert [one for one in end.sandbox.attempts() if one["status"] == "postponed"] == []
    assert "all workers are paused" not in end.run.err


@pytest.mark.parametrize(("group", "run"), RUNS)
def test_no_fault_makes_the_program_ask_anyone_but_youtube(
    ended: Callable[[str, str], Ended], group: str, run: str
) -> None:
    assert ended(group, run).run.kinds()["refused"] == 0


@pytest.mark.parametrize(("group", "run"), RUNS)
def test_the_table_counts_as_many_player_calls_as_youtube_saw(
    ended: Callable[[str, str], Ended], group: str, run: str
) -> None:
    end = ended(group, run)
    attempts = end.sandbox.attempts()
    lost = sum(one["category"] in ("timeout", "lost_worker") for one in attempts)
    assert abs(sum(int(one["calls"]) for one in attempts) - end.run.player_calls) <= lost
