"""Average precision of detections, by pycocotools: precision at 101 recalls, mean over them."""

import copy
import io
import math
from collections.abc import Sequence
from contextlib import redirect_stdout
from typing import Any

import numpy as np

from pipeline.evaluation.metrics import Ids
from pipeline.labelled.splits import LabelledBox
from pipeline.records import Detection

IOUS = (0.33, 0.5)  # of a detection and a box: DeepPCB's own, and the usual one
_EVERY_AREA = [0.0, 1e10]
_MOST = 1000  # detections of one photo and class


class AveragePrecision:
    """Detections matched with boxes once, to be summed up over any choice of photos."""

    def __init__(
        self,
        photos: Sequence[tuple[Sequence[LabelledBox], Sequence[Detection], tuple[int, int]]],
        labels: Sequence[str],
    ) -> None:
        """Match them.

        Args:
            photos: true boxes, detections, width and height of each.
            labels: class names by id.
        """
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval

        self._labels = sorted({box.label for boxes, _, _ in photos for box in boxes})
        ids = {label: number for number, label in enumerate(self._labels, start=1)}
        truth, found = COCO(), COCO()
        images = [{"id": number, "width": size[0], "height": size[1]} for number, (_, _, size) in enumerate(photos)]
        boxes = [
            {"image_id": number, "category_id": ids[box.label], **_as_annotation(box.box)}
            for number, (true, _, _) in enumerate(photos)
            for box in true
        ]
        detections = [
            {
                "image_id": number,
                "category_id": ids[labels[one.label_id]],
                "score": one.score,
                **_as_annotation(one.box),
            }
            for number, (_, those, _) in enumerate(photos)
            for one in those
            if labels[one.label_id] in ids
        ]
        for coco, annotations in ((truth, boxes), (found, detections)):
            numbered = [{"id": number, **one} for number, one in enumerate(annotations, start=1)]
            categories = [{"id": number, "name": label} for label, number in ids.items()]
            coco.dataset = {"images": images, "annotations": numbered, "categories": categories}
            with redirect_stdout(io.StringIO()):
                coco.createIndex()
        self._evaluation: Any = COCOeval(truth, found, "bbox")
        parameters = self._evaluation.params
        parameters.iouThrs = np.array(IOUS)
        parameters.maxDets, parameters.areaRng, parameters.areaRngLbl = [_MOST], [_EVERY_AREA], ["all"]
        with redirect_stdout(io.StringIO()):
            self._evaluation.evaluate()
        self._matches = np.array(self._evaluation.evalImgs, dtype=object).reshape(len(ids), len(photos))

    def measure(self, chosen: Ids) -> dict[str, float]:
        """Return the average precision over photos, some perhaps several times.

        Args:
            chosen: numbers of the photos.

        Returns:
            By IoU: the mean over classes with a box among them, "ap0.33", and each class, "ap0.33 crack"; NaN without.
        """
        evaluation = copy.copy(self._evaluation)
        evaluation.evalImgs = self._matches[:, chosen].ravel().tolist()
        evaluation.params, evaluation._paramsEval = (copy.copy(evaluation.params) for _ in range(2))
        evaluation.params.imgIds = evaluation._paramsEval.imgIds = list(range(len(chosen)))
        with redirect_stdout(io.StringIO()):
            evaluation.accumulate()
        precision = evaluation.eval["precision"][:, :, :, 0, 0]  # (IoU, recall, class); -1 without a box
        values: dict[str, float] = {}
        for iou, by_class in zip(IOUS, precision.mean(axis=1), strict=True):
            present = by_class[by_class >= 0]
            values[f"ap{iou:.2f}"] = float(present.mean()) if len(present) else math.nan
            for label, value in zip(self._labels, by_class.tolist(), strict=True):
                values[f"ap{iou:.2f} {label}"] = value if value >= 0 else math.nan
        return values


def _as_annotation(box: tuple[float, float, float, float]) -> dict[str, object]:
    x0, y0, x1, y1 = box
    return {"bbox": [x0, y0, x1 - x0, y1 - y0], "area": (x1 - x0) * (y1 - y0), "iscrowd": 0}
