"""What passes between the stages, and the glossary of shapes.

    B       images in a batch                   C       classes
    H, W    the model's input, pixels           h, w    the photo for the overlay, pixels
    N       tokens: prefix + patches            L       layers
    grid_h, grid_w   cells of the map, one a patch

A photo's path travels with its pixels; nothing is ever rejoined by order alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)  # a run holds one for each photo
class ImageRef:
    """One image file as found.

    Attributes:
        path: relative to the input folder, `/` separators; bytes that are not UTF-8 are escaped. Unique.
        path_bytes: the raw relative name, only where it is not UTF-8.
        file: what the operating system opens (may hold surrogate escapes).
        file_bytes: size in bytes.
        mtime_ns: modification time, nanoseconds since 1970 UTC.
        problem: why it can't even be opened (a dangling link, a pipe), else None.
    """

    path: str
    path_bytes: bytes | None
    file: str
    file_bytes: int
    mtime_ns: int
    problem: str | None = None


@dataclass(frozen=True)
class Sample:
    """One decoded photo, ready for the model and for its overlay.

    Attributes:
        ref: the file, with the size and mtime it had when it was read.
        content_hash: BLAKE2b-128 of the file, hex.
        width, height: upright pixels of the photo.
        note: what a reader should know of it, or None.
        pixels: (3, H, W), the model's input before rescale and normalise.
        photo: (h, w, 3), upright, for the overlay; None where no overlay is wanted.
    """

    ref: ImageRef
    content_hash: str
    width: int
    height: int
    note: str | None
    pixels: Pixels
    photo: Pixels | None


@dataclass(frozen=True)
class Failure:
    """One file that has no prediction, and why."""

    ref: ImageRef
    reason: str
    content_hash: str | None = None


@dataclass(frozen=True)
class Batch:
    """Consecutive files of the plan, split into what could be decoded and what could not."""

    samples: tuple[Sample, ...]
    failures: tuple[Failure, ...]


@dataclass(frozen=True)
class Output:
    """What the model says of a batch.

    Attributes:
        logits: (B, C).
        maps: by method, (B, grid_h, grid_w) each, raw, not normalised.
        targets: B ids of the labels that label-dependent maps explain; None: there is no such map.
    """

    logits: Floats
    maps: Mapping[str, Floats]
    targets: Sequence[int] | None = None


def concatenate_outputs(parts: Sequence[Output]) -> Output:
    """The output of a batch from those of its parts, at least one."""
    return Output(
        logits=np.concatenate([part.logits for part in parts]),
        maps={method: np.concatenate([part.maps[method] for part in parts]) for method in parts[0].maps},
        targets=None if parts[0].targets is None else [target for part in parts for target in part.targets or ()],
    )


@dataclass(frozen=True)
class Prediction:
    """What the model says of one sample.

    Attributes:
        sample: the photo it is about.
        logits: (C,).
        attention: (grid_h, grid_w), the raw map, not normalised.
        more_maps: those of further methods, by method.
        target: id of the label that label-dependent maps explain; None: there is no such map.
    """

    sample: Sample
    logits: Floats
    attention: Floats
    more_maps: Mapping[str, Floats] = field(default_factory=dict)
    target: int | None = None

    @property
    def failure(self) -> Failure | None:
        """Why it can't be used: an overflow in the model leaves values that are not finite."""
        if all(np.isfinite(values).all() for values in (self.logits, self.attention, *self.more_maps.values())):
            return None
        reason = "the model's output is not finite; --precision fp32 has the range that it needs"
        return Failure(self.sample.ref, reason, self.sample.content_hash)
