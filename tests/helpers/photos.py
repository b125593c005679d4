"""Generated photos, as files and as images."""

from pathlib import Path

import numpy as np
from PIL import Image

_SIZES = ((131, 90), (77, 143), (201, 60), (99, 101))  # (width, height): none square, no multiple of a patch


def save_photos(folder: Path, count: int, *, size: tuple[int, int] = (48, 40), seed: int = 0) -> list[str]:
    """Save smooth random PNG photos, each different; return their names.

    Args:
        folder: made where it is missing.
        count: number of photos.
        size: (width, height) in pixels, of all photos.
        seed: other seeds give other photos, under the same names.
    """
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    names = [f"photo-{index:04d}.png" for index in range(count)]
    for name in names:
        coarse = random.integers(0, 256, (4, 5, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).save(folder / name)
    return names


def make_photos(count: int, *, seed: int = 0) -> list[Image.Image]:
    """Return RGB photos of four different sizes and shapes."""
    random = np.random.default_rng(seed)
    photos = []
    for index in range(count):
        coarse = random.integers(0, 256, (5 + index % 3, 6, 3), dtype=np.uint8)
        photos.append(Image.fromarray(coarse).resize(_SIZES[index % len(_SIZES)], Image.Resampling.BICUBIC))
    return photos
