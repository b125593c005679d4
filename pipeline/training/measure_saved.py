"""The files of a trained model -> its metrics, by the computation of `vitrollout evaluate`.

Training measures under autocast, with float32 weights; a run and an evaluation load the weights in the precision of the
machine. Near the boundary between two classes the two may differ, so the saved files are measured as they will be used.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from pipeline.errors import StoppedError
from pipeline.maps.passes import MapPlan
from pipeline.model.checkpoint import resolve_checkpoint
from pipeline.model.device import choose_precision
from pipeline.model.load import load_classifier
from pipeline.model.predictor import Predictor, build_predictor
from pipeline.training.data import PhotoDataset, TrainingData
from pipeline.training.device import TrainingDevice
from pipeline.training.validation import Metrics, compute_metrics

_SPLITS = ("validation", "test")


def measure_saved_model(
    folder: Path, data: TrainingData, device: TrainingDevice, precision: str, stop: Callable[[], bool]
) -> dict[str, Metrics]:
    """Measure a saved model on validation and, if there is one, test.

    Args:
        folder: the model's files, with the classes of `data` in their order.
        data: the data sets of the training.
        device: device of the training.
        precision: precision in the settings, perhaps `auto`.
        stop: asked between batches.

    Raises:
        StoppedError: `stop()` returned true.
    """
    classifier = load_classifier(
        resolve_checkpoint(str(folder)), device=device.name, precision=choose_precision(precision, device.name)
    )
    predictor = build_predictor(classifier, MapPlan(()), "auto")
    return {
        split: _measure_split(predictor, data.datasets[split], data.labels, stop)
        for split in _SPLITS
        if split in data.datasets
    }


def _measure_split(
    predictor: Predictor, photos: PhotoDataset, labels: Sequence[str], stop: Callable[[], bool]
) -> Metrics:
    logits = []
    for start in range(0, len(photos), predictor.batch_size):
        entries = photos.entries[start : start + predictor.batch_size]
        logits.append(torch.from_numpy(predictor.predict([photos.cache.read(entry) for entry in entries]).logits))
        if stop():
            raise StoppedError("stopped while measuring the trained model; run the same command again to go on")
    return compute_metrics(torch.cat(logits), torch.tensor(photos.label_ids), torch.tensor(photos.weights), labels)
