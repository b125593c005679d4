"""Whole groups dealt to splits: near the shares, deterministic, never moved, every class where it is needed."""

from collections import Counter

import numpy as np
import pytest

from pipeline.labelled.csv_table import SPLITS
from pipeline.labelled.deal_groups import DEFAULT_SHARES, count_groups, deal_groups


def make_boards(first, last):
    """Count the photos of boards: one to eight each, four classes of different size."""
    random = np.random.default_rng(first)
    labels = ["ok", "open", "short", "spur"]
    return {
        f"board-{number}": Counter(random.choice(labels, p=[0.7, 0.15, 0.1, 0.05], size=random.integers(1, 9)).tolist())
        for number in range(first, last)
    }


def shares_of(counts, splits):
    """Return the share of the photos in each split, of all photos and of each class."""
    totals, by_split = Counter(), {split: Counter() for split in SPLITS}
    for group, per_label in counts.items():
        for key in ("all", *per_label):
            photos = per_label.total() if key == "all" else per_label[key]
            by_split[splits[group]][key] += photos
            totals[key] += photos
    return {key: [by_split[split][key] / totals[key] for split in SPLITS] for key in totals}


def test_two_rounds_of_400_boards_stay_and_keep_the_shares():
    first, both = make_boards(0, 400), make_boards(0, 400) | make_boards(400, 800)
    dealt = deal_groups(first, {}, DEFAULT_SHARES, 0)
    added = deal_groups(both, dealt, DEFAULT_SHARES, 0)
    assert set(added) == set(both) - set(first)
    for counts, splits in ((first, dealt), (both, dealt | added)):
        for key, shares in shares_of(counts, splits).items():
            assert shares == pytest.approx(DEFAULT_SHARES, abs=0.005 if key == "all" else 0.02), key


def test_a_class_of_the_second_round_gets_its_shares():
    first = make_boards(0, 100)
    dealt = deal_groups(first, {}, DEFAULT_SHARES, 0)
    both = first | {f"new-{number}": Counter(burr=1) for number in range(100)}
    splits = dealt | deal_groups(both, dealt, DEFAULT_SHARES, 0)
    assert shares_of(both, splits)["burr"] == pytest.approx([0.7, 0.15, 0.15])


def test_order_of_the_groups_does_not_matter_and_the_seed_does():
    boards = make_boards(0, 100)
    backwards = dict(reversed(boards.items()))
    assert deal_groups(boards, {}, DEFAULT_SHARES, 0) == deal_groups(backwards, {}, DEFAULT_SHARES, 0)
    assert deal_groups(boards, {}, DEFAULT_SHARES, 0) != deal_groups(boards, {}, DEFAULT_SHARES, 1)


def test_small_classes_reach_train_and_validation():
    counts = {"a": Counter(ok=50), "b": Counter(ok=40), "c": Counter(rare=1), "d": Counter(rare=1), "e": Counter(ok=1)}
    for seed in range(20):
        splits = deal_groups(counts, {}, DEFAULT_SHARES, seed)
        assert {splits["c"], splits["d"]} == {"train", "validation"}
    assert set(deal_groups(counts, {}, (0.8, 0.2, 0.0), 0).values()) == {"train", "validation"}


def test_groups_without_photos_now_keep_their_place_but_do_not_count():
    assert deal_groups({"b": Counter(ok=1)}, {"a": "test"}, DEFAULT_SHARES, 0) == {"b": "train"}


def test_photos_are_counted_by_group_and_class():
    counted = count_groups(["a", "a", "b"], ["ok", "short", "ok"])
    assert counted == {"a": Counter(ok=1, short=1), "b": Counter(ok=1)}
