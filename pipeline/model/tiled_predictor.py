"""Photos in windows -> one prediction a photo: its windows' maps in one, and the defects found in them."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Literal, Self

import numpy as np
from scipy.special import logit

from pipeline.decision import combine_classes
from pipeline.errors import DecodeError
from pipeline.maps.hot_regions import find_hot_regions
from pipeline.maps.methods import METHODS, MethodName
from pipeline.maps.passes import MapPlan
from pipeline.maps.stitch import stitch_maps
from pipeline.model.classifier import Classifier
from pipeline.model.cpu_streams import CpuStreams, split_over_cores
from pipeline.model.detect import LEAST_SCORE, Candidate, merge_candidates
from pipeline.model.predictor import Change, PendingPredictions, Predictor, find_batch_size, keep_pixels, split_by_photo
from pipeline.model.targets import Targets
from pipeline.records import (
    Box,
    Detection,
    Doubles,
    Floats,
    Output,
    PixelBox,
    Pixels,
    Prediction,
    Sample,
    Scoring,
    TiledResult,
    compute_scores,
    concatenate_outputs,
)

_WINDOWS_A_PHOTO = 8  # at least, in photos worth cutting
_LEAST = 1e-12  # of a mean probability, and of its distance to 1: so the logits are finite
_NOTHING: Floats = np.empty((0, 0), np.float32)
_POINTING: tuple[MethodName, ...] = ("attention", "libragrad", "legrad", "relevance")  # to defects, see docs/trust.md

Cut = Callable[..., Iterator[Pixels]]  # of a sample, and perhaps of some windows: `PhotoLoader.windows`


@dataclass(frozen=True)
class WindowRules:
    """How to judge windows.

    Attributes:
        defect_ids: ids of the classes counted as defects; empty if nothing tells defects from good.
        scoring: from logits to scores.
        patches: rows and columns of patches in the model's input, perhaps not whole.
        finds_boxes: look for the place of each defect.
    """

    defect_ids: tuple[int, ...]
    scoring: Scoring
    patches: tuple[float, float]
    finds_boxes: bool

    @classmethod
    def of(cls, classifier: Classifier, defect_ids: Sequence[int], *, finds_boxes: bool = True) -> Self:
        """Return the rules for a model."""
        (height, width), patch = classifier.geometry.input_size, classifier.geometry.patch_size
        patches = height / patch, width / patch
        return cls(tuple(defect_ids), classifier.scoring, patches, finds_boxes and bool(defect_ids))


@dataclass(frozen=True)
class _Window:
    """A window on its way through the model: number of its photo among the samples, its box and its pixels."""

    photo: int
    box: PixelBox
    pixels: Pixels


@dataclass
class _Collected:
    """What is known of one photo so far."""

    outputs: list[Output] = field(default_factory=list)
    candidates: list[Candidate] = field(default_factory=list)
    failure: str | None = None


class TiledPredictor(Predictor):
    """Runs the windows of photos through a classifier; windows of several photos share batches."""

    def __init__(
        self, classifier: Classifier | CpuStreams, plan: MapPlan, batch_size: int, targets: Targets, cut: Cut,
        rules: WindowRules,
    ) -> None:  # fmt: skip
        """Set the model up.

        Args:
            classifier: the model, for windows: see `Classifier.for_windows`.
            plan: the maps to compute.
            batch_size: windows in one forward pass.
            targets: labels to explain; each window's most likely one by default.
            cut: yields the pixels of a photo's windows.
            rules: how to judge windows.
        """
        self._asked, self._box_method = plan.methods, _choose_box_method(plan, targets)
        if rules.finds_boxes and self._box_method not in plan.methods:
            plan = replace(plan, methods=(*plan.methods, self._box_method))
        super().__init__(classifier, plan, batch_size, targets)
        self._batches_ahead = 1  # the device has windows of the same photos in its queue
        self._cut, self._rules = cut, rules

    @property
    def photos_a_batch(self) -> int:
        """Photos to load together: few, since one may have thousands of windows."""
        return max(1, self.batch_size // _WINDOWS_A_PHOTO)

    def launch_photos(self, samples: Sequence[Sample], change: Change = keep_pixels) -> PendingPredictions:
        """Classify photos and compute their maps, and find their defects; arguments and errors as of `Predictor`.

        The device has the next windows in its queue while those before are looked at.
        """
        collected = [_Collected() for _ in samples]
        windows = self._list_windows(samples, change, collected)
        launched: deque[tuple[list[_Window], Callable[[], Output]]] = deque()
        while batch := list(islice(windows, self.batch_size)):
            targets = self._targets_of([samples[window.photo] for window in batch])
            launched.append((batch, self.launch([window.pixels for window in batch], targets)))
            if len(launched) > 1:
                self._collect(*launched.popleft(), samples, collected)
        while launched:
            self._collect(*launched.popleft(), samples, collected)
        merged = [self._merge(sample, photo) for sample, photo in zip(samples, collected, strict=True)]
        return lambda: merged

    def _list_windows(
        self, samples: Sequence[Sample], change: Change, collected: Sequence[_Collected]
    ) -> Iterator[_Window]:
        for number, sample in enumerate(samples):
            assert sample.tiles is not None
            try:
                for box, pixels in zip(sample.tiles.boxes, self._cut(sample), strict=True):
                    yield _Window(number, box, change(pixels))
            except DecodeError as error:
                collected[number].failure = str(error)

    def _collect(
        self, batch: Sequence[_Window], pending: Callable[[], Output], samples: Sequence[Sample],
        collected: Sequence[_Collected],
    ) -> None:  # fmt: skip
        """Wait for the output of one batch of windows, and look for boxes in those with a defect."""
        output = pending()
        for index, window in enumerate(batch):
            collected[window.photo].outputs.append(_select(output, index))
        if not self._rules.finds_boxes:
            return
        defect_ids, scoring = list(self._rules.defect_ids), self._rules.scoring
        probabilities = compute_scores(output.logits, scoring)  # (b, C)
        scores = combine_classes(probabilities, defect_ids, scoring)
        suspects: list[int] = np.flatnonzero(scores >= LEAST_SCORE).tolist()
        if not suspects:
            return
        label_ids = np.array(defect_ids)[probabilities[:, defect_ids].argmax(axis=1)]
        heat = output.maps[self._box_method]
        for index in suspects:
            window = batch[index]
            box = _find_box(heat[index], window.box, samples[window.photo])
            detection = Detection(box, int(label_ids[index]), float(scores[index]))
            collected[window.photo].candidates.append(Candidate(detection, window.box))

    def _merge(self, sample: Sample, photo: _Collected) -> Prediction:
        """Make one prediction of those of the windows."""
        assert sample.tiles is not None
        if photo.failure:
            return Prediction(sample, _NOTHING, _NOTHING, problem=photo.failure)
        windows = concatenate_outputs(photo.outputs)  # (T, ...)
        scores = self._score_defects(windows.logits)
        # an overflow must not hide behind other windows
        deciding = None if scores is None else int(np.nan_to_num(scores, nan=np.inf).argmax())
        output = Output(
            logits=self._combine_logits(windows.logits, deciding)[None],
            maps={method: self._stitch(windows.maps[method], sample)[None] for method in self._asked},
            targets=None if windows.targets is None else [windows.targets[deciding or 0]],
            features=None if windows.features is None else windows.features.mean(axis=0, keepdims=True),
        )
        (prediction,) = split_by_photo([sample], output)
        defects = [one.detection for one in merge_candidates(photo.candidates)]
        return replace(prediction, tiled=TiledResult(deciding, defects, windows.features, windows.logits, scores))

    def _score_defects(self, logits: Floats) -> Doubles | None:
        """Return the probability of a defect for each window, (T,), from logits (T, C); None: nothing tells."""
        if not self._rules.defect_ids:
            return None
        scoring = self._rules.scoring
        return combine_classes(compute_scores(logits, scoring), self._rules.defect_ids, scoring)

    def _combine_logits(self, logits: Floats, deciding: int | None) -> Floats:
        """Return the logits of a photo, (C,): the deciding window's, or those of the mean probabilities."""
        if deciding is not None or len(logits) == 1:
            chosen: Floats = logits[deciding or 0]
            return chosen
        mean = compute_scores(logits, self._rules.scoring).mean(axis=0).clip(_LEAST, 1 - _LEAST)
        combined: Floats = (np.log(mean) if self._rules.scoring == "softmax" else logit(mean)).astype(np.float32)
        return combined

    def _stitch(self, maps: Floats, sample: Sample) -> Floats:
        assert sample.tiles is not None
        return stitch_maps(maps, sample.tiles.boxes, (sample.width, sample.height), self._rules.patches)


