"""The official annotation archives, built in memory from the world's rows."""

from __future__ import annotations

import csv
import io
import json
import re
import tarfile
from collections.abc import Mapping
from typing import TYPE_CHECKING

from tests.youtube.world import Row, Subset

if TYPE_CHECKING:
    from tests.youtube.visit import Visit

NAME = re.compile(r"/deepmind-media/Datasets/(kinetics[\w]+)\.tar\.gz")
SUBSETS: tuple[Subset, ...] = ("train", "validate", "test")


def serve_archive(visit: Visit, path: str) -> None:
    """Answer one request for a path of storage.googleapis.com."""
    visit.note(kind="archive")
    found = NAME.fullmatch(path)
    version = found[1].removeprefix("kinetics").replace("_", "-") if found else ""
    fault = visit.world.archive_faults.get(version)
    if found is None or fault == "missing" or not visit.world.annotations.get(version):
        visit.reply(404, b"<Error><Code>NoSuchKey</Code></Error>", "application/xml")
        return
    content = archive(found[1], version, visit.world.annotations[version])
    middle = len(content) // 2
    if fault == "cut":
        visit.begin(200, "application/gzip", len(content))
        visit.send(content[:middle])
        visit.cut()
    if fault == "damaged":
        content = content[:middle] + bytes(64) + content[middle + 64 :]
    visit.reply(200, content, "application/gzip")


def archive(stem: str, version: str, annotations: Mapping[Subset, list[Row]]) -> bytes:
    """The `.tar.gz` with a CSV and a JSON file for each subset."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for subset in SUBSETS:
            rows, labelled = annotations.get(subset, []), subset != "test" or version in ("400", "600")
            _add(tar, f"{stem}/{subset}.csv", as_csv(rows, subset, labelled))
            _add(tar, f"{stem}/{subset}.json", _as_json(rows, subset, labelled))
    return packed.getvalue()


def as_csv(rows: list[Row], subset: Subset, labelled: bool = True) -> str:
    """The text of one CSV file."""
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow([*(["label"] if labelled else []), "youtube_id", "time_start", "time_end", "split"])
    writer.writerows((*row[0 if labelled else 1 :], subset) for row in rows)
    return table.getvalue()


def _as_json(rows: list[Row], subset: Subset, labelled: bool) -> str:
    return json.dumps(
        {
            row.youtube_id: {
                "annotations": {
                    **({"label": row.label} if labelled else {}),
                    "segment": [float(row.time_start), float(row.time_end)],
                },
                "duration": float(row.time_end - row.time_start),
                "subset": subset,
                "url": f"https://www.youtube.com/watch?v={row.youtube_id}",
            }
            for row in rows
        }
    )


def _add(tar: tarfile.TarFile, name: str, text: str) -> None:
    content = text.encode()
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))
