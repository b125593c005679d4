"""From a model's name to a checkpoint that can be used, or to one line that says why not."""

import json
import os
import pickle
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import torch
import transformers
from click.testing import CliRunner
from safetensors.torch import load_file, save_file
from torch.nn.functional import conv2d, gelu, layer_norm, linear

import pipeline
from jobs import cli
from jobs.run import run_command
from pipeline.errors import ModelError
from pipeline.maps.passes import MapPlan
from pipeline.model.check_checkpoint import check_checkpoint
from pipeline.model.checkpoint import BUNDLED, Checkpoint, resolve_checkpoint
from pipeline.model.families import FAMILIES
from pipeline.model.load import load_classifier
from tests.helpers import reference
from tests.helpers.models import LABELS, TINY_MODELS, save_checkpoint
from tests.helpers.photos import make_photos, save_photos

CPU = torch.device("cpu")


@pytest.fixture
def folder(tiny_checkpoint, tmp_path):
    """A ViT checkpoint that a test may damage."""
    return shutil.copytree(tiny_checkpoint("vit"), tmp_path / "model")


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    save_photos(folder, 2)
    return folder


@pytest.fixture
def refusal(photos, tmp_path, monkeypatch):
    """Run with a model, make sure that it is refused before any photo is read, and return the message."""

    def no_photos(*_, **__):
        raise AssertionError("photos are read before the model is refused")

    monkeypatch.setattr(import_module("pipeline.work"), "PhotoLoader", no_photos)

    def refused(model):
        with pytest.raises(ModelError) as caught:
            pipeline.run(pipeline.RunConfig(input=photos, out=tmp_path / "out", model=str(model)))
        message = str(caught.value)
        assert caught.value.exit_code == 2
        assert message.startswith(f"--model {model}: ")
        assert "\n" not in message
        assert not list((tmp_path / "out").glob("table/*"))
        return message

    return refused


def load(folder, **options):
    return load_classifier(resolve_checkpoint(str(folder)), device=CPU, precision="fp32", **options)


def edit_json(file, **changes):
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def as_pickle(folder, **options):
    """Replace a checkpoint's safetensors by a pytorch_model.bin."""
    weights = folder / "model.safetensors"
    torch.save(load_file(weights), folder / "pytorch_model.bin", **options)
    weights.unlink()


# --- what is not supported -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("architecture", "config"),
    [
        (
            "SwinForImageClassification",
            transformers.SwinConfig(image_size=32, patch_size=4, embed_dim=8, depths=[1, 1], num_heads=[1, 2]),
        ),
        (
            "ConvNextForImageClassification",
            transformers.ConvNextConfig(image_size=32, hidden_sizes=[4, 8], depths=[1, 1], num_stages=2),
        ),
        (
            "Data2VecVisionForImageClassification",
            transformers.Data2VecVisionConfig(
                hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, image_size=32
            ),
        ),
    ],
    ids=["swin", "convnext", "data2vec"],
)
def test_models_without_a_rollout_are_refused_by_name(architecture, config, tmp_path, refusal):
    network = getattr(transformers, architecture)(config)
    folder = save_checkpoint(tmp_path / "model", network, TINY_MODELS["vit"].preprocessing)
    message = refusal(folder)
    assert f"model type '{config.model_type}' has no attention rollout" in message
    assert all(family in message for family in FAMILIES)


@pytest.mark.parametrize("model_type", [None, 7, ["vit"], "resnet", "VIT", ""])
def test_unknown_model_types_are_refused(model_type, folder, refusal):
    edit_json(folder / "config.json", model_type=model_type)
    assert "has no attention rollout" in refusal(folder)


@pytest.mark.parametrize("name", TINY_MODELS)
def test_supported_families_pass(name, tiny_checkpoint):
    check_checkpoint(resolve_checkpoint(str(tiny_checkpoint(name))))


