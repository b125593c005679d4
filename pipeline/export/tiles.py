"""Large photos -> overlapping square tiles, for defects too small to be seen in a whole photo by a detector."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import ceil

from pipeline.export.dataset import ExportBox, ExportDataset, ExportPhoto, Window
from pipeline.labelled.csv_table import SPLITS

_OVERLAP = 4  # a quarter of a tile's side at least: smaller boxes are whole in one tile
_KEPT_SHARE = 0.5  # of a box's area inside a tile


def cut_tiles(dataset: ExportDataset, side: int) -> ExportDataset:
    """Return the data set with every photo larger than a tile cut into tiles, all in the split of their photo.

    A box belongs to the tiles with at least half of it, clipped to them; a box too large for that, to the tile with
    its largest part. A tile with less than half of a defect and no box is left out: it is neither good nor an example.
    Any other tile without a box takes the label of the good photos, if there are any.

    Args:
        dataset: of photos with complete boxes.
        side: pixels of a tile.
    """
    good = next((photo for photo in dataset.photos if photo.is_good), None)
    tiles = [tile for photo in dataset.photos for tile in _cut_photo(photo, side, good)]
    return replace(dataset, photos=tuple(sorted(tiles, key=lambda tile: (SPLITS.index(tile.split), tile.name))))


def place_tiles(length: int, side: int) -> list[int]:
    """Return where tiles begin along one side of a photo: evenly, from edge to edge, with the overlap or more."""
    if length <= side:
        return [0]
    overlap = side // _OVERLAP
    count = ceil((length - overlap) / (side - overlap))
    return [round(number * (length - side) / (count - 1)) for number in range(count)]


def _cut_photo(photo: ExportPhoto, side: int, good: ExportPhoto | None) -> Iterator[ExportPhoto]:
    if photo.width <= side and photo.height <= side:
        yield photo
        return
    windows = [
        (x0, y0, min(x0 + side, photo.width), min(y0 + side, photo.height))
        for y0 in place_tiles(photo.height, side)
        for x0 in place_tiles(photo.width, side)
    ]
    boxes: dict[Window, list[ExportBox]] = {window: [] for window in windows}
    for box in photo.boxes:
        for window in _choose_windows(box, windows):
            boxes[window].append(_clip_box(box, window))
    for window in windows:
        if boxes[window] or not any(_area_inside(box, window) for box in photo.boxes):
            yield _build_tile(photo, window, tuple(boxes[window]), good)


def _choose_windows(box: ExportBox, windows: Sequence[Window]) -> list[Window]:
    """Return the windows to keep a box in: those with half of it, or else that with most of it."""
    area = (box.x1 - box.x0) * (box.y1 - box.y0)
    inside = {window: _area_inside(box, window) for window in windows}
    kept = [window for window in windows if inside[window] >= _KEPT_SHARE * area]
    return kept or [max(windows, key=lambda window: inside[window])]


def _area_inside(box: ExportBox, window: Window) -> float:
    width = min(box.x1, window[2]) - max(box.x0, window[0])
    height = min(box.y1, window[3]) - max(box.y0, window[1])
    return max(width, 0.0) * max(height, 0.0)


def _clip_box(box: ExportBox, window: Window) -> ExportBox:
    """Return the part of a box inside a window, in pixels of the window."""
    x0, y0, x1, y1 = window
    return replace(
        box,
        x0=max(box.x0, x0) - x0,
        y0=max(box.y0, y0) - y0,
        x1=min(box.x1, x1) - x0,
        y1=min(box.y1, y1) - y0,
    )


def _build_tile(
    photo: ExportPhoto, window: Window, boxes: tuple[ExportBox, ...], good: ExportPhoto | None
) -> ExportPhoto:
    """Build the tile of a photo; its label is that of the photo if it shows such a defect, else of its first box."""
    x0, y0, x1, y1 = window
    shown: ExportPhoto | ExportBox = photo
    if boxes and photo.label not in [box.label for box in boxes]:
        shown = boxes[0]
    elif not boxes and good is not None:
        shown = good
    return replace(
        photo,
        name=f"{photo.name.rpartition('.')[0]}-x{x0}-y{y0}.png",
        label=shown.label,
        class_id=shown.class_id,
        is_good=not boxes,
        boxes=boxes,
        width=x1 - x0,
        height=y1 - y0,
        is_plain=False,
        window=window,
    )
