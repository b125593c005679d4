"""The hottest patches of maps, and which of them show the same thing. Pure arrays."""

import numpy as np
import numpy.typing as npt
from PIL import Image

from pipeline.records import Floats, Pixels

SIDE = 42  # pixels of a patch in memory

_CELLS = 7  # of the map, along a side of a patch: the hottest one and its surroundings
_CORE = 18  # pixels of the middle of a patch, searched for in the others
_ALIKE = 0.9  # correlation of equal things in two photos; different lines and edges reach it too, but seldom
_LEAST_CONTRAST = 4.0  # grey levels: a flat surface looks like every other

GreyPatches = npt.NDArray[np.uint8]


def cut_hot_patch(pixels: Pixels, attention: Floats, patch_size: int) -> GreyPatches:
    """Cut out the surroundings of a map's hottest cell: (SIDE, SIDE), grey; the photo's edge is continued.

    Args:
        pixels: (3, H, W), input of the model.
        attention: (grid_h, grid_w), its map.
        patch_size: pixels of the input along a side of a cell.
    """
    row, column = np.unravel_index(int(attention.argmax()), attention.shape)
    half = _CELLS * patch_size // 2
    y, x = (int((place + 0.5) * patch_size) + half for place in (row, column))  # of the centre, in the padded photo
    grey = np.pad(pixels.mean(axis=0), half, mode="edge")  # (H + 2 half, W + 2 half)
    patch = Image.fromarray(grey[y - half : y + half, x - half : x + half].astype(np.float32))
    return np.asarray(patch.resize((SIDE, SIDE), Image.Resampling.BOX)).round().astype(np.uint8)


def find_alike(patches: GreyPatches) -> npt.NDArray[np.bool_]:
    """Tell which patches show the same thing: the middle of the one lies somewhere in the other.

    Args:
        patches: (n, SIDE, SIDE).

    Returns:
        (n, n): true for alike ones, and never for a patch and itself. Flat patches are like none.
    """
    count, offset = len(patches), (SIDE - _CORE) // 2
    values = patches.astype(np.float32)
    cores = _standardise(values[:, offset : offset + _CORE, offset : offset + _CORE].reshape(count, -1))
    alike = np.zeros((count, count), bool)
    for index, patch in enumerate(values):
        windows = np.lib.stride_tricks.sliding_window_view(patch, (_CORE, _CORE)).reshape(-1, _CORE * _CORE)
        best = (_standardise(windows) @ cores.T).max(axis=0)  # (n,), correlation of each core with its best window
        alike[:, index] = best >= _ALIKE
    alike |= alike.T
    np.fill_diagonal(alike, False)
    return alike


def _standardise(values: Floats) -> Floats:
    """Scale rows to mean 0 and length 1; flat ones to 0."""
    centred = values - values.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(centred, axis=1, keepdims=True)
    is_flat = lengths < _LEAST_CONTRAST * np.sqrt(values.shape[1])
    return np.where(is_flat, 0, centred / np.where(is_flat, 1, lengths)).astype(np.float32)