# --- what is incomplete or damaged -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("architecture", "case"),
    [
        ("Dinov2Model", "dinov2"),
        ("ViTModel", "vit"),
        ("BeitModel", "beit"),
        ("CLIPModel", "clip"),
        ("DeiTModel", "deit"),
    ],
)
def test_a_backbone_without_a_head_is_refused_with_how_to_get_one(architecture, case, tmp_path, refusal):
    network = getattr(transformers, architecture)(TINY_MODELS[case].config())
    folder = save_checkpoint(tmp_path / "model", network, TINY_MODELS[case].preprocessing)
    message = refusal(folder)
    assert "no classification head" in message
    assert f"vitrollout finetune DATA --model {folder}" in message


def test_a_checkpoint_without_weights_is_refused(folder, refusal):
    (folder / "model.safetensors").unlink()
    assert "no weights" in refusal(folder)


@pytest.mark.parametrize("lost", ["encoder.layer.1.attention.attention.query.weight", "embeddings.cls_token"])
def test_a_checkpoint_that_lacks_a_weight_is_refused(lost, folder, refusal):
    weights = load_file(folder / "model.safetensors")
    del weights[f"vit.{lost}"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    assert "1 weights are missing (vit." in refusal(folder)


def test_weights_of_another_shape_are_refused(folder, refusal):
    edit_json(folder / "config.json", intermediate_size=64)
    assert "can't load" in refusal(folder)


def test_a_head_of_another_number_of_classes_is_refused(folder, refusal):
    edit_json(folder / "config.json", id2label={"0": "a", "1": "b"}, label2id={"a": 0, "b": 1})
    refusal(folder)


def cut(file):
    file.write_bytes(file.read_bytes()[:-1000])


def cut_to_the_header(file):
    file.write_bytes(file.read_bytes()[:20])


def empty(file):
    file.write_bytes(b"")


def overwrite(file):
    file.write_bytes(b"<!DOCTYPE html><html>Sign in to continue</html>")


@pytest.mark.parametrize("damage", [cut, cut_to_the_header, empty, overwrite])
@pytest.mark.parametrize("pickled", [False, True])
def test_damaged_weights_are_refused(damage, pickled, folder, refusal):
    if pickled:
        as_pickle(folder)
    damage(folder / ("pytorch_model.bin" if pickled else "model.safetensors"))
    assert "can't load" in refusal(folder)


@pytest.mark.parametrize("damage", [cut, empty, overwrite, lambda file: file.write_text("[1, 2]")])
def test_a_damaged_config_is_refused(damage, folder, refusal):
    damage(folder / "config.json")
    assert "config.json" in refusal(folder)


def test_a_config_that_is_not_utf8_is_refused(folder, refusal):
    (folder / "config.json").write_bytes(b'{"model_type": "\xff\xfe"}')
    assert "config.json" in refusal(folder)


def test_a_config_with_values_that_make_no_sense_is_refused(folder, refusal):
    edit_json(folder / "config.json", num_attention_heads="many")
    assert "can't load" in refusal(folder)


def test_a_folder_without_a_config_is_refused(folder, refusal):
    (folder / "config.json").unlink()
    assert "has no config.json" in refusal(folder)


@pytest.mark.parametrize("damage", [lambda file: file.unlink(), empty, overwrite, lambda file: file.write_text("[1]")])
def test_a_missing_or_damaged_preprocessor_config_is_refused(damage, folder, refusal):
    damage(folder / "preprocessor_config.json")
    assert "preprocessor_config.json" in refusal(folder)


def test_patches_that_are_not_square_are_refused(tmp_path, refusal):
    config = transformers.ViTConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        image_size=48,
        patch_size=[8, 16],
    )
    network = transformers.ViTForImageClassification(config)
    assert "8x16" in refusal(save_checkpoint(tmp_path / "model", network, TINY_MODELS["vit"].preprocessing))


# --- what would run code ---------------------------------------------------------------------------------------------


