"""Analysis of all maps of a table: frames of `read_results` in, arrays and frames out.

Failed photos have no map. Returned frames keep the index of the given frame, after any selection, sorting or
`set_index`: `frame.join(map_statistics(frame))`. All functions raise ValueError if the frame lacks a required column or
holds maps of different grids.
"""

from collections.abc import Collection, Hashable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pipeline.maps.statistics import (
    HOT_PERCENTILE,
    cell_shares,
    centroid,
    concentration,
    entropy,
    label_regions,
    scale_to_unit,
)
from pipeline.records import Doubles, Floats

if TYPE_CHECKING:  # pandas takes half a second to import
    import pandas as pd

_SIMILARITIES_AT_ONCE = 2**24  # in memory


def stack_attention(frame: "pd.DataFrame") -> Floats:
    """Stack the maps of a table into one array.

    Args:
        frame: rows of `read_results` with attention, grid_h and grid_w; failed rows are left out.

    Returns:
        (n, grid_h, grid_w), raw model output, in the order of the rows; (0, 0, 0) for a table without maps.

    Raises:
        ValueError: the rows come from models with different grids (select the rows of one first), or a column is
            missing.
    """
    rows = _with_maps(frame)
    grids = rows[["grid_h", "grid_w"]].drop_duplicates().astype(int).to_numpy().tolist()
    if len(grids) > 1:
        raise ValueError(f"maps of different grids can't be stacked: {sorted(grids)}; select the rows of one grid")
    if not grids:
        return np.empty((0, 0, 0), np.float32)
    return np.concatenate(rows["attention"].to_list(), dtype=np.float32).reshape(len(rows), *grids[0])


def mean_maps(frame: "pd.DataFrame", by: str = "label") -> dict[Any, Doubles]:
    """Return the mean of the raw maps of each label.

    Args:
        frame: with attention, grid_h, grid_w and `by`.
        by: column to group the maps by.

    Returns:
        A (grid_h, grid_w) map for each label with at least one map, sorted by label.
    """
    rows, maps = _with_maps(frame, by), stack_attention(frame)
    members: Any = rows.groupby(by, observed=True).indices
    return {label: maps[members[label]].mean(axis=0, dtype=np.float64) for label in sorted(members)}


def map_statistics(frame: "pd.DataFrame") -> "pd.DataFrame":
    """Measure the spread and the centre of each map.

    Args:
        frame: with attention, grid_h, grid_w and map_box.

    Returns:
        One row for each row of the frame, NaN for rows without a map:
        entropy: 0..log(cells), of the cells' shares of their sum; values below 0 count as 0.
        concentration: 1 - entropy / log(cells), from 0, uniform, to 1, all in one cell.
        centroid_x, centroid_y: the centre of mass, in upright pixels of the photo.
    """
    import pandas as pd

    rows, maps = _with_maps(frame, "map_box"), stack_attention(frame)
    columns = ["entropy", "concentration", "centroid_x", "centroid_y"]
    statistics = pd.DataFrame(np.nan, frame.index, columns)
    if len(rows):
        cells = maps.reshape(len(rows), -1)
        centres = _to_pixels(centroid(maps), maps.shape[1:], _map_boxes(rows))
        values = np.column_stack([entropy(cells), concentration(cells), centres])
        statistics.loc[frame["attention"].notna().to_numpy()] = values
    return statistics


def hot_boxes(frame: "pd.DataFrame", threshold: float = 0.5) -> "pd.DataFrame":
    """Draw boxes around the hottest regions of each map; hot cells that touch, even at a corner, are one region.

    Args:
        frame: with attention, grid_h, grid_w, map_box, width and height.
        threshold: 0..1, lowest value of a hot cell on the scale of the overlays: from a map's minimum (0 if negative)
            to its 98th percentile.

    Returns:
        One row for each region, the hottest of a photo first, with the photo's index:
        x0, y0, x1, y1: in upright pixels of the photo, within 0..width and 0..height; boxes are clipped to the photo,
        and regions entirely in the model's padding are left out.
        cells: number of cells of the map.
        share: 0..1, of the map's sum.
    """
    import pandas as pd

    rows, maps = _with_maps(frame, "map_box", "width", "height"), stack_attention(frame)
    if not len(rows):
        return pd.DataFrame(columns=["x0", "y0", "x1", "y1", "cells", "share"], index=rows.index, dtype=float)
    regions = _hot_regions(maps, threshold)
    photo = regions["photo"].to_numpy()
    map_box, size = _map_boxes(rows)[photo], rows[["width", "height"]].to_numpy()[photo]
    corners = [regions[["left", "top"]].to_numpy(), regions[["right", "bottom"]].to_numpy()]
    pixels = [_to_pixels(corner, maps.shape[1:], map_box).clip(0, size) for corner in corners]
    boxes = pd.DataFrame(np.hstack(pixels), rows.index[photo], ["x0", "y0", "x1", "y1"])
    boxes[["cells", "share"]] = regions[["cells", "share"]].to_numpy()
    return boxes[(boxes["x0"] < boxes["x1"]) & (boxes["y0"] < boxes["y1"])].astype({"cells": int})


