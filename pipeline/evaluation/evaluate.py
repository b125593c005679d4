"""A classifier and labelled photos -> predictions, metrics, a figure.

read -> choose the split -> decode -> forward (as `vitrollout run` does both) -> measure -> write
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from pipeline.atomic_files import make_folder
from pipeline.errors import ConfigError, DataError, ModelError, StoppedError
from pipeline.evaluation.config import EvaluateConfig
from pipeline.evaluation.metrics import (
    Ids,
    Probabilities,
    class_metrics,
    defect_metrics,
    f1_by_class,
    threshold_for_recall,
)
from pipeline.evaluation.result import Evaluation, PredictedPhoto, card_section, write_metrics, write_predictions
from pipeline.intervals import bootstrap
from pipeline.labelled.read import apply_split_csv, labelled_ref, read_labelled_photos
from pipeline.labelled.splits import LabelledPhoto, check_known, labels_of
from pipeline.maps.passes import MapPlan
from pipeline.markdown import replace_evaluation_section
from pipeline.model.checkpoint import Checkpoint, check_family, resolve_checkpoint
from pipeline.model.classifier import Classifier, load_classifier
from pipeline.model.cpu_streams import split_over_cores
from pipeline.model.device import choose_device, choose_precision
from pipeline.model.predictor import Predictor, find_batch_size
from pipeline.photos.decode import MAX_PIXELS
from pipeline.photos.loader import LoadSpec, PhotoLoader, available_cores
from pipeline.progress import Progress
from pipeline.records import Sample
from pipeline.results.rows import softmax

log = logging.getLogger(__name__)

_GOOD = frozenset({"ok", "good", "normal", "functional"})  # names that data sets give to "no defect"


def evaluate(config: EvaluateConfig, *, stop: Callable[[], bool] = lambda: False) -> Evaluation:
    """Evaluate a classifier and write metrics.json, predictions.parquet and figure.png.

    Raises:
        DataError: no photo of the split, none that can be read, or labels that the model does not know.
        ConfigError, ModelError: the settings or the model are wrong.
        StoppedError: `stop()` said so, asked between batches.
    """
    from pipeline.evaluation.figure import draw_figure

    checkpoint = resolve_checkpoint(config.model)
    check_family(checkpoint)
    photos, split = choose_photos(config, checkpoint)
    make_folder(config.out)
    device = choose_device(config.device)
    precision = choose_precision(config.precision, device)
    classifier = load_classifier(checkpoint, device=device, precision=precision, input_size=config.input_size)
    check_known(labels_of(photos), classifier.labels)
    _check_turns(config, classifier)
    positive = _positive_labels(config, classifier.labels)
    log.info("model %s; %d photos (%s); %s on %s", checkpoint.name, len(photos), split, precision, device)
    judged = list(_judge(photos, classifier, config, stop))
    evaluation = measure(judged, classifier.labels, split, positive, config, stop)
    write_predictions(judged, evaluation, config.out / "predictions.parquet")
    settings = config.model_dump(mode="json") | {"precision": precision, "device": device}
    write_metrics(evaluation, settings, config.out / "metrics.json")
    draw_figure(evaluation, config.out / "figure.png")
    if config.update_card:
        _update_card(evaluation, checkpoint)
    return evaluation


def choose_photos(config: EvaluateConfig, checkpoint: Checkpoint) -> tuple[list[LabelledPhoto], str]:
    """The photos to evaluate, and which they are in words; splits come from the data, else from the model."""
    photos = read_labelled_photos(config.data)
    source = "the data"
    if all(photo.split is None for photo in photos) and (checkpoint.folder / "split.csv").is_file():
        photos, source = apply_split_csv(photos, checkpoint.folder / "split.csv"), "the model's split.csv"
    known = Counter(photo.split for photo in photos if photo.split is not None)
    split = config.split
    if split == "auto":
        split = "test" if known["test"] else "all"
    if split == "all":
        _warn_of_training_photos(known, source)
        return photos, "all"
    chosen = [photo for photo in photos if photo.split == split]
    if strangers := len(photos) - known.total():
        log.warning("%d photos are not in %s and are left out; --split all takes them", strangers, source)
    if source != "the data" and (others := known.total() - len(chosen)):
        log.info("%d photos have another split by %s and are left out; --split all takes them", others, source)
    if not chosen:
        there = ", ".join(sorted(known)) or "none"
        raise DataError(f"split = {split}: no photo of {config.data} is in it (splits there: {there}); use all")
    return chosen, f"{split}, by {source}"


def _warn_of_training_photos(known: Counter[str], source: str) -> None:
    trained = known["train"] + known["validation"]
    if trained:
        log.warning("%d photos are for training by %s: a model looks too good on what it has seen", trained, source)
    elif source != "the data" and not known:
        log.warning("no photo is in %s by its path: the model looks too good on those that it has seen", source)


def measure(
    judged: Sequence[PredictedPhoto],
    labels: tuple[str, ...],
    split: str,
    positive: tuple[str, ...],
    config: EvaluateConfig,
    stop: Callable[[], bool] = lambda: False,
) -> Evaluation:
    """Metrics with intervals, of the photos that could be read.

    Raises:
        DataError: there are none.
        StoppedError: `stop()` said so.
    """
    rows = [(labels.index(one.photo.label), one.probabilities) for one in judged if one.probabilities is not None]
    if not rows:
        raise DataError(f"data = {config.data}: no photo can be read, {judged[0].photo.name}: {judged[0].error}")
    truth = np.array([label for label, _ in rows])
    probabilities = np.stack([row for _, row in rows])
    bare = Evaluation(labels, split, truth, probabilities, {}, {}, positive, {}, None, len(judged) - len(rows))
    is_defect, score = bare.is_defect, bare.defect_score

    def measure_some(places: Ids) -> dict[str, float]:
        _leave_if(stop)
        some, chances = truth[places], probabilities[places]
        found = {f"all {name}": value for name, value in class_metrics(some, chances).items()}
        found |= {f"f1 {label}": value for label, value in f1_by_class(some, chances).items()}
        if positive:
            found |= {f"any {name}": value for name, value in defect_metrics(is_defect[places], score[places]).items()}
        return found

    log.info("metrics of %d photos, intervals from %d resamples", len(truth), config.resamples)
    found = bootstrap(measure_some, len(truth), resamples=config.resamples, seed=config.seed)
    part = {
        kind: {name.partition(" ")[2]: value for name, value in found.items() if name.startswith(f"{kind} ")}
        for kind in ("all", "f1", "any")
    }
    return replace(
        bare,
        metrics=part["all"],
        f1={labels[int(label)]: value for label, value in part["f1"].items()},
        defects=part["any"],
        threshold=threshold_for_recall(is_defect, score, config.recall) if positive else None,
    )


def _judge(
    photos: Sequence[LabelledPhoto], classifier: Classifier, config: EvaluateConfig, stop: Callable[[], bool]
) -> Iterator[PredictedPhoto]:
    """Photos through the model, as a run does it: same decoding, same preprocessing, same precision."""
    maps = MapPlan(())
    batch_size = find_batch_size(classifier, maps) if config.batch_size == "auto" else config.batch_size
    workers = available_cores() if config.workers == "auto" else config.workers
    spec = LoadSpec(classifier.processor, classifier.geometry.draft_size, None, MAX_PIXELS)
    predictor = Predictor(split_over_cores(classifier, batch_size), maps, batch_size)
    by_name = {photo.name: photo for photo in photos}
    refs = [labelled_ref(photo) for photo in photos]
    with PhotoLoader(spec, workers=workers, decode_seconds=60) as loader, Progress(len(photos)) as progress:
        for batch in loader.batches(refs, batch_size, stop):
            for sample, row in zip(batch.samples, _probabilities(predictor, batch.samples, config), strict=True):
                if not np.isfinite(row).all():
                    raise ModelError(f"{sample.ref.path}: the model's output is not finite; try --precision fp32")
                yield PredictedPhoto(by_name[sample.ref.path], row)
            for failure in batch.failures:
                log.warning("left out %s: %s", failure.ref.path, failure.reason)
                yield PredictedPhoto(by_name[failure.ref.path], None, failure.reason)
            progress.advance(ok=len(batch.samples), failed=len(batch.failures))
    _leave_if(stop)


def _leave_if(stop: Callable[[], bool]) -> None:
    if stop():
        raise StoppedError("stopped; nothing was written, run the same command again")


def _probabilities(predictor: Predictor, samples: Sequence[Sample], config: EvaluateConfig) -> Probabilities:
    """(B, C); with turns, the mean over the eight ways to lay a square photo."""
    views = [samples]
    if config.average_turns:
        views = [
            [replace(sample, pixels=_turned(sample.pixels, turns, mirrored)) for sample in samples]
            for turns in range(4)
            for mirrored in (False, True)
        ]
    if not samples:
        return np.zeros((0, 1))
    pixels = [np.stack([sample.pixels for sample in view]) for view in views]
    logits = np.stack([predictor.outputs(view).logits for view in pixels])  # (views, B, C)
    mean: Probabilities = softmax(logits).mean(axis=0)
    return mean


def _turned(pixels: npt.NDArray[np.uint8], turns: int, mirrored: bool) -> npt.NDArray[np.uint8]:
    turned = np.rot90(pixels, turns, axes=(1, 2))
    return np.ascontiguousarray(turned[:, :, ::-1] if mirrored else turned)


def _update_card(evaluation: Evaluation, checkpoint: Checkpoint) -> None:
    file = checkpoint.folder / "README.md"
    card = file.read_text(encoding="utf-8") if file.is_file() else ""
    file.write_text(replace_evaluation_section(card, card_section(evaluation)), encoding="utf-8")


def _check_turns(config: EvaluateConfig, classifier: Classifier) -> None:
    height, width = classifier.geometry.input_size
    if config.average_turns and height != width:
        raise ConfigError(
            f"average_turns: the model's input is {height} x {width}, which turned does not fit it; drop it"
        )


def _positive_labels(config: EvaluateConfig, labels: tuple[str, ...]) -> tuple[str, ...]:
    unknown = sorted(set(config.positive) - set(labels))
    if unknown:
        raise DataError(f"positive = {', '.join(unknown)}: no class of the model, which knows {', '.join(labels)}")
    if config.positive:
        return config.positive
    good = [label for label in labels if label.lower() in _GOOD]
    return tuple(label for label in labels if label not in good) if good else ()
