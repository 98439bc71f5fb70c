"""The replies of youtubei/v1/player, in the shape in which the clients read them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from tests.youtube.challenge import JAVASCRIPT_CLIENTS, with_challenges
from tests.youtube.videos import MediaFile
from tests.youtube.world import SURROUND_ITAG, Failure, Scenario, Variant

Json = dict[str, Any]

MANIFEST_HOST, MANIFEST_PATH = "manifest.googlevideo.com", "/api/manifest/hls_variant/index.m3u8"
MEDIA_HOST = "r1---sn-x.googlevideo.com"
VISITOR_DATA = "CgtMb29wYmFja1lUQQ%3D%3D"
LAST_MODIFIED = "1700000000000000"
DECOYS = (
    # itag, mimeType, width, height, bitrate: formats that a video also has, whose files are not there
    (137, 'video/mp4; codecs="avc1.640028"', 1920, 1080, 4_200_000),
    (248, 'video/webm; codecs="vp9"', 1920, 1080, 2_600_000),
    (136, 'video/mp4; codecs="avc1.4d401f"', 1280, 720, 1_500_000),
    (135, 'video/mp4; codecs="avc1.4d401e"', 854, 480, 900_000),
    (243, 'video/webm; codecs="vp9"', 640, 360, 300_000),
    (396, 'video/mp4; codecs="av01.0.01M.08"', 640, 360, 300_000),
    (133, 'video/mp4; codecs="avc1.4d4015"', 426, 240, 240_000),
    (160, 'video/mp4; codecs="avc1.4d400c"', 256, 144, 110_000),
)
SOUND_DECOYS = (
    (139, 'audio/mp4; codecs="mp4a.40.5"', 49_000),
    (249, 'audio/webm; codecs="opus"', 50_000),
    (250, 'audio/webm; codecs="opus"', 66_000),
    (251, 'audio/webm; codecs="opus"', 130_000),
    (SURROUND_ITAG, 'audio/mp4; codecs="mp4a.40.2"', 384_000),
)


def player(video_id: str, scenario: Scenario, client: str) -> Json:
    """What the player says about a video to a client that asks for its formats."""
    if scenario.failure is not None:
        return _with(failure(video_id, scenario.failure), scenario.about)
    assert scenario.video is not None
    files, duration_s = scenario.files(client), scenario.video.duration_s
    adaptive = [_adaptive(video_id, file) for file in files if file.shape != "progressive"]
    adaptive += _decoys(video_id, duration_s, beside=adaptive)
    if not scenario.variants_of(SURROUND_ITAG):
        adaptive = [entry for entry in adaptive if entry["itag"] != SURROUND_ITAG]
    streaming: Json = {"expiresInSeconds": "21540", "adaptiveFormats": list(_offered(adaptive, scenario))}
    if progressive := [_progressive(video_id, file) for file in files if file.shape == "progressive"]:
        streaming["formats"] = list(_offered(progressive, scenario))
    if client in JAVASCRIPT_CLIENTS:
        for kind in streaming.keys() & {"formats", "adaptiveFormats"}:
            streaming[kind] = [with_challenges(entry, video_id, client) for entry in streaming[kind]]
    body = _body(video_id, {"status": "OK", "playableInEmbed": True}, duration_s) | {"streamingData": streaming}
    return _with(_with_addresses(body, {"c": client}), scenario.about)


def _with(body: Json, about: Mapping[str, Mapping[str, object]]) -> Json:
    """The same reply, with more in some of its objects."""
    return body | {name: body.get(name, {}) | more for name, more in about.items()}


def visitor(video_id: str) -> Json:
    """What the WEB client gets: visitorData, and no formats without a PO token."""
    return _body(video_id, {"status": "OK", "playableInEmbed": True}, 0)


def failure(video_id: str, said: Failure) -> Json:
    """A reply that says no."""
    status: Json = {"status": said.status}
    if said.reason:
        status["reason"] = said.reason
        renderer: Json = {"reason": {"simpleText": said.reason}}
        if said.subreason:
            renderer["subreason"] = {"simpleText": said.subreason}
        status["errorScreen"] = {"playerErrorMessageRenderer": renderer}
    if said.messages:
        status["messages"] = list(said.messages)
    body = _body(video_id, status, 0)
    if said.is_live:
        body["videoDetails"] |= {"isLive": True, "isLiveContent": True}
        formats = [_common(video_id, 134, 'video/mp4; codecs="avc1.4d401e"', 500_000) | _size(640, 360)]
        live = [entry | {"targetDurationSec": 5} for entry in formats]
        body["streamingData"] = {"hlsManifestUrl": f"https://{MANIFEST_HOST}{MANIFEST_PATH}", "adaptiveFormats": live}
    return body


def sabr_only(body: Json) -> Json:
    """The same reply with formats that name no address, for clients that must stream by YouTube's own protocol."""
    streaming = body["streamingData"]
    addresses = ("url", "signatureCipher")
    bare = [
        {key: value for key, value in entry.items() if key not in addresses} for entry in streaming["adaptiveFormats"]
    ]
    address = f"https://{MEDIA_HOST}/videoplayback?sabr=1"
    return body | {"streamingData": {"serverAbrStreamingUrl": address, "adaptiveFormats": bare}}


