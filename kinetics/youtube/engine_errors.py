"""Foreign clients' exceptions end here: each becomes one of this program's own errors."""

from __future__ import annotations

import http.client
import json
import ssl
import urllib.error
from collections.abc import Iterator
from contextlib import contextmanager

from kinetics.errors import ClipError, KineticsError, MayWorkLater, StopEveryone, retry_after
from kinetics.net.proxy import refused_login
from kinetics.net.responses import ConnectionBroken
from kinetics.records import Category

TIMEOUT_S = 20.0
"""Seconds that an engine waits for data on a socket; some engines set no timeout of their own."""

UPGRADE = "pip install --upgrade pytubefix 'yt-dlp[default]'"
"""The command that brings the newest engines; without `[default]` yt-dlp-ejs would stay behind and be refused."""


@contextmanager
def translated_errors(engine: str) -> Iterator[None]:
    """Turn every exception of the block into a KineticsError; `engine` is named in errors of unknown kinds."""
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
        raise connection_failure(f"no data for {TIMEOUT_S:g} seconds", stalled=True) from error
    except (ConnectionError, ssl.SSLError) as error:
        raise connection_failure(f"the connection broke: {_describe(error)}", stalled=False) from error
    except (OSError, http.client.HTTPException) as error:
        raise ConnectionBroken(Category.SERVER_ERROR, f"YouTube broke the connection: {_describe(error)}") from error
    except json.JSONDecodeError as error:
        raise MayWorkLater(Category.ENGINE_ERROR, f"YouTube's reply is not JSON ({error})") from error
    except Exception as error:
        raise MayWorkLater(Category.ENGINE_ERROR, f"{engine} failed: {_describe(error)}") from error


def http_failure(status: int, reason: str, error: urllib.error.HTTPError | None = None) -> ClipError:
    """Return what an HTTP status other than success means; `error` brings its Retry-After header."""
    if status == 429:
        wait_s = retry_after(error.headers.get("Retry-After")) if error else None
        return StopEveryone(Category.THROTTLED, reason, wait_s)
    if status >= 500:
        return MayWorkLater(Category.SERVER_ERROR, reason)
    return MayWorkLater(Category.ENGINE_ERROR, reason)


def connection_failure(cause: str, stalled: bool) -> ClipError:
    """Return what a failed connection means: a stall fails this attempt only, anything else concerns every clip.

    Raises Fatal if the proxy refuses the login, which waiting does not change.
    """
    if fatal := refused_login(cause):
        raise fatal
    if stalled:
        return MayWorkLater(Category.TIMEOUT, f"YouTube did not answer in time: {cause}")
    return StopEveryone(Category.NETWORK, f"cannot reach YouTube: {cause}")


def _describe(error: Exception) -> str:
    """Return the error's type and message; some messages start with the type already."""
    name, message = type(error).__name__, str(error)
    return message if message.startswith(name) else f"{name}: {message}".strip(": ")
