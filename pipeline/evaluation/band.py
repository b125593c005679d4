"""The band of a decision: two thresholds chosen on validation photos, and their costs on other photos."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from sklearn.metrics import roc_curve

from pipeline.decision import Decision
from pipeline.evaluation.threshold import Flags, highest_threshold
from pipeline.intervals import Estimate
from pipeline.records import Floats


@dataclass(frozen=True)
class Cost:
    """A number of photos, and their share with its 95% interval.

    Attributes:
        photos: the number.
        of: all photos of the kind.
        share: of these photos; NaN without any of the kind.
    """

    photos: int
    of: int
    share: Estimate

    def as_json(self) -> dict[str, float | None]:
        """Convert to plain values for JSON."""
        return {"photos": self.photos, "of": self.of, **self.share.as_json()}

    def describe(self, kind: str) -> str:
        """Return the cost in words; `kind` names all photos of the kind."""
        if not self.of:
            return f"unknown, without {kind}"
        share = self.share
        return (
            f"{self.photos} of {self.of} {kind} ({share.value:.2%}, 95% interval {share.low:.2%} to {share.high:.2%})"
        )


@dataclass(frozen=True)
class BandCosts:
    """The costs of a decision.

    Attributes:
        decision: the thresholds, with their origin.
        escapes: defects passed.
        false_alarms: good photos rejected.
        to_review: photos of both kinds to be reviewed.
        cautions: reasons to doubt the decision or its costs, in sentences.
    """

    decision: Decision
    escapes: Cost
    false_alarms: Cost
    to_review: Cost
    cautions: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Convert to plain values for JSON."""
        costs = {name: getattr(self, name).as_json() for name in ("escapes", "false_alarms", "to_review")}
        return asdict(self.decision) | costs | {"cautions": self.cautions}

    def describe(self) -> str:
        """Return the thresholds and the costs in a sentence."""
        decision, origin = self.decision, self.decision.chosen_on
        return (
            f"Passed below {decision.pass_below:g} and rejected from {decision.reject_from:g} on the score of "
            f"{', '.join(decision.positive)} (chosen on {origin.photos} validation photos, {origin.defects} of them "
            f"defects): escapes {self.escapes.describe('defects')}; false alarms "
            f"{self.false_alarms.describe('good photos')}; to review {self.to_review.describe('photos')}"
        )


def choose_band(
    is_defect: Flags, score: Floats, wanted_recall: float, wanted_false_alarms: float
) -> tuple[float, float]:
    """Find the highest threshold for passing and the lowest one for rejecting.

    Args:
        is_defect: (n,), with both kinds.
        score: (n,), 0..1: the score of "any defect".
        wanted_recall: least share of defects at or over the first threshold.
        wanted_false_alarms: largest share of good photos at or over the second one.

    Returns:
        pass_below and reject_from, a score of these photos each; reject_from is just above all of them if a lower one
        has too many false alarms, and never under pass_below.
    """
    pass_below = np.float32(highest_threshold(is_defect, score, wanted_recall))
    false_alarms, _, thresholds = roc_curve(is_defect, score, drop_intermediate=False)  # thresholds fall from infinity
    reject_from = np.float32(thresholds[np.flatnonzero(false_alarms <= wanted_false_alarms)[-1]])
    if not np.isfinite(reject_from):
        reject_from = np.nextafter(score.max(), np.float32(2))
    # the shortest decimal number that is this float32
    return float(str(pass_below)), float(str(max(pass_below, reject_from)))
