"""The cutters in a process of their own, whose files may not grow."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from tests.support.commands import python


@pytest.mark.parametrize("cut", ["cut_exact", "cut_keyframe", "copy_whole"])
def test_a_file_that_cannot_be_written_is_not_the_medias_fault(cut: str, tmp_path: Path) -> None:
    script = f"""
        import errno, resource, sys
        from pathlib import Path
        from kinetics.storage import atomic
        from kinetics.media import cut as media
        from tests.support.cutting import USUAL, Disk, inputs_of

        section = () if {cut!r} == "copy_whole" else (7.0, 12.0)
        size = int(sys.argv[1])
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        final = Path(sys.argv[2]) / "clip.mp4"
        try:
            with atomic.atomic_write(final) as temporary:
                media.{cut}(inputs_of(USUAL, "dash", Disk()), *section, temporary)
        except OSError as error:
            assert error.errno == errno.EFBIG, error
            print("cannot write")
    """
    for size in (40, 150_000):
        done = python("-c", dedent(script), str(size), str(tmp_path))
        assert (done.stdout, done.stderr) == ("cannot write\n", ""), size
        assert list(tmp_path.iterdir()) == []
