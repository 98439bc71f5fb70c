"""What input from outside can never do: each test is one promise."""

from __future__ import annotations

import os
import re
import socket
import ssl
import struct
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from textwrap import dedent

import pytest
import trustme

from kinetics.annotations import published
from kinetics.cli.main import main
from kinetics.errors import Fatal, MayWorkLater, StopEveryone
from kinetics.humanize import one_line
from kinetics.media.container import DECODERS
from kinetics.net.http import HttpSession
from kinetics.net.range_file import RangeFile
from kinetics.records import Category, Clip, Outcome
from kinetics.scheduling.machine import MEMORY_LIMIT
from kinetics.storage.layout import Layout
from kinetics.storage.ledger import Ledger
from tests.hostile.boxes import Box, parsed
from tests.support.commands import ROOT
from tests.support.cutting import SMALL, cut_bytes
from tests.support.engine_process import ask
from tests.support.network import go_through, media_url
from tests.support.player_replies import OK
from tests.support.sandbox import ROWS, Sandbox
from tests.youtube.server import LoopbackYouTube
from tests.youtube.visit import ARCHIVE_HOST, MIRROR_HOST, YOUTUBE_HOSTS
from tests.youtube.world import ResetStage, Row, World

URL = media_url(18, "-_loopback0")

CODE = [ROOT / "download.py", *(ROOT / "kinetics").rglob("*.py")]


# -- where it writes --------------------------------------------------------------------------------------------------


def test_nothing_is_written_outside_the_output_folder(tmp_path: Path) -> None:
    """Watched from the parent folder, while labels and ids lead elsewhere."""
    sandbox = Sandbox(tmp_path / "outer" / "inner", ROWS[:1])
    hostile = ("../../out", "/out", "..", "a/../../../out", "..\\..\\out", "CON", "-rf", "\x1b[2J")
    rows = [Row(label, f"hostile{number:04}", 0, 3) for number, label in enumerate(hostile)]
    sandbox.write_csv([*ROWS[:1], *rows, Row("tai chi", "../../../id", 0, 3), Row("tai chi", "/etc/passwd", 0, 3)])
    ran = sandbox.run("--cut", "keyframe")
    assert ran.code in (0, 1)
    tables = {f"Kinetics700_validate_{name}" for name in ("errors.log", "stats.csv", "status.json", "videos.parquet")}
    allowed = {"rows.csv", "Kinetics700", *tables}
    assert {path.name for path in sandbox.folder.iterdir()} == allowed
    assert [*tmp_path.iterdir()] == [tmp_path / "outer"]
    assert [*(tmp_path / "outer").iterdir()] == [sandbox.folder]
    labels = {path.name for path in (sandbox.folder / "Kinetics700" / "val").iterdir()}
    assert labels <= {"javelin_throw", "CON", "-rf"}


# -- what it reads ----------------------------------------------------------------------------------------------------


def with_reference(content: bytes, kind: bytes, path: str) -> bytes:
    """The mp4 with its media declared to lie in another file, in one of the ways that QuickTime knows."""
    name = path.encode()
    alias = bytes(10 + 28 + 12) + b"\x01x".ljust(64, b"\0") + bytes(16 + 4 + 16)  # the volume, the file, the levels
    alias += b"".join(struct.pack(">HH", tag, len(name)) + name + bytes(len(name) % 2) for tag in (2, 18))
    body = {b"alis": alias + b"\xff\xff\0\0", b"url ": name + b"\0", b"urn ": b"file\0" + name + b"\0"}[kind]
    entry = struct.pack(">I4sI", 12 + len(body), kind, 0) + body

    def refer(boxes: list[Box]) -> None:
        for box in boxes:
            refer(box.inside)
            if box.kind == b"dref":
                box.body[:] = struct.pack(">II", 0, 1) + entry

    boxes = parsed(content)
    refer(boxes)
    return b"".join(box.packed() for box in boxes)


