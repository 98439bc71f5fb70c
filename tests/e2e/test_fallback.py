"""The whole program where YouTube refuses a client, a visitor id, an address or the media before an ad is over."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.sandbox import Run, Sandbox, many_rows
from tests.support.sweeps import first_of
from tests.youtube.samples import template
from tests.youtube.world import (
    AS_18,
    BLOCKS,
    FAILURES,
    NEWER_FAILURES,
    ClientRefusal,
    MediaFault,
    Row,
    Scenario,
)

COPY = ("--cut", "keyframe", "-w", "2")
"""What costs the processor least."""
USUAL = Scenario(template(20), clients=AS_18)
SIGN_IN = BLOCKS["sign in"]
MakeSandbox = Callable[..., Sandbox]


@pytest.fixture
def make_sandbox(tmp_path: Path) -> MakeSandbox:
    def make(rows: Iterable[Row], scenario: Scenario = USUAL) -> Sandbox:
        rows = [*rows]
        sandbox = Sandbox(tmp_path, rows, {row.youtube_id: scenario for row in rows})
        sandbox.world.prepare()
        return sandbox

    return make


def calls(run: Run) -> list[str]:
    """The clients of all player calls for formats, in the order in which they came."""
    return [request.client for request in run.requests if request.kind == "player"]


# -- a client that is refused -----------------------------------------------------------------------------------------


def test_media_refused_to_one_client_from_the_tenth_clip_on_come_from_the_next_one(make_sandbox: MakeSandbox) -> None:
    sandbox = make_sandbox(many_rows(60))
    sandbox.world.client_refusals = (ClientRefusal("VISIONOS", media_status=403, after=9),)
    run = sandbox.run(*COPY, "-w", "4")
    assert len(sandbox.files()) >= 58, run.out
    assert len(calls(run)) <= 1.3 * 60
    refused = {request.video_id for request in run.requests if request.refused == "client"}
    assert 5 <= len(refused) <= 18
    assert run.kinds()["visitor"] == 1


@pytest.mark.parametrize(
    "refusal", ["words", *(pytest.param(name, marks=pytest.mark.soak) for name in ("kids", "status"))]
)
def test_where_a_client_is_closed_altogether_the_next_one_is_asked_first(
    make_sandbox: MakeSandbox, refusal: str
) -> None:
    sandbox = make_sandbox(many_rows(60))
    sandbox.world.client_refusals = (
        {
            "words": ClientRefusal("VISIONOS", failure=SIGN_IN),
            "kids": ClientRefusal("VISIONOS", failure=NEWER_FAILURES["not offered"]),
            "status": ClientRefusal("VISIONOS", status=403),
        }[refusal],
    )
    run = sandbox.run(*COPY)
    assert len(sandbox.files()) >= 57, run.out
    asked = [request.video_id for request in run.requests if request.kind == "player"]
    first_ten = [*dict.fromkeys(asked)][:10]
    assert sum(video_id not in first_ten for video_id in asked) <= 1.3 * 50
    twice = refusal == "status"  # which may be the engine's own failure, so the next engine poses as visionOS, too
    assert calls(run).count("VISIONOS") <= (14 if twice else 8)


@pytest.mark.parametrize("closed", first_of([("VISIONOS", "ANDROID"), ("VISIONOS",)]))
def test_a_video_made_for_kids_comes_from_android_or_else_from_the_client_that_runs_javascript(
    make_sandbox: MakeSandbox, closed: tuple[str, ...]
) -> None:
    sandbox = make_sandbox(many_rows(1))
    kids = NEWER_FAILURES["not offered"]
    sandbox.world.client_refusals = tuple(ClientRefusal(client, failure=kids) for client in closed)
    run = sandbox.run(*COPY)
    assert (run.code, calls(run)) == (0, ["VISIONOS", "ANDROID", "TVHTML5"][: len(closed) + 1])
    itags = {request.itag for request in run.requests if request.kind == "media"}
    assert itags == ({18} if len(closed) == 1 else {134, 140})


@pytest.mark.parametrize("words", first_of(["age", "private", "members"]))
def test_what_youtube_says_of_the_video_costs_one_call_and_nothing_is_tried_around_it(
    make_sandbox: MakeSandbox, words: str
) -> None:
    sandbox = make_sandbox(many_rows(3), Scenario(failure=FAILURES[words]))
    run = sandbox.run(*COPY)
    assert {category for category, _ in sandbox.errors().values()} == {FAILURES[words].category}
    assert calls(run) == ["VISIONOS"] * 3
    assert {request.kind for request in run.requests} <= {"visitor", "player", "thumbnail"}


# -- media that fail --------------------------------------------------------------------------------------------------


def test_an_expired_address_is_asked_for_anew_once(make_sandbox: MakeSandbox) -> None:
    sandbox = make_sandbox(many_rows(1), replace(USUAL, expired_replies=1))
    run = sandbox.run(*COPY)
    assert (run.code, calls(run)) == (0, ["VISIONOS"] * 2)
    assert {request.refused for request in run.requests if request.kind == "media"} == {"expired", ""}


@pytest.mark.soak
def test_an_address_that_is_refused_after_it_was_served_is_asked_for_anew_once(make_sandbox: MakeSandbox) -> None:
    fault = MediaFault("status", 403, skip=1, times=1, itag=134)
    sandbox = make_sandbox(many_rows(1), replace(USUAL, media_faults=(fault,)))
    run = sandbox.run(*COPY)
    assert (run.code, calls(run)) == (0, ["VISIONOS"] * 2)


@pytest.mark.parametrize("engine", first_of(["yt-dlp", "pytubefix"]))
def test_media_refused_for_an_ad_are_asked_for_again_after_it_at_the_same_address(
    make_sandbox: MakeSandbox, engine: str
) -> None:
    sandbox = make_sandbox(many_rows(1), replace(USUAL, ad_s=4.0))
    run = sandbox.run(*COPY, "--engine", engine)
    assert (run.code, calls(run)) == (0, ["VISIONOS"])
    media = [request for request in run.requests if request.kind == "media" and request.itag == 134]
    assert [request.refused for request in media][:2] == ["ad", ""]
    assert len({request.path for request in media}) == 1


@pytest.mark.soak
def test_an_ad_longer_than_anybody_waits_for_is_left_to_the_next_client(make_sandbox: MakeSandbox) -> None:
    sandbox = make_sandbox(many_rows(1), replace(USUAL, ad_s=600.0))
    began = time.monotonic()
    run = sandbox.run(*COPY)
    assert time.monotonic() - began < 60
    assert (run.code, calls(run)) == (1, ["VISIONOS", "ANDROID", "TVHTML5"])


# -- the visitor id ---------------------------------------------------------------------------------------------------


def test_a_visitor_id_that_is_turned_away_is_asked_for_anew_once_for_all_workers(make_sandbox: MakeSandbox) -> None:
    sandbox = make_sandbox(many_rows(24))
    sandbox.world.visitor_id_calls = 8
    run = sandbox.run(*COPY, "-w", "8")
    assert (run.code, len(sandbox.files())) == (0, 24)
    refused = [request for request in run.requests if request.refused == "visitor id"]
    assert run.kinds()["visitor"] == 3
    assert set(calls(run)) == {"VISIONOS"}
    assert len(calls(run)) == 24 + len(refused)
    assert 2 <= len(refused) <= 4, "at most two workers wait for an answer at once"


@pytest.mark.soak
def test_where_every_visitor_id_is_turned_away_the_client_without_one_is_asked(make_sandbox: MakeSandbox) -> None:
    sandbox = make_sandbox(many_rows(20))
    sandbox.world.visitor_id_calls = 0
    run = sandbox.run(*COPY)
    assert (run.code, len(sandbox.files())) == (0, 20)
    per_clip = Counter(request.video_id for request in run.requests if request.kind == "player")
    assert max(per_clip.values()) == 3, "visionOS with either of two ids, and Android"
    assert Counter(calls(run))["ANDROID"] == 20
    assert run.kinds()["visitor"] <= 9
