"""One decoded photo -> its prediction and map, and the attention behind them."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from pipeline.errors import ConfigError, PhotoError
from pipeline.maps.methods import METHODS, MethodName
from pipeline.maps.passes import MapPlan
from pipeline.model.classifier import Classifier
from pipeline.model.map_scale import Span
from pipeline.model.predictor import build_predictor
from pipeline.model.targets import Targets
from pipeline.model.tiled_predictor import build_tiled_predictor
from pipeline.photos.loader import PhotoLoader
from pipeline.records import LIKELY_FROM, Box, Detection, Floats, PixelBox, Pixels, Prediction, Sample, best_scores


@dataclass(frozen=True)
class Explanation:
    """The prediction for one photo, with the attention behind it.

    Attributes:
        prediction: the photo, its logits and its map, equal to those of a run.
        box: (x0, y0, x1, y1), the part of the photo under the maps, in upright pixels.
        labels, scores: the best five labels and their probabilities, best first.
        method: method of the map.
        target: the label explained by the map, or `defects`; None for maps independent of the label.
        versus: the label set against the target, or `good`; None: no label.
        layer: layer of `heads`; 1 is the first.
        heads: (heads, grid_h, grid_w), attention of the readout tokens to the patches, in each head of that layer. Each
            sums to 1 together with the attention to tokens other than patches.
        film_method: method of the filmstrip: that of the map, or rollout for methods with a gradient.
        filmstrip: (L, grid_h, grid_w), the map of the layers 1 to l alone, for each l.
        span: map values drawn as the coldest and the hottest; None: the map's own.
        class_names: of the model, by id.
        unfamiliar: how unlike the training photos the photo is, 0..1; None: the model has no statistics of them.
        window: (left, top, right, bottom), the part of the photo of `heads` and `filmstrip`; None: all of it.
    """

    prediction: Prediction
    box: Box
    labels: tuple[str, ...]
    scores: tuple[float, ...]
    method: MethodName
    target: str | None
    versus: str | None
    layer: int
    heads: Floats
    film_method: MethodName
    filmstrip: Floats
    span: Span | None = None
    class_names: tuple[str, ...] = ()
    unfamiliar: float | None = None
    window: PixelBox | None = None

    @property
    def attention_box(self) -> Box:
        """The part of the photo under `heads` and `filmstrip`, (x0, y0, x1, y1)."""
        if self.window is None:
            return self.box
        left, top, right, bottom = self.window
        return float(left), float(top), float(right), float(bottom)

    @property
    def detections(self) -> Sequence[Detection]:
        """The likely defects of a photo in windows, the surest first."""
        found = self.prediction.tiled.detections if self.prediction.tiled else ()
        return [detection for detection in found if detection.score >= LIKELY_FROM]


@dataclass(frozen=True)
class Explainer:
    """Explains photos.

    Attributes:
        classifier: the model; for windows if photos are cut.
        plan: the map's method, a single one, and its settings.
        targets: the label to explain.
        layer: layer of the heads to show, 1..L.
    """

    classifier: Classifier
    plan: MapPlan
    targets: Targets
    layer: int

    def explain(self, sample: Sample, loader: PhotoLoader, defect_ids: Sequence[int] = ()) -> Explanation:
        """Predict as a run does, then read the attention from a second forward pass.

        Args:
            sample: the decoded photo, with its overlay photo.
            loader: of the photo, to cut its windows.
            defect_ids: ids of the classes counted as defects, for a photo in windows.

        Raises:
            PhotoError: the model's output is not finite.
            ConfigError: the photo's most likely label is explained, and is also the label to set against it.
            VitrolloutError: the device has not enough memory.
        """
        prediction = self._predict(sample, loader, defect_ids)
        labels, (method,) = self.classifier.labels, self.plan.methods
        target, versus = self.targets.name_labels(prediction.target, labels)
        if self.targets.versus_ids == (prediction.target,):
            raise ConfigError(f"versus = {versus}: is the photo's most likely label itself; name another one")
        film_method = "rollout" if METHODS[method].needs_gradient else method
        window = _find_window(prediction)
        pixels = next(loader.windows(sample, window and [window]))
        heads, filmstrip = _read_attention(pixels, self.classifier, self.plan, film_method, self.layer)
        top, scores = best_scores(prediction.logits, self.classifier.scoring)
        return Explanation(
            prediction=prediction,
            box=self.classifier.geometry.box_of(sample),
            labels=tuple(labels[label_id] for label_id in top),
            scores=tuple(float(score) for score in scores),
            method=method,
            target=target,
            versus=versus,
            layer=self.layer,
            heads=heads,
            film_method=film_method,
            filmstrip=filmstrip,
            class_names=labels,
            window=window,
        )

    def _predict(self, sample: Sample, loader: PhotoLoader, defect_ids: Sequence[int]) -> Prediction:
        if sample.tiles is None:
            predictor = build_predictor(self.classifier, self.plan, batch_size=1, targets=self.targets)
        else:
            predictor = build_tiled_predictor(
                self.classifier, self.plan, "auto", self.targets, loader.windows, defect_ids
            )
        (prediction,) = predictor.predict_photos([sample])
        if failure := prediction.failure:
            raise PhotoError(f"{sample.ref.path}: {failure.reason}")
        return prediction


def _find_window(prediction: Prediction) -> PixelBox | None:
    """Return the window that decides, or the first one; None for a photo seen as a whole."""
    tiles = prediction.sample.tiles
    if tiles is None or len(tiles.boxes) == 1:
        return None
    return tiles.boxes[(prediction.tiled and prediction.tiled.deciding) or 0]


@torch.inference_mode()
def _read_attention(
    pixels: Pixels, classifier: Classifier, plan: MapPlan, film_method: MethodName, layer: int
) -> tuple[Floats, Floats]:
    """Return heads and filmstrip, as in `Explanation`."""
    method = METHODS[film_method]
    inputs = torch.from_numpy(pixels[None])  # (1, 3, H, W)
    recorder = classifier.capture(inputs, plan.head_fusion, heads_layer=layer - 1, value_norms=method.needs_value_norms)
    assert recorder.heads is not None
    attention, compute_map = recorder.captured_attention(plan.discard_ratio), method.load()
    depths = range(1, len(attention.layers) + 1)
    frames = torch.cat([compute_map(attention.first_layers(depth)) for depth in depths])  # (L, N)
    heads, filmstrip = (classifier.drop_prefix(tokens).float().cpu().numpy() for tokens in (recorder.heads[0], frames))
    return heads, filmstrip