class Payload:
    """Unpickled, it creates a file."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return (open, (str(self.marker), "w"))


@pytest.fixture
def asked(monkeypatch):
    """Questions on the terminal; somebody is there who says yes to all of them."""
    questions = []

    def say_yes(question=""):
        questions.append(question)
        return "y"

    monkeypatch.setattr("builtins.input", say_yes)
    return questions


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_with_code_in_it_is_refused_and_not_run(zipped, folder, tmp_path, refusal):
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    marker = tmp_path / "executed"
    if zipped:
        torch.save(weights | {"vit.layernorm.bias": Payload(marker)}, folder / "pytorch_model.bin")
    else:
        (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Payload(marker)))
    assert "can't load" in refusal(folder)
    assert not marker.exists()


def test_a_pickle_beside_safetensors_is_not_opened(folder, tmp_path):
    marker = tmp_path / "executed"
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Payload(marker)))
    load(folder)
    assert not marker.exists()


def plant_code(folder, marker):
    """A module of the checkpoint that creates a file when it is imported, with everything that could be asked of it."""
    (folder / "planted.py").write_text(
        f"open({str(marker)!r}, 'w').close()\n"
        "from transformers import ViTConfig as PlantedConfig\n"
        "from transformers import ViTForImageClassification as PlantedModel\n"
        "from transformers import ViTImageProcessor as PlantedProcessor\n"
    )


AUTO_MAP = {
    "AutoConfig": "planted.PlantedConfig",
    "AutoModelForImageClassification": "planted.PlantedModel",
    "AutoImageProcessor": "planted.PlantedProcessor",
}


def test_code_beside_a_known_model_is_not_run(folder, tmp_path, asked):
    marker = tmp_path / "executed"
    plant_code(folder, marker)
    edit_json(folder / "config.json", auto_map=AUTO_MAP)
    edit_json(folder / "preprocessor_config.json", auto_map=AUTO_MAP)
    load(folder)
    assert not marker.exists()
    assert asked == []


def test_an_unknown_model_with_code_is_refused_and_nobody_is_asked(folder, tmp_path, refusal, asked):
    marker = tmp_path / "executed"
    plant_code(folder, marker)
    edit_json(folder / "config.json", auto_map=AUTO_MAP, model_type="planted")
    assert "has no attention rollout" in refusal(folder)
    assert not marker.exists()
    assert asked == []


def test_an_unknown_processor_with_code_is_refused_and_nobody_is_asked(folder, tmp_path, refusal, asked):
    marker = tmp_path / "executed"
    plant_code(folder, marker)
    edit_json(folder / "preprocessor_config.json", auto_map=AUTO_MAP, image_processor_type="PlantedProcessor")
    assert "preprocessor_config.json" in refusal(folder)
    assert not marker.exists()
    assert asked == []


# --- where it comes from ---------------------------------------------------------------------------------------------


def test_bundled_is_the_folder_of_the_package_wherever_one_is(folder, tmp_path, monkeypatch):
    assert Path(pipeline.__file__).parent / "bundled" == BUNDLED
    monkeypatch.setattr("pipeline.model.checkpoint.BUNDLED", folder)
    (tmp_path / "bundled").mkdir()
    monkeypatch.chdir(tmp_path)
    assert resolve_checkpoint("bundled").folder == folder


def test_a_package_without_its_model_does_not_ask_the_hub_for_it(refusal, tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.model.checkpoint.BUNDLED", tmp_path / "gone")
    assert "no config.json" in refusal("bundled")


def test_a_local_folder_is_taken_before_the_hub(folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    for name in ("model", "./model", str(folder), f"../{folder.parent.name}/model"):
        checkpoint = resolve_checkpoint(name)
        assert checkpoint.name == name
        assert checkpoint.folder == folder


def test_a_home_folder_is_understood(folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder.parent))
    assert resolve_checkpoint("~/model").folder == folder


@pytest.mark.parametrize(
    "name",
    ["./modle", "/models/modle", "../modle", "~/modle", "models/new/modle", "~nobody-here/modle", "/" + "x" * 300],
)
def test_a_typo_in_a_local_path_is_not_taken_for_a_hub_id(name, refusal, monkeypatch):
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: pytest.fail("it asked the hub"))
    assert "name a checkpoint folder" in refusal(name)


@pytest.mark.parametrize("name", ["modle", "models/modle", "no such model", "a/b@v1", "@", "a\0b"])
def test_a_name_that_is_nowhere_says_so_for_folder_and_hub(name, refusal):
    message = refusal(name)
    assert "no such folder here, and it could not be downloaded from the model hub" in message
    assert "--model bundled" in message
    assert "HF_HUB_OFFLINE" in message


@pytest.mark.parametrize(
    "error", [ConnectionError("no route"), TimeoutError("timed out"), ValueError("proxy said 407")]
)
def test_whatever_the_hubs_client_raises_is_one_line(error, refusal, monkeypatch):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    assert f"{type(error).__name__}: {error}" in refusal("org/model")


@pytest.fixture
def hub_cache(folder, tmp_path, monkeypatch):
    """The hub's local cache with `org/model`: `main` is the ViT, `v1` the same with other labels."""
    cache = tmp_path / "hub"
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(cache))
    repo = cache / "models--org--model"
    (repo / "refs").mkdir(parents=True)
    for revision, commit in (("main", "a" * 40), ("v1", "b" * 40)):
        (repo / "refs" / revision).write_text(commit)
        shutil.copytree(folder, repo / "snapshots" / commit)
    edit_json(repo / "snapshots" / ("b" * 40) / "config.json", vitrollout_purpose="the first version")
    return repo / "snapshots"


