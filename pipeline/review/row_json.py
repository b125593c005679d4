"""One row as the page gets it, without the model's answer while the photo is blind."""

from datetime import UTC, datetime
from typing import Any

from pipeline.review.rows import ReviewRows
from pipeline.reviews.truth import Truth

_SHOWN_BY_BROWSERS = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".avif", ".bmp")


def row_as_json(
    rows: ReviewRows, row: int, *, reason: str, truth: dict[str, Any] | None, methods: list[str], is_blind: bool
) -> dict[str, Any]:
    """Describe a row.

    Args:
        rows: all rows.
        row: its number.
        reason: why the photo is shown, in words; "" for its margin.
        truth: what people have said, from `truth_as_json`.
        methods: of further maps.
        is_blind: hide the model's answer.
    """
    path = rows.value("path", row)
    shown = {
        "row": row,
        "path": path,
        "content_hash": rows.value("content_hash", row),
        "width": rows.value("width", row),
        "height": rows.value("height", row),
        "note": rows.value("note", row),
        "fingerprint": rows.value("fingerprint", row),
        "original": path.lower().endswith(_SHOWN_BY_BROWSERS),
        "blind": is_blind,
        "truth": truth,
    }
    if is_blind:
        hidden: dict[str, Any] = {
            "label": None,
            "score": None,
            "top": [],
            "reason": "audit",
            "overlay": False,
            "methods": [],
        }
        return shown | hidden | {"decision": None, "defect_score": None}
    top = zip(rows.value("top_labels", row) or (), rows.value("top_scores", row) or (), strict=False)
    return shown | {
        "label": rows.value("label", row),
        "score": _round(rows.value("score", row)),
        "top": [[label, _round(score)] for label, score in top],
        "reason": reason or describe_margin(rows, row),
        "overlay": rows.value("overlay", row) is not None,
        "methods": methods,
        "decision": rows.value("decision", row),
        "defect_score": _round(rows.value("defect_score", row)),
    }


def truth_as_json(truth: Truth, *, is_stale: bool = False) -> dict[str, Any]:
    """Describe what people have said about a photo.

    Args:
        truth: their standing records.
        is_stale: they are about an earlier photo under this path.
    """
    return {
        "state": truth.state,
        "label": truth.label,
        "verdict": truth.verdict,
        "who": truth.who,
        "answers": truth.answers,
        "records": truth.records,
        "boxes": [vars(box) for box in truth.boxes],
        "boxes_complete": truth.boxes_complete,
        "at": datetime.fromtimestamp(truth.at / 1e6, UTC).isoformat(timespec="seconds"),
        "note": truth.note,
        "stale": is_stale,
    }


def describe_margin(rows: ReviewRows, row: int) -> str:
    """Describe how near the two best labels are: "margin 0.03: spur or open"."""
    labels: list[str] = rows.value("top_labels", row) or []
    if len(labels) < 2:
        return ""
    return f"margin {rows.margins[row]:.2f}: {labels[0]} or {labels[1]}"


def _round(value: float | None) -> float | None:
    return None if value is None or value != value else round(value, 4)
