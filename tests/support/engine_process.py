"""Engines in processes of their own, as workers have them: what they make of videos."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from typing import Any

from tests.support.forks import Forks

ANSWERS_TIMEOUT_S = 1800.0
"""For thousands of videos."""


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


CODE = dedent("""
    import dataclasses, json, sys
    from pathlib import Path
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

    for answer in answers(**json.loads(sys.argv[1])):
        print(json.dumps(answer, default=str), flush=True)
""")
"""What a process answers, a line for each video."""
ENGINES = Forks("pytubefix", "yt_dlp", "kinetics.youtube.engines", "kinetics.youtube.fallback")


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
    ended = ENGINES.run(CODE, "engines", json.dumps(question), env=env, timeout=ANSWERS_TIMEOUT_S)
    assert (ended.returncode, ended.stderr) == (0, "")
    answers = [Answer(**json.loads(line)) for line in ended.stdout.splitlines()]
    assert len(answers) == len(video_ids)
    return answers
