"""Features at several depths, from one pass, against those of models really cut to these depths."""

import numpy as np
import pytest
import torch

from pipeline.errors import StoppedError
from pipeline.model.architecture import encoder_layers
from pipeline.model.features import join_features, record_head_inputs
from pipeline.training.backbone import build_classifier
from pipeline.training.data import PhotoBatch
from pipeline.training.depth_features import embed_photos
from pipeline.training.device import TrainingDevice
from tests.helpers.models import TINY_MODELS

CPU = TrainingDevice("cpu", "fp32")
DEPTHS = (1, 2, 3)


def draw_batches(*sizes):
    generator = torch.Generator().manual_seed(0)
    return [
        PhotoBatch(
            torch.randn(size, 3, 48, 48, generator=generator), torch.zeros(size, dtype=torch.int64), torch.ones(size)
        )
        for size in sizes
    ]


def build_cut(folder, blocks):
    return build_classifier(folder, ["a", "b"], input_size=48, blocks=blocks, seed=0).model.eval()


@pytest.mark.parametrize("name", TINY_MODELS)
def test_features_are_those_of_a_model_cut_to_that_depth(name, tiny_checkpoint):
    batches = draw_batches(3, 2)
    features = embed_photos(build_cut(tiny_checkpoint(name), None), batches, DEPTHS, CPU, lambda: False)
    assert features.shape[:2] == (len(DEPTHS), 5)
    for depth, actual in zip(DEPTHS, features, strict=True):
        model, rows = build_cut(tiny_checkpoint(name), depth), []
        for batch in batches:
            with torch.no_grad(), record_head_inputs(model) as read:
                model(pixel_values=batch.pixel_values)
            rows.append(join_features(read, len(batch.label_ids)).numpy())
        np.testing.assert_allclose(actual, np.concatenate(rows), rtol=1e-4, atol=1e-4)


def test_depths_come_in_the_order_asked_for(tiny_checkpoint):
    model, batches = build_cut(tiny_checkpoint("vit"), None), draw_batches(2)
    shallow, deep = embed_photos(model, batches, (1, 3), CPU, lambda: False)
    assert not np.allclose(shallow, deep)
    np.testing.assert_array_equal(embed_photos(model, batches, (3, 1), CPU, lambda: False), [deep, shallow])


def test_the_model_is_as_before(tiny_checkpoint):
    model, (batch,) = build_cut(tiny_checkpoint("vit"), None), draw_batches(2)
    with torch.no_grad():
        before = model(pixel_values=batch.pixel_values).logits
        embed_photos(model, [batch], DEPTHS, CPU, lambda: False)
        assert torch.equal(model(pixel_values=batch.pixel_values).logits, before)
    assert not any(layer._forward_hooks for layer in encoder_layers(model))


def test_stop_ends_the_pass(tiny_checkpoint):
    asked = []
    with pytest.raises(StoppedError, match="stopped before the training; run the same command again to go on"):
        embed_photos(
            build_cut(tiny_checkpoint("vit"), None),
            draw_batches(1, 1, 1),
            DEPTHS,
            CPU,
            lambda: bool(asked.append(1) or len(asked) == 2),
        )
    assert len(asked) == 2
