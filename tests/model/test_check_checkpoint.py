"""Checkpoints that are incomplete, of another kind, or don't fit themselves: right, or one line with the next step."""

import json
import shutil
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from pipeline.errors import ModelError
from pipeline.maps.passes import MapPlan
from pipeline.model.check_checkpoint import check_checkpoint
from pipeline.model.checkpoint import resolve_checkpoint
from pipeline.model.load import load_classifier
from pipeline.training.backbone import build_classifier
from tests.helpers.models import LABELS, TINY_MODELS, build_network, save_checkpoint

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 346293852\n"
PIXELS = torch.randint(0, 256, (2, 3, 48, 48), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.fixture(params=["vit", "clip"])
def folder(request, tiny_checkpoint, tmp_path):
    """A checkpoint that a test may damage."""
    return shutil.copytree(tiny_checkpoint(request.param), tmp_path / "model")


def edit_json(file, **changes):
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def edit_weights(folder, edit):
    weights = load_file(folder / "model.safetensors")
    edit(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def load(folder, precision="fp32"):
    return load_classifier(resolve_checkpoint(str(folder)), device="cpu", precision=precision)


def compute_logits(folder):
    return load(folder).predict(PIXELS, MapPlan()).logits


def refusal(folder, check=load):
    with pytest.raises(ModelError) as caught:
        check(folder)
    message = str(caught.value)
    assert message.startswith(f"--model {folder}: ")
    assert "\n" not in message
    return message


def check_only(folder):
    check_checkpoint(resolve_checkpoint(str(folder)))


# --- what is seen before loading -------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin"])
def test_pointers_of_git_lfs_are_named_with_the_command(file, folder):
    (folder / "model.safetensors").unlink()
    (folder / file).write_text(POINTER)
    assert f"{file} is a pointer of git-lfs, not the file; run git lfs pull in {folder}" in refusal(folder, check_only)


@pytest.mark.parametrize("file", ["config.json", "preprocessor_config.json"])
def test_pointers_in_place_of_settings_are_named_too(file, folder):
    (folder / file).write_text(POINTER)
    assert f"{file} is a pointer of git-lfs, not the file; run git lfs pull in" in refusal(folder, check_only)


def test_a_config_without_a_type_is_named(folder):
    (folder / "config.json").write_text("{}")
    assert "config.json has no model_type" in refusal(folder, check_only)


@pytest.mark.parametrize(("dtype", "kind"), [(torch.int8, "I8"), (torch.float8_e4m3fn, "F8_E4M3")])
def test_weights_of_few_bits_are_refused_without_a_word_in_the_config(dtype, kind, folder):
    edit_weights(folder, lambda weights: weights.update({"classifier.weight": weights["classifier.weight"].to(dtype)}))
    assert f"its weights are quantised ({kind} in model.safetensors)" in refusal(folder, check_only)


def test_a_pointer_among_the_parts_is_found(folder):
    network = load(folder).network
    (folder / "model.safetensors").unlink()
    network.save_pretrained(folder, max_shard_size="20KB")
    part = sorted(folder.glob("model-*.safetensors"))[1]
    part.write_text(POINTER)
    assert f"{part.name} is a pointer" in refusal(folder, check_only)


@pytest.mark.parametrize(
    "method", [{"quant_method": "bitsandbytes", "load_in_4bit": True}, {"quant_method": "gptq", "bits": 4}]
)
@pytest.mark.parametrize("part", [None, "vision_config"])
def test_quantised_weights_are_refused(method, part, folder):
    content = {"quantization_config": method}
    config = json.loads((folder / "config.json").read_text())
    edit_json(folder / "config.json", **(content if part is None else {part: config.get(part, {}) | content}))
    assert "quantised (quantization_config)" in refusal(folder, check_only)


@pytest.mark.parametrize(
    "config",
    [
        {"architecture": "vit_base_patch16_224", "num_classes": 1000, "pretrained_cfg": {"tag": "augreg_in21k"}},
        {"architecture": "deit3_small_patch16_224", "model_type": "timm_wrapper", "num_classes": 5},
    ],
)
def test_checkpoints_of_timm_are_named(config, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(config))
    message = refusal(tmp_path, check_only)
    assert f"a checkpoint of timm ('{config['architecture']}'); use the same model in transformers' layout" in message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("hidden_size", 0),
        ("num_hidden_layers", -1),
        ("num_hidden_layers", 10**9),
        ("image_size", [48, -48]),
        ("patch_size", 0),
        ("intermediate_size", 10**12),
        ("num_attention_heads", float("inf")),
    ],
)
def test_impossible_sizes_are_refused_before_memory_is_taken(name, value, folder):
    config = json.loads((folder / "config.json").read_text())
    changed = {"vision_config": config["vision_config"] | {name: value}} if "vision_config" in config else {name: value}
    edit_json(folder / "config.json", **changed)
    assert f"{name} = " in refusal(folder, check_only)


