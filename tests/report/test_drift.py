"""What is new: profiles worked out by hand, bands, and a camera out of focus in a real run's record."""

import json
import logging
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageFilter

import pipeline
from pipeline.report.drift import Average, Profile, Profiler, drift_warnings, earlier_profiles
from pipeline.results.schema import to_table
from tests.helpers.photos import save_photos
from tests.helpers.tables import make_record, make_row


def profile_of(rows):
    profiler = Profiler()
    profiler.add(to_table(rows))
    return profiler.profile()


def usual(*scores, photos=1000, **shares):
    shares = {"failed": 0.0, "low confidence": 0.05, "label ok": 0.9, "label short": 0.1} | shares
    return [Profile(photos, {"score": Average(score, 0.1)}, shares) for score in scores]


def test_profile_by_hand():
    rows = [make_row("a", score=0.9, width=1000, height=2000), make_row("b", score=0.5, width=1000, height=1000)]
    rows += [make_row("c", label="ok", score=0.7), make_row("d", status="failed", label=None)]
    found = profile_of(rows)
    assert found.photos == 4
    assert found.shares == {"failed": 0.25, "low confidence": 0.25, "label short": 0.5, "label ok": 0.25}
    assert found.averages["score"].mean == pytest.approx(0.7)
    assert found.averages["score"].deviation == pytest.approx(np.std([0.9, 0.5, 0.7]))
    assert found.averages["megapixels"].mean == pytest.approx((2 + 1 + 0.0006) / 3)
    shares = np.arange(1, 6) / 15  # of the rows' map, whose first cell is 0
    concentration = 1 + (shares * np.log(shares)).sum() / np.log(6)
    assert found.averages["map concentration"].mean == pytest.approx(concentration)


def test_maps_of_several_sizes_count_alike():
    maps = [np.array(values, np.float32) for values in ([1, 0, 0, 0], [1, 1], [0, 1, 0, 0], [1, 1])]
    found = profile_of([make_row(f"{number}", attention=values) for number, values in enumerate(maps)])
    assert found.averages["map concentration"].mean == pytest.approx(0.5)  # all in one cell, or uniform


def test_a_usual_night_is_no_news():
    (tonight,) = usual(0.91)
    assert drift_warnings(tonight, usual(0.90, 0.92, 0.91, 0.93)) == []


def test_scores_that_fall_are_news():
    (tonight,) = usual(0.60)
    assert drift_warnings(tonight, usual(0.90, 0.92, 0.91, 0.93)) == ["score: 0.6 on average, usually 0.875 to 0.955"]


def test_a_label_that_was_never_there_is_news():
    (tonight,) = usual(0.91, **{"label ok": 0.6, "label spur": 0.3})
    found = drift_warnings(tonight, usual(0.90, 0.92, 0.91))
    assert found == [
        "label ok: 60.0% of the photos, usually 87.0% to 93.0%",
        "label spur: 30.0% of the photos, usually 0.0% to 3.0%",
    ]


def test_failures_are_news():
    (tonight,) = usual(0.91, failed=0.2)
    (found,) = drift_warnings(tonight, usual(0.90, 0.92, 0.91))
    assert found.startswith("failed: 20.0% of the photos")


def test_chance_in_a_small_run_is_no_news():
    """Of 30 photos a tenth more or less of a label is nothing unusual; of 3,000 it is."""
    before = usual(0.91, 0.91, 0.91)
    for photos, news in ((30, 0), (3000, 2)):
        (tonight,) = usual(0.91, photos=photos, **{"label ok": 0.8, "label short": 0.2})
        assert len(drift_warnings(tonight, before)) == news


def test_shares_of_decisions_by_hand():
    rows = [make_row(f"{number}", decision="pass") for number in range(3)] + [make_row("3", decision="reject")]
    shares = profile_of([*rows, make_row("4", status="failed", label=None)]).shares
    decisions = {name: share for name, share in shares.items() if name.startswith("decision")}
    assert decisions == {"decision pass": 0.6, "decision review": 0, "decision reject": 0.2}
    assert not any(name.startswith("decision") for name in profile_of([make_row("a")]).shares)


def test_rejects_that_pile_up_are_news():
    decided = {"decision pass": 0.9, "decision review": 0.06, "decision reject": 0.04}
    (tonight,) = usual(0.91, **decided | {"decision pass": 0.7, "decision reject": 0.24})
    found = drift_warnings(tonight, usual(0.90, 0.92, 0.91, **decided))
    assert found == [
        "decision pass: 70.0% of the photos, usually 87.0% to 93.0%",
        "decision reject: 24.0% of the photos, usually 1.0% to 7.0%",
    ]
    assert drift_warnings(tonight, usual(0.90, 0.92, 0.91)) == [], "nothing was decided before"


