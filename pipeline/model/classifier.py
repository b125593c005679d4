"""Load a checkpoint; a batch of uint8 pixels -> logits and attention maps."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import AutoImageProcessor, AutoModelForImageClassification
from transformers.utils import logging as transformers_logging

from pipeline.errors import ModelError
from pipeline.maps.capture import AttentionRecorder, check_captures, record_attention, select_recorded_attention
from pipeline.maps.methods import Method
from pipeline.maps.passes import MapPass, MapPlan
from pipeline.maps.rollout import HeadFusion
from pipeline.model.checkpoint import Checkpoint, check_family
from pipeline.model.device import Precision
from pipeline.model.families import FAMILIES
from pipeline.model.input_geometry import InputGeometry, read_input_geometry
from pipeline.records import Floats, Output

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Classifier:
    """A classifier whose forward pass also gives attention maps.

    Attributes:
        network: the transformers model, in eval mode on its device.
        processor: the checkpoint's image processor: resize and crop, uint8 in and out.
        framing: what the processor does to a photo, as geometry.
        labels: class names by id, C of them.
        encoder: its L layers, whose attention is captured.
        readout_tokens: leading tokens that the rollout starts from.
        prefix_tokens: tokens before the first patch.
        interpolate_positions: the input has another size than the model was trained for.
        mean, scale: (1, 3, 1, 1); input = (pixels - mean) * scale, rescale and normalise in one step.
    """

    network: Any
    processor: Any
    geometry: InputGeometry
    labels: tuple[str, ...]
    encoder: nn.ModuleList
    readout_tokens: int
    prefix_tokens: int
    interpolate_positions: bool
    mean: Tensor
    scale: Tensor

    def predict(self, pixels: Tensor, maps: MapPlan, targets: Sequence[int] | None = None) -> Output:
        """Classify a batch and map it: a forward pass, and for each method that explains a label a backward pass.

        Args:
            pixels: (B, 3, H, W) uint8, out of the image processor, on the host.
            maps: how to compute the maps.
            targets: B ids of the labels to explain; None: of each image the most likely one.
        """
        found: dict[Method, Tensor] = {}
        ids = None if targets is None else torch.tensor(targets, device=self.network.device)  # (B,)
        with torch.inference_mode(not maps.backward):
            inputs = self._inputs(pixels)
            for one in maps.passes():
                logits, ids, tokens = self._run(one, inputs, ids)
                found |= tokens
        return Output(
            logits=_as_array(logits),
            maps={method: _as_array(self.on_grid(found[method])) for method in maps.methods},
            targets=ids.tolist() if maps.backward and ids is not None else None,
        )

    @torch.inference_mode()
    def capture(self, pixels: Tensor, head_fusion: HeadFusion, heads_layer: int) -> AttentionRecorder:
        """The attention of all layers in one forward pass over such pixels as `predict` takes, on the device.

        The heads of the layer with index `heads_layer` are kept apart as well.
        """
        with record_attention(head_fusion, heads_layer=heads_layer, readout_tokens=self.readout_tokens) as recorder:
            self._forward(self._inputs(pixels), recorder)
        return recorder

    def on_grid(self, tokens: Tensor) -> Tensor:
        """Values of all tokens, (..., N), without those of the prefix: (..., grid_h, grid_w)."""
        return tokens[..., self.prefix_tokens :].reshape(*tokens.shape[:-1], *self.geometry.grid)

    def _inputs(self, pixels: Tensor) -> Tensor:
        """(B, 3, H, W) uint8 on the host -> the network's input on its device."""
        inputs = pixels.to(self.network.device, non_blocking=True).float()
        return ((inputs - self.mean) * self.scale).to(self.network.dtype)

    def _run(self, one: MapPass, inputs: Tensor, ids: Tensor | None) -> tuple[Tensor, Tensor, dict[Method, Tensor]]:
        """One pass: logits (B, C), label ids (B,), and maps with their prefix tokens, (B, N). No graph outlives it."""
        with one.watch(self.network, self.encoder) as recorder:
            output = self._forward(inputs, recorder)
        logits = output[: len(inputs)].detach()  # legrad puts more behind them
        ids = logits.argmax(dim=1) if ids is None else ids
        return logits, ids, one.tokens(output, ids, self.readout_tokens)

    def _forward(self, inputs: Tensor, recorder: AttentionRecorder) -> Tensor:
        """Logits; makes sure that the attention of every layer went through the recorder."""
        output: Tensor = self.network(pixel_values=inputs, interpolate_pos_encoding=self.interpolate_positions).logits
        grid_h, grid_w = self.geometry.grid
        tokens = self.prefix_tokens + grid_h * grid_w
        check_captures(recorder.shapes, layer_count=len(self.encoder), batch=len(inputs), tokens=tokens)
        return output


def _as_array(values: Tensor) -> Floats:
    return values.float().cpu().numpy()


