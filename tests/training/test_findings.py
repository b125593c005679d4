"""Doubts about a data set, found with the features of the probe, and kept for a resumed training."""

from types import SimpleNamespace

import numpy as np
import pytest

from pipeline.labelled.splits import LabelledPhoto
from pipeline.training.findings import Findings, find_doubts, read_findings, write_findings
from pipeline.training.leaks import Leak
from pipeline.training.probe import ProbeData
from pipeline.training.starting_point import Embedded
from tests.labelled.test_similar_photos import draw_families

LABELS = ("crack", "ok")


def embed_families(split, families, count, swapped=()):
    """Draw photos of some families: ok and crack in turn, and the photos in `swapped` under the other label."""
    features, members = draw_families(100, 4)
    rows = np.flatnonzero(np.isin(members, families))[:count]
    label_ids = members[rows] % 2
    features = features[rows].copy()
    features[:, 0] += 8 * np.array([-1, 1])[label_ids] * features[:, 0].std()  # what a probe can learn
    label_ids[list(swapped)] = 1 - label_ids[list(swapped)]
    photos = [
        LabelledPhoto(f"{split}/{row}.png", None, LABELS[label_id], split=split)
        for row, label_id in zip(rows, label_ids, strict=True)
    ]
    return Embedded(photos, ProbeData(features, label_ids, np.ones(len(rows)), np.arange(len(rows))))


def make_start(train, validation):
    return SimpleNamespace(
        classifier=SimpleNamespace(labels=LABELS),
        recipe=SimpleNamespace(seed=0),
        train=train,
        validation=validation,
        strength=0.03,
    )


def test_wrong_labels_are_named():
    train = embed_families("train", range(60), 240, swapped=(10, 101))
    found = find_doubts(make_start(train, embed_families("validation", range(60, 80), 80)), None)
    wrong = [train.photos[index] for index in (10, 101)]
    assert {line.partition(":")[0] for line in found.contradicted[:2]} == {photo.name for photo in wrong}
    for photo in wrong:
        other = LABELS[1 - LABELS.index(photo.label)]
        assert any(f"{photo.name}: labelled {photo.label}, looks like {other} (" in line for line in found.contradicted)


@pytest.mark.parametrize("has_test", [False, True])
def test_siblings_across_splits_are_measured(has_test):
    start = make_start(embed_families("train", range(60), 240), embed_families("validation", range(60, 80), 80))
    test = embed_families("test", range(60), 240) if has_test else None
    leak = find_doubts(start, test).leak
    assert set(leak.shares) == ({"validation", "test"} if has_test else {"validation"})
    assert leak.is_serious == has_test


def test_findings_are_read_back(tmp_path):
    assert read_findings(tmp_path) == Findings()
    leak = Leak({"test": 0.5}, "(.+)_", 7, (("a.png", "b.png"),), has_groups=True)
    findings = Findings(leak, ("a.png: labelled ok",), ("a.png (ok) looks the same as b.png (crack)",))
    write_findings(findings, tmp_path)
    assert read_findings(tmp_path) == findings
