"""The starting point of a training: a backbone cut to its best depth, with a linear probe as its head."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import entropy

from pipeline.labelled.splits import LabelledPhoto
from pipeline.model.architecture import encoder_layers
from pipeline.training.backbone import TrainableClassifier
from pipeline.training.config import FinetuneConfig
from pipeline.training.data import TrainingData, View
from pipeline.training.depth_features import embed_photos
from pipeline.training.device import TrainingDevice
from pipeline.training.probe import Probe, ProbeData, choose_depth, count_harmless_views, fit_probe
from pipeline.training.recipe import Recipe, is_given

log = logging.getLogger(__name__)

_COPIED = 600  # training photos, to be mirrored and turned: enough to see the loss rise by a quarter
_FEWEST_PROBED = 20  # photos of a class, or all it has, beyond the number asked for
_COPIES: tuple[tuple[View, str], ...] = (("mirrored", "flips"), ("turned", "quarter_turns"))


@dataclass(frozen=True)
class Embedded:
    """Photos of one split with their features.

    Attributes:
        photos: some or all of the split.
        data: features (n, F), or (D, n, F).
    """

    photos: Sequence[LabelledPhoto]
    data: ProbeData


class Embedder:
    """Computes features of the photos of a training, of a random choice where a split has more than needed."""

    def __init__(
        self, recipe: Recipe, data: TrainingData, photos: Mapping[str, Sequence[LabelledPhoto]], most: int,
        stop: Callable[[], bool],
    ) -> None:  # fmt: skip
        """Choose the photos.

        Args:
            recipe: all settings.
            data: the data sets of all splits.
            photos: of each split, in the order of its data set.
            most: number of photos to choose from a split, plus a few of rare classes.
            stop: asked after each batch.
        """
        self._recipe, self._data, self._stop = recipe, data, stop
        self._device = TrainingDevice.choose(recipe.precision)
        rng = np.random.default_rng(recipe.seed)
        self._chosen = {split: _choose_rows(data.datasets[split].label_ids, most, rng) for split in photos}
        self._photos = {split: [photos[split][index] for index in rows] for split, rows in self._chosen.items()}
        groups = {photo.group or photo.name: number for number, photo in enumerate(chain(*photos.values()))}
        self._groups = {
            split: np.array([groups[photo.group or photo.name] for photo in those]) for split, those in photos.items()
        }

    def embed(self, model: Any, split: str, depths: Sequence[int] | None = None) -> Embedded:
        """Compute the features of a split: (D, n, F) at several depths, or (n, F) at the model's own."""
        return Embedded(self._photos[split], self._embed_rows(model, split, self._chosen[split], depths, "as it is"))

    def embed_copies(self, model: Any, view: View, positions: Sequence[int]) -> ProbeData:
        """Compute the features (n, F) of copies of training photos, by their positions in what `embed` returns."""
        return self._embed_rows(model, "train", [self._chosen["train"][position] for position in positions], None, view)

    def _embed_rows(
        self, model: Any, split: str, rows: Sequence[int], depths: Sequence[int] | None, view: View
    ) -> ProbeData:
        dataset = self._data.datasets[split]
        batches = self._data.still_batches(split, rows, self._recipe.input_size, view)
        own = (len(encoder_layers(model)),)
        features = embed_photos(model.to(self._device.name), batches, depths or own, self._device, self._stop)
        return ProbeData(
            features if depths else features[0],
            np.array([dataset.label_ids[row] for row in rows]),
            np.array([dataset.weights[row] for row in rows]),
            self._groups[split][rows],
        )


@dataclass(frozen=True)
class StartingPoint:
    """A classifier ready for fine-tuning, and what was found on the way.

    Attributes:
        classifier: of the chosen depth, with its head.
        recipe: with the depth and the harmless changes of orientation.
        train, validation: features (n, F) at this depth.
        strength: of the probe's regularisation.
        explained: share of the labels' entropy explained by frozen features, at most 1; 0 by a guess of each class's
            share.
    """

    classifier: TrainableClassifier
    recipe: Recipe
    train: Embedded
    validation: Embedded
    strength: float
    explained: float


