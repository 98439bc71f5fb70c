"""Sweeps over cases of one kind: the ordinary run takes some of them, `-m soak` all the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest


def first_of(values: Iterable[object], count: int = 1) -> list[Any]:
    """Return values for `parametrize`, of which the ordinary run takes the first `count`."""
    return [
        pytest.param(value, marks=() if number < count else pytest.mark.soak) for number, value in enumerate(values)
    ]


def soak_unless(ordinary: Callable[..., object], *cases: Any) -> list[Any]:
    """Return cases, each a tuple of arguments, for `parametrize`; the ordinary run takes those that are `ordinary`."""
    return [pytest.param(*case, marks=() if ordinary(*case) else pytest.mark.soak) for case in cases]
