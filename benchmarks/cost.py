"""Processor time per clip in a worker, beyond the engine's own, and the phases in which a clip's time is spent."""

from __future__ import annotations

import linecache
import re
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from itertools import chain
from pathlib import Path
from types import FrameType

from benchmarks.harness import in_worker, quartiles, youtube_process
from benchmarks.report import Settings, Table, log, main, spread, verdict
from benchmarks.workload import clips
from kinetics.records import Clip
from kinetics.storage.layout import Layout
from kinetics.youtube.download_job import DownloadClip
from kinetics.youtube.engines import open_engines
from kinetics.youtube.fallback import Resolver
from tests.support.download_job import unheard
from tests.youtube.world import Row

ENGINES = ("pytubefix", "yt-dlp")
MAX_BEYOND_ENGINE_S = {"exact": 0.75, "keyframe": 0.04, "smart": 0.2}
"""Accepted processor seconds per clip beyond the engine's."""
WARM_UP = 8
"""Clips that are not counted, since imports, connections and allocations happen only once."""
SAMPLE_S = 0.0005
"""Seconds between two looks at the worker's stack; shorter ones slow it down."""
OPAQUE = ("player call", "probe")
"""Phases of which no part counts as another phase, except connecting."""
PHASES = (
    (r"(connection|client)\.\w+\.(connect|_new_conn)$|\.do_handshake$|\.create_connection$", "connecting"),
    (r"kinetics\.youtube\.engines\.resolve$", "player call"),
    (r"kinetics\.media\.cut\.probe$", "probe"),
    (r"kinetics\.media\.fragment_index\.", "header"),
    (r"kinetics\.net\.|threading\.", "section's bytes"),  # or waiting for the thread that fetches the sound
    (r"\.decode\(", "decode"),
    (r"\.encode\(", "encode"),
    (r"\.mux\(|container\.close\(", "mux"),
    (r"kinetics\.storage\.atomic\.", "fsync and move"),
    (r"kinetics\.youtube\.download_job\.", "the rest"),
)
"""Patterns of a phase: functions, or source lines that wait for C code. Everything called from there belongs to it."""


def measure(settings: Settings) -> Iterator[Table]:
    """Yield a table of processor time, and one of the phases."""
    count, rounds = settings.clips_or(70, quick=20), settings.rounds_or(3)
    rows, scenarios = clips(count + WARM_UP)
    spent: dict[str, list[list[float]]] = {cut: [] for cut in ("", *settings.cuts)}
    with youtube_process() as youtube, tempfile.TemporaryDirectory() as scratch:
        youtube.serve(scenarios, latency_s=0, connection_bit_s=None)
        for number in range(rounds):
            for cut, so_far in spent.items():
                log(f"processor time, round {number + 1}: {cut or 'the engine alone'}")
                so_far.append(in_worker(youtube.env(), cpu_of_clips, rows, cut, Path(scratch, f"{number}{cut}")))
        yield _costs(spent, count)
        rows, scenarios = clips(settings.clips_or(24, quick=8))
        youtube.serve(scenarios)
        profiles = {}
        for cut in settings.cuts:
            log(f"where the time goes: {cut}")
            profiles[cut] = in_worker(youtube.env(), phases_of_clips, rows, cut, Path(scratch, f"profile {cut}"))
        yield _profile(profiles)


def cpu_of_clips(rows: Sequence[Row], cut: str, folder: Path) -> list[float]:
    """Fetch clips as a worker does, or without a cut only resolve them; return the processor seconds of each."""
    work, spent = _fetcher(cut, folder) if cut else _resolver(), []
    for row in rows:
        began = time.process_time()
        work(row)
        spent.append(time.process_time() - began)
    return spent[WARM_UP:]


def phases_of_clips(rows: Sequence[Row], cut: str, folder: Path) -> list[Counter[str]]:
    """Fetch clips; return the seconds of each by phase."""
    work, found = _fetcher(cut, folder), []
    for row in rows:
        with _phases() as spent:
            work(row)
        found.append(spent)
    return found


def _resolver() -> Callable[[Row], object]:
    resolver = Resolver(open_engines(ENGINES))
    return lambda row: resolver.search(row.youtube_id, 360).next_source()


