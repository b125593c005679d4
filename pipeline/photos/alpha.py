"""Pictures of any mode -> RGB: alpha laid on white, if it is alpha.

A fourth channel that the file does not declare as alpha is padding, and alpha of 0 everywhere was never meant: both
would leave a white sheet. They are left out, with a note.
"""

import struct
import warnings
from typing import BinaryIO

from PIL import Image, TgaImagePlugin, TiffImagePlugin

_ALPHA_MODES = ("LA", "PA", "La", "RGBA", "RGBa")
_TIFF_EXTRA_SAMPLES = 338
_TGA_FOOTER = b"TRUEVISION-XFILE.\0"
_TGA_ALPHA_TYPES = (3, 4)  # straight and premultiplied; the others say that the channel holds none


def flatten(image: Image.Image, *, is_declared: bool = True) -> Image.Image:
    """Convert a picture of 8 bits and any mode to RGB.

    Args:
        image: alpha and a transparent colour are laid on white.
        is_declared: whether the file says that a further channel is alpha.
    """
    if image.mode not in _ALPHA_MODES and "transparency" not in image.info:
        return image if image.mode == "RGB" else image.convert("RGB")
    rgba = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
    if not is_declared:
        warnings.warn("its further channel is not declared as alpha, and was left out", stacklevel=2)
        return rgba.convert("RGB")
    if rgba.getchannel("A").getextrema() == (0, 0):
        warnings.warn("its alpha is 0 everywhere, and was left out", stacklevel=2)
        return rgba.convert("RGB")
    white = Image.new("RGBA", rgba.size, "white")
    return Image.alpha_composite(white, rgba).convert("RGB")


def declares_alpha(image: Image.Image, file: BinaryIO) -> bool:
    """Tell whether the file says that the further channel of its pixels is alpha; moves in the file.

    Only BMP, TGA and TIFF can have one without a word about its meaning.
    """
    if image.mode not in _ALPHA_MODES:
        return True
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        return _TIFF_EXTRA_SAMPLES in image.tag_v2
    if isinstance(image, TgaImagePlugin.TgaImageFile):
        return _tga_declares_alpha(file)
    if image.format in ("BMP", "DIB"):
        return _bmp_declares_alpha(file, header=14 if image.format == "BMP" else 0)
    return True


def _tga_declares_alpha(file: BinaryIO) -> bool:
    """Look for attribute bits in the header, and for the attributes' type in the extension of version 2."""
    file.seek(17)
    attribute_bits = file.read(1)[0] & 0x0F
    if not attribute_bits:
        return False
    size = file.seek(0, 2)
    if size < 26:
        return True
    file.seek(-26, 2)
    extension, _, signature = struct.unpack("<II18s", file.read(26))
    if signature != _TGA_FOOTER or not extension:
        return True
    file.seek(extension + 494)
    attribute_type = file.read(1)
    return not attribute_type or attribute_type[0] in _TGA_ALPHA_TYPES


def _bmp_declares_alpha(file: BinaryIO, *, header: int) -> bool:
    """Look for an alpha mask: headers of 56 bytes and more have one, used with bit fields alone."""
    file.seek(header)
    size, compression, alpha_mask = struct.unpack("<I12xI32xI", file.read(56))
    return bool(size >= 56 and compression in (3, 6) and alpha_mask)
