"""Photos made smaller to be looked at, in a fifth of Pillow's time. The model's go through its own image processor."""

import numpy as np

from pipeline.records import Pixels


def downscale(photo: Pixels, size: tuple[int, int]) -> Pixels:
    """A photo made smaller by bicubic interpolation with antialiasing: within 2 of 255 of what Pillow makes.

    Args:
        photo: (h, w, 3).
        size: width and height, pixels.

    Returns:
        (height, width, 3).
    """
    import torch  # here, for commands that shrink nothing start faster without it

    height, width, _ = photo.shape
    if (width, height) == size:
        return photo
    pixels = torch.from_numpy(np.require(photo, requirements="W"))  # it warns of an array that it can't write to
    planes = pixels[None].permute(0, 3, 1, 2)  # (1, 3, h, w), and torch's fast layout: in memory pixel by pixel
    smaller = torch.nn.functional.interpolate(planes, size[::-1], mode="bicubic", antialias=True)
    return np.ascontiguousarray(smaller[0].permute(1, 2, 0))
