"""The files of a trained model -> its metrics, by the computation of `vitrollout evaluate`, and the files beside it.

Training measures under autocast, with float32 weights; a run and an evaluation load the weights in the precision of the
machine. Near the boundary between two classes the two may differ, so the saved files are measured as they will be used.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from pipeline.errors import StoppedError
from pipeline.labelled.good_labels import is_good_label, tells_defects
from pipeline.maps.passes import MapPlan
from pipeline.model.checkpoint import resolve_checkpoint
from pipeline.model.device import choose_precision
from pipeline.model.familiarity import fit_familiarity
from pipeline.model.familiarity_file import write_familiarity
from pipeline.model.load import load_classifier
from pipeline.model.map_scale import MapScales, measure_map_scales, spread_evenly, write_map_scales
from pipeline.model.predictor import build_predictor
from pipeline.records import Floats, Pixels
from pipeline.training.data import TrainingData
from pipeline.training.device import TrainingDevice
from pipeline.training.validation import Metrics, compute_metrics

log = logging.getLogger(__name__)

_SPLITS = ("validation", "test")
_MOST_TYPICAL = 2000  # training photos behind the statistics of what is familiar
_MOST_SCALED = 100  # validation photos behind the scales
_CHUNK = 64  # photos in memory


def count_measured_photos(photos: Mapping[str, int]) -> int:
    """Count the forward passes behind the metrics and files of a saved model, by the number of photos per split."""
    maps = 3 * 2 * min(photos["validation"], _MOST_SCALED)  # of three kinds; a backward pass counts as one more
    return sum(photos.get(split, 0) for split in _SPLITS) + min(photos["train"], _MOST_TYPICAL) + maps


class SavedModel:
    """A saved model, loaded as runs load it."""

    def __init__(
        self, folder: Path, data: TrainingData, device: TrainingDevice, precision: str, stop: Callable[[], bool]
    ) -> None:
        """Load it.

        Args:
            folder: the model's files, with the classes of `data` in their order.
            data: the data sets of the training.
            device: device of the training.
            precision: precision in the settings, perhaps `auto`.
            stop: asked between batches.
        """
        self._data, self._stop = data, stop
        self._checkpoint = resolve_checkpoint(str(folder))
        self._precision = choose_precision(precision, device.name)
        self._classifier = load_classifier(self._checkpoint, device=device.name, precision=self._precision)
        self._predictor = build_predictor(self._classifier, MapPlan((), features=True), "auto")
        self._features: dict[str, Floats] = {}

    def measure(self) -> dict[str, Metrics]:
        """Measure it on validation and, if there is one, test.

        Raises:
            StoppedError: `stop()` returned true.
        """
        return {split: self._measure_split(split) for split in _SPLITS if split in self._data.datasets}

    def write_familiarity(self, seed: int) -> None:
        """Write the statistics of its training photos, judged by those of validation, into its folder."""
        train = self._data.datasets["train"]
        chosen = np.sort(np.random.default_rng(seed).permutation(len(train))[:_MOST_TYPICAL]).tolist()
        features, _ = self._predict("train", chosen)
        held_out = self._features["validation"]
        try:
            familiarity = fit_familiarity(
                features, [train.label_ids[index] for index in chosen], held_out, precision=self._precision
            )
        except ValueError as error:
            log.warning("runs will not tell unfamiliar photos: %s", error)
            return
        write_familiarity(familiarity, self._checkpoint.folder, self._checkpoint.digest())

    def write_map_scales(self) -> None:
        """Write the colour scale of its maps, from validation photos, into its folder."""
        labels, label_ids = self._classifier.labels, self._data.datasets["validation"].label_ids
        is_defect = [tells_defects(labels) and not is_good_label(label) for label in labels]
        defective = [index for index, label_id in enumerate(label_ids) if is_defect[label_id]]
        chosen = spread_evenly(defective or range(len(label_ids)), _MOST_SCALED)
        scales = measure_map_scales(
            self._classifier,
            self._read_pixels("validation", chosen),
            [label_ids[index] for index in chosen],
            [label_id for label_id, is_positive in enumerate(is_defect) if is_positive],
        )
        folder, digest = self._checkpoint.folder, self._checkpoint.digest()
        if scales:
            write_map_scales(folder, MapScales(scales, digest, None, self._precision))

    def _measure_split(self, split: str) -> Metrics:
        photos = self._data.datasets[split]
        self._features[split], logits = self._predict(split, range(len(photos)))
        return compute_metrics(
            torch.from_numpy(logits),
            torch.tensor(photos.label_ids),
            torch.tensor(photos.weights),
            self._data.labels,
        )

    def _predict(self, split: str, indices: Sequence[int]) -> tuple[Floats, Floats]:
        """Compute features (n, F) and logits (n, C) of photos without random changes."""
        outputs = []
        for start in range(0, len(indices), _CHUNK):
            outputs.append(self._predictor.predict(self._read_pixels(split, indices[start : start + _CHUNK])))
            if self._stop():
                raise StoppedError("stopped while measuring the trained model; run the same command again to go on")
        features = [output.features for output in outputs if output.features is not None]
        return np.concatenate(features), np.concatenate([output.logits for output in outputs])

    def _read_pixels(self, split: str, indices: Sequence[int]) -> list[Pixels]:
        size, _ = self._classifier.geometry.input_size
        return list(self._data.still_pixels(split, indices, size).numpy())
