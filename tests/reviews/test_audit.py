"""The audit: a fair share, the same for everybody, nested; and the interval it gives."""

import hashlib
import math

import pytest
from scipy.stats import kstest

from pipeline.intervals import share_interval
from pipeline.reviews.audit import audit_position, estimate_accuracy

HASHES = [hashlib.blake2b(str(number).encode(), digest_size=16).hexdigest() for number in range(20_000)]


def test_positions_are_even_and_say_nothing_of_the_content():
    positions = [audit_position(content_hash) for content_hash in HASHES]
    assert all(0 <= position < 1 for position in positions)
    assert kstest(positions, "uniform").pvalue > 0.01
    alike = [audit_position(f"{number:032x}") for number in range(20_000)]  # neighbours, not hashes
    assert kstest(alike, "uniform").pvalue > 0.01


def test_positions_stay_the_same():
    """Another salt or digest would put other photos into every audit begun before."""
    assert audit_position("00" * 16) == pytest.approx(0.4768356657822374, abs=1e-12)


def test_audits_are_nested_as_the_rate_grows():
    small, large = ({one for one in HASHES if audit_position(one) < rate} for rate in (0.05, 0.1))
    assert small < large
    assert len(large) == pytest.approx(2000, abs=150)


def test_estimate_counts_answers():
    estimate = estimate_accuracy([True] * 388 + [False] * 12)
    assert (estimate.photos, estimate.correct, estimate.unsure, estimate.accuracy) == (400, 388, 0, 0.97)
    assert (estimate.low, estimate.high) == share_interval(388, 400)
    assert (estimate.low_bound, estimate.high_bound) == (estimate.low, estimate.high)
    assert estimate.describe() == "0.97 (0.948 to 0.984) of 400 photos"


def test_unsure_photos_count_both_ways():
    estimate = estimate_accuracy([True] * 90 + [False] * 5 + [None] * 5)
    assert (estimate.photos, estimate.correct, estimate.unsure) == (95, 90, 5)
    assert estimate.low_bound == share_interval(90, 100)[0] < estimate.low
    assert estimate.high_bound == share_interval(95, 100)[1]
    assert estimate.describe().endswith("of 95 photos; 0.824 to 0.984 with the 5 unsure as wrong or right")


def test_unsure_photos_alone():
    estimate = estimate_accuracy([None, None])
    assert (estimate.photos, estimate.unsure) == (0, 2)
    assert math.isnan(estimate.low)
    assert (estimate.low_bound, estimate.high_bound) == (0.0, 1.0)
    assert estimate.as_json() == {
        "photos": 0, "correct": 0, "unsure": 2, "low": None, "high": None, "low_bound": 0.0, "high_bound": 1.0
    }  # fmt: skip
    assert estimate.describe() == "unknown, 2 unsure"


def test_no_photos_at_all():
    estimate = estimate_accuracy([])
    assert math.isnan(estimate.low)
    assert math.isnan(estimate.low_bound)
    assert math.isnan(estimate.accuracy)