def test_a_hub_id_in_the_local_cache_works_without_a_network(hub_cache):
    assert resolve_checkpoint("org/model").folder == hub_cache / ("a" * 40)
    assert load_classifier(resolve_checkpoint("org/model"), device=CPU, precision="fp32").labels == LABELS


def test_a_revision_of_a_hub_id_is_taken(hub_cache):
    assert resolve_checkpoint("org/model@v1").purpose == "the first version"
    assert resolve_checkpoint("org/model@" + "b" * 40).purpose == "the first version"
    assert resolve_checkpoint("org/model@main").purpose != "the first version"


def test_an_unknown_revision_is_refused(hub_cache, refusal):
    assert "org/model@v2" in refusal("org/model@v2")


def test_pickled_weights_are_fetched_only_where_there_are_no_safetensors(folder, monkeypatch):
    fetched = []

    def download(repo, *, revision, allow_patterns):
        fetched.append(allow_patterns)
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    resolve_checkpoint("org/model")
    assert len(fetched) == 1
    assert "model*.safetensors" in fetched[0]
    assert {"config.json", "preprocessor_config.json", "processor_config.json"} <= set(fetched[0])
    assert {"decision.json", "familiarity.safetensors", "map_scale.json"} <= set(fetched[0])
    assert not any(pattern.endswith((".bin", ".py", "*")) for pattern in fetched[0])
    as_pickle(folder)
    fetched.clear()
    resolve_checkpoint("org/model")
    assert [any(pattern.endswith(".bin") for pattern in patterns) for patterns in fetched] == [False, True]


