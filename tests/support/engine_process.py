"""Engines in a process of their own, as a worker has them: what they make of videos."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

from tests.support.commands import python


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


SCRIPT = dedent("""
    import json, sys
    from pathlib import Path
    from kinetics.youtube import engines
    from kinetics.youtube.fallback import Resolver
    from kinetics.errors import ClipError
    names, cookies, timeout_s, max_height, *ids = sys.argv[1:]
    engines.TIMEOUT_S = float(timeout_s)
    opened = engines.open_engines(names.split(","), Path(cookies) if cookies else None)
    for video_id in ids or map(str.strip, sys.stdin):
        try:
            found = Resolver(opened).search(video_id, int(max_height)).next_source()
            answer = {"kind": "found", "engine": found.engine, "itag": found.itag, "duration_s": found.duration_s,
                      "urls": [one.url for one in found.formats]}
        except ClipError as error:
            answer = {"kind": type(error).__name__, "category": error.category, "reason": error.reason,
                      "retry_after_s": getattr(error, "retry_after_s", None)}
        print(json.dumps(answer), flush=True)
""")


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
    given = "".join(f"{video_id}\n" for video_id in video_ids)
    ran = python("-c", SCRIPT, names, str(cookies), str(timeout_s), str(max_height), env=env, given=given, timeout=250)
    assert (ran.returncode, ran.stderr) == (0, "")
    answers = [Answer(**json.loads(line)) for line in ran.stdout.splitlines()]
    assert len(answers) == len(video_ids)
    return answers
