"""A decision as the page sends it, checked, and made into a record."""

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from pipeline.review.refusals import BadRequestError
from pipeline.review.rows import ReviewRows
from pipeline.reviews.record import BoxSource, How, ReviewBox, ReviewRecord, Verdict, current_moment

_Id = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
_Label = Annotated[str, Field(min_length=1, max_length=200)]
_ROUNDING = 0.01  # pixels a box may reach beyond the photo


class SubmittedBox(BaseModel):
    """A box as the page sends it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    x0: FiniteFloat
    y0: FiniteFloat
    x1: FiniteFloat
    y1: FiniteFloat
    label: _Label
    source: BoxSource = "drawn"
    note: Annotated[str, Field(max_length=2000)] | None = None


class Submission(BaseModel):
    """A decision as the page sends it. Fields known better to the server are read and ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: _Id
    row: int | None = None
    content_hash: Annotated[str, Field(min_length=1, max_length=128)]
    verdict: Verdict
    label: _Label | None = None
    boxes: Annotated[tuple[SubmittedBox, ...], Field(max_length=500)] = ()
    boxes_complete: bool = False
    replaces: Annotated[tuple[_Id, ...], Field(max_length=100)] = ()
    how: How = "single"
    seconds: Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)] | None = None
    note: Annotated[str, Field(max_length=4000)] | None = None


@dataclass(frozen=True)
class Circumstances:
    """What the server knows of a decision.

    Attributes:
        who: the reviewer.
        session: name of the session.
        order: of the queue; "" for a photo found beside it.
        blind: the model's answer was hidden.
        model_label: the model's answer by the current name of its class.
        labels: the classes on offer.
    """

    who: str
    session: str
    order: str
    blind: bool
    model_label: str | None
    labels: frozenset[str]


def parse_submission(content: Any) -> Submission:
    """Check the form of a decision.

    Raises:
        BadRequestError: it is wrong; one line.
    """
    try:
        return Submission.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "the record"
        raise BadRequestError(f"{place}: {first['msg']}") from None


def make_record(submission: Submission, rows: ReviewRows, row: int, known: Circumstances) -> ReviewRecord:
    """Make the record of a decision about a row.

    Raises:
        BadRequestError: its label or a box is wrong; one line.
    """
    has_label = submission.verdict in ("confirmed", "corrected")
    if has_label != (submission.label is not None):
        raise BadRequestError(f"{submission.verdict}: {'needs a label' if has_label else 'takes no label'}")
    if submission.label is not None and submission.label not in known.labels:
        raise BadRequestError(f"label: no such class: {submission.label!r}")
    if submission.boxes_complete and not has_label:
        raise BadRequestError(f"{submission.verdict}: takes no complete boxes")
    verdict = submission.verdict
    if has_label:
        verdict = "confirmed" if submission.label == known.model_label else "corrected"
    width, height = rows.value("width", row), rows.value("height", row)
    return ReviewRecord(
        id=submission.id,
        at=current_moment(),
        who=known.who,
        session=known.session,
        path=rows.value("path", row),
        content_hash=submission.content_hash,
        width=width,
        height=height,
        verdict=verdict,
        label_before=rows.value("label", row),
        score_before=rows.value("score", row),
        label=submission.label,
        boxes=tuple(_make_box(box, (width, height), known.labels) for box in submission.boxes),
        boxes_complete=submission.boxes_complete,
        replaces=submission.replaces,
        how=submission.how,
        order=known.order,
        blind=known.blind,
        seconds=submission.seconds,
        note=submission.note or None,
        fingerprint=rows.value("fingerprint", row),
        model=rows.value("model", row),
        run_id=rows.value("run_id", row),
    )


def _make_box(box: SubmittedBox, size: tuple[int, int], labels: frozenset[str]) -> ReviewBox:
    """Clip a box to the photo; one with more than rounding outside, without an area, or of no class is refused."""
    width, height = size
    corners = f"{box.x0:g}, {box.y0:g}, {box.x1:g}, {box.y1:g}"
    if box.label not in labels:
        raise BadRequestError(f"boxes: no such class: {box.label!r}")
    if min(box.x0, box.y0, width - box.x1, height - box.y1) < -_ROUNDING:
        raise BadRequestError(f"boxes: {corners} reaches out of the photo, {width} x {height} pixels")
    x0, y0, x1, y1 = max(0.0, box.x0), max(0.0, box.y0), min(float(width), box.x1), min(float(height), box.y1)
    if x0 >= x1 or y0 >= y1:
        raise BadRequestError(f"boxes: {corners} is empty")
    return ReviewBox(x0, y0, x1, y1, box.label, box.source, box.note)
