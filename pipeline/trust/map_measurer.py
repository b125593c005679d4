"""Photos -> measured maps: each method and baseline by deletion and insertion, pointing and sanity checks."""

import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from zlib import crc32

import numpy as np

from pipeline.errors import DecodeError, ModelError
from pipeline.maps.geometry import scale_box
from pipeline.maps.methods import METHODS
from pipeline.maps.passes import MapPlan
from pipeline.model.classifier import Classifier
from pipeline.model.predictor import Predictor, find_batch_size
from pipeline.progress import Progress
from pipeline.records import Doubles, Floats, Pixels, Sample, compute_scores
from pipeline.trust.baselines import compute_baselines
from pipeline.trust.config import TrustConfig
from pipeline.trust.cost import describe_cost
from pipeline.trust.deletion import (
    FILLS,
    ORDERS,
    Curve,
    edit_photo,
    patch_counts,
    rank_cells,
    rank_pixels,
    remove_content,
)
from pipeline.trust.evidence import keep_evidence
from pipeline.trust.marked_photos import MarkedPhoto
from pipeline.trust.pointing import measure_on_grid, measure_on_photo
from pipeline.trust.read_samples import MarkedSample, SampleReader, WindowRule
from pipeline.trust.result import MeasuredMap
from pipeline.trust.sanity import rank_correlation, shuffle_weights

log = logging.getLogger(__name__)

_TIMED_PHOTOS = 2


@dataclass(frozen=True)
class PhotoMaps:
    """All maps of one photo, not measured yet.

    Attributes:
        marked, sample: the photo.
        target: id of the photo's most likely label, explained by the maps.
        score: probability of the target.
        maps: by method and baseline, (grid_h, grid_w) each.
        other_label_maps: by method, for the second most likely label.
        shuffled_maps: by method, from the model with shuffled weights.
    """

    marked: MarkedPhoto
    sample: Sample
    target: int
    score: float
    maps: dict[str, Floats]
    other_label_maps: dict[str, Floats]
    shuffled_maps: dict[str, Floats]