LISTS = (
    "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{}\n#EXT-X-ENDLIST\n",
    "ffconcat version 1.0\nfile '{}'\n",
    '<?xml version="1.0"?><MPD><Period><AdaptationSet><BaseURL>{}</BaseURL></AdaptationSet></Period></MPD>',
    "subfile,,start,0,end,9,,:{}",
    "[Reference]\nRef1={}\n",
    "v=0\no=- 0 0 IN IP4 127.0.0.1\ns={}\nm=video 9 RTP/AVP 96\n",
    '<smil><body><video src="{}"/></body></smil>',
)


SCHEMES = ("", "file://", "file:", "concat:", "subfile,,start,0,end,9,,:", "crypto:")
CUT_ALL = """
    import sys
    from pathlib import Path
    import av
    from kinetics.errors import ClipError
    from kinetics.media.cut import cut_exact, cut_keyframe
    from tests.support.cutting import cut_bytes

    def watch(event, args):
        if event == "open" and "canary" in str(args[0]):
            print("opened by Python:", args[0])

    av.logging.set_level(av.logging.PANIC)
    sys.addaudithook(watch)
    folder = Path(sys.argv[1])
    for content in sorted(folder.glob("content-*")):
        for container in ("mp4", "webm"):
            try:
                cut_bytes(content.read_bytes(), folder, cut_keyframe, container)
                print("cut")
            except ClipError as error:
                print("secret" if "secret" in str(error) else "refused")
"""


def test_no_local_file_is_read_whatever_the_media_name(tmp_path: Path) -> None:
    """The canary is a pipe with a writer at its other end, who comes through as soon as anything opens it to read."""
    canary = tmp_path / "canary.mp4"
    os.mkfifo(canary)
    named = [f"{scheme}{canary}" for scheme in SCHEMES]
    contents = [
        with_reference(SMALL["progressive"], kind, name) for kind in (b"alis", b"url ", b"urn ") for name in named
    ]
    contents += [text.format(name).encode() for text in LISTS for name in named]
    for number, content in enumerate(contents):
        (tmp_path / f"content-{number:03}").write_bytes(content)
    writer = subprocess.Popen(["sh", "-c", f"echo secret > '{canary}'"])
    try:
        command = [sys.executable, "-c", dedent(CUT_ALL), str(tmp_path)]
        ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=200)
        assert (ran.returncode, ran.stderr) == (0, "")
        assert set(ran.stdout.split("\n")) <= {"cut", "refused", ""}
        assert writer.poll() is None, "somebody opened the canary"
    finally:
        writer.kill()
        writer.wait()


def test_only_decoders_for_what_youtube_serves_are_run(tmp_path: Path) -> None:
    for kind in (b"mjpg", b"png ", b"cvid", b"tscc", b"rpza", b"SVQ3", b"dvc ", b"ap4h", b"raw "):
        content = SMALL["progressive"].replace(b"avc1", kind)
        with pytest.raises(MayWorkLater, match="unknown codec"):
            cut_bytes(content, tmp_path)
    assert len(DECODERS) < 20


