"""The player script, and the challenges that it solves: what clients of a browser have to do before they get media.

These clients are offered addresses with a scrambled signature (`s`) and with a parameter `n` that has to be changed.
Only the script says how, so a client has to fetch and run it. It is small, and written for these tests, in the shape
that yt-dlp-ejs looks for: one function around everything, and in it a function that sets `alr` to `yes`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode, urlsplit

if TYPE_CHECKING:
    from tests.youtube.visit import Visit

JAVASCRIPT_CLIENTS = frozenset({"TVHTML5", "WEB_EMBEDDED_PLAYER"})
"""Clients whose addresses have challenges, by the name in their player calls."""
PLAYER = "1c0ba95c"
PLAYER_SCRIPT_PATH = f"/s/player/{PLAYER}/player_ias.vflset/en_US/base.js"
PLAYER_SCRIPT = """\
var _yt_player = {};
(function(g) {
  var window = this;
  g.settings = {signatureTimestamp: 20580};
  class Address {
    constructor(text) { this.fields = new Map(); }
    get(name) { return this.fields.get(name); }
    set(name, value) { this.fields.set(name, value); }
    solve() {
      var n = this.get("n");
      if (n) this.set("n", Array.from(n, (digit) => ((parseInt(digit, 16) + 7) % 16).toString(16)).reverse().join(""));
    }
  }
  var unscrambled = function(text) {
    var letters = text.split("").slice(3).reverse(), first = letters[0];
    letters[0] = letters[5];
    letters[5] = first;
    return letters.join("");
  };
  var addressed = function(text, field, signature) {
    var address = new Address(text);
    address.set("alr", "yes");
    if (signature) address.set(field, encodeURIComponent(unscrambled(decodeURIComponent(signature))));
    return address;
  };
})(_yt_player);
"""
IFRAME_SCRIPT = (
    rf"var scriptUrl = 'https:\/\/www.youtube.com\/s\/player\/{PLAYER}\/www-widgetapi.vflset\/www-widgetapi.js';"
)


def with_challenges(entry: Mapping[str, Any], video_id: str, client: str) -> dict[str, Any]:
    """A format of a reply, with an address that is only good once both challenges are solved."""
    address = urlsplit(entry["url"])
    query = {name: value for name, value in parse_qsl(address.query) if name != "sig"}
    itag = str(entry["itag"])
    query |= {"c": client, "n": _digits(video_id, "n")[:16]}
    bare = {name: value for name, value in entry.items() if name != "url"}
    url = address._replace(query=urlencode(query)).geturl()
    return bare | {"signatureCipher": urlencode({"s": _digits(video_id, itag), "sp": "sig", "url": url})}


def solved(query: Mapping[str, str]) -> bool:
    """Whether an address of media is one without challenges, or has the right solutions of both."""
    if query.get("c") not in JAVASCRIPT_CLIENTS:
        return True
    video_id, itag = query.get("id", ""), query.get("itag", "")
    right = _unscrambled(_digits(video_id, itag)), _solved_n(_digits(video_id, "n")[:16])
    return (query.get("sig"), query.get("n")) == right


def _digits(*of: str) -> str:
    """Hexadecimal digits that are the same for the same video and format."""
    return hashlib.sha256(" ".join(of).encode()).hexdigest()


def _unscrambled(signature: str) -> str:
    """What the script makes of a signature."""
    letters = list(signature)[3:][::-1]
    letters[0], letters[5] = letters[5], letters[0]
    return "".join(letters)


def _solved_n(n: str) -> str:
    """What the script makes of `n`."""
    return "".join(f"{(int(digit, 16) + 7) % 16:x}" for digit in n)[::-1]


def serve_embedded_page(visit: Visit, path: str) -> None:
    """The page of the embedded player: the client's settings, and where the script is."""
    visit.note(kind="page", video_id=path.rpartition("/")[2])
    context = {"jsUrl": PLAYER_SCRIPT_PATH, "encryptedHostFlags": "loopback"}
    settings = {
        "INNERTUBE_CONTEXT": {"client": {"clientName": "WEB_EMBEDDED_PLAYER", "clientVersion": "2.2", "hl": "en"}},
        "INNERTUBE_CONTEXT_CLIENT_NAME": 56,
        "DATASYNC_ID": "loopback-account||",
        "SESSION_INDEX": 0,
        "WEB_PLAYER_CONTEXT_CONFIGS": {"WEB_PLAYER_CONTEXT_CONFIG_ID_EMBEDDED_PLAYER": context},
    }
    page = f"<html><script>ytcfg.set({json.dumps(settings)});</script></html>"
    visit.reply(200, page.encode(), "text/html; charset=utf-8")


def serve_iframe_script(visit: Visit) -> None:
    """The script of pages that embed a player, which names the player's script."""
    visit.note(kind="page")
    visit.reply(200, IFRAME_SCRIPT.encode(), "text/javascript")


def serve_player_script(visit: Visit) -> None:
    visit.note(kind="page")
    visit.reply(200, PLAYER_SCRIPT.encode(), "text/javascript")