class MapMeasurer:
    """Computes and measures the maps of photos.

    Attributes:
        failed: number of photos left out so far.
    """

    def __init__(
        self, classifier: Classifier, config: TrustConfig, windows: WindowRule | None, stop: Callable[[], bool]
    ) -> None:
        """Set up the model, a copy with shuffled weights, and a predictor for each method.

        Args:
            classifier: the model.
            config: methods, steps of the curves, seed and batch size.
            windows: measure on one window of each larger photo; None: on whole photos.
            stop: asked between photos; once true, no more are measured.
        """
        batch_size = config.batch_size
        if batch_size == "auto":
            batch_size = find_batch_size(classifier, MapPlan(config.methods))
        shuffled = shuffle_weights(classifier, config.seed)
        self._classifier, self._config, self._stop, self._batch_size = classifier, config, stop, batch_size
        self._label_predictor = Predictor(classifier, MapPlan(()), batch_size)
        self._predictors = {name: Predictor(classifier, MapPlan((name,)), batch_size) for name in config.methods}
        self._shuffled_predictors = {name: Predictor(shuffled, MapPlan((name,)), batch_size) for name in config.methods}
        self._seconds: dict[str, list[float]] = {name: [] for name in config.methods}
        self._curve_seconds: list[float] = []  # of the first photos
        self._map_seconds = 0.0  # of a photo of the last batch
        self._windows = windows
        self.failed = 0

    def measure_photos(self, photos: Sequence[MarkedPhoto]) -> Iterator[list[MeasuredMap]]:
        """Yield all maps of one photo after the other; none for a photo with an unusable box or mask.

        Raises:
            ModelError: the model's output or a map is not finite.
        """
        reader = SampleReader(self._classifier, self._label_predictor, self._windows, self._stop)
        with Progress(len(photos)) as progress:
            for samples, failures in reader.read(photos):
                for failure in failures:
                    self._leave_out(failure.ref.path, failure.reason)
                    progress.advance(ok=0, failed=1)
                for photo in self._compute_maps(samples):
                    if self._stop():
                        return
                    with self._timing_photo(progress, len(photos)):
                        measured = self._measure_photo(photo)
                    progress.advance(ok=int(bool(measured)), failed=int(not measured))
                    yield measured

    def median_seconds(self) -> dict[str, float]:
        """Return the seconds for one image by method: its map and its classification, the median over batches."""
        return {method: float(np.median(seconds)) for method, seconds in self._seconds.items() if seconds}

    @contextmanager
    def _timing_photo(self, progress: Progress, photos: int) -> Iterator[None]:
        """Time the curves of the first photos, then say what all photos will take."""
        started = time.perf_counter()
        yield
        if len(self._curve_seconds) == _TIMED_PHOTOS:
            return
        self._curve_seconds.append(time.perf_counter() - started)
        if len(self._curve_seconds) == min(_TIMED_PHOTOS, photos):
            # the fastest of them: the first photo also sets things up
            seconds = min(self._curve_seconds) + self._map_seconds
            progress.write(describe_cost(seconds, photos, self._config))

    def _leave_out(self, path: str, reason: str) -> None:
        self.failed += 1
        log.warning("left out %s: %s", path, reason)

    def _compute_maps(self, samples: Sequence[MarkedSample]) -> Iterator[PhotoMaps]:
        if not samples:
            return
        started = time.perf_counter()
        pixels = [sample.pixels for sample, _ in samples]
        probabilities = self._predict_probabilities(pixels)  # (B, C)
        order = probabilities.argsort(axis=1)
        targets, others = order[:, -1].tolist(), order[:, -min(2, order.shape[1])].tolist()
        method_maps = {name: self._compute_method(name, pixels, targets, others) for name in self._config.methods}
        self._map_seconds = (time.perf_counter() - started) / len(samples)
        geometry = self._classifier.geometry
        for index, (sample, marked) in enumerate(samples):
            own, other_label, shuffled = (
                {name: maps[source][index] for name, maps in method_maps.items()} for source in range(3)
            )
            rng = np.random.default_rng([self._config.seed, crc32(sample.ref.path.encode())])
            baselines = compute_baselines(sample.pixels, geometry.grid, geometry.patch_size, rng)
            yield PhotoMaps(
                marked=marked,
                sample=sample,
                target=targets[index],
                score=float(probabilities[index, targets[index]]),
                maps=own | baselines,
                other_label_maps=other_label,
                shuffled_maps=shuffled,
            )

    def _compute_method(
        self, method: str, pixels: list[Pixels], targets: list[int], others: list[int]
    ) -> tuple[Floats, Floats, Floats]:
        """Compute three times the maps of a batch, (B, grid_h, grid_w), and note the time for the first.

        Args:
            method: name of the map method.
            pixels: B of (3, H, W).
            targets: B ids of labels, for the first and the third.
            others: B ids of labels, for the second.

        Returns:
            The method's maps, those for the other labels, and those of the model with shuffled weights.
        """
        started = time.perf_counter()
        own = self._predictors[method].predict(pixels, targets).maps[method]
        self._seconds[method].append((time.perf_counter() - started) / len(pixels))
        other_label = own
        if METHODS[method].explains_label:
            other_label = self._predictors[method].predict(pixels, others).maps[method]
        shuffled = self._shuffled_predictors[method].predict(pixels, targets).maps[method]
        return own, other_label, shuffled

    def _measure_photo(self, photo: PhotoMaps) -> list[MeasuredMap]:
        """Measure every map of a photo; leave the photo out if its box or mask is unusable."""
        sample, geometry = photo.sample, self._classifier.geometry
        if not all(np.isfinite(attention).all() for attention in photo.maps.values()):
            raise ModelError("the model's maps are not finite; try --precision fp32")
        try:
            defect_area = photo.marked.draw_defect_area(sample) if photo.marked.is_marked else None
        except DecodeError as error:
            self._leave_out(sample.ref.path, str(error))
            return []
        box = geometry.box_of(sample)
        if defect_area is not None:
            box = scale_box(box, (sample.width, sample.height), defect_area.shape[::-1])
        curves = self._measure_curves(photo)
        return [
            MeasuredMap(
                path=sample.ref.path,
                label=photo.marked.label,
                target=self._classifier.labels[photo.target],
                score=photo.score,
                method=method,
                curves=curves[method],
                on_grid=None if defect_area is None else measure_on_grid(attention, box, defect_area),
                on_photo=None if defect_area is None else measure_on_photo(attention, box, defect_area),
                other_label=_correlate_maps(attention, photo.other_label_maps.get(method)),
                shuffled_weights=_correlate_maps(attention, photo.shuffled_maps.get(method)),
                evidence=keep_evidence(sample.pixels, attention, geometry.patch_size, defect_area),
            )
            for method, attention in photo.maps.items()
        ]

    def _measure_curves(self, photo: PhotoMaps) -> dict[str, dict[str, Curve]]:
        """Measure deletion and insertion: curves by map, then by order and fill, such as `deletion_blur`."""
        pixels, geometry = photo.sample.pixels, self._classifier.geometry
        counts = patch_counts(geometry.grid[0] * geometry.grid[1], self._config.steps)
        shares = np.array(counts) / counts[-1]
        rng = np.random.default_rng(self._config.seed)
        ranks = {
            name: rank_pixels(rank_cells(attention, rng), geometry.patch_size, geometry.input_size)
            for name, attention in photo.maps.items()
        }
        curves: dict[str, dict[str, Curve]] = {name: {} for name in ranks}
        cases = [(name, order) for name in ranks for order in ORDERS]
        for fill in FILLS:
            # one pass over all points between the ends, shared by all maps, and over the end without content
            empty = remove_content(pixels, fill)
            edited = [edit_photo(pixels, empty, ranks[name], counts[1:-1], order) for name, order in cases]
            scores = self._predict_probabilities([*chain.from_iterable(edited), empty])[:, photo.target]
            ends = {"deletion": (photo.score, scores[-1]), "insertion": (scores[-1], photo.score)}
            for (name, order), between in zip(cases, scores[:-1].reshape(len(cases), -1), strict=True):
                first, last = ends[order]
                curves[name][f"{order}_{fill}"] = Curve(shares, np.array([first, *between, last]))
        return curves

    def _predict_probabilities(self, pixels: Sequence[Pixels]) -> Doubles:
        """Compute the probabilities of n images (3, H, W): (n, C)."""
        probabilities = compute_scores(self._label_predictor.predict(pixels).logits, self._classifier.scoring)
        if not np.isfinite(probabilities).all():
            raise ModelError("the model's output is not finite; try --precision fp32")
        return probabilities


def _correlate_maps(attention: Floats, reference: Floats | None) -> float:
    """Compute the rank correlation with another map; NaN for baselines, without a reference."""
    return math.nan if reference is None else rank_correlation(attention, reference)