def _fetcher(cut: str, folder: Path) -> Callable[[Row], None]:
    job = DownloadClip(Layout(folder, "700"), cut, ENGINES, 360)  # type: ignore[arg-type]  # as on the command line
    work = job.open()

    def fetch(row: Row) -> None:
        clip = Clip(row.youtube_id, row.time_start, row.time_end, row.label, "val")
        outcome = work(clip, unheard)
        assert outcome.status == "done", outcome

    return fetch


@contextmanager
def _phases() -> Iterator[Counter[str]]:
    """Count the seconds of this thread by phase. Sampling from another thread slows it less than tracing calls."""
    spent: Counter[str] = Counter()
    watched, done = threading.get_ident(), threading.Event()

    def watch() -> None:
        last = time.perf_counter()
        while not done.wait(SAMPLE_S):
            phase = _phase(sys._current_frames()[watched])
            now = time.perf_counter()
            spent[phase], last = spent[phase] + now - last, now  # type: ignore[assignment]  # a Counter of seconds

    watcher = threading.Thread(target=watch)
    switch_s = sys.getswitchinterval()
    sys.setswitchinterval(SAMPLE_S)
    watcher.start()
    try:
        yield spent
    finally:
        done.set()
        watcher.join()
        sys.setswitchinterval(switch_s)


def _phase(frame: FrameType | None) -> str:
    """Return the phase of the innermost call that belongs to one."""
    names = [linecache.getline(frame.f_code.co_filename, frame.f_lineno or 0)] if frame else []
    while frame:
        names.append(f"{frame.f_globals.get('__name__')}.{frame.f_code.co_qualname}")
        frame = frame.f_back
    phase = "the rest"
    for inner in filter(None, map(_phase_named, reversed(names))):
        if (phase not in OPAQUE or inner == "connecting") and (phase, inner) != ("header", "section's bytes"):
            phase = inner
    return phase


@cache
def _phase_named(name: str) -> str:
    return next((phase for pattern, phase in PHASES if re.search(pattern, name)), "")


def _costs(spent: dict[str, list[list[float]]], count: int) -> Table:
    engine = [statistics.median(ones) for ones in spent[""]]
    lines = [["the engine alone", spread(engine, 3), quartiles([*chain(*spent[""])], 3), "", "", ""]]
    for cut, rounds in spent.items():
        if cut:
            medians = [statistics.median(ones) for ones in rounds]
            beyond = [mine - alone for mine, alone in zip(medians, engine, strict=True)]
            wanted = MAX_BEYOND_ENGINE_S[cut]
            holds = verdict(statistics.median(beyond) <= wanted)
            each = quartiles([*chain(*rounds)], 3)
            lines.append([cut, spread(medians, 3), each, spread(beyond, 3), f"<= {wanted:g}", holds])
    return Table(
        f"Processor seconds per clip in a worker: {len(spent[''])} rounds of {count} clips, DASH and progressive",
        ["cut", "median of a round", "all clips, quartiles", "beyond the engine", "wanted", ""],
        lines,
        ["User and system time of a worker process with all of its threads, after a warm-up."],
    )


def _profile(profiles: dict[str, list[Counter[str]]]) -> Table:
    names = list(dict.fromkeys(phase for _, phase in PHASES))
    lines = []
    for name in names:
        cells = [
            cell
            for clips in profiles.values()
            for cell in (
                f"{1000 * statistics.mean(one[name] for one in clips[1:]):.1f}",
                f"{1000 * clips[0][name]:.1f}",
            )
        ]
        lines.append([name, *cells])
    totals = [
        f"{1000 * seconds:.1f}"
        for clips in profiles.values()
        for seconds in (statistics.mean(one.total() for one in clips[1:]), clips[0].total())
    ]
    return Table(
        "Milliseconds per clip by phase: one worker, 30 ms, 8 Mbit/s a connection",
        ["phase", *(f"{cut}{first}" for cut in profiles for first in ("", ", its first"))],
        [*lines, ["all", *totals]],
        [
            "The mean of all clips except a worker's first, and the first, which imports the engine and connects. "
            "Waiting for the sound that is fetched beside the picture counts as the section's bytes."
        ],
    )


if __name__ == "__main__":
    main(["cost"])
