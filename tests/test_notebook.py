"""A model in a notebook: images of every kind in, labels and maps as of a run out."""

import numpy as np
import pytest
from PIL import Image

import pipeline
from pipeline.errors import ConfigError, ModelError, PhotoError
from tests.helpers.image_files import smooth_photo, with_orientation
from tests.helpers.photos import save_photos


@pytest.fixture(scope="module")
def model(tiny_vit):
    return pipeline.load_model(str(tiny_vit), precision="fp32", device="cpu")


@pytest.fixture
def photos(tmp_path):
    names = save_photos(tmp_path / "photos", 3)
    return [tmp_path / "photos" / name for name in names]


def test_predictions_are_those_of_a_run(tmp_path, tiny_vit, model, photos):
    pipeline.run(
        input=tmp_path / "photos", out=tmp_path / "out", model=str(tiny_vit), precision="fp32", device="cpu",
        report=False,
    )  # fmt: skip
    table = pipeline.read_results(tmp_path / "out")
    predictions = model.predict(photos)
    for prediction, row in zip(predictions, table.itertuples(), strict=True):
        assert prediction.label == row.label
        assert prediction.score == pytest.approx(row.score, abs=1e-6)
        assert list(prediction.top_labels) == list(row.top_labels)
        np.testing.assert_allclose(prediction.logits, row.logits, atol=1e-5)
        np.testing.assert_allclose(prediction.map, np.reshape(row.attention, (row.grid_h, row.grid_w)), atol=1e-6)
        assert list(prediction.map_box) == list(row.map_box)
        with Image.open(tmp_path / "out" / row.overlay) as overlay:
            difference = np.asarray(prediction.overlay(), dtype=int) - np.asarray(overlay, dtype=int)
        assert np.abs(difference).max() <= 1  # of maps that differ by rounding


def test_paths_pictures_and_arrays_give_the_same(model, photos):
    with Image.open(photos[0]) as opened:
        picture = opened.convert("RGB")
    kinds = [photos[0], str(photos[0]), picture, np.asarray(picture)]
    first, *others = model.predict(kinds)
    for other in others:
        np.testing.assert_allclose(other.logits, first.logits, atol=1e-5)
        np.testing.assert_allclose(other.map, first.map, atol=1e-6)
        assert np.array_equal(other.photo, first.photo)


@pytest.mark.parametrize("shape", [(40, 30), (40, 30, 3), (40, 30, 4)])
def test_one_array_of_any_layout(model, shape):
    (prediction,) = model.predict(np.full(shape, 200, np.uint8))
    assert prediction.overlay().size == (30, 40)


def test_a_stack_of_arrays_is_several_images(model):
    random = np.random.default_rng(0)
    assert len(model.predict(random.integers(0, 256, (5, 40, 30, 3), dtype=np.uint8))) == 5


def test_a_turned_picture_is_turned_upright(model, tmp_path):
    file = tmp_path / "turned.jpg"
    file.write_bytes(with_orientation(smooth_photo(40, 60), "JPEG", 6))
    with Image.open(file) as picture:
        from_file, from_picture = model.predict([file, picture])
    assert from_file.photo.shape == from_picture.photo.shape == (60, 40, 3)
    np.testing.assert_allclose(from_file.logits, from_picture.logits, atol=0.05)


def test_nothing_to_predict(model):
    assert model.predict([]) == []


def test_a_label_to_explain(tiny_vit, photos):
    explaining = pipeline.load_model(str(tiny_vit), method="libragrad", precision="fp32", device="cpu")
    first, second = (explaining.predict(photos[0], target=label)[0] for label in explaining.labels[:2])
    assert (first.target, second.target) == explaining.labels[:2]
    assert np.abs(first.map - second.map).max() > 1e-6
    assert explaining.predict(photos[0])[0].target == explaining.predict(photos[0])[0].label
    with pytest.raises(ConfigError, match="target = clas-0: is not a class of the model, which knows class-0"):
        explaining.predict(photos[0], target="clas-0")


def test_what_cannot_be_predicted_is_named(model, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no photo")
    with pytest.raises(PhotoError, match=r"broken.png: not an image of a supported format"):
        model.predict([broken])
    with pytest.raises(PhotoError, match=r"image 2: is an array of float64; give a path, a PIL image or an array of"):
        model.predict([np.zeros((8, 8), np.uint8), np.zeros((8, 8))])
    with pytest.raises(PhotoError, match="image 1: is of type int; give a path"):
        model.predict([3])
    with pytest.raises(ConfigError, match="rollout gives the same map for every label"):
        model.predict([broken], target="class-0")


def test_wrong_settings_are_refused_before_anything_is_loaded():
    with pytest.raises(ConfigError, match="method = rolout: must be"):
        pipeline.load_model("bundled", method="rolout")
    with pytest.raises(ConfigError, match=r"inputsize: no such setting; did you mean input_size\?"):
        pipeline.load_model("bundled", inputsize=3)
    with pytest.raises(ModelError, match="no such folder"):
        pipeline.load_model("./nowhere")
