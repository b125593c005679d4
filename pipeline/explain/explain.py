"""The settings -> an explanation of one photo.

fetch -> decode -> predict -> read the attention, with the code of a run for every shared step
"""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from pipeline.errors import ConfigError, PhotoError
from pipeline.explain.config import ExplainConfig
from pipeline.explain.fetch import fetch
from pipeline.maps.methods import METHODS
from pipeline.model.choose_method import choose_method
from pipeline.model.choose_tile import choose_tile, find_window_defects
from pipeline.model.open import OpenedModel, open_model
from pipeline.model.targets import Targets, find_targets
from pipeline.overlays.scale import find_model_span
from pipeline.photos.folder_walk import escape
from pipeline.photos.loader import PhotoLoader
from pipeline.photos.tiling import Tiling
from pipeline.records import UNFAMILIAR_FROM, ImageRef, Sample
from pipeline.results.rows import rate_familiarity

if TYPE_CHECKING:  # transformers takes seconds to import: it is loaded once the photo has arrived
    from pipeline.explain.explanation import Explanation
    from pipeline.model.classifier import Classifier

log = logging.getLogger(__name__)

_PHOTO_SIDE = 1024  # longest side of the photo in the figures, pixels


def explain(config: ExplainConfig) -> "Explanation":
    """Explain the prediction for one photo. Writes nothing.

    Raises:
        PhotoError: the photo can't be fetched or decoded, or the model's output is not finite.
        ConfigError, ModelError: the settings or the model are wrong.
        VitrolloutError: the device has not enough memory.
    """
    with TemporaryDirectory(prefix="vitrollout-") as folder:
        # 1. the photo as a file, the model, the label to explain
        ref = _locate_photo(config, Path(folder))
        model = open_model(config)
        choice = choose_method((config.method,), model, target=config.target, versus=config.versus)
        config = config.model_copy(update={"method": choice.methods[0]})
        decision = model.find_decision()
        positive = decision.positive if decision else ()
        targets = _choose_targets(config, model, positive)
        span = find_model_span(config.scale, config.method, targets, model)
        tile = choose_tile(config.tile, config.tile_overlap, model.checkpoint, decision)
        # 2. the weights and the layer
        log.info("%s", model.description)
        choice.log_reason()
        tile.log_reason()
        classifier = model.load(rescale=config.rescale)
        layer = _layer_from_first(config.layer, len(classifier.encoder))
        # 3. the pixels; prediction, map and attention
        from pipeline.explain.explanation import Explainer
        from pipeline.maps.passes import MapPlan

        familiarity = model.read_familiarity()
        plan = MapPlan(
            (config.method,), config.head_fusion, config.discard_ratio, targets.label_ids, targets.versus_ids,
            features=familiarity is not None,
        )  # fmt: skip
        if tile.tiling:
            classifier = classifier.for_windows()
        with _load_photos(classifier, config, tile.tiling) as loader:
            sample = _decode_photo(ref, loader, config)
            explainer = Explainer(classifier, plan, targets, layer)
            labels = model.checkpoint.labels
            defect_ids = find_window_defects(labels, positive, config.positive) if tile.tiling else ()
            explanation = explainer.explain(sample, loader, defect_ids)
    (unfamiliar,) = rate_familiarity(familiarity, [explanation.prediction])
    if unfamiliar is not None and unfamiliar > UNFAMILIAR_FROM:
        log.warning(
            "this photo is unlike those that the model learned from (%.1f%% of them are more typical): don't rely on "
            "its label",
            100 * unfamiliar,
        )
    return replace(explanation, span=span, unfamiliar=unfamiliar)


def _locate_photo(config: ExplainConfig, folder: Path) -> ImageRef:
    """Return the photo as a file; a photo from the web is saved in `folder`."""
    if isinstance(config.image, Path):
        name, file = escape(config.image.name), config.image
    else:
        file = folder / "photo"
        fetch(
            config.image,
            file,
            seconds=config.fetch_seconds,
            max_bytes=config.fetch_bytes,
            allow_private=config.allow_private,
        )
        url = urlsplit(config.image)
        name = unquote(url.path.rpartition("/")[2]) or str(url.hostname)
    return ImageRef(name, None, str(file), file_bytes=0, mtime_ns=0)  # size and mtime are set on reading


def _choose_targets(config: ExplainConfig, model: OpenedModel, saved_positive: Sequence[str]) -> Targets:
    if not METHODS[config.method].explains_label:
        return Targets()
    target = None if config.target == "top1" else config.target
    targets, problems = find_targets(target, config.versus, model.checkpoint.labels, config.positive, saved_positive)
    if problems:
        raise ConfigError(*problems)
    return targets


def _layer_from_first(layer: int, count: int) -> int:
    """Return the number of a layer counted from 1, the first; -1 is the last of `count`."""
    if not 1 <= abs(layer) <= count:
        raise ConfigError(f"layer = {layer}: the model has {count} layers; name 1 to {count}, or -1 to -{count}")
    return layer if layer > 0 else count + 1 + layer


def _load_photos(classifier: "Classifier", config: ExplainConfig, tiling: Tiling | None) -> PhotoLoader:
    """Start a worker that decodes as a run does: decoders may crash or hang."""
    spec = classifier.load_spec(
        overlay_size=_PHOTO_SIDE,
        exact_decode=config.exact_decode,
        max_pixels=config.max_pixels,
        white_level=config.white_level,
        tiling=tiling,
    )
    return PhotoLoader(spec, num_workers=1, decode_seconds=config.decode_seconds)


def _decode_photo(ref: ImageRef, loader: PhotoLoader, config: ExplainConfig) -> Sample:
    (batch,) = loader.batches([ref], 1, lambda: False)
    for failure in batch.failures:
        raise PhotoError(f"{config.image}: {failure.reason}")
    return batch.samples[0]
