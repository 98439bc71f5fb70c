"""Packs finished clips into WebDataset shards as they come, so that no folder of single clips is needed.

A finished clip waits as a file. Once more than WINDOW of them wait, one of them, at random, is appended to the open
shard; its file is removed when the shard was synced. A full shard moves to its final name, or to the URL. What a killed
run left of an open shard is cut back to the clips that were synced, and the next run goes on with it.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Self

from kinetics.records import NO_CLASS, Clip, StableFacts
from kinetics.storage.atomic import cannot_write, move
from kinetics.storage.layout import clip_name, names_in
from kinetics.storage.shards import ShardFolder
from kinetics.storage.tar_samples import (
    SAMPLE_OVERHEAD,
    SHARD_LIMIT,
    PackedSample,
    add_sample,
    open_tar,
    read_samples,
    sample_key,
)
from kinetics.storage.video_table import known_videos

WINDOW = 500
"""Clips that wait, among which the next one of a shard is drawn. A larger window mixes the classes of a sorted list
better; a run that is killed has as many files to look at when it goes on."""
SYNC_EVERY = 16
"""Clips that are appended between two syncs. More of them save time on a slow disk, and are on disk twice meanwhile."""


class ShardWriter:
    """The shards of one subset that a run downloads into. Use it with `with`, under the subset's lock.

    Raises Fatal if something cannot be written. If the block ends without an error, all clips are in whole shards.
    """

    def __init__(
        self, folder: ShardFolder, clips_per_shard: int, classes: Callable[[], Sequence[str]], seed: int
    ) -> None:
        self._folder, self._limit, layout = folder, clips_per_shard, folder.layout
        self._classes = classes
        self._random = random.Random(seed)
        self.finished = list[Path]()
        """The shards that this run has written."""
        self._waiting_folder, self._open_path = layout.waiting_folder(folder.split), layout.open_shard(folder.split)
        self._waiting = list[tuple[Clip, StableFacts | None]]()
        self._samples = list[PackedSample]()
        self._unsynced = list[Path]()

    def __enter__(self) -> Self:
        try:
            self._open_path.parent.mkdir(parents=True, exist_ok=True)
            keys, self._number = self._folder.repaired()
            self._open(keys)
            packed = keys | {sample_key(sample.clip) for sample in self._samples}
            for name in names_in(self._waiting_folder):
                if name.removesuffix(".mp4").replace(".", "_") in packed:  # a crash came before it was removed
                    (self._waiting_folder / name).unlink()
        except OSError as error:
            raise cannot_write(error, self._open_path) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error:
                self._sync()
            else:
                while self._waiting:
                    self._pack_one()
                self._finish()
                self._file.close()
                self._open_path.unlink(missing_ok=True)
                with suppress(OSError):  # other clips wait for a run on all of them
                    self._waiting_folder.rmdir()
        except OSError as broken:
            if not error:
                raise cannot_write(broken, self._open_path) from broken
        finally:
            self._file.close()

    def take_waiting(self, clips: Callable[[Container[str]], Iterable[Clip]]) -> None:
        """Take the clips that wait, left by an earlier run or brought by another way than a download.

        `clips` returns the clips whose files have these names; others stay.
        """
        names = {*names_in(self._waiting_folder)}
        left = [*clips(names)] if names else []
        layout, subset = self._folder.layout, self._folder.subset
        known = known_videos(layout, subset, {clip.youtube_id for clip in left}) if left else {}
        for clip in left:
            self.add(clip, known.get(clip.youtube_id))

    def add(self, clip: Clip, video: StableFacts | None = None) -> None:
        """Take a clip whose file waits, and what is known of its video."""
        self._waiting.append((clip, video))
        try:
            while len(self._waiting) > WINDOW:
                self._pack_one()
        except OSError as error:
            raise cannot_write(error, self._open_path) from error

    def _open(self, in_shards: set[str]) -> None:
        """Open the shard that an earlier run left, without what may not have reached the disk, or a new one."""
        mode = "r+b" if self._open_path.exists() else "w+b"
        self._file = open(self._open_path, mode)  # noqa: SIM115 - closed by __exit__
        kept = list[PackedSample]()
        for sample in read_samples(self._file):
            if sample_key(sample.clip) in in_shards:
                kept = []  # it was stored as a whole, and a crash came before its file was removed
                break
            if (self._waiting_folder / clip_name(*sample.clip.key)).exists():
                break
            kept.append(sample)
        end = kept[-1].end if kept else 0
        self._file.truncate(end)
        self._file.seek(end)
        self._tar, self._samples = open_tar(self._file), kept

    def _pack_one(self) -> None:
        clip, video = self._waiting.pop(self._random.randrange(len(self._waiting)))
        path = self._waiting_folder / clip_name(*clip.key)
        try:
            size = path.stat().st_size
        except FileNotFoundError:
            return  # somebody has removed it: it is missing, and the next run fetches it
        if self._samples and (
            len(self._samples) >= self._limit or self._samples[-1].end + size + SAMPLE_OVERHEAD > SHARD_LIMIT
        ):
            self._finish()
        number = self._class_numbers.get(clip.label, NO_CLASS)
        self._samples.append(add_sample(self._tar, clip, path, number, video))
        self._unsynced.append(path)
        if len(self._unsynced) >= SYNC_EVERY:
            self._sync()

    @cached_property
    def _class_numbers(self) -> Mapping[str, int]:
        """The number of each label, found out when the first clip is packed: own annotations are read once more."""
        return {label: number for number, label in enumerate(self._classes())}

    def _sync(self) -> None:
        """Make sure that what was appended is on disk; only then its files go."""
        self._file.flush()
        os.fsync(self._file.fileno())
        for path in self._unsynced:
            path.unlink(missing_ok=True)
        self._unsynced = []

    def _finish(self) -> None:
        """Give the open shard its final name, and begin another one."""
        if not self._samples:
            return
        self._tar.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        final = self._folder.path(self._number)
        if store := self._folder.layout.store:
            store.put(self._open_path, self._folder.layout.object_name(final))
        else:
            move(self._open_path, final)
        self._sync()
        self._folder.append(sample.row(final.name) for sample in self._samples)
        self._number += 1
        self.finished.append(final)
        self._file.close()
        self._file = open(self._open_path, "w+b")  # noqa: SIM115 - closed by __exit__
        self._tar, self._samples = open_tar(self._file), []
