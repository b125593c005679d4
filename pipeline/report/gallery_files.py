"""The gallery's rows -> data files beside the page.

A page opened from the disk may not fetch files, but it may load scripts. So each file is one call of a function of
report.js with JSON: index.js has the fields for filters and sorting, of every row; rows-<n>.js has the rest of a few
rows, and is loaded to show one of them; map.js has the points of the map.
"""

import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd

from pipeline.records import LIKELY_FROM, UNFAMILIAR_FROM
from pipeline.report.archive_map import ArchiveMap
from pipeline.results.names import thumbnail_name
from pipeline.reviews.truth import Truth
from pipeline.storage.location import Location

ROWS_PER_FILE = 200  # few: in a gallery sorted by score, each photo of a page comes from another file
_SIDES = ("x0", "y0", "x1", "y1")
_THREADS = 16  # that look for thumbnails; on a disk of another machine each look takes a millisecond


def build_data_files(frame: pd.DataFrame, truths: Mapping[str, Truth], out: Location) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of the data files of a gallery.

    Args:
        frame: the rows of the gallery, in its order.
        truths: what people say about the photos, by content hash.
        out: the results folder, with the pictures.
    """
    labels = list(frame["label"].value_counts().index)
    labels += sorted({label for top in frame["top_labels"].dropna() for label in top} - set(labels))
    numbers = {label: number for number, label in enumerate(labels)}
    runs = sorted(frame["run_id"].astype(str).unique(), reverse=True)
    index = {
        "rowsPerFile": ROWS_PER_FILE,
        "labels": labels,
        "runs": runs,
        "path": frame["path"].tolist(),
        "label": [numbers.get(label, -1) for label in frame["label"]],  # -1: failed
        "score": _round_values(frame["score"], 6),
        "decision": _index_decisions(frame),
        "run": frame["run_id"].astype(str).map({run: number for number, run in enumerate(runs)}).tolist(),
    }
    if frame["unfamiliar"].notna().any():
        index["unfamiliarFrom"] = UNFAMILIAR_FROM
        index["unfamiliar"] = _round_values(frame["unfamiliar"], 7)  # as many digits as tell 0.99 from the next value
    if frame["detections"].notna().any():
        index["defects"] = [len(_list_likely(detections)) for detections in frame["detections"]]
    found = [truths.get(content_hash) for content_hash in frame["content_hash"]]
    if any(found):
        index["review"] = [_review_state(truth, label) for truth, label in zip(found, frame["label"], strict=True)]
    yield "index.js", _format_call("vitrolloutIndex", index)
    thumbnails = _find_thumbnails(out, frame["overlay"])
    for number, start in enumerate(range(0, len(frame), ROWS_PER_FILE)):
        block = frame.iloc[start : start + ROWS_PER_FILE]
        records = block.astype(object).where(block.notna(), None).to_dict("records")
        rows = [
            _details_of_row(record, numbers, thumbnail)
            for record, thumbnail in zip(records, thumbnails[start : start + ROWS_PER_FILE], strict=True)
        ]
        for row, truth in zip(rows, found[start : start + ROWS_PER_FILE], strict=True):
            if truth:
                row["review"] = "; ".join(
                    f"{answer}, by {who}" for answer, who in zip(truth.answers, truth.who, strict=True)
                )
        yield f"rows-{number}.js", _format_call("vitrolloutRows", number, rows)


def build_map_file(archive_map: ArchiveMap) -> tuple[str, bytes]:
    """Return name and content of the data file of a map: rows of the gallery, and their places."""
    points = archive_map.points.round(4)
    content = {"row": archive_map.places.tolist(), "x": points[:, 0].tolist(), "y": points[:, 1].tolist()}
    return "map.js", _format_call("vitrolloutMap", content)


def _round_values(column: pd.Series, digits: int) -> list[float | None]:
    return [None if math.isnan(value) else round(value, digits) for value in column.astype(float)]


def _find_thumbnails(out: Location, overlays: Iterable[Any]) -> list[str | None]:
    """Return the name of each overlay's thumbnail, None for those missing."""
    names = [thumbnail_name(overlay) if isinstance(overlay, str) else None for overlay in overlays]

    if not isinstance(out, Path):  # a request for each would take longer than the report
        return names

    def keep_existing(start: int) -> list[str | None]:
        return [name if name and (out / name).exists() else None for name in names[start : start + ROWS_PER_FILE]]

    with ThreadPoolExecutor(_THREADS) as threads:
        return list(chain.from_iterable(threads.map(keep_existing, range(0, len(names), ROWS_PER_FILE))))


def _index_decisions(frame: pd.DataFrame) -> list[str | None] | None:
    """Return the decision of each row; None if no row has one."""
    decisions = frame["decision"].astype(object)
    return decisions.where(decisions.notna(), None).tolist() if decisions.notna().any() else None


def _review_state(truth: Truth | None, label: Any) -> str:
    """Return a word for the filter of reviews; empty without a review."""
    if truth is None:
        return ""
    agrees = truth.agrees_with(label if isinstance(label, str) else None)
    return {True: "agrees", False: "disagrees", None: truth.state}[agrees]


def _list_likely(detections: Any) -> list[dict[str, Any]]:
    """Return the detections worth showing of the column of this name, the surest first; none for a row without."""
    if not isinstance(detections, Iterable):  # None or NaN
        return []
    return [one for one in detections if one["score"] >= LIKELY_FROM]


def _details_of_row(record: dict[Any, Any], numbers: dict[str, int], thumbnail: str | None) -> dict[str, Any]:
    """Return the fields of a row missing from the index."""
    ok, overlay = record["status"] == "ok", record["overlay"]
    top = zip(record["top_labels"], record["top_scores"].tolist(), strict=True) if ok else ()
    return {
        "photo": quote(record["path_bytes"] or os.fsencode(record["path"])),
        "overlay": quote(overlay) if overlay else None,
        "thumbnail": thumbnail,
        "size": [int(record["width"]), int(record["height"])] if ok else None,
        "error": record["error"],
        "note": record["note"],
        "defectScore": None if record["defect_score"] is None else round(record["defect_score"], 6),
        "defects": [
            {"label": one["label"], "score": round(one["score"], 3), "place": [round(one[side]) for side in _SIDES]}
            for one in _list_likely(record["detections"])
        ],
        "top": [[numbers[label], round(score, 4)] for label, score in top],
        "processed": f"{record['processed_at']:%Y-%m-%d %H:%M} UTC",
    }


def _format_call(function: str, *values: Any) -> bytes:
    arguments = ", ".join(json.dumps(value, separators=(",", ":")) for value in values)
    return f"{function}({arguments});\n".encode("ascii")
