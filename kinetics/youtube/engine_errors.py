"""Foreign clients' exceptions end here, and become ours."""

from __future__ import annotations

import http.client
import json
import urllib.error
from collections.abc import Iterator
from contextlib import contextmanager

from kinetics.errors import ClipError, KineticsError, MayWorkLater, StopEveryone, retry_after
from kinetics.records import Category

TIMEOUT_S = 20.0
"""For each wait on a socket in an engine: some of them set none of their own."""


@contextmanager
def translated_errors(name: str) -> Iterator[None]:
    """No foreign exception gets past here."""
    try:
        yield
    except KineticsError:
        raise
    except urllib.error.HTTPError as error:
        with error:
            raise http_failure(error.code, f"HTTP Error {error.code}: {error.reason}", error) from error
    except urllib.error.URLError as error:
        raise connection_failure(str(error.reason), stalled=False) from error
    except TimeoutError as error:
        raise connection_failure(f"nothing came for {TIMEOUT_S:g} s", stalled=True) from error
    except (OSError, http.client.HTTPException) as error:
        raise MayWorkLater(Category.SERVER_ERROR, f"YouTube broke the connection: {_said(error)}") from error
    except json.JSONDecodeError as error:
        raise MayWorkLater(Category.ENGINE_ERROR, f"YouTube's reply is no JSON ({error})") from error
    except Exception as error:
        raise MayWorkLater(Category.ENGINE_ERROR, f"{name} failed: {_said(error)}") from error


def _said(error: Exception) -> str:
    name, words = type(error).__name__, str(error)
    return words if words.startswith(name) else f"{name}: {words}".strip(": ")


def http_failure(status: int, words: str, error: urllib.error.HTTPError | None = None) -> ClipError:
    """Return what an HTTP status that an engine met means; `words` go into the reason."""
    if status == 429:
        wait_s = retry_after(error.headers.get("Retry-After")) if error else None
        return StopEveryone(Category.THROTTLED, words, wait_s)
    if status >= 500:
        return MayWorkLater(Category.SERVER_ERROR, words)
    return MayWorkLater(Category.ENGINE_ERROR, words)


def connection_failure(words: str, stalled: bool) -> ClipError:
    """Return what a failed connection means: a stall is this attempt's fault, anything else concerns every clip."""
    if stalled:
        return MayWorkLater(Category.TIMEOUT, f"YouTube did not answer in time: {words}")
    return StopEveryone(Category.NETWORK, f"no line to YouTube: {words}")
