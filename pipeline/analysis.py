"""The maps of a whole table at once: frames of `read_results` in, arrays and frames out.

Photos that failed have no map. Frames that come back have the index of the one that went in, whatever was selected,
sorted or set as the index before: `frame.join(map_statistics(frame))`. All functions raise ValueError where the frame
lacks a column that they need, and where its maps are of different grids.
"""

from collections.abc import Collection, Hashable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pipeline.maps.statistics import (
    HOT_PERCENTILE,
    Doubles,
    cell_shares,
    centroid,
    concentration,
    entropy,
    regions,
    scaled,
)
from pipeline.records import Floats

if TYPE_CHECKING:  # half a second to import
    import pandas as pd

_BLOCK = 2**24  # similarities in memory at once


def stack_attention(frame: "pd.DataFrame") -> Floats:
    """The maps of a table as one array.

    Args:
        frame: rows of `read_results` with attention, grid_h and grid_w; failed rows are left out.

    Returns:
        (n, grid_h, grid_w), raw as the model gave them, in the order of the rows; (0, 0, 0) where there are none.

    Raises:
        ValueError: the rows come from models with different grids; select those of one first. Or a column is missing.
    """
    rows = _with_maps(frame)
    grids = rows[["grid_h", "grid_w"]].drop_duplicates().astype(int).to_numpy().tolist()
    if len(grids) > 1:
        raise ValueError(f"maps of different grids can't be stacked: {sorted(grids)}; select the rows of one grid")
    if not grids:
        return np.empty((0, 0, 0), np.float32)
    return np.concatenate(rows["attention"].to_list(), dtype=np.float32).reshape(len(rows), *grids[0])


def mean_maps(frame: "pd.DataFrame", by: str = "label") -> dict[Any, Doubles]:
    """The mean of the raw maps of each label.

    Args:
        frame: with attention, grid_h, grid_w and `by`.
        by: the column that says which maps belong together.

    Returns:
        (grid_h, grid_w) of each label that has maps, sorted by label.
    """
    rows, maps = _with_maps(frame, by), stack_attention(frame)
    members: Any = rows.groupby(by, observed=True).indices
    return {label: maps[members[label]].mean(axis=0, dtype=np.float64) for label in sorted(members)}


def map_statistics(frame: "pd.DataFrame") -> "pd.DataFrame":
    """How spread out each map is, and where its centre lies.

    Args:
        frame: with attention, grid_h, grid_w and map_box.

    Returns:
        A row for each of the frame's, NaN where it has no map:
        entropy: 0..log(cells), of the cells' shares of their sum; values below 0 count as 0.
        concentration: 1 - entropy / log(cells), from 0, all cells alike, to 1, all in one cell.
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
    """Boxes around the hottest regions of each map: hot cells that touch, also by a corner, are one region.

    Args:
        frame: with attention, grid_h, grid_w, map_box, width and height.
        threshold: what counts as hot: 0..1 between a map's minimum, or 0 where that is less, and its 98th percentile,
            as overlays are scaled.

    Returns:
        A row for each region, the hottest of a photo first, with the photo's index:
        x0, y0, x1, y1: in upright pixels of the photo, within 0..width and 0..height; what lies outside, where the
        model saw padding, is cut off or left out.
        cells: how many cells of the map.
        share: 0..1, of the map's sum.
    """
    import pandas as pd

    rows, maps = _with_maps(frame, "map_box", "width", "height"), stack_attention(frame)
    if not len(rows):
        return pd.DataFrame(columns=["x0", "y0", "x1", "y1", "cells", "share"], index=rows.index, dtype=float)
    found = _hot_regions(maps, threshold)
    photo = found["photo"].to_numpy()
    map_box, size = _map_boxes(rows)[photo], rows[["width", "height"]].to_numpy()[photo]
    corners = [found[["left", "top"]].to_numpy(), found[["right", "bottom"]].to_numpy()]
    pixels = [_to_pixels(corner, maps.shape[1:], map_box).clip(0, size) for corner in corners]
    boxes = pd.DataFrame(np.hstack(pixels), rows.index[photo], ["x0", "y0", "x1", "y1"])
    boxes[["cells", "share"]] = found[["cells", "share"]].to_numpy()
    return boxes[(boxes["x0"] < boxes["x1"]) & (boxes["y0"] < boxes["y1"])].astype({"cells": int})


def nearest_maps(frame: "pd.DataFrame", count: int = 5, of: Collection[Hashable] | None = None) -> "pd.DataFrame":
    """The photos where the model looked at most nearly the same places.

    Args:
        frame: with attention, grid_h and grid_w.
        count: how many for each photo; fewer where there are not so many others.
        of: the photos to look up, by their labels of the frame's index; all by default, which takes a time that grows
            with their square.

    Returns:
        `count` rows for each photo, the most similar first, with the photo's index:
        nearest: the other photo's label of the index.
        similarity: -1..1, the correlation of the two maps' cells, those above the 98th percentile counted as it, so
        that no single cell outshines the rest; 0 where a map is even.

    Raises:
        ValueError: a photo to look up has no map. And see above.
    """
    import pandas as pd

    rows, maps = _with_maps(frame), stack_attention(frame)
    places = np.arange(len(rows))
    if of is not None:
        if missing := [label for label in of if label not in rows.index]:
            raise ValueError(f"no map in this frame: {missing}")
        places = rows.index.get_indexer_for(pd.Index(list(of)))
    count = min(count, len(rows) - 1)
    if count < 1:
        return pd.DataFrame(columns=["nearest", "similarity"], index=rows.index[:0])
    nearest, similarity = _most_similar(_directions(scaled(maps, HOT_PERCENTILE)), places, count)
    index = rows.index[places].repeat(count)
    return pd.DataFrame({"nearest": rows.index[nearest.ravel()], "similarity": similarity.ravel()}, index)


def _with_maps(frame: "pd.DataFrame", *columns: str) -> "pd.DataFrame":
    """The rows that have a map."""
    needed = ("attention", "grid_h", "grid_w", *columns)
    if missing := [name for name in needed if name not in frame.columns]:
        raise ValueError(f"the frame has no column {', '.join(missing)}; read_results(out, columns=[...]) gives it")
    return frame[frame["attention"].notna()]


def _map_boxes(rows: "pd.DataFrame") -> Doubles:
    """(n, 4): x0, y0, x1, y1 in pixels of the photo."""
    return np.stack(rows["map_box"].to_list()).astype(np.float64)


def _to_pixels(points: npt.NDArray[np.int64] | Doubles, grid: Sequence[int], map_box: Doubles) -> Doubles:
    """(m, 2), x and y in cells of the map; (grid_h, grid_w); the map's (m, 4) boxes -> (m, 2) pixels of the photo."""
    grid_h, grid_w = grid
    return map_box[:, :2] + points * (map_box[:, 2:] - map_box[:, :2]) / (grid_w, grid_h)


