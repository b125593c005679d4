"""Detections against boxes, by hand: defects found, false alarms, and the curve over all thresholds."""

import math
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import StoppedError
from pipeline.evaluation.config import EvaluateConfig
from pipeline.evaluation.detections import compute_curve, is_same_place, mark_photos, measure_detections
from pipeline.evaluation.free_response import draw_free_response
from pipeline.evaluation.result import Detections, PredictedPhoto
from pipeline.intervals import Estimate, share_interval
from pipeline.labelled.splits import LabelledBox, LabelledPhoto
from pipeline.records import Detection

LABELS = ("ok", "dent", "hole")
SIZE = (200, 100)


def predict_photo(name, truth, found, *, label=None, size=SIZE, **more):
    """A photo with its boxes, (label, x0, y0, x1, y1) each or None, and detections, (score, label, x0, y0, x1, y1)."""
    boxes = None if truth is None else tuple(LabelledBox(kind, tuple(corners)) for kind, *corners in truth)
    photo = LabelledPhoto(name, Path(name), label or (boxes[0].label if boxes else "ok"), boxes=boxes, **more)
    detections = [Detection(tuple(corners), LABELS.index(kind), score) for score, kind, *corners in found]
    return PredictedPhoto(photo, np.full(3, 1 / 3), size=size, detections=detections)


PHOTOS = [
    # both found, one of them twice, under another label, and a false alarm
    predict_photo(
        "two.png",
        [("dent", 0, 0, 20, 20), ("hole", 100, 50, 120, 70)],
        [
            (0.9, "dent", 1, 1, 21, 21),
            (0.8, "hole", 0, 0, 18, 18),
            (0.7, "dent", 105, 55, 115, 65),
            (0.6, "hole", 60, 60, 70, 70),
        ],
    ),
    # found too weakly, a strong false alarm
    predict_photo(
        "weak.png", [("dent", 10, 10, 30, 30)], [(0.4, "dent", 10, 10, 30, 30), (0.95, "hole", 50, 0, 60, 9)]
    ),
    # nothing found
    predict_photo("missed.png", [("hole", 10, 10, 30, 30)], []),
    # a good photo with a weak false alarm
    predict_photo("good.png", [], [(0.3, "dent", 0, 0, 9, 9)]),
]


@pytest.fixture
def measure(tmp_path):
    """A function to measure the detections of photos."""
    (tmp_path / "data").mkdir()

    def make(photos, stop=lambda: False, **settings):
        config = EvaluateConfig(data=tmp_path / "data", out=tmp_path / "out", **{"resamples": 0} | settings)
        return measure_detections(photos, LABELS, config, stop)

    return make


def values_of(detections):
    return {name: estimate.value for name, estimate in detections.metrics.items()}


@pytest.mark.parametrize(
    ("other", "same"),
    [
        ((0, 0, 100, 100), True),
        ((45, 45, 55, 55), True),
        ((50, 50, 150, 150), True),
        ((51, 51, 151, 151), False),
        ((-1000, -1000, 1001, 1001), True),
        ((0, 60, 100, 160), False),
        ((99, 10, 101, 20), True),
        ((101, 10, 103, 20), False),
        ((0, 90, 1000, 92), False),
    ],
)
def test_a_place_is_the_same_if_one_centre_lies_in_the_other_box(other, same):
    box = (0, 0, 100, 100)
    assert is_same_place(box, other) == is_same_place(other, box) == same


@pytest.mark.parametrize(
    ("detect_from", "found", "alarms"), [(0.5, 2, 2), (0.4, 3, 2), (0.3, 3, 3), (0.65, 2, 1), (0.91, 0, 1)]
)
def test_figures_by_hand(measure, detect_from, found, alarms):
    """The second detection at the first dent counts neither way, and a wrong label still finds the defect."""
    detections = measure(PHOTOS, detect_from=detect_from)
    assert (detections.photos, detections.boxes, detections.detect_from) == (4, 4, detect_from)
    values = values_of(detections)
    assert values["recall"] == found / 4
    assert values["precision"] == pytest.approx(found / (found + alarms))
    assert values["f1"] == pytest.approx(2 * found / (4 + found + alarms))
    assert values["false_alarms_per_photo"] == alarms / 4


def test_a_defect_without_a_detection_is_not_found_at_any_score(measure):
    assert values_of(measure(PHOTOS, detect_from=0))["recall"] == 3 / 4


def test_the_curve_has_a_point_for_each_score(measure):
    assert measure(PHOTOS).curve == (
        (0.95, 0, 0.25),
        (0.9, 0.25, 0.25),
        (0.7, 0.5, 0.25),
        (0.6, 0.5, 0.5),
        (0.4, 0.75, 0.5),
        (0.3, 0.75, 0.75),
    )


def test_equal_scores_are_one_point():
    best, false = np.array([0.5, 0.5, 0.0]), np.array([0.5, 0.2, 0.2])
    assert compute_curve(best, false, 2) == ((0.5, 2 / 3, 0.5), (0.2, 2 / 3, 1.5))
    assert compute_curve(np.zeros(3), np.array([]), 2) == ()


@pytest.mark.parametrize(
    ("false_alarms", "point"),
    [(0.5, (0.4, 0.75, 0.5)), (0.25, (0.7, 0.5, 0.25)), (9, (0.3, 0.75, 0.75)), (0.2, None)],
)
def test_the_lowest_threshold_within_some_false_alarms(measure, false_alarms, point):
    assert measure(PHOTOS).best_within(false_alarms) == point


