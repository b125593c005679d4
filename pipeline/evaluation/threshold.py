"""The threshold on the score of "any defect" for a wanted recall, and its results on photos it was not chosen on."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.metrics import precision_recall_curve
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from pipeline.evaluation.families import effective_share
from pipeline.evaluation.metrics import Ids
from pipeline.intervals import Estimate, share_interval, trials_to_show
from pipeline.records import Doubles, Floats

_FOLDS = 10

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class CrossFit:
    """Results of thresholds on photos they were not chosen on: each fold is judged by a threshold of the others.

    Attributes:
        folds: number of folds.
        recall: share of defects found.
        precision: share of defects among the photos called defects.
        false_alarms: share of good photos called defects.
    """

    folds: int
    recall: Estimate
    precision: Estimate
    false_alarms: Estimate


@dataclass(frozen=True)
class Threshold:
    """A threshold on the score of "any defect". All values are in 0..1, and of the photos it was chosen on.

    Attributes:
        wanted_recall: share of defects to find.
        threshold: the highest one with this recall; photos with this score or more are called defects.
        recall: share of defects found.
        precision: share of defects among the photos called defects.
        false_alarms: share of good photos called defects.
        defects: number of defects.
        on_other_photos: what to expect of new photos; None: one defect or one good photo is too little to tell.
    """

    wanted_recall: float
    threshold: float
    recall: float
    precision: float
    false_alarms: float
    defects: int
    on_other_photos: CrossFit | None = None

    @property
    def defects_needed(self) -> int | None:
        """Number of defects, all of them found, to show the wanted recall; None: a recall of 1 is never shown."""
        return trials_to_show(self.wanted_recall)

    @property
    def caution(self) -> str | None:
        """A sentence for a recall beyond what these defects can show; None if they can."""
        return describe_unproven_recall(self.wanted_recall, self.defects, "defects")

    def as_json(self) -> dict[str, Any]:
        """Convert to plain values for JSON."""
        fitted = self.on_other_photos
        others = fitted and {"folds": fitted.folds} | {
            name: getattr(fitted, name).as_json() for name in ("recall", "precision", "false_alarms")
        }
        return asdict(self) | {"defects_needed": self.defects_needed, "on_other_photos": others}


def describe_unproven_recall(wanted_recall: float, defects: int, kind: str) -> str | None:
    """Return a sentence for a recall beyond what so many defects of a kind can show; None if they can."""
    needed = trials_to_show(wanted_recall)
    if needed is not None and defects >= needed:
        return None
    shown = 0.05 ** (1 / defects)
    step = f"{needed} are needed" if needed else "no number of defects shows a recall of 1"
    return (
        f"A recall of {wanted_recall:.4g} is more than {defects} {kind} can show: even if all are found, it may be as "
        f"low as {shown:.3f} (rule of three); {step}"
    )


def choose_threshold(
    is_defect: Flags, score: Doubles, wanted_recall: float, seed: int, families: Ids | None = None
) -> Threshold | None:
    """Find the highest threshold with the wanted recall, and what it does on other photos.

    Args:
        is_defect: (n,).
        score: (n,), 0..1: the score of "any defect".
        wanted_recall: share of defects to find, 0..1.
        seed: of the folds.
        families: (n,) number of each photo's family, kept in one fold; None: each photo is one by itself.

    Returns:
        None without photos of both kinds.
    """
    if not is_defect.any() or is_defect.all():
        return None
    precision, recall, thresholds = precision_recall_curve(is_defect, score)  # recall falls, thresholds rise
    index = int(np.flatnonzero(recall[:-1] >= wanted_recall)[-1])
    called = score >= thresholds[index]
    return Threshold(
        wanted_recall=wanted_recall,
        threshold=float(thresholds[index]),
        recall=float(recall[index]),
        precision=float(precision[index]),
        false_alarms=float(called[~is_defect].mean()),
        defects=int(is_defect.sum()),
        on_other_photos=_cross_fit(is_defect, score, wanted_recall, seed, families),
    )


def highest_threshold(is_defect: Flags, score: Doubles | Floats, wanted_recall: float) -> float:
    """Return the highest threshold with the wanted recall; arguments as in `choose_threshold`, with a defect."""
    _, recall, thresholds = precision_recall_curve(is_defect, score)
    return float(thresholds[np.flatnonzero(recall[:-1] >= wanted_recall)[-1]])


def _cross_fit(
    is_defect: Flags, score: Doubles, wanted_recall: float, seed: int, families: Ids | None
) -> CrossFit | None:
    numbers = np.arange(len(score)) if families is None else families
    folds = min(_FOLDS, *(len(np.unique(numbers[kind])) for kind in (is_defect, ~is_defect)))
    if folds < 2:
        return None
    called = np.zeros(len(score), np.bool_)
    folding = (StratifiedKFold if families is None else StratifiedGroupKFold)(folds, shuffle=True, random_state=seed)
    for others, held_out in folding.split(score, is_defect, families):
        if not is_defect[others].any():  # all families with a defect are in one fold
            return None
        called[held_out] = score[held_out] >= highest_threshold(is_defect[others], score[others], wanted_recall)
    return CrossFit(
        folds,
        recall=estimate_share(called[is_defect], numbers[is_defect]),
        precision=estimate_share(is_defect[called], numbers[called]),
        false_alarms=estimate_share(called[~is_defect], numbers[~is_defect]),
    )


def estimate_share(is_hit: Flags, families: Ids) -> Estimate:
    """Estimate the share of true values of photos and their families; NaN without any values."""
    return Estimate(
        float(is_hit.mean()) if len(is_hit) else np.nan, *share_interval(*effective_share(is_hit, families))
    )
