"""Heads and filmstrip of an explanation."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForImageClassification

from pipeline.explain.config import ExplainConfig
from pipeline.explain.explain import explain
from pipeline.maps.methods import ATTENTION_METHODS, METHODS
from tests.helpers import reference
from tests.helpers.models import TINY_MODELS
from tests.helpers.photos import make_photos

FAMILIES = list(TINY_MODELS)


@pytest.mark.parametrize("name", FAMILIES)
def test_heads_and_filmstrip_of_every_family(name, tiny_checkpoint, tmp_path):
    case, folder, file = TINY_MODELS[name], tiny_checkpoint(name), tmp_path / "photo.png"
    make_photos(1)[0].save(file)
    eager = AutoModelForImageClassification.from_pretrained(folder, attn_implementation="eager")
    inputs = AutoImageProcessor.from_pretrained(folder, backend="pil")(Image.open(file), return_tensors="pt")
    with torch.no_grad():
        layers = [layer[0].double().numpy() for layer in eager(**inputs, output_attentions=True).attentions]
    for layer in (1, 2, -1):
        explanation = explain(ExplainConfig(image=file, model=str(folder), precision="fp32", layer=layer))
        rows = layers[layer - 1 if layer > 0 else layer][:, list(case.readout) or slice(None)].mean(
            axis=1
        )  # (heads, N)
        assert explanation.layer == (layer if layer > 0 else 3)
        np.testing.assert_allclose(explanation.heads.reshape(4, -1), rows[:, case.prefix :], atol=1e-5)
        np.testing.assert_allclose(
            explanation.heads.sum(axis=(1, 2)) + rows[:, : case.prefix].sum(axis=1), 1, atol=1e-5
        )
    for depth, frame in enumerate(explanation.filmstrip, start=1):
        expected = reference.rollout_map(layers[:depth], (6, 6), prefix=case.prefix, readout=case.readout)
        np.testing.assert_allclose(frame, expected, atol=1e-5)


def test_methods_without_a_gradient_have_filmstrips_of_their_own(photo, tiny_vit):
    films = {
        method: explain(ExplainConfig(image=photo, model=str(tiny_vit), method=method)).film_method
        for method in METHODS
    }
    assert films == {method: method if method in ATTENTION_METHODS else "rollout" for method in METHODS}


@pytest.mark.parametrize("method", ATTENTION_METHODS)
def test_a_frame_is_the_map_of_a_model_cut_after_its_layer(photo, tiny_vit, tmp_path, method):
    settings = {"image": photo, "method": method, "precision": "fp32", "discard_ratio": 0.2}
    explanation = explain(ExplainConfig(model=str(tiny_vit), **settings))
    shutil.copytree(tiny_vit, tmp_path / "cut")
    config = json.loads((tmp_path / "cut" / "config.json").read_text())
    for depth, frame in enumerate(explanation.filmstrip, start=1):
        (tmp_path / "cut" / "config.json").write_text(json.dumps(config | {"num_hidden_layers": depth}))
        cut = explain(ExplainConfig(model=str(tmp_path / "cut"), **settings))
        np.testing.assert_array_equal(frame, cut.prediction.attention)
