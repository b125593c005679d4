"""One decision of a person about one photo, as a line of JSON and as a row of Parquet."""

import math
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, get_args

import pyarrow as pa
from pydantic import TypeAdapter

Verdict = Literal["confirmed", "corrected", "unsure", "rejected", "withdrawn"]
How = Literal["single", "grid", "box", "api"]
BoxSource = Literal["drawn", "map", "edited", "imported"]

VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
LABELLED: tuple[Verdict, ...] = ("confirmed", "corrected")


@dataclass(frozen=True)
class ReviewBox:
    """A box around a defect, in upright pixels of the photo.

    Attributes:
        x0, y0: its first pixel.
        x1, y1: the first pixel outside.
        label: of the defect.
        source: drawn by hand, taken from a map, taken from a map and edited, or imported.
        note: a remark, or None.
    """

    x0: float
    y0: float
    x1: float
    y1: float
    label: str
    source: BoxSource = "drawn"
    note: str | None = None


@dataclass(frozen=True)
class ReviewRecord:
    """One decision. Records are never changed: a later one replaces an earlier one by naming it.

    Attributes:
        id: 32 hex digits, unique.
        at: time of the decision, UTC.
        who: the person.
        session: name of the file with the record, without its extension.
        path: place of the photo at that time.
        content_hash: of the photo; it ties the record to the photo, wherever that lies.
        width, height: upright pixels.
        verdict: confirmed and corrected carry a label; unsure and rejected (the photo is unusable) carry none;
            withdrawn takes back the records in `replaces`.
        label_before, score_before: the model's answer, or None.
        label: the person's answer.
        boxes: of the defects.
        boxes_complete: every defect of the photo has its box; only such photos train a detector.
        replaces: ids of the records known to the person and set aside.
        how: single view, grid (confirmed among many), box editor, or a program.
        order: the queue's order, the reason for showing the photo.
        blind: the model's answer was hidden.
        seconds: from the photo on the screen to the decision.
        note: a remark, or None.
        fingerprint, model, run_id: of the judged row of the table.
    """

    id: str
    at: datetime
    who: str
    session: str
    path: str
    content_hash: str
    width: int
    height: int
    verdict: Verdict
    label_before: str | None = None
    score_before: float | None = None
    label: str | None = None
    boxes: tuple[ReviewBox, ...] = ()
    boxes_complete: bool = False
    replaces: tuple[str, ...] = ()
    how: How = "single"
    order: str = ""
    blind: bool = False
    seconds: float | None = None
    note: str | None = None
    fingerprint: str = ""
    model: str = ""
    run_id: str = ""

    def __post_init__(self) -> None:
        """Check what the types don't say.

        Raises:
            ValueError: a label is missing or not allowed with this verdict, or a box is not one.
        """
        if self.verdict != "withdrawn" and (self.label is None) == (self.verdict in LABELLED):
            raise ValueError(f"{self.verdict} goes {'with' if self.label is None else 'without'} a label")
        for box in self.boxes:
            if not (math.isfinite(box.x0 + box.y0 + box.x1 + box.y1) and box.x0 < box.x1 and box.y0 < box.y1):
                raise ValueError(f"a box from {box.x0}, {box.y0} to {box.x1}, {box.y1} holds no pixels")

    def to_line(self) -> bytes:
        """Return the record as one line of JSON, with its newline."""
        return _ADAPTER.dump_json(self) + b"\n"


_ADAPTER = TypeAdapter(ReviewRecord)

_BOX = pa.struct(
    [
        ("x0", pa.float32()),
        ("y0", pa.float32()),
        ("x1", pa.float32()),
        ("y1", pa.float32()),
        ("label", pa.string()),
        ("source", pa.string()),
        ("note", pa.string()),
    ]
)
REVIEW_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("at", pa.timestamp("us", tz="UTC")),
        ("who", pa.string()),
        ("session", pa.string()),
        ("path", pa.string()),
        ("content_hash", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("verdict", pa.string()),
        ("label_before", pa.string()),
        ("score_before", pa.float32()),
        ("label", pa.string()),
        ("boxes", pa.list_(_BOX)),
        ("boxes_complete", pa.bool_()),
        ("replaces", pa.list_(pa.string())),
        ("how", pa.string()),
        ("order", pa.string()),
        ("blind", pa.bool_()),
        ("seconds", pa.float32()),
        ("note", pa.string()),
        ("fingerprint", pa.string()),
        ("model", pa.string()),
        ("run_id", pa.string()),
    ]
)


def parse_record(line: bytes | str) -> ReviewRecord:
    """Parse a line of JSON.

    Raises:
        ValueError: it is not a record.
    """
    return _ADAPTER.validate_json(line)


def new_record_id() -> str:
    """Return a new id of a record."""
    return uuid.uuid4().hex


def current_moment() -> datetime:
    """Return the current time, UTC."""
    return datetime.now(UTC)
