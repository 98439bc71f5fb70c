"""Finished clips at a URL, by fsspec: listed, and put whole. Whatever its some thirty backends raise ends here.

What the object stores below are given is there once all of it is, as their clients' sources show: s3fs, gcsfs and adlfs
send a small file in one request that says its length, and a large one in parts which a last request makes a file.
Nothing like that is promised of the others, so there a file is written in `.partial/` and moved; what a failure leaves
in there, nobody needs.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from kinetics.errors import Fatal
from kinetics.humanize import without_password

ATOMIC_UPLOADS = {
    **dict.fromkeys(("s3", "s3a"), "s3fs"),
    **dict.fromkeys(("gs", "gcs"), "gcsfs"),
    **dict.fromkeys(("az", "abfs", "abfss"), "adlfs"),
}
"""Protocols of such object stores, and the package that speaks each."""
PARALLEL_LISTINGS = 8
"""Folders that are listed at a time; botocore keeps ten connections."""
UPLOAD_TIMEOUT_S = 100.0
MIN_UPLOAD_BYTES_S = 50e3
"""In bytes a second."""
_NO_FOLDER = (FileNotFoundError, NotADirectoryError)


@dataclass(frozen=True, slots=True)
class ObjectStore:
    """A place for files by a URL. Credentials and the like come from where the backend looks for them.

    Every method raises Fatal where it cannot do its work, after the backend's own retries.
    """

    url: str = field(repr=False)

    def __str__(self) -> str:
        return without_password(self.url)

    @property
    def modules(self) -> tuple[str, ...]:
        """What a process imports to reach it, as far as fsspec tells before it does so."""
        from fsspec.registry import known_implementations  # noqa: PLC0415 - only who has a URL needs to have it

        known = known_implementations.get(self._protocol)
        return ("fsspec", known["class"].rpartition(".")[0]) if known else ("fsspec",)

    def names_in(self, folder: str) -> list[str]:
        """The names of what lies in a folder; none if there is no such folder."""
        return self.names_in_all([folder])[0]

    def names_in_all(self, folders: Iterable[str]) -> list[list[str]]:
        """The same for each of some folders, several at a time where that is possible.

        They are listed afresh: another machine may have put something there.
        """
        with self._reached("list") as (backend, root):
            backend.invalidate_cache()
            places = [f"{root}/{folder}".rstrip("/") for folder in folders]
            if backend.async_impl:
                return _listed_together(backend, places)
            return [_listed(backend, place) for place in places]

    def put(self, local: Path, name: str, timeout_s: float | None = None) -> None:
        """Put a file of this machine there, whole or not at all.

        What takes longer than even a slow line explains is given up, where fsspec has a means for it. A worker that
        waited on would cost its clip a try.
        """
        limit_s = timeout_s or UPLOAD_TIMEOUT_S + local.stat().st_size / MIN_UPLOAD_BYTES_S

        def write(backend: Any, place: str) -> None:
            backend.put_file(str(local), place, **({"timeout": limit_s} if backend.async_impl else {}))

        self._bring(name, write)

    def write(self, name: str, content: bytes) -> None:
        """Make a small file there, whole or not at all."""
        self._bring(name, lambda backend, place: backend.pipe_file(place, content))

    def read(self, name: str) -> bytes | None:
        """All of a file; None if there is none."""
        with self._reached(f"read {name} in") as (backend, root):
            try:
                content: bytes = backend.cat_file(f"{root}/{name}")
            except FileNotFoundError:
                return None
            return content

    def remove(self, name: str) -> None:
        """Take a file away."""
        with self._reached(f"remove {name} from") as (backend, root):
            backend.rm_file(f"{root}/{name}")

    def _bring(self, name: str, write: Callable[[Any, str], object]) -> None:
        with self._reached(f"write {name} in") as (backend, root):
            final = f"{root}/{name}"
            if self._protocol in ATOMIC_UPLOADS:
                write(backend, final)
                return
            temporary = f"{root}/.partial/{uuid.uuid4().hex}.part"
            for place in (temporary, final):
                backend.makedirs(place.rpartition("/")[0], exist_ok=True)
            write(backend, temporary)
            backend.mv(temporary, final)

    @contextmanager
    def _reached(self, purpose: str) -> Iterator[tuple[Any, str]]:
        """The backend, and where in it the URL leads."""
        try:
            yield _backend(self.url)
        except ImportError as error:
            missing = getattr(error.__cause__ or error, "name", None) or self._protocol
            packages = dict.fromkeys(("fsspec", ATOMIC_UPLOADS.get(self._protocol, missing)))
            raise Fatal(f"{self} needs packages that are not here: pip install {' '.join(packages)}") from error
        except Exception as error:  # each of the backends has errors of its own, of any kind
            what = without_password(str(error)) or type(error).__name__
            raise Fatal(
                f"Cannot {purpose} {self}: {what.rstrip('.')}. Mend that, and run the command again. "
                "What is there already is whole."
            ) from error

    @property
    def _protocol(self) -> str:
        return self.url.partition("://")[0]


def open_store(url: str) -> ObjectStore:
    """The store at a URL, once it has shown that it can be read."""
    store = ObjectStore(url)
    store.names_in("")
    return store


def _backend(url: str) -> tuple[Any, str]:
    from fsspec.core import url_to_fs  # noqa: PLC0415 - only who has a URL needs to have it

    backend, root = url_to_fs(url)
    for logger in ("asyncio", type(backend).__module__.partition(".")[0]):
        _silence(logger)
    return backend, root.rstrip("/")


@cache
def _silence(logger: str) -> None:
    """Keep tracebacks off the terminal: what goes wrong is said by an error, and by that alone."""
    logging.getLogger(logger).addHandler(logging.NullHandler())


def _listed(backend: Any, place: str) -> list[str]:
    try:
        return _names(backend.ls(place, detail=False), place)
    except _NO_FOLDER:
        return []
    finally:
        backend.invalidate_cache(place)


def _listed_together(backend: Any, places: Sequence[str]) -> list[list[str]]:
    """On fsspec's own thread, not on some of ours, for whose ends an interrupted program would wait."""
    import asyncio  # noqa: PLC0415 - nor has anything else a use for this

    from fsspec.asyn import sync  # noqa: PLC0415 - only who has a URL needs to have it

    async def listed(place: str, turn: asyncio.Semaphore) -> list[str]:
        async with turn:
            try:
                return _names(await backend._ls(place, detail=False), place)
            except _NO_FOLDER:
                return []
            finally:
                backend.invalidate_cache(place)  # which would hold a gigabyte of what nobody asked for

    async def all_listed() -> list[list[str]]:
        turn = asyncio.Semaphore(PARALLEL_LISTINGS)
        return await asyncio.gather(*(listed(place, turn) for place in places))

    found: list[list[str]] = sync(backend.loop, all_listed)
    return found


def _names(paths: Iterable[str], place: str) -> list[str]:
    """The last parts of paths, without an object that stands for the folder itself."""
    bare = (path.rstrip("/") for path in paths)
    return [path.rpartition("/")[2] for path in bare if path != place]
