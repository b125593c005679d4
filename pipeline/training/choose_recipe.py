"""The automatic recipe: values for settings not given, from the photos, a linear probe and a measured step.

Each choice is logged with its reason, and every setting given by the user stays as it is.
"""

import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from pipeline.errors import ConfigError
from pipeline.labelled.good_labels import GOOD_LABELS, tells_defects
from pipeline.model.architecture import encoder_layers
from pipeline.training.config import FinetuneConfig
from pipeline.training.device import TrainingDevice
from pipeline.training.layer_rates import freeze_below
from pipeline.training.recipe import Recipe

log = logging.getLogger(__name__)

_BASE_SIZE = 224
_ZOOMS = (1.0, 1.25)  # of the base size: solar cells gain by the second one, and boards nothing by twice the size
_FAR_FROM_SQUARE = 1.6  # longer side by shorter side
_FEWEST_EPOCHS = 8  # for a larger input
MOST_EPOCHS = 30
_STEP_COST = 1.5  # a training step by a forward pass of the whole backbone, at usual depths
_USED_SHARE = 0.9  # of the time left; the rest is for files, and for what else the machine does
_MUCH_EXPLAINED = 0.6  # of the labels' entropy: then the upper half of the blocks is trained, else all of them
_TIMED_PHOTOS = 8
_MOST_PROBED, _FEWEST_PROBED = 4000, 300  # photos of a split: a linear head learns little from more
_PROBE_SHARE = 0.3  # of the time left
_PROBE_PASSES = 5  # training photos as they are, mirrored and turned; validation and test


@dataclass(frozen=True)
class InputFacts:
    """What decides the input size.

    Attributes:
        sides: length of the resized side of some photos, pixels.
        patch: side of a patch, pixels.
        photos: number of training photos.
        forward: seconds of a forward pass a photo at the base size.
        left: seconds left for the training.
    """

    sides: Sequence[int]
    patch: int
    photos: int
    forward: float
    left: float


@dataclass(frozen=True)
class TrainingFacts:
    """What decides the course of a training, beside a measured step.

    Attributes:
        explained: share of the labels' entropy explained by frozen features.
        photos: number of training photos.
        held_out: number of validation photos.
        measured: number of forward passes to measure the finished model, and for the files beside it.
        left: seconds left for the training, and the measurement after it.
    """

    explained: float
    photos: int
    held_out: int
    measured: int
    left: float


