"""Orders by the maps: methods at odds, and photos unlike the usual ones."""

import json
from dataclasses import replace

import numpy as np
import pytest

import pipeline
from pipeline.maps.statistics import cell_shares
from pipeline.report.drift import Average, Profile
from pipeline.results.read import read_results
from pipeline.review.map_orders import map_overlap, pool_averages
from tests.helpers.models import save_tiny_vit
from tests.helpers.photos import save_photos
from tests.helpers.queues import make_photo, paths_of, queue_of, reasons_of
from tests.helpers.tables import make_record

CELLS = np.eye(6, dtype=np.float32)  # six maps apart from each other


@pytest.fixture
def out(tmp_path):
    return tmp_path / "results"


def photo(path, *more_maps, **changes):
    changes = {"attention": CELLS[0], "more_maps": list(more_maps) or None} | changes
    return make_photo(path, {"ok": 0.9, "open": 0.1}, **changes)


def test_map_overlap_is_the_common_part():
    maps = np.array([[1, 1, 0, 0], [1, 1, 0, 0], [2, 2, 0, 0]], np.float32)
    others = np.array([[0, 0, 1, 3], [0, 5, 5, 0], [1, 1, -7, 0]], np.float32)
    assert map_overlap(maps, others).tolist() == [0, 0.5, 1]


def test_methods_at_odds_come_first(out):
    """The least overlap of any two methods counts; maps of other grids, and photos with one map, say nothing."""
    rows = [
        photo("agree", ("legrad", CELLS[0]), ("libragrad", 3 * CELLS[0])),
        photo("half", ("legrad", CELLS[0] + CELLS[1])),
        photo("odds", ("legrad", CELLS[0]), ("libragrad", CELLS[3])),
        photo("single"),
        photo("grid", ("legrad", CELLS[0, :4])),
    ]
    queue = queue_of(out, rows, order="methods")
    assert paths_of(queue, out) == ["odds", "half", "agree"]
    assert reasons_of(queue) == [
        "the maps of rollout and libragrad overlap by 0%",
        "the maps of rollout and legrad overlap by 50%",
        "the maps of rollout and legrad overlap by 100%",
    ]


def test_a_later_run_replaces_the_maps(out):
    queue_of(out, [photo("a", ("legrad", CELLS[1])), photo("b", ("legrad", CELLS[1]))])
    reasons = reasons_of(queue_of(out, [photo("a", ("legrad", CELLS[0]))], order="methods"))
    assert reasons == [
        "the maps of rollout and legrad overlap by 0%",
        "the maps of rollout and legrad overlap by 100%",
    ]


def test_a_real_run_and_another_model(out, tmp_path):
    """Maps by two methods, then a model with other labels for some photos."""
    photos = tmp_path / "photos"
    save_photos(photos, 12)
    settings = {"input": photos, "out": out, "method": "libragrad,rollout", "precision": "fp32", "workers": 1}
    for seed in (0, 5):
        pipeline.run(**settings, model=str(save_tiny_vit(tmp_path / f"model-{seed}", seed=seed)), report=False)
        if seed == 0:
            before = read_results(out).set_index("path")
    now = read_results(out).set_index("path")

    queue = queue_of(out, order="methods")
    shares = [
        np.minimum(cell_shares(row.attention), cell_shares(row.more_maps["rollout"])).sum()
        for row in now.loc[paths_of(queue, out)].itertuples()
    ]
    assert len(shares) == 12
    assert np.all(np.diff(shares) >= -1e-6)
    assert reasons_of(queue)[0] == f"the maps of libragrad and rollout overlap by {shares[0]:.0%}"

    queue = queue_of(out, order="changed")
    is_changed = before["label"].astype(str) != now["label"].astype(str)
    assert is_changed.sum() > 0
    assert set(paths_of(queue, out)) == set(now.index[is_changed])
    path = paths_of(queue, out)[0]
    assert reasons_of(queue)[0] == f"was {before['label'][path]}, now {now['label'][path]}"


