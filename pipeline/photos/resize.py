"""Smaller copies of photos for people, in a fifth of Pillow's time. The model has its own image processor."""

import numpy as np

from pipeline.records import Pixels


def fit_within(size: tuple[int, int], side: int) -> tuple[int, int]:
    """Scale (width, height) down to a longest side of at most `side` pixels; never up, and never below one pixel."""
    width, height = size
    scale = min(1.0, side / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def downscale(photo: Pixels, size: tuple[int, int]) -> Pixels:
    """Make a photo smaller by bicubic interpolation with antialiasing: within 2 of 255 of Pillow's result.

    Args:
        photo: (h, w, 3).
        size: width and height, pixels.

    Returns:
        (height, width, 3).
    """
    import torch  # here: commands without photos start faster without it

    height, width, _ = photo.shape
    if (width, height) == size:
        return photo
    pixels = torch.from_numpy(np.require(photo, requirements="W"))  # torch warns of read-only arrays
    planes = pixels[None].permute(0, 3, 1, 2)  # (1, 3, h, w) with the channels last in memory, torch's fast layout
    smaller = torch.nn.functional.interpolate(planes, size[::-1], mode="bicubic", antialias=True)
    return np.ascontiguousarray(smaller[0].permute(1, 2, 0))
