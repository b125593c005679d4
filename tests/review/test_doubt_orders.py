"""Orders by doubt, by chance, and the audit."""

import numpy as np
import pytest

from pipeline.review.doubt_orders import interleave
from pipeline.reviews.audit import audit_position, estimate_accuracy
from tests.helpers.queues import hash_of, make_photo, paths_of, queue_of, reasons_of


@pytest.fixture
def out(tmp_path):
    return tmp_path / "results"


def flat(seed):
    """Return a map near to no other one."""
    return np.random.default_rng(seed).random(16, dtype=np.float32)


def test_margin_is_the_lead_of_the_best_label(out):
    rows = [
        make_photo("sure.png", {"ok": 0.9, "open": 0.1}),
        make_photo("three.png", {"ok": 0.4, "open": 0.35, "spur": 0.25}),
        make_photo("two.png", {"ok": 0.51, "open": 0.49}),
        make_photo("one.png", {"ok": 0.3}),
    ]
    queue = queue_of(out, rows, order="margin")
    assert paths_of(queue, out) == ["two.png", "three.png", "one.png", "sure.png"]
    assert reasons_of(queue) == [
        "margin 0.02: ok or open",
        "margin 0.05: ok or open",
        "margin 0.30: ok",
        "margin 0.80: ok or open",
    ]


def test_sigmoid_scores_are_in_doubt_near_one_half(out):
    """Two labels near 1 are no doubt if both may be right."""
    rows = [
        make_photo("both.png", {"open": 0.99, "spur": 0.98}),
        make_photo("doubt.png", {"open": 0.95, "spur": 0.45}),
        make_photo("none.png", {"open": 0.05, "spur": 0.04}),
    ]
    queue = queue_of(out, rows, order="margin")
    assert paths_of(queue, out) == ["doubt.png", "none.png", "both.png"]
    assert reasons_of(queue)[0] == "spur or not: score 0.45"


def test_softmax_scores_of_another_model_keep_their_margin(out):
    rows = [
        make_photo("both.png", {"open": 0.99, "spur": 0.98}, fingerprint="sigmoid"),
        make_photo("softmax.png", {"open": 0.4, "ok": 0.35, "spur": 0.25}),
    ]
    assert reasons_of(queue_of(out, rows, order="margin"))[0] == "margin 0.05: open or ok"


def test_score_is_that_of_the_label(out):
    rows = [make_photo("a.png", {"ok": 0.8}), make_photo("b.png", {"ok": 0.505, "open": 0.495})]
    queue = queue_of(out, rows, order="score")
    assert paths_of(queue, out) == ["b.png", "a.png"]
    assert reasons_of(queue)[1] == "score 0.80"


def test_a_burst_is_not_shown_in_a_row(out):
    """Ten photos of the same board, the most doubtful ones, and twelve others."""
    rows = [make_photo(f"same-{number}.png", {"ok": 0.51, "open": 0.49}, attention=flat(0)) for number in range(10)]
    rows += [make_photo(f"other-{number:02d}.png", {"ok": 0.7}, attention=flat(number)) for number in range(1, 13)]
    order = paths_of(queue_of(out, rows, order="margin"), out)
    assert order[0] == "same-0.png"
    assert all(path.startswith("other") for path in order[1:13])
    assert order[13:] == [f"same-{number}.png" for number in range(1, 10)]


def test_random_is_the_same_for_everybody_and_later(out):
    """More photos fall in between; the others keep their order, which is that of no other column."""
    rows = [make_photo(f"{number}.png", {"ok": 0.5 + number / 100}) for number in range(20)]
    first = paths_of(queue_of(out, rows, order="random"), out)
    assert first != sorted(first)
    more = [make_photo(f"new-{number}.png", {"ok": 0.9}) for number in range(20)]
    second = paths_of(queue_of(out, more, order="random", who="Eve"), out)
    assert [path for path in second if path in first] == first
    assert second[:20] != first


def test_the_audit_comes_in_the_order_of_its_places_and_is_nested(out):
    rows = [make_photo(f"{number}.png", {"ok": 0.9}) for number in range(200)]
    small = paths_of(queue_of(out, rows, order="audit", audit=0.1), out)
    large = paths_of(queue_of(out, order="audit", audit=0.3, who="Eve"), out)
    assert large[: len(small)] == small
    places = [audit_position(hash_of(path)) for path in large]
    assert places == sorted(places)
    assert places[-1] < 0.3


def test_the_audit_is_a_fair_share_of_every_night():
    for night in range(5):
        places = np.array([audit_position(hash_of(f"{night}/{number}")) for number in range(4000)])
        for rate in (0.05, 0.1, 0.5):
            assert abs((places < rate).mean() - rate) < 4 * np.sqrt(rate * (1 - rate) / 4000)


@pytest.mark.parametrize("accuracy", [0.9, 0.99])
def test_the_interval_of_the_audit_holds_the_accuracy(accuracy):
    """In 186 or more of 200 archives of 1,000 photos, audited at a rate of 0.2."""
    random = np.random.default_rng(0)
    held = 0
    for archive in range(200):
        hashes = [f"{accuracy}-{archive}-{number}" for number in range(1000)]
        is_right = random.random(1000) < accuracy
        pairs = zip(hashes, is_right.tolist(), strict=True)
        estimate = estimate_accuracy(right for content, right in pairs if audit_position(content) < 0.2)
        held += estimate.low <= is_right.mean() <= estimate.high
    assert held >= 0.93 * 200


@pytest.mark.parametrize(
    ("rows", "audit", "mixed"),
    [
        (range(20), range(100, 102), [*range(9), 100, *range(9, 18), 101, 18, 19]),
        (range(3), range(100, 103), [0, 1, 2, 100, 101, 102]),
        (range(12), [], [*range(12)]),
        ([], range(2), [0, 1]),
    ],
)
def test_interleave(rows, audit, mixed):
    assert interleave(np.array(rows, np.int64), np.array(audit, np.int64)).tolist() == mixed