class Budget:
    """The time of a training.

    Attributes:
        seconds: all of it; infinite without a limit.
    """

    def __init__(self, minutes: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        """Start the clock."""
        self.seconds = math.inf if minutes is None else 60 * minutes
        self._clock, self._started = clock, clock()

    def left(self) -> float:
        """Return the seconds left, at least 0."""
        return max(0.0, self.seconds - (self._clock() - self._started))


def check_goal(config: FinetuneConfig, labels: Sequence[str]) -> None:
    """Refuse a metric without meaning for these classes.

    Raises:
        ConfigError: names the classes expected.
    """
    if config.best_by == "defect_recall" and not tells_defects(labels):
        raise ConfigError(
            f"best_by = defect_recall: needs a class of good photos ({', '.join(GOOD_LABELS)}) and one of defects; "
            "rename a class, or use macro_f1"
        )


def choose_resize(config: FinetuneConfig, recipe: Recipe, sizes: Sequence[tuple[int, int]]) -> Recipe:
    """Choose between stretching and padding by the shapes of the photos, (width, height) in pixels."""
    aspects = np.array([max(size) / min(size) for size in sizes])
    typical, spread = float(np.median(aspects)), float(np.quantile(aspects, 0.95) / np.quantile(aspects, 0.05))
    if max(typical, spread) < _FAR_FROM_SQUARE:
        return recipe.choose(config, f"photos are {typical:.2f} times as long as wide", resize="stretch")
    shapes = f"photos are {typical:.1f} times as long as wide" if typical >= _FAR_FROM_SQUARE else "shapes differ"
    return recipe.choose(config, f"{shapes}, and a stretch would bend what the model sees", resize="pad")


def choose_input_size(config: FinetuneConfig, recipe: Recipe, facts: InputFacts) -> Recipe:
    """Choose the largest input with detail to show and time for enough epochs."""
    side = float(np.median(facts.sides))
    chosen = None
    for zoom in _ZOOMS:
        size = round(_BASE_SIZE * zoom / facts.patch) * facts.patch
        seconds = facts.photos * facts.forward * zoom**2 * (3 + _STEP_COST * _FEWEST_EPOCHS)
        if chosen is None or (size <= 1.1 * side and seconds < _USED_SHARE * facts.left):
            chosen = size
    reason = f"photos of {side:.0f} pixels, and time for {_FEWEST_EPOCHS} epochs or more"
    return recipe.choose(config, reason, input_size=chosen)


def count_probed_photos(photos: int, forward: float, left: float) -> int:
    """Return how many photos of a split the probe may see, so that it leaves time for the training.

    Args:
        photos: of the largest split.
        forward: seconds of a forward pass, a photo.
        left: seconds left for the training.
    """
    affordable = min(_PROBE_SHARE * left / (_PROBE_PASSES * forward), _MOST_PROBED)
    count = max(_FEWEST_PROBED, int(affordable))
    if count < min(photos, _MOST_PROBED):
        log.info("a linear probe of up to %d photos of each split; more take too much of the time", count)
    return count


def choose_goal(
    config: FinetuneConfig, recipe: Recipe, labels: Sequence[str], counts: Mapping[str, Counter[str]]
) -> Recipe:
    """Choose class weights and the metric that decides.

    Args:
        config, recipe: all settings.
        labels: class names.
        counts: photos per split and class.
    """
    rarest, most = min(counts["train"].values()), max(counts["train"].values())
    weights, reason = (
        ("none", "classes are of similar size")
        if most < 2 * rarest
        else ("sqrt", f"the rarest class has {rarest} photos, the largest {most}")
    )
    recipe = recipe.choose(config, reason, class_weights=weights)
    if len(labels) == 2 == len(counts["validation"]) and tells_defects(labels):
        return recipe.choose(config, "one class is good, the other a defect", best_by="defect_recall")
    return recipe.choose(config, "a smooth measure of all classes", best_by="loss")


def choose_training(config: FinetuneConfig, recipe: Recipe, model: Any, facts: TrainingFacts) -> Recipe:
    """Choose blocks to train, epochs, rate and averaging, by a measured step of this model.

    Args:
        config, recipe: all settings.
        model: the classifier, its depth decided; parameters are frozen and thawed in place.
        facts: about its data.
    """
    device = TrainingDevice.choose(config.precision)
    depth = len(encoder_layers(model))
    trained = max(1, depth // 2) if facts.explained >= _MUCH_EXPLAINED else None
    reason = f"frozen features explain {max(0, facts.explained):.0%} of the labels"
    recipe = recipe.choose(config, reason, train_blocks=trained)
    freeze_below(model, recipe.train_blocks)
    step, forward = time_step(model, recipe.input_size, device), time_forward(model, recipe.input_size, device)
    epoch = facts.photos * step + facts.held_out * forward
    left = max(0.0, facts.left - facts.measured * forward)
    possible = int(_USED_SHARE * left / epoch) if math.isfinite(left) else MOST_EPOCHS
    epochs = min(MOST_EPOCHS, possible)
    time_left = f"{left:.0f} s are left" if math.isfinite(left) else "time has no limit"
    recipe = recipe.choose(config, f"an epoch takes {max(epoch, 0.1):.1f} s, and {time_left}", epochs=epochs)
    if recipe.epochs == 0:
        return recipe
    steps = recipe.epochs * math.ceil(facts.photos / recipe.batch_size)
    recipe = recipe.choose(
        config, "fine-tuning starts from a fitted head", learning_rate=1e-4, patience=max(5, recipe.epochs // 2)
    )
    return recipe.choose(
        config, f"the last tenth of {steps} steps", averaging=round(max(0.0, 1 - 10 / max(10, steps)), 4)
    )


def time_forward(model: Any, input_size: int, device: TrainingDevice) -> float:
    """Measure the seconds of a forward pass, a photo."""
    model.to(device.name).eval()
    pixels = torch.zeros(_TIMED_PHOTOS, 3, input_size, input_size, device=device.name)

    @torch.no_grad()
    def run() -> None:
        with device.autocast():
            model(pixel_values=pixels).logits.cpu()

    return _time_twice(run) / _TIMED_PHOTOS


def time_step(model: Any, input_size: int, device: TrainingDevice) -> float:
    """Measure the seconds of a forward and a backward pass, a photo."""
    model.to(device.name).train()
    pixels = torch.zeros(_TIMED_PHOTOS, 3, input_size, input_size, device=device.name)

    def run() -> None:
        with device.autocast():
            loss = model(pixel_values=pixels).logits.float().sum()
        loss.backward()
        loss.cpu()

    seconds = _time_twice(run) / _TIMED_PHOTOS
    model.zero_grad(set_to_none=True)
    return seconds


def _time_twice(run: Callable[[], None]) -> float:
    """Return the seconds of the second call: the first one of a shape also sets things up."""
    run()
    started = time.perf_counter()
    run()
    return time.perf_counter() - started
