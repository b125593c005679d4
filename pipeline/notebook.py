"""A few images in memory -> labels, scores and maps: what a run does with a folder, for a notebook."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from pipeline.decision import Decision, Outcome
from pipeline.errors import ConfigError, DecodeError, PhotoError
from pipeline.maps.geometry import scale_box
from pipeline.maps.methods import AUTO, LABEL_METHODS, MethodName, WantedMethod
from pipeline.maps.passes import MapPlan
from pipeline.model.choose_method import choose_method
from pipeline.model.choose_tile import choose_tile, find_window_defects
from pipeline.model.classifier import Classifier
from pipeline.model.cpu_streams import split_over_cores
from pipeline.model.familiarity import Familiarity
from pipeline.model.open import open_model
from pipeline.model.predictor import Predictor
from pipeline.model.targets import Targets, find_targets
from pipeline.model.tiled_predictor import TiledPredictor, WindowRules
from pipeline.overlays.draw import OverlayLook, draw_overlay
from pipeline.overlays.draw_detections import draw_detections
from pipeline.photos.decode import to_rgb
from pipeline.photos.load_photo import keep_unpacked, load_sample, model_pixels, prepare_input
from pipeline.photos.resize import downscale, fit_within
from pipeline.photos.tiling import Tiling
from pipeline.photos.windows import CutTask, UnpackedPhoto, cut_windows
from pipeline.records import Box, Failure, Floats, ImageRef, PixelBox, Pixels, Prediction, Sample, best_scores
from pipeline.results.rows import describe_detections, rate_familiarity
from pipeline.settings import MapSettings, ModelSettings, TileSettings

ImageLike = Image.Image | np.ndarray[Any, Any] | str | Path

_BATCH_SIZE = 8
_PHOTO_SIDE = 1024  # longest side of an overlay, pixels


@dataclass(frozen=True)
class ImagePrediction:
    """The model's view of one image.

    Attributes:
        label: the most likely class.
        score: its probability.
        top_labels, top_scores: the best five, best first.
        logits: (C,), all classes.
        map: (grid_h, grid_w), raw, not normalised.
        map_box: x0, y0, x1, y1 in pixels of the image: the part covered by the map.
        target: the label explained by the map; None if the method explains no label.
        photo: (h, w, 3), the image, upright, at a longest side of at most 1,024 pixels.
        photo_box: `map_box` in pixels of `photo`.
        size: width and height of the image.
        defect_score, decision: score of "any defect", and pass, review or reject; None for a model without a decision.
        features: (D,), read by the classification head; for `pipeline.analysis.nearest_photos`.
        unfamiliar: 0..1, the column of the table; None for a model without statistics of its training photos.
        detections: the defects found in the windows of an image, the surest first, as in the table.
    """

    label: str
    score: float
    top_labels: tuple[str, ...]
    top_scores: tuple[float, ...]
    logits: Floats
    map: Floats
    map_box: Box
    target: str | None
    photo: Pixels
    photo_box: Box
    size: tuple[int, int]
    defect_score: float | None = None
    decision: Outcome | None = None
    features: Floats | None = None
    unfamiliar: float | None = None
    detections: tuple[dict[str, Any], ...] = ()

    def overlay(self, **look: Any) -> Image.Image:
        """Draw the map over the image, and the likely defects.

        Args:
            look: fields of `OverlayLook`: style, opacity, colormap, and span, for one scale in several images.
        """
        # negative values speak against a label: no heat
        picture = draw_overlay(self.photo, np.maximum(self.map, 0), self.photo_box, OverlayLook(**look))
        draw_detections(picture, self.detections, self.size)
        return picture


class LoadedModel:
    """A classifier in memory, from `load_model`.

    Attributes:
        classifier: the model, for the functions of `pipeline.maps` and `pipeline.model`.
        labels: class names by id.
        method: the map method.
    """

    def __init__(
        self,
        classifier: Classifier,
        method: MethodName,
        settings: MapSettings,
        decision: Decision | None = None,
        familiarity: Familiarity | None = None,
        tiling: Tiling | None = None,
    ) -> None:
        self.classifier = classifier.for_windows() if tiling else classifier
        self.labels = classifier.labels
        self.method = method
        self._settings = settings
        self._decision = decision
        self._familiarity = familiarity
        self._tiling = tiling
        self._defect_ids = find_window_defects(self.labels, decision.positive if decision else ()) if tiling else ()
        self._network = split_over_cores(self.classifier, _BATCH_SIZE)

    def predict(
        self, images: ImageLike | Iterable[ImageLike], *, target: str | None = None, versus: str | None = None
    ) -> list[ImagePrediction]:
        """Classify images and compute their maps.

        Args:
            images: paths, PIL images, or uint8 arrays (h, w), (h, w, 3) or (h, w, 4); one or several.
            target: label to explain, or its id, or `defects`; None: the most likely one of each image.
            versus: label to set against it, or `good` against `defects`, or None.

        Raises:
            PhotoError: an image can't be read, or the model's output is not finite.
            ConfigError: the model does not know a label, or the method explains none.
        """
        targets = self._find_targets(target, versus)
        samples = [self._prepare_sample(number, image) for number, image in enumerate(_as_list(images), start=1)]
        settings = self._settings
        plan = MapPlan(
            (self.method,), settings.head_fusion, settings.discard_ratio, targets.label_ids, targets.versus_ids,
            features=True,
        )  # fmt: skip
        predictor = Predictor(self._network, plan, _BATCH_SIZE, targets)
        if self._tiling:
            rules = WindowRules.of(self.classifier, self._defect_ids)
            predictor = TiledPredictor(self._network, plan, _BATCH_SIZE, targets, self._cut, rules)
        return [self._describe_prediction(prediction, targets) for prediction in predictor.predict_photos(samples)]

    def _describe_prediction(self, prediction: Prediction, targets: Targets) -> ImagePrediction:
        sample = prediction.sample
        if failure := prediction.failure:
            raise PhotoError(f"{sample.ref.path}: {failure.reason}")
        assert sample.photo is not None
        top, scores = best_scores(prediction.logits, self.classifier.scoring)
        box = self.classifier.geometry.box_of(sample)
        judged: tuple[float, Outcome] | tuple[None, None] = (None, None)
        if self._decision:
            (judged,) = self._decision.judge(prediction.logits[None], self.labels, self.classifier.scoring)
        return ImagePrediction(
            label=self.labels[top[0]],
            score=float(scores[0]),
            top_labels=tuple(self.labels[index] for index in top),
            top_scores=tuple(scores.tolist()),
            logits=prediction.logits,
            map=prediction.attention,
            map_box=box,
            target=targets.name_labels(prediction.target, self.labels)[0],
            photo=sample.photo,
            size=(sample.width, sample.height),
            photo_box=scale_box(box, (sample.width, sample.height), sample.photo.shape[1::-1]),
            defect_score=judged[0],
            decision=judged[1],
            features=prediction.features,
            unfamiliar=rate_familiarity(self._familiarity, [prediction])[0],
            detections=tuple(describe_detections(prediction, self.labels)),
        )

    def _find_targets(self, target: str | None, versus: str | None) -> Targets:
        if (target, versus) != (None, None) and self.method not in LABEL_METHODS:
            raise ConfigError(
                f"{self.method} gives the same map for every label; load the model with a method of label-dependent "
                f"maps: {', '.join(LABEL_METHODS)}"
            )
        saved_positive = self._decision.positive if self._decision else ()
        targets, problems = find_targets(target, versus, self.labels, saved_positive=saved_positive)
        if problems:
            raise ConfigError(*problems)
        return targets

    def _prepare_sample(self, number: int, image: ImageLike) -> Sample:
        """Decode a file as a run does; bring pixels in memory to the same form."""
        unpacked = UnpackedPhoto() if self._tiling else None
        spec = self.classifier.load_spec(overlay_size=_PHOTO_SIDE, tiling=self._tiling)
        spec = replace(spec, unpacked=unpacked.path if unpacked else None)
        if isinstance(image, str | Path):
            sample = load_sample(ImageRef(str(image), None, str(Path(image).expanduser()), 0, 0), spec)
            if isinstance(sample, Failure):
                raise PhotoError(f"{image}: {sample.reason}")
            return keep_unpacked(sample, unpacked)
        name = f"image {number}"
        try:
            rgb = np.asarray(_to_upright_rgb(image))  # (h, w, 3)
            height, width, _ = rgb.shape
            pixels, tiles = prepare_input(rgb, (width, height), spec)
        except (DecodeError, TypeError) as error:
            raise PhotoError(f"{name}: {error}") from None
        photo = downscale(rgb, fit_within((width, height), _PHOTO_SIDE))
        sample = Sample(ImageRef(name, None, "", 0, 0), "", width, height, None, pixels, photo, tiles)
        return keep_unpacked(sample, unpacked)

    def _cut(self, sample: Sample, boxes: Sequence[PixelBox] | None = None) -> Iterator[Pixels]:
        """Yield the model's input of windows of an image, all of them by default."""
        if sample.tiles is None or sample.tiles.unpacked is None:
            yield sample.pixels
            return
        prepare = partial(model_pixels, spec=self.classifier.load_spec())
        for box in sample.tiles.boxes if boxes is None else boxes:
            yield from cut_windows(CutTask(sample.tiles.unpacked.path, (sample.width, sample.height), (box,)), prepare)


