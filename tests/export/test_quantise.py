from types import SimpleNamespace

import numpy as np
import pytest
import torch
from transformers.models.florence2.processing_florence2 import Florence2PostProcessor

from pipeline.export.dataset import ExportBox
from pipeline.export.quantise import florence2_bins, paligemma_bins, qwen_units

SIZES = [(640, 480), (4000, 3000), (6000, 8001)]


def random_boxes(width, height, *, count=10_000, whole_pixels=True):
    """Return boxes all over a photo, some at its edges."""
    rng = np.random.default_rng(width)
    corners = np.sort(rng.random((count, 2, 2)), axis=1).reshape(count, 4) * (width, height, width, height)
    if whole_pixels:
        corners = np.rint(corners)
    corners[:4] = [(0, 0, width, height), (0, 0, 1, 1), (width - 1, height - 1, width, height), (0, 0, width, 1)]
    return [ExportBox(*map(float, row), label="open", class_id=0) for row in corners]


def official_bins(boxes, size):
    """Return the bins of transformers' own quantiser."""
    quantiser = Florence2PostProcessor({}, SimpleNamespace(all_special_tokens=[]))
    corners = torch.tensor([(box.x0, box.y0, box.x1, box.y1) for box in boxes])
    return quantiser.quantize(corners, size).numpy()


@pytest.mark.parametrize("whole_pixels", [True, False])
@pytest.mark.parametrize("size", SIZES)
def test_florence2_bins_are_those_of_its_own_quantiser(size, whole_pixels):
    boxes = random_boxes(*size, whole_pixels=whole_pixels)
    bins = florence2_bins(boxes, *size)
    assert np.array_equal(bins, official_bins(boxes, size))
    assert bins.min() == 0
    assert bins.max() == 999  # 1000 is not a token


def test_florence2_bins_are_the_official_ones_for_every_pixel_of_odd_sizes():
    """Exact arithmetic differs from the official float32 in 653 of the sizes up to 9,000 pixels."""
    for side in (2, 7, 14, 45, 56, 1001, 2464):
        boxes = [ExportBox(pixel, 0, pixel, side, "open", 0) for pixel in range(side + 1)]
        assert np.array_equal(florence2_bins(boxes, side, side), official_bins(boxes, (side, side)))


def test_no_box_has_no_bins():
    assert (
        florence2_bins([], 10, 10).shape == paligemma_bins([], 10, 10).shape == qwen_units([], 10, 10).shape == (0, 4)
    )


@pytest.mark.parametrize("size", SIZES)
def test_paligemma_bins_come_with_y_first_and_lie_within_one_bin(size):
    width, height = size
    boxes = random_boxes(width, height)
    bins = paligemma_bins(boxes, width, height)
    assert bins.min() == 0
    assert bins.max() == 1023
    back = bins[:, [1, 0, 3, 2]] / 1024 * np.array([width, height, width, height])
    corners = np.array([(box.x0, box.y0, box.x1, box.y1) for box in boxes])
    assert (np.abs(back - corners) <= np.array([width, height, width, height]) / 1024).all()


def test_paligemma_bins_of_whole_pixels_are_exact():
    boxes = random_boxes(640, 480)
    expected = [[min(1023, int(y) * 1024 // 480) for y in (box.y0, box.y1)] for box in boxes]
    assert paligemma_bins(boxes, 640, 480)[:, [0, 2]].tolist() == expected


def test_qwen_units_reach_both_edges():
    units = qwen_units([ExportBox(0, 0, 300, 400, "open", 0), ExportBox(1, 2, 150, 100, "open", 0)], 300, 400)
    assert units.tolist() == [[0, 0, 1000, 1000], [3, 5, 500, 250]]
