"""Photos on disk, with where their defects are, in boxes or masks."""

import io
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image

from pipeline.errors import DataError, DecodeError
from pipeline.labelled.read import check_column, read_table, splits_of
from pipeline.photos.decode import MAX_PIXELS, decode
from pipeline.photos.discover import discover
from pipeline.records import Box, ImageRef, Sample
from pipeline.trust.config import TrustConfig

log = logging.getLogger(__name__)

_CORNERS = ["x0", "y0", "x1", "y1"]
_LONGEST = 512  # pixels of a defect's outline: maps are too smooth for more to matter


@dataclass(frozen=True)
class MarkedPhoto:
    """One photo, and what is known of it.

    Attributes:
        ref: the file.
        label: its class; None: not known.
        boxes: (x0, y0, x1, y1) of its defects in upright pixels.
        mask: a picture of the same size, not black where a defect is; None: there is none.
    """

    ref: ImageRef
    label: str | None = None
    boxes: tuple[Box, ...] = ()
    mask: Path | None = None

    @property
    def is_marked(self) -> bool:
        """Whether it is known where the defects are."""
        return bool(self.boxes) or self.mask is not None

    def outline(self, sample: Sample) -> npt.NDArray[np.bool_]:
        """Where the defects are, (h, w), the photo at a longest side of at most 512 pixels.

        A pixel counts if any part of it is in a defect, or small ones would vanish.

        Raises:
            DecodeError: the mask can't be read, or has another size than the photo; a box covers no pixel of it.
        """
        scale = min(1.0, _LONGEST / max(sample.width, sample.height))
        width, height = max(1, round(sample.width * scale)), max(1, round(sample.height * scale))
        if self.mask is not None:
            return np.asarray(_read_mask(self.mask, sample).resize((width, height), Image.Resampling.BOX)) > 0
        for corners in self.boxes:
            _check_box(corners, sample)
        inside = np.zeros((height, width), np.bool_)
        x, y = np.arange(width), np.arange(height)
        for x0, y0, x1, y1 in scale * np.array(self.boxes):
            inside |= ((y > y0 - 1) & (y < y1))[:, None] & (x > x0 - 1) & (x < x1)
        return inside


def choose_photos(config: TrustConfig) -> list[MarkedPhoto]:
    """The photos to measure on, in random order. Where some are marked, those alone.

    Raises:
        DataError: there are no photos, or the CSV is wrong.
    """
    photos = _read(config)
    if not photos:
        raise DataError(f"data = {config.data}: holds no photos; name a folder of photos or a CSV with a column path")
    marked = [photo for photo in photos if photo.is_marked]
    if marked and len(marked) < len(photos):
        log.info("measured on the %d photos with boxes or masks; the %d without are left out",
                 len(marked), len(photos) - len(marked))  # fmt: skip
    photos = marked or photos
    order = np.random.default_rng(config.seed).permutation(len(photos))[: config.limit]
    return [photos[place] for place in order]


def _read(config: TrustConfig) -> list[MarkedPhoto]:
    masks = config.masks
    if config.data.is_dir():
        root = config.data
        if masks is None and (root / "masks").is_dir():
            masks = root / "masks"
        refs = {ref.path: ref for ref in discover(root, skip=masks).refs if ref.problem is None}
        labels: dict[str, str] = {}
        boxes: dict[str, tuple[Box, ...]] = {}
    else:
        root = config.data.parent
        table = _of_split(config, _read_paths(config.data))
        refs = {path: ImageRef(path, None, str(root / path), 0, 0) for path in table["path"]}
        labels = dict(zip(table["path"], table["label"], strict=True)) if "label" in table else {}
        boxes = _boxes(config.data, table) if set(_CORNERS) & set(table) else {}
    if config.boxes is not None:
        boxes = _boxes(config.boxes, _read_paths(config.boxes))
        if not refs.keys() & boxes.keys():
            raise DataError(f"boxes: name no photo of {root}; their paths are relative to that folder")
    photos = [
        MarkedPhoto(ref, labels.get(path) or None, boxes.get(path, ()), _mask_of(path, masks))
        for path, ref in refs.items()
    ]
    if config.masks is not None and not any(photo.mask for photo in photos):
        raise DataError(
            f"masks: no picture in {masks} is named as a photo of {root}; that of a.jpg is called a.jpg, a.png, "
            "a_mask.png or a.jpg.png"
        )
    return photos