def test_a_hub_that_can_not_be_reached_ends_the_command_at_once_with_one_line(photos, tmp_path):
    nowhere = {"HF_HUB_OFFLINE": "0", "HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path)}
    environment = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()} | nowhere
    done = subprocess.run(
        [sys.executable, "-m", "jobs.cli", "run", photos, "--out", tmp_path / "out", "--model", "org/model"],
        capture_output=True,
        text=True,
        env=environment,
        cwd=BUNDLED.parent.parent,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("vitrollout: --model org/model: no such folder here")


def test_the_command_ends_with_2_and_one_line(photos, tmp_path, folder, monkeypatch, capsys):
    (folder / "model.safetensors").unlink()
    arguments = ["run", str(photos), "--out", str(tmp_path / "out"), "--model", str(folder)]
    monkeypatch.setattr(sys, "argv", ["vitrollout", *arguments])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert [line for line in captured.err.splitlines() if line.startswith("vitrollout:")] == [
        f"vitrollout: --model {folder}: no weights (*.safetensors, *.bin) in {folder}"
    ]
    assert "Traceback" not in captured.err


# --- what it is ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", ["model.safetensors", "config.json", "preprocessor_config.json"])
def test_the_digest_changes_with_everything_that_changes_the_numbers(file, folder):
    before = resolve_checkpoint(str(folder)).digest()
    if file.endswith(".json"):
        edit_json(folder / file, image_mean=[0.1, 0.2, 0.3])
    else:
        weights = load_file(folder / file)
        weights["classifier.bias"][0] += 1
        save_file(weights, folder / file, metadata={"format": "pt"})
    assert resolve_checkpoint(str(folder)).digest() != before


@pytest.mark.parametrize("at", [0, 99, 100, 250, -1])
def test_the_digest_covers_every_piece_of_the_weights(at, folder, monkeypatch):
    monkeypatch.setattr("pipeline.model.checkpoint_files._PIECE", 100)
    before = resolve_checkpoint(str(folder)).digest()
    content = bytearray((folder / "model.safetensors").read_bytes())
    content[at] ^= 1
    (folder / "model.safetensors").write_bytes(content)
    assert resolve_checkpoint(str(folder)).digest() != before


def test_the_digest_changes_with_a_processor_config(folder):
    # transformers reads it before preprocessor_config.json
    before = resolve_checkpoint(str(folder)).digest()
    settings = json.loads((folder / "preprocessor_config.json").read_text()) | {"image_mean": [0.1, 0.2, 0.3]}
    (folder / "processor_config.json").write_text(json.dumps({"image_processor": settings}))
    assert load(folder).processor.image_mean[0] == 0.1
    assert resolve_checkpoint(str(folder)).digest() != before


def test_the_digest_does_not_change_with_other_files(folder, tmp_path):
    before = resolve_checkpoint(str(folder)).digest()
    for name in ("README.md", "training_args.bin", "optimizer.pt", "tokenizer.json", "pytorch_model.bin"):
        (folder / name).write_text("something else")
    assert resolve_checkpoint(str(folder)).digest() == before
    shutil.copytree(folder, tmp_path / "elsewhere")
    assert resolve_checkpoint(str(tmp_path / "elsewhere")).digest() == before


def test_the_digest_is_128_bits_in_hex(folder):
    assert len(bytes.fromhex(resolve_checkpoint(str(folder)).digest())) == 16


def test_weights_that_can_not_be_read_are_named(folder, file_permissions_hold):
    (folder / "model.safetensors").chmod(0)
    with file_permissions_hold(), pytest.raises(ModelError, match=r"model.safetensors: Permission denied; make it"):
        resolve_checkpoint(str(folder)).digest()


def test_the_digest_covers_pickled_weights(folder):
    as_pickle(folder)
    before = resolve_checkpoint(str(folder)).digest()
    weights = torch.load(folder / "pytorch_model.bin", weights_only=True)
    weights["classifier.bias"][0] += 1
    torch.save(weights, folder / "pytorch_model.bin")
    assert resolve_checkpoint(str(folder)).digest() != before


def test_weights_in_several_files_load_and_are_all_in_the_digest(tiny_checkpoint, folder):
    whole = transformers.ViTForImageClassification.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    whole.save_pretrained(folder, max_shard_size="20KB")
    checkpoint = resolve_checkpoint(str(folder))
    shards = checkpoint.weight_files()
    assert len(shards) > 2
    state = load(folder).network.state_dict()
    assert all(torch.equal(state[name], weight) for name, weight in whole.state_dict().items())
    before = checkpoint.digest()
    for shard in shards:
        original = shard.read_bytes()
        shard.write_bytes(original[:-1] + bytes([original[-1] ^ 1]))
        assert resolve_checkpoint(str(folder)).digest() != before
        shard.write_bytes(original)
    assert resolve_checkpoint(str(folder)).digest() == before


def test_pickled_weights_give_the_same_logits_as_safetensors(folder):
    pixels = torch.randint(0, 256, (2, 3, 48, 48), dtype=torch.uint8)
    logits = load(folder).predict(pixels, MapPlan()).logits
    as_pickle(folder)
    np.testing.assert_array_equal(load(folder).predict(pixels, MapPlan()).logits, logits)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"vitrollout_purpose": "solder joints, ok or not"}, "solder joints, ok or not"),
        ({"id2label": {"0": "ok", "1": "scratch"}}, "2 classes (ok, scratch)"),
        (
            {"id2label": {str(index): f"c{index}" for index in range(9)}},
            "9 classes (c0, c1, c2, c3, c4, c5, c6, c7, ...)",
        ),
        ({"id2label": {str(index): f"c{index}" for index in range(8)}}, "8 classes (c0, c1, c2, c3, c4, c5, c6, c7)"),
        ({"vitrollout_purpose": "", "id2label": {"0": "ok"}}, "1 classes (ok)"),
        ({"id2label": None}, "classes without names"),
        ({"id2label": ["a", "b"]}, "classes without names"),
        ({}, "classes without names"),
    ],
)
def test_the_purpose_is_told_in_words_or_by_the_classes(config, expected, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert resolve_checkpoint(str(tmp_path)).purpose == expected


# --- a checkpoint of 2021, as google/vit-large-patch32-384 is published ----------------------------------------------

HIDDEN, HEADS, LAYERS, CLASSES = 32, 4, 2, 1000


def weights_of_2021():
    """Weight names of that time, the pooler that no classifier uses among them."""
    generator = torch.Generator().manual_seed(0)
    shapes = {
        "vit.embeddings.cls_token": (1, 1, HIDDEN),
        "vit.embeddings.position_embeddings": (1, 145, HIDDEN),
        "vit.embeddings.patch_embeddings.projection.weight": (HIDDEN, 3, 32, 32),
        "vit.embeddings.patch_embeddings.projection.bias": (HIDDEN,),
        "vit.layernorm.weight": (HIDDEN,),
        "vit.layernorm.bias": (HIDDEN,),
        "vit.pooler.dense.weight": (HIDDEN, HIDDEN),
        "vit.pooler.dense.bias": (HIDDEN,),
        "classifier.weight": (CLASSES, HIDDEN),
        "classifier.bias": (CLASSES,),
    }
    for index in range(LAYERS):
        layer = f"vit.encoder.layer.{index}"
        for part in ("attention.query", "attention.key", "attention.value", "output.dense"):
            shapes[f"{layer}.attention.{part}.weight"] = (HIDDEN, HIDDEN)
            shapes[f"{layer}.attention.{part}.bias"] = (HIDDEN,)
        shapes[f"{layer}.intermediate.dense.weight"] = (64, HIDDEN)
        shapes[f"{layer}.intermediate.dense.bias"] = (64,)
        shapes[f"{layer}.output.dense.weight"] = (HIDDEN, 64)
        shapes[f"{layer}.output.dense.bias"] = (HIDDEN,)
        for norm in ("layernorm_before", "layernorm_after"):
            shapes[f"{layer}.{norm}.weight"] = (HIDDEN,)
            shapes[f"{layer}.{norm}.bias"] = (HIDDEN,)
    return {
        name: torch.randn(shape, generator=generator) * (0.03 if "projection.weight" in name else 0.35)
        for name, shape in shapes.items()
    }


def save_checkpoint_of_2021(folder, weights, **options):
    names = {index: f"class {index}, also known as {index}" for index in range(CLASSES)}
    config = {
        "architectures": ["ViTForImageClassification"],
        "attention_probs_dropout_prob": 0.0,
        "gradient_checkpointing": False,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.0,
        "hidden_size": HIDDEN,
        "id2label": {str(index): name for index, name in names.items()},
        "image_size": 384,
        "initializer_range": 0.02,
        "intermediate_size": 64,
        "label2id": {name: index for index, name in names.items()},
        "layer_norm_eps": 1e-12,
        "model_type": "vit",
        "num_attention_heads": HEADS,
        "num_channels": 3,
        "num_hidden_layers": LAYERS,
        "patch_size": 32,
        "transformers_version": "4.6.0.dev0",
    }
    preprocessing = {
        "do_normalize": True,
        "do_resize": True,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
        "size": 384,
    }
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config, indent=2))
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessing, indent=2))
    torch.save(weights, folder / "pytorch_model.bin", **options)
    return folder


