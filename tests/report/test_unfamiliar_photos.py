"""Photos unlike the training photos: counted, and put into words."""

import numpy as np
import pytest

from pipeline.report.unfamiliar_photos import UnfamiliarCount, UnfamiliarPhotos, count_unfamiliar
from tests.helpers.columns import make_columns

NOBODY = UnfamiliarCount(0, 10, 10)


def test_counted_are_current_ok_photos_of_the_table_and_of_the_newest_run():
    columns = make_columns(
        np.zeros(8, np.int32),
        unfamiliar=np.float32([0.999, 0.999, 0.99, 0.5, np.nan, np.nan, 1, 0.9901]),
        is_current=np.array([False] + 7 * [True]),
        is_failed=np.array([False] * 5 + [True, False, False]),
        run=np.array([0, 0, 0, 0, 0, 1, 1, 1]),
        runs=["20260101T000000Z", "20260102T000000Z"],
    )
    photos = count_unfamiliar(columns)
    assert photos.table == UnfamiliarCount(unfamiliar=3, measured=5, ok=6)  # 0.99 itself is not beyond it
    assert photos.newest == UnfamiliarCount(unfamiliar=2, measured=2, ok=2)


def test_an_empty_table_and_one_of_failures():
    for columns in (make_columns(np.empty(0, np.int32)), make_columns(np.full(3, -1), is_failed=np.ones(3, bool))):
        photos = count_unfamiliar(columns)
        assert (photos.table, photos.warning, photos.sentence) == (UnfamiliarCount(0, 0, 0), "", "")


@pytest.mark.parametrize(
    ("table", "newest", "warning"),
    [
        ((62, 100, 100), (0, 5, 5), "62% of these photos are unlike those that this model learned from; its labels"),
        ((50, 100, 100), (50, 100, 100), "50% of these photos are unlike"),
        ((49, 100, 100), (4, 9, 9), ""),
        ((8, 9, 1000), (4, 9, 9), ""),  # most of the photos compared, but few of all
        ((8, 100, 100), (8, 10, 10), "80% of the last run's photos (8 of 10) are unlike those that this model learned"),
        ((0, 0, 100), (0, 0, 10), ""),
    ],
)
def test_warning(table, newest, warning):
    said = UnfamiliarPhotos(UnfamiliarCount(*table), UnfamiliarCount(*newest)).warning
    assert said.startswith(warning)
    assert said.endswith("; its labels for them mean little." if warning else "")
    assert bool(said) == bool(warning)


@pytest.mark.parametrize(
    ("count", "sentence"),
    [
        ((0, 0, 100), ""),
        ((0, 100, 100), "No photo is unlike those that this model learned from."),
        ((1, 100, 100), "1 of 100 photos is unlike those that this model learned from."),
        (
            (1200, 2000, 51_000),
            "1,200 of 51,000 photos are unlike those that this model learned from. Compared: 2,000 of 51,000 photos.",
        ),
    ],
)
def test_sentence(count, sentence):
    assert UnfamiliarPhotos(UnfamiliarCount(*count), NOBODY).sentence == sentence
