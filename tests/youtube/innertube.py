"""The player endpoint: which reply a call gets, by the world's throttle, faults and failures."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.youtube import replies
from tests.youtube.pages import CONSENT_PAGE
from tests.youtube.world import RELOAD, ClientRefusal, FakeThrottle, PlayerFault

if TYPE_CHECKING:
    from tests.youtube.visit import Visit

PLAYER_PATH = "/youtubei/v1/player"
OTHER_VIDEO = "loopback-00"


def serve_player(visit: Visit) -> None:
    """Answer one call, which names a client and a video."""
    asked = json.loads(visit.body)
    context = asked["context"]["client"]
    client = context["clientName"]
    video_id = asked.get("videoId") or visit.query["videoId"]  # pytube names the video in the query
    visitor = client == "WEB"
    visit.note(kind="visitor" if visitor else "player", client=client, video_id=video_id)
    if throttle := visit.world.throttled(visitor):
        visit.note(throttled=True)
        _refuse_for_now(visit, throttle, video_id)
    elif visitor:
        visit.reply_json(_visitor(visit, video_id))
    elif visit.world.turns_away(context.get("visitorData")):
        visit.note(refused="visitor id")
        visit.reply_json(replies.failure(video_id, RELOAD))
    elif (refusal := visit.world.client_refusal(client, video_id)) and (refusal.failure or refusal.status):
        visit.note(refused="client")
        _refuse_client(visit, refusal, video_id)
    elif fault := visit.world.player_fault(video_id):
        _spoil(visit, fault, video_id, client)
    else:
        visit.reply_json(_player(visit, video_id, client))


def _visitor(visit: Visit, video_id: str) -> replies.Json:
    body = replies.visitor(video_id)
    if visit.world.visitor_id_calls is None:
        return body
    return body | {"responseContext": {"visitorData": visit.world.new_visitor_id()}}


def _player(visit: Visit, video_id: str, client: str) -> replies.Json:
    """The reply about a video, with what goes wrong with its addresses later."""
    body = replies.player(video_id, visit.world.scenario(video_id), client)
    if visit.world.names_expired(video_id):
        body = replies.expired(body)
    ad_s = visit.world.begin_ad(video_id)
    return replies.with_ad(body, ad_s) if ad_s else body


def _refuse_client(visit: Visit, refusal: ClientRefusal, video_id: str) -> None:
    if refusal.failure is None:
        visit.reply(refusal.status or 403, b"{}", "application/json")
    else:
        visit.reply_json(replies.failure(video_id, refusal.failure))


def _refuse_for_now(visit: Visit, throttle: FakeThrottle, video_id: str) -> None:
    if throttle.failure is None:
        visit.reply(429, CONSENT_PAGE, "text/html", retry_after=throttle.retry_after)
    else:
        visit.reply_json(replies.failure(video_id, throttle.failure))


def _spoil(visit: Visit, fault: PlayerFault, video_id: str, client: str) -> None:
    right = replies.player(video_id, visit.world.scenario(video_id), client)
    whole = json.dumps(right).encode()
    match fault.kind:
        case "status":
            visit.reply(fault.status, b"{}", "application/json", retry_after=fault.retry_after)
        case "html":
            visit.reply(200, CONSENT_PAGE, "text/html")
        case "empty":
            visit.reply(200, b"", "application/json")
        case "cut_json":
            visit.reply(200, whole[: len(whole) // 2], "application/json")
        case "cut_body":
            visit.begin(200, "application/json", len(whole))
            visit.send(whole[: len(whole) // 2])
            visit.cut()
        case "other_video":
            visit.reply_json(replies.player(OTHER_VIDEO, visit.world.scenario(video_id), client))
        case "no_streams":
            visit.reply_json({name: value for name, value in right.items() if name != "streamingData"})
        case "sabr_only":
            visit.reply_json(replies.sabr_only(right))
        case "stall":
            visit.stall()
        case "failure":
            assert fault.failure is not None
            visit.reply_json(replies.failure(video_id, fault.failure))
