"""Files at a URL, through fsspec: lists, uploads, reads and removes them, and turns any backend's errors into Fatal.

An upload to the object stores below appears only when it is complete, as the sources of their clients show: s3fs, gcsfs
and adlfs send a small file in one request that states its length, and a large one in parts which a last request joins.
Other backends promise nothing like that, so there a file is written to `.partial/` and then moved; what a failure
leaves in `.partial/` may be deleted.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import IO, Any

from kinetics.errors import Fatal, not_installed
from kinetics.humanize import without_password

ATOMIC_UPLOADS = {
    **dict.fromkeys(("s3", "s3a"), "s3fs"),
    **dict.fromkeys(("gs", "gcs"), "gcsfs"),
    **dict.fromkeys(("az", "abfs", "abfss"), "adlfs"),
}
"""The protocols of stores whose uploads are atomic, with the package for each."""
PARALLEL_LISTINGS = 8
"""Folders listed at the same time; botocore keeps ten connections."""
UPLOAD_TIMEOUT_S = 100.0
"""Seconds allowed for an upload, plus its size over MIN_UPLOAD_BYTES_S; beyond that it is given up."""
MIN_UPLOAD_BYTES_S = 50e3
"""Bytes a second of the slowest connection whose uploads are not given up."""
READ_BLOCK = 1 << 16
"""Bytes that a request for a part of a file asks for at least: enough for the headers of a sample in a shard."""
_NO_FOLDER = (FileNotFoundError, NotADirectoryError)


@dataclass(frozen=True, slots=True)
class ObjectStore:
    """The files below a URL. The backend finds credentials and settings where it usually looks for them.

    Every method raises Fatal if it fails, after the backend's own retries.
    """

    url: str = field(repr=False)

    def __str__(self) -> str:
        return without_password(self.url)

    @property
    def modules(self) -> tuple[str, ...]:
        """The modules that a process imports to reach the store, as far as fsspec knows them in advance."""
        from fsspec.registry import known_implementations  # noqa: PLC0415 - only needed with a URL

        known = known_implementations.get(self._protocol)
        return ("fsspec", known["class"].rpartition(".")[0]) if known else ("fsspec",)

    def names_in(self, folder: str) -> list[str]:
        """Return the names in a folder; none if there is no such folder."""
        return self.names_in_all([folder])[0]

    def names_in_all(self, folders: Iterable[str]) -> list[list[str]]:
        """Return the names in each of several folders, listed in parallel if the backend can do that.

        No cached listing is used, since another machine may have added files.
        """
        with self._connected("list") as (backend, root):
            backend.invalidate_cache()
            paths = [f"{root}/{folder}".rstrip("/") for folder in folders]
            if backend.async_impl:
                return _listed_together(backend, paths)
            return [_listed(backend, path) for path in paths]

    def put(self, local: Path, name: str, timeout_s: float | None = None) -> None:
        """Upload a file of this machine, atomically.

        An upload that takes longer than a slow connection explains is given up, if the backend has a timeout: a worker
        that waits longer costs its clip an attempt.
        """
        limit_s = timeout_s or UPLOAD_TIMEOUT_S + local.stat().st_size / MIN_UPLOAD_BYTES_S

        def write(backend: Any, path: str) -> None:
            backend.put_file(str(local), path, **({"timeout": limit_s} if backend.async_impl else {}))

        self._write_atomically(name, write)

    def write(self, name: str, content: bytes) -> None:
        """Write a small file, atomically."""
        self._write_atomically(name, lambda backend, path: backend.pipe_file(path, content))

    def read(self, name: str) -> bytes | None:
        """Return the content of a file; None if there is no such file."""
        with self._connected(f"read {name} in") as (backend, root):
            try:
                content: bytes = backend.cat_file(f"{root}/{name}")
            except FileNotFoundError:
                return None
            return content

    @contextmanager
    def open(self, name: str) -> Iterator[IO[bytes]]:
        """Open a file to read parts of it, each with a request for little more than is read."""
        with (
            self._connected(f"read {name} in") as (backend, root),
            backend.open(f"{root}/{name}", "rb", block_size=READ_BLOCK) as file,
        ):
            yield file

    def fetch(self, name: str, local: Path) -> bool:
        """Copy a file to this machine; return whether there is one."""
        local.parent.mkdir(parents=True, exist_ok=True)
        with self._connected(f"read {name} in") as (backend, root):
            try:
                backend.get_file(f"{root}/{name}", str(local))
            except FileNotFoundError:
                return False
            return True

    def remove(self, name: str) -> None:
        """Delete a file."""
        with self._connected(f"remove {name} from") as (backend, root):
            backend.rm_file(f"{root}/{name}")

    def _write_atomically(self, name: str, write: Callable[[Any, str], object]) -> None:
        with self._connected(f"write {name} in") as (backend, root):
            final = f"{root}/{name}"
            if self._protocol in ATOMIC_UPLOADS:
                write(backend, final)
                return
            temporary = f"{root}/.partial/{uuid.uuid4().hex}.part"
            for path in (temporary, final):
                backend.makedirs(path.rpartition("/")[0], exist_ok=True)
            write(backend, temporary)
            backend.mv(temporary, final)

    @contextmanager
    def _connected(self, purpose: str) -> Iterator[tuple[Any, str]]:
        """Yield the backend and the path of the URL in it; turn whatever it raises into Fatal."""
        try:
            yield _backend(self.url)
        except ImportError as error:
            missing = getattr(error.__cause__ or error, "name", None) or self._protocol
            packages = dict.fromkeys(("fsspec", ATOMIC_UPLOADS.get(self._protocol, missing)))
            raise not_installed(f"-o {self}", packages) from error
        except Exception as error:  # each of the backends has errors of its own, of any kind
            what = without_password(str(error)) or type(error).__name__
            raise Fatal(
                f"Cannot {purpose} {self}: {what.rstrip('.')}. Fix that and run the command again. "
                "The files written so far are complete."
            ) from error

    @property
    def _protocol(self) -> str:
        return self.url.partition("://")[0]


def open_store(url: str) -> ObjectStore:
    """Return the store at a URL. Raises Fatal if it cannot be read."""
    store = ObjectStore(url)
    store.names_in("")
    return store


def _backend(url: str) -> tuple[Any, str]:
    from fsspec.core import url_to_fs  # noqa: PLC0415 - only needed with a URL

    backend, root = url_to_fs(url)
    for logger in ("asyncio", type(backend).__module__.partition(".")[0]):
        _silence(logger)
    return backend, root.rstrip("/")


@cache
def _silence(logger: str) -> None:
    """Keep the tracebacks of a logger off the terminal; a Fatal says what went wrong."""
    logging.getLogger(logger).addHandler(logging.NullHandler())


def _listed(backend: Any, path: str) -> list[str]:
    try:
        return _names(backend.ls(path, detail=False), path)
    except _NO_FOLDER:
        return []
    finally:
        backend.invalidate_cache(path)


def _listed_together(backend: Any, paths: Sequence[str]) -> list[list[str]]:
    """List folders in parallel, on fsspec's own thread: an interrupted program would wait for threads of ours."""
    import asyncio  # noqa: PLC0415 - nothing else needs it

    from fsspec.asyn import sync  # noqa: PLC0415 - only needed with a URL

    async def listed(path: str, slots: asyncio.Semaphore) -> list[str]:
        async with slots:
            try:
                return _names(await backend._ls(path, detail=False), path)
            except _NO_FOLDER:
                return []
            finally:
                backend.invalidate_cache(path)  # which would grow to a gigabyte

    async def all_listed() -> list[list[str]]:
        slots = asyncio.Semaphore(PARALLEL_LISTINGS)
        return await asyncio.gather(*(listed(path, slots) for path in paths))

    found: list[list[str]] = sync(backend.loop, all_listed)
    return found


def _names(paths: Iterable[str], folder: str) -> list[str]:
    """Return the last parts of paths, without the object that stands for the folder itself."""
    bare = (path.rstrip("/") for path in paths)
    return [path.rpartition("/")[2] for path in bare if path != folder]
