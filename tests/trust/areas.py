"""Areas of defects, drawn by hand."""

import numpy as np


def area_of(*boxes, size=(40, 40)):
    """Return an area (h, w) that is true inside boxes of whole pixels."""
    inside = np.zeros(size, bool)
    for x0, y0, x1, y1 in boxes:
        inside[y0:y1, x0:x1] = True
    return inside
