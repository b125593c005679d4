"""Random damage to checkpoint folders: each is loaded right or refused with one line, and none ends in a traceback.

A seed is a case: `pytest -m fuzz -k 'checkpoints and 123'` tries number 123 again.
"""

import json
import random
import shutil
import warnings

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from pipeline.errors import VitrolloutError
from pipeline.maps.passes import MapPlan
from pipeline.model.check_checkpoint import check_checkpoint
from pipeline.model.checkpoint import resolve_checkpoint
from pipeline.model.load import load_classifier
from pipeline.photos.load_photo import model_pixels
from pipeline.training.backbone import build_classifier, build_processor
from tests.helpers.models import TINY_MODELS

FEW, MANY = range(40), range(40, 700)
PHOTO = np.random.default_rng(0).integers(0, 256, (37, 61, 3), dtype=np.uint8)

VALUES = (
    None, True, False, 0, 1, 2, 3, 5, 7, -1, 64, 10**9, 10**30, 0.5, -0.1, 1e300, float("nan"), float("inf"), "", "x",
    "48", "relu", "\ud800", [], {}, [1], [48, 48], [0.5, 0.5, 0.5], [None], {"height": 48}, {"shortest_edge": 50},
    {"a": {"b": []}}, "a" * 10_000,
)  # fmt: skip
ADDITIONS = (
    ("problem_type", "multi_label_classification"), ("problem_type", "regression"), ("problem_type", 3),
    ("return_dict", False), ("output_attentions", True), ("output_hidden_states", True), ("num_labels", 4),
    ("quantization_config", {}), ("quantization_config", {"quant_method": "x"}), ("auto_map", {"AutoConfig": "a.B"}),
    ("torch_dtype", "float8"), ("dtype", "int64"), ("transformers_weights", "other.safetensors"),
    ("transformers_weights", "../x.safetensors"), ("id2label", {"0": "a"}), ("id2label", None), ("architectures", []),
    ("architectures", ["BertModel"]), ("tie_word_embeddings", True), ("pruned_heads", {"0": [0]}),
    ("chunk_size_feed_forward", 2), ("is_decoder", True), ("per_layer_config", {"0": {"hidden_size": 3}}),
    ("attn_implementation", "flash_attention_2"), ("_attn_implementation_internal", "x"), ("fusion_config", {"x": 1}),
    ("do_pad", True), ("pad_size", {"height": 50, "width": 50}), ("crop_pct", 0.5), ("do_center_crop", True),
    ("crop_size", {"height": 3, "width": 3}), ("size", {"longest_edge": 40}), ("size", 48), ("data_format", "x"),
    ("image_processor_type", "EfficientNetImageProcessor"), ("image_processor_type", "Sam3ImageProcessor"),
    ("image_processor_type", "LayoutLMv3ImageProcessor"), ("image_processor_type", 5), ("return_tensors", "pt"),
    ("input_data_format", "channels_first"), ("device", "cuda"), ("do_convert_rgb", None), ("resample", "bicubic"),
)  # fmt: skip


def damage_json(draw, file):
    """Change one or two values anywhere in a JSON file, take keys away, or add some that mean something."""
    content = json.loads(file.read_text())
    for _ in range(draw.randint(1, 2)):
        if draw.random() < 0.3:
            name, value = draw.choice(ADDITIONS)
            content[name] = value
            continue
        parent, key = draw.choice([*list_places(content)])
        if draw.random() < 0.2:
            del parent[key]
        else:
            parent[key] = draw.choice(VALUES)
    file.write_text(json.dumps(content))


def list_places(content):
    entries = content.items() if isinstance(content, dict) else enumerate(content)
    for key, value in list(entries):
        yield content, key
        if isinstance(value, dict | list):
            yield from list_places(value)


