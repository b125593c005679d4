"""A checkpoint's config.json -> transformers' config, if it describes the weights beside it."""

from typing import Any

from transformers import AutoConfig

from pipeline.errors import ModelError, one_line
from pipeline.model.architecture import size_pair, vision_config
from pipeline.model.checkpoint import Checkpoint

_ERROR_LETTERS = 300  # of an error from a library


def load_config(checkpoint: Checkpoint) -> Any:
    """Load the config, without switches for further outputs.

    Raises:
        ModelError: values make no sense, or describe more weights than the files hold.
    """
    try:
        config: Any = AutoConfig.from_pretrained(checkpoint.folder, local_files_only=True, trust_remote_code=False)
        config.return_dict, config.output_attentions, config.output_hidden_states = True, False, False
        described = _count_weights(vision_config(config))
    except Exception as error:  # values from elsewhere raise any exception
        raise not_loadable(checkpoint, error) from error
    held = sum(file.stat().st_size for file in checkpoint.weight_files() if file.is_file())
    if described > held > 0:  # before memory is taken for them
        raise not_loadable(
            checkpoint, f"config.json describes {described:,} weights or more, and its files hold {held:,} bytes"
        )
    return config


def _count_weights(vision: Any) -> int:
    """Return about the number of weights: the attention of all layers, and the position of each patch."""
    height, width = size_pair(vision.image_size)
    patch_height, patch_width = size_pair(vision.patch_size)
    patches = (height // patch_height) * (width // patch_width)
    hidden = int(vision.hidden_size)
    return hidden * (4 * hidden * int(vision.num_hidden_layers) + patches + 3 * patch_height * patch_width)


def not_loadable(checkpoint: Checkpoint, reason: object) -> ModelError:
    """Return the error for a checkpoint with files that are damaged or don't fit together."""
    return ModelError(
        f"--model {checkpoint.name}: can't load {checkpoint.folder}: {one_line(reason, _ERROR_LETTERS)}; "
        "fetch the checkpoint again"
    )
