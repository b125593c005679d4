"""Labels to look at again: contradicted by a model that has not learnt them, or by a photo that looks the same."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.labelled.similar_photos import Ids, compare_photos, find_nearest
from pipeline.records import Doubles

_MOST_BAR = 0.5
_LEAST_MARGIN = 0.1
_TWIN_COSINE = 0.9  # of the whitened features: the same picture but for light and noise


@dataclass(frozen=True)
class DoubtfulLabel:
    """A photo whose label is contradicted.

    Attributes:
        index: of the photo.
        label_id: its given class.
        likely_id: the class that fits better.
        own: probability of the given class, 0..1.
        likely: probability of the other one, 0..1.
    """

    index: int
    label_id: int
    likely_id: int
    own: float
    likely: float


@dataclass(frozen=True)
class TwinLabels:
    """Two photos that look the same under different labels.

    Attributes:
        first, second: indices of the photos.
        cosine: likeness of their whitened features.
    """

    first: int
    second: int
    cosine: float


def find_contradicted(probabilities: Doubles, label_ids: Ids, count: int) -> list[DoubtfulLabel]:
    """Find the labels most contradicted by predictions of models that have not seen them.

    Confident learning (Northcutt, Jiang & Chuang 2021, arXiv:1911.00068): a photo is confidently of a class if its
    probability reaches the mean of that class over the photos labelled so; here also if it is over one half. Labels of
    photos confidently of another, clearly more probable class are doubtful; the widest margins come first.

    Args:
        probabilities: (n, C), each row from a model trained without this photo (cross-validation).
        label_ids: (n,) given classes.
        count: of labels to return at most.
    """
    rows = np.arange(len(label_ids))
    bars = np.full(probabilities.shape[1], np.inf)  # of a class without photos: never reached
    for label_id in np.unique(label_ids):
        bars[label_id] = min(_MOST_BAR, probabilities[label_ids == label_id, label_id].mean())
    confident = np.where(probabilities >= bars, probabilities, -1.0)
    likely_ids = confident.argmax(axis=1)
    own, likely = probabilities[rows, label_ids], confident[rows, likely_ids]
    margins = likely - own
    order = [row for row in np.argsort(-margins, kind="stable").tolist() if margins[row] > _LEAST_MARGIN]
    return [
        DoubtfulLabel(row, int(label_ids[row]), int(likely_ids[row]), float(own[row]), float(likely[row]))
        for row in order[:count]
    ]


def find_contradicting_twins(features: npt.NDArray[np.floating], label_ids: Ids, count: int) -> list[TwinLabels]:
    """Find pairs of photos that look the same, each the nearest of the other, under different labels.

    Args:
        features: (n, D), as the head of a classifier reads them.
        label_ids: (n,) given classes.
        count: of pairs to return at most, the most alike first.
    """
    rows = np.arange(len(label_ids))
    if len(rows) < 2:
        return []
    likeness = compare_photos(features)
    nearest = find_nearest(likeness, rows, rows)
    is_pair = (nearest.rows[nearest.rows] == rows) & (rows < nearest.rows)
    is_pair &= (nearest.cosines >= max(_TWIN_COSINE, likeness.least)) & (label_ids != label_ids[nearest.rows])
    order = sorted(np.flatnonzero(is_pair).tolist(), key=lambda row: -float(nearest.cosines[row]))
    return [TwinLabels(row, int(nearest.rows[row]), float(nearest.cosines[row])) for row in order[:count]]


def describe_contradicted(found: Sequence[DoubtfulLabel], names: Sequence[str], labels: Sequence[str]) -> list[str]:
    """Put doubtful labels into words: `a.png: labelled ok, looks like open (0.93 against 0.02)`."""
    return [
        f"{names[each.index]}: labelled {labels[each.label_id]}, looks like {labels[each.likely_id]} "
        f"({each.likely:.2f} against {each.own:.2f})"
        for each in found
    ]


def describe_twins(found: Sequence[TwinLabels], names: Sequence[str], labels: Sequence[str]) -> list[str]:
    """Put pairs into words, for photos with these labels: `a.png (ok) looks the same as b.png (open)`."""
    return [
        f"{names[each.first]} ({labels[each.first]}) looks the same as {names[each.second]} ({labels[each.second]})"
        for each in found
    ]
