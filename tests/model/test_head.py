"""What the outputs of a head mean: one class a photo, labels that hold together, one binary output, a measurement."""

import json
import shutil
from hashlib import blake2b

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from scipy.special import expit
from transformers import AutoImageProcessor, AutoModelForImageClassification

import pipeline
from pipeline.decision import combine_classes
from pipeline.errors import ModelError
from pipeline.evaluation.config import EvaluateConfig
from pipeline.evaluation.evaluate import evaluate
from pipeline.model.checkpoint import resolve_checkpoint
from pipeline.model.checkpoint_files import hash_pieces
from pipeline.model.head import read_head
from pipeline.training.backbone import build_classifier
from tests.helpers.models import TINY_MODELS, build_network, save_checkpoint
from tests.helpers.photos import save_photos

NAMES = ("ok", "scratch", "dent", "stain", "crack", "hole", "other")


@pytest.fixture
def checkpoint(tmp_path):
    """A function that saves a tiny checkpoint with a head of another kind."""

    def save(family, names, problem_type=None):
        labels = {"id2label": dict(enumerate(names)), "label2id": {name: index for index, name in enumerate(names)}}
        config = TINY_MODELS[family].config(**labels, problem_type=problem_type)
        network = build_network(TINY_MODELS[family].architecture, config)
        return save_checkpoint(tmp_path / "model", network, TINY_MODELS[family].preprocessing)

    return save


@pytest.fixture
def photos(tmp_path):
    save_photos(tmp_path / "photos", 4)
    return tmp_path / "photos"


def run_folder(photos, model, **settings):
    out = photos.parent / "out"
    pipeline.run(input=photos, out=out, model=str(model), precision="fp32", workers=1, report=False, **settings)
    return pipeline.read_results(out).set_index("path")


@torch.inference_mode()
def logits_of_transformers(photos, model):
    """By file name, from the checkpoint's own model and image processor."""
    network = AutoModelForImageClassification.from_pretrained(model).eval()
    processor = AutoImageProcessor.from_pretrained(model, backend="pil")
    images = {file.name: processor(Image.open(file), return_tensors="pt") for file in sorted(photos.iterdir())}
    return {name: network(**inputs).logits[0].numpy() for name, inputs in images.items()}


@pytest.mark.parametrize("family", ["vit", "siglip"])
def test_a_multi_label_head_has_a_sigmoid_for_each_label(family, checkpoint, photos):
    model = checkpoint(family, NAMES, "multi_label_classification")
    rows = run_folder(photos, model)
    for name, logits in logits_of_transformers(photos, model).items():
        row, scores = rows.loc[name], expit(logits)
        best = np.argsort(-scores)[:5]
        assert row["label"] == NAMES[best[0]]
        assert row["score"] == pytest.approx(scores.max(), abs=1e-4)
        assert list(row["top_labels"]) == [NAMES[index] for index in best]
        np.testing.assert_allclose(row["top_scores"], scores[best], atol=1e-4)
        assert "sigmoid" in row["note"]


@pytest.mark.parametrize("problem_type", [None, "single_label_classification"])
def test_any_other_head_keeps_its_softmax_and_has_no_note(problem_type, checkpoint, photos):
    rows = run_folder(photos, checkpoint("vit", NAMES, problem_type))
    assert rows["note"].isna().all()
    exponents = np.exp(np.stack(rows["logits"]).astype(float))
    np.testing.assert_allclose(rows["score"], exponents.max(1) / exponents.sum(1), atol=1e-6)


@pytest.mark.parametrize(("family", "problem_type"), [("dinov2", None), ("beit", "multi_label_classification")])
def test_one_output_is_a_label_or_its_opposite(family, problem_type, checkpoint, photos):
    model = checkpoint(family, ("scratched",), problem_type)
    rows = run_folder(photos, model)
    for name, (logit,) in logits_of_transformers(photos, model).items():
        row = rows.loc[name]
        np.testing.assert_allclose(row["logits"], (logit, -logit), atol=1e-4)
        assert row["label"] == ("scratched" if logit > 0 else "not scratched")
        assert row["score"] == pytest.approx(expit(abs(logit)), abs=1e-4)
        assert sum(row["top_scores"]) == pytest.approx(1)


@pytest.mark.parametrize("method", ["legrad", "libragrad"])
def test_both_labels_of_one_output_can_be_explained(method, checkpoint, photos):
    model = checkpoint("vit", ("scratched",))
    rows = run_folder(photos, model, method=method, target="not scratched")
    assert set(rows["target"]) == {"not scratched"}
    assert all(np.abs(row).max() > 0 for row in rows["attention"])


