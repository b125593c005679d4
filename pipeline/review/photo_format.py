"""Recognising the photos that browsers show as the model saw them, from their first bytes.

All others are decoded by the product's own decoder and sent as PNG: TIFF, HEIC, 16 bits, CMYK, animations (browsers
would play them, the model saw the first picture), and formats whose EXIF orientation browsers ignore.
"""

import struct

_START_OF_FRAME = range(0xC0, 0xD0)
_NO_FRAME = (0xC4, 0xC8, 0xCC)  # tables, in the same range of markers
_SHOWN_FRAMES = (0xC0, 0xC1, 0xC2)  # baseline, extended and progressive, Huffman
_ALONE = (0x01, *range(0xD0, 0xD9))  # markers without a length
_RENDERED_CHUNKS = (b"acTL", b"eXIf")  # animation; orientation
_ANIMATED_OR_TURNED = 0b1010  # flags of a WebP: animation, EXIF


def browser_type(content: bytes) -> str | None:
    """Return the media type of a photo for browsers to show as it is; None if it must be decoded here."""
    if content.startswith(b"\xff\xd8\xff"):
        return "image/jpeg" if _is_plain_jpeg(content) else None
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png" if _is_plain_png(content) else None
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        is_plain = content[12:16] != b"VP8X" or not content[20] & _ANIMATED_OR_TURNED
        return "image/webp" if is_plain else None
    if content[4:12] == b"ftypavif":
        return "image/avif"
    if content[:2] == b"BM" and len(content) > 34:
        bits, compression = struct.unpack("<HI", content[28:34])
        return "image/bmp" if bits in (8, 24) and compression == 0 else None
    return None


def _is_plain_jpeg(content: bytes) -> bool:
    """Tell whether a JPEG has 8 bits, grey or three colours, and a coding known to browsers."""
    at = 2
    while at + 10 <= len(content) and content[at] == 0xFF:
        marker = content[at + 1]
        if marker == 0xFF or marker in _ALONE:  # filling
            at += 1 if marker == 0xFF else 2
            continue
        if marker in _START_OF_FRAME and marker not in _NO_FRAME:
            return marker in _SHOWN_FRAMES and content[at + 4] == 8 and content[at + 9] in (1, 3)
        at += 2 + int.from_bytes(content[at + 2 : at + 4], "big")
    return False


def _is_plain_png(content: bytes) -> bool:
    """Tell whether a PNG has at most 8 bits, one picture, and no orientation."""
    if len(content) < 33 or content[24] > 8:
        return False
    at = 8
    while at + 8 <= len(content):
        length, kind = int.from_bytes(content[at : at + 4], "big"), content[at + 4 : at + 8]
        if kind in _RENDERED_CHUNKS:
            return False
        if kind == b"IDAT":
            return True
        at += 12 + length
    return False
