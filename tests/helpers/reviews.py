"""Reviews written without a page."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

from pipeline.reviews.record import ReviewBox, ReviewRecord
from pipeline.reviews.session import ReviewSession

_numbers = count()
_START = datetime(2026, 1, 1, tzinfo=UTC)


def make_review(photo: str = "a.png", label: str | None = "short", **changes) -> ReviewRecord:
    """Return a record a second later than the one before; a photo `x.png` has the content hash `x`.

    Args:
        photo: path of the photo.
        label: the person's answer, confirmed; None: unsure.
        **changes: further fields.
    """
    number = next(_numbers)
    fields = {
        "id": f"{number:032x}",
        "at": _START + timedelta(seconds=number),
        "who": "Ann",
        "session": "s",
        "path": photo,
        "content_hash": photo.removesuffix(".png"),
        "width": 30,
        "height": 20,
        "verdict": "unsure" if label is None else "confirmed",
        "label_before": label,
        "label": label,
    }
    return ReviewRecord(**fields | changes)


def withdraw(*records: ReviewRecord, **changes) -> ReviewRecord:
    """Return a record taking back others of the same photo."""
    ids = tuple(record.id for record in records)
    return make_review(records[0].path, None, verdict="withdrawn", replaces=ids, **changes)


def make_box(x0: float = 1, y0: float = 2, x1: float = 11, y1: float = 12, label: str = "short") -> ReviewBox:
    """Return a box of 10 by 10 pixels, unless changed."""
    return ReviewBox(x0, y0, x1, y1, label)


def write_reviews(out: Path, records: Iterable[ReviewRecord], who: str = "Ann") -> Path:
    """Write records as one ended session; return its file."""
    out.mkdir(exist_ok=True)
    with ReviewSession(out, who) as session:
        for record in records:
            session.append(record)
    return session.file