def build_tiled_predictor(
    classifier: Classifier, plan: MapPlan, batch_size: Literal["auto"] | int, targets: Targets, cut: Cut,
    defect_ids: Sequence[int], *, finds_boxes: bool = True,
) -> TiledPredictor:  # fmt: skip
    """Build a predictor of windows on all cores of a CPU, or on a device, with the batch size of the settings."""
    size = find_batch_size(classifier, plan) if batch_size == "auto" else batch_size
    rules = WindowRules.of(classifier, defect_ids, finds_boxes=finds_boxes)
    return TiledPredictor(split_over_cores(classifier, size), plan, size, targets, cut, rules)


def _choose_box_method(plan: MapPlan, targets: Targets) -> MethodName:
    """Return the method of the maps that show where a defect is: the run's own if it points at the label of a window.

    Attention costs nothing.
    """
    main = plan.methods[0] if plan.methods else None
    explains_another = plan.target or plan.versus or targets.expected is not None
    if main in _POINTING and not (explains_another and METHODS[main].explains_label):
        return main
    return "attention"


def _find_box(heat: Floats, window: PixelBox, sample: Sample) -> Box:
    """Return the box around the hottest region of a window's map; a map that says nothing gives the whole window."""
    x0, y0, x1, y1 = map(float, window)
    regions = find_hot_regions(heat, (x0, y0, x1, y1), (sample.width, sample.height))
    return (regions[0].x0, regions[0].y0, regions[0].x1, regions[0].y1) if regions else (x0, y0, x1, y1)


def _select(output: Output, index: int) -> Output:
    """Return the output of one window of a batch."""
    one = slice(index, index + 1)
    return Output(
        output.logits[one],
        {method: maps[one] for method, maps in output.maps.items()},
        None if output.targets is None else output.targets[one],
        None if output.features is None else output.features[one],
    )