def test_shares_of_unfamiliar_photos_by_hand():
    """Of the photos compared with the training photos and of all; a profile goes through text."""
    rows = [make_row(f"{number}", unfamiliar=value) for number, value in enumerate((0.2, 0.99, 0.9901, 1.0))]
    profiler = Profiler()
    profiler.add(to_table([*rows, make_row("4", status="failed", label=None)]))
    assert (profiler.rated, profiler.unfamiliar) == (4, 2)
    copy = Profiler()
    copy.add_text(profiler.as_text())
    assert copy.profile() == profiler.profile()
    assert copy.profile().shares["unfamiliar"] == 0.4
    assert "unfamiliar" not in profile_of([make_row("a")]).shares


def test_parts_of_earlier_versions_have_no_count_of_unfamiliar_photos():
    content = json.loads(Profiler().as_text())
    copy = Profiler()
    copy.add_text(json.dumps({name: value for name, value in content.items() if name not in ("rated", "unfamiliar")}))
    assert (copy.rated, copy.unfamiliar) == (0, 0)


def test_unfamiliar_photos_that_pile_up_are_news():
    (tonight,) = usual(0.91, unfamiliar=0.3)
    found = drift_warnings(tonight, usual(0.90, 0.92, 0.91, unfamiliar=0.01))
    assert found == ["unfamiliar: 30.0% of the photos, usually 0.0% to 4.0%"]
    assert drift_warnings(tonight, usual(0.90, 0.92, 0.91)) == [], "nothing was compared before"


def test_runs_under_another_decision_count_but_for_its_shares(tmp_path):
    runs = tmp_path / "runs"
    runs.mkdir()
    for number, fingerprint in enumerate(("a", "a-1", "a-2", "b-1")):
        (profile,) = usual(0.1 * number, **{"decision reject": 0.5})
        run_id = f"2026010{number + 1}T000000Z"
        record = make_record(tmp_path, run_id=run_id, fingerprint=fingerprint, profile=profile.as_json())
        (runs / f"{run_id}.json").write_text(json.dumps(record.as_json()))
    profiles = earlier_profiles(tmp_path, "a-1", most=5)
    assert [profile.averages["score"].mean for profile in profiles] == pytest.approx([0.2, 0.1, 0.0])
    assert ["decision reject" in profile.shares for profile in profiles] == [False, True, False]


@pytest.mark.parametrize(("photos", "runs"), [(19, 5), (1000, 2)])
def test_too_little_to_tell(photos, runs):
    (tonight,) = usual(0.1, photos=photos)
    assert drift_warnings(tonight, usual(*[0.9] * runs)) == []


def test_only_runs_of_the_same_settings_count(tmp_path):
    runs = tmp_path / "runs"
    runs.mkdir()
    for number, fingerprint in enumerate(("a", "b", "a", "a")):
        (profile,) = usual(0.1 * number, photos=10 if number == 0 else 100)
        run_id = f"2026010{number + 1}T000000Z"
        record = make_record(tmp_path, run_id=run_id, fingerprint=fingerprint, profile=profile.as_json())
        (runs / f"{run_id}.json").write_text(json.dumps(record.as_json()))
    (runs / "20260109T000000Z.json").write_text("[]")
    profiles = earlier_profiles(tmp_path, "a", most=5)
    assert profiles == usual(0.1 * 3, photos=100) + usual(0.1 * 2, photos=100)
    assert len(earlier_profiles(tmp_path, "a", most=1)) == 1


def test_camera_out_of_focus_is_seen_in_the_record(tmp_path, tiny_vit, caplog):
    """Nights of sharp photos, then one of blurred ones."""
    caplog.set_level(logging.WARNING)
    photos, out = tmp_path / "photos", tmp_path / "out"
    photos.mkdir()
    config = pipeline.RunConfig(input=photos, out=out, model=str(tiny_vit), workers=1, overlay_size=None)
    for night in range(5):
        for name in save_photos(photos / f"night-{night}", 40, seed=night):
            if night == 4:
                file = photos / f"night-{night}" / name
                Image.open(file).filter(ImageFilter.GaussianBlur(20)).save(file)
        summary = pipeline.run(config)
        assert bool(summary.changes) == (night == 4)
    record = json.loads((out / "runs" / f"{summary.run_id}.json").read_text())
    assert record["changes"] == list(summary.changes)
    assert record["profile"]["photos"] == 40
    assert f"unlike earlier runs: {summary.changes[0]}" in caplog.text
    assert pipeline.run(config).changes == [], "nothing to do is nothing new"


def test_rows_of_failed_photos_have_no_numbers():
    failed = replace(make_row("a"), status="failed", label=None, score=None, attention=None)
    assert profile_of([failed]).averages == {}
