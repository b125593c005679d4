"""The rows of a table beside the truth about their photos: counts, agreement, the audit.

The audit estimates the accuracy of the labels in the table. A photo belongs to it once somebody has answered it blind
in the order `audit` or `random`, or in a place of `mixed` kept for the audit: photos shown by chance, so whatever part
is answered is a fair sample. Answers in other orders never bring a photo in, because those orders prefer the doubtful
ones. Nor do they put one out: a photo of the audit corrected later stays in it, and counts with the corrected label.
For that, the queue asks about photos of the audit even if they were reviewed before. Not counted: photos used for the
model's training, photos found unusable, and second copies of a photo.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pipeline.reviews.audit import AuditEstimate, estimate_accuracy
from pipeline.reviews.truth import Truth

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class ReviewSummary:
    """The reviews of a results folder in numbers.

    Attributes:
        reviewed: photos with an agreed label.
        agrees, disagrees: of these, photos with the same label by the model, and with another one.
        unsure, rejected, disputed: photos without an agreed label.
        stale: reviewed photos replaced since by others under the same path; they label nothing now.
        contradicted: of the photos in `disagrees`, those whose review agreed with an earlier model.
        audit: the accuracy of the model, from the audit's photos; None without any.
    """

    reviewed: int
    agrees: int
    disagrees: int
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

    def describe(self) -> str:
        """Return the counts in one sentence: `reviewed 1,204, agrees 97.1%; 3 disputed, 12 unsure`."""
        text = f"reviewed {self.reviewed:,}"
        if compared := self.agrees + self.disagrees:
            text += f", agrees {self.agrees / compared:.1%}"
        others = ("disputed", "unsure", "rejected", "stale")
        counts = [f"{getattr(self, name):,} {name}" for name in others if getattr(self, name)]
        audit = [f"accuracy by audit {self.audit.describe()}"] if self.audit else []
        return "; ".join([text, *filter(None, [", ".join(counts)]), *audit])

    def as_json(self) -> dict[str, Any]:
        """Return the summary for programs."""
        return asdict(self) | {"audit": self.audit and self.audit.as_json()}


def add_reviews(frame: "pd.DataFrame", truths: Mapping[str, Truth]) -> "pd.DataFrame":
    """Add the columns reviewed_label, verdict and agrees to rows with content_hash and label.

    verdict is that of the newest record, or "disputed". agrees is missing without an agreed label, and for failed rows.
    """
    import pandas as pd

    rows = [(truths.get(content_hash or ""), label) for _, content_hash, label in _list_rows(frame)]
    verdicts = [truth and ("disputed" if truth.state == "disputed" else truth.verdict) for truth, _ in rows]
    return frame.assign(
        reviewed_label=pd.Series([truth and truth.label for truth, _ in rows], index=frame.index, dtype=object),
        verdict=pd.Series(verdicts, index=frame.index, dtype=object),
        agrees=pd.Series(
            [truth and truth.agrees_with(label) for truth, label in rows], index=frame.index, dtype="boolean"
        ),
    )


def summarise_reviews(
    frame: "pd.DataFrame", truths: Mapping[str, Truth], *, trained_on: Collection[str] = ()
) -> ReviewSummary:
    """Count the reviews of current rows.

    Args:
        frame: the current rows, with path, content_hash and label.
        truths: by content hash, from `read_truths`.
        trained_on: paths of photos used for the model's training, no fair witnesses of its accuracy.
    """
    hashes, paths = set(frame["content_hash"].dropna()), set(frame["path"])
    rows = [(path, label, truth) for path, key, label in _list_rows(frame) if (truth := truths.get(key or ""))]
    states = [truth.state for _, _, truth in rows]
    agreements = [truth.agrees_with(label) for _, label, truth in rows]
    trained_hashes = {truth.content_hash for path, _, truth in rows if path in trained_on}
    answers = {truth.content_hash: truth.agrees_with(label) for _, label, truth in rows if is_in_audit(truth, label)}
    witnesses = [answer for content_hash, answer in answers.items() if content_hash not in trained_hashes]
    return ReviewSummary(
        reviewed=states.count("reviewed"),
        agrees=agreements.count(True),
        disagrees=agreements.count(False),
        unsure=states.count("unsure"),
        rejected=states.count("rejected"),
        disputed=states.count("disputed"),
        stale=sum(truth.content_hash not in hashes and truth.path in paths for truth in truths.values()),
        contradicted=sum(is_contradicted(label, truth) for _, label, truth in rows),
        audit=estimate_accuracy(witnesses) if witnesses else None,
    )


def is_in_audit(truth: Truth, label: str | None) -> bool:
    """Tell whether an answered photo, with this label by the model, counts for the audit: see the top of the module."""
    return truth.audited and label is not None and truth.state != "rejected"


def is_contradicted(label: str | None, truth: Truth) -> bool:
    """Tell whether the model disagrees with a review that agreed with the model's answer of its time."""
    return truth.agrees_with(label) is False and bool(truth.agrees_with(truth.label_before))


def _list_rows(frame: "pd.DataFrame") -> Iterable[tuple[str, str | None, str | None]]:
    """List path, content hash and label of each row, None for missing ones."""
    columns = [frame[name].astype(object) for name in ("path", "content_hash", "label")]
    return zip(*(column.where(column.notna(), None) for column in columns), strict=True)
