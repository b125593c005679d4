"""One forward pass over one photo, and all that the figures show of it."""

from dataclasses import dataclass
from functools import partial

import torch

from pipeline.errors import PhotoError, VitrolloutError
from pipeline.map_passes import MapSettings
from pipeline.model import Classifier
from pipeline.predictor import NO_ROOM, is_out_of_memory
from pipeline.records import Box, Floats, Prediction, Sample
from pipeline.rollout import METHODS
from pipeline.rows import best_scores


@dataclass(frozen=True)
class Explanation:
    """What a model makes of one photo.

    Attributes:
        prediction: the photo, its logits and its map, as a run has them.
        box: x0, y0, x1, y1 in upright pixels of the photo: the part that the maps cover.
        labels, scores: the best five, best first.
        maps: how attention became a map.
        layer: the layer of `heads`; 1 is the first.
        heads: (heads, grid_h, grid_w), what each head of that layer attends to from the tokens that a rollout starts
            from. Each sums to 1 together with what falls on tokens that are no patches.
        filmstrip: (L, grid_h, grid_w), the map of the layers 1 to l alone, for each l; the last one is the map.
    """

    prediction: Prediction
    box: Box
    labels: tuple[str, ...]
    scores: tuple[float, ...]
    maps: MapSettings
    layer: int
    heads: Floats
    filmstrip: Floats


def look_closely(sample: Sample, classifier: Classifier, maps: MapSettings, layer: int) -> Explanation:
    """One forward pass, and what there is to see in it.

    Args:
        sample: the photo, in full as well.
        classifier: the model.
        maps: how attention becomes a map.
        layer: whose heads to show, 1..L.

    Raises:
        PhotoError: the model's output is not finite.
        VitrolloutError: the device has not enough memory.
    """
    try:
        return _look(sample, classifier, maps, layer)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise VitrolloutError(NO_ROOM) from None


@torch.inference_mode()
def _look(sample: Sample, classifier: Classifier, maps: MapSettings, layer: int) -> Explanation:
    pixels = torch.from_numpy(sample.pixels[None])  # (1, 3, H, W)
    logits, recorder = classifier.capture(pixels, maps.head_fusion, heads_layer=layer - 1)
    assert recorder.heads is not None
    rollout = partial(
        METHODS[maps.methods[0]], readout_tokens=classifier.readout_tokens, discard_ratio=maps.discard_ratio
    )
    depths = range(1, len(recorder.layers) + 1)
    frames = torch.cat([rollout(recorder.layers[:depth]) for depth in depths])  # (L, N)
    filmstrip = classifier.on_grid(frames).float().cpu().numpy()
    prediction = Prediction(sample, logits[0].float().cpu().numpy(), filmstrip[-1])
    if failure := prediction.failure:
        raise PhotoError(f"{sample.ref.path}: {failure.reason}")
    top, scores = best_scores(prediction.logits)
    return Explanation(
        prediction=prediction,
        box=classifier.framing.map_box(sample.width, sample.height),
        labels=tuple(classifier.labels[index] for index in top),
        scores=tuple(float(score) for score in scores),
        maps=maps,
        layer=layer,
        heads=classifier.on_grid(recorder.heads[0]).float().cpu().numpy(),
        filmstrip=filmstrip,
    )