@pytest.mark.parametrize(
    "changes", [{"hidden_size": 8192, "num_attention_heads": 64}, {"image_size": 16384, "patch_size": 1}]
)
def test_more_weights_than_the_files_hold_are_refused_before_memory_is_taken(changes, tiny_checkpoint, tmp_path):
    folder = shutil.copytree(tiny_checkpoint("vit"), tmp_path / "model")
    edit_json(folder / "config.json", **changes)
    message = refusal(folder)
    assert "weights or more, and its files hold" in message
    assert "weights or more" in refusal(
        folder, lambda model: build_classifier(model, ["a", "b"], input_size=48, blocks=None, seed=0)
    )


@pytest.mark.parametrize("family", ["vit", "clip"])
def test_other_numbers_of_channels_are_refused(family, tmp_path):
    config = TINY_MODELS[family].config(id2label={0: "a", 1: "b"}, label2id={"a": 0, "b": 1})
    getattr(config, "vision_config", config).num_channels = 1
    network = build_network(TINY_MODELS[family].architecture, config)
    folder = save_checkpoint(tmp_path / "model", network, TINY_MODELS[family].preprocessing)
    assert "takes images of 1 channels (num_channels), and photos have 3" in refusal(folder, check_only)


@pytest.mark.parametrize("content", ['{"a":' * 100_000, "[" * 100_000])
def test_a_config_nested_without_end_is_refused(content, folder):
    (folder / "config.json").write_text(content)
    assert "can't read config.json" in refusal(folder, check_only)


@pytest.mark.parametrize("name", ["hidden_dropout_prob", "layer_norm_eps"])
def test_a_config_with_nan_is_refused(name, folder):
    edit_json(folder / "config.json", **{name: float("nan")})
    assert "can't read config.json: a value is NaN; fetch the checkpoint again" in refusal(folder, check_only)


@pytest.mark.parametrize("changes", [{"model_type": "a" * 10_000}, {"num_channels": "b" * 10_000}])
def test_values_without_end_are_cut(changes, tiny_checkpoint, tmp_path):
    folder = shutil.copytree(tiny_checkpoint("vit"), tmp_path / "model")
    edit_json(folder / "config.json", **changes)
    assert len(refusal(folder, check_only)) < 800


# --- where the checkpoint is -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("with_ref", [True, False])
def test_a_cache_folder_of_the_hub_is_entered(with_ref, folder, tmp_path):
    cache = tmp_path / "models--owner--name"
    shutil.copytree(folder, cache / "snapshots" / "abc123")
    if with_ref:
        shutil.copytree(folder, cache / "snapshots" / "aaa")
        (cache / "refs").mkdir()
        (cache / "refs" / "main").write_text("abc123\n")
    checkpoint = resolve_checkpoint(str(cache))
    assert checkpoint.folder == cache / "snapshots" / "abc123"
    np.testing.assert_array_equal(compute_logits(cache), compute_logits(folder))


def test_a_cache_folder_with_several_revisions_asks_for_one(folder, tmp_path):
    for revision in ("abc", "def"):
        shutil.copytree(folder, tmp_path / "cache" / "snapshots" / revision)
    assert "holds 2 revisions of a model; name one folder in" in refusal(tmp_path / "cache", check_only)


def test_a_folder_of_checkpoints_names_them(folder, tmp_path):
    assert "has no config.json; name one of its folders: model" in refusal(folder.parent, check_only)


# --- what is seen after loading --------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [2, 9])
def test_another_number_of_names_than_outputs_is_told(count, folder):
    names = [f"name-{index}" for index in range(count)]
    edit_json(folder / "config.json", id2label=dict(enumerate(names)), label2id={})
    assert f"names {count} classes, the head has {len(LABELS)} outputs; give each output its name" in refusal(folder)