def forward_of_2021(weights, pixels):
    """The model by its paper and its weight names: logits (B, C) and L tensors (B, heads, N, N), in float64."""
    weights = {name: weight.double() for name, weight in weights.items()}

    def dense(name, values):
        return linear(values, weights[f"{name}.weight"], weights[f"{name}.bias"])

    def norm(name, values):
        return layer_norm(values, (HIDDEN,), weights[f"{name}.weight"], weights[f"{name}.bias"], eps=1e-12)

    def heads(values):
        return values.unflatten(-1, (HEADS, -1)).transpose(1, 2)  # (B, heads, N, width)

    projection = "vit.embeddings.patch_embeddings.projection"
    patches = conv2d(pixels, weights[f"{projection}.weight"], weights[f"{projection}.bias"], stride=32)
    tokens = torch.cat([weights["vit.embeddings.cls_token"].expand(len(pixels), -1, -1), patches.flatten(2).mT], dim=1)
    tokens = tokens + weights["vit.embeddings.position_embeddings"]
    layers = []
    for index in range(LAYERS):
        layer = f"vit.encoder.layer.{index}"
        normed = norm(f"{layer}.layernorm_before", tokens)
        query, key, value = (
            heads(dense(f"{layer}.attention.attention.{part}", normed)) for part in ("query", "key", "value")
        )
        attention = (query @ key.mT / (HIDDEN / HEADS) ** 0.5).softmax(dim=-1)
        layers.append(attention)
        mixed = (attention @ value).transpose(1, 2).flatten(2)
        tokens = tokens + dense(f"{layer}.attention.output.dense", mixed)
        inner = gelu(dense(f"{layer}.intermediate.dense", norm(f"{layer}.layernorm_after", tokens)))
        tokens = tokens + dense(f"{layer}.output.dense", inner)
    return dense("classifier", norm("vit.layernorm", tokens)[:, 0]), layers


