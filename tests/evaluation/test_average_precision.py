"""Average precision of detections: by hand, and by pycocotools itself."""

import math

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from pipeline.evaluation.average_precision import IOUS, AveragePrecision
from pipeline.labelled.splits import LabelledBox
from pipeline.records import Detection

LABELS = ("ok", "dent", "hole", "crack")
SIZE = (200, 100)


def photo_of(truth, found):
    """Boxes are (label, x0, y0, x1, y1), detections (score, label, x0, y0, x1, y1)."""
    return (
        [LabelledBox(label, tuple(corners)) for label, *corners in truth],
        [Detection(tuple(corners), LABELS.index(label), score) for score, label, *corners in found],
        SIZE,
    )


BOX, HALF, FAR = (0, 0, 20, 20), (0, 0, 20, 9), (100, 50, 120, 70)  # HALF: an IoU of 0.45 with BOX
PHOTOS = [
    photo_of([("dent", *BOX), ("hole", *FAR)], [(0.9, "dent", *BOX), (0.8, "dent", *FAR)]),
    photo_of([("dent", *BOX)], [(0.6, "dent", *HALF)]),
    photo_of([("dent", *BOX)], [(0.7, "crack", *BOX)]),
]


def measure(photos, chosen=None):
    return AveragePrecision(photos, LABELS).measure(np.arange(len(photos)) if chosen is None else np.array(chosen))


def test_three_photos_by_hand():
    """Dents: right at 0.9, wrong at 0.8 (a hole), at 0.6 right for an IoU of 0.33 alone; a third one is missed.

    Precision is 1 up to a recall of 1/3, then 2/3 up to 2/3. Nobody looked for a hole under that name, and a class
    without boxes counts for nothing.
    """
    recalls = np.arange(101) / 100
    values = measure(PHOTOS)
    dent = (recalls <= 1 / 3).sum() / 101
    assert values["ap0.50 dent"] == pytest.approx(dent)
    assert values["ap0.33 dent"] == pytest.approx(dent + 2 / 3 * ((recalls > 1 / 3) & (recalls <= 2 / 3)).sum() / 101)
    assert (values["ap0.33 hole"], values["ap0.50 hole"]) == (0, 0)
    assert values["ap0.33"] == pytest.approx(values["ap0.33 dent"] / 2)
    assert values["ap0.50"] == pytest.approx(dent / 2)
    assert not any("crack" in name for name in values)


def test_a_second_detection_of_a_defect_is_wrong():
    once, twice = ([(0.9, "dent", *BOX)], [(0.9, "dent", *BOX), (0.8, "dent", *BOX)])
    far = [(0.7, "dent", *FAR)]
    truth = [("dent", *BOX), ("dent", *FAR)]
    assert measure([photo_of(truth, once + far)])["ap0.33"] == pytest.approx(1)
    assert measure([photo_of(truth, twice + far)])["ap0.33"] == pytest.approx((51 + 50 * 2 / 3) / 101)


def test_photos_without_any_detection():
    assert measure([photo_of([("dent", *BOX)], [])]) == {
        "ap0.33": 0, "ap0.33 dent": 0, "ap0.50": 0, "ap0.50 dent": 0,
    }  # fmt: skip


def draw_photos(count=12, seed=0):
    """Photos with boxes, detections near them, and false ones."""
    random = np.random.default_rng(seed)
    photos = []
    for _ in range(count):
        truth, found = [], []
        for _ in range(random.integers(0, 4)):
            label = LABELS[random.integers(1, 4)]
            x, y = random.integers(0, 80, 2).tolist()
            truth.append((label, x, y, x + 20, y + 15))
            move = random.normal(0, 4, 4)
            found.append((random.random(), label, *(np.array([x, y, x + 20, y + 15]) + move).tolist()))
        for _ in range(random.integers(0, 3)):
            x, y = random.integers(0, 80, 2).tolist()
            found.append((random.random(), LABELS[random.integers(1, 4)], x, y, x + 12, y + 18))
        photos.append(photo_of(truth, found))
    return photos


def compute_by_pycocotools(photos, iou):
    """Average precision by the usual steps of pycocotools, over a data set of its own."""
    truth, found = COCO(), COCO()
    images = [{"id": number + 1} for number in range(len(photos))]
    categories = [{"id": number, "name": label} for number, label in enumerate(LABELS) if number]
    truth.dataset = {
        "images": images,
        "categories": categories,
        "annotations": [
            {
                "id": 1000 * number + index + 1, "image_id": number + 1, "category_id": LABELS.index(box.label),
                "bbox": [box.box[0], box.box[1], box.box[2] - box.box[0], box.box[3] - box.box[1]],
                "area": 300, "iscrowd": 0,
            }
            for number, (boxes, _, _) in enumerate(photos) for index, box in enumerate(boxes)
        ],
    }  # fmt: skip
    truth.createIndex()
    found = truth.loadRes([
        {
            "image_id": number + 1, "category_id": one.label_id, "score": one.score,
            "bbox": [one.box[0], one.box[1], one.box[2] - one.box[0], one.box[3] - one.box[1]],
        }
        for number, (_, those, _) in enumerate(photos) for one in those
    ])  # fmt: skip
    evaluation = COCOeval(truth, found, "bbox")
    evaluation.params.iouThrs = np.array([iou])
    evaluation.evaluate()
    evaluation.accumulate()
    precision = evaluation.eval["precision"][0, :, :, 0, -1]  # (recall, class), all areas, 100 detections
    return {category["name"]: precision[:, number].mean() for number, category in enumerate(categories)}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("iou", IOUS)
def test_the_same_numbers_as_by_pycocotools(iou, seed):
    photos = draw_photos(seed=seed)
    values, expected = measure(photos), compute_by_pycocotools(photos, iou)
    for label, value in expected.items():
        assert values[f"ap{iou:.2f} {label}"] == pytest.approx(value)
    assert values[f"ap{iou:.2f}"] == pytest.approx(np.mean(list(expected.values())))
    assert 0.1 < values[f"ap{iou:.2f}"] < 0.9


@pytest.mark.parametrize("chosen", [[0, 0, 1, 2], [3, 3, 3, 3], [11, 4, 4, 0, 7, 7, 7, 2, 1, 5, 5, 6], [2]])
def test_resampled_photos_are_a_data_set_with_each_as_often(chosen):
    photos = draw_photos(seed=5)
    values, expected = measure(photos, chosen), measure([photos[number] for number in chosen])
    for name, value in values.items():
        assert value == pytest.approx(expected.get(name, math.nan), nan_ok=True), name
    assert set(expected) <= set(values)


def test_a_class_without_a_box_among_the_chosen_is_unknown():
    values = measure(PHOTOS, [1, 2])
    assert math.isnan(values["ap0.33 hole"])
    assert values["ap0.33"] == values["ap0.33 dent"] > 0
    assert all(math.isnan(value) for value in measure([*PHOTOS, photo_of([], [])], [3]).values())
