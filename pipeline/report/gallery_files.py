"""The gallery's rows -> data files beside the page.

A page that was opened from the disk may not fetch files, but it may load scripts. So each file is one call of a
function of report.js with JSON: index.js has what is filtered and sorted by, of every row; rows-<n>.js has the rest
of a few rows, and is loaded when one of them is shown.
"""

import json
import math
import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd

from pipeline.overlays.writer import thumbnail_name

COLUMNS = [
    "path", "path_bytes", "width", "height", "status", "error", "note", "label", "score", "top_labels", "top_scores",
    "overlay", "run_id", "processed_at",
]  # fmt: skip
ROWS_PER_FILE = 200  # sorted by score, the photos of a page come from as many files as there are photos on it


def write_data_files(frame: pd.DataFrame, out: Path, folder: Path) -> None:
    """Write the data files of a gallery.

    Args:
        frame: the current rows with `COLUMNS`, in the order of the gallery.
        out: the results folder, for its pictures.
        folder: where the files go.
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
        "score": [None if math.isnan(score) else round(score, 6) for score in frame["score"].astype(float)],
        "run": frame["run_id"].astype(str).map({run: number for number, run in enumerate(runs)}).tolist(),
    }
    _write(folder / "index.js", "vitrolloutIndex", index)
    thumbnails = {f"thumbnails/{file.parent.name}/{file.name}" for file in (out / "thumbnails").glob("*/*.jpg")}
    for number, start in enumerate(range(0, len(frame), ROWS_PER_FILE)):
        some = frame.iloc[start : start + ROWS_PER_FILE]
        records = some.astype(object).where(some.notna(), None).to_dict("records")
        rows = [_rest_of(record, numbers, thumbnails) for record in records]
        _write(folder / f"rows-{number}.js", "vitrolloutRows", number, rows)


def _rest_of(record: dict[Any, Any], numbers: dict[str, int], thumbnails: set[str]) -> dict[str, Any]:
    """What the index does not have of a row."""
    ok, overlay = record["status"] == "ok", record["overlay"]
    top = zip(record["top_labels"], record["top_scores"].tolist(), strict=True) if ok else ()
    thumbnail = thumbnail_name(overlay) if overlay else None
    return {
        "photo": quote(record["path_bytes"] or os.fsencode(record["path"])),
        "overlay": quote(overlay) if overlay else None,
        "thumbnail": thumbnail if thumbnail in thumbnails else None,
        "size": [int(record["width"]), int(record["height"])] if ok else None,
        "error": record["error"],
        "note": record["note"],
        "top": [[numbers[label], round(score, 4)] for label, score in top],
        "processed": f"{record['processed_at']:%Y-%m-%d %H:%M} UTC",
    }


def _write(file: Path, function: str, *values: Any) -> None:
    arguments = ", ".join(json.dumps(value, separators=(",", ":")) for value in values)
    file.write_text(f"{function}({arguments});\n", encoding="ascii")