def nearest_maps(frame: "pd.DataFrame", count: int = 5, of: Collection[Hashable] | None = None) -> "pd.DataFrame":
    """Find the photos with the most similar maps: the model looked at nearly the same places.

    Args:
        frame: with attention, grid_h and grid_w.
        count: number of similar photos for each photo; fewer in a small table.
        of: photos to look up, by their labels in the frame's index; all by default, in time proportional to the square
            of their number.

    Returns:
        `count` rows for each photo, the most similar first, with the photo's index:
        nearest: label of the other photo in the index.
        similarity: -1..1, correlation of the two maps' cells, clipped at each map's 98th percentile so that no single
        cell outshines the rest; 0 for a uniform map.

    Raises:
        ValueError: a photo to look up has no map, or one of the reasons named at the top of this module.
    """
    import pandas as pd

    rows, maps = _with_maps(frame), stack_attention(frame)
    positions = np.arange(len(rows))
    if of is not None:
        if missing := [label for label in of if label not in rows.index]:
            raise ValueError(f"no map in this frame: {missing}")
        positions = rows.index.get_indexer_for(pd.Index(list(of)))
    count = min(count, len(rows) - 1)
    if count < 1:
        return pd.DataFrame(columns=["nearest", "similarity"], index=rows.index[:0])
    directions = _unit_directions(scale_to_unit(maps, HOT_PERCENTILE))
    nearest, similarity = _most_similar(directions, positions, count)
    index = rows.index[positions].repeat(count)
    return pd.DataFrame({"nearest": rows.index[nearest.ravel()], "similarity": similarity.ravel()}, index)


def _with_maps(frame: "pd.DataFrame", *columns: str) -> "pd.DataFrame":
    """Select the rows with a map; raise ValueError if a required column is missing."""
    needed = ("attention", "grid_h", "grid_w", *columns)
    if missing := [name for name in needed if name not in frame.columns]:
        raise ValueError(f"the frame has no column {', '.join(missing)}; read_results(out, columns=[...]) gives it")
    return frame[frame["attention"].notna()]


def _map_boxes(rows: "pd.DataFrame") -> Doubles:
    """Return the map boxes, (n, 4): x0, y0, x1, y1 in pixels of each photo."""
    return np.stack(rows["map_box"].to_list()).astype(np.float64)


def _to_pixels(points: npt.NDArray[np.int64] | Doubles, grid: Sequence[int], map_box: Doubles) -> Doubles:
    """Convert points from cells of their maps to pixels of their photos.

    Args:
        points: (m, 2), x and y in cells.
        grid: (grid_h, grid_w) of the maps.
        map_box: (m, 4), the box of each point's map.

    Returns:
        (m, 2), x and y in pixels.
    """
    grid_h, grid_w = grid
    return map_box[:, :2] + points * (map_box[:, 2:] - map_box[:, :2]) / (grid_w, grid_h)


def _hot_regions(maps: Floats, threshold: float) -> "pd.DataFrame":
    """Find the hot regions of the maps: (n, grid_h, grid_w) -> one row for each region.

    The columns are photo (an index into the maps), the edges left, top, right, bottom in cells, cells and share. The
    rows are sorted by photo and falling share.
    """
    import pandas as pd

    heat = np.maximum(maps, 0)  # negative values speak against a label
    regions = label_regions(scale_to_unit(heat, HOT_PERCENTILE) >= threshold)
    shares = cell_shares(maps.reshape(len(maps), -1)).reshape(maps.shape)
    hot = photo, y, x = np.nonzero(regions)
    cells = pd.DataFrame({"photo": photo, "x": x, "y": y, "share": shares[hot]})
    by_region = cells.groupby(regions[hot]).agg(
        photo=("photo", "first"),
        left=("x", "min"),
        top=("y", "min"),
        right=("x", "max"),
        bottom=("y", "max"),
        cells=("x", "size"),
        share=("share", "sum"),
    )
    by_region[["right", "bottom"]] += 1  # from the last cell to its far edge
    return by_region.sort_values(["photo", "share"], ascending=[True, False], kind="stable")


def _unit_directions(maps: Floats) -> Floats:
    """Subtract each map's mean and scale it to length 1, uniform maps to 0: (n, grid_h, grid_w) -> (n, cells)."""
    cells = maps.reshape(len(maps), -1)
    directions: Floats = cells - cells.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(directions, axis=1, keepdims=True)
    directions /= np.where(lengths > 0, lengths, 1)
    return directions


def _most_similar(
    directions: Floats, positions: npt.NDArray[np.intp], count: int
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float32]]:
    """Find the most similar other directions.

    Args:
        directions: (n, cells), of length 1 or 0.
        positions: (m,), rows of `directions` to compare with all others.
        count: number of results for each, less than n.

    Returns:
        Positions and similarities (-1..1), (m, count) each, the most similar first.
    """
    nearest = np.empty((len(positions), count), np.intp)
    similarity = np.empty((len(positions), count), np.float32)
    step = max(1, _SIMILARITIES_AT_ONCE // len(directions))
    for start in range(0, len(positions), step):
        block = slice(start, start + step)
        distance = -(directions[positions[block]] @ directions.T)  # (block, n)
        np.put_along_axis(distance, positions[block, None], np.inf, axis=1)  # exclude the photo itself
        best = np.argpartition(distance, count - 1, axis=1)[:, :count]  # (block, count), unsorted
        best = np.take_along_axis(best, np.take_along_axis(distance, best, axis=1).argsort(axis=1), axis=1)
        nearest[block], similarity[block] = best, -np.take_along_axis(distance, best, axis=1)
    return nearest, similarity.clip(-1, 1)
