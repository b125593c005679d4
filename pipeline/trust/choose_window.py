"""A large photo -> the one of its windows to measure on: the one that the model is surest of, with a marked defect."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from pipeline.decision import combine_classes
from pipeline.model.classifier import Classifier
from pipeline.model.predictor import Predictor
from pipeline.photos.loader import in_groups
from pipeline.records import Box, PixelBox, Pixels, Sample, compute_scores
from pipeline.trust.marked_photos import MarkedPhoto, check_box

Cut = Callable[[Sample, Sequence[PixelBox]], Iterator[Pixels]]  # `PhotoLoader.windows`


class WindowChooser:
    """Chooses a window of each photo."""

    def __init__(self, classifier: Classifier, predictor: Predictor, defect_ids: Sequence[int], cut: Cut) -> None:
        """Set up.

        Args:
            classifier: the model, for windows.
            predictor: of its logits.
            defect_ids: ids of the classes counted as defects; empty: the most likely class counts.
            cut: yields the pixels of a photo's windows.
        """
        self._scoring, self._predictor, self._defect_ids, self._cut = classifier.scoring, predictor, defect_ids, cut

    def choose(self, sample: Sample, marked: MarkedPhoto) -> tuple[Sample, MarkedPhoto]:
        """Return a window as a photo of its own, with the marks inside it. Smaller photos stay as they are.

        Of a marked photo, the window shows a whole box, or else as much of the marks as any; among such windows, the
        model decides.

        Raises:
            DecodeError: the mask or a window can't be read, or a box covers no pixel of the photo.
        """
        if sample.tiles is None or len(sample.tiles.boxes) == 1:
            return replace(sample, tiles=None), marked
        for box in marked.boxes:
            check_box(box, sample)
        windows = sample.tiles.boxes
        if marked.is_marked:
            shown = [_measure_shown(window, marked, sample) for window in windows]
            windows = tuple(window for window, share in zip(windows, shown, strict=True) if share == max(shown))
        groups = in_groups(windows, 2 * self._predictor.batch_size)
        scores = [score for group in groups for score in self._score(sample, group)]
        window = windows[int(np.argmax(scores))]
        (pixels,) = self._cut(sample, [window])
        left, top, right, bottom = window
        cut = replace(sample, pixels=pixels, width=right - left, height=bottom - top, tiles=None)
        boxes = [_shift(box, window) for box in marked.boxes]
        inside = tuple(box for box in boxes if box[0] < box[2] and box[1] < box[3])
        return cut, replace(marked, boxes=inside, window=window, photo_size=(sample.width, sample.height))

    def _score(self, sample: Sample, windows: Sequence[PixelBox]) -> list[float]:
        logits = self._predictor.predict(list(self._cut(sample, windows))).logits
        scores = compute_scores(logits, self._scoring)
        if not self._defect_ids:
            best: list[float] = scores.max(axis=1).tolist()
            return best
        defects: list[float] = combine_classes(scores, self._defect_ids, self._scoring).tolist()
        return defects


def _measure_shown(window: PixelBox, marked: MarkedPhoto, sample: Sample) -> float:
    """Measure how much of the marks a window shows: the largest share of a box, or the pixels of the mask."""
    left, top, right, bottom = window
    if marked.mask is not None:
        mask = marked.read_mask((sample.width, sample.height))
        return float(mask[top:bottom, left:right].sum())
    return max(_share_inside(box, window) for box in marked.boxes)


def _share_inside(box: Box, window: PixelBox) -> float:
    x0, y0, x1, y1 = _shift(box, window)
    area = (box[2] - box[0]) * (box[3] - box[1])
    return max(0.0, x1 - x0) * max(0.0, y1 - y0) / area


def _shift(box: Box, window: PixelBox) -> Box:
    """Move a box of the photo into a window, and clip it there."""
    left, top, right, bottom = window
    return (
        max(0.0, box[0] - left),
        max(0.0, box[1] - top),
        min(float(right - left), box[2] - left),
        min(float(bottom - top), box[3] - top),
    )