def load_classifier(
    checkpoint: Checkpoint,
    *,
    device: str,
    precision: Precision,
    input_size: tuple[int, int] | None = None,
    rescale: bool = True,
) -> Classifier:
    """Load a checkpoint of a supported family, head included.

    Args:
        checkpoint: where it is.
        device: where it runs.
        precision: of the forward pass.
        input_size: (H, W) in pixels instead of the checkpoint's own; position embeddings are interpolated.
        rescale: divide pixels by 255 first where the image processor says so; False: never.

    Raises:
        ModelError: the family has no rollout, the head or other weights are missing, files are damaged, or the
            model can't take the input size.
    """
    check_family(checkpoint)
    transformers_logging.set_verbosity_error()  # what it would warn of is checked here
    transformers_logging.disable_progress_bar()
    processor = load_processor(checkpoint, input_size)
    network = _load_network(checkpoint, _DTYPES[precision]).to(device).eval().requires_grad_(False)
    select_recorded_attention(network)
    config = network.config
    vision = getattr(config, "vision_config", config)
    family = FAMILIES[checkpoint.model_type]
    readout = family.readout_tokens
    mean, scale = normalisation(processor, rescale)
    geometry = read_input_geometry(processor, _patch_size(checkpoint, vision))
    native_size = _pair(vision.image_size)
    _check_input_size(checkpoint, geometry, native_size)
    return Classifier(
        network=network,
        processor=processor,
        geometry=geometry,
        labels=tuple(str(config.id2label[index]) for index in range(config.num_labels)),
        encoder=_encoder(network, int(vision.num_hidden_layers)),
        readout_tokens=readout,
        prefix_tokens=readout + (int(vision.num_register_tokens) if family.has_registers else 0),
        interpolate_positions=geometry.input_size != native_size,
        mean=mean.to(device),
        scale=scale.to(device),
    )


def load_processor(checkpoint: Checkpoint, input_size: tuple[int, int] | None = None) -> Any:
    """The checkpoint's image processor, set to another input size where one is given.

    Raises:
        ModelError: there is no preprocessor_config.json, or it can't be read.
    """
    try:
        processor: Any = AutoImageProcessor.from_pretrained(
            checkpoint.folder,
            backend="pil",
            local_files_only=True,
            trust_remote_code=False,  # None would ask on the terminal whether to run the checkpoint's own code
        )
    except Exception as error:  # a damaged file raises whatever its parser raises
        raise ModelError(
            f"--model {checkpoint.name}: no usable preprocessor_config.json in {checkpoint.folder}: "
            f"{_one_line(error)}; save the image processor beside the weights"
        ) from None
    if input_size is not None:
        _resize_input(processor, input_size)
    return processor


def _resize_input(processor: Any, input_size: tuple[int, int]) -> None:
    """Set the input's size, the resize before a centre crop in proportion."""
    height, width = input_size
    if getattr(processor, "do_center_crop", False):
        zoom = max(height / processor.crop_size["height"], width / processor.crop_size["width"])
        processor.size = type(processor.size)(**{k: round(v * zoom) for k, v in dict(processor.size).items() if v})
        processor.crop_size = type(processor.crop_size)(height=height, width=width)
    else:
        processor.do_resize = True
        processor.size = type(processor.size)(height=height, width=width)


def _load_network(checkpoint: Checkpoint, dtype: torch.dtype) -> Any:
    if not checkpoint.weight_files():
        raise ModelError(f"--model {checkpoint.name}: no weights (*.safetensors, *.bin) in {checkpoint.folder}")
    try:
        network, report = AutoModelForImageClassification.from_pretrained(
            checkpoint.folder,
            dtype=dtype,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
            attn_implementation="eager",
        )
    except Exception as error:  # a damaged file raises whatever its parser raises
        raise ModelError(
            f"--model {checkpoint.name}: can't load {checkpoint.folder}: {_one_line(error)}; fetch the checkpoint again"
        ) from error
    missing = sorted(report["missing_keys"]) + sorted(str(key) for key in report.get("mismatched_keys", ()))
    if any("classifier" in key or key.startswith("head") for key in missing):
        raise ModelError(
            f"--model {checkpoint.name}: it has no classification head, so it can't label anything; "
            "make a classifier of it with: vitrollout finetune DATA --model "
            f"{checkpoint.name} --out MODEL"
        )
    if missing:
        raise ModelError(
            f"--model {checkpoint.name}: {len(missing)} weights are missing ({missing[0]}, ...); fetch it again"
        )
    return network


def _encoder(network: nn.Module, layer_count: int) -> nn.ModuleList:
    """The layers of the network, first to last."""
    lists = (module for module in network.modules() if isinstance(module, nn.ModuleList))
    return next(layers for layers in lists if len(layers) == layer_count)


def _pair(size: Any) -> tuple[int, int]:
    height, width = (size, size) if isinstance(size, int) else size
    return int(height), int(width)


def _patch_size(checkpoint: Checkpoint, vision: Any) -> int:
    height, width = _pair(vision.patch_size)
    if height != width:
        raise ModelError(f"--model {checkpoint.name}: patches of {height}x{width} pixels; use one with square patches")
    return height


def _check_input_size(checkpoint: Checkpoint, geometry: InputGeometry, native_size: tuple[int, int]) -> None:
    height, width = geometry.input_size
    if min(geometry.grid) < 1:
        raise ModelError(
            f"--model {checkpoint.name}: an input of {height}x{width} pixels holds no patch of {geometry.patch_size}; "
            "use a larger --input-size"
        )
    if geometry.input_size != native_size and native_size[0] != native_size[1]:
        # transformers takes the positions for a square grid when it interpolates them
        raise ModelError(
            f"--model {checkpoint.name}: positions of a grid that is not square can't be interpolated to an input of "
            f"{height}x{width} pixels; use --input-size {native_size[0]}x{native_size[1]}"
        )


def normalisation(processor: Any, rescale: bool = True) -> tuple[Tensor, Tensor]:
    """An image processor's rescale and normalise as one affine step on 0..255: (pixels - mean) * scale."""
    factor = float(processor.rescale_factor) if processor.do_rescale and rescale else 1.0
    mean = np.array(processor.image_mean if processor.do_normalize else [0.0] * 3) / factor
    scale = factor / np.array(processor.image_std if processor.do_normalize else [1.0] * 3)
    shape = (1, 3, 1, 1)
    return torch.tensor(mean).float().reshape(shape), torch.tensor(scale).float().reshape(shape)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
