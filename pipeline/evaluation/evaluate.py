"""Measures how well a classifier labels photos with known labels.

read the photos -> choose the split -> predict, with the stages of a run -> measure -> write
"""

import logging
from collections import Counter
from collections.abc import Callable, Sequence

from pipeline.atomic_files import make_folder
from pipeline.errors import ConfigError, DataError
from pipeline.evaluation.config import EvaluateConfig
from pipeline.evaluation.measure import gather_scores, measure
from pipeline.evaluation.predict import predict_photos
from pipeline.evaluation.result import NO_GOOD_CLASS, Evaluation, PredictedPhoto
from pipeline.evaluation.write import format_card_section, write_results
from pipeline.labelled.equal_photos import warn_of_equal_photos
from pipeline.labelled.good_labels import is_good_label
from pipeline.labelled.read import apply_split_csv, read_labelled_photos
from pipeline.labelled.splits import LabelledPhoto, check_known, labels_of, resolve_split
from pipeline.markdown import replace_evaluation_section
from pipeline.model.checkpoint import SPLIT_FILE, Checkpoint
from pipeline.model.open import open_model

log = logging.getLogger(__name__)


def evaluate(config: EvaluateConfig, *, stop: Callable[[], bool] = lambda: False) -> Evaluation:
    """Evaluate a classifier; write metrics.json, predictions.parquet and figure.png.

    Args:
        config: all settings.
        stop: asked between batches and between resamples; once true, the evaluation ends.

    Raises:
        DataError: no photo in the split, no readable photo, or labels unknown to the model.
        ConfigError, ModelError: the settings or the model are wrong.
        StoppedError: `stop()` was true; nothing is written.
    """
    # 1. the model and the photos
    model = open_model(config)
    photos, split = choose_photos(config, model.checkpoint)
    make_folder(config.out)
    classifier = model.load()
    check_known(labels_of(photos), classifier.labels)
    _check_turns(config, classifier.geometry.input_size)
    positive = _choose_positive(config, classifier.labels)
    log.info("%d photos (%s); %s", len(photos), split, model.description)
    # 2. predictions and metrics
    predictions = list(predict_photos(photos, classifier, config, stop))
    _check_any_readable(config, predictions)
    scores = gather_scores(predictions, classifier.labels, split, positive, classifier.scoring)
    evaluation = measure(scores, config, stop)
    _say_what_is_not_shown(evaluation)
    # 3. the files
    settings = config.model_dump(mode="json") | {"precision": model.precision, "device": model.device}
    write_results(evaluation, predictions, settings, config.out)
    if config.update_card:
        _update_card(evaluation, model.checkpoint)
    return evaluation


def choose_photos(config: EvaluateConfig, checkpoint: Checkpoint) -> tuple[list[LabelledPhoto], str]:
    """Choose the photos to evaluate.

    Args:
        config: the data and the split.
        checkpoint: its split.csv is used for data without splits.

    Returns:
        The photos, and the split in words.

    Raises:
        DataError: the data can't be read, or the split is empty.
    """
    photos = read_labelled_photos(config.data)
    source = "the data"
    if all(photo.split is None for photo in photos) and (checkpoint.folder / SPLIT_FILE).is_file():
        photos, source = apply_split_csv(photos, checkpoint.folder / SPLIT_FILE), "the model's split.csv"
    warn_of_equal_photos(photos)
    counts = Counter(photo.split for photo in photos if photo.split is not None)
    split = resolve_split(config.split, counts)
    if split == "all":
        _warn_about_training_photos(counts, source)
        return photos, "all"
    chosen = [photo for photo in photos if photo.split == split]
    if without_split := len(photos) - counts.total():
        log.warning("%d photos are not in %s and are left out; --split all includes them", without_split, source)
    if source != "the data" and (in_other_splits := counts.total() - len(chosen)):
        log.info(
            "%d photos have another split by %s and are left out; --split all includes them", in_other_splits, source
        )
    if not chosen:
        existing = ", ".join(sorted(counts)) or "none"
        raise DataError(f"split = {split}: no photo of {config.data} is in it (existing splits: {existing}); use all")
    return chosen, f"{split}, by {source}"


def _warn_about_training_photos(counts: Counter[str], source: str) -> None:
    trained = counts["train"] + counts["validation"]
    if trained:
        log.warning(
            "%d photos are for training by %s: a model looks too good on photos used for its training", trained, source
        )
    elif source != "the data" and not counts:
        log.warning(
            "no photo is in %s by its path: the model looks too good on any photos used for its training", source
        )


def _check_turns(config: EvaluateConfig, input_size: tuple[int, int]) -> None:
    height, width = input_size
    if config.average_turns and height != width:
        raise ConfigError(f"average_turns: the model's input is {height} x {width}, not square; turn the option off")


def _choose_positive(config: EvaluateConfig, labels: tuple[str, ...]) -> tuple[str, ...]:
    """Return the labels counted as defects: those of the settings, or all but the usual names for "no defect"."""
    unknown = sorted(set(config.positive) - set(labels))
    if unknown:
        raise DataError(f"positive = {', '.join(unknown)}: not a class of the model; its classes: {', '.join(labels)}")
    if config.positive:
        return config.positive
    defects = tuple(dict.fromkeys(label for label in labels if not is_good_label(label)))
    if 0 < len(defects) < len(set(labels)):
        return defects
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


def _update_card(evaluation: Evaluation, checkpoint: Checkpoint) -> None:
    file = checkpoint.folder / "README.md"
    card = file.read_text(encoding="utf-8") if file.is_file() else ""
    file.write_text(replace_evaluation_section(card, format_card_section(evaluation)), encoding="utf-8")
