"""The command `python -m tests.youtube`: the demo, or with `[options] -- COMMAND...` any command on the loopback."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import get_args

from tests.youtube.child import run_child
from tests.youtube.demo import show_demo
from tests.youtube.mirror import stock_all
from tests.youtube.samples import VERSIONS, read_rows, sample_world, scenarios_of
from tests.youtube.server import LoopbackYouTube
from tests.youtube.world import THROTTLE_KINDS, FakeThrottle, Shape, ThumbnailMode, World


def main(arguments: list[str]) -> int:
    """Return the demo's exit code, or the command's, which is 128 + the signal's number where a signal ended it."""
    if not arguments:
        return show_demo()
    parser = _parser()
    options = parser.parse_args(arguments)
    if not options.command:
        parser.error("name a command after --; the demo takes no options")
    try:
        world = _world(options)
    except (OSError, KeyError, ValueError) as error:
        parser.error(f"cannot read {options.annotations} as annotations: {error!r}")
    gone = sum(scenario.failure is not None for scenario in world.scenarios.values())
    with LoopbackYouTube(world, options.log) as youtube:
        archives = ", ".join(world.annotations)
        print(
            f"Loopback YouTube on {youtube.proxy_url}: {len(world.scenarios)} videos, {gone} of them gone; "
            f"annotations of Kinetics {archives}{', and a mirror of their clips' * options.mirror}. "
            "Nothing leaves this machine.",
            file=sys.stderr,
            flush=True,
        )
        return run_child(options.command, youtube.env)


def _world(options: argparse.Namespace) -> World:
    if options.annotations is None:
        world = sample_world()
    else:
        rows = read_rows(options.annotations)
        shapes: list[tuple[Shape, ...]] = [(options.formats,)] if options.formats else [("dash",), ("progressive",)]
        world = World(scenarios_of((row for _, row in rows), shapes, options.gone_share))
        for version in VERSIONS:
            for subset, row in rows:
                world.annotate(version, subset, [row])
    if options.mirror:
        stock_all(world)
    world.latency_s, world.bandwidth_bit_s = options.latency / 1000, options.bandwidth and options.bandwidth * 1e6
    world.media_status, world.thumbnails = options.media_status, options.thumbnails
    if options.throttle_after is not None:
        world.throttle = FakeThrottle(
            options.throttle_after, options.throttle_for, options.throttle_kind, options.retry_after
        )
    return world


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.youtube",
        usage="%(prog)s [[options] -- COMMAND...]",
        description="Run a command against a small YouTube on this machine; without any arguments, show a demo. "
        "Without --annotations it has some dozen short videos, listed in the archive of each version, and some of "
        "them are gone.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--annotations", type=Path, metavar="FILE", help="have a video for each row of this CSV, in every version")
    add("--formats", choices=("dash", "progressive", "webm"), help="in this form only; else dash and progressive")
    add("--gone-share", type=float, default=0.0, metavar="SHARE", help="of the videos of --annotations, 0 to 1")
    add("--mirror", action="store_true", help="have archives of all clips, 5 %% corrupt and 5 %% short, on a mirror")
    add("--latency", type=float, default=0.0, metavar="MS", help="before each reply, and for each new connection")
    add("--bandwidth", type=float, metavar="MBIT", help="Mbit/s of each connection")
    add("--throttle-after", type=int, metavar="N", help="refuse everybody after that many player calls")
    add("--throttle-for", type=float, default=5.0, metavar="S", help="for that many seconds")
    add(
        "--throttle-kind",
        choices=THROTTLE_KINDS,
        default="429",
        metavar="KIND",
        help="429, or a name in FAILURES or BLOCKS of tests/youtube/world.py: refuse by that status, or in those words",
    )
    add("--retry-after", metavar="VALUE", help="the header that a 429 brings")
    add("--media-status", type=int, metavar="N", help="answer every request for media with that status")
    add("--thumbnails", choices=get_args(ThumbnailMode), default="as usual", help="how the thumbnails' host answers")
    add("--log", type=Path, metavar="FILE", help="append each request as a line of JSON")
    add("command", nargs="*", help=argparse.SUPPRESS)
    return parser