def test_the_sentence_names_recall_price_and_a_threshold(measure):
    said = measure(PHOTOS, detect_from=0.35).describe()
    assert said.startswith("75.00% of 4 defects are found where they are, with 0.50 false alarms a photo, by ")
    assert "by detections from 0.35 on" in said
    assert said.endswith("the lowest threshold within 0.5 false alarms a photo is 0.4, which finds 75.00%")
    noisy = [predict_photo("a.png", [("dent", 0, 0, 9, 9)], [(0.9, "dent", 50, 50, 60, 60)])]
    assert measure(noisy).describe().endswith("at an IoU of 0.33")


def test_photos_with_unknown_boxes_are_counted_and_left_out(measure, caplog):
    unknown = [predict_photo(f"{number}.png", None, [(0.9, "dent", 0, 0, 9, 9)], label="dent") for number in range(2)]
    failed = PredictedPhoto(LabelledPhoto("broken.png", Path("broken.png"), "dent"), None, "broken")
    good = predict_photo("fine.png", None, [], label="ok")
    assert measure([*PHOTOS, *unknown, failed]) == measure(PHOTOS)
    assert "2 photos have defects without boxes; they are not among the figures of detections" in caplog.text
    assert measure([*PHOTOS, good]).photos == 5


def test_boxes_outside_their_photo_are_named_and_others_end_at_its_edge(caplog):
    boxes = [("dent", 190, 90, 260, 130), ("hole", 200, 0, 220, 20), ("dent", 0, 99.5, 20, 140)]
    (marked,) = mark_photos([predict_photo("a.png", boxes, [])])
    assert marked.truth == (LabelledBox("dent", (190, 90, 200, 100)),)
    assert "2 boxes lie outside their photos and are left out: a.png (200, 0, 220, 20), a.png (0, 99.5" in caplog.text


@pytest.mark.parametrize("truth", [[], [("dent", 300, 0, 310, 9)]])
def test_without_a_box_there_is_nothing_to_measure(measure, caplog, truth):
    assert measure([predict_photo("a.png", truth, [(0.9, "dent", 0, 0, 9, 9)])]) is None
    assert "no photo has a box to compare with detections" in caplog.text


def test_intervals_hold_their_values_and_are_drawn_again_from_a_seed(measure):
    first, again, other = (measure(PHOTOS, resamples=60, seed=seed) for seed in (0, 0, 1))
    for name, estimate in first.metrics.items():
        assert estimate.low <= estimate.value <= estimate.high, name
    assert first == again
    assert first.metrics != other.metrics
    assert values_of(first) == values_of(other) == values_of(measure(PHOTOS))


def test_few_defects_all_found_leave_a_wide_interval(measure):
    """Resamples alone would say 1 to 1."""
    photos = [predict_photo(f"{number}.png", [("dent", 0, 0, 9, 9)], [(0.9, "dent", 0, 0, 9, 9)]) for number in "abc"]
    metrics = measure(photos, resamples=5).metrics
    assert metrics["recall"] == metrics["precision"] == Estimate(1, *share_interval(3, 3))
    assert metrics["recall"].low < 0.4
    assert math.isnan(measure(photos).metrics["recall"].low)


def test_photos_of_a_group_are_drawn_together(measure):
    """With all photos in one group, each resample is the same data."""
    one = [predict_photo("a.png", [("dent", 0, 0, 9, 9)], [(0.9, "dent", 0, 0, 9, 9)], group="board"),
           predict_photo("b.png", [], [(0.9, "dent", 0, 0, 9, 9)], group="board")]  # fmt: skip
    assert measure(one, resamples=30).metrics["false_alarms_per_photo"] == Estimate(0.5, 0.5, 0.5)


def test_a_stop_is_asked_in_each_resample(measure):
    asked = iter(range(100))
    with pytest.raises(StoppedError):
        measure(PHOTOS, lambda: next(asked) == 5, resamples=10)
    assert next(asked) == 6


@pytest.mark.parametrize("resamples", [0, 20])
@pytest.mark.parametrize(
    "photos",
    [
        PHOTOS,
        PHOTOS[2:3],  # nothing found, no false alarm
        [predict_photo("a.png", [("dent", 0, 0, 9, 9)], [(0.9, "dent", 0, 0, 9, 9)])],  # no false alarm
        [predict_photo("a.png", [("dent", 0, 0, 9, 9)], [(0.9, "dent", 50, 50, 60, 60)])],  # nothing else
    ],
)
def test_the_figure_is_drawn_whatever_is_found(measure, tmp_path, photos, resamples):
    detections = measure(photos, resamples=resamples)
    draw_free_response(detections, tmp_path / "detection.png")
    assert (tmp_path / "detection.png").stat().st_size > 10_000


def test_figures_as_json_have_null_for_unknown():
    detections = Detections(2, 1, 0.5, {"recall": Estimate(0.5), "f1": Estimate(math.nan)}, {}, ((0.9, 0.5, 1.0),))
    assert detections.as_json() == {
        "photos": 2,
        "boxes": 1,
        "detect_from": 0.5,
        "metrics": {
            "recall": {"value": 0.5, "low": None, "high": None},
            "f1": {"value": None, "low": None, "high": None},
        },
        "average_precision": {},
        "curve": [{"threshold": 0.9, "recall": 0.5, "false_alarms_per_photo": 1.0}],
    }
