"""Tells from a player reply when the ads before a video are over: until then its media may answer 403 (yt-dlp#14645).

The places are those that yt-dlp reads for `available_at`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from urllib.parse import parse_qs

from kinetics.youtube.formats import positive_number
from kinetics.youtube.replies import object_at


def ads_s(reply: Mapping[str, object]) -> float:
    """Return how many seconds of ads a reply announces before the video, each up to where it can be skipped."""
    return sum(map(_length_s, _before_video(reply)))


def _before_video(reply: Mapping[str, object]) -> Iterator[object]:
    """Yield the nodes that hold an ad which is shown before the video."""
    for placement in _items(reply.get("adPlacements")):
        renderer = object_at(placement, "adPlacementRenderer")
        if object_at(renderer, "config", "adPlacementConfig").get("kind") == "AD_PLACEMENT_KIND_START":
            yield renderer.get("renderer")
    for slot in _items(reply.get("adSlots")):
        renderer = object_at(slot, "adSlotRenderer")
        if object_at(renderer, "adSlotMetadata").get("triggerEvent") == "SLOT_TRIGGER_EVENT_BEFORE_CONTENT":
            content = _rendered(object_at(renderer, "fulfillmentContent", "fulfilledLayout"))
            yield content
            yield from map(
                _rendered, _items(object_at(content, "playerBytesSequentialLayoutRenderer").get("sequentialLayouts"))
            )


def _rendered(layout: object) -> dict[str, object]:
    return object_at(layout, "playerBytesAdLayoutRenderer", "renderingContent")


def _length_s(node: object) -> float:
    """Return the seconds of an ad until it can be skipped, or until its end."""
    ad = object_at(node, "instreamVideoAdRenderer")
    if skip_ms := positive_number(ad.get("skipOffsetMilliseconds")):
        return skip_ms / 1000
    return positive_number(parse_qs(str(ad.get("playerVars"))).get("length_seconds", [""])[-1]) or 0.0


def _items(node: object) -> list[object]:
    return node if isinstance(node, list) else []
