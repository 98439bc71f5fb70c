"""How numbers are said to a person."""

from __future__ import annotations

import pytest

from kinetics.humanize import duration_text, percent, size


@pytest.mark.parametrize(
    ("share", "words"),
    [(0, "0%"), (1, "100%"), (0.5, "50.0%"), (0.999999, "99.99%"), (0.000001, "0.01%"), (0.9951, "99.51%")],
)
def test_what_is_nearly_complete_is_not_called_complete(share: float, words: str) -> None:
    assert percent(share) == words


@pytest.mark.parametrize(
    ("count", "words"),
    [
        *((0, "0 bytes"), (999, "999 bytes"), (3500, "3.50 kB"), (14_100_000_000, "14.1 GB")),
        *((628_000_000_000, "628 GB"), (1_500_000_000_000, "1.50 TB"), (999_600, "1.00 MB"), (99_950, "100 kB")),
    ],
)
def test_sizes_are_told_in_the_units_of_disks(count: float, words: str) -> None:
    assert size(count) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [*((0, "0 seconds"), (119, "119 seconds"), (120, "2.0 minutes"), (7200, "2.0 hours"), (176 * 86400, "176.0 days"))],
)
def test_times_are_told_in_units_that_can_be_imagined(seconds: float, words: str) -> None:
    assert duration_text(seconds) == words
