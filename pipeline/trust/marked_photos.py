"""Photos on disk with the places of their defects, as boxes or masks."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.errors import DataError, DecodeError
from pipeline.labelled.boxes import select_boxes
from pipeline.labelled.csv_table import read_paths, splits_of
from pipeline.labelled.read import find_root
from pipeline.labelled.splits import CORNERS, resolve_split
from pipeline.photos.discover import discover
from pipeline.photos.resize import fit_within
from pipeline.records import Box, ImageRef, PixelBox, Sample
from pipeline.trust.config import TrustConfig
from pipeline.trust.mask_files import DEFAULT_FOLDERS, find_masks, warn_of_masks_among
from pipeline.trust.masks import read_mask, shrink_mask
from pipeline.trust.pointing import DefectArea

log = logging.getLogger(__name__)

_AREA_SIDE = 512  # pixels of a defect area's longest side: maps are too smooth for more to matter
_LARGE_SHARE = 0.5  # of a photo inside its mask: more is odd for a defect


@dataclass(frozen=True)
class MarkedPhoto:
    """One photo, with the known facts about it.

    Attributes:
        ref: the file.
        label: its class; None: unknown.
        boxes: (x0, y0, x1, y1) of its defects in upright pixels.
        mask: a picture of the photo's size, see `masks.py`; None: no mask.
        window: the part of the photo to measure on, upright pixels; None: all of it. Boxes are in pixels of this part.
        photo_size: width and height of the whole photo, if there is a window.
    """

    ref: ImageRef
    label: str | None = None
    boxes: tuple[Box, ...] = ()
    mask: Path | None = None
    window: PixelBox | None = None
    photo_size: tuple[int, int] | None = None

    @property
    def is_marked(self) -> bool:
        """Whether the places of the defects are known."""
        return bool(self.boxes) or self.mask is not None

    def draw_defect_area(self, sample: Sample) -> DefectArea:
        """Draw the area of the defects, (h, w), with the photo scaled down to a longest side of at most 512 pixels.

        A pixel partly inside a defect counts as inside, otherwise small defects would vanish.

        Raises:
            DecodeError: the mask can't be read, or differs in size from the photo; a box covers no pixel of the photo.
        """
        width, height = fit_within((sample.width, sample.height), _AREA_SIDE)
        if self.mask is not None:
            mask = self.read_mask(self.photo_size or (sample.width, sample.height))
            if self.window is not None:
                left, top, right, bottom = self.window
                mask = mask[top:bottom, left:right]
            warn_of_odd_mask(self.ref.path, self.mask, mask)
            return shrink_mask(mask, (width, height))
        for box in self.boxes:
            check_box(box, sample)
        area = np.zeros((height, width), np.bool_)
        x, y = np.arange(width), np.arange(height)
        scale = max(width, height) / max(sample.width, sample.height)
        for x0, y0, x1, y1 in scale * np.array(self.boxes):
            area |= ((y > y0 - 1) & (y < y1))[:, None] & (x > x0 - 1) & (x < x1)
        return area

    def read_mask(self, size: tuple[int, int]) -> DefectArea:
        """Read the mask of the whole photo, (h, w).

        Args:
            size: width and height of the photo.

        Raises:
            DecodeError: it can't be read, or differs in size from the photo.
        """
        assert self.mask is not None
        mask = read_mask(self.mask, Path(self.ref.file))
        height, width = mask.shape
        if (width, height) != size:
            raise DecodeError(f"its mask {self.mask} has {width} x {height} pixels, the photo {size[0]} x {size[1]}")
        return mask


def warn_of_odd_mask(path: str, file: Path, mask: DefectArea) -> None:
    """Name a mask without a defect, or with little else."""
    share = float(mask.mean())
    if share == 0:
        log.warning("%s: its mask %s is empty, so pointing is not measured on it", path, file)
    elif share == 1:
        log.warning("%s: its mask %s covers everything, so pointing is not measured on it; black is background",
                    path, file)  # fmt: skip
    elif share > _LARGE_SHARE:
        log.warning("%s: its mask %s covers %.3g%% of the photo; black is background, perhaps it is inverted",
                    path, file, 100 * share)  # fmt: skip


def choose_photos(config: TrustConfig) -> list[MarkedPhoto]:
    """Choose the photos to measure on, in random order: only the marked ones, if there are any.

    Raises:
        DataError: there are no photos, or a CSV is wrong.
    """
    photos = _read_photos(config)
    if not photos:
        raise DataError(f"data = {config.data}: holds no photos; name a folder of photos or a CSV with a column path")
    marked = [photo for photo in photos if photo.is_marked]
    if marked and len(marked) < len(photos):
        log.info(
            "measured on the %d photos with boxes or masks; the %d without are left out",
            len(marked),
            len(photos) - len(marked),
        )
    photos = marked or photos
    order = np.random.default_rng(config.seed).permutation(len(photos))[: config.limit]
    return [photos[index] for index in order]


def _read_photos(config: TrustConfig) -> list[MarkedPhoto]:
    if config.data.is_dir():
        root, masks = config.data, config.masks
        if masks is None:
            masks = next((root / name for name in DEFAULT_FOLDERS if (root / name).is_dir()), None)
        is_inside = masks is not None and masks != root and masks.is_relative_to(root)
        refs = discover(root, skip=masks if is_inside else None).refs
        photos = [MarkedPhoto(ref) for ref in refs if ref.problem is None]
    else:
        root, masks = find_root(config.data), config.masks
        photos = _read_csv(config)
    if config.boxes is not None:
        photos = _replace_boxes(photos, config.boxes, root)
    if masks is not None:
        return _add_masks(photos, masks, config)
    if config.data.is_dir():
        warn_of_masks_among([photo.ref.path for photo in photos], root)
    return photos


def _add_masks(photos: Sequence[MarkedPhoto], masks: Path, config: TrustConfig) -> list[MarkedPhoto]:
    """Give the photos their masks; photos used as masks of others are left out."""
    try:
        found = find_masks([(photo.ref.path, Path(photo.ref.file)) for photo in photos], masks, config.data)
    except DataError as error:
        if config.masks is not None:
            raise
        log.warning("%s", error)  # nobody named this folder
        return list(photos)
    used = {str(mask) for mask in found.values()}
    return [replace(photo, mask=found.get(photo.ref.path)) for photo in photos if photo.ref.file not in used]


def _read_csv(config: TrustConfig) -> list[MarkedPhoto]:
    """Read the photos of a CSV. One photo may have several rows, one per box."""
    table = _select_split(config, read_paths(config.data))
    labels = _read_labels(table) if "label" in table else {}
    boxes = _read_boxes(config.data, table) if set(CORNERS) & set(table) else {}
    files = dict(zip(table["path"], table["file"], strict=True))
    return [
        MarkedPhoto(ImageRef(path, None, str(file), 0, 0), labels.get(path) or None, boxes.get(path, ()))
        for path, file in files.items()
    ]


def _read_labels(table: pd.DataFrame) -> dict[str, str | None]:
    """Read labels by path; a photo with several kinds of defects has no label of its own."""
    kinds = {path: set(labels) for path, labels in table.groupby("path", sort=False)["label"]}
    return {str(path): labels.pop() if len(labels) == 1 else None for path, labels in kinds.items()}


def _select_split(config: TrustConfig, table: pd.DataFrame) -> pd.DataFrame:
    splits = pd.Series(splits_of(config.data, table), index=table.index, dtype=object)
    split = resolve_split(config.split, set(splits))
    if split == "all":
        return table
    if not (splits == split).any():
        raise DataError(f"split = {split}: no photo of {config.data} is in it; use all")
    return table[splits == split]


def _replace_boxes(photos: list[MarkedPhoto], file: Path, root: Path) -> list[MarkedPhoto]:
    boxes = _read_boxes(file, read_paths(file, root))
    if not any(photo.ref.path in boxes for photo in photos):
        raise DataError(f"boxes: {file} names no photo of {root}; its paths must be relative to {root}")
    return [replace(photo, boxes=boxes.get(photo.ref.path, ())) for photo in photos]


def _read_boxes(file: Path, table: pd.DataFrame) -> dict[str, tuple[Box, ...]]:
    """Read boxes by path. A photo may have several rows, or empty ones for no box."""
    table = select_boxes(file, table)
    boxes: dict[str, tuple[Box, ...]] = {}
    for path, x0, y0, x1, y1 in zip(table["path"], *table[list(CORNERS)].to_numpy().T.tolist(), strict=True):
        boxes[path] = (*boxes.get(path, ()), (x0, y0, x1, y1))
    return boxes


def check_box(box: Box, sample: Sample) -> None:
    """Refuse a box that covers no pixel of its photo.

    Raises:
        DecodeError: see above.
    """
    x0, y0, x1, y1 = box
    if min(x1 - x0, y1 - y0) < 1:
        raise DecodeError(f"its box {x0:g}, {y0:g}, {x1:g}, {y1:g} is smaller than a pixel; boxes are in pixels")
    if x1 <= 0 or y1 <= 0 or x0 >= sample.width or y0 >= sample.height:
        raise DecodeError(
            f"its box {x0:g}, {y0:g}, {x1:g}, {y1:g} lies outside its {sample.width} x {sample.height} pixels"
        )
