"""The folder of one format, being written."""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.atomic_files import flush_to_disk
from pipeline.export.dataset import ExportPhoto
from pipeline.export.picture_store import PictureStore


class ExportFolder:
    """A folder for the files of one format; nobody sees it before the export is complete.

    Attributes:
        folder: the folder.
        files: number of files written.
        places: name of each picture written, by the photo's name, in case of a picture file.
    """

    def __init__(self, folder: Path, pictures: PictureStore) -> None:
        """Create the folder.

        Args:
            folder: must not exist.
            pictures: source of the pictures.
        """
        self.folder = folder
        self.files = 0
        self.places: dict[str, str] = {}
        self._pictures = pictures
        self._made: set[str] = set()
        folder.mkdir()

    def place_picture(self, photo: ExportPhoto, name: str) -> None:
        """Put the picture of a photo into the folder.

        Args:
            photo: the photo.
            name: relative to the folder, `/` separators.
        """
        self._pictures.place(photo, self._prepare(name))
        self.places[photo.name] = name
        self.files += 1

    def read_picture(self, photo: ExportPhoto) -> bytes:
        """Return the file of a picture, for formats with pictures inside other files."""
        return Path(self._pictures.find_file(photo)).read_bytes()

    def measure_picture(self, photo: ExportPhoto) -> int:
        """Return the number of bytes of a picture."""
        return os.path.getsize(self._pictures.find_file(photo))

    def write_text(self, name: str, text: str) -> None:
        """Write a text file, UTF-8."""
        with open(self._prepare(name), "w", encoding="utf-8", newline="") as stream:
            stream.write(text)
        self.files += 1

    def write_json(self, name: str, value: Any, *, indent: int | None = None) -> None:
        """Write a JSON file; indented ones take ten times longer."""
        self.write_text(name, json.dumps(value, ensure_ascii=False, allow_nan=False, indent=indent) + "\n")

    def write_json_lines(self, name: str, values: list[Any]) -> None:
        """Write a file with a line of JSON for each value."""
        lines = (json.dumps(value, ensure_ascii=False, allow_nan=False) + "\n" for value in values)
        self.write_text(name, "".join(lines))

    def write_table(self, name: str, table: pa.Table, *, row_group_size: int | None = None) -> None:
        """Write a Parquet file."""
        pq.write_table(table, self._prepare(name), compression="zstd", row_group_size=row_group_size)
        self.files += 1

    def write_batches(self, name: str, schema: pa.Schema, batches: Iterable[pa.Table]) -> None:
        """Write a Parquet file in pieces, a row group each; for files larger than the memory."""
        with pq.ParquetWriter(self._prepare(name), schema, compression="zstd") as writer:
            for batch in batches:
                writer.write_table(batch)
        self.files += 1

    def make_folder(self, name: str) -> None:
        """Create a folder in the folder, for formats with empty ones."""
        if name not in self._made:
            (self.folder / name).mkdir(parents=True, exist_ok=True)
            self._made.add(name)

    def flush(self) -> None:
        """Make the names in all folders survive a power cut."""
        for name in sorted(self._made):
            flush_to_disk(self.folder / name)
        flush_to_disk(self.folder)

    def _prepare(self, name: str) -> str:
        """Create the folder of a new file; return the file's path."""
        self.make_folder(name.rpartition("/")[0])
        return f"{self.folder}/{name}"