def _hot_regions(maps: Floats, threshold: float) -> "pd.DataFrame":
    """Each region's photo (its number), edges in cells, cells and share; sorted by photo and share."""
    import pandas as pd

    heat = np.maximum(maps, 0)  # below is what speaks against a label
    region = regions(scaled(heat, HOT_PERCENTILE) >= threshold)
    shares = cell_shares(maps.reshape(len(maps), -1)).reshape(maps.shape)
    hot = np.nonzero(region >= 0)
    photo, y, x = hot
    cells = pd.DataFrame({"photo": photo, "region": region[hot], "left": x, "top": y, "right": x + 1, "bottom": y + 1})
    groups = cells.assign(cells=1, share=shares[hot]).groupby(["photo", "region"])
    found = groups.agg(
        {"left": "min", "top": "min", "right": "max", "bottom": "max", "cells": "sum", "share": "sum"}
    ).reset_index()
    return found.sort_values(["photo", "share"], ascending=[True, False], kind="stable")


def _directions(maps: Floats) -> Floats:
    """(n, grid_h, grid_w) -> (n, cells): each map less its mean, of length 1; of length 0 where the map is even."""
    cells = maps.reshape(len(maps), -1)
    directions: Floats = cells - cells.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(directions, axis=1, keepdims=True)
    directions /= np.where(lengths > 0, lengths, 1)
    return directions


def _most_similar(
    directions: Floats, places: npt.NDArray[np.intp], count: int
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float32]]:
    """(n, cells); (m,) of these, each to be compared with all -> (m, count) places, and how similar they are."""
    nearest = np.empty((len(places), count), np.intp)
    similarity = np.empty((len(places), count), np.float32)
    step = max(1, _BLOCK // len(directions))
    for start in range(0, len(places), step):
        block = slice(start, start + step)
        distance = -(directions[places[block]] @ directions.T)  # (block, n)
        np.put_along_axis(distance, places[block, None], np.inf, axis=1)  # not itself
        best = np.argpartition(distance, count - 1, axis=1)[:, :count]
        best = np.take_along_axis(best, np.take_along_axis(distance, best, axis=1).argsort(axis=1), axis=1)
        nearest[block], similarity[block] = best, -np.take_along_axis(distance, best, axis=1)
    return nearest, similarity.clip(-1, 1)
