"""The settings -> an explanation of one photo.

fetch -> decode -> forward -> look; what a run does too, it does with the same code
"""

import logging
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from pipeline.errors import ConfigError, PhotoError
from pipeline.explain.config import ExplainConfig
from pipeline.explain.fetch import fetch
from pipeline.maps.methods import BACKWARD
from pipeline.model.checkpoint import Checkpoint, check_family, resolve_checkpoint
from pipeline.model.targets import Targets, find_targets
from pipeline.photos.discover import escape
from pipeline.photos.loader import LoadSpec, PhotoLoader
from pipeline.records import ImageRef, Sample

if TYPE_CHECKING:  # transformers takes seconds to import: only once the photo is there
    from pipeline.explain.explanation import Explanation
    from pipeline.model.classifier import Classifier

log = logging.getLogger(__name__)

_PHOTO_SIDE = 1024  # longest side of the photo in the figures, pixels


def explain(config: ExplainConfig) -> "Explanation":
    """Look closely at one photo; what is found is returned, nothing is written.

    Raises:
        PhotoError: it can't be fetched or decoded, or the model's output is not finite.
        ConfigError, ModelError: the settings or the model are wrong.
        VitrolloutError: the device has not enough memory.
    """
    with TemporaryDirectory(prefix="vitrollout-") as folder:
        ref = _photo(config, Path(folder))
        checkpoint = resolve_checkpoint(config.model)
        check_family(checkpoint)
        targets = _targets(config, checkpoint)
        from pipeline.explain.explanation import look_closely
        from pipeline.maps.passes import MapPlan
        from pipeline.model.classifier import load_classifier
        from pipeline.model.device import choose_device, choose_precision

        device = choose_device(config.device)
        precision = choose_precision(config.precision, device)
        log.info("model %s: %s; %s on %s", checkpoint.name, checkpoint.purpose, precision, device)
        classifier = load_classifier(
            checkpoint, device=device, precision=precision, input_size=config.input_size, rescale=config.rescale
        )
        layer = _layer_number(config.layer, len(classifier.encoder))
        sample = _load(ref, classifier, config)
    maps = MapPlan((config.method,), config.head_fusion, config.discard_ratio, targets.versus)
    return look_closely(sample, classifier, maps, targets, layer)


def _photo(config: ExplainConfig, folder: Path) -> ImageRef:
    """The photo as a file; one from the web is put into `folder`."""
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
    return ImageRef(name, None, str(file), file_bytes=0, mtime_ns=0)  # both are set when it is read


def _targets(config: ExplainConfig, checkpoint: Checkpoint) -> Targets:
    if config.method not in BACKWARD:
        return Targets()
    target = None if config.target == "top1" else config.target
    targets, problems = find_targets(target, config.versus, checkpoint.labels)
    if problems:
        raise ConfigError(*problems)
    return targets


def _layer_number(layer: int, count: int) -> int:
    """1..count; -1 is the last."""
    if not 1 <= abs(layer) <= count:
        raise ConfigError(f"layer = {layer}: the model has {count} layers; name 1 to {count}, or -1 to -{count}")
    return layer if layer > 0 else count + 1 + layer


def _load(ref: ImageRef, classifier: "Classifier", config: ExplainConfig) -> Sample:
    """Decode the photo as a run does, in a process that may crash or hang."""
    draft = None if config.exact_decode else classifier.geometry.draft_size
    spec = LoadSpec(classifier.processor, draft, _PHOTO_SIDE, config.max_pixels)
    with PhotoLoader(spec, workers=1, decode_seconds=config.decode_seconds) as photos:
        (batch,) = photos.batches([ref], 1, lambda: False)
    for failure in batch.failures:
        raise PhotoError(f"{config.image}: {failure.reason}")
    return batch.samples[0]
