"""Engines in processes of their own, as workers have them: what they make of videos."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from textwrap import dedent
from typing import Any

from tests.support.commands import ROOT


@dataclass(frozen=True)
class Answer:
    """What an engine made of a video, in its own process."""

    kind: str
    category: str = ""
    reason: str = ""
    retry_after_s: float | None = None
    engine: str = ""
    itag: str = ""
    duration_s: float | None = None
    urls: tuple[str, ...] = ()
    facts: Mapping[str, Any] | None = None
    """What was learnt of the video, as a VideoFacts has it, dates as texts."""


SCRIPT = dedent("""
    import dataclasses, json, os, sys, traceback
    from pathlib import Path
    import pytubefix, yt_dlp
    from kinetics.errors import ClipError
    from kinetics.youtube import engines
    from kinetics.youtube.fallback import Resolver

    def answers(names, video_ids, cookies, timeout_s, max_height):
        engines.TIMEOUT_S = timeout_s
        opened = engines.open_engines(names.split(","), Path(cookies) if cookies else None)
        for video_id in video_ids:
            search = Resolver(opened).search(video_id, max_height)
            try:
                found = search.next_source()
                answer = {"kind": "found", "engine": found.engine, "itag": found.itag, "duration_s": found.duration_s,
                       "urls": [one.url for one in found.formats]}
            except ClipError as error:
                answer = {"kind": type(error).__name__, "category": error.category, "reason": error.reason,
                       "retry_after_s": getattr(error, "retry_after_s", None)}
            yield answer | {"facts": search.facts and dataclasses.asdict(search.facts)}

    for line in sys.stdin:
        out, err, env, question = json.loads(line)
        if not (child := os.fork()):
            try:
                sys.stdin.close()
                os.environ.clear()
                os.environ.update(env)
                for number, path in ((1, out), (2, err)):
                    os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
                for answer in answers(**question):
                    print(json.dumps(answer, default=str), flush=True)
                os._exit(0)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
""")
"""Imports the engines once, which takes a second; a fork that has asked nothing yet answers each question."""


@cache
def _importer() -> subprocess.Popen[str]:
    """The process that forks; it ends with this one, whose end closes its input."""
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-c", SCRIPT], cwd=ROOT, stdin=pipe, stdout=pipe, text=True)


def ask(
    env: Mapping[str, str],
    names: str,
    video_ids: Sequence[str],
    *,
    cookies: Path | str = "",
    timeout_s: float = 20,
    max_height: int = 360,
) -> list[Answer]:
    """Resolve videos in a process of its own, as a worker does; whatever it prints besides answers is an error."""
    question = {
        "names": names,
        "video_ids": [*video_ids],
        "cookies": str(cookies),
        "timeout_s": timeout_s,
        "max_height": max_height,
    }
    importer = _importer()
    assert importer.stdin and importer.stdout
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder, "out"), Path(folder, "err")
        importer.stdin.write(json.dumps([str(out), str(err), dict(env), question]) + "\n")
        importer.stdin.flush()
        code = importer.stdout.readline()
        assert (code, err.read_text()) == ("0\n", "")
        answers = [Answer(**json.loads(line)) for line in out.read_text().splitlines()]
    assert len(answers) == len(video_ids)
    return answers
