"""What the workers of a download do, and how they are made ready while this process loads the annotations."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from kinetics.errors import Fatal
from kinetics.humanize import error_words
from kinetics.mirror.extract_job import ExtractArchive
from kinetics.net.proxy import check_proxy
from kinetics.planning.adopt_job import AdoptClip
from kinetics.run.context import Context
from kinetics.run.listener import Listener
from kinetics.run.options import Options
from kinetics.scheduling.processes import warm_up
from kinetics.storage.user_files import MAX_SMALL_FILE, read_limited
from kinetics.youtube.download_job import DownloadClip

FIRST_HOST: Mapping[str, str] = {"youtube": "www.youtube.com", "mirror": "s3.amazonaws.com", "both": "www.youtube.com"}
"""The host that the proxy is asked for at the start, by source."""


def prepare(options: Options, listener: Listener) -> None:
    """Check the proxy, and let the workers' modules be imported while this process loads the annotations."""
    if options.dry_run:
        return
    if problem := check_proxy(FIRST_HOST[options.source]):
        listener.warn(f"{problem}. The run waits until it does")
    if not options.scheduler:
        # The folder of a list of one's own is known when that is loaded, and the modules depend only on the URL.
        warm_up(modules(options, Context(replace(options, annotations=None))))


def modules(options: Options, context: Context) -> Iterator[str]:
    """Yield the modules that the workers need."""
    if options.source != "mirror":
        yield from download_job(options, context).modules
    if options.source != "youtube":
        yield from extract_job(options, context).modules
    if options.adopt:
        yield from AdoptClip(context.layout, options.picture).modules


def download_job(options: Options, context: Context) -> DownloadClip:
    """Return what workers do to get a clip from YouTube. Raises Fatal if the cookies cannot be used."""
    return DownloadClip(
        context.layout,
        options.cut,
        engines_with_cookies(options.engine, options.cookies),
        options.max_height,
        cookies=options.cookies and options.cookies.absolute(),
        limit_rate=options.limit_rate,
        shared=context.own_folder,
        proxy=options.proxy,
        thumbnails=not options.no_thumbnails,
        picture=options.picture,
    )


def extract_job(options: Options, context: Context) -> ExtractArchive:
    """Return what workers do to take clips out of an archive of the mirror."""
    own = context.own_folder
    return ExtractArchive(
        context.layout, own / "wanted.sqlite", options.limit_rate, own, options.proxy, options.picture
    )


def engines_with_cookies(engines: tuple[str, ...], cookies: Path | None) -> tuple[str, ...]:
    """Return the engines that can use these cookies. Raises Fatal if none can, or the file cannot be read."""
    if cookies is None:
        return engines
    try:
        if not cookies.is_file():  # a pipe can be read only once, and each worker reads them
            raise OSError(errno.EINVAL, "it is not a file" if cookies.exists() else "there is no such file")
        read_limited(cookies, MAX_SMALL_FILE)
    except OSError as error:
        remedy = "check the path and its permissions."
        raise Fatal(f"Cannot read the cookies in {cookies}: {error_words(error)}: {remedy}") from error
    if "yt-dlp" not in engines:
        raise Fatal("Only yt-dlp can send cookies: leave out --cookies, or add --engine yt-dlp.")
    return ("yt-dlp",)
