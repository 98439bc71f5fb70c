"""Parses the command line into Options, and has the help. No argparse.Namespace leaves this file."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn

from kinetics import __version__
from kinetics.annotations.headers import FORMATS
from kinetics.run import option_values as values
from kinetics.run.options import ON_ALL_CLIPS, ON_CLIPS, Command, Options
from kinetics.storage.layout import local_folder
from kinetics.storage.ledger import PICTURE_FIELDS
from kinetics.youtube.engines import engine_versions

DESCRIPTION = """\
Download the clips of a Kinetics data set from YouTube, trimmed to their
annotated sections. Run it again to go on where it stopped, and to retry what
failed.
"""
EXAMPLES = """\
examples:
  python download.py -v 700 -s train -w 16
      the training set of Kinetics-700, with 16 workers
  python download.py -v 400 -s val --dry-run
      what would be done, without doing it
  python download.py --annotations few_shot.csv -s test -o data --cut keyframe
      the clips of your own list, into the folder data
"""

DEFAULT_ENGINES = ("pytubefix", "yt-dlp")
INSTALLED_COMMAND = "kinetics-download"
"""The command that `pip install .` gives (pyproject.toml)."""


def parse(argv: Sequence[str] | None) -> Options:
    """Return the options that were given; bad ones end the program with one line."""
    parser = make_parser()
    given = vars(parser.parse_args(argv))
    command, output = given["command"], given["output"]
    if given["quick"] and command is not Command.VERIFY:
        parser.error("--quick belongs to --verify")
    if command is not Command.FRAMES and given["quality"] is not None:
        parser.error("--quality belongs to --frames")
    _check_picture(parser, given)
    if command in ON_CLIPS and given["cut"] == "none":
        parser.error(f"--{command} is for clips, and --cut none keeps whole videos")
    _check_into_shards(parser, given)
    if given["adopt"] and (command is not Command.DOWNLOAD or given["cut"] == "none"):
        parser.error("--adopt belongs to a download of clips, without --cut none")
    _check_annotations(parser, given)
    if command in ON_ALL_CLIPS and given["shard"]:
        parser.error(f"--{command} is for all clips on disk together, and --shard is one part of them")
    if given["source"] != "youtube" and given["cut"] == "none":
        parser.error("--cut none keeps whole videos, and the mirror has clips: leave out --source")
    if given["source"] != "youtube" and given["shard"]:
        parser.error("every part would read the same archives: run --source mirror without --shard first")
    url = output if isinstance(output, str) else ""
    if url and command in ON_CLIPS | {Command.COMPARE}:
        parser.error(f"--{command} works in a folder: copy the data set to one, and give that to -o")
    return Options(**{**given, "output": local_folder(url) if url else output, "url": url})


def _check_picture(parser: argparse.ArgumentParser, given: Mapping[str, Any]) -> None:
    command, asked = given["command"], [f"--{name.replace('_', '-')}" for name in PICTURE_FIELDS if given[name]]
    if command is Command.RESIZE and not asked:
        parser.error("--resize takes --short-side, --fps or --keyframes, which say what the clips are to be like")
    allowed = {Command.DOWNLOAD, Command.RESIZE} | ({Command.FRAMES} if asked == ["--short-side"] else set())
    if asked and command not in allowed:
        parser.error(f"{asked[-1]} belongs to a download or to --resize, not to --{command}")
    if asked and command is Command.DOWNLOAD and given["cut"] not in ("smart", "exact"):
        parser.error(f"--cut {given['cut']} copies the picture as it is: {asked[0]} needs --cut smart or exact")


def _check_into_shards(parser: argparse.ArgumentParser, given: Mapping[str, Any]) -> None:
    if not given["into_shards"]:
        return
    if given["command"] is not Command.DOWNLOAD or given["cut"] == "none":
        parser.error("--into-shards belongs to a download of clips, without --cut none")
    if given["scheduler"] and isinstance(given["output"], str):
        parser.error("the workers of --scheduler share a folder with this machine: --into-shards needs -o DIR with it")


def _check_annotations(parser: argparse.ArgumentParser, given: Mapping[str, Any]) -> None:
    if given["format"] and not given["annotations"]:
        parser.error("--format says what is in --annotations: give that as well")
    if given["annotations"] and (given["clip_list"] != "all" or given["refresh"]):
        parser.error("--clip-list and --refresh are about the published lists, and --annotations takes their place")
    if given["clip_list"] == "cvdf" and given["version"] == "700":
        parser.error("CVDF has no list of Kinetics-700: the one of 700-2020 is another data set's")


def program_name() -> str:
    """Return what a person types to run the program: the installed command, or the file in the project's folder."""
    return INSTALLED_COMMAND if Path(sys.argv[0]).name == INSTALLED_COMMAND else "download.py"


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command's options."""
    parser = _Parser(
        prog=program_name(),
        usage="%(prog)s [-v VERSION] [-s SUBSET] [-o DIR] [-w WORKERS] [options]",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(command=Command.DOWNLOAD)
    parser.add_argument(
        "-V",
        "--program-version",
        action=_ProgramVersion,
        nargs=0,
        default=argparse.SUPPRESS,
        help="show the program's version and exit",
    )
    what = parser.add_argument_group("What to fetch")
    _add_data_set(what)
    _add_selection(what)
    _add_form(what)
    _add_where(parser.add_argument_group("Where"))
    how = parser.add_argument_group("How")
    _add_how(how)
    _add_on_disk(how)
    _add_network(how)
    _add_instead(parser.add_argument_group("Instead of downloading"))
    _add_details(parser.add_argument_group("Details of these"))
    return parser


class _Instead(argparse.Action):
    """Chooses the command that an option names, and keeps the option's value, if it takes one."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        namespace.command = Command(self.option_strings[0].removeprefix("--"))
        if self.nargs != 0:
            setattr(namespace, self.dest, tuple(values) if isinstance(values, list) else values or None)


class _ProgramVersion(argparse.Action):
    """Prints the versions that a report of a fault needs, and ends the program."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> NoReturn:
        python = ".".join(map(str, sys.version_info[:3]))
        print(f"kinetics-downloader {__version__} (Python {python}, {engine_versions(DEFAULT_ENGINES)})")
        parser.exit()


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line: the usage would fill a screen."""

    def error(self, message: str) -> NoReturn:
        known = [name for action in self._actions for name in action.option_strings if name.startswith("--")]
        mistyped = re.match(r"unrecognized arguments: (--[^\s=]+)", message)
        nearest = get_close_matches(mistyped[1], known, n=1) if mistyped else ()
        hint = f"; did you mean {nearest[0]}?" if nearest else ""
        self.exit(2, f"error: {message}{hint} ({self.prog} --help lists the options)\n")


def _add_data_set(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "-v",
        "--version",
        choices=("400", "600", "700", "700-2020"),
        default="700",
        help="which Kinetics (default: 700)",
    )
    group.add_argument(
        "-s",
        "--subset",
        type=values.subset,
        choices=("train", "test", "validate", "all"),
        default="train",
        help="val and validation mean validate (default: train)",
    )
    group.add_argument(
        "--annotations",
        type=values.path,
        metavar="PATH",
        help="CSV or JSON, compressed or not, folder, tar or zip archive to use instead of the published lists, which "
        "are fetched once and kept",
    )
    group.add_argument(
        "--format",
        choices=sorted(FORMATS),
        help="format of --annotations, for a file that does not show it (docs/datasets.md)",
    )
    group.add_argument(
        "--clip-list",
        choices=("all", "official", "cvdf"),
        default="all",
        help="published list to read. all: every clip that any list names; official: the official list, which shrinks "
        "over the years; cvdf: the CVDF foundation's, which there is for all but 700 (default: all)",
    )
    group.add_argument("--refresh", action="store_true", help="fetch the published lists anew")


def _add_selection(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--classes",
        nargs="+",
        metavar="NAME",
        help="only these classes; @FILE stands for the lines of a file, spaces may be underscores",
    )
    group.add_argument(
        "--only",
        type=values.path,
        metavar="FILE",
        help="only the clips that this file names: a manifest or another CSV, an errors.log, a list of --lists, or "
        "lines such as <id>_<start>_<end> or <id>, which stands for all clips of a video",
    )
    group.add_argument(
        "--limit", type=values.positive(int), metavar="N", help="at most N clips of each class, the first ones"
    )
    group.add_argument(
        "--sample",
        type=values.positive(int),
        metavar="N",
        help="N clips drawn at random from all of these; the same ones each time, for the same --seed",
    )
    group.add_argument(
        "--seed",
        type=values.whole,
        default=0,
        metavar="S",
        help="random seed of --sample, --shards, --into-shards and --repack (default: 0)",
    )
    group.add_argument(
        "--shard",
        type=values.shard,
        metavar="N/OF",
        help="only the Nth of OF equal parts, with log and table of its own, for job arrays",
    )


def _add_form(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--cut",
        choices=("smart", "exact", "keyframe", "none"),
        default="smart",
        help="smart: exactly the annotated frames, re-encoded up to the first keyframe, copied from there; exact: the "
        "same frames, all re-encoded; keyframe: copied, begins up to some seconds early; none: the whole video "
        "(default: smart)",
    )
    group.add_argument(
        "--source",
        choices=("youtube", "mirror", "both"),
        default="youtube",
        help="youtube; mirror: the archives of trimmed clips that the CVDF foundation keeps; both: the quicker one "
        "first, then the other one for what is missing (default: youtube)",
    )
    group.add_argument(
        "--max-height",
        type=values.positive(int),
        default=360,
        metavar="LINES",
        help="tallest picture to take; if all are taller, the smallest is taken (default: 360)",
    )
    group.add_argument(
        "--short-side",
        type=values.positive(int, least=2, most=values.MAX_SHORT_SIDE),
        metavar="PIXELS",
        help="make clips smaller, to this shorter side: 256 or 320 are usual for training. Smaller ones stay; with "
        "--frames, the shorter side of the frames (default: as in the source)",
    )
    group.add_argument(
        "--fps",
        type=values.positive(float, most=values.MAX_FPS),
        metavar="RATE",
        help="frames a second of the clips, of the source's nearest ones (default: all of the source's)",
    )
    group.add_argument(
        "--keyframes",
        type=values.positive(int, most=values.MAX_KEYFRAME_DISTANCE),
        metavar="N",
        help="a keyframe every N frames at least: 16 make reading single frames several times as fast (default: as in "
        "the source, mostly every 2 to 5 s)",
    )
    group.add_argument(
        "--retry",
        choices=("due", "all", "transient", "none"),
        default="due",
        help="earlier failures to try again. due: what may work now, what was gone unless its thumbnail is still "
        "missing, and what YouTube did not offer more than 30 days ago or to other versions of the engines; all: "
        "everything; transient: only what may work now; none: nothing (default: due)",
    )


def _add_where(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "-o",
        "--output",
        type=values.output,
        default=Path(),
        metavar="DIR",
        help="folder for the data set, or a URL such as s3://bucket/prefix (default: here)",
    )
    group.add_argument(
        "--into-shards",
        type=values.positive(int),
        metavar="CLIPS",
        help="write the clips into WebDataset tar files of CLIPS clips each, at most 1 GB, as they come, instead of "
        "into a folder of single files",
    )


def _add_how(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "-w",
        "--workers",
        type=values.positive(int, most=values.MAX_WORKERS),
        metavar="WORKERS",
        help="worker processes (default: 8; one per core for what is done instead of downloading)",
    )
    group.add_argument(
        "--scheduler",
        type=values.scheduler,
        metavar="ADDRESS",
        help="run on the workers of a Dask cluster, such as tcp://host:8786, where -w is the most clips at a time on "
        "each host: docs/cluster.md",
    )
    group.add_argument(
        "--engine",
        type=values.engines,
        default=DEFAULT_ENGINES,
        metavar="LIST",
        help="libraries that ask YouTube, each where the one before it fails: pytubefix, yt-dlp, pytube "
        "(default: pytubefix,yt-dlp)",
    )
    group.add_argument(
        "--timeout",
        type=values.positive(float),
        metavar="SECONDS",
        help="most time for one clip (default: 300, with --cut none 3600; longer where --limit-rate needs it)",
    )
    group.add_argument(
        "--rate",
        type=values.clip_rate,
        metavar="PER_HOUR",
        help="most clips an hour from YouTube, or none for no limit (default: 250 at once, then the 300 an hour that a "
        "guest is said to get, and slowly more where YouTube allows it)",
    )
    group.add_argument(
        "--limit-rate",
        type=values.rate,
        metavar="BYTES",
        help="most bytes a second, all workers together, such as 500K or 5M (default: no limit)",
    )
    group.add_argument(
        "--no-thumbnails",
        action="store_true",
        help="do not ask i.ytimg.com for thumbnails, by which living videos are tried first, and gone ones again only "
        "if they may be back",
    )


def _add_on_disk(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--no-reuse",
        action="store_true",
        help="fetch clips that another version's folder beside this one has, instead of linking them",
    )
    group.add_argument(
        "--adopt",
        type=values.path,
        metavar="FOLDER",
        help="look in this folder, too, for clips of another tool: those that are whole are linked, or converted from "
        "mkv and webm, instead of fetched",
    )
    group.add_argument(
        "--mix",
        action="store_true",
        help="add clips to those on disk also if these were made with another --cut, --max-height, --short-side, --fps "
        "or --keyframes",
    )


def _add_network(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--cookies", type=values.path, metavar="FILE", help="cookies.txt of your own login, which only yt-dlp can send"
    )
    group.add_argument(
        "--proxy",
        type=values.proxy,
        metavar="URL",
        help="HTTP proxy, with a login if it asks for one: http://user:password@host:3128 (default: the environment's "
        "HTTPS_PROXY, if set)",
    )


def _add_instead(group: argparse._ArgumentGroup) -> None:
    one = group.add_mutually_exclusive_group()
    one.add_argument("--dry-run", action="store_true", help="say what a run would do, and stop")
    flag: dict[str, Any] = {"action": _Instead, "nargs": 0, "default": argparse.SUPPRESS}
    one.add_argument(
        "--report",
        **flag,
        help="write a page on how the download has gone so far and print its figures, also while a run is at work",
    )
    one.add_argument(
        "--list-classes", **flag, help="the classes, with how many clips each has, and how many are on disk"
    )
    one.add_argument(
        "--verify",
        **flag,
        help="decode every clip on disk; damaged ones are moved away, and the next run fetches them again",
    )
    one.add_argument(
        "--frames",
        action=_Instead,
        type=values.fps,
        metavar="FPS",
        help="write FPS frames a second of every clip, or all, as JPEG files",
    )
    one.add_argument(
        "--sound", action=_Instead, choices=("wav", "mp3", "flac"), help="write the sound of every clip to a file"
    )
    one.add_argument(
        "--resize",
        **flag,
        help="write a copy of every clip with --short-side, --fps or --keyframes, into a folder beside the data set",
    )
    _add_packing(one, flag)
    one.add_argument(
        "--compare",
        action=_Instead,
        nargs=2,
        type=values.path,
        metavar=("A", "B"),
        help="say how the data sets of two manifests differ",
    )


def _add_packing(one: argparse._MutuallyExclusiveGroup, flag: dict[str, Any]) -> None:
    one.add_argument(
        "--shards",
        action=_Instead,
        type=values.positive(int),
        metavar="CLIPS",
        help="write WebDataset tar files of CLIPS clips each, at most 1 GB",
    )
    one.add_argument(
        "--repack",
        action=_Instead,
        type=values.positive(int),
        metavar="CLIPS",
        help="write the clips of the manifest into such files, wherever they are: the same bytes for everybody with "
        "this manifest, or the one given to --only, and the same --seed",
    )
    one.add_argument(
        "--lists",
        **flag,
        help="write list files for MMAction2, PyTorchVideo and SlowFast, and the classes",
    )
    one.add_argument(
        "--manifest",
        action=_Instead,
        nargs="?",
        const=(),  # argparse sees no conflict with another command in an option whose value is the default
        type=values.manifest_file,
        metavar="FILE",
        help="write a table of all clips on disk, with size, SHA-256 and frames, and the data set's README.md. "
        "FILE: one table of all chosen subsets, as CSV, or as Parquet with the attempts beside it",
    )


def _add_details(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--quick", action="store_true", help="let --verify read the headers only")
    group.add_argument(
        "--quality", type=values.quality, metavar="Q", help="JPEG quality of --frames, 1 to 100 (default: 90)"
    )
