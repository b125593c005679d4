"""Predictions and failures -> rows of the table."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.decision import Decision, Outcome
from pipeline.model.familiarity import Familiarity
from pipeline.model.targets import Targets
from pipeline.records import Box, Failure, Floats, ImageRef, Prediction, Scoring, best_scores
from pipeline.results.schema import SCHEMA, build_table, maps_by_method, set_columns
from pipeline.results.windows import Window, describe_windows

MODEL_SOURCE = "model"  # of a detection, not a person
_LARGEST_HALF = float(np.finfo(np.float16).max)


@dataclass(frozen=True)
class RowBuilder:
    """Builds the rows of one run.

    Attributes:
        labels: class names by id.
        model, method, run_id: values of the columns of these names.
        fingerprint_of: from a path to the value of the column fingerprint.
        targets: the labels explained by label-dependent maps.
        scoring: from logits to scores.
        decision: for the columns defect_score and decision; None leaves them null.
        familiarity: for the column unfamiliar; None leaves it null.
        embeddings: fill the column embedding.
        tile: side of the windows of photos, pixels; None: photos are not cut.
        keep_tiles: build the rows of the windows, too, if photos are cut.
    """

    labels: Sequence[str]
    model: str
    method: str
    run_id: str
    fingerprint_of: Callable[[str], str]
    targets: Targets
    scoring: Scoring = "softmax"
    decision: Decision | None = None
    familiarity: Familiarity | None = None
    embeddings: bool = False
    tile: int | None = None
    keep_tiles: bool = False

    @property
    def needs_features(self) -> bool:
        """Whether rows are built from the features as well."""
        return self.familiarity is not None or self.embeddings

    def rate_familiarity(self, predictions: Sequence[Prediction]) -> Sequence[float | None]:
        """Return the column unfamiliar of classified photos, all at once: the statistics are read once."""
        return rate_familiarity(self.familiarity, predictions)

    def build_ok(
        self, predictions: Sequence[Prediction], boxes: Sequence[Box], unfamiliar: Sequence[float | None]
    ) -> pa.Table:
        """Build the rows of classified photos, without overlays.

        Args:
            predictions: n photos.
            boxes: the part of each photo under its map, in upright pixels.
            unfamiliar: from `rate_familiarity`.
        """
        if not predictions:
            return SCHEMA.empty_table()
        logits = np.stack([one.logits for one in predictions])  # (n, C)
        top, scores = best_scores(logits, self.scoring)  # (n, 5) each
        judged = self._judge(logits)
        targets = [self.targets.name_labels(one.target, self.labels) for one in predictions]
        samples = [one.sample for one in predictions]
        columns = self._file_columns([(sample.ref, sample.content_hash) for sample in samples])
        columns |= {
            "status": ["ok"] * len(predictions),
            "note": [self._describe(one) for one in predictions],
            "width": [sample.width for sample in samples],
            "height": [sample.height for sample in samples],
            "label": [self.labels[label_id] for label_id in top[:, 0].tolist()],
            "label_id": top[:, 0],
            "score": scores[:, 0].astype(np.float32),
            "top_labels": [[self.labels[label_id] for label_id in ids] for ids in top.tolist()],
            "top_scores": scores,
            "logits": logits,
            "attention": [one.attention.ravel() for one in predictions],
            "more_maps": maps_by_method([one.more_maps for one in predictions]),
            "target": [target for target, _ in targets],
            "versus": [versus for _, versus in targets],
            "grid_h": [one.attention.shape[0] for one in predictions],
            "grid_w": [one.attention.shape[1] for one in predictions],
            "map_box": boxes,
            "defect_score": [score for score, _ in judged],
            "decision": [outcome for _, outcome in judged],
            "unfamiliar": unfamiliar,
            **(self._tile_columns(predictions) if self.tile else {}),
        }
        if self.embeddings:
            columns["embedding"] = [to_embedding(one.features) for one in predictions]
        return build_table(len(predictions), columns)

    def _describe(self, prediction: Prediction) -> str | None:
        """Return the column note."""
        notes = [prediction.sample.note] if prediction.sample.note else []
        if self.scoring == "sigmoid":
            notes.append("scores are sigmoids, one for each label, and need not sum to 1")
        if self.targets.versus_ids == (prediction.target,):
            notes.append("target and versus are the same label, so nothing sets them apart")
        return "; ".join(notes) or None

    def _tile_columns(self, predictions: Sequence[Prediction]) -> dict[str, list[Any]]:
        """Return the columns of photos in windows."""
        columns: dict[str, list[Any]] = {"tile": [], "tiles": [], "tile_box": [], "detections": []}
        for one in predictions:
            tiles, tiled = one.sample.tiles, one.tiled
            assert tiles is not None, "all photos of a run are cut into windows, or none"
            assert tiled is not None
            columns["tile"].append(self.tile)
            columns["tiles"].append(len(tiles.boxes))
            columns["tile_box"].append(None if tiled.deciding is None else tiles.boxes[tiled.deciding])
            columns["detections"].append(describe_detections(one, self.labels))
        return columns

    def build_windows(self, predictions: Sequence[Prediction]) -> list[Window]:
        """Build the rows of the windows of classified photos; none if they are not kept."""
        kept = predictions if self.keep_tiles and self.tile else ()
        return [row for one in kept for row in describe_windows(one, self.labels, self.scoring, self.run_id)]

    def build_failed(self, failures: Sequence[Failure]) -> pa.Table:
        """Build the rows of files without a prediction, with the reasons."""
        columns = self._file_columns([(failure.ref, failure.content_hash) for failure in failures])
        columns |= {"status": ["failed"] * len(failures), "error": [failure.reason for failure in failures]}
        return build_table(len(failures), columns)

    def judge_again(self, table: pa.Table) -> pa.Table:
        """Put the current decision, and its fingerprint, into rows with the current logits of this model."""
        is_ok = table["logits"].is_valid().to_pylist()
        logits = table["logits"].drop_null().to_numpy()
        judged = iter(self._judge(np.stack(logits)) if len(logits) else ())
        columns = [next(judged) if ok else (None, None) for ok in is_ok]
        return set_columns(
            table,
            fingerprint=[self.fingerprint_of(path) for path in table["path"].to_pylist()],
            defect_score=[score for score, _ in columns],
            decision=[outcome for _, outcome in columns],
        )

    def _judge(self, logits: Floats) -> Sequence[tuple[float | None, Outcome | None]]:
        """Return the columns defect_score and decision of n photos; logits (n, C)."""
        if self.decision is None:
            return [(None, None)] * len(logits)
        return self.decision.judge(logits, self.labels, self.scoring)

    def _file_columns(self, files: Sequence[tuple[ImageRef, str | None]]) -> dict[str, Any]:
        """Return the columns of files with their content hashes."""
        same = {"model": self.model, "method": self.method, "run_id": self.run_id}
        return {
            "path": [ref.path for ref, _ in files],
            "path_bytes": [ref.path_bytes for ref, _ in files],
            "content_hash": [content_hash for _, content_hash in files],
            "file_bytes": [ref.file_bytes for ref, _ in files],
            "mtime": [ref.mtime_ns for ref, _ in files],
            "fingerprint": [self.fingerprint_of(ref.path) for ref, _ in files],
            "processed_at": [time.time_ns() // 1000] * len(files),
            **{name: [value] * len(files) for name, value in same.items()},
        }


def describe_detections(prediction: Prediction, labels: Sequence[str]) -> list[dict[str, Any]]:
    """Return the column detections of a photo; empty for one without windows."""
    return [
        dict(zip(("x0", "y0", "x1", "y1"), one.box, strict=True))
        | {"label": labels[one.label_id], "score": one.score, "source": MODEL_SOURCE}
        for one in (prediction.tiled.detections if prediction.tiled else ())
    ]


def rate_familiarity(familiarity: Familiarity | None, predictions: Sequence[Prediction]) -> Sequence[float | None]:
    """Return how unlike the training photos some photos are, 0..1, of a photo in tiles the median of its windows.

    Args:
        familiarity: the model's statistics; None: none are known.
        predictions: with features, or without if nothing is known.
    """
    if familiarity is None or not predictions or predictions[0].features is None:
        return [None] * len(predictions)
    rows = [_features_of(prediction) for prediction in predictions]  # (1, D) each, or (T, D)
    unfamiliar = familiarity.unfamiliarity(np.concatenate(rows))
    ends = np.cumsum([len(row) for row in rows])[:-1]
    return [float(np.median(own)) for own in np.split(unfamiliar, ends)]


def _features_of(prediction: Prediction) -> Floats:
    """Return the features behind a photo, (1, D), or those of its windows, (T, D)."""
    if prediction.tiled and prediction.tiled.features is not None:
        return prediction.tiled.features
    assert prediction.features is not None
    return prediction.features[None]


def to_embedding(features: Floats | None) -> Floats | None:
    """Round features (D,) to the precision of float16 for the column embedding; clip values at ±65,504, where it ends.

    As float32 they are readable for every program, and compress to the size of float16. Trained networks normalise
    their features, so larger values are rare. A photo with an infinite feature fails before, see `Prediction.failure`.
    """
    if features is None:
        return None
    rounded: Floats = features.clip(-_LARGEST_HALF, _LARGEST_HALF).astype(np.float16).astype(np.float32)
    return rounded
