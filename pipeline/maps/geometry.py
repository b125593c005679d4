"""Boxes of a map: in cells of the map, in pixels of the photo, in pixels of a smaller picture."""

from pipeline.records import Box


def scale_box(box: Box, from_size: tuple[int, int], to_size: tuple[int, int]) -> Box:
    """Convert a box from pixels of one picture to pixels of another of the same content; sizes are (width, height)."""
    scale_x, scale_y = to_size[0] / from_size[0], to_size[1] / from_size[1]
    x0, y0, x1, y1 = box
    return x0 * scale_x, y0 * scale_y, x1 * scale_x, y1 * scale_y


def visible_part(box: Box, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return the whole pixels of a picture, (width, height), covered by a box: left, top, right, bottom."""
    x0, y0, x1, y1 = box
    return max(0, round(x0)), max(0, round(y0)), min(size[0], round(x1)), min(size[1], round(y1))


def cells_under(visible: tuple[int, int, int, int], box: Box, grid: tuple[int, ...]) -> Box:
    """Return the part of a map under some pixels of the box covered by the map.

    Args:
        visible: left, top, right, bottom.
        box: x0, y0, x1, y1, in the same pixels.
        grid: (grid_h, grid_w).

    Returns:
        (x0, y0, x1, y1) in cells.
    """
    left, top, right, bottom = visible
    (x0, y0, x1, y1), (grid_h, grid_w) = box, grid
    per_x, per_y = grid_w / (x1 - x0), grid_h / (y1 - y0)  # cells per pixel
    return (
        max(0.0, (left - x0) * per_x),
        max(0.0, (top - y0) * per_y),
        min(float(grid_w), (right - x0) * per_x),
        min(float(grid_h), (bottom - y0) * per_y),
    )
