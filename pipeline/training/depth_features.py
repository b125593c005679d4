"""Features of a backbone cut off at several depths, all from one forward pass."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.errors import StoppedError
from pipeline.model.architecture import encoder_layers
from pipeline.model.features import join_features, record_head_inputs
from pipeline.records import Floats
from pipeline.training.data import PhotoBatch
from pipeline.training.device import TrainingDevice


@torch.no_grad()
def embed_photos(
    model: Any, batches: Iterable[PhotoBatch], depths: Sequence[int], device: TrainingDevice, stop: Callable[[], bool]
) -> Floats:
    """Compute what the head would read if the encoder ended after each of some blocks.

    The network's own norm and pooling come after the last block: there the tokens of the earlier blocks go on as
    further images of the batch.

    Args:
        model: transformers' `...ForImageClassification`.
        batches: the photos.
        depths: numbers of blocks, D of them, from 1.
        device: device and precision of the forward passes.
        stop: asked after each batch.

    Returns:
        (D, n, F): for each depth, one row a photo.

    Raises:
        StoppedError: `stop()` returned true.
    """
    model.eval()
    rows: list[Floats] = []
    for batch in batches:
        with _join_depths(model, depths), record_head_inputs(model) as read, device.autocast():
            model(pixel_values=batch.pixel_values.to(device.name))
        features = join_features(read, len(depths) * len(batch.label_ids))  # (D * B, F)
        rows.append(features.float().reshape(len(depths), len(batch.label_ids), -1).cpu().numpy())
        if stop():
            raise StoppedError("stopped before the training; run the same command again to go on")
    return np.concatenate(rows, axis=1)


@contextmanager
def _join_depths(model: Any, depths: Sequence[int]) -> Iterator[None]:
    """Make the last block return the tokens after each depth inside the block, (D * B, N, width)."""
    layers = encoder_layers(model)
    kept: dict[int, Tensor] = {}

    def keep_tokens(depth: int) -> Callable[[nn.Module, Any, Any], Any]:
        def hook(_: nn.Module, __: Any, output: Any) -> Any:
            kept[depth] = output[0] if isinstance(output, tuple) else output
            if depth < len(layers):
                return None
            joined = torch.cat([kept[depth] for depth in depths])
            return (joined, *output[1:]) if isinstance(output, tuple) else joined

        return hook

    handles = [layer.register_forward_hook(keep_tokens(depth)) for depth, layer in enumerate(layers, start=1)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
