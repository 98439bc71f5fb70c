"""The properties that unit tests try with few examples hold for many."""

from __future__ import annotations

import pytest

from tests.support.commands import ROOT, python

WITH_PROPERTIES = sorted(
    path.relative_to(ROOT).as_posix() for path in ROOT.glob("tests/unit/test_*.py") if "@given" in path.read_text()
)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("file", WITH_PROPERTIES)
def test_the_properties_of_a_unit_hold_for_many_examples(file: str) -> None:
    ran = python("-m", "pytest", "-q", "-n", "0", "--hypothesis-profile", "soak", file, timeout=3600)
    assert ran.returncode == 0, ran.stdout
