"""The output of a batch -> its rows in the table; overlays are queued on the way."""

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import pyarrow as pa

from pipeline.model.input_geometry import InputGeometry
from pipeline.overlays.choice import OverlayChoice
from pipeline.overlays.writer import OverlayWriter
from pipeline.progress import Stopwatch
from pipeline.records import Batch, Box, ImageRef, Prediction
from pipeline.results.rows import RowBuilder
from pipeline.results.schema import set_columns
from pipeline.results.windows import Window
from pipeline.storage.location import is_url

log = logging.getLogger(__name__)

_WORTH_KEEPING = 1 / 8  # share of photos with an overlay; one of 12 megapixels costs 4 ms to keep, 31 to decode again


@dataclass(frozen=True)
class FinishedBatch:
    """The rows of a batch, with the number of failed ones, and the rows of the windows that are kept."""

    rows: pa.Table
    failed: int
    windows: list[Window]


@dataclass
class BatchFinisher:
    """Turns predictions into rows.

    Attributes:
        rows: their builder.
        geometry: of the model's input.
        overlays: draws them.
        choice: the photos that get one.
        sampled: paths of the photos in the sample of the plan.
        clock: for the time spent in each stage.
        photos, drawn: photos classified so far, and those that get an overlay.
    """

    rows: RowBuilder
    geometry: InputGeometry
    overlays: OverlayWriter
    choice: OverlayChoice
    sampled: Collection[str]
    clock: Stopwatch
    photos: int = 0
    drawn: int = 0

    def keeps(self, ref: ImageRef) -> bool:
        """Tell whether it pays to keep a photo for its overlay, before the model has seen it."""
        if self.choice.kind == "sample":
            return ref.path in self.sampled
        is_object = is_url(ref.file)  # it would be fetched once more
        return self.choice.kind == "all" or is_object or self.drawn > _WORTH_KEEPING * self.photos

    def finish(self, batch: Batch, predictions: Sequence[Prediction]) -> FinishedBatch:
        """Build the rows of a batch, and queue the overlays of the photos that get one."""
        failures = [*batch.failures, *filter(None, (prediction.failure for prediction in predictions))]
        failed = {failure.ref.path for failure in failures}
        classified = [prediction for prediction in predictions if prediction.sample.ref.path not in failed]
        boxes = [self.geometry.box_of(prediction.sample) for prediction in classified]
        with self.clock("table"):
            rows = self.rows.build_ok(classified, boxes, self.rows.rate_familiarity(classified))
        if self.choice.kind != "none":
            with self.clock("overlays"):
                rows = set_columns(rows, overlay=self._queue_overlays(classified, boxes, rows))
        for failure in failures:
            log.warning("%s: %s", failure.ref.path, failure.reason, extra={"path": failure.ref.path})
        if failures:
            rows = pa.concat_tables([rows, self.rows.build_failed(failures)])
        return FinishedBatch(rows, len(failures), self.rows.build_windows(classified))

    def _queue_overlays(
        self, predictions: Sequence[Prediction], boxes: Sequence[Box], rows: pa.Table
    ) -> list[str | None]:
        """Return the names of the overlays of n photos, None for photos without one."""
        names = []
        columns = (rows[name].to_pylist() for name in ("label", "score", "decision", "detections"))
        for prediction, box, *judged, detections in zip(predictions, boxes, *columns, strict=True):
            sample = prediction.sample
            if self.choice.wants(*judged, sampled=sample.ref.path in self.sampled):
                names.append(self.overlays.submit(sample, prediction.attention, box, detections=detections or ()))
            else:
                names.append(None)
        self.photos += len(names)
        self.drawn += len(names) - names.count(None)
        return names