def test_weights_of_more_layers_than_described_are_told(folder, caplog):
    """transformers leaves the others out, and the logits are wrong."""
    config = json.loads((folder / "config.json").read_text())
    fewer = {"num_hidden_layers": 2}
    edit_json(
        folder / "config.json",
        **(fewer if "hidden_size" in config else {"vision_config": config["vision_config"] | fewer}),
    )
    load(folder)
    assert "has weights of 3 layers, and by its config.json 2: the last are left out" in caplog.text


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_not_finite_are_refused(value, folder):
    def spoil(weights):
        name = sorted(weights)[-1]
        weights[name].view(-1)[-1] = value

    edit_weights(folder, spoil)
    assert "1 weights are not finite in fp32 (" in refusal(folder)


def test_weights_beyond_fp16_name_the_precision(folder):
    edit_weights(folder, lambda weights: weights["classifier.bias"].fill_(1e6))
    load(folder)
    assert "not finite in fp16 (classifier.bias, ...); use --precision fp32" in refusal(
        folder, lambda model: load(model, "fp16")
    )


@pytest.mark.parametrize(
    "switches",
    [{"return_dict": False}, {"return_dict": False, "output_hidden_states": True}, {"output_attentions": True}],
)
def test_switches_for_other_outputs_change_nothing(switches, folder):
    before = compute_logits(folder)
    edit_json(folder / "config.json", **switches)
    np.testing.assert_array_equal(compute_logits(folder), before)


# --- the files that are read -----------------------------------------------------------------------------------------


def digest(folder):
    return resolve_checkpoint(str(folder)).digest()


@pytest.mark.skipif(find_spec("peft") is not None, reason="with peft, adapters are merged")
def test_an_adapter_beside_the_weights_is_refused_without_peft(folder):
    (folder / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    assert "pip install peft, or move the adapter's files away" in refusal(folder, check_only)


def test_an_adapter_alone_says_how_to_merge_it(tmp_path):
    (tmp_path / "adapter_config.json").write_text('{"base_model_name_or_path": "google/vit-base-patch16-224"}')
    assert "it holds an adapter without its model: merge the two" in refusal(tmp_path, check_only)


def test_the_digest_covers_an_adapter(folder):
    digests = [digest(folder)]
    for name, content in (("adapter_config.json", b"{}"), ("adapter_model.bin", b"a"), ("adapter_model.bin", b"b")):
        (folder / name).write_bytes(content)
        digests.append(digest(folder))
    assert len(set(digests)) == 4


def test_the_digest_covers_a_file_named_by_the_config(folder):
    (folder / "model.safetensors").rename(folder / "best.safetensors")
    edit_json(folder / "config.json", transformers_weights="best.safetensors")
    before, logits = digest(folder), compute_logits(folder)
    edit_weights_of(folder / "best.safetensors")
    assert digest(folder) != before
    assert not np.array_equal(compute_logits(folder), logits)


def test_the_digest_leaves_out_weights_that_are_not_read(folder):
    before = digest(folder)
    shutil.copy(folder / "model.safetensors", folder / "model.fp16.safetensors")
    shutil.copy(folder / "model.safetensors", folder / "model-00001-of-00002.safetensors")
    assert digest(folder) == before


@pytest.mark.parametrize("name", ["part-a.safetensors", "weights/model.safetensors"])
def test_the_digest_covers_parts_of_any_name(name, folder):
    whole = folder / "model.safetensors"
    (folder / name).parent.mkdir(exist_ok=True)
    index = {"metadata": {}, "weight_map": dict.fromkeys(load_file(whole), name)}
    whole.rename(folder / name)
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    before, logits = digest(folder), compute_logits(folder)
    edit_weights_of(folder / name)
    assert digest(folder) != before
    assert not np.array_equal(compute_logits(folder), logits)


def edit_weights_of(file):
    weights = load_file(file)
    weights["classifier.bias"] += 1
    save_file(weights, file, metadata={"format": "pt"})


@pytest.mark.parametrize("index", ["", "[]", '{"weight_map": 3}', '{"weight_map": {"a": 1}}'])
def test_an_index_that_can_not_be_read_is_refused(index, folder):
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(index)
    for check in (check_only, load, digest):
        assert "model.safetensors.index.json can't be read" in refusal(folder, check)


def test_a_missing_part_is_named(folder):
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text('{"metadata": {}, "weight_map": {"a": "gone.safetensors"}}')
    assert "gone.safetensors is missing; fetch the checkpoint again" in refusal(folder, digest)
    assert "gone.safetensors" in refusal(folder)


def test_a_variant_alone_is_named(folder):
    (folder / "model.safetensors").rename(folder / "model.fp16.safetensors")
    assert "is model.fp16.safetensors meant? name it model.safetensors" in refusal(folder)