def damage_weights(draw, file):
    """Rename, lose, reshape or spoil one tensor."""
    weights = load_file(file)
    name = draw.choice(sorted(weights))
    tensor = weights[name]
    change = draw.randrange(9)
    changed = {
        0: lambda: None,
        1: lambda: tensor.flatten(),
        2: lambda: tensor[None].contiguous(),
        3: lambda: tensor[:1].contiguous(),
        4: lambda: torch.zeros(0),
        5: lambda: tensor.long(),
        6: lambda: tensor * float("nan"),
        7: lambda: tensor.double(),
        8: lambda: torch.cat([tensor, tensor]),
    }[change]()
    del weights[name]
    if changed is not None:
        weights[draw.choice([name, name, name.upper(), f"module.{name}", name.replace(".", "/")])] = changed
    save_file(weights, file, metadata={"format": "pt"})


def damage_bytes(draw, file):
    content = bytearray(file.read_bytes())
    if draw.random() < 0.5:
        content = content[: draw.randrange(len(content))]
    else:
        for _ in range(3):
            content[draw.randrange(min(len(content), 3000))] = draw.randrange(256)
    file.write_bytes(content)


def damage(draw, folder):
    """Damage a file in one of four ways; configs most often, since most of the rules are about them."""
    config, preprocessor = folder / "config.json", folder / "preprocessor_config.json"
    weights = folder / "model.safetensors"
    kind = draw.choices(("config", "preprocessor", "weights", "bytes", "name"), (40, 30, 15, 10, 5))[0]
    if kind == "config":
        damage_json(draw, config)
    elif kind == "preprocessor":
        damage_json(draw, preprocessor)
    elif kind == "weights":
        damage_weights(draw, weights)
    elif kind == "bytes":
        damage_bytes(draw, draw.choice([config, preprocessor, weights]))
    else:
        file = draw.choice([config, preprocessor, weights])
        file.rename(folder / draw.choice(["model.fp16.safetensors", "pytorch_model.bin", "processor_config.json"]))


def use_in_run(folder):
    """What a run does with a model and a photo."""
    checkpoint = resolve_checkpoint(str(folder))
    checkpoint.digest()
    classifier = load_classifier(checkpoint, device="cpu", precision="fp32")
    pixels = model_pixels(PHOTO, classifier.load_spec())
    output = classifier.predict(torch.from_numpy(pixels[None]), MapPlan())
    assert output.logits.shape == (1, len(classifier.labels)) == (1, len(checkpoint.labels))
    assert output.maps["rollout"].shape == (1, *classifier.geometry.grid)
    assert len(classifier.geometry.map_box(61, 37)) == 4
    assert checkpoint.purpose


def use_in_training(folder):
    """What a training does before its first photo."""
    check_checkpoint(resolve_checkpoint(str(folder)))
    build_processor(folder, 48)
    build_classifier(folder, ["a", "b"], input_size=48, blocks=None, seed=0)


def check_seed(seed, tiny_checkpoint, folder):
    draw = random.Random(seed)
    shutil.copytree(tiny_checkpoint(draw.choice(sorted(TINY_MODELS))), folder)
    damage(draw, folder)
    for use in (use_in_run, use_in_training):
        refusal = find_refusal(use, folder)
        if refusal is not None:
            assert refusal.exit_code == 2
            assert "\n" not in str(refusal)
            assert len(str(refusal)) < 1500


def find_refusal(use, folder):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of numpy and torch, about the values
        try:
            use(folder)
        except VitrolloutError as error:
            return error
    return None


@pytest.mark.parametrize("seed", FEW)
def test_a_damaged_checkpoint_is_right_or_refused(seed, tiny_checkpoint, tmp_path):
    check_seed(seed, tiny_checkpoint, tmp_path / "model")


@pytest.mark.fuzz
@pytest.mark.parametrize("seed", MANY)
def test_many_damaged_checkpoints_are_right_or_refused(seed, tiny_checkpoint, tmp_path):
    check_seed(seed, tiny_checkpoint, tmp_path / "model")
