"""Measures how well a classifier labels photos with known labels.

read the photos -> choose the split -> predict, with the stages of a run -> measure -> write
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace

from pipeline.atomic_files import make_folder
from pipeline.dataset.model_in_use import choose_model
from pipeline.decision import Decision, write_decision
from pipeline.errors import ConfigError, DataError
from pipeline.evaluation.choose_photos import choose_photos
from pipeline.evaluation.compare import ModelAnswers
from pipeline.evaluation.config import EvaluateConfig
from pipeline.evaluation.decision import choose_decision, choose_validation_photos, find_cautions, measure_costs
from pipeline.evaluation.detections import measure_detections
from pipeline.evaluation.measure import gather_scores, measure
from pipeline.evaluation.predict import Judge, predict_photos
from pipeline.evaluation.result import NO_GOOD_CLASS, Evaluation, PredictedPhoto, ScoredPhotos
from pipeline.evaluation.second_model import compare_with, keep_known_labels
from pipeline.evaluation.similar_groups import copy_groups, group_similar
from pipeline.evaluation.write import format_card_section, write_results
from pipeline.labelled.good_labels import is_good_label
from pipeline.labelled.splits import LabelledPhoto, check_known, labels_of
from pipeline.maps.methods import AUTO, MethodName
from pipeline.markdown import replace_evaluation_section
from pipeline.model.checkpoint import Checkpoint
from pipeline.model.choose_method import choose_method
from pipeline.model.choose_tile import TileChoice, choose_tile
from pipeline.model.open import OpenedModel, open_model

log = logging.getLogger(__name__)


def evaluate(config: EvaluateConfig, *, stop: Callable[[], bool] = lambda: False) -> Evaluation:
    """Evaluate a classifier; write metrics.json, predictions.parquet and figure.png.

    With a second model, write against.parquet and changed.csv too.

    Args:
        config: all settings.
        stop: asked between batches and between resamples; once true, the evaluation ends.

    Raises:
        DataError: no photo in the split, no readable photo, or labels unknown to the model.
        ConfigError, ModelError: the settings or the model are wrong.
        StoppedError: `stop()` was true; nothing is written.
    """
    # 1. the models and the photos
    config = choose_model(config, config.data)
    model = open_model(config)
    other = open_model(config.model_copy(update={"model": config.against})) if config.against else None
    chosen = choose_photos(config, model.checkpoint)
    validation = choose_validation_photos(config, chosen.everything, chosen.photos) if config.save_decision else []
    make_folder(config.out)
    classifier = model.load()
    photos = keep_known_labels(chosen.photos, classifier.labels, model.checkpoint.name) if other else chosen.photos
    judged = [*(photos or chosen.photos), *validation]
    check_known([*labels_of(judged), *(box.label for photo in judged for box in photo.boxes or ())], classifier.labels)
    _check_turns(config, classifier.geometry.input_size)
    decision = None if config.save_decision else model.read_decision()
    positive = _choose_positive(config, classifier.labels, decision)
    tile = choose_tile(config.tile, config.tile_overlap, model.checkpoint, decision)
    tile.check_decision(decision)
    judge = Judge.prepare(classifier, tile, positive, _choose_box_method(photos, model, tile))
    log.info("%d photos (%s); %s", len(photos), chosen.split, model.description)

    def predict(photos: Sequence[LabelledPhoto], split: str) -> tuple[list[PredictedPhoto], ScoredPhotos]:
        predictions = list(predict_photos(photos, judge, config, stop))
        _check_any_readable(config, predictions)
        if config.group == "similar":
            predictions = group_similar(predictions)
        return predictions, gather_scores(predictions, classifier.labels, split, positive, classifier.scoring)

    # 2. the decision, on validation photos
    if config.save_decision:
        log.info("%d validation photos, for the decision", len(validation))
        _, scores = predict(validation, f"validation, by {chosen.source}")
        decision = choose_decision(scores, config, model, tile.size)
    # 3. predictions and metrics
    predictions, scores = predict(photos, chosen.split)
    evaluation = measure(scores, config, stop)
    if decision:
        evaluation = replace(evaluation, band=measure_costs(decision, scores, find_cautions(config, photos)))
    if judge.method:
        evaluation = replace(evaluation, detections=measure_detections(predictions, classifier.labels, config, stop))
    _say_what_is_not_shown(evaluation)
    # 4. the second model
    if other:
        answers = ModelAnswers(model.checkpoint, predictions, scores)
        judged = copy_groups(chosen.photos, predictions)
        evaluation = replace(evaluation, comparison=compare_with(other, judged, answers, config, stop))
    # 5. the files
    if decision and config.save_decision:
        log.info("decision saved: %s", write_decision(decision, model.checkpoint.folder))
    settings = config.model_dump(mode="json") | {
        "precision": model.precision,
        "device": model.device,
        "tile": tile.size,
    }
    write_results(evaluation, predictions, settings, config.out)
    if config.update_card:
        _update_card(evaluation, model.checkpoint)
    return evaluation


def _choose_box_method(photos: Sequence[LabelledPhoto], model: OpenedModel, tile: TileChoice) -> MethodName | None:
    """Return the map method of a run, to find boxes as it does; None for data without boxes."""
    boxes = [box for photo in photos for box in photo.boxes or ()]
    if not boxes:
        return None
    if tile.size is None:
        log.info("the data has boxes, but photos are not cut into windows, so none are found; give --tile for that")
        return None
    large = [box for box in boxes if box.longer_side > tile.size]
    if large:
        log.warning(
            "%d of %d boxes are larger than a window of %d pixels: no window shows these defects whole, and they count "
            "like all others", len(large), len(boxes), tile.size
        )  # fmt: skip
    return choose_method((AUTO,), model, target="top1", versus=None).methods[0]


def _check_turns(config: EvaluateConfig, input_size: tuple[int, int]) -> None:
    height, width = input_size
    if config.average_turns and height != width:
        raise ConfigError(f"average_turns: the model's input is {height} x {width}, not square; turn the option off")


def _choose_positive(config: EvaluateConfig, labels: tuple[str, ...], decision: Decision | None) -> tuple[str, ...]:
    """Return the labels counted as defects: of the settings, the decision, or all but usual names for "no defect"."""
    unknown = sorted(set(config.positive) - set(labels))
    if unknown:
        raise DataError(f"positive = {', '.join(unknown)}: not a class of the model; its classes: {', '.join(labels)}")
    if config.positive:
        return config.positive
    if decision:
        return decision.positive
    defects = tuple(dict.fromkeys(label for label in labels if not is_good_label(label)))
    if 0 < len(defects) < len(set(labels)):
        return defects
    if config.save_decision:
        raise DataError(f"save_decision: {NO_GOOD_CLASS} (classes: {', '.join(labels[:20])})")
    if "recall" in config.model_fields_set:
        raise DataError(f"recall = {config.recall:g}: {NO_GOOD_CLASS} (classes: {', '.join(labels[:20])})")
    return ()


def _check_any_readable(config: EvaluateConfig, predictions: Sequence[PredictedPhoto]) -> None:
    if all(prediction.probabilities is None for prediction in predictions):
        first = predictions[0]
        raise DataError(f"data = {config.data}: no photo can be read, {first.photo.name}: {first.error}")


def _say_what_is_not_shown(evaluation: Evaluation) -> None:
    if evaluation.threshold is None:
        log.warning("%s", evaluation.why_no_threshold)
    elif evaluation.threshold.caution:
        log.warning("%s", evaluation.threshold.caution)
    if evaluation.detections:
        log.info("%s", evaluation.detections.describe())
    if evaluation.band:
        log.info("%s", evaluation.band.describe())
        for caution in evaluation.band.cautions:
            log.warning("%s", caution)


def _update_card(evaluation: Evaluation, checkpoint: Checkpoint) -> None:
    file = checkpoint.folder / "README.md"
    card = file.read_text(encoding="utf-8") if file.is_file() else ""
    file.write_text(replace_evaluation_section(card, format_card_section(evaluation)), encoding="utf-8")
