"""Predictions and failures -> rows of the table."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.maps.statistics import Doubles
from pipeline.records import Box, Failure, Floats, ImageRef, Prediction
from pipeline.results.schema import Row

_TOP = 5


def best_scores(logits: Floats) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float64]]:
    """The ids of the best five classes, fewer with fewer classes, and their softmax probabilities.

    Args:
        logits: (C,), of one photo.
    """
    probabilities = softmax(logits)
    top = np.argsort(-probabilities, kind="stable")[:_TOP]
    return top, probabilities[top]


def softmax(logits: Floats) -> Doubles:
    """Logits (..., C) -> probabilities, the same shape."""
    odds = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    return np.asarray(odds / odds.sum(axis=-1, keepdims=True))


@dataclass(frozen=True)
class RowBuilder:
    """Makes the rows of one run.

    Attributes:
        labels: class names by id.
        model, method, run_id: what the columns of these names say.
        fingerprint_of: by path, what the column fingerprint says.
        versus: id of the label that label-dependent maps set against their target.
    """

    labels: Sequence[str]
    model: str
    method: str
    run_id: str
    fingerprint_of: Callable[[str], str]
    versus: int | None

    def ok(self, prediction: Prediction, box: Box, overlay: str | None) -> Row:
        """The row of a photo that was classified."""
        sample = prediction.sample
        top, scores = best_scores(prediction.logits)
        grid_h, grid_w = prediction.attention.shape
        target = prediction.target
        versus = None if target is None else self.versus
        notes = [sample.note] if sample.note else []
        if versus is not None and versus == target:
            notes.append("target and versus are the same label, so nothing sets them apart")
        return Row(
            **self._of_file(sample.ref, sample.content_hash),
            status="ok",
            note="; ".join(notes) or None,
            width=sample.width,
            height=sample.height,
            label=self.labels[top[0]],
            label_id=int(top[0]),
            score=float(scores[0]),
            top_labels=[self.labels[index] for index in top],
            top_scores=scores.astype(np.float32),
            logits=prediction.logits,
            attention=prediction.attention.ravel(),
            more_maps=[(method, values.ravel()) for method, values in prediction.more_maps.items()] or None,
            target=None if target is None else self.labels[target],
            versus=None if versus is None else self.labels[versus],
            grid_h=grid_h,
            grid_w=grid_w,
            map_box=box,
            overlay=overlay,
        )

    def failed(self, failure: Failure) -> Row:
        """The row of a file that has no prediction, with the reason."""
        return Row(**self._of_file(failure.ref, failure.content_hash), status="failed", error=failure.reason)

    def _of_file(self, ref: ImageRef, content_hash: str | None) -> dict[str, Any]:
        return {
            "path": ref.path,
            "path_bytes": ref.path_bytes,
            "content_hash": content_hash,
            "file_bytes": ref.file_bytes,
            "mtime": ref.mtime_ns,
            "model": self.model,
            "method": self.method,
            "fingerprint": self.fingerprint_of(ref.path),
            "run_id": self.run_id,
            "processed_at": time.time_ns() // 1000,
        }
