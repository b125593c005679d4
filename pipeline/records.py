"""The values that pass between stages, and the glossary of shapes.

    B       images in a batch                   C       classes
    H, W    the model's input, pixels           h, w    the photo for the overlay, pixels
    N       tokens: prefix + patches            L       layers
    grid_h, grid_w   cells of the map, one per patch
    D       features: values read by the classification head
    T       windows of a photo cut into tiles

A photo's path travels with its pixels; nothing is ever rejoined by order alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Halves = npt.NDArray[np.float16]
Doubles = npt.NDArray[np.float64]
Box = tuple[float, float, float, float]
PixelBox = tuple[int, int, int, int]

# From logits to scores: softmax for one class a photo; sigmoid, class by class, for labels that may hold together.
Scoring = Literal["softmax", "sigmoid"]

UNFAMILIAR_FROM = 0.99  # a photo above this is unlike the training photos, see `pipeline.model.familiarity`
LIKELY_FROM = 0.5  # score of a detection worth drawing
_TOP_CLASSES = 5


@dataclass(frozen=True, slots=True)  # a run holds one for each photo
class ImageRef:
    """One image file, as found in the input folder or named in a list.

    Attributes:
        path: relative to the input folder, `/` separators; bytes outside UTF-8 are escaped. Unique.
        path_bytes: the raw relative name, only if it is not UTF-8.
        file: name for the operating system (may hold surrogate escapes).
        file_bytes: size in bytes.
        mtime_ns: modification time, nanoseconds since 1970 UTC.
        problem: reason why it can't be processed, known before opening it (a dangling link, a pipe), or None.
        version: of an object in a store (its ETag), or None. Then `file` is its URL.
    """

    path: str
    path_bytes: bytes | None
    file: str
    file_bytes: int
    mtime_ns: int
    problem: str | None = None
    version: str | None = None


class PixelFile(Protocol):
    """A file with the pixels of a photo, (height, width, 3) uint8; it is gone with its last reference."""

    @property
    def path(self) -> str:
        """Where any process of this machine opens it."""
        ...


class PendingResult(Protocol):
    """A result to come."""

    def result(self) -> Any:
        """Wait for it."""
        ...


class KeptPhoto(Protocol):
    """A photo for an overlay, in the process that decoded it or to be decoded once more."""

    def start(self, argument: Any) -> PendingResult:
        """Begin to finish it, once, by the function given to the loader."""
        ...


@dataclass(frozen=True)
class Tiles:
    """The windows of a decoded photo.

    Attributes:
        boxes: T of (left, top, right, bottom), upright pixels.
        unpacked: the photo, to cut the windows from; None for a single window, which is the sample's pixels.
    """

    boxes: tuple[PixelBox, ...]
    unpacked: PixelFile | None = None


@dataclass(frozen=True)
class Sample:
    """One decoded photo, ready for the model and for its overlay.

    Attributes:
        ref: the file, with its size and mtime at the time of reading.
        content_hash: BLAKE2b-128 of the file, hex.
        width, height: upright pixels of the photo.
        note: a remark for readers of the table, or None.
        pixels: (3, H, W), the model's input before rescale and normalise; empty for a photo of several windows.
        photo: (h, w, 3), upright, for the overlay; None if no overlay is drawn.
        tiles: its windows; None if photos are not cut.
        kept: the photo for the overlay, if the loader's workers finish it; `photo` is None then.
    """

    ref: ImageRef
    content_hash: str
    width: int
    height: int
    note: str | None
    pixels: Pixels
    photo: Pixels | None
    tiles: Tiles | None = None
    kept: KeptPhoto | None = None


@dataclass(frozen=True)
class Failure:
    """One file without a prediction, and the reason; with its content hash only if its bytes are the reason."""

    ref: ImageRef
    reason: str
    content_hash: str | None = None


@dataclass(frozen=True)
class Batch:
    """Consecutive files of the plan, split into decoded photos and failures."""

    samples: tuple[Sample, ...]
    failures: tuple[Failure, ...]


@dataclass(frozen=True)
class Output:
    """The model's output for a batch.

    Attributes:
        logits: (B, C).
        maps: by method, (B, grid_h, grid_w) each, raw, not normalised.
        targets: B ids of the labels explained by label-dependent maps; None without such maps, or for several classes.
        features: (B, D), or None if not asked for.
    """

    logits: Floats
    maps: Mapping[str, Floats]
    targets: Sequence[int] | None = None
    features: Floats | None = None


def concatenate_outputs(parts: Sequence[Output]) -> Output:
    """Join the outputs of parts of a batch, at least one."""
    features = [part.features for part in parts if part.features is not None]
    return Output(
        logits=np.concatenate([part.logits for part in parts]),
        maps={method: np.concatenate([part.maps[method] for part in parts]) for method in parts[0].maps},
        targets=None if parts[0].targets is None else [target for part in parts for target in part.targets or ()],
        features=np.concatenate(features) if features else None,
    )


@dataclass(frozen=True)
class Detection:
    """A defect found in a photo.

    Attributes:
        box: (x0, y0, x1, y1), upright pixels.
        label_id: id of its class.
        score: probability of any defect, of the window it was found in.
    """

    box: Box
    label_id: int
    score: float


@dataclass(frozen=True)
class TiledResult:
    """What the windows of a photo say beyond its prediction.

    Attributes:
        deciding: number of the window with the highest probability of a defect, whose logits are the photo's; None:
            nothing tells defects from good, and the photo's are the mean of all windows.
        detections: the defects found, the surest first.
        features: (T, D), of the windows; None if not asked for.
        logits: (T, C), of the windows.
        defect_scores: (T,) probability of any defect; None: nothing tells defects from good.
    """

    deciding: int | None
    detections: Sequence[Detection]
    features: Floats | None
    logits: Floats
    defect_scores: Doubles | None


@dataclass(frozen=True)
class Prediction:
    """The model's output for one sample.

    Attributes:
        sample: the photo.
        logits: (C,).
        attention: (grid_h, grid_w), the raw map, not normalised.
        more_maps: maps of further methods, by method.
        target: id of the label explained by label-dependent maps; None without such maps, or for several classes.
        features: (D,), or None if not asked for; of a photo in tiles, the mean of its windows.
        tiled: of a photo in tiles.
        problem: reason why a photo in tiles has no output, or None.
    """

    sample: Sample
    logits: Floats
    attention: Floats
    more_maps: Mapping[str, Floats] = field(default_factory=dict)
    target: int | None = None
    features: Floats | None = None
    tiled: TiledResult | None = None
    problem: str | None = None

    @property
    def failure(self) -> Failure | None:
        """A failure if any value is not finite, as after an overflow in the model, or if there is none."""
        if self.problem:
            return Failure(self.sample.ref, self.problem)
        arrays = [self.logits, self.attention, *self.more_maps.values()]
        if self.features is not None:
            arrays.append(self.features)
        if all(np.isfinite(values).all() for values in arrays):
            return None
        reason = "the model's output is not finite; --precision fp32 has the range that it needs"
        return Failure(self.sample.ref, reason, self.sample.content_hash)


def softmax(logits: Floats) -> Doubles:
    """Convert logits (..., C) to probabilities of the same shape."""
    from scipy.special import softmax as softmax_of  # 0.1 s to import, and a run with nothing to do needs none

    probabilities: Doubles = softmax_of(logits.astype(np.float64), axis=-1)
    return probabilities


def compute_scores(logits: Floats, scoring: Scoring) -> Doubles:
    """Convert logits (..., C) to probabilities of the same shape."""
    if scoring == "softmax":
        return softmax(logits)
    from scipy.special import expit

    probabilities: Doubles = expit(logits.astype(np.float64))
    return probabilities


def best_scores(logits: Floats, scoring: Scoring) -> tuple[npt.NDArray[np.intp], Doubles]:
    """Return the ids of the best five classes (fewer with fewer classes), the best first, and their probabilities.

    Args:
        logits: (..., C).
        scoring: from logits to probabilities.

    Returns:
        Two arrays (..., 5). Of equal probabilities, that of the lower id comes first.
    """
    probabilities = compute_scores(logits, scoring)
    left = probabilities.copy()
    places = range(min(_TOP_CLASSES, logits.shape[-1]))
    top = np.empty((*logits.shape[:-1], len(places)), np.intp)
    for place in places:  # a tenth of the time of sorting 1,000 classes
        best = left.argmax(axis=-1, keepdims=True)
        top[..., place] = best[..., 0]
        np.put_along_axis(left, best, -1, axis=-1)
    return top, np.take_along_axis(probabilities, top, axis=-1)
