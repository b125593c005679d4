"""Trust: each measure against values worked out by hand, and the command from photos to files."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from safetensors.torch import load_file
from transformers import AutoImageProcessor, AutoModelForImageClassification

from jobs.trust import trust as command
from pipeline.errors import ConfigError, DataError, DecodeError, StoppedError
from pipeline.intervals import Estimate
from pipeline.maps.methods import BACKWARD, FORWARD
from pipeline.maps.passes import MapPlan
from pipeline.model.checkpoint import resolve_checkpoint
from pipeline.model.classifier import load_classifier
from pipeline.records import ImageRef, Sample
from pipeline.trust.baselines import BASELINES, baseline_maps
from pipeline.trust.config import TrustConfig
from pipeline.trust.deletion import Curve, partly_removed, patch_counts, ranks, without_content
from pipeline.trust.marked_photos import MarkedPhoto, choose_photos
from pipeline.trust.measure import trust
from pipeline.trust.pointing import point_on_grid, point_on_photo
from pipeline.trust.result import TrustReport
from pipeline.trust.sanity import likeness, with_shuffled_weights
from tests.helpers.tiny import save_photos

ROOT = Path(__file__).parents[2]
RNG = np.random.default_rng(0)
MAP = np.array([[0.1, 0.4], [0.2, 0.3]], np.float32)  # the order of cells: 1, 3, 2, 0


# Removal


def test_curve_area_by_hand():
    curve = Curve(np.array([0.0, 0.25, 1.0]), np.array([1.0, 0.2, 0.0]))
    assert curve.area == pytest.approx(0.25 * 0.6 + 0.75 * 0.1)


def test_points_lie_close_where_few_patches_are_gone():
    assert patch_counts(256, 4) == [0, 4, 16, 64, 256]
    assert patch_counts(2, 4)[0] == 0
    assert patch_counts(2, 4)[-1] == 2


def test_the_hottest_cell_has_rank_0_and_cells_alike_are_drawn():
    np.testing.assert_array_equal(ranks(MAP, RNG), [[3, 0], [2, 1]])
    even = np.zeros((4, 4), np.float32)
    drawn = [ranks(even, np.random.default_rng(seed)).ravel().tolist() for seed in range(3)]
    assert all(sorted(order) == list(range(16)) for order in drawn)
    assert drawn[0] != drawn[1]


@pytest.mark.parametrize("order", ["deletion", "insertion"])
def test_patches_go_and_come_back_hottest_first(order):
    pixels = np.full((3, 5, 4), 200, np.uint8)  # the fifth row is beyond the last whole patch
    empty = np.zeros_like(pixels)
    (one, three) = partly_removed(pixels, empty, ranks(MAP, RNG), [1, 3], patch_size=2, order=order)
    gone = np.zeros((2, 5, 4), bool)
    gone[0, 0:2, 2:4] = True  # cell 1
    gone[1, 0:4] = True
    gone[1, 0:2, 0:2] = False  # all but cell 0
    expected = np.where(gone, 0, 200) if order == "deletion" else np.where(gone, 200, 0)
    np.testing.assert_array_equal(one[0, :4], expected[0, :4])
    np.testing.assert_array_equal(three[0, :4], expected[1, :4])
    assert (one[0] == one[1]).all()
    assert (one[0] == one[2]).all()


def test_fills_take_the_content_and_leave_the_colour():
    pixels = np.zeros((3, 64, 64), np.uint8)
    pixels[:, ::2] = 200
    pixels[0] //= 2
    mean, blurred = without_content(pixels, "mean"), without_content(pixels, "blur")
    assert mean.shape == blurred.shape == pixels.shape
    assert {tuple(colour) for colour in mean.reshape(3, -1).T.tolist()} == {(50, 100, 100)}
    assert np.ptp(blurred[1, 16:-16].astype(int)) < 20  # stripes of 200 before
    assert blurred[1].mean() == pytest.approx(100, abs=3)


# Pointing


def outline_of(*boxes, size=(40, 40)):
    inside = np.zeros(size, bool)
    for x0, y0, x1, y1 in boxes:
        inside[y0:y1, x0:x1] = True
    return inside


def test_pointing_on_the_grid_by_hand():
    box = (0.0, 0.0, 40.0, 40.0)
    found = point_on_grid(MAP, box, outline_of((20, 0, 40, 20)))  # just the hottest cell
    assert (found.hit, found.average_precision) == (1, 1)
    assert found.mass == pytest.approx(0.4)
    found = point_on_grid(MAP, box, outline_of((0, 20, 20, 40)))  # cell 2, third hottest
    assert found.hit == 0
    assert found.average_precision == pytest.approx(1 / 3)
    found = point_on_grid(MAP, box, outline_of((0, 20, 10, 30)))  # a quarter of it: most so of all
    assert found.average_precision == pytest.approx(1 / 3)
    assert found.mass == pytest.approx(0.2 / 4)
    half = point_on_grid(MAP, box, outline_of((0, 0, 30, 20)))  # the whole of cell 0, half of cell 1
    assert half.hit == 1
    assert half.mass == pytest.approx(0.1 + 0.4 / 2)


def test_of_cells_as_hot_the_share_counts():
    even = np.ones((2, 2), np.float32)
    assert point_on_grid(even, (0.0, 0.0, 40.0, 40.0), outline_of((20, 0, 40, 20))).hit == 1 / 4


def test_what_the_map_does_not_cover_is_not_asked_for():
    middle = (10.0, 0.0, 30.0, 40.0)  # a centre crop
    assert point_on_grid(MAP, middle, outline_of((0, 0, 9, 40))) is None
    assert point_on_photo(MAP, middle, outline_of((0, 0, 9, 40))) is None
    assert point_on_grid(MAP, middle, outline_of((0, 0, 40, 40))) is None  # nothing is outside the defect
    assert point_on_photo(MAP, middle, outline_of((0, 0, 40, 40))) is None
    seen = point_on_grid(MAP, middle, outline_of((0, 0, 20, 20)))  # of this, only x from 10: cell 0
    assert seen.mass == pytest.approx(0.1)


def test_a_map_that_reaches_beyond_the_photo():
    padded = (-20.0, 0.0, 60.0, 40.0)
    found = point_on_grid(MAP, padded, outline_of((20, 0, 40, 20)))
    assert found.hit == 1
    assert found.mass == pytest.approx(0.4 * 0.5 / 0.5)  # all pixels of the cell that the photo has
    assert point_on_photo(MAP, padded, outline_of((20, 0, 40, 20))).hit == 1


def test_pointing_on_the_photo():
    sharp = np.zeros((8, 8), np.float32)
    sharp[2, 5] = 1
    found = point_on_photo(sharp, (0.0, 0.0, 80.0, 80.0), outline_of((50, 20, 60, 30), size=(80, 80)))
    assert found.hit == 1
    assert 0.4 < found.mass < 1  # bicubic: some lies beside the cell
    assert found.average_precision > 0.9
    elsewhere = point_on_photo(sharp, (0.0, 0.0, 80.0, 80.0), outline_of((10, 60, 20, 70), size=(80, 80)))
    assert (elsewhere.hit, round(elsewhere.mass, 3)) == (0, 0)


def sample(width, height, pixels=None):
    return Sample(ImageRef("a.png", None, "a.png", 0, 0), "", width, height, None, pixels, None)


def test_outlines_of_boxes_at_a_reduced_size():
    photo = MarkedPhoto(ImageRef("a.png", None, "a.png", 0, 0), boxes=((100, 200, 300, 400), (900, 0, 1024, 100)))
    outline = photo.outline(sample(1024, 768))
    assert outline.shape == (384, 512)
    np.testing.assert_array_equal(outline, outline_of((50, 100, 150, 200), (450, 0, 512, 50), size=(384, 512)))


def test_a_small_defect_of_a_large_photo_stays(tmp_path):
    ref = ImageRef("a.png", None, "a.png", 0, 0)
    mask = np.zeros((3000, 4000), np.uint8)
    mask[1000:1003, 2000:2003] = 255
    Image.fromarray(mask).save(tmp_path / "a.png")
    for photo in (MarkedPhoto(ref, boxes=((2000, 1000, 2003, 1003),)), MarkedPhoto(ref, mask=tmp_path / "a.png")):
        assert np.argwhere(photo.outline(sample(4000, 3000))).tolist() == [[128, 256]]


def test_masks_are_read_and_checked(tmp_path):
    mask = np.zeros((30, 40), np.uint8)
    mask[5:10, 20:30] = 1  # as label images have it
    Image.fromarray(mask).save(tmp_path / "a.png")
    photo = MarkedPhoto(ImageRef("a.png", None, "a.png", 0, 0), mask=tmp_path / "a.png")
    np.testing.assert_array_equal(photo.outline(sample(40, 30)), outline_of((20, 5, 30, 10), size=(30, 40)))
    with pytest.raises(DecodeError, match="its mask has 40 x 30 pixels, it 30 x 40"):
        photo.outline(sample(30, 40))


# Baselines and sanity


def test_baselines():
    pixels = np.zeros((3, 34, 32), np.uint8)
    pixels[:, 20:, :] = 255
    maps = baseline_maps(pixels, (4, 4), 8, np.random.default_rng(3))
    assert list(maps) == list(BASELINES)
    assert (maps["edges"].argmax(axis=0) == 2).all()
    gaussian = maps["gaussian"]
    np.testing.assert_allclose(gaussian, gaussian[::-1, ::-1], rtol=1e-6)
    assert gaussian[1, 1] > gaussian[0, 1] > gaussian[0, 0]
    np.testing.assert_array_equal(maps["random"], baseline_maps(pixels, (4, 4), 8, np.random.default_rng(3))["random"])


def test_shuffled_weights_are_the_same_values_elsewhere(tiny_vit):
    classifier = load_classifier(resolve_checkpoint(str(tiny_vit)), device="cpu", precision="fp32")
    before = {name: weights.clone() for name, weights in classifier.network.state_dict().items()}
    shuffled = with_shuffled_weights(classifier, seed=0)
    for name, weights in shuffled.network.state_dict().items():
        assert torch.equal(classifier.network.state_dict()[name], before[name])  # untouched
        assert torch.equal(weights.flatten().sort().values, before[name].flatten().sort().values)
    pixels = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    mine, other = (one.predict(pixels, MapPlan(("rollout",))) for one in (classifier, shuffled))
    assert not np.allclose(mine.logits, other.logits)
    assert not np.allclose(mine.maps["rollout"], other.maps["rollout"])


def test_likeness_is_of_ranks():
    assert likeness(MAP, MAP**3) == pytest.approx(1)
    assert likeness(MAP, -MAP) == pytest.approx(-1)
    assert np.isnan(likeness(MAP, np.ones((2, 2), np.float32)))


# The whole


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Twelve photos of 40x48 with a box each, in a CSV, and one without."""
    folder = tmp_path_factory.mktemp("photos")
    names = save_photos(folder, 13)
    with (folder / "labels.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["path", "x0", "y0", "x1", "y1"])
        table.writerows([name, 4, 4, 20, 20] for name in names[:12])
        table.writerow([names[12], "", "", "", ""])
    return folder


@pytest.fixture(scope="module")
def measured(photos, tiny_vit, tmp_path_factory):
    """One measurement of everything, for all tests that only look at it."""
    out = tmp_path_factory.mktemp("trust")
    config = TrustConfig(data=photos / "labels.csv", model=str(tiny_vit), out=out, precision="fp32", steps=3)
    return trust(config), out


def test_every_map_is_measured_and_written(measured):
    found, out = measured
    methods = [*FORWARD, *BACKWARD, *BASELINES]
    table = pd.read_parquet(out / "trust.parquet")
    assert len(table) == 12 * len(methods)
    assert set(table["method"]) == set(methods)
    report = json.loads((out / "trust.json").read_text())
    assert (report["photos"], report["failed"], report["pointed"]) == (12, 0, 12)
    assert report["sentence"] == found.sentence
    for method in methods:
        mean = table[table["method"] == method].mean(numeric_only=True)
        for name in ("deletion_blur", "insertion_mean", "faithfulness", "hit_grid", "mass_photo"):
            estimate = report["methods"][method][name]
            assert estimate["value"] == pytest.approx(mean[name])
            assert estimate["low"] <= estimate["value"] <= estimate["high"]
        assert (report["methods"][method]["seconds_per_image"] is None) == (method in BASELINES)
    markdown = (out / "trust.md").read_text()
    assert all(f"| {method} |" in markdown for method in methods)
    with Image.open(out / "trust.png") as picture:
        assert picture.size == (1900, 540)


def test_maps_of_the_forward_pass_are_the_same_for_another_label(measured):
    found, _ = measured
    for method in FORWARD:
        assert found.estimates[method]["other_label"].value == 1
    for method in BACKWARD:
        assert found.estimates[method]["other_label"].value < 0.99
        assert found.estimates[method]["shuffled_weights"].value < 0.9


def test_deletion_against_plain_transformers(photos, measured, tiny_vit):
    """The model's own pipeline on pictures that are cut by hand."""
    found, _ = measured
    (one,) = [one for one in found.maps if one.path == "photo-0003.png" and one.method == "edges"]
    processor = AutoImageProcessor.from_pretrained(tiny_vit, backend="pil")
    network = AutoModelForImageClassification.from_pretrained(tiny_vit)
    with Image.open(photos / one.path) as image:
        pixels = processor(image, do_rescale=False, do_normalize=False)["pixel_values"][0].astype(np.uint8)
    edges = baseline_maps(pixels, (4, 4), 8, RNG)["edges"].ravel()
    cuts = []
    for count in patch_counts(16, 3):
        cut = pixels.copy()
        for cell in np.argsort(-edges)[:count]:
            y, x = 8 * (cell // 4), 8 * (cell % 4)
            cut[:, y : y + 8, x : x + 8] = pixels.mean(axis=(1, 2)).round().astype(np.uint8)[:, None, None]
        cuts.append((cut / 255 - 0.5) / 0.5)
    with torch.no_grad():
        scores = network(torch.from_numpy(np.stack(cuts)).float()).logits.softmax(dim=1)
    target = int(scores[0].argmax())
    assert one.target == f"class-{target}"
    np.testing.assert_allclose(one.curves["deletion_mean"].scores, scores[:, target].numpy(), atol=1e-4)


def estimates(**gains):
    nothing = {"shuffled_weights": Estimate(0.1), "other_label": Estimate(0.1), "hit_grid": Estimate(float("nan"))}
    return {
        name.replace("_", "-"): nothing | {"faithfulness": Estimate(gain, gain - 0.01, gain + 0.01)}
        for name, gain in gains.items()
    }


def verdict(found):
    seconds = {method: 0.1 for method in found if method not in BASELINES}
    return TrustReport([], found, seconds, photos=9, failed=0, pointed=0)


def test_the_sentence_names_the_best_method_and_those_as_good():
    found = estimates(rollout=0.5, relevance=0.7, libragrad=0.71, legrad=0.2, random=0, gaussian=0.3, edges=0.4)
    assert verdict(found).trusted == ["libragrad", "relevance", "rollout"]
    sentence = verdict(found).sentence
    assert sentence.startswith("Use libragrad: of 4 methods")
    assert "the best baseline, edges: 0.400" in sentence
    assert "; relevance can't be told from it." in sentence


def test_no_method_is_named_where_none_beats_the_baselines():
    found = estimates(rollout=0.41, relevance=0.405, random=0, gaussian=0.3, edges=0.4)
    assert verdict(found).trusted == []
    assert verdict(found).sentence.startswith("None of the 2 methods")


def test_a_method_that_fails_a_sanity_check_is_not_named():
    found = estimates(relevance=0.9, rollout=0.8, libragrad=0.7, random=0, gaussian=0.3, edges=0.4)
    found["relevance"]["other_label"] = Estimate(0.99)
    found["rollout"]["shuffled_weights"] = Estimate(0.8)
    assert verdict(found).trusted == ["libragrad"]
    sentence = verdict(found).sentence
    assert "relevance does not depend on the label." in sentence
    assert "rollout does not depend on what the model has learnt." in sentence


def test_only_maps_of_the_right_label_must_point(photos, tiny_vit, tmp_path):
    table = pd.read_csv(photos / "labels.csv")
    first = trust(TrustConfig(data=photos / "labels.csv", model=str(tiny_vit), out=tmp_path / "a",
                              methods="attention", steps=2, precision="fp32"))  # fmt: skip
    target = {one.path: one.target for one in first.maps}
    table["label"] = [target.get(path, "class-0") for path in table["path"]]
    wrong = next(label for label in ("class-0", "class-1", "class-2") if label != table["label"][5])
    table.loc[5, "label"] = wrong
    for row in table.itertuples():
        shutil.copy(photos / row.path, tmp_path)
    table.to_csv(tmp_path / "labels.csv", index=False)
    found = trust(TrustConfig(data=tmp_path / "labels.csv", model=str(tiny_vit), out=tmp_path / "b",
                              methods="attention", steps=2, precision="fp32"))  # fmt: skip
    assert (first.pointed, found.pointed, found.photos) == (12, 11, 12)


def test_a_folder_with_masks(photos, tiny_vit, tmp_path):
    for name in ("photo-0000.png", "photo-0001.png", "photo-0002.png"):
        shutil.copy(photos / name, tmp_path)
    (tmp_path / "masks").mkdir()
    mask = np.zeros((40, 48), np.uint8)
    mask[:20, :20] = 255
    Image.fromarray(mask).save(tmp_path / "masks" / "photo-0000.png")
    Image.fromarray(mask[:30]).save(tmp_path / "masks" / "photo-0001.png")  # of another size
    result = CliRunner().invoke(command, [str(tmp_path), "--model", str(tiny_vit), "--out", str(tmp_path.parent / "o"),
                                          "--methods", "rollout", "--steps", "2"])  # fmt: skip
    assert result.exit_code == 3
    summary = json.loads(result.stdout.splitlines()[-1])
    assert (summary["photos"], summary["failed"], summary["pointed"]) == (1, 1, 1)


def test_marks_that_mark_nothing_are_named(photos, tiny_vit, tmp_path, caplog):
    boxes = tmp_path / "boxes.csv"

    def measured(rows, **settings):
        boxes.write_text(rows)
        config = TrustConfig(data=photos, model=str(tiny_vit), out=tmp_path / "out", methods="rollout", steps=2,
                             limit=2, precision="fp32", boxes=boxes, **settings)  # fmt: skip
        return trust(config)

    with pytest.raises(DataError, match="has the columns none of x0, y0, x1, y1"):
        measured("path,xmin,ymin,xmax,ymax\nphoto-0000.png,1,2,3,4\n")
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks" / "other.png").touch()
    head = "path,x0,y0,x1,y1\n"
    with pytest.raises(DataError, match=r"masks: no picture in .* is named as a photo"):
        measured(f"{head}photo-0000.png,1,2,3,4\n", masks=tmp_path / "masks")
    with pytest.raises(DataError, match="no photo can be read; 2 failed"):
        measured(f"{head}photo-0000.png,0.1,0.2,0.3,0.4\nphoto-0001.png,480,400,490,410\n")
    assert "left out photo-0000.png: its box 0.1, 0.2, 0.3, 0.4 is smaller than a pixel" in caplog.text
    assert "left out photo-0001.png: its box 480, 400, 490, 410 lies outside its 48 x 40 pixels" in caplog.text
    measured(f"{head}photo-0000.png,1,2,3,4\nphoto-0001.png,4,4,9,9\n")
    assert "measured on 2 photos only" in caplog.text


def test_a_folder_that_can_not_be_made_is_said_before_the_work(photos, tmp_path):
    (tmp_path / "file").touch()
    config = TrustConfig(data=photos, model=str(tmp_path / "not even looked for"), out=tmp_path / "file" / "trust")
    with pytest.raises(ConfigError, match=r"can't be written \(Not a directory\)"):
        trust(config)


def test_labels_that_the_model_does_not_know(photos, tiny_vit, tmp_path):
    table = pd.read_csv(photos / "labels.csv").assign(label="Class-1")
    for row in table.itertuples():
        shutil.copy(photos / row.path, tmp_path)
    table.to_csv(tmp_path / "labels.csv", index=False)
    with pytest.raises(DataError, match="'Class-1' of the data is no class of the model"):
        trust(TrustConfig(data=tmp_path / "labels.csv", model=str(tiny_vit), out=tmp_path / "out"))


def test_photos_are_drawn_with_a_seed(photos):
    def chosen(**settings):
        return [one.ref.path for one in choose_photos(TrustConfig(data=photos, out="trust", **settings))]

    assert len(chosen()) == 13
    assert chosen(limit=4, seed=1) == chosen(limit=4, seed=1) == chosen(seed=1)[:4]
    assert chosen(limit=4, seed=2) != chosen(limit=4, seed=1)
    boxes = photos / "labels.csv"
    assert len(chosen(boxes=boxes)) == 12


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("name,x0\na,1\n", "has no column 'path', only name, x0"),
        ("path,x0,y0\na,1,2\n", "has the columns x0, y0 of x0, y0, x1, y1; a box needs all four"),
        ("path,x0,y0,x1,y1\na,1,2,3,4\nb,5,1,5,9\n", r"are no box in line 3 \(b\); correct the CSV"),
        ("path,x0,y0,x1,y1\na,1,2,3,four\n", r"are no box in line 2 \(a\)"),
        ("path,split\na,holdout\n", r"split is none of train, validation, test in line 2 \(a\)"),
        ("path\n", "holds no photos; name a folder of photos or a CSV"),
    ],
)
def test_a_wrong_csv_is_named(tmp_path, rows, message):
    (tmp_path / "data.csv").write_text(rows)
    with pytest.raises(DataError, match=message):
        choose_photos(TrustConfig(data=tmp_path / "data.csv", out=tmp_path / "out"))