def _read_paths(file: Path) -> pd.DataFrame:
    table = read_table(file, "path")
    check_column(file, table["path"], table["path"] == "", "path is empty")
    return table.assign(path=table["path"].map(lambda path: Path(path).as_posix()))  # ./a.png is a.png


def _of_split(config: TrustConfig, table: pd.DataFrame) -> pd.DataFrame:
    splits = pd.Series(splits_of(config.data, table), index=table.index, dtype=object)
    wanted = config.split
    if wanted == "auto":
        wanted = "test" if (splits == "test").any() else "all"
    if wanted == "all":
        return table
    if not (splits == wanted).any():
        raise DataError(f"split = {wanted}: no photo of {config.data} is in it; use all")
    return table[splits == wanted]


def _boxes(file: Path, table: pd.DataFrame) -> dict[str, tuple[Box, ...]]:
    """By path. A photo may have several rows, or empty ones for no box."""
    there = [name for name in _CORNERS if name in table]
    if there != _CORNERS:
        has = ", ".join(there) or "none"
        raise DataError(f"{file}: has the columns {has} of {', '.join(_CORNERS)}; a box needs all four")
    table = table[(table[_CORNERS] != "").any(axis=1)]
    corners = table[_CORNERS].apply(pd.to_numeric, errors="coerce")
    wrong = ~np.isfinite(corners).all(axis=1) | ~(corners["x0"] < corners["x1"]) | ~(corners["y0"] < corners["y1"])
    check_column(file, table["path"], wrong, "x0, y0, x1, y1 are no box")
    found: dict[str, tuple[Box, ...]] = {}
    for path, x0, y0, x1, y1 in zip(table["path"], *corners.to_numpy().T.tolist(), strict=True):
        found[path] = (*found.get(path, ()), (x0, y0, x1, y1))
    return found


def _mask_of(path: str, masks: Path | None) -> Path | None:
    if masks is None:
        return None
    same = masks / path
    names = (same, same.with_suffix(".png"), same.with_name(f"{same.stem}_mask.png"), masks / f"{path}.png")
    return next((name for name in names if name.is_file()), None)


def _check_box(box: Box, sample: Sample) -> None:
    x0, y0, x1, y1 = box
    if min(x1 - x0, y1 - y0) < 1:
        raise DecodeError(f"its box {x0:g}, {y0:g}, {x1:g}, {y1:g} is smaller than a pixel; boxes are in pixels")
    if x1 <= 0 or y1 <= 0 or x0 >= sample.width or y0 >= sample.height:
        raise DecodeError(
            f"its box {x0:g}, {y0:g}, {x1:g}, {y1:g} lies outside its {sample.width} x {sample.height} pixels"
        )


def _read_mask(file: Path, sample: Sample) -> Image.Image:
    """White where the mask is not black, mode L."""
    try:
        picture = decode(io.BytesIO(file.read_bytes()), max_pixels=MAX_PIXELS).rgb
    except OSError as error:
        raise DecodeError(f"its mask can't be read: {error.strerror}") from None
    except DecodeError as error:
        raise DecodeError(f"its mask can't be read: {error}") from None
    height, width, _ = picture.shape
    if (width, height) != (sample.width, sample.height):
        raise DecodeError(f"its mask has {width} x {height} pixels, it {sample.width} x {sample.height}")
    return Image.fromarray(np.where(picture.any(axis=2), np.uint8(255), np.uint8(0)))
