"""A batch of uint8 pixels -> logits, attention maps, and the features behind the logits."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.maps.attention import HeadFusion
from pipeline.maps.capture import AttentionRecorder, check_captures, record_attention, record_value_norm_ratios
from pipeline.maps.gradient_passes import ExplainedScore
from pipeline.maps.methods import METHODS, MethodName
from pipeline.maps.passes import MapPlan
from pipeline.model.features import join_features, record_head_inputs
from pipeline.model.input_geometry import InputGeometry
from pipeline.model.resize_input import stretch_to_input
from pipeline.model.transfer import PendingOutput, send_pixels
from pipeline.photos.limits import MAX_PIXELS
from pipeline.photos.load_photo import LoadSpec
from pipeline.photos.tiling import Tiling
from pipeline.records import Output, Scoring


@dataclass(frozen=True)
class Classifier:
    """A classifier with attention maps from the same forward pass.

    Attributes:
        network: the transformers model, in eval mode on its device.
        processor: the checkpoint's image processor: resize and crop, uint8 in and out.
        geometry: the processor's resize and crop, and the model's patches.
        labels: class names by id, C of them.
        scoring: from logits to scores.
        is_binary: the network has one output z, which stands for two classes with the logits z and -z.
        encoder: its L layers, the source of the attention.
        readout_tokens: leading tokens read by the classifier, the start of a rollout.
        prefix_tokens: tokens before the first patch.
        interpolate_positions: the input has another size than in training.
        mean, scale: (1, 3, 1, 1); input = (pixels - mean) * scale, rescale and normalise in one step.
    """

    network: Any
    processor: Any
    geometry: InputGeometry
    labels: tuple[str, ...]
    scoring: Scoring
    is_binary: bool
    encoder: nn.ModuleList
    readout_tokens: int
    prefix_tokens: int
    interpolate_positions: bool
    mean: Tensor
    scale: Tensor

    def predict(self, pixels: Tensor, plan: MapPlan, targets: Sequence[int] | None = None) -> Output:
        """Classify a batch and compute its maps; arguments as for `launch`."""
        return self.launch(pixels, plan, targets)()

    def launch(
        self, pixels: Tensor, plan: MapPlan, targets: Sequence[int] | None = None
    ) -> Callable[[], Output]:  # fmt: skip
        """Begin to classify a batch: a forward pass, and a backward pass for each gradient method.

        A CUDA device computes while the host goes on: only the returned function waits for it. A CPU computes here.

        Args:
            pixels: (B, 3, H, W) uint8, out of the image processor, on the host; in pinned memory for a CUDA device.
            plan: the maps to compute.
            targets: B ids of the labels to explain; None: those of the plan, or the most likely label of each image.
        """
        maps: dict[MethodName, Tensor] = {}  # (B, N) each, with the prefix tokens
        target_ids = self._target_ids(len(pixels), plan, targets)
        with torch.inference_mode(not plan.gradient_methods):
            inputs = self._normalise_pixels(pixels)
            for map_pass in plan.passes():
                with (
                    map_pass.record(self.network, self.encoder, self.readout_tokens) as recorder,
                    record_head_inputs(self.network) as head_inputs,
                ):
                    output = self._run_network(inputs, recorder)
                logits = output[: len(inputs)].detach()  # (B, C); legrad scores its means in further rows
                features = join_features(head_inputs, len(inputs))
                target_ids = logits.argmax(dim=1, keepdim=True) if target_ids is None else target_ids
                attention = recorder.captured_attention(plan.discard_ratio)
                for method in map_pass.attention_methods:
                    maps[method] = METHODS[method].load()(attention)
                if map_pass.gradient_pass and map_pass.gradient_method:
                    score = ExplainedScore(target_ids, plan.versus, self.scoring)
                    maps[map_pass.gradient_method] = map_pass.gradient_pass.compute_map(output, score)
            return PendingOutput(
                logits,
                {method: self.drop_prefix(maps[method]) for method in plan.methods},
                target_ids if plan.explains_label and target_ids is not None and target_ids.shape[1] == 1 else None,
                features if plan.features else None,
            ).wait

    @torch.inference_mode()
    def capture(
        self, pixels: Tensor, head_fusion: HeadFusion, heads_layer: int, *, value_norms: bool = False
    ) -> AttentionRecorder:
        """Record the attention of all layers in one forward pass, on the device.

        Args:
            pixels: as for `predict`.
            head_fusion: how to fuse the heads of each layer.
            heads_layer: index of a layer whose heads are also kept apart.
            value_norms: record the value norm ratios as well.
        """
        recorder = AttentionRecorder(self.readout_tokens, head_fusion, heads_layer=heads_layer)
        layers = self.encoder if value_norms else nn.ModuleList()
        with record_attention(recorder), record_value_norm_ratios(layers, recorder):
            self._run_network(self._normalise_pixels(pixels), recorder)
        return recorder

    def drop_prefix(self, tokens: Tensor) -> Tensor:
        """Convert values of all tokens, (..., N), to the grid of patches, (..., grid_h, grid_w)."""
        return tokens[..., self.prefix_tokens :].reshape(*tokens.shape[:-1], *self.geometry.grid)

    def for_windows(self) -> "Classifier":
        """Return the classifier with a processor that resizes a window to the input, without a crop or a border."""
        height, width = self.geometry.input_size
        geometry = InputGeometry((height, width), None, None, self.geometry.patch_size)
        return replace(self, processor=stretch_to_input(self.processor, self.geometry.input_size), geometry=geometry)

    def load_spec(
        self,
        *,
        overlay_size: int | None = None,
        exact_decode: bool = False,
        max_pixels: int = MAX_PIXELS,
        white_level: float | None = None,
        tiling: Tiling | None = None,
    ) -> LoadSpec:
        """Return the instructions for decoding photos for this model; arguments as the settings of a run."""
        draft = None if exact_decode else self.geometry.draft_size
        return LoadSpec(
            self.processor, draft, overlay_size, max_pixels, white_level, tiling, input_size=self.geometry.input_size
        )

    def _target_ids(self, photos: int, plan: MapPlan, targets: Sequence[int] | None) -> Tensor | None:
        """Return the ids of the classes to explain, (B, K); None: the most likely one of each image."""
        if targets is None and not plan.target:
            return None
        ids = [plan.target] * photos if targets is None else [(target,) for target in targets]
        device = self.network.device
        return torch.tensor(ids, pin_memory=device.type == "cuda").to(device, non_blocking=True)

    def _normalise_pixels(self, pixels: Tensor) -> Tensor:
        """Convert (B, 3, H, W) uint8 on the host to the network's input on its device."""
        inputs = send_pixels(pixels, self.network.device).float()
        return ((inputs - self.mean) * self.scale).to(self.network.dtype)

    def _run_network(self, inputs: Tensor, recorder: AttentionRecorder) -> Tensor:
        """Compute the logits, and check that the recorder saw the attention of every layer."""
        output: Tensor = self.network(pixel_values=inputs, interpolate_pos_encoding=self.interpolate_positions).logits
        grid_h, grid_w = self.geometry.grid
        tokens = self.prefix_tokens + grid_h * grid_w
        check_captures(recorder.shapes, layer_count=len(self.encoder), batch=len(inputs), tokens=tokens)
        return torch.cat([output, -output], dim=1) if self.is_binary else output