def test_pool_averages():
    random = np.random.default_rng(0)
    nights = [random.normal(mean, 2, size) for mean, size in ((1, 50), (4, 200), (-2, 30))]
    photos = np.concatenate(nights)
    pooled = pool_averages([Average(night.mean(), night.std()) for night in nights], [len(night) for night in nights])
    assert (pooled.mean, pooled.deviation) == pytest.approx((photos.mean(), photos.std()))


def write_profiles(out, tmp_path, *nights, photos=100, fingerprints=None):
    """Give each run of the table a record, and a profile with these averages, oldest first."""
    fingerprints = fingerprints or ["f1"] * len(nights)
    run_ids = sorted(part.stem.split("-")[1] for part in (out / "table").glob("*.parquet"))
    for run_id, averages, fingerprint in zip(run_ids, nights, fingerprints, strict=True):
        averages = {name: Average(*numbers) for name, numbers in averages.items()}
        record = make_record(tmp_path / "photos", run_id=run_id)
        record = replace(record, fingerprint=fingerprint, profile=Profile(photos, averages, {}).as_json())
        (out / "runs" / f"{run_id}.json").write_text(json.dumps(record.as_json()))


def test_photos_unlike_the_usual_come_first(out, tmp_path):
    uniform = np.ones(6, np.float32)
    rows = [
        make_photo("usual", {"ok": 0.9}, attention=uniform),
        make_photo("unsure", {"ok": 0.4}, attention=uniform),
        make_photo("sharp", {"ok": 0.9}, attention=CELLS[0]),
        make_photo("large", {"ok": 0.9}, attention=uniform, width=1000, height=1000),
    ]
    queue_of(out, rows)
    averages = {"score": (0.9, 0.1), "megapixels": (0.0006, 0.0), "map concentration": (0.0, 0.05)}
    write_profiles(out, tmp_path, averages)
    queue = queue_of(out, order="drift")
    assert paths_of(queue, out) == ["large", "sharp", "unsure", "usual"]
    assert reasons_of(queue)[:3] == [
        "megapixels 1, usually 0.0006: 99.9 standard deviations away",
        "map concentration 1, usually 0: 20.0 standard deviations away",
        "score 0.4, usually 0.9: 5.0 standard deviations away",
    ]


def test_the_newest_run_does_not_set_the_usual(out, tmp_path):
    """A night out of focus is far from the nights before, and not from itself."""
    queue_of(out, [make_photo("before", {"ok": 0.9})])
    queue_of(out, [make_photo("before", {"ok": 0.9})])
    queue_of(out, [make_photo("tonight", {"ok": 0.5})])
    write_profiles(out, tmp_path, {"score": (0.9, 0.1)}, {"score": (0.8, 0.1)}, {"score": (0.5, 0.1)})
    reasons = reasons_of(queue_of(out, order="drift"))
    assert reasons[0].startswith("score 0.5, usually 0.85: ")
    assert reasons[1].startswith("score 0.9, usually 0.85: ")


def test_each_model_has_its_own_usual(out, tmp_path):
    queue_of(out, [make_photo("old", {"ok": 0.5})])
    queue_of(out, [make_photo("new", {"ok": 0.9}, fingerprint="f2")])
    write_profiles(out, tmp_path, {"score": (0.6, 0.1)}, {"score": (0.7, 0.1)}, fingerprints=["f1", "f2"])
    assert reasons_of(queue_of(out, order="drift")) == [
        "score 0.9, usually 0.7: 2.0 standard deviations away",
        "score 0.5, usually 0.6: 1.0 standard deviations away",
    ]


def test_drift_needs_a_profile_of_enough_photos(out, tmp_path):
    queue_of(out, [photo("a")])
    write_profiles(out, tmp_path, {"score": (0.9, 0.1)}, photos=5)
    assert queue_of(out, order="drift").warnings[0].startswith("nothing to show: drift needs the profile of a run")