@pytest.mark.parametrize("names", [("width",), ("width", "height")])
def test_a_regression_is_refused_before_anything_is_loaded(names, checkpoint, photos, monkeypatch):
    model = checkpoint("vit", names, "regression")
    monkeypatch.setattr("pipeline.model.open.OpenedModel.load", lambda *_, **__: pytest.fail("loaded"))
    with pytest.raises(ModelError, match=r"problem_type is regression: .* not classes; use a classifier"):
        run_folder(photos, model)


@pytest.mark.parametrize("problem_type", ["multi_label_classification", "regression"])
def test_a_training_writes_what_it_trained(problem_type, checkpoint):
    built = build_classifier(checkpoint("vit", NAMES, problem_type), ("ok", "bad"), input_size=48, blocks=None, seed=0)
    assert built.model.config.problem_type == "single_label_classification"


def test_an_evaluation_takes_the_highest_defect_class(checkpoint, photos, tmp_path):
    model = checkpoint("vit", NAMES, "multi_label_classification")
    files = sorted(file.name for file in photos.iterdir())
    rows = [f"{name},{label}" for name, label in zip(files, ("ok", "ok", "dent", "crack"), strict=True)]
    (photos / "labels.csv").write_text("\n".join(["path,label", *rows]) + "\n")
    settings = {"precision": "fp32", "workers": 1, "resamples": 5, "positive": "dent,crack,hole"}
    result = evaluate(EvaluateConfig(data=photos / "labels.csv", model=str(model), out=tmp_path / "e", **settings))
    saved = pd.read_parquet(tmp_path / "e" / "predictions.parquet").set_index("path")
    (photos / "labels.csv").unlink()
    for name, logits in logits_of_transformers(photos, model).items():
        scores = expit(logits)
        assert saved.loc[name, "score"] == pytest.approx(scores.max(), abs=1e-4)
        assert saved.loc[name, "defect_score"] == pytest.approx(scores[[2, 4, 5]].max(), abs=1e-4)
    assert result.defect_score.max() <= 1


@pytest.mark.parametrize("names", [NAMES, ("scratched",)])
def test_rows_with_a_softmax_for_such_heads_are_done_again(names, checkpoint):
    """Earlier versions wrote them under the digest of the files alone."""
    folder = checkpoint("vit", names, "multi_label_classification")
    files = [folder / name for name in ("config.json", "preprocessor_config.json")]
    contents = [*(file.read_bytes() for file in files), *hash_pieces(folder / "model.safetensors")]
    earlier = blake2b(b"".join(contents), digest_size=16).hexdigest()
    assert resolve_checkpoint(str(folder)).digest() != earlier


def test_classes_are_combined_by_their_meaning():
    probabilities = np.array([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]])
    np.testing.assert_allclose(combine_classes(probabilities, [1, 2], "softmax"), [0.3, 0.9])
    np.testing.assert_allclose(combine_classes(probabilities, [1, 2], "sigmoid"), [0.2, 0.6])
    np.testing.assert_allclose(combine_classes(probabilities[0], [], "sigmoid"), 0)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"id2label": {"1": "a", "2": "b"}}, "2 names with the ids 1, 2, ...; number them from 0 to 1"),
        ({"id2label": {"0": "a", "1": "b", "3": "c"}}, "3 names with the ids 0, 1, 3, ...; number them from 0 to 2"),
        ({"id2label": {"0": "a", "00": "b"}}, "2 names"),
        ({"id2label": {"-1": "a", "0": "b"}}, "number them from 0 to 1"),
        ({"id2label": {"defect": "0"}}, "id2label: .*'defect'; correct it"),
        ({"id2label": {}}, "names no classes"),
        ({"id2label": ["a", "b"]}, "names no classes"),
        ({"id2label": {"0": "ok", "1": "\ud800"}}, "id2label: .*surrogates not allowed; correct it"),
        ({"num_labels": "many"}, "num_labels = 'many'"),
        ({"num_labels": 0}, "num_labels = 0"),
    ],
)
def test_names_that_do_not_fit_the_ids_are_refused(config, words):
    with pytest.raises(ValueError, match=words):
        read_head(config)


def test_a_command_refuses_gaps_in_the_ids_with_one_line(tiny_vit, photos, tmp_path):
    folder = shutil.copytree(tiny_vit, tmp_path / "copy")
    config = json.loads((folder / "config.json").read_text())
    config["id2label"] = {"1": "a", "2": "b", "3": "c"}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(
        ModelError, match=r"^--model .*copy: its config.json: id2label has 3 names with the ids 1, 2, 3"
    ):
        run_folder(photos, folder)