def test_the_test_split_is_taken_by_itself(tmp_path):
    (tmp_path / "data.csv").write_text("path,split\na,train\nb,test\nc,val\n./d,test\n")

    def chosen(split):
        config = TrustConfig(data=tmp_path / "data.csv", split=split, out=tmp_path / "out")
        return sorted(one.ref.path for one in choose_photos(config))

    assert (chosen("auto"), chosen("validation"), chosen("all")) == (["b", "d"], ["c"], ["a", "b", "c", "d"])


def test_wrong_settings_are_named_together(tmp_path):
    with pytest.raises(ConfigError) as caught:
        TrustConfig(data=tmp_path, out=tmp_path / "in", methods="rollouts", masks=tmp_path / "no", boxes=tmp_path / "n")
    assert len(caught.value.problems) == 4


def test_told_to_stop_it_writes_what_it_has(photos, tiny_vit, tmp_path):
    asked = iter(range(1000))
    config = TrustConfig(data=photos, model=str(tiny_vit), out=tmp_path, methods="rollout", steps=2, batch_size=2)
    found = trust(config, stop=lambda: next(asked) > 12)
    assert 2 <= found.photos < 13
    assert json.loads((tmp_path / "trust.json").read_text())["photos"] == found.photos
    with pytest.raises(StoppedError, match="before two photos were measured"):
        trust(config, stop=lambda: True)


