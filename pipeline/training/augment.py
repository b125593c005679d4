"""Augmentations for inspection photos: a part may lie in any orientation and under any lamp.

All work on one uint8 image, so a training batch takes a quarter of its float32 size until it is normalised.
No shear, no colour shift, no erasing: they create or hide defects.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import interpolate


@dataclass(frozen=True)
class Augmentation:
    """The random changes of training photos; the default changes nothing.

    Attributes:
        flips: mirror left-right and top-bottom, each with probability 1/2.
        quarter_turns: turn by 0, 90, 180 or 270 degrees, equally likely.
        brightness: multiply by a factor from [1 - brightness, 1 + brightness]; 0 is off.
        contrast: scale the distance from the image's mean by a factor from [1 - contrast, 1 + contrast]; 0 is off.
        crop: cut away up to this share of each side, at a random position; 0 is off.
    """

    flips: bool = False
    quarter_turns: bool = False
    brightness: float = 0.0
    contrast: float = 0.0
    crop: float = 0.0

    def cache_size(self, input_size: int) -> int:
        """Return the side, in pixels, of cached photos: the smallest crop still has the input's resolution."""
        return math.ceil(input_size / (1 - self.crop))


def augment(pixels: Tensor, augmentation: Augmentation, input_size: int, generator: torch.Generator) -> Tensor:
    """Draw one change of each enabled kind and apply them.

    Args:
        pixels: (3, S, S) uint8, S = `augmentation.cache_size(input_size)`.
        augmentation: kinds and ranges of the changes.
        input_size: side of the result in pixels.
        generator: the only source of randomness: equal state, equal result.

    Returns:
        (3, input_size, input_size) uint8.
    """
    pixels = _crop_randomly(pixels, augmentation.crop, input_size, generator)  # (3, input_size, input_size)
    if augmentation.flips:
        axes = [axis for axis in (1, 2) if _draw_uniform(0, 1, generator) < 0.5]
        pixels = pixels.flip(axes)
    if augmentation.quarter_turns:
        pixels = pixels.rot90(int(torch.randint(4, (), generator=generator)), (1, 2))
    if augmentation.brightness == 0 and augmentation.contrast == 0:
        return pixels
    brightness_factor = _draw_uniform(1 - augmentation.brightness, 1 + augmentation.brightness, generator)
    contrast_factor = _draw_uniform(1 - augmentation.contrast, 1 + augmentation.contrast, generator)
    lit = pixels.float() * brightness_factor
    mean = lit.mean()
    return _round_to_uint8((lit - mean) * contrast_factor + mean)


def _crop_randomly(pixels: Tensor, share: float, input_size: int, generator: torch.Generator) -> Tensor:
    """Cut out a random square, at least `input_size` wide, and resize it: (3, S, S) -> (3, input_size, input_size)."""
    if share == 0:
        return pixels
    full_side = pixels.shape[-1]
    side = int(torch.randint(min(input_size, full_side), full_side + 1, (), generator=generator))
    top, left = (int(torch.randint(full_side - side + 1, (), generator=generator)) for _ in range(2))
    crop = pixels[:, top : top + side, left : left + side]  # (3, side, side)
    if side == input_size:
        return crop
    return _round_to_uint8(
        interpolate(crop[None].float(), (input_size, input_size), mode="bilinear", antialias=True)[0]
    )


def _round_to_uint8(pixels: Tensor) -> Tensor:
    return pixels.round().clamp(0, 255).to(torch.uint8)


def _draw_uniform(low: float, high: float, generator: torch.Generator) -> float:
    return low + (high - low) * float(torch.rand((), generator=generator))
