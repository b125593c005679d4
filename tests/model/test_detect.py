"""One detection for each defect, from the windows that see it."""

import pytest

from pipeline.model.detect import Candidate, merge_candidates
from pipeline.records import Detection

WINDOW, NEXT = (0, 0, 100, 100), (50, 0, 150, 100)


def candidate(box, score=0.9, window=WINDOW, label_id=1):
    return Candidate(Detection(box, label_id, score), window)


def test_the_surest_of_two_windows_stays():
    weak, sure = candidate((60, 40, 80, 60), 0.6), candidate((62, 38, 84, 60), 0.97, NEXT)
    assert merge_candidates([weak, sure]) == [sure]


def test_of_equals_the_one_far_from_the_edge_stays():
    """Cut off by the edge of the first window, whole in the second; a score a thousandth higher is no better."""
    cut_off, whole = candidate((85, 40, 100, 60), 0.991), candidate((85, 40, 110, 60), 0.99, NEXT)
    assert (cut_off.margin, whole.margin) == (7.5, 47.5)
    assert merge_candidates([cut_off, whole]) == [whole]


@pytest.mark.parametrize(("left", "kept"), [(100, 1), (109, 1), (111, 2), (130, 2)])
def test_boxes_with_less_than_half_in_common_are_two_defects(left, kept):
    boxes = (100, 0, 120, 20), (left, 0, left + 20, 20)
    assert len(merge_candidates([candidate(box) for box in boxes])) == kept


def test_a_small_box_inside_a_large_one_is_the_same_defect():
    large, small = candidate((0, 0, 100, 100), 0.7), candidate((40, 40, 50, 50), 0.8)
    assert merge_candidates([large, small]) == [small]


def test_labels_may_differ_and_nothing_is_nothing():
    one, other = candidate((0, 0, 10, 10), 0.9, label_id=1), candidate((1, 1, 11, 11), 0.8, label_id=2)
    assert merge_candidates([other, one]) == [one]
    assert merge_candidates([]) == []
