"""Augmentations that inspection photos bear: a part may lie any way round and under any lamp.

All work on one uint8 image, so a training batch stays four times smaller than in float until it is normalised.
No shear, no colour shift, no erasing: they make or hide what an inspector looks for.
"""

import math
from dataclasses import dataclass

import torch
from torch.nn.functional import interpolate


@dataclass(frozen=True)
class Augmentation:
    """Which changes may be drawn; the default changes nothing.

    Attributes:
        flips: mirror left-right and top-bottom, each with probability 1/2.
        quarter_turns: turn by 0, 90, 180 or 270 degrees, equally likely.
        brightness: multiply by a factor from [1 - brightness, 1 + brightness]; 0 is off.
        contrast: scale the distance from the image's mean by such a factor; 0 is off.
        crop: cut away up to this share of each side, at a random place; 0 is off.
    """

    flips: bool = False
    quarter_turns: bool = False
    brightness: float = 0.0
    contrast: float = 0.0
    crop: float = 0.0

    def cache_size(self, input_size: int) -> int:
        """Side, in pixels, to keep photos at so that the smallest crop still has the input's resolution."""
        return math.ceil(input_size / (1 - self.crop))


def augment(pixels: torch.Tensor, changes: Augmentation, input_size: int, generator: torch.Generator) -> torch.Tensor:
    """Draw one change of each kind that is on and apply them.

    Args:
        pixels: (3, S, S) uint8, S = `changes.cache_size(input_size)`.
        changes: what may be drawn.
        input_size: side of the result in pixels.
        generator: the only source of chance: equal state, equal result.

    Returns:
        (3, input_size, input_size) uint8.
    """
    pixels = _crop(pixels, changes.crop, input_size, generator)
    if changes.flips:
        sides = [side for side in (1, 2) if _uniform(0, 1, generator) < 0.5]
        pixels = pixels.flip(sides)
    if changes.quarter_turns:
        pixels = pixels.rot90(int(torch.randint(4, (), generator=generator)), (1, 2))
    if changes.brightness == 0 and changes.contrast == 0:
        return pixels
    gain = _uniform(1 - changes.brightness, 1 + changes.brightness, generator)
    spread = _uniform(1 - changes.contrast, 1 + changes.contrast, generator)
    light = pixels.float() * gain
    mean = light.mean()
    return ((light - mean) * spread + mean).round().clamp(0, 255).to(torch.uint8)


def _crop(pixels: torch.Tensor, share: float, input_size: int, generator: torch.Generator) -> torch.Tensor:
    if share == 0:
        return pixels
    full = pixels.shape[-1]
    side = int(torch.randint(min(input_size, full), full + 1, (), generator=generator))
    top, left = (int(torch.randint(full - side + 1, (), generator=generator)) for _ in range(2))
    part = pixels[:, top : top + side, left : left + side]
    if side == input_size:
        return part
    resized = interpolate(part[None].float(), (input_size, input_size), mode="bilinear", antialias=True)[0]
    return resized.round().clamp(0, 255).to(torch.uint8)


def _uniform(low: float, high: float, generator: torch.Generator) -> float:
    return low + (high - low) * float(torch.rand((), generator=generator))
