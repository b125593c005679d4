"""The numbers of a map written down once more from their definitions, in plain Python."""

import math

import numpy as np


def numbers_of_map(attention: np.ndarray) -> tuple[float, float, float, float]:
    """Return entropy, concentration, and the centre as x and y in cells, of one map (grid_h, grid_w)."""
    cells = {(row, column): max(0.0, float(value)) for (row, column), value in np.ndenumerate(attention)}
    total = sum(cells.values())
    shares = {position: value / total if total else 1 / len(cells) for position, value in cells.items()}
    entropy = -sum(share * math.log(share) for share in shares.values() if share)
    x, y = (sum(share * (position[axis] + 0.5) for position, share in shares.items()) for axis in (1, 0))
    return entropy, 1 - entropy / math.log(max(2, len(cells))), x, y
