"""Photos unlike the training photos, and embeddings: from a run to its table, last lines, status and metrics."""

import json
import logging
import shutil

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pytest
from PIL import Image

import pipeline
from pipeline.errors import ModelError
from pipeline.explain.config import ExplainConfig
from pipeline.explain.explain import explain
from pipeline.model.checkpoint import BUNDLED
from pipeline.model.familiarity_file import FAMILIARITY_FILE
from pipeline.model.open import open_model
from pipeline.nightly.archives import nightly
from pipeline.nightly.config import read_config
from pipeline.nightly.metrics_file import write_metrics_file
from pipeline.records import UNFAMILIAR_FROM
from pipeline.report.status import format_status, read_status
from pipeline.results.run_record import read_run_record
from pipeline.settings import ModelSettings
from tests.helpers.archives import metrics_of
from tests.helpers.commands import run_vitrollout
from tests.helpers.familiarity import features_of, save_familiarity
from tests.helpers.models import save_tiny_vit
from tests.helpers.photos import make_photos, save_photos

KNOWN, STRANGE = 8, 12
SAMPLES = BUNDLED.parents[1] / "sample_images"


def save_alike_photos(folder, count, seed=0):
    """One scene under changing light, with noise; return the files."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(seed)
    scene = np.asarray(make_photos(1)[0].resize((48, 40)), np.float64)
    files = [folder / f"photo-{number:03d}.png" for number in range(count)]
    for file in files:
        photo = scene * random.uniform(0.9, 1.1) + random.normal(0, 3, scene.shape)
        Image.fromarray(photo.clip(0, 255).astype(np.uint8)).save(file)
    return files


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    """A model with statistics of photos of one scene, and photos of it and of others; not to be changed."""
    folder = tmp_path_factory.mktemp("familiarity")
    files = save_alike_photos(folder / "training", 300)
    save_familiarity(save_tiny_vit(folder / "model"), [Image.open(file) for file in files])
    save_alike_photos(folder / "photos", KNOWN, seed=1)
    save_photos(folder / "photos" / "strange", STRANGE, seed=2)
    return folder


@pytest.fixture
def model(material, tmp_path):
    """A copy of the model."""
    return shutil.copytree(material / "model", tmp_path / "model")


def run_photos(material, out, model=None, photos="photos", **more):
    settings = {"workers": 1, "precision": "fp32", "overlay_size": None, "batch_size": 5} | more
    return pipeline.run(input=material / photos, out=out, model=str(model or material / "model"), **settings)


def test_a_run_tells_known_from_strange_photos(material, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    summary = run_photos(material, tmp_path / "out", embeddings=True)
    frame = pipeline.read_results(tmp_path / "out").set_index("path")
    is_strange = frame.index.str.startswith("strange")
    assert ((frame["unfamiliar"] > UNFAMILIAR_FROM) == is_strange).all()
    assert frame["unfamiliar"].dtype == np.float32
    assert summary.unfamiliar == {"count": STRANGE, "share": 0.6}
    features = features_of(material / "model", [Image.open(material / "photos" / path) for path in frame.index])
    np.testing.assert_allclose(np.stack(frame["embedding"]), features, rtol=2e-3, atol=1e-3)
    assert np.stack(frame["embedding"]).dtype == np.float32
    (warning,) = [record for record in caplog.records if "learned from" in record.getMessage()]
    assert warning.getMessage() == "60% of these photos are unlike those that this model learned from"
    assert warning.levelno == logging.WARNING
    record = read_run_record(tmp_path / "out" / "runs" / f"{summary.run_id}.json")
    assert record.summary.unfamiliar == summary.unfamiliar
    assert record.profile["shares"]["unfamiliar"] == 0.6


def test_a_few_strange_photos_are_a_count(material, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    run_photos(material, tmp_path / "out", limit=10)
    (line,) = [record for record in caplog.records if "learned from" in record.getMessage()]
    assert line.getMessage() == "2 of 10 photos are unlike those that this model learned from"
    assert line.levelno == logging.INFO


def test_two_devices_say_what_one_says_in_the_last_line_and_status(material, tmp_path):
    arguments = ["--model", material / "model", "--precision", "fp32", "--device", "cpu", "--devices", 2]
    arguments += ["--batch-size", 2, "--part-rows", 4, "--embeddings", "--overlay-size", "none"]
    done = run_vitrollout("run", material / "photos", "--out", tmp_path / "out", *arguments)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["unfamiliar"] == {"count": STRANGE, "share": 0.6}
    assert "60% of these photos are unlike those that this model learned from" in done.stderr
    run_photos(material, tmp_path / "one", embeddings=True)
    one, two = (pipeline.read_results(tmp_path / name, ["path", "unfamiliar", "embedding"]) for name in ("one", "out"))
    pd.testing.assert_frame_equal(one, two, rtol=2e-3, atol=2e-3)
    status = format_status(read_status(tmp_path / "out"))
    assert "newest run: 60% of these photos are unlike those that this model learned from" in status
    assert f"unfamiliar: {STRANGE} of {KNOWN + STRANGE} photos are unlike those that this model learned from" in status
    assert read_status(tmp_path / "out").as_json()["unfamiliar"]["table"]["unfamiliar"] == STRANGE
    assert read_status(tmp_path / "out").as_json()["runs"][0]["unfamiliar"]["count"] == STRANGE


def test_an_explanation_says_it_too(material, tmp_path, caplog):
    run_photos(material, tmp_path / "out")
    frame = pipeline.read_results(tmp_path / "out").set_index("path")["unfamiliar"]
    for path, is_strange in (("photo-000.png", False), ("strange/photo-0000.png", True)):
        caplog.clear()
        settings = {"image": material / "photos" / path, "model": str(material / "model"), "precision": "fp32"}
        assert explain(ExplainConfig(**settings)).unfamiliar == pytest.approx(frame[path], abs=1e-4)
        assert ("this photo is unlike those that the model learned from" in caplog.text) == is_strange


def test_a_model_without_statistics_rates_nothing(material, model, tmp_path):
    (model / FAMILIARITY_FILE).unlink()
    summary = run_photos(material, tmp_path / "out", model)
    frame = pipeline.read_results(tmp_path / "out")
    assert frame[["unfamiliar", "embedding"]].isna().all(axis=None)
    assert summary.unfamiliar is None
    assert "learned from" not in format_status(read_status(tmp_path / "out"))


def test_new_statistics_and_embeddings_run_photos_again(material, model, tmp_path):
    """And nothing else does: the same ones leave the table as it is."""
    out, total = tmp_path / "out", KNOWN + STRANGE
    file = model / FAMILIARITY_FILE
    content = file.read_bytes()
    file.unlink()
    assert run_photos(material, out, model).processed == total
    file.write_bytes(content)
    assert run_photos(material, out, model).processed == total
    again = run_photos(material, out, model)
    assert (again.processed, again.unfamiliar) == (0, {"count": 0, "share": 0.0})
    assert run_photos(material, out, model, embeddings=True).processed == total
    assert run_photos(material, out, model, embeddings=True).processed == 0


def test_statistics_of_other_weights_end_the_run(material, model, tmp_path):
    save_tiny_vit(model, seed=1)
    with pytest.raises(ModelError, match="it was made for other weights or another preprocessing"):
        run_photos(material, tmp_path / "out", model)
    assert not (tmp_path / "out" / "table").exists()


def test_another_input_size_is_worth_a_warning(material, tmp_path, caplog):
    run_photos(material, tmp_path / "out", input_size=(40, 48))
    (warning,) = [record.getMessage() for record in caplog.records if FAMILIARITY_FILE in record.getMessage()]
    assert "was made with --input-size none: with --input-size 40x48 features differ" in warning
    assert pipeline.read_results(tmp_path / "out")["unfamiliar"].notna().all()


def test_the_table_opens_in_pandas_duckdb_and_polars(material, tmp_path):
    run_photos(material, tmp_path / "out", embeddings=True, part_rows=7)
    pipeline.compact(tmp_path / "out")
    table = tmp_path / "out" / "table"
    frame = pipeline.read_results(tmp_path / "out")
    expected = np.stack(frame["embedding"])
    by_pandas = pd.read_parquet(table).sort_values("path")
    np.testing.assert_array_equal(np.stack(by_pandas["embedding"]), expected)
    query = f"SELECT embedding::FLOAT[], unfamiliar FROM '{table}/*.parquet' ORDER BY path"
    by_duckdb = duckdb.sql(query).fetchall()
    np.testing.assert_allclose([row[0] for row in by_duckdb], expected.astype(float))
    assert [row[1] for row in by_duckdb] == frame["unfamiliar"].tolist()
    by_polars = pl.read_parquet(table).sort("path")
    np.testing.assert_allclose(by_polars["embedding"].to_list(), expected.astype(float))


def test_metrics_count_unfamiliar_photos(material, tmp_path):
    text = 'metrics_file = "night.prom"\n[defaults]\nworkers = 1\noverlay_size = "none"\n'
    for name, statistics in (("with", True), ("without", False)):
        model = shutil.copytree(material / "model", tmp_path / name)
        if not statistics:
            (model / FAMILIARITY_FILE).unlink()
        text += f'[[archive]]\nname = "{name}"\ninput = "{material}/photos"\nout = "out-{name}"\nmodel = "{model}"\n'
        text += f"embeddings = {str(statistics).lower()}\n"
    (tmp_path / "nightly.toml").write_text(text)
    config = read_config(tmp_path / "nightly.toml")
    write_metrics_file(config, nightly(config))
    metrics = metrics_of(tmp_path / "night.prom")
    assert metrics['vitrollout_photos_unfamiliar{archive="with"}'] == STRANGE
    assert 'vitrollout_photos_unfamiliar{archive="without"}' not in metrics
    assert pipeline.read_results(tmp_path / "out-with")["embedding"].notna().all()


def test_a_notebook_looks_a_new_photo_up_in_the_table(material, tmp_path):
    run_photos(material, tmp_path / "out", embeddings=True)
    photo = material / "photos" / "strange" / "photo-0003.png"
    (prediction,) = pipeline.load_model(str(material / "model"), device="cpu", precision="fp32").predict(photo)
    nearest = pipeline.analysis.nearest_photos(tmp_path / "out", prediction.features, count=3)
    assert nearest["path"].iloc[0] == "strange/photo-0003.png"
    row = pipeline.read_results(tmp_path / "out").set_index("path").loc["strange/photo-0003.png"]
    assert prediction.unfamiliar == pytest.approx(row["unfamiliar"], abs=1e-4)
    assert prediction.unfamiliar > UNFAMILIAR_FROM


def test_the_bundled_model_knows_boards_and_nothing_else(tmp_path):
    photos = shutil.copytree(SAMPLES, tmp_path / "photos", ignore=shutil.ignore_patterns("*.md", "*.csv", "LICENSE"))
    save_photos(photos / "strange", 4, size=(224, 224))
    summary = pipeline.run(input=photos, out=tmp_path / "out", embeddings=True, overlay_size=None)
    frame = pipeline.read_results(tmp_path / "out").set_index("path")
    is_strange = frame.index.str.startswith("strange")
    assert (frame["unfamiliar"][is_strange] > UNFAMILIAR_FROM).all(), frame["unfamiliar"]
    assert (frame["unfamiliar"][~is_strange] <= UNFAMILIAR_FROM).sum() >= 19, frame["unfamiliar"]
    assert summary.unfamiliar["count"] in (4, 5)
    assert set(map(len, frame["embedding"])) == {768}


def test_statistics_of_the_bundled_model_are_its_own(tmp_path):
    """Fitted again on views of the sample images, in a copy; a changed preprocessor is another model."""
    model = shutil.copytree(BUNDLED, tmp_path / "model")
    boards = [Image.open(file).convert("RGB") for file in sorted(SAMPLES.glob("board-*.png"))]
    fitted = save_familiarity(model, boards)
    settings_of_a_run = ModelSettings(model=str(model))
    assert open_model(settings_of_a_run).read_familiarity().digest() == fitted.digest()
    settings = json.loads((model / "preprocessor_config.json").read_text())
    (model / "preprocessor_config.json").write_text(json.dumps(settings | {"resample": 2}))
    with pytest.raises(ModelError, match="it was made for other weights or another preprocessing"):
        open_model(settings_of_a_run).read_familiarity()
