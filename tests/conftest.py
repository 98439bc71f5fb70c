"""Fixtures for the tests that run the whole program."""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.support.s3 import S3
from tests.support.sandbox import Sandbox

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
"""Nothing here multiplies matrices, and the threads for it cost each of some 200 processes a tenth of a second."""

sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
"""Without bytecode each worker of pytest compiles all tests, and each of some 500 processes the program."""

settings.register_profile("ordinary", max_examples=25, deadline=None)
settings.register_profile("soak", max_examples=1000, deadline=None)
settings.load_profile("ordinary")  # `--hypothesis-profile soak` tries more; tests/soak/test_properties.py does so


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give each test a cache folder of its own, which is made if it is used: none writes to the user's."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / f"cache-{uuid.uuid4().hex}"))


@pytest.fixture
def sandbox(tmp_path: Path) -> Sandbox:
    return Sandbox(tmp_path)


@pytest.fixture
def make_sandbox(tmp_path: Path) -> Callable[..., Sandbox]:
    return lambda *args, **kwargs: Sandbox(tmp_path, *args, **kwargs)


@pytest.fixture(scope="module")
def s3() -> Iterator[S3]:
    server = S3()
    server.start()
    yield server
    server.stop()


@pytest.fixture
def bucket(s3: S3, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of a place in a new bucket, which this process can reach as well."""
    from s3fs import S3FileSystem  # noqa: PLC0415

    for name, value in s3.env.items():
        monkeypatch.setenv(name, value)
    S3FileSystem.clear_instance_cache()
    name = f"bucket-{abs(hash(request.node.nodeid))}"
    s3.put(f"/{name}")
    s3.requests.clear()
    return f"s3://{name}/data sets/mine"