def find_starting_point(
    config: FinetuneConfig, recipe: Recipe, classifier: TrainableClassifier, embedder: Embedder,
    build: Callable[[Recipe], TrainableClassifier],
) -> StartingPoint:  # fmt: skip
    """Choose the depth by probes, fit the head, and find out whether mirrored and turned photos are the same objects.

    Args:
        config, recipe: all settings.
        classifier: of the depth given, or with all blocks.
        embedder: of its photos.
        build: builds the classifier of a recipe.
    """
    depths = _list_depths(config, classifier)
    train, validation = (embedder.embed(classifier.model, split, depths) for split in ("train", "validation"))
    index, strength, losses_by_depth = choose_depth(train.data, validation.data, recipe.seed)
    if len(depths) > 1:
        listed = ", ".join(f"{depth}: {loss:.3f}" for depth, loss in zip(depths, losses_by_depth, strict=True))
        recipe = recipe.choose(config, f"loss of a linear probe by number of blocks: {listed}", blocks=depths[index])
        classifier = build(recipe)
    train, validation = (Embedded(split.photos, split.data.at(index)) for split in (train, validation))
    copies = [(view, name) for view, name in _COPIES if getattr(recipe, name)]
    copied = _choose_rows(train.data.label_ids.tolist(), _COPIED, np.random.default_rng(recipe.seed))
    views = [embedder.embed_copies(classifier.model, view, copied) for view, _ in copies]
    harmless, losses = count_harmless_views(train.data.select(np.array(copied)), views, strength, recipe.seed)
    for number, (view, name) in enumerate(copies[harmless:], start=harmless + 1):
        reason = f"learning {view} copies harms a probe: its loss goes from {losses[0]:.3f} to {losses[number]:.3f}"
        recipe = recipe.choose(config, reason, **{name: False})
    probe = fit_probe(train.data, strength, views[:harmless])
    if not _has_better_head(classifier, probe, validation.data):
        probe.install(classifier.model)
    shares = np.bincount(train.data.label_ids, train.data.weights) / train.data.weights.sum()
    explained = 1 - float(losses_by_depth.min() / entropy(shares))
    return StartingPoint(classifier, recipe, train, validation, strength, explained)


def _choose_rows(label_ids: Sequence[int], most: int, rng: np.random.Generator) -> list[int]:
    """Choose photos by chance, and of each class at least 20 or all of them."""
    order = rng.permutation(len(label_ids))
    shuffled = pd.Series(np.asarray(label_ids)[order])
    number_in_class = shuffled.groupby(shuffled).cumcount().to_numpy()
    rows: list[int] = np.sort(order[(np.arange(len(order)) < most) | (number_in_class < _FEWEST_PROBED)]).tolist()
    return rows


def _list_depths(config: FinetuneConfig, classifier: TrainableClassifier) -> list[int]:
    """List the numbers of blocks to try: the deeper half, or the present one if it is given or fits its head.

    Blocks to train, where their number is given, are blocks to keep.
    """
    blocks = classifier.blocks
    if is_given(config, "blocks") or classifier.head_kept:
        return [blocks]
    trained = config.train_blocks if isinstance(config.train_blocks, int) else 1
    return list(range(max((blocks + 1) // 2, trained), blocks + 1))


def _has_better_head(classifier: TrainableClassifier, probe: Probe, validation: ProbeData) -> bool:
    """Tell whether the head of the starting model is kept, and does better on the validation photos."""
    if not classifier.head_kept or classifier.new_classes:
        return False
    candidates = (Probe.read(classifier.model), probe)
    losses = [-float(candidate.log_likelihoods(validation) @ validation.weights) for candidate in candidates]
    log.info(
        "the starting model's own head: validation loss %.3f, a new one: %.3f",
        *(loss / validation.weights.sum() for loss in losses),
    )
    return losses[0] <= losses[1]
