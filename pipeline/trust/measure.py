"""A classifier and photos -> how far each method's maps can be trusted.

choose photos -> decode -> maps of every method, and of the baselines -> remove patches, point, sanity -> sum up
"""

import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from zlib import crc32

import numpy as np

from pipeline.atomic_files import make_folder
from pipeline.errors import DataError, DecodeError, ModelError, StoppedError
from pipeline.labelled.splits import check_known
from pipeline.maps.methods import BACKWARD
from pipeline.maps.passes import MapPlan
from pipeline.maps.statistics import Doubles
from pipeline.model.checkpoint import check_family, resolve_checkpoint
from pipeline.model.classifier import Classifier, load_classifier
from pipeline.model.device import choose_device, choose_precision
from pipeline.model.predictor import Predictor, find_batch_size
from pipeline.photos.decode import MAX_PIXELS
from pipeline.photos.loader import LoadSpec, PhotoLoader
from pipeline.progress import Progress
from pipeline.records import Floats, Pixels, Sample
from pipeline.results.rows import softmax
from pipeline.trust.baselines import baseline_maps
from pipeline.trust.config import TrustConfig
from pipeline.trust.deletion import FILLS, ORDERS, Curve, partly_removed, patch_counts, ranks, without_content
from pipeline.trust.marked_photos import MarkedPhoto, choose_photos
from pipeline.trust.pointing import point_on_grid, point_on_photo
from pipeline.trust.result import MeasuredMap, TrustReport, sum_up, write_results
from pipeline.trust.sanity import likeness, with_shuffled_weights

log = logging.getLogger(__name__)

_FEW_PHOTOS = 20


def trust(config: TrustConfig, *, stop: Callable[[], bool] = lambda: False) -> TrustReport:
    """Measure every method's maps and write trust.json, trust.md, trust.parquet and trust.png.

    Told to stop by `stop()`, it writes what it found up to there: the photos come in random order.

    Raises:
        DataError: there are no photos, none that can be read, or labels that the model does not know.
        ConfigError, ModelError: the settings or the model are wrong.
        StoppedError: it was stopped before there was anything to write.
    """
    photos = choose_photos(config)
    make_folder(config.out)
    checkpoint = resolve_checkpoint(config.model)
    check_family(checkpoint)
    device = choose_device(config.device)
    precision = choose_precision(config.precision, device)
    classifier = load_classifier(checkpoint, device=device, precision=precision, input_size=config.input_size)
    check_known((photo.label for photo in photos if photo.label), classifier.labels)
    log.info("model %s; %d photos; %s on %s", checkpoint.name, len(photos), precision, device)
    judge = MapMeasurer(classifier, config, stop)
    found = [one for photo_maps in judge.judge(photos) for one in photo_maps]
    if stop() and len({one.path for one in found}) < 2:
        raise StoppedError("stopped before two photos were measured; nothing was written")
    if not found:
        raise DataError(f"data = {config.data}: no photo can be read; {judge.failed} failed, see above")
    result = sum_up(found, judge.median_seconds(), config, failed=judge.failed)
    if result.photos < _FEW_PHOTOS:
        log.warning("measured on %d photos only: intervals of so few say little", result.photos)
    if not result.pointed and any(photo.is_marked for photo in photos):
        log.warning("nothing is said of pointing: no photo with a box or mask got its right label")
    write_results(result, config.model_dump(mode="json") | {"precision": precision, "device": device}, config.out)
    return result


@dataclass(frozen=True)
class _Photo:
    """A photo on its way through the measurement.

    Attributes:
        marked, sample: the photo.
        target: id of its most likely label, which the maps explain.
        score: the softmax probability of that.
        maps: by method and baseline, (grid_h, grid_w) each.
        of_other_label, of_shuffled_weights: those by method for the second label, and with shuffled weights.
    """

    marked: MarkedPhoto
    sample: Sample
    target: int
    score: float
    maps: dict[str, Floats]
    of_other_label: dict[str, Floats]
    of_shuffled_weights: dict[str, Floats]


