"""The values of the command's options: each function turns the text of one into a value.

They raise argparse.ArgumentTypeError with what is wrong about it.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Literal
from urllib.parse import unquote

from kinetics.errors import Fatal
from kinetics.humanize import quoted, without_password
from kinetics.net.proxy import parse_proxy
from kinetics.records import Shard
from kinetics.storage.parquet import SUFFIX as PARQUET
from kinetics.storage.user_files import MAX_SMALL_FILE, read_limited
from kinetics.youtube.engines import ENGINE_NAMES

MAX_WORKERS = 1000
"""Worker processes: each takes some 100 MB of memory, so more are a slip of the finger."""
MAX_SHORT_SIDE = 8192
"""Pixels of the shorter side of a picture: a larger picture does not fit into a worker's memory."""
MAX_FPS = 1000.0
"""Frames a second: more are a slip of the finger."""
MAX_KEYFRAME_DISTANCE = 10_000
"""Frames: no clip has as many, so a larger distance would say nothing."""
MANIFEST_FORMATS = (".csv", PARQUET)
"""The endings of the names that a manifest can have, each of which stands for a format."""
SUBSET_ALIASES = {"val": "validate", "validation": "validate"}


def subset(text: str) -> str:
    """Return the name of a subset; whether there is such a subset, argparse checks."""
    return SUBSET_ALIASES.get(text, text)


def positive(
    kind: Callable[[str], float], *, least: float = 0.001, most: float = 1_000_000_000
) -> Callable[[str], float]:
    """Return a converter to a number of some kind that is above zero, and neither so small nor so large as to overflow.

    The usual bounds are harmless in every unit of an option: a second in 30 years, or a clip in 40 days.
    """

    def convert(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = 0
        if not value > 0:  # NaN is not, either
            raise argparse.ArgumentTypeError(f"{quoted(text)} is not a number above zero")
        return _bounded(value, text, least, most)

    return convert


def _bounded(value: float, text: str, least: float, most: float) -> float:
    if value > most:
        raise argparse.ArgumentTypeError(f"{quoted(text)} is too large: at most {most:,}")
    if value < least:
        raise argparse.ArgumentTypeError(f"{quoted(text)} is too small: at least {least:,}")
    return value


def whole(text: str) -> int:
    """Return a whole number, such as a seed. Its digits are part of the names of files, so it has at most 18."""
    if not re.fullmatch(r"[+-]?\d{1,18}", text, re.ASCII):
        raise argparse.ArgumentTypeError(f"{quoted(text)} is not a whole number of at most 18 digits")
    return int(text)


def shard(text: str) -> Shard:
    """Return one part of several: 3/16."""
    match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text, re.ASCII)
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise argparse.ArgumentTypeError(f"{quoted(text)} is not a part such as 3/16, from 1/16 to 16/16")
    return Shard(int(match[1]), int(match[2]))


def fps(text: str) -> float | Literal["all"]:
    """Return a number of frames a second, or `all`."""
    return "all" if text == "all" else positive(float)(text)


def quality(text: str) -> int:
    """Return a JPEG quality, 1 to 100."""
    if not re.fullmatch(r"\d{1,3}", text, re.ASCII) or not 1 <= int(text) <= 100:
        raise argparse.ArgumentTypeError(f"{quoted(text)} is not a number from 1 to 100")
    return int(text)


def clip_rate(text: str) -> float | Literal["none"]:
    """Return a number of clips an hour, or `none`."""
    return "none" if text == "none" else positive(float)(text)


def rate(text: str) -> float:
    """Return a number of bytes: 500K, 5M."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([KMG]?)B?", text.strip(), re.IGNORECASE | re.ASCII)
    if not match or not float(match[1]):
        raise argparse.ArgumentTypeError(f"{quoted(text)} is not a number of bytes such as 500K or 5M")
    value = float(match[1]) * {"": 1, "K": 1e3, "M": 1e6, "G": 1e9}[match[2].upper()]
    return _bounded(value, text, 1, 10**12)


def scheduler(text: str) -> str:
    """Return the address of a Dask scheduler, or the one in its scheduler file."""
    try:
        address = str(json.loads(read_limited(Path(text), MAX_SMALL_FILE))["address"])  # its scheduler file
    except OSError:
        address = text
    except Fatal as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    except (ValueError, LookupError, TypeError, RecursionError):
        address = ""
    if not re.fullmatch(r"([a-z]+://)?[^/]+:\d+", address):
        raise argparse.ArgumentTypeError(
            f"{quoted(text)} is not the address of a Dask scheduler such as tcp://host:8786"
        )
    return address


def path(text: str) -> Path:
    """Return the path of a file or folder. An empty one, perhaps an unset variable, would mean the current folder."""
    if not text or "\0" in text:
        raise argparse.ArgumentTypeError(f"{quoted(text)} is not a path")
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise argparse.ArgumentTypeError(f"there is no home folder for {quoted(text)}") from None


def manifest_file(text: str) -> Path:
    """Return the path of a manifest to write; its ending says in which format."""
    file = path(text)
    if file.suffix.lower() not in MANIFEST_FORMATS:
        raise argparse.ArgumentTypeError(f"{quoted(text)} ends in neither {' nor '.join(MANIFEST_FORMATS)}")
    return file


def output(text: str) -> Path | str:
    """Return a folder, or a URL that leads elsewhere; a URL that begins with file:// names a folder."""
    if "://" not in text:
        return path(text)
    protocol, _, rest = text.partition("://")
    if protocol == "file" and rest.startswith("/"):
        return path(unquote(rest))
    if protocol == "file" or not re.fullmatch(r"[a-z][a-z0-9+.-]*", protocol) or not rest.strip("/"):
        text = without_password(text)
        raise argparse.ArgumentTypeError(f"{quoted(text)} is neither a folder nor a URL such as s3://bucket/prefix")
    return text.rstrip("/")


def engines(text: str) -> tuple[str, ...]:
    """Return the names of engines, separated by commas, each once."""
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    if not set(names) <= set(ENGINE_NAMES):
        raise argparse.ArgumentTypeError(f"{quoted(text)} is not a list of {', '.join(ENGINE_NAMES)}")
    return names


def proxy(text: str) -> str:
    """Return the URL of an HTTP proxy; http:// may be left out."""
    try:
        parse_proxy(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{quoted(without_password(text))} is not the address of an HTTP proxy such as http://host:3128"
        ) from None
    return text if "://" in text else f"http://{text}"
