"""PNG files chunk by chunk: significant bits, and files freed of text too large for the decoder."""

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

PNG_START = b"\x89PNG\r\n\x1a\n"

_TEXT_LIMIT = 2**18  # bytes kept of all text of a file, unpacked; Pillow gives up at 1 MiB for one chunk
_PACKED_TEXT = (b"zTXt", b"iTXt", b"iCCP")
_TEXT = (b"tEXt", *_PACKED_TEXT)


@dataclass(frozen=True)
class Chunk:
    """A chunk of a PNG: its type, and where it starts and ends in the file, with length and checksum."""

    kind: bytes
    start: int
    end: int


def is_png(file: BinaryIO) -> bool:
    """Tell whether the file starts as a PNG; leaves it at its beginning."""
    file.seek(0)
    start = file.read(len(PNG_START))
    file.seek(0)
    return start == PNG_START


def list_chunks(file: BinaryIO) -> Iterator[Chunk]:
    """Yield the chunks of a PNG up to the first incomplete header."""
    position = len(PNG_START)
    while True:
        file.seek(position)
        header = file.read(8)
        if len(header) < 8:
            return
        length, kind = struct.unpack(">I4s", header)
        yield Chunk(kind, position, position + length + 12)
        position += length + 12


def read_significant_bits(file: BinaryIO) -> int | None:
    """Return the largest number of significant bits declared by a PNG of 16 bits (chunk sBIT), or None."""
    for chunk in list_chunks(file):
        if chunk.kind == b"IDAT":
            return None
        if chunk.kind == b"sBIT":
            file.seek(chunk.start + 8)
            bits = file.read(min(chunk.end - chunk.start - 12, 3))  # grey or RGB; a fourth would be for alpha
            return max(bits) if bits and 0 < max(bits) <= 16 else None
    return None


def leave_out_large_text(file: BinaryIO) -> BinaryIO | None:
    """Return the PNG without its large text and colour profiles, or None if it has none."""
    left_out: list[Chunk] = []
    budget = _TEXT_LIMIT
    for chunk in list_chunks(file):
        if chunk.kind in _TEXT:
            size = _unpacked_size(file, chunk, budget)
            if size > budget:
                left_out.append(chunk)
            else:
                budget -= size
    if not left_out:
        return None
    file_size = file.seek(0, io.SEEK_END)
    starts = [0, *(chunk.end for chunk in left_out)]
    ends = [*(chunk.start for chunk in left_out), file_size]
    return io.BufferedReader(_FileOfRanges(file, [*zip(starts, ends, strict=True)]))


def _unpacked_size(file: BinaryIO, chunk: Chunk, limit: int) -> int:
    """Return the size of a text chunk, unpacked; more than `limit` without unpacking the rest."""
    packed_size = chunk.end - chunk.start - 12
    if packed_size > limit or chunk.kind not in _PACKED_TEXT:
        return packed_size
    file.seek(chunk.start + 8)
    keyword, _, packed = file.read(packed_size).partition(b"\0")
    packed = packed[2:].split(b"\0", 2)[-1] if chunk.kind == b"iTXt" else packed[1:]
    try:
        unpacked = zlib.decompressobj().decompress(packed, limit + 1)
    except zlib.error:  # not compressed, or broken
        return packed_size
    return max(packed_size, len(keyword) + len(unpacked))


class _FileOfRanges(io.RawIOBase):
    """Ranges of a file, one after the other, as a file."""

    def __init__(self, file: BinaryIO, ranges: list[tuple[int, int]]) -> None:
        self._file = file
        self._ranges = [(start, end) for start, end in ranges if end > start]
        self._size = sum(end - start for start, end in self._ranges)
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(0, origin + offset)
        return self._position

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        skipped = 0
        for start, end in self._ranges:
            offset = self._position - skipped
            if 0 <= offset < end - start:
                self._file.seek(start + offset)
                data = self._file.read(min(len(buffer), end - start - offset))
                buffer[: len(data)] = data
                self._position += len(data)
                return len(data)
            skipped += end - start
        return 0