class _LoadSettings(MapSettings, TileSettings, ModelSettings):
    method: WantedMethod = AUTO


def load_model(model: str = "bundled", *, method: str = AUTO, **settings: Any) -> LoadedModel:
    """Load a model for a few images in memory.

    Args:
        model: 'bundled', a checkpoint folder, or a Hugging Face id[@revision].
        method: a map method, see `pipeline.maps.methods.METHODS`; auto: that of the model's verdict, or else rollout.
        settings: further settings of `vitrollout run`: input_size, precision, device, head_fusion, discard_ratio,
            tile, tile_overlap.

    Raises:
        ConfigError: settings are wrong; names all of them.
        ModelError: the checkpoint can't be reached or loaded, or has no rollout.
    """
    config = _LoadSettings(model=model, method=method, **settings)
    opened = open_model(config)
    choice = choose_method((config.method,), opened, target="top1", versus=None)
    choice.log_reason()
    decision = opened.read_decision()
    tile = choose_tile(config.tile, config.tile_overlap, opened.checkpoint, decision)
    tile.log_reason()
    tile.check_decision(decision)
    return LoadedModel(opened.load(), choice.methods[0], config, decision, opened.read_familiarity(), tile.tiling)


def _as_list(images: ImageLike | Iterable[ImageLike]) -> list[ImageLike]:
    is_one = isinstance(images, str | Path | Image.Image) or (isinstance(images, np.ndarray) and images.ndim < 4)
    return [images] if is_one else list(images)  # type: ignore[arg-type, list-item]


def _to_upright_rgb(image: Image.Image | np.ndarray[Any, Any]) -> Image.Image:
    if isinstance(image, Image.Image):
        return to_rgb(ImageOps.exif_transpose(image))
    if isinstance(image, np.ndarray) and image.dtype == np.uint8:
        return to_rgb(Image.fromarray(image))
    kind = f"an array of {image.dtype}" if isinstance(image, np.ndarray) else f"of type {type(image).__name__}"
    raise TypeError(f"is {kind}; give a path, a PIL image or an array of uint8")
