"""The few pages and pictures that clients read beside the player endpoint."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from tests.youtube import replies

if TYPE_CHECKING:
    from tests.youtube.visit import Visit

CONSENT_PAGE = b"<!DOCTYPE html><html><title>Before you continue to YouTube</title><body>Accept all</body></html>"
MANIFEST = """\
#EXTM3U
#EXT-X-STREAM-INF:BANDWIDTH=900000,CODECS="avc1.4d401e,mp4a.40.2",RESOLUTION=640x360,FRAME-RATE=30
https://manifest.googlevideo.com/api/manifest/hls_playlist/itag/93/index.m3u8
"""
SCRIPT_PATH = "/s/player/0b0c0d0e/player_ias.vflset/en_US/base.js"
SCRIPT = """\
var Tr={rv:function(a){a.reverse()},
sp:function(a,b){a.splice(0,b)},
sw:function(a,b){var c=a[0];a[0]=a[b%a.length];a[b%a.length]=c}};
Sg=function(a){a=a.split("");Tr.sp(a,2);Tr.rv(a,1);Tr.sw(a,3);return a.join("")};
c&&d.set(b,encodeURIComponent(Sg(decodeURIComponent(c))));
var Nt=[Nf];
a.C&&(b=a.get("n"))&&(b=Nt[0](b),a.set("n",b));
Nf=function(a){var b=a.split(""),c=[4,b,function(d){d.reverse()}];try{c[2](c[1])}catch(d){return a}return b.join("")};
"""
"""The least that pytube takes for a player's script; the addresses are signed already, so that it runs none of it."""
THUMBNAIL_PATH = re.compile(r"/vi/([\w-]+)/mqdefault\.jpg")
THUMBNAIL = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00\xff\xd9"
"""A JPEG's first and last bytes, with no picture between them."""
GREY_THUMBNAIL = THUMBNAIL.replace(b"\xff\xd9", b"\xff\xfe\x00\x06grey\xff\xd9")
"""The body of a 404, where YouTube sends a grey picture."""


def serve_watch_page(visit: Visit) -> None:
    """What pytube reads first: a page with the player's reply in it and a link to the player's script."""
    video_id = visit.query.get("v", "")
    visit.note(kind="page", video_id=video_id)
    body = replies.player(video_id, visit.world.scenario(video_id), "WEB")
    script = f"var ytInitialPlayerResponse = {json.dumps(body)};var ytInitialData = {{}};"
    page = f'<html><script src="{SCRIPT_PATH}"></script><script>{script}</script></html>'
    visit.reply(200, page.encode(), "text/html; charset=utf-8")


def serve_manifest(visit: Visit) -> None:
    """The master list of a live stream; the list that it names is not there."""
    visit.reply(200, MANIFEST.encode(), "application/vnd.apple.mpegurl")


def serve_script(visit: Visit) -> None:
    visit.note(kind="page")
    visit.reply(200, SCRIPT.encode(), "text/javascript")


def serve_thumbnail(visit: Visit, path: str) -> None:
    """Answer one request for a path of i.ytimg.com, as the world's `thumbnails` says."""
    found = THUMBNAIL_PATH.fullmatch(path)
    if found is None:
        visit.reply(404, b"not found", "text/plain")
        return
    visit.note(kind="thumbnail", video_id=found[1])
    mode = visit.world.thumbnails
    there = visit.world.scenario(found[1]).has_thumbnail
    shown = mode == "all 200" or (mode == "as usual" and there) or (mode == "swapped" and not there)
    match mode:
        case "hang up":
            visit.cut()
        case "silent":
            visit.stall()
        case "503":
            visit.reply(503, b"", "text/plain")
        case _ if shown:
            visit.reply(200, THUMBNAIL, "image/jpeg")
        case _:
            visit.reply(404, GREY_THUMBNAIL, "image/jpeg")
