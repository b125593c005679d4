"""TIFF files: the right page of several, and whether its layout can be read."""

import errno
import logging
import math
from dataclasses import dataclass
from enum import IntEnum
from itertools import islice
from typing import BinaryIO

from tifffile import COMPRESSION, PHOTOMETRIC, SAMPLEFORMAT, TiffFile, TiffPage

from pipeline.errors import DecodeError

# PhotometricInterpretation
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB = 0, 1, 2

_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_REDUCED_OR_MASK = 0b101  # of NewSubfileType
_MOST_PAGES = 1000  # searched for the first full one
_MOST_SAMPLE_BYTES = 64  # of a pixel, with all its samples
_UNSIGNED, _UNDEFINED = 1, 4  # SampleFormat
_ORIENTATION = 274

logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # its remarks on odd files would reach the terminal


@dataclass(frozen=True)
class Page:
    """A page of a TIFF.

    Attributes:
        index: counted from 0.
        page: its tags and segments.
    """

    index: int
    page: TiffPage

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return self.page.imagewidth, self.page.imagelength

    @property
    def needs_tifffile(self) -> bool:
        """Whether it holds greys or RGB in another layout than interleaved unsigned integers of up to 8 bits."""
        page = self.page
        is_plain = page.bitspersample in (1, 2, 4, 8) and page.sampleformat in (_UNSIGNED, _UNDEFINED)
        is_interleaved = page.planarconfig == 1 or page.samplesperpixel == 1
        return _is_grey_or_rgb(page) and not (is_plain and is_interleaved)


def is_tiff(file: BinaryIO) -> bool:
    """Tell whether the file starts as a TIFF; leaves it at its beginning."""
    file.seek(0)
    start = file.read(4)
    file.seek(0)
    return start in _STARTS


def find_page(file: BinaryIO) -> Page | None:
    """Return the first page that is neither a reduced copy nor a mask; the first if all are.

    None if the file is too damaged to tell.
    """
    try:
        tiff = TiffFile(file)
        first = None
        for index, page in enumerate(islice(tiff.pages, _MOST_PAGES)):
            if not isinstance(page, TiffPage) or not _has_plain_tags(page):
                return first
            first = first or Page(index, page)
            if not int(page.subfiletype) & _REDUCED_OR_MASK:
                return Page(index, page)
        return first
    except OSError as error:
        if error.errno not in (None, errno.EINVAL):  # of the disk, not of the file
            raise
        return None
    except Exception:  # Pillow may read it, or says why not
        return None
    finally:
        file.seek(0)


def count_pages(page: Page) -> int:
    """Count the pages of the file; 1 if they can't be counted."""
    try:
        return len(page.page.parent.pages)
    except Exception:  # one page is fine, and worth keeping without the others
        return 1


def read_orientation(page: Page) -> int:
    """Return the page's orientation, 1 if it has none."""
    value = page.page.tags.valueof(_ORIENTATION, default=1)
    return value if isinstance(value, int) else 1


def check_layout(page: TiffPage) -> None:
    """Refuse layouts without a clear meaning, segments outside the file, and more memory than the pixels need."""
    known = (
        _is_grey_or_rgb(page)
        and page.dtype is not None
        and page.dtype.kind in "uif"
        and isinstance(page.bitspersample, int)
        and (page.bitspersample <= 16 or page.bitspersample in (32, 64))
        and page.imagedepth == 1
        and page.planarconfig in (1, 2)
        and min(page.imagewidth, page.imagelength) > 0
        and page.samplesperpixel >= (3 if page.photometric == RGB else 1)
    )
    if not known or page.dtype is None:
        raise DecodeError(f"a TIFF of a layout that is not supported: {_describe_layout(page)}")
    if page.dtype.itemsize * page.samplesperpixel > _MOST_SAMPLE_BYTES:
        raise DecodeError(f"a TIFF of {page.samplesperpixel} samples a pixel; that many are not supported")
    if page.is_tiled:
        tile_pixels = page.tilewidth * page.tilelength * page.tiledepth
        if not 0 < tile_pixels <= 4 * max(page.imagewidth * page.imagelength, 2**20):
            raise DecodeError(f"its tiles of {page.tilewidth} x {page.tilelength} pixels do not fit the picture")
    _check_segments(page)


def _describe_layout(page: TiffPage) -> str:
    """Describe a page for an error: "palette, 1 x 16 bits, uint"."""
    kinds = ((PHOTOMETRIC, page.photometric), (SAMPLEFORMAT, page.sampleformat), (COMPRESSION, page.compression))
    photometric, sample_format, compression = (_name_of(kind, value) for kind, value in kinds)
    bits = f"{page.samplesperpixel} x {page.bitspersample} bits"
    return f"{photometric}, {bits}, {sample_format}, compression {compression}"


def _name_of(kind: type[IntEnum], value: int) -> str:
    try:
        return kind(value).name.lower()
    except ValueError:
        return str(value)


def _has_plain_tags(page: TiffPage) -> bool:
    """Tell whether the tags of a page are numbers where they should be; damage makes text or lists of them."""
    sizes = (page.imagewidth, page.imagelength, page.samplesperpixel)
    parts = (page.rowsperstrip, page.tilewidth, page.tilelength)
    kinds = (page.subfiletype, page.photometric, page.planarconfig, page.compression, page.sampleformat)
    return all(isinstance(value, int) for value in (*sizes, *parts, *kinds))


def _is_grey_or_rgb(page: TiffPage) -> bool:
    return page.photometric in (WHITE_IS_ZERO, BLACK_IS_ZERO, RGB)


def _check_segments(page: TiffPage) -> None:
    """Refuse a page with missing parts; tifffile would fill them with zeros."""
    file_size = page.parent.filehandle.size
    offsets, sizes = page.dataoffsets, page.databytecounts
    if page.is_tiled:
        across, down = math.ceil(page.imagewidth / page.tilewidth), math.ceil(page.imagelength / page.tilelength)
        expected = across * down
    else:
        expected = math.ceil(page.imagelength / max(page.rowsperstrip, 1))
    if page.planarconfig == 2:
        expected *= page.samplesperpixel
    if len(offsets) < expected or len(sizes) < expected:
        raise DecodeError(f"truncated TIFF: {min(len(offsets), len(sizes))} of {expected} strips or tiles")
    if any(not size or offset + size > file_size for offset, size in zip(offsets, sizes, strict=False)):
        raise DecodeError("truncated TIFF: some of its strips or tiles lie outside the file")
