"""One photo through the model, and all that the figures show of it."""

from dataclasses import dataclass
from functools import partial

import torch

from pipeline.errors import ConfigError, PhotoError
from pipeline.maps.methods import Method
from pipeline.maps.passes import MapPlan
from pipeline.maps.rollout import METHODS
from pipeline.model.classifier import Classifier
from pipeline.model.predictor import Predictor
from pipeline.model.targets import Targets
from pipeline.records import Box, Floats, Prediction, Sample
from pipeline.results.rows import best_scores


@dataclass(frozen=True)
class Explanation:
    """What a model makes of one photo.

    Attributes:
        prediction: the photo, its logits and its map, as a run has them.
        box: x0, y0, x1, y1 in upright pixels of the photo: the part that the maps cover.
        labels, scores: the best five, best first.
        method: what made the map.
        target, versus: the label that the map explains, and rather than which; None where it does not.
        layer: the layer of `heads`; 1 is the first.
        heads: (heads, grid_h, grid_w), what each head of that layer attends to from the tokens that a rollout starts
            from. Each sums to 1 together with what falls on tokens that are no patches.
        film_method: what made the filmstrip: the map's method, or rollout where that needs more than attention.
        filmstrip: (L, grid_h, grid_w), the map by that method of the layers 1 to l alone, for each l.
    """

    prediction: Prediction
    box: Box
    labels: tuple[str, ...]
    scores: tuple[float, ...]
    method: Method
    target: str | None
    versus: str | None
    layer: int
    heads: Floats
    film_method: Method
    filmstrip: Floats


def look_closely(sample: Sample, classifier: Classifier, maps: MapPlan, targets: Targets, layer: int) -> Explanation:
    """Predict as a run does, then once more forward for the attention behind it.

    Args:
        sample: the photo, in full as well.
        classifier: the model.
        maps: the one method of the map, and its settings.
        targets: the label to explain.
        layer: whose heads to show, 1..L.

    Raises:
        PhotoError: the model's output is not finite.
        ConfigError: the label that the map explains is the one that it shall be set against.
        VitrolloutError: the device has not enough memory.
    """
    (prediction,) = Predictor(classifier, maps, batch_size=1, targets=targets).predict([sample])
    if failure := prediction.failure:
        raise PhotoError(f"{sample.ref.path}: {failure.reason}")
    labels, (method,) = classifier.labels, maps.methods
    target, versus = (None if label is None else labels[label] for label in (prediction.target, targets.versus))
    if target is not None and prediction.target == targets.versus:
        raise ConfigError(f"versus = {versus}: is the photo's most likely label itself; name another one")
    film_method: Method = method if method in METHODS else "rollout"
    heads, filmstrip = _attention(sample, classifier, maps, film_method, layer)
    top, scores = best_scores(prediction.logits)
    return Explanation(
        prediction=prediction,
        box=classifier.geometry.map_box(sample.width, sample.height),
        labels=tuple(labels[index] for index in top),
        scores=tuple(float(score) for score in scores),
        method=method,
        target=target,
        versus=versus,
        layer=layer,
        heads=heads,
        film_method=film_method,
        filmstrip=filmstrip,
    )


@torch.inference_mode()
def _attention(
    sample: Sample, classifier: Classifier, maps: MapPlan, film_method: Method, layer: int
) -> tuple[Floats, Floats]:
    """Heads and filmstrip, as `Explanation` has them."""
    pixels = torch.from_numpy(sample.pixels[None])  # (1, 3, H, W)
    recorder = classifier.capture(pixels, maps.head_fusion, heads_layer=layer - 1)
    assert recorder.heads is not None
    rollout = partial(METHODS[film_method], readout_tokens=classifier.readout_tokens, discard_ratio=maps.discard_ratio)
    depths = range(1, len(recorder.layers) + 1)
    frames = torch.cat([rollout(recorder.layers[:depth]) for depth in depths])  # (L, N)
    heads, filmstrip = (classifier.on_grid(tokens).float().cpu().numpy() for tokens in (recorder.heads[0], frames))
    return heads, filmstrip
