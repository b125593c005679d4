"""The rows of a table beside the truth about their photos: counts, agreement, the audit."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.reviews.audit import AuditEstimate, audit_position, estimate_accuracy
from pipeline.reviews.truth import Truth

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class ReviewSummary:
    """The reviews of a results folder in numbers.

    Attributes:
        reviewed: photos with an agreed label.
        agrees: of these, photos with the same label by the model.
        unsure, rejected, disputed: photos without one.
        stale: reviewed photos replaced since by others under the same path; they label nothing now.
        contradicted: of the reviewed photos that the model disagrees with, those where an earlier model agreed.
        audit: the accuracy of the model, from the audit's photos; None without any.
    """

    reviewed: int
    agrees: int
    unsure: int
    rejected: int
    disputed: int
    stale: int
    contradicted: int
    audit: AuditEstimate | None

    @property
    def any(self) -> bool:
        """True if people have reviewed any photo."""
        return any((self.reviewed, self.unsure, self.rejected, self.disputed, self.stale))


def add_reviews(frame: "pd.DataFrame", truths: Mapping[str, Truth]) -> "pd.DataFrame":
    """Add the columns reviewed_label, verdict and agrees to rows with content_hash and label.

    verdict is that of the newest record, or "disputed". agrees is missing for photos without an agreed label.
    """
    import pandas as pd

    found = [truths.get(content_hash) for content_hash in frame["content_hash"]]
    verdicts = [truth and ("disputed" if truth.state == "disputed" else truth.verdict) for truth in found]
    labels = [truth and truth.label for truth in found]
    agrees = [
        None if reviewed is None else reviewed == label for reviewed, label in zip(labels, frame["label"], strict=True)
    ]
    return frame.assign(
        reviewed_label=pd.Series(labels, index=frame.index, dtype=object),
        verdict=pd.Series(verdicts, index=frame.index, dtype=object),
        agrees=pd.Series(agrees, index=frame.index, dtype="boolean"),
    )


def summarise_reviews(
    frame: "pd.DataFrame", truths: Mapping[str, Truth], *, audit_rate: float, trained_on: Collection[str] = ()
) -> ReviewSummary:
    """Count the reviews of current rows.

    Args:
        frame: the current rows, with path, content_hash and label.
        truths: by content hash, from `resolve_truths`.
        audit_rate: share of the photos in the audit.
        trained_on: paths of photos used for the model's training, no fair witnesses of its accuracy.
    """
    hashes, paths = set(frame["content_hash"].dropna()), set(frame["path"])
    keys = zip(frame["path"], frame["content_hash"], frame["label"], strict=True)
    rows = [(path, key, label, truths[key]) for path, key, label in keys if key in truths]
    states = [truth.state for _, _, _, truth in rows]
    answers = [
        None if truth.state == "unsure" else truth.label == label
        for path, content_hash, label, truth in rows
        if truth.state in ("reviewed", "unsure")
        and audit_position(content_hash) < audit_rate
        and path not in trained_on
    ]
    return ReviewSummary(
        reviewed=states.count("reviewed"),
        agrees=sum(truth.label == label for _, _, label, truth in rows),
        unsure=states.count("unsure"),
        rejected=states.count("rejected"),
        disputed=states.count("disputed"),
        stale=sum(truth.content_hash not in hashes and truth.path in paths for truth in truths.values()),
        contradicted=sum(is_contradicted(label, truth) for _, _, label, truth in rows),
        audit=estimate_accuracy(answers) if answers else None,
    )


def is_contradicted(label: str | None, truth: Truth) -> bool:
    """Tell whether the model disagrees with a review that agreed with the model's answer of its time."""
    return truth.state == "reviewed" and label != truth.label and truth.label == truth.label_before
