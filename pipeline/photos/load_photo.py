"""One file -> one decoded photo, ready for the model and for its overlay."""

from dataclasses import dataclass, replace
from typing import Any, BinaryIO

import numpy as np

from pipeline.errors import DecodeError, UnjudgedError
from pipeline.photos.content import Content, read_content
from pipeline.photos.decode import Photo, decode
from pipeline.photos.resize import downscale, fit_within
from pipeline.photos.tiling import Tiling
from pipeline.photos.windows import unpack_photo
from pipeline.records import Failure, ImageRef, PixelFile, Pixels, Sample, Tiles

_NO_PIXELS = np.empty((0, 0, 0), np.uint8)

# JPEGs are decoded to at least this on the longer side, for any size of the overlay: so the numbers never
# depend on the look of overlays. A larger overlay gets a decode of its own.
DRAFT_LONGER_SIDE = 1024


@dataclass(frozen=True)
class NoModelInput:
    """Stands in for a model's image processor where photos are decoded for their overlay alone."""

    do_resize: bool = False

    def __call__(self, rgb: Pixels, **_: object) -> dict[str, list[Pixels]]:
        """Return an input without pixels."""
        return {"pixel_values": [np.empty((3, 0, 0), np.uint8)]}


@dataclass(frozen=True)
class LoadSpec:
    """Instructions for decoding a file.

    Attributes:
        processor: transformers image processor with the Pillow backend.
        draft_shorter_side: pixels needed by the model; None: decode JPEGs in full.
        overlay_size: longest side of the photo kept for the overlay, in pixels; None: keep none.
        max_pixels: refuse photos with more.
        white_level: value shown as white in photos deeper than 8 bits; None: as the file says.
        tiling: how photos are cut into windows; None: not at all.
        draft_up_to: decode larger photos in full, as one cut into windows of this size; None: by `tiling`.
        unpacked: path of a file for the pixels of a photo of several windows.
        input_size: height and width of the model's input, if all photos have the same.
    """

    processor: Any
    draft_shorter_side: int | None
    overlay_size: int | None
    max_pixels: int
    white_level: float | None = None
    tiling: Tiling | None = None
    draft_up_to: int | None = None
    unpacked: str | None = None
    input_size: tuple[int, int] | None = None

    def for_input(self) -> "LoadSpec":
        """Return the instructions without those for the overlay."""
        return replace(self, overlay_size=None)

    def for_overlay(self) -> "LoadSpec":
        """Return the instructions without those for the model's input; the photo for the overlay stays the same."""
        draft_up_to = self.tiling.size if self.tiling else self.draft_up_to
        return replace(self, processor=NoModelInput(), tiling=None, draft_up_to=draft_up_to)


def load_sample(ref: ImageRef, spec: LoadSpec) -> Sample | Failure:
    """Read, hash and decode one file; any fault of it becomes a `Failure`."""
    if ref.problem is not None:
        return Failure(ref, ref.problem)
    try:
        with open(ref.file, "rb") as stream:
            content = read_content(ref, stream)
            loaded = load_content(content, spec)
            content.check_unchanged()
            return loaded
    except OSError as error:
        gone = "; it vanished during the run" if isinstance(error, FileNotFoundError) else ""
        return Failure(ref, f"can't be read: {error.strerror}{gone}")
    except UnjudgedError as error:
        return Failure(ref, str(error))
    except MemoryError:
        return Failure(ref, "can't be read: not enough memory for so large a file")


def model_pixels(rgb: Pixels, spec: LoadSpec) -> Pixels:
    """Compute the model's input as uint8, (3, H, W): the processor's resize and crop; the rest runs on the device.

    Raises:
        DecodeError: the photo is too narrow for the model's resize.
    """
    height, width, _ = rgb.shape
    edge = spec.processor.size.shortest_edge if spec.processor.do_resize else None
    if edge and edge * edge * max(width, height) // min(width, height) > spec.max_pixels:
        raise DecodeError(f"{width} x {height} pixels are too narrow: resized for the model, more than max_pixels")
    try:
        output = spec.processor(rgb, input_data_format="channels_last", do_rescale=False, do_normalize=False)
    except ValueError as error:
        raise DecodeError(f"{width} x {height} pixels can't be resized for the model: {error}") from error
    pixels: Pixels = np.ascontiguousarray(output["pixel_values"][0], dtype=np.uint8)  # (3, H, W)
    return pixels


def prepare_input(rgb: Pixels, size: tuple[int, int], spec: LoadSpec) -> tuple[Pixels, Tiles | None]:
    """Compute the model's input of a photo; the pixels of one with several windows go into the file for them instead.

    Args:
        rgb: (h, w, 3), upright, perhaps at a reduced scale if the photo is a single window.
        size: width and height of the photo.
        spec: instructions for decoding.

    Raises:
        DecodeError: see `model_pixels`.
        UnjudgedError: the disk is full.
    """
    if spec.tiling is None:
        return model_pixels(rgb, spec), None
    tiles = Tiles(tuple(spec.tiling.cut(*size)))
    if len(tiles.boxes) == 1:
        return model_pixels(rgb, spec), tiles
    assert spec.unpacked is not None, "who asks for windows gives a file for the pixels"
    unpack_photo(rgb, spec.unpacked)
    return _NO_PIXELS, tiles


def keep_unpacked(sample: Sample, unpacked: PixelFile | None) -> Sample:
    """Give a photo of several windows the file with its pixels; others need none."""
    if sample.tiles is None or len(sample.tiles.boxes) == 1:
        return sample
    return replace(sample, tiles=replace(sample.tiles, unpacked=unpacked))


def load_content(content: Content, spec: LoadSpec) -> Sample | Failure:
    """Decode the bytes of a file for model and overlay."""
    try:
        photo = _decode(content.file, spec)
        pixels, tiles = prepare_input(photo.rgb, (photo.width, photo.height), spec)
        overlay_photo = _overlay_photo(photo, content.file, spec)
    except (UnjudgedError, MemoryError) as error:
        return Failure(content.ref, str(error) or "not enough memory for it")  # no hash: no verdict on the bytes
    except DecodeError as error:
        return Failure(content.ref, str(error), content.hash)
    except RuntimeError as error:
        if "allocate memory" not in str(error):  # torch has no error of its own for it
            raise
        return Failure(content.ref, "not enough memory for it")
    return Sample(content.ref, content.hash, photo.width, photo.height, photo.note, pixels, overlay_photo, tiles)


def _decode(file: BinaryIO, spec: LoadSpec) -> Photo:
    """Decode a file for the model. A photo of several windows is decoded in full."""
    draft = None if spec.draft_shorter_side is None else (spec.draft_shorter_side, DRAFT_LONGER_SIDE)
    return decode(
        file,
        max_pixels=spec.max_pixels,
        draft_size=draft,
        white_level=spec.white_level,
        draft_up_to=spec.tiling.size if spec.tiling else spec.draft_up_to,
    )


def _overlay_photo(photo: Photo, file: BinaryIO, spec: LoadSpec) -> Pixels | None:
    """Return the photo at the overlay's size, never enlarged, (h, w, 3)."""
    if spec.overlay_size is None:
        return None
    rgb = photo.rgb
    if max(rgb.shape[:2]) < min(spec.overlay_size, max(photo.width, photo.height)):
        draft = (1, spec.overlay_size)
        rgb = decode(file, max_pixels=spec.max_pixels, draft_size=draft, white_level=spec.white_level).rgb
    return downscale(rgb, fit_within((photo.width, photo.height), spec.overlay_size))
