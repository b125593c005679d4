"""Refusal of checkpoints that can't be run, before anything of them is loaded, and without torch."""

from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from typing import Any

from pipeline.errors import ModelError, one_line
from pipeline.model.checkpoint import Checkpoint
from pipeline.model.checkpoint_files import find_quantised_kind, is_lfs_pointer, list_adapter_files
from pipeline.model.families import FAMILIES

# Largest plausible values. Far beyond them, the mere attempt takes all memory or all day.
_LARGEST = {
    "hidden_size": 2**16,
    "intermediate_size": 2**20,
    "num_hidden_layers": 1000,
    "num_attention_heads": 2**12,
    "num_channels": 1000,
    "image_size": 2**14,
    "patch_size": 2**14,
    "num_register_tokens": 2**12,
    "projection_dim": 2**20,
    "mlp_ratio": 1000,
    "vocab_size": 10**8,
    "max_position_embeddings": 10**7,
}
_ERROR_LETTERS = 500  # with values from the file
_MAY_BE_ZERO = {"num_register_tokens"}
_PARTS = ("vision_config", "text_config")


def check_checkpoint(checkpoint: Checkpoint) -> None:
    """Refuse a checkpoint of another kind, an incomplete one, and one with impossible sizes.

    Raises:
        ModelError: the reason, and the next step.
    """
    for reason in _find_reasons(checkpoint):
        raise ModelError(f"--model {checkpoint.name}: {one_line(reason, _ERROR_LETTERS)}")


def _find_reasons(checkpoint: Checkpoint) -> Iterator[str]:
    config = checkpoint.config
    if ("model_type" not in config and "architecture" in config) or checkpoint.model_type == "timm_wrapper":
        yield (
            f"a checkpoint of timm ('{config.get('architecture')}'); use the same model in transformers' layout, for "
            "instance google/vit-base-patch16-224"
        )
    if "model_type" not in config:
        yield "its config.json has no model_type, so it is not a checkpoint of transformers; fetch the checkpoint again"
    if checkpoint.model_type not in FAMILIES:
        yield (
            f"model type '{checkpoint.model_type}' has no attention rollout; "
            f"supported are {', '.join(sorted(FAMILIES))}"
        )
    if any(settings.get("quantization_config") for settings in _list_parts(config)):
        yield "its weights are quantised (quantization_config), and maps need plain ones; use the original checkpoint"
    yield from _find_wrong_sizes(config)
    if list_adapter_files(checkpoint.folder) and find_spec("peft") is None:
        yield (
            "beside the weights lies an adapter (adapter_config.json), and peft, which would merge it, is not "
            "installed; pip install peft, or move the adapter's files away to run the model without it"
        )
    for file in (checkpoint.folder / "preprocessor_config.json", *checkpoint.weight_files()):
        if is_lfs_pointer(file):
            yield f"{file.name} is a pointer of git-lfs, not the file; run git lfs pull in {checkpoint.folder}"
        elif kind := find_quantised_kind(file):
            yield f"its weights are quantised ({kind} in {file.name}), and maps need plain ones; use the original ones"


def _list_parts(config: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """List the config, and the parts nested in it by CLIP and SigLIP."""
    nested = (config.get(name) for name in _PARTS)
    return [config, *(part for part in nested if isinstance(part, dict))]


def _find_wrong_sizes(config: Mapping[str, Any]) -> Iterator[str]:
    for settings in _list_parts(config):
        for name, largest in _LARGEST.items():
            value = settings.get(name)
            smallest = 0 if name in _MAY_BE_ZERO else 1
            for number in value if isinstance(value, list) else [value]:
                if isinstance(number, int | float) and not smallest <= number <= largest:
                    yield f"{name} = {number} in its config.json, must be {smallest} to {largest}; fetch it again"
    channels = next((part["num_channels"] for part in _list_parts(config) if "num_channels" in part), 3)
    if channels != 3:
        yield f"takes images of {channels} channels (num_channels), and photos have 3; use a model for RGB images"
