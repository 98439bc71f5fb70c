"""What is wanted from the mirror is found by the key of its clip, however many there are."""

from __future__ import annotations

from pathlib import Path

import pytest

from kinetics.errors import Fatal
from kinetics.mirror.wanted_clips import WantedClips, write_wanted_clips
from kinetics.records import Clip

CLIPS = [Clip(f"-clip-{number:05}", number, number + 10, "javelin's \N{SNOWMAN}", "val") for number in range(1000)]


@pytest.mark.parametrize("folder", ["plain", "100 % # odd?", "\udcff"])
def test_each_clip_is_found_and_no_other(tmp_path: Path, folder: str) -> None:
    path = tmp_path / folder / "wanted"
    write_wanted_clips(path, CLIPS)
    wanted = WantedClips(path)
    assert [wanted.find(clip.key) for clip in CLIPS] == CLIPS
    assert wanted.find((CLIPS[0].youtube_id, 0.0, 11.0)) is None


def test_what_was_wanted_before_is_forgotten(tmp_path: Path) -> None:
    write_wanted_clips(tmp_path / "wanted", CLIPS[:1])
    write_wanted_clips(tmp_path / "wanted", CLIPS[1:])
    assert WantedClips(tmp_path / "wanted").find(CLIPS[0].key) is None


def test_a_place_that_cannot_be_written_or_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(Fatal, match="file"):
        write_wanted_clips(tmp_path / "file" / "wanted", CLIPS)
    (tmp_path / "wanted").write_text("no table at all " * 100)
    with pytest.raises(Fatal, match="wanted"):
        WantedClips(tmp_path / "wanted").find(CLIPS[0].key)