def expired(body: Json) -> Json:
    """The same reply with addresses whose time is over."""
    return _with_addresses(body, {"expire": "1700000000"})


def with_ad(body: Json, ad_s: float) -> Json:
    """The same reply with an ad before the video, in the two places where one may stand; one of them can be skipped."""
    length = {"instreamVideoAdRenderer": {"playerVars": f"length_seconds={ad_s / 2:g}&ad_system=1"}}
    skipped = {"instreamVideoAdRenderer": {"playerVars": "length_seconds=600", "skipOffsetMilliseconds": ad_s * 500}}
    kind = {"adPlacementConfig": {"kind": "AD_PLACEMENT_KIND_START"}}
    layout = {"playerBytesAdLayoutRenderer": {"renderingContent": skipped}}
    slot = {
        "adSlotMetadata": {"triggerEvent": "SLOT_TRIGGER_EVENT_BEFORE_CONTENT"},
        "fulfillmentContent": {"fulfilledLayout": layout},
    }
    return body | {
        "adPlacements": [{"adPlacementRenderer": {"config": kind, "renderer": length}}],
        "adSlots": [{"adSlotRenderer": slot}],
    }


def _with_addresses(body: Json, changes: Mapping[str, str]) -> Json:
    streaming = dict(body.get("streamingData", {}))
    for name in ("formats", "adaptiveFormats"):
        if name in streaming:
            streaming[name] = [
                entry | {"url": _with_query(entry["url"], changes)} if "url" in entry else entry
                for entry in streaming[name]
            ]
    return body | {"streamingData": streaming} if streaming else body


def _with_query(url: str, changes: Mapping[str, str]) -> str:
    parts = urlsplit(url)
    return parts._replace(query=urlencode({**dict(parse_qsl(parts.query)), **changes})).geturl()


def _body(video_id: str, playability: Json, duration_s: float) -> Json:
    return {
        "responseContext": {"visitorData": VISITOR_DATA},
        "playabilityStatus": playability,
        "videoDetails": {
            "videoId": video_id,
            "title": f"Loopback video {video_id}",
            "lengthSeconds": str(round(duration_s)),
            "channelId": "UCloopbackloopbackloopba",
            "shortDescription": "",
            "isLiveContent": False,
        },
        "playerConfig": {
            "mediaCommonConfig": {"mediaUstreamerRequestConfig": {"videoPlaybackUstreamerConfig": "bG9vcGJhY2s="}}
        },
    }


def _adaptive(video_id: str, file: MediaFile) -> Json:
    assert file.init_range is not None
    assert file.index_range is not None
    entry = _common(video_id, file.itag, file.mime_type, round(file.size * 8 / file.video.duration_s))
    entry |= {
        "initRange": {"start": str(file.init_range[0]), "end": str(file.init_range[1])},
        "indexRange": {"start": str(file.index_range[0]), "end": str(file.index_range[1])},
        "contentLength": str(file.size),
        "approxDurationMs": str(round(file.video.duration_s * 1000)),
    }
    return entry | (_picture(file) if file.has_picture else _sound(file.video.sample_rate))


