"""The published lists: the official annotation archives and CVDF's lists, built in memory from the world's rows."""

from __future__ import annotations

import csv
import io
import json
import re
import tarfile
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from tests.youtube.world import CvdfList, ListFault, Row, Subset

if TYPE_CHECKING:
    from tests.youtube.visit import Visit

NAME = re.compile(r"/deepmind-media/Datasets/(kinetics[\w]+)\.tar\.gz")
LIST = re.compile(r"/kinetics/(400|600|700_2020)/annotations/((train|val|test)\.(?:csv|txt))")
"""The path of a file of CVDF's list."""
SUBSETS: tuple[Subset, ...] = ("train", "validate", "test")
SUBSET_OF: Mapping[str, Subset] = {"train": "train", "val": "validate", "test": "test"}


def serve_archive(visit: Visit, path: str) -> None:
    """Answer one request for a path of storage.googleapis.com."""
    visit.note(kind="archive")
    found = NAME.fullmatch(path)
    version = found[1].removeprefix("kinetics").replace("_", "-") if found else ""
    annotations = visit.world.annotations.get(version)
    content = archive(found[1], version, annotations) if found and annotations else None
    _reply(visit, content, "application/gzip", visit.world.archive_faults.get(version))


def serve_list(visit: Visit, path: str) -> None:
    """Answer one request for a file of CVDF's list. The files of 600 are those that are whole."""
    visit.note(kind="list")
    found = LIST.fullmatch(path)
    version, split = (found[1].replace("_", "-"), found[3]) if found else ("", "")
    cvdf = visit.world.cvdf.get(version, CvdfList())
    rows = visit.world.annotations.get(version) if cvdf.rows is None else cvdf.rows
    there = found and found[2] == f"{split}.{'txt' if version == '600' and split != 'test' else 'csv'}"
    text = cvdf.text
    if text is None and rows:
        text = as_cvdf_csv(rows.get(SUBSET_OF.get(split, "train"), ()), split)
    _reply(visit, text.encode() if there and text is not None else None, "text/csv", cvdf.fault)


def _reply(visit: Visit, content: bytes | None, mime_type: str, fault: ListFault | None) -> None:
    """Send a list, or what a fault makes of that."""
    middle = len(content or b"") // 2
    match fault:
        case "busy":
            visit.reply(503, b"<Error><Code>SlowDown</Code></Error>", "application/xml")
        case "silent":
            visit.stall()
        case "reset":
            visit.cut(with_reset=True)
        case "html":
            visit.reply(200, b"<html>Sign in to this network</html>", "text/html")
        case _ if content is None or fault == "missing":
            visit.reply(404, b"<Error><Code>NoSuchKey</Code></Error>", "application/xml")
        case "cut":
            visit.begin(200, mime_type, len(content))
            visit.send(content[:middle])
            visit.cut()
        case "damaged":
            visit.reply(200, content[:middle] + bytes(64) + content[middle + 64 :], mime_type)
        case _:
            visit.reply(200, content, mime_type)


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


def as_cvdf_csv(rows: Iterable[Row], split: str) -> str:
    """The text of one CSV file as CVDF hands it out."""
    lines = ["label,youtube_id,time_start,time_end,split,is_cc"]
    for row in rows:
        label = f'"{row.label}"' if " " in row.label else row.label
        lines.append(f"{label},{row.youtube_id},{row.time_start},{row.time_end},{split},0")
    return "".join(f"{line}\n" for line in lines)


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
