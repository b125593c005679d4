"""The second model of `evaluate --against`: its predictions for the same photos, and the photos it has seen."""

import logging
from collections import Counter
from collections.abc import Callable, Sequence

from pipeline.errors import DataError
from pipeline.evaluation.compare import ModelAnswers, compare, measure_pair, pair_photos
from pipeline.evaluation.comparison import Comparison
from pipeline.evaluation.config import EvaluateConfig
from pipeline.evaluation.exposure import find_exposure
from pipeline.evaluation.measure import gather_scores
from pipeline.evaluation.predict import Judge, predict_photos
from pipeline.evaluation.write import write_predictions
from pipeline.labelled.csv_table import list_some
from pipeline.labelled.good_labels import is_good_label
from pipeline.labelled.splits import LabelledPhoto
from pipeline.model.choose_tile import choose_tile
from pipeline.model.open import OpenedModel

log = logging.getLogger(__name__)


def compare_with(
    model: OpenedModel, photos: Sequence[LabelledPhoto], first: ModelAnswers, config: EvaluateConfig,
    stop: Callable[[], bool],
) -> Comparison:  # fmt: skip
    """Compare a second model with the first, say in the log which is better, and write against.parquet.

    Args:
        model: the second model.
        photos: all photos to judge on.
        first: answers of the first model, for the photos with labels known to it.
        config: all settings.
        stop: asked between batches and between resamples.

    Raises:
        DataError: no readable photo has a label known to both.
        ModelError: the model can't be used.
        StoppedError: `stop()` was true.
    """
    second = _answer(model, photos, first, config, stop)
    pair = pair_photos(photos, first, second)
    metrics = measure_pair(pair, resamples=config.resamples, seed=config.seed, stop=stop)
    checkpoints = (first.checkpoint, second.checkpoint)
    exposures = {checkpoint.name: find_exposure(pair.photos, checkpoint) for checkpoint in checkpoints}
    names = (first.checkpoint.name, second.checkpoint.name)
    comparison = compare(pair, metrics, names, first.scored.split, exposures)
    _log_comparison(comparison)
    write_predictions(second.predictions, second.scored, config.out / "against.parquet")
    return comparison


def keep_known_labels(photos: Sequence[LabelledPhoto], labels: Sequence[str], name: str) -> list[LabelledPhoto]:
    """Keep the photos with labels known to a model, and warn of the others."""
    unknown = Counter(photo.label for photo in photos if photo.label not in labels)
    if unknown:
        listed = list_some(f"{label!r} ({count})" for label, count in unknown.items())
        log.warning(
            "%d photos are left out of the comparison: %s does not know their labels %s", unknown.total(), name, listed
        )
    return [photo for photo in photos if photo.label not in unknown]


def _answer(
    model: OpenedModel, photos: Sequence[LabelledPhoto], first: ModelAnswers, config: EvaluateConfig,
    stop: Callable[[], bool],
) -> ModelAnswers:  # fmt: skip
    """Predict the photos with labels known to the second model."""
    classifier = model.load()
    known = keep_known_labels(photos, classifier.labels, model.checkpoint.name)
    log.info("against: %d photos; %s", len(known), model.description)
    positive = _choose_positive(first.scored.positive, first.scored.labels, classifier.labels)
    tile = choose_tile(config.tile, config.tile_overlap, model.checkpoint, model.find_decision())
    judge = Judge.prepare(classifier, tile, positive)
    predictions = list(predict_photos(known, judge, config, stop))
    if all(prediction.probabilities is None for prediction in predictions):
        raise DataError(f"against = {model.checkpoint.name}: knows the label of no readable photo; name another model")
    scored = gather_scores(predictions, classifier.labels, first.scored.split, positive, classifier.scoring)
    return ModelAnswers(model.checkpoint, predictions, scored)


def _log_comparison(comparison: Comparison) -> None:
    log.info("%s", comparison.sentence)
    log.info("judged on %d photos (%s), resampled by %s", comparison.photos, comparison.judged_on, comparison.resampled)
    for name, exposure in comparison.exposures.items():
        level = logging.WARNING if exposure.trained or exposure.chosen or not exposure.is_known else logging.INFO
        log.log(level, "%s%s", exposure.describe(name), ": it looks too good on them" if exposure.trained else "")


def _choose_positive(positive: Sequence[str], first_labels: Sequence[str], labels: Sequence[str]) -> tuple[str, ...]:
    """Choose the defect classes of the second model: those of the first, and its further classes not called good."""
    if not positive:
        return ()
    return tuple(
        label for label in dict.fromkeys(labels)
        if label in positive or (label not in first_labels and not is_good_label(label))
    )  # fmt: skip
