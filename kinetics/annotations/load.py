"""Loads the clips of a version and subset, from the user's files or from the published lists."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import pandas as pd

from kinetics import __version__
from kinetics.annotations.files import AnnotationFile, find_files
from kinetics.annotations.formats import read_rows, to_seconds
from kinetics.annotations.headers import FORMATS
from kinetics.annotations.kept_clips import keep_clips, kept_clips
from kinetics.annotations.published import (
    ListName,
    NotFetchedError,
    ProgressCallback,
    PublishedList,
    fetch,
    none_fetched,
    published_lists,
)
from kinetics.annotations.table import Annotations, constant_column, one_spelling, usable_rows, valid_rows
from kinetics.annotations.union import compare_lists, named_in_one
from kinetics.errors import Fatal
from kinetics.records import KEY, SPLIT_OF, ListChoice, Subset


def load(
    version: str,
    subset: Subset | Literal["all"],
    path: Path | None = None,
    *,
    file_format: str | None = None,
    clip_list: ListChoice = "all",
    refresh: bool = False,
    progress: ProgressCallback | None = None,
    notify: Callable[[str], None] | None = None,
) -> Annotations:
    """Load the clips of a subset from `path`: a CSV or a JSON, compressed or not, a folder of them, or an archive.

    `file_format` is the name of the files' format, for files that do not show it themselves.

    Without a path, all clips are loaded that the version's published lists name, or the one of them that is chosen.
    They are in the user's cache folder; one that is missing or damaged there is fetched first, with `refresh` each:
    `progress` is called with the bytes, and `notify` with what a person should know. If one cannot be fetched, the kept
    copy or the other list serves.

    All rows of a single file that the user names belong to the subset, whatever its split column says; with `all`, that
    column decides.

    Raises Fatal if no row is usable.
    """
    wanted: Sequence[Subset] = list(SPLIT_OF) if subset == "all" else [subset]
    if path is not None:
        return _table(_find(path, wanted), path, wanted, file_format)
    return _PublishedLists(published_lists(version, clip_list), wanted, progress, notify).load(refresh=refresh)


def _table(
    files: Mapping[Subset | None, AnnotationFile],
    source: Path,
    wanted: Sequence[Subset],
    file_format: str | None = None,
) -> Annotations:
    """Return the clips in files. Raises Fatal if no row is usable."""
    warnings = [f"{source}: there is no file for {one} in it." for one in wanted if not {one, None} & files.keys()]
    frames, data_sets = [], set[str]()
    for file_subset, file in files.items():
        frame, found, file_warnings = usable_rows(file, file_subset, FORMATS[file_format] if file_format else None)
        frames += [] if frame.empty else [frame]
        data_sets.add(found.data_set)
        warnings += [f"{file.name}: {warning}" for warning in file_warnings]
    if not frames:
        raise Fatal(" ".join([f"{source} holds no usable row: download it again, or name another file.", *warnings]))
    table = pd.concat(frames, ignore_index=True).astype({"label": "category", "split": "category"})
    table["label"], spellings = one_spelling(table["label"])  # each file's were compared already
    return Annotations(table, (*warnings, *spellings), data_sets.pop() if len(data_sets) == 1 else "")


@dataclass(frozen=True, slots=True)
class _PublishedLists:
    """The published lists of which a run wants some subsets."""

    lists: Sequence[PublishedList]
    wanted: Sequence[Subset]
    progress: ProgressCallback | None
    notify: Callable[[str], None] | None
    official_elsewhere: dict[Subset, AnnotationFile] = field(default_factory=dict)
    """The official files of the other subsets, if there is a list to compare them with."""

    def load(self, *, refresh: bool) -> Annotations:
        """Return the clips of the lists together, each with where it is named. Raises Fatal if there are none."""
        with suppress(OSError):
            if not refresh and (known := kept_clips(*self._kept_file())):
                return known
        found, missing = self._read(refresh=refresh)
        united = self._united(found)
        if missing:
            return replace(united, warnings=(*missing, *united.warnings))
        with suppress(OSError):
            keep_clips(*self._kept_file(), united)
        return united

    def _united(self, found: Mapping[ListName, Annotations]) -> Annotations:
        """Return the clips of one list, or of both."""
        warnings = [warning for one in found.values() for warning in one.warnings]
        if len(found) == 1:
            ((name, only),) = found.items()
            return Annotations(named_in_one(only.frame, name), tuple(warnings))
        official, cvdf = found["official"], found["cvdf"]
        difference = compare_lists(official.frame, cvdf.frame, self._keys_elsewhere)
        return Annotations(difference.unite(official.frame), (*warnings, *difference.warnings))

    def _kept_file(self) -> tuple[Path, object]:
        """Return where the clips of these lists are kept, and the state of the lists. Raises OSError if one is missing.

        Lists are compared with what the official one has in other subsets, so the state is of all its files.
        """
        paths = [file.path for one in self.lists for file in one.files_of(self.wanted)]
        states = [[str(path), (state := path.stat()).st_size, state.st_mtime_ns] for path in paths]
        name = "-".join(["clips", self.lists[0].version, *self.wanted, *(one.name for one in self.lists)])
        folder = self.lists[0].files_of(self.wanted)[0].path.parent
        return folder / f"{name}.kept", [__version__, *states]

    def _read(self, *, refresh: bool) -> tuple[dict[ListName, Annotations], list[str]]:
        """Return the clips of each list that can be read, and warnings about the others.

        A list that is not in the cache, or damaged there, is fetched; with `refresh` each is. While another one may
        serve, a list that does not answer is waited for only briefly. Raises Fatal if none can be read.
        """
        found = {} if refresh else self._kept(self.lists)
        failed = dict[ListName, NotFetchedError]()
        for patient in (False, True) if len(self.lists) > 1 else (True,):
            for one in self.lists:
                if one.name not in found:
                    try:
                        briefly = not patient or bool(found)
                        found[one.name] = self._fetched(one, briefly=briefly, anew=refresh)
                        failed.pop(one.name, None)
                    except NotFetchedError as error:
                        failed[one.name] = error
            missing = [one for one in self.lists if one.name in failed]
            kept = self._kept(missing) if refresh else {}
            if found or kept:
                return found | kept, [_missing(one, failed[one.name], kept) for one in missing]
        raise none_fetched([*failed.values()])

    def _kept(self, lists: Sequence[PublishedList]) -> dict[ListName, Annotations]:
        """Return the clips of those lists that are in the cache, and not damaged."""
        kept = dict[ListName, Annotations]()
        for one in lists:
            if all(file.path.is_file() for file in one.files_of(self.wanted)):
                with suppress(Fatal):
                    kept[one.name] = self._clips(one)
        return kept

    def _fetched(self, one: PublishedList, *, briefly: bool, anew: bool) -> Annotations:
        """Fetch the files of a list that are missing in the cache, or all of them, and return its clips."""
        files = one.files_of(self.wanted)
        for file in [file for file in files if anew or not file.path.is_file()] or files:
            if self.notify:
                self.notify(f"fetching {one.title} of Kinetics-{one.version} from {file.host}: {file.path.name}")
            fetch(file.url, file.path, self.progress, self.notify, briefly=briefly)
        try:
            return self._clips(one)
        except Fatal as error:
            raise NotFetchedError(files[0].url, str(error)) from error

    def _clips(self, one: PublishedList) -> Annotations:
        """Return the clips of a list that is in the cache. Raises Fatal if there is none."""
        files = dict[Subset | None, AnnotationFile]()
        for file in one.files_of(self.wanted):
            held = [subset for subset in SPLIT_OF if one.files[subset] == file]
            read_too = held if len(self.lists) > 1 else [subset for subset in held if subset in self.wanted]
            files |= _find(file.path, read_too)
        for subset in SPLIT_OF:
            if subset not in self.wanted and subset in files:
                self.official_elsewhere[subset] = files.pop(subset)
        return _table(files, one.files_of(self.wanted)[0].path, self.wanted)

    def _keys_elsewhere(self) -> Iterator[pd.DataFrame]:
        """Yield the keys of the clips that the official list has in the subsets that are not wanted."""
        for file in self.official_elsewhere.values():
            with suppress(Fatal):  # what is not wanted must not stop the run
                cells, _, _ = read_rows(file, for_keys=True)
                times = {name: to_seconds(cells[name]) for name in KEY[1:]}
                yield pd.DataFrame({KEY[0]: cells[KEY[0]], **times}).dropna()


def _missing(one: PublishedList, error: NotFetchedError, kept: Collection[ListName]) -> str:
    """Return the warning about a list that was not fetched, with what serves instead."""
    what = f"{one.title} of Kinetics-{one.version} was not fetched from {error.url} ({error.reason})"
    if one.name in kept:
        return f"{what}: the copy in the cache serves."
    return f"{what}: the other list serves, and clips that only {one.title} names are left out. Run it again later."


def load_labels(path: Path, file_format: str | None = None) -> list[str]:
    """Return the sorted labels of the clips in annotations, of all subsets. Raises Fatal if they cannot be read."""
    labels = set[str]()
    for file in _find(path, [*SPLIT_OF]).values():
        cells, _, _ = read_rows(file, FORMATS[file_format] if file_format else None)
        rows, _ = valid_rows(cells, constant_column(cells, "train"), file.name)
        labels |= {*rows["label"].unique()}
    spelt, _ = one_spelling(pd.Series(sorted(labels), dtype="category"))
    return sorted(label for label in spelt.unique() if label)


def _find(path: Path, wanted: Sequence[Subset]) -> dict[Subset | None, AnnotationFile]:
    try:
        return find_files(path, wanted)
    except OSError as error:
        raise Fatal(f"Cannot read the annotations in {path}: {error.strerror or error}. Check the path.") from error
