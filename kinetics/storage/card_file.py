"""The file of a data set's card: one of this program's is replaced or marked, any other one stays."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterable
from contextlib import suppress
from typing import get_args

from kinetics.errors import Fatal
from kinetics.records import Split
from kinetics.storage.atomic import write_text
from kinetics.storage.layout import Layout
from kinetics.storage.user_files import MAX_SMALL_FILE

MARK = "<!-- kinetics-downloader writes this file anew: remove this line to keep a text of your own -->"
"""The line by which a card is this program's."""
_OLDER = re.compile(r"^> \*\*Older than the data\*\*.*<!-- older: ([a-z ]*) -->\n+", re.MULTILINE)


class CardFile:
    """The card of a data set, in a folder of it or at its URL. Raises Fatal if it cannot be written."""

    def __init__(self, layout: Layout) -> None:
        self.path = layout.folder / "README.md"
        self._store, self._name = layout.store, layout.object_name(self.path)
        self._seen: object = self

    @property
    def is_foreign(self) -> bool:
        """Whether something is there that this program did not write."""
        there = self._store.read(self._name) if self._store else self._state()
        return there is not None and self.read() is None

    def read(self) -> str | None:
        """Return the card's text; None if there is none of this program's."""
        try:
            if self._store:
                content = self._store.read(self._name) or b""
            else:
                state = self.path.lstat()
                plain = stat.S_ISREG(state.st_mode) and state.st_size <= MAX_SMALL_FILE
                content = self.path.read_bytes() if plain else b""
            text = content.decode()
        except (OSError, UnicodeDecodeError):
            return None
        return text if MARK in text else None

    def write(self, text: str, older: Iterable[Split] = ()) -> None:
        """Write the card, marked as older than the clips of some splits."""
        text = _with_mark(text, older)
        if self._store:
            self._store.write(self._name, text.encode())
        else:
            write_text(self.path, [text])

    def clips_changed(self, split: Split) -> None:
        """Mark a card of this program's as older than the clips of a split.

        Call it after every change. It looks at the file only if that has been replaced since, and at a URL only once.
        One at a URL that does not answer is looked at again after the next change.
        """
        if self._state() in (self._seen, None):
            return
        with suppress(*([Fatal] if self._store else [])):
            text = self.read()
            if text and split not in (older := older_splits(text)):
                self.write(text, [*older, split])
            self._seen = self._state()

    def _state(self) -> object:
        """Return what tells the file from one that replaces it; None if there is none."""
        if self._store:
            return self._name
        try:
            state = self.path.lstat()
        except OSError:
            return None
        return state.st_ino, state.st_mtime_ns, state.st_size


def cards_of(layout: Layout) -> tuple[CardFile, CardFile]:
    """Return the card in the folder of the clips, and the one beside shards that were downloaded."""
    return CardFile(layout), CardFile(layout.derived_layout("shards"))


def older_splits(text: str) -> list[Split]:
    """Return the splits whose clips have changed since a card was written, as it is marked."""
    found = _OLDER.search(text)
    return [split for split in get_args(Split) if found and split in found[1].split()]


def _with_mark(text: str, older: Iterable[Split]) -> str:
    text, splits = _OLDER.sub("", text), [split for split in get_args(Split) if split in {*older}]
    if not splits:
        return text
    what = f"clips of {' and '.join(splits)} have changed since it was written. `--manifest` writes it anew."
    return text.replace(
        f"{MARK}\n", f"{MARK}\n\n> **Older than the data**: {what} <!-- older: {' '.join(splits)} -->\n", 1
    )