class MapMeasurer:
    """Takes photos through the model, again and again."""

    def __init__(self, classifier: Classifier, config: TrustConfig, stop: Callable[[], bool]) -> None:
        batch_size = config.batch_size
        if batch_size == "auto":
            batch_size = find_batch_size(classifier, MapPlan(config.methods))
        shuffled = with_shuffled_weights(classifier, config.seed)
        self._classifier, self._config, self._stop, self._batch_size = classifier, config, stop, batch_size
        self._bare = Predictor(classifier, MapPlan(()), batch_size)
        self._methods = {one: Predictor(classifier, MapPlan((one,)), batch_size) for one in config.methods}
        self._shuffled = {one: Predictor(shuffled, MapPlan((one,)), batch_size) for one in config.methods}
        self._seconds: dict[str, list[float]] = {}
        self.failed = 0

    def judge(self, photos: Sequence[MarkedPhoto]) -> Iterator[list[MeasuredMap]]:
        """All maps of one photo after the other."""
        by_path = {photo.ref.path: photo for photo in photos}
        classifier = self._classifier
        spec = LoadSpec(classifier.processor, classifier.geometry.draft_size, None, MAX_PIXELS)
        refs = [photo.ref for photo in photos]
        with PhotoLoader(spec, workers=1, decode_seconds=60) as loader, Progress(len(photos)) as progress:
            for batch in loader.batches(refs, self._batch_size, self._stop):
                for failure in batch.failures:
                    self._leave_out(failure.ref.path, failure.reason)
                    progress.advance(ok=0, failed=1)
                for photo in self._with_maps(batch.samples, by_path):
                    if self._stop():
                        return
                    found = self._measure(photo)
                    progress.advance(ok=int(bool(found)), failed=int(not found))
                    yield found

    def median_seconds(self) -> dict[str, float]:
        """Of a map and the classification that it comes with, by method."""
        return {method: float(np.median(seconds)) for method, seconds in self._seconds.items()}

    def _leave_out(self, path: str, reason: str) -> None:
        self.failed += 1
        log.warning("left out %s: %s", path, reason)

    def _with_maps(self, samples: Sequence[Sample], by_path: dict[str, MarkedPhoto]) -> Iterator[_Photo]:
        if not samples:
            return
        pixels = np.stack([sample.pixels for sample in samples])
        probabilities = self._probabilities(pixels)  # (B, C)
        order = probabilities.argsort(axis=1)
        first, second = order[:, -1].tolist(), order[:, -min(2, order.shape[1])].tolist()
        maps: dict[str, Floats] = {}  # (B, grid_h, grid_w)
        others: dict[str, Floats] = {}
        shuffled: dict[str, Floats] = {}
        for method in self._config.methods:
            started = time.perf_counter()
            maps[method] = self._methods[method].outputs(pixels, first).maps[method]
            self._seconds.setdefault(method, []).append((time.perf_counter() - started) / len(samples))
            others[method] = maps[method]
            if method in BACKWARD:
                others[method] = self._methods[method].outputs(pixels, second).maps[method]
            shuffled[method] = self._shuffled[method].outputs(pixels, first).maps[method]
        geometry, seed = self._classifier.geometry, self._config.seed
        for place, sample in enumerate(samples):
            rng = np.random.default_rng([seed, crc32(sample.ref.path.encode())])
            baselines = baseline_maps(sample.pixels, geometry.grid, geometry.patch_size, rng)
            mine, other, without = ({name: of[place] for name, of in kind.items()} for kind in (maps, others, shuffled))
            score = float(probabilities[place, first[place]])
            yield _Photo(by_path[sample.ref.path], sample, first[place], score, mine | baselines, other, without)

    def _measure(self, photo: _Photo) -> list[MeasuredMap]:
        """Every map of a photo; none where what marks its defects can't be read."""
        sample, labels = photo.sample, self._classifier.labels
        if not all(np.isfinite(attention).all() for attention in photo.maps.values()):
            raise ModelError("the model's maps are not finite; try --precision fp32")
        try:
            outline = photo.marked.outline(sample) if photo.marked.is_marked else None
        except DecodeError as error:
            self._leave_out(sample.ref.path, str(error))
            return []
        box = self._classifier.geometry.map_box(sample.width, sample.height)
        if outline is not None:  # in its pixels
            to_x, to_y = outline.shape[1] / sample.width, outline.shape[0] / sample.height
            box = (box[0] * to_x, box[1] * to_y, box[2] * to_x, box[3] * to_y)
        curves = self._curves(photo)
        return [
            MeasuredMap(
                path=sample.ref.path,
                label=photo.marked.label,
                target=labels[photo.target],
                score=photo.score,
                method=method,
                curves=curves[method],
                on_grid=None if outline is None else point_on_grid(attention, box, outline),
                on_photo=None if outline is None else point_on_photo(attention, box, outline),
                other_label=_likeness(attention, photo.of_other_label.get(method)),
                shuffled_weights=_likeness(attention, photo.of_shuffled_weights.get(method)),
            )
            for method, attention in photo.maps.items()
        ]

    def _curves(self, photo: _Photo) -> dict[str, dict[str, Curve]]:
        """Deletion and insertion of every map of a photo, by method and by `deletion_blur` and the like."""
        pixels, geometry = photo.sample.pixels, self._classifier.geometry
        counts = patch_counts(geometry.grid[0] * geometry.grid[1], self._config.steps)
        shares = np.array(counts) / counts[-1]
        rng = np.random.default_rng(self._config.seed)
        rank = {method: ranks(attention, rng) for method, attention in photo.maps.items()}
        found: dict[str, dict[str, Curve]] = {method: {} for method in rank}
        for fill in FILLS:
            content_free = without_content(pixels, fill)
            inputs = [
                partly_removed(pixels, content_free, rank[method], counts[1:-1], geometry.patch_size, order)
                for method in rank
                for order in ORDERS
            ]
            scores = self._probabilities(np.concatenate([*inputs, content_free[None]]))[:, photo.target]
            ends = {"deletion": (photo.score, scores[-1]), "insertion": (scores[-1], photo.score)}
            between = iter(scores[:-1].reshape(len(inputs), -1))
            for method in rank:
                for order in ORDERS:
                    first, last = ends[order]
                    found[method][f"{order}_{fill}"] = Curve(shares, np.array([first, *next(between), last]))
        return found

    def _probabilities(self, pixels: Pixels) -> Doubles:
        """(n, 3, H, W) -> (n, C)."""
        found = softmax(self._bare.outputs(pixels).logits)
        if not np.isfinite(found).all():
            raise ModelError("the model's output is not finite; try --precision fp32")
        return found


def _likeness(attention: Floats, other: Floats | None) -> float:
    return math.nan if other is None else likeness(attention, other)