@pytest.mark.parametrize("samples", [80_000_000, 170_000_000, (1 << 32) - 1])
def test_a_header_that_claims_millions_of_samples_costs_no_memory(samples: int, tmp_path: Path) -> None:
    """Such a header of 10 KB took 5.7 GB and 38 s before workers had a limit."""

    def claim(boxes: list[Box]) -> None:
        for box in boxes:
            claim(box.inside)
            if box.kind == b"stsz":
                struct.pack_into(">II", box.body, 4, 1, samples)
            elif box.kind == b"stsc":
                struct.pack_into(">III", box.body, 8, 1, samples, 1)
            elif box.kind == b"stts":
                struct.pack_into(">II", box.body, 8, samples, 512)

    boxes = parsed(SMALL["progressive"])
    claim(boxes)
    (tmp_path / "content").write_bytes(b"".join(box.packed() for box in boxes))
    script = """
        import resource, sys
        from pathlib import Path
        from kinetics.scheduling.worker import limit_memory
        from kinetics.errors import ClipError
        from tests.support.cutting import cut_bytes
        limit_memory()
        try:
            cut_bytes(Path(sys.argv[1], "content").read_bytes(), Path(sys.argv[1]))
        except ClipError as error:
            print(error.category, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10)
    """
    command = [sys.executable, "-c", dedent(script), str(tmp_path)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    category, peak_mib = ran.stdout.split()
    assert category == "media_error"
    assert int(peak_mib) < MEMORY_LIMIT >> 20


# -- whom it asks -----------------------------------------------------------------------------------------------------


class Impostor(LoopbackYouTube):
    """Somebody on the way, with a certificate that is none for these hosts."""

    fault = ""
    authority: trustme.CA

    def serve(
        self, connection: socket.socket, address: object, host: str, reset_stage: ResetStage | None = None
    ) -> None:
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        known, unknown = self.authority, trustme.CA()
        now = datetime.now(UTC)
        hosts = (*YOUTUBE_HOSTS, ARCHIVE_HOST, MIRROR_HOST, "*.googlevideo.com")
        match self.fault:
            case "unknown authority":
                certificate = unknown.issue_cert(*hosts)
            case "wrong name":
                certificate = known.issue_cert("example.org")
            case "expired":
                certificate = known.issue_cert(*hosts, not_before=now - timedelta(9), not_after=now - timedelta(1))
            case _:
                certificate = known.issue_cert(*hosts, not_before=now + timedelta(1))
        certificate.configure_cert(self.tls)
        try:
            super().serve(connection, address, host, reset_stage)
        except (ssl.SSLError, ConnectionError):
            connection.close()


@pytest.fixture
def impostor(monkeypatch: pytest.MonkeyPatch) -> Iterator[Impostor]:
    made: list[trustme.CA] = []
    genuine = trustme.CA

    def remember() -> trustme.CA:
        made.append(genuine())
        return made[-1]

    monkeypatch.setattr(trustme, "CA", remember)
    with Impostor(World()) as running:
        running.authority = made[0]
        go_through(running, monkeypatch)
        monkeypatch.setattr(published, "PAUSES_S", ())
        yield running


@pytest.mark.parametrize("fault", ["unknown authority", "wrong name", "expired", "not yet valid"])
def test_tls_is_always_verified_by_whoever_asks(fault: str, impostor: Impostor, tmp_path: Path) -> None:
    impostor.fault = fault
    with pytest.raises(StopEveryone, match="certificate is not trusted"):
        RangeFile(HttpSession(), URL).prefetch(0, 10)
    for one in published.published_lists("400"):
        with pytest.raises(Fatal, match="CERTIFICATE_VERIFY_FAILED"):
            published.fetch(one.files["train"].url, tmp_path / "list")
    for engine in ("pytubefix", "yt-dlp"):
        [answer] = ask(impostor.env, engine, [OK])
        assert (answer.kind, answer.category) == ("StopEveryone", "network")
        assert "CERTIFICATE" in answer.reason.upper()
    assert impostor.requests == [], "not a byte was sent to it"


@pytest.mark.parametrize(
    ("options", "hosts"),
    [
        (("-v", "400"), [ARCHIVE_HOST, MIRROR_HOST]),
        (("-v", "400", "--clip-list", "official"), [ARCHIVE_HOST]),
        (("-v", "400", "--clip-list", "cvdf"), [MIRROR_HOST]),
        (("-v", "700"), [ARCHIVE_HOST]),
        (("-v", "400", "--annotations", "rows.csv"), []),
    ],
    ids=" ".join,
)
def test_the_hosts_of_the_lists_are_asked_for_what_was_chosen_and_only_once(
    options: tuple[str, ...], hosts: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World()
    for version in ("400", "700"):
        world.annotate(version, "validate", ROWS)
    monkeypatch.chdir(tmp_path)
    Path("rows.csv").write_text("youtube_id,time_start,time_end\n-_video0001,0,10\n")
    with LoopbackYouTube(world) as youtube:
        go_through(youtube, monkeypatch)
        monkeypatch.setenv("XDG_CACHE_HOME", youtube.env["XDG_CACHE_HOME"])
        for _ in range(2):
            assert main([*options, "-s", "validate", "--dry-run"]) == 0
        assert sorted(request.host for request in youtube.requests) == sorted(hosts)


@pytest.mark.parametrize(
    "url",
    [
        "https://storage.googleapis.com.example.org/x",
        "https://x.s3.amazonaws.com/x",
        "http://s3.amazonaws.com/x",
        "https://s3.amazonaws.com:8443/x",
        "https://i.ytimg.com/x",
    ],
)
def test_no_list_is_fetched_from_another_host(url: str, tmp_path: Path) -> None:
    with pytest.raises(Fatal, match="refused to follow a URL outside the hosts of the lists"):
        published.fetch(url, tmp_path / "list")


def test_nothing_in_the_code_turns_tls_verification_off() -> None:
    off = re.compile(
        r"CERT_NONE|check_hostname|_create_unverified|(?-i:verify)\s*=|nocheckcertificate|no.check.cert|disable_warnings|assert_hostname",
        re.I,
    )
    assert [path.name for path in CODE if off.search(path.read_text("utf-8"))] == []


# -- what it prints and writes down -----------------------------------------------------------------------------------

STEERING = (
    "\x1b[31m",
    "\x9b31m",
    "\a",
    "\r",
    "\n",
    "\x1b]0;title\x07",
    "\u202e",
    "\u2066",
    "\u061c",
    "\b",
    "\x7f",
    "\x85",
    "\u2028",
)


@pytest.mark.parametrize("steering", STEERING)
def test_no_text_from_outside_steers_the_terminal(steering: str, tmp_path: Path) -> None:
    text = f"before{steering}after"
    for shown in (one_line(text), str(Fatal(text))):
        assert not set(shown) & set(steering) - set("[31m]0;title")
        assert shown.startswith("before")
        assert shown.endswith("after")
    with Ledger(Layout(tmp_path, "700"), "train") as ledger:
        (tmp_path / "Kinetics700").mkdir(exist_ok=True)
        ledger.record(Outcome(Clip("-_video0001", 0, 1, "a", "train"), "failed", Category.PRIVATE, text, host=text))
    for table in tmp_path.glob("Kinetics700_*"):
        assert not set(table.read_text("utf-8").replace("\n", "")) & set(steering) - set("[31m]0;title")


FORMULAS = (
    "=1+1",
    "+1",
    "-1",
    "@A1",
    "\t=1",
    "\r=1",
    '"=1+1"',
    ' "=1"',
    "a;=1",
    "a,=1",
    'a;"=1"',
    "\uff1d1",
    "=cmd|' /C calc'!A0",
)


@pytest.mark.parametrize("formula", FORMULAS)
def test_no_cell_is_a_formula_wherever_a_spreadsheet_splits_the_line(formula: str, tmp_path: Path) -> None:
    """In the error log quotes are plain characters, which a spreadsheet takes for its own."""
    clip = Clip("-A1-B2-C3-D", 0, 1, "a", "train")
    with Ledger(Layout(tmp_path, "700"), "train") as ledger:
        ledger.record(Outcome(clip, "failed", Category.PRIVATE, formula, host=formula))
    for table in tmp_path.glob("Kinetics700_*"):
        for line in table.read_text("utf-8").splitlines():
            for cell in re.split(r"[\t;,]", line):
                assert cell == clip.youtube_id or not re.match(r"[\"\s]*[=+\-@\uff1d]", cell), cell
    log = (tmp_path / "Kinetics700_train_errors.log").read_text()
    assert log.split("\t")[0] == clip.youtube_id, "ids stay as they are: tables are joined by them"
    assert not re.search(r"\t\"", log), "a reader would take everything up to the next quote for one cell"