def _progressive(video_id: str, file: MediaFile) -> Json:
    entry = _common(video_id, file.itag, file.mime_type, round(file.size * 8 / file.video.duration_s))
    return entry | _sound(44_100) | _picture(file) | {"approxDurationMs": str(round(file.video.duration_s * 1000))}


def _picture(file: MediaFile) -> Json:
    return _size(file.video.width, file.video.height) | {"fps": round(file.video.fps)}


def _size(width: int, height: int) -> Json:
    lines = min(width, height)
    quality = {144: "tiny", 240: "small", 360: "medium", 480: "large"}.get(lines, f"hd{lines}")
    return {"width": width, "height": height, "fps": 30, "quality": quality, "qualityLabel": f"{lines}p"}


def _sound(sample_rate: int, quality: str = "MEDIUM") -> Json:
    quality = f"AUDIO_QUALITY_{quality}"
    return {"quality": "tiny", "audioQuality": quality, "audioSampleRate": str(sample_rate), "audioChannels": 2}


def _decoys(video_id: str, duration_s: float, beside: list[Json]) -> list[Json]:
    """Formats whose files are not there: the further ones that a video with the given formats would have."""
    itags, kinds = {entry["itag"] for entry in beside}, {_kind(entry["mimeType"]) for entry in beside}
    if "video/mp4" in kinds:  # whatever has H.264 has VP9 too, but not the other way round
        kinds |= {kind.replace("mp4", "webm") for kind in kinds}
    pictures = [
        _common(video_id, itag, mime_type, bitrate) | _size(width, height)
        for itag, mime_type, width, height, bitrate in DECOYS
    ]
    sounds = [
        _common(video_id, itag, mime_type, bitrate) | _sound(48_000, "LOW") for itag, mime_type, bitrate in SOUND_DECOYS
    ]
    return [
        entry
        | {
            "initRange": {"start": "0", "end": "740"},
            "indexRange": {"start": "741", "end": "1500"},
            "contentLength": str(round(entry["bitrate"] * duration_s / 8)),
            "approxDurationMs": str(round(duration_s * 1000)),
        }
        for entry in [*pictures, *sounds]
        if entry["itag"] not in itags and _kind(entry["mimeType"]) in kinds
    ]


def _kind(mime_type: str) -> str:
    return mime_type.partition(";")[0]


def _offered(entries: Iterable[Json], scenario: Scenario) -> Iterator[Json]:
    """The formats with their variants, and with what the player says of them against the truth."""
    for entry in entries:
        variants = [_variant(entry, *numbered) for numbered in scenario.variants_of(entry["itag"]).items()]
        for offered in variants or [entry]:
            yield {**offered, **scenario.said.get(entry["itag"], {})}


def _variant(entry: Json, number: int, variant: Variant) -> Json:
    xtags = {"xtags": variant.xtags} if variant.xtags else {}
    changed: Json = {"url": f"{entry['url']}&{urlencode({'lmt': number} | xtags)}"}
    if variant.track_id:
        changed["audioTrack"] = {"id": variant.track_id, "audioIsDefault": variant.default}
    if variant.name:
        changed["audioTrack"]["displayName"] = variant.name
    if variant.drc:
        changed["isDrc"] = True
    if variant.channels != 2:
        changed["audioChannels"] = variant.channels
    return entry | changed


def _common(video_id: str, itag: int, mime_type: str, bitrate: int) -> Json:
    query = {"expire": "4102444800", "id": video_id, "itag": itag, "source": "youtube", "ratebypass": "yes"}
    return {
        "itag": itag,
        "url": f"https://{MEDIA_HOST}/videoplayback?{urlencode(query | {'sig': 'AOq0QJ8wRQIhAL'})}",
        "mimeType": mime_type,
        "bitrate": bitrate,
        "averageBitrate": bitrate,
        "lastModified": LAST_MODIFIED,
        "projectionType": "RECTANGULAR",
    }