def test_a_signal_ends_the_command_with_what_it_has(photos, tiny_vit, tmp_path):
    arguments = ["trust", photos, "--model", tiny_vit, "--out", tmp_path / "out", "--steps", "100"]
    process = subprocess.Popen([sys.executable, "-m", "jobs.cli", *map(str, arguments), "--batch-size", "1"],
                               cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               env=os.environ | {"OMP_NUM_THREADS": "1"})  # fmt: skip
    for line in process.stderr:
        if "photos;" in line:  # what it does is known, and the signal is caught
            break
    process.send_signal(signal.SIGTERM)
    stdout, stderr = process.communicate()
    assert process.returncode == 143
    if "nothing was written" not in stderr:
        assert json.loads(stdout.splitlines()[-1])["photos"] < 13


def test_the_bundled_model_on_real_photos(tmp_path):
    """What its label-dependent map marks is what it looks at: far better than chance, and inside the boxes."""
    config = TrustConfig(
        data=ROOT / "sample_images" / "labels.csv", out=tmp_path, methods="libragrad", limit=6, steps=2
    )
    found = trust(config)
    gain = {method: of["faithfulness"].value for method, of in found.estimates.items()}
    assert gain["libragrad"] > gain["gaussian"]
    assert gain["libragrad"] > gain["random"] + 0.2
    assert found.estimates["libragrad"]["hit_grid"].value > 0.8
    assert abs(found.estimates["libragrad"]["shuffled_weights"].value) < 0.5
    assert found.estimates["libragrad"]["other_label"].value < 0.9


def test_weights_on_disk_stay(tiny_vit, photos, tmp_path):
    before = load_file(tiny_vit / "model.safetensors")
    trust(TrustConfig(data=photos, model=str(tiny_vit), out=tmp_path, methods="rollout", steps=2, limit=2))
    after = load_file(tiny_vit / "model.safetensors")
    assert all(torch.equal(before[name], after[name]) for name in before)
