"""Predictions of labelled photos -> metrics with 95% intervals."""

import logging
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from pipeline.evaluation.class_intervals import class_intervals, combine_intervals, defect_intervals, f1_intervals
from pipeline.evaluation.config import EvaluateConfig
from pipeline.evaluation.families import list_members, number_families
from pipeline.evaluation.metrics import Ids, class_metrics, defect_metrics, f1_by_class
from pipeline.evaluation.predict import raise_if_stopped
from pipeline.evaluation.result import Evaluation, PredictedPhoto, ScoredPhotos
from pipeline.evaluation.threshold import choose_threshold
from pipeline.intervals import UNKNOWN, Estimate, bootstrap
from pipeline.labelled.splits import LabelledPhoto
from pipeline.records import Doubles, Scoring

log = logging.getLogger(__name__)


def gather_scores(
    predictions: Sequence[PredictedPhoto],
    labels: tuple[str, ...],
    split: str,
    positive: tuple[str, ...],
    scoring: Scoring = "softmax",
) -> ScoredPhotos:
    """Gather truth and probabilities of the readable photos, at least one; arguments as in `ScoredPhotos`."""
    readable = [(prediction.photo, prediction.probabilities) for prediction in predictions]
    rows = [(labels.index(_find_truth(photo, row, labels)), row) for photo, row in readable if row is not None]
    families = number_families([photo for photo, row in readable if row is not None])
    return ScoredPhotos(
        labels=labels,
        split=split,
        positive=positive,
        truth=np.array([label_id for label_id, _ in rows]),
        probabilities=np.stack([row for _, row in rows]),
        failed=len(predictions) - len(rows),
        scoring=scoring,
        families=families if families.max() + 1 < len(families) else None,
    )


def _find_truth(photo: LabelledPhoto, probabilities: Doubles, labels: Sequence[str]) -> str:
    """Return the true label of a photo: of one with several kinds of defects, that of the model if it is among them."""
    predicted = labels[int(probabilities.argmax())]
    return predicted if predicted in {box.label for box in photo.boxes or ()} else photo.label


def measure(photos: ScoredPhotos, config: EvaluateConfig, stop: Callable[[], bool] = lambda: False) -> Evaluation:
    """Compute all metrics, with intervals by formula and from resampled photos, or groups of photos.

    Raises:
        StoppedError: `stop()` was true, asked before each resample.
    """
    truth, probabilities = photos.truth, photos.probabilities
    is_defect, defect_score = photos.is_defect, photos.defect_score
    members = None if photos.families is None else list_members(photos.families)

    def measure_resample(drawn: Ids) -> dict[str, float]:
        raise_if_stopped(stop)
        indices = drawn if members is None else np.concatenate([members[index] for index in drawn])
        groups = {
            "classes": class_metrics(truth[indices], probabilities[indices]),
            "f1": f1_by_class(truth[indices], probabilities[indices]),
            "defects": defect_metrics(is_defect[indices], defect_score[indices]) if photos.positive else {},
        }
        return {f"{group} {name}": value for group, metrics in groups.items() for name, value in metrics.items()}

    units = len(truth) if members is None else len(members)
    log.info(
        "metrics of %d photos, intervals from %d resamples of %d %s", len(truth), config.resamples, units,
        photos.resampled,
    )  # fmt: skip
    estimates = bootstrap(measure_resample, units, resamples=config.resamples, seed=config.seed)
    groups = {name: _select_group(estimates, name) for name in ("classes", "f1", "defects")}
    if config.resamples:
        groups["classes"] = combine_intervals(groups["classes"], class_intervals(truth, probabilities, photos.families))
        f1_limits = f1_intervals(truth, probabilities, photos.families)
        groups["f1"] = {
            label: Estimate(f1.value).widen(f1_limits.get(label, UNKNOWN)) for label, f1 in groups["f1"].items()
        }
        groups["defects"] = combine_intervals(
            groups["defects"], defect_intervals(is_defect, defect_score, photos.families)
        )
    return Evaluation(
        **vars(photos),
        metrics=groups["classes"],
        f1={photos.labels[int(label_id)]: estimate for label_id, estimate in groups["f1"].items()},
        defects=groups["defects"],
        threshold=choose_threshold(is_defect, defect_score, config.recall, config.seed, photos.families)
        if photos.positive
        else None,
    )


def _select_group(estimates: Mapping[str, Estimate], group: str) -> dict[str, Estimate]:
    """Return the metrics of one group, named without it."""
    prefix = f"{group} "
    return {name.removeprefix(prefix): value for name, value in estimates.items() if name.startswith(prefix)}
