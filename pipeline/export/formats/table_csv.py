"""CSV files for vitrollout itself and for spreadsheets."""

import csv
import io
from collections.abc import Iterable, Sequence

from pipeline.export.config import ExportConfig
from pipeline.export.dataset import ExportDataset
from pipeline.export.folder import ExportFolder

USAGE = """\
`labels.csv` has a row for each picture in `images/`, `boxes.csv` one for each box, in pixels; x1 and y1 are the first
pixels outside.

    vitrollout finetune labels.csv
    vitrollout evaluate labels.csv
    vitrollout trust labels.csv --boxes boxes.csv
"""


def write_csv(dataset: ExportDataset, folder: ExportFolder, config: ExportConfig) -> None:
    """Write pictures, labels.csv and boxes.csv."""
    for photo in dataset.photos:
        folder.place_picture(photo, f"images/{photo.name}")
    labels = [
        (
            f"images/{photo.name}", photo.label, photo.split, photo.group, photo.width, photo.height,
            str(photo.boxes_complete).lower(), "; ".join(photo.who), photo.source, photo.path, photo.content_hash,
        )
        for photo in dataset.photos
    ]  # fmt: skip
    boxes = [
        (f"images/{photo.name}", f"{box.x0:g}", f"{box.y0:g}", f"{box.x1:g}", f"{box.y1:g}", box.label, box.note or "")
        for photo in dataset.photos
        for box in photo.boxes
    ]
    header = "path label split group width height boxes_complete reviewed_by label_source original content_hash"
    folder.write_text("labels.csv", _format_csv(header.split(), labels))
    folder.write_text("boxes.csv", _format_csv("path x0 y0 x1 y1 label note".split(), boxes))


def _format_csv(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()
