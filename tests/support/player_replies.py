"""Videos in every form that a player reply can offer, and replies with random damage."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterable
from typing import Any

from tests.youtube import replies
from tests.youtube.videos import Video
from tests.youtube.world import FAILURES, Scenario, Variant

VIDEO = Video(duration_s=20)
WEBM = Video(duration_s=20, codec="vp9")
SILENT = Video(duration_s=6, sound=False)
UPRIGHT = Video(duration_s=6, width=360, height=640)
GERMAN = Variant("acont=dubbed:lang=de", "de.3", "German", pitch=1000)
ENGLISH = Variant("acont=original:lang=en", "en.4", "English original", default=True)
PLAYABLE = {
    "dash": Scenario(VIDEO),
    "progressive": Scenario(VIDEO, ("progressive",)),
    "both": Scenario(VIDEO, ("dash", "progressive")),
    "mp4 and webm": Scenario(VIDEO, ("dash",), renditions=(WEBM,)),
    "webm": Scenario(WEBM, ("webm",)),
    "dubbed": Scenario(VIDEO, variants=(GERMAN, ENGLISH)),
    "upright": Scenario(UPRIGHT),
    "silent": Scenario(SILENT),
}
OK = "okay-video0"
NONSENSE: tuple[Any, ...] = (
    *(None, True, 0, -1, 1e308, "", "OK", "\ud800", "a\tb\nc\x1b[31m", "x" * 10_000, [], [[]], [None], {}),
    *({"runs": 3}, {"simpleText": []}, {"runs": [None, {"text": {}}]}),
)
BASES = [
    *(replies.failure(OK, failure) for failure in FAILURES.values()),
    *(replies.player(OK, scenario, "VISIONOS") for scenario in PLAYABLE.values()),
]


def mutated(reply: Any, rng: random.Random) -> Any:
    """The reply with some of its nodes, at any depth, put in another one's place, dropped, or made nonsense."""
    reply = copy.deepcopy(reply)
    for _ in range(rng.choice((1, 1, 2, 5))):
        places = list(places_in(reply))
        if not places:
            return _nonsense(rng)
        holder, key = rng.choice(places)
        if rng.random() < 0.2:
            del holder[key]
        elif rng.random() < 0.2:
            other, there = rng.choice(places)
            holder[key] = copy.deepcopy(other[there]) if other is not holder else _nonsense(rng)
        else:
            holder[key] = _nonsense(rng)
    return reply if rng.random() < 0.98 else _nonsense(rng)


def _nonsense(rng: random.Random) -> Any:
    return copy.deepcopy(rng.choice(NONSENSE))


def places_in(node: Any) -> Iterable[tuple[Any, Any]]:
    """Every holder and key in a reply, at any depth."""
    for key in list(node) if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ():
        yield node, key
        yield from places_in(node[key])