@pytest.mark.parametrize("zipped", [True, False])
def test_every_weight_of_a_checkpoint_of_2021_arrives(zipped, tmp_path):
    weights = weights_of_2021()
    folder = save_checkpoint_of_2021(tmp_path / "model", weights, _use_new_zipfile_serialization=zipped)
    classifier = load(folder)
    assert classifier.geometry.input_size == (384, 384)
    assert len(classifier.labels) == CLASSES
    assert classifier.labels[999] == "class 999, also known as 999"
    resized = [photo.resize((384, 384), resample=2) for photo in make_photos(2)]  # bilinear, the default of that time
    pixels = torch.from_numpy(np.stack([np.asarray(photo).transpose(2, 0, 1) for photo in resized]))
    expected, layers = forward_of_2021(weights, (pixels.double() / 255 - 0.5) / 0.5)
    output = classifier.predict(pixels, MapPlan())
    logits, maps = output.logits, output.maps["rollout"]
    np.testing.assert_allclose(logits, expected, atol=1e-4, rtol=0)
    for image in range(2):
        truth = reference.rollout_map([layer[image].numpy() for layer in layers], (12, 12), prefix=1)
        np.testing.assert_allclose(maps[image], truth, atol=1e-5, rtol=0)
    for photo, one in zip(make_photos(2), pixels, strict=True):
        loaded = classifier.processor(photo, do_rescale=False, do_normalize=False)["pixel_values"][0]
        np.testing.assert_array_equal(loaded, one)


def test_the_command_runs_with_a_checkpoint_of_2021(photos, tmp_path):
    folder = save_checkpoint_of_2021(tmp_path / "model", weights_of_2021())
    out = tmp_path / "out"
    arguments = [str(photos), "--out", str(out), "--model", str(folder), "--precision", "fp32", "--workers", "1"]
    done = CliRunner().invoke(run_command, arguments, catch_exceptions=False)
    assert done.exit_code == 0
    assert json.loads(done.stdout.splitlines()[-1])["ok"] == 2
    frame = pipeline.read_results(out)
    assert frame["logits"].map(len).tolist() == [1000, 1000]
    assert frame["label"].str.fullmatch(r"class (\d+), also known as \1").all()
    assert pipeline.stack_attention(frame).shape == (2, 12, 12)


@pytest.mark.parametrize(
    ("config", "labels"),
    [
        ({"id2label": {"2": "c", "0": "a", "1": "b"}}, ("a", "b", "c")),
        ({"num_labels": 3}, ("LABEL_0", "LABEL_1", "LABEL_2")),
        ({}, ("LABEL_0", "LABEL_1")),
    ],
)
def test_labels_of_a_checkpoint_are_those_of_transformers(tmp_path, config, labels):
    assert Checkpoint("m", tmp_path, config).labels == labels


def test_ids_that_are_no_numbers_are_refused(tmp_path):
    with pytest.raises(ModelError, match=r"its config.json: id2label: .*'x'; correct it"):
        assert Checkpoint("m", tmp_path, {"id2label": {"x": "a"}}).labels
