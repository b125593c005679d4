"""What every process of a run may write: parts under names of their own, and pictures. No lock is needed for it."""

import io
import logging
import os
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.atomic_files import cannot_write
from pipeline.results.names import TABLE, TILES, part_name
from pipeline.results.pictures import place_picture
from pipeline.results.schema import CATEGORY_COLUMNS, FLOAT_LIST_COLUMNS, SCHEMA
from pipeline.storage.location import Location
from pipeline.storage.storage import open_storage

log = logging.getLogger(__name__)

_ROW_GROUP = 1024


class ResultsFiles:
    """The files of one run in a results folder.

    Attributes:
        out: the folder.
        source: its input, as named in the records: the absolute path of a folder or of a list, or a URL.
        run_id: of the run.
    """

    def __init__(self, out: Location, source: str, run_id: str) -> None:
        """Remember the names; nothing is touched."""
        self.out = out
        self.source = source
        self.run_id = run_id
        self._storage = open_storage(out)
        self._renamed: dict[str, str | None] = {}

    def create_part(self, number: int, table: pa.Table, metadata: Mapping[str, str]) -> bool:
        """Commit a table as the part of this number, unless that part is there already.

        Args:
            number: of the part in its run.
            table: of `SCHEMA`.
            metadata: for the part's key-value metadata.

        Returns:
            Whether the part is this one; False: the name was taken, and nothing was written.

        Raises:
            StoreError: the disk is full, or the folder can't be written.
        """
        content = encode_part(table, self._part_metadata(metadata))
        return self.create_file(f"{TABLE}/{part_name(self.run_id, number)}", content)

    def create_file(self, name: str, content: bytes) -> bool:
        """Put a file in place under OUT, unless its name is taken; durable. Returns and raises as `create_part`."""
        return self._storage.create(name, content)

    def write_windows(self, number: int, content: bytes) -> None:
        """Put the windows of a part in place, before the part: over those of a process killed between the two.

        Raises:
            StoreError: the disk is full, or the folder can't be written.
        """
        if isinstance(self.out, Path):
            try:
                (self.out / TILES).mkdir(exist_ok=True)
            except OSError as error:
                raise cannot_write(self.out / TILES, error) from error
        self._storage.put(f"{TILES}/{part_name(self.run_id, number)}", content)

    def write_picture(self, name: str, content: bytes) -> str:
        """Put a picture in place under OUT; returns and raises as `place_picture`."""
        if not isinstance(self.out, Path):
            self._storage.put(name, content)
            return name
        final = place_picture(self.out, name, content)
        self.note_picture(name, final)
        return final

    def note_picture(self, name: str, final: str | None) -> None:
        """Remember where a picture is, if it is not where it should be; None: there is none."""
        if final == name:
            return
        if final is not None:
            log.warning("the disk of %s refuses the name %r: the overlay is %s", self.out, name, final)
        self._renamed[name] = final

    def take_renamed_pictures(self) -> dict[str, str | None]:
        """Return the new names of pictures since the last call, by the name of the row; None for a missing one."""
        renamed, self._renamed = self._renamed, {}
        return renamed

    def _part_metadata(self, more: Mapping[str, str]) -> dict[bytes, bytes]:
        given = {name.encode(): value.encode() for name, value in more.items()}
        return {**(SCHEMA.metadata or {}), b"input": os.fsencode(self.source), **given}


def encode_part(table: pa.Table, metadata: Mapping[bytes, bytes]) -> bytes:
    """Encode a table of `SCHEMA` as Parquet, with this key-value metadata."""
    buffer = io.BytesIO()
    pq.write_table(
        table.replace_schema_metadata(dict(metadata)),
        buffer,
        compression="zstd",
        row_group_size=_ROW_GROUP,
        use_dictionary=CATEGORY_COLUMNS,
        use_byte_stream_split=[f"{name}.list.element" for name in FLOAT_LIST_COLUMNS],
        write_page_checksum=True,  # a flipped bit is reported as damage, not read as a wrong number
    )
    return buffer.getvalue()
