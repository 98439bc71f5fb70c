"""A disk of a few megabytes, which fills up."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest


class Disk:
    """A small disk of its own, where the system lets us mount one."""

    def __init__(self, folder: Path, mebibytes: int) -> None:
        self.folder = folder
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs", str(folder)]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("no file system may be mounted here")

    @property
    def ballast(self) -> Path:
        return self.folder / "ballast"

    def fill(self, leave: int = 0) -> None:
        """Fill the disk until this number of 4 KiB blocks is free."""
        free = os.statvfs(self.folder).f_bavail - leave
        self.ballast.write_bytes(bytes(free * os.statvfs(self.folder).f_bsize))

    def unmount(self) -> None:
        subprocess.run(["umount", "--lazy", str(self.folder)], check=True)
