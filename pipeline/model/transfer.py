"""A batch on its way to a device, and its output on the way back: one copy each, and one wait of the host.

The input goes by a stream of its own, while the device computes the batch before.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from pipeline.records import Output, Pixels


def stack_pixels(pixels: Sequence[Pixels], device: torch.device) -> Tensor:
    """Stack images, b of (3, H, W), to (b, 3, H, W), in memory from which the device can fetch them by itself."""
    stacked = torch.empty(len(pixels), *pixels[0].shape, dtype=torch.uint8, pin_memory=device.type == "cuda")
    np.stack(pixels, out=stacked.numpy())
    return stacked


def send_pixels(pixels: Tensor, device: torch.device) -> Tensor:
    """Send the pixels of a batch to the device; from pinned memory, the host doesn't wait."""
    if device.type != "cuda":
        return pixels.to(device)
    computing, copying = torch.cuda.current_stream(device), _copy_stream(device)
    with torch.cuda.stream(copying):
        sent = pixels.to(device, non_blocking=True)
    computing.wait_stream(copying)
    sent.record_stream(computing)  # so that its memory is not taken while the device reads it
    return sent


@lru_cache
def _copy_stream(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


class PendingOutput:
    """The output of a batch that a device may still be computing.

    Its tensors travel together, as columns of one: each copy of its own would make the host wait once more.
    """

    def __init__(
        self, logits: Tensor, maps: Mapping[str, Tensor], targets: Tensor | None, features: Tensor | None
    ) -> None:
        """Queue the copy behind the computation.

        Args:
            logits: (B, C).
            maps: by method, (B, grid_h, grid_w) each.
            targets: (B, 1) ids of the explained labels, or None.
            features: (B, D), or None.
        """
        self._shapes = {method: values.shape for method, values in maps.items()}
        self._has_targets, self._has_features = targets is not None, features is not None
        parts = [logits, *maps.values(), *(part for part in (targets, features) if part is not None)]
        flat = [part.reshape(len(logits), -1).float() for part in parts]  # ids are exact up to 2^24
        self._widths = [part.shape[1] for part in flat]
        self._values, self._copied = _copy_to_host(torch.cat(flat, dim=1))

    def wait(self) -> Output:
        """Wait for the device.

        Raises:
            RuntimeError: of torch, from the device.
        """
        if self._copied is not None:
            self._copied.synchronize()
        columns = iter(torch.split(self._values, self._widths, dim=1))
        logits = next(columns).numpy()
        maps = {method: next(columns).reshape(shape).numpy() for method, shape in self._shapes.items()}
        targets: Sequence[int] | None = next(columns)[:, 0].int().tolist() if self._has_targets else None
        return Output(logits, maps, targets, next(columns).numpy() if self._has_features else None)


def _copy_to_host(values: Tensor) -> "tuple[Tensor, torch.cuda.Event | None]":
    """Return the values on the host, and what to wait for before reading them; None: they are there."""
    if values.device.type != "cuda":
        return values.cpu(), None
    host = values.to("cpu", non_blocking=True)  # into pinned memory
    # a spinning host would take a core from the decoders
    copied = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
    copied.record(torch.cuda.current_stream(values.device))  # each thread begins with the first device as its own
    return host, copied
