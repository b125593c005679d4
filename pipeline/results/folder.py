"""A results folder held by one run: its lock, the commit of parts and pictures, its run id."""

import errno
import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.atomic_files import TEMPORARY_NAME, atomic_write_path, cannot_write, flush_to_disk
from pipeline.errors import ConfigError, StoreError
from pipeline.folder_lock import FolderLock
from pipeline.results.names import (
    DAMAGED,
    OVERLAYS,
    PART_NAME,
    RUNS,
    TABLE,
    TMP,
    next_run_id,
    part_files,
    part_name,
    record_files,
    run_id_of_part,
    safe_overlay_name,
)
from pipeline.results.parts import read_part, read_part_metadata
from pipeline.results.run_record import RunRecord, newest_run_records
from pipeline.results.schema import CATEGORY_COLUMNS, FLOAT_LIST_COLUMNS, SCHEMA

log = logging.getLogger(__name__)

_ROW_GROUP = 1024
_PRUNED = b"pruned"  # in the metadata of a part
# Answers of disks with other rules for names: exFAT, SMB, encrypted folders; EPERM and ENOENT of some FUSE drivers.
_NAME_REFUSED = (errno.EINVAL, errno.EILSEQ, errno.ENAMETOOLONG, errno.ENOENT, errno.EPERM)


class ResultsFolder:
    """A results folder held by one run. Entering takes the lock and sweeps tmp/.

    Attributes:
        out: the folder.
        source: its input folder.
        run_id: of this run, later than all earlier ones.
    """

    def __init__(self, out: Path, source: Path, *, rebind: bool = False, repair: bool = False) -> None:
        """Remember the settings; nothing is touched before entering.

        Args:
            out: the folder.
            source: its input folder.
            rebind: accept another input folder than before.
            repair: set damaged parts aside.
        """
        self.out = out
        self.source = source
        self.run_id = ""
        self._tmp = out / TMP
        self._rebind = rebind
        self._repair = repair
        self._parts_written = 0
        self._renamed: dict[str, str] = {}
        self._lock = FolderLock(out, busy=f"{out} is held by another run; wait for it, or give another --out")

    def __enter__(self) -> Self:
        """Take the lock.

        Raises:
            FolderBusyError: another run holds the folder.
            ConfigError: the folder belongs to another input folder.
            StoreError: it can't be written.
        """
        try:
            for name in (TABLE, OVERLAYS, RUNS, TMP):
                (self.out / name).mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
            try:
                self._prepare_run()
            except BaseException:
                self._lock.release()
                raise
        except OSError as error:
            raise cannot_write(self.out, error) from error
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def write_part(self, table: pa.Table) -> None:
        """Commit a table of `SCHEMA` as one part.

        Raises:
            StoreError: the disk is full or the folder can't be written.
        """
        self.place_parts([self.stage_part(table)])

    def stage_part(self, table: pa.Table, *, pruned: bool = False) -> Path:
        """Write a part to tmp/, not yet a part of the table; raises as `write_part`.

        Args:
            table: of `SCHEMA`.
            pruned: the rows of deleted photos have been dropped.
        """
        metadata = {**(SCHEMA.metadata or {}), b"input": os.fsencode(self.source)}
        if pruned:
            metadata[_PRUNED] = b"true"
        staged = self._tmp / part_name(self.run_id, self._parts_written)
        with atomic_write_path(staged, self._tmp) as temporary:
            pq.write_table(
                table.replace_schema_metadata(metadata),
                temporary,
                compression="zstd",
                row_group_size=_ROW_GROUP,
                use_dictionary=CATEGORY_COLUMNS,
                use_byte_stream_split=[f"{name}.list.element" for name in FLOAT_LIST_COLUMNS],
                write_page_checksum=True,  # a flipped bit is reported as damage, not read as a wrong number
            )
        self._parts_written += 1
        return staged

    def place_parts(self, staged: Sequence[Path], *, instead_of: Sequence[Path] = ()) -> None:
        """Move staged parts into the table, then remove the parts they replace; raises as `write_part`."""
        table = self.out / TABLE
        try:
            for part in staged:
                os.replace(part, table / part.name)
            flush_to_disk(table)
            for part in instead_of:
                part.unlink()
        except OSError as error:
            raise cannot_write(table, error) from error

    def write_picture(self, name: str, content: bytes) -> str:
        """Put a picture in place under OUT. Pictures are not flushed one by one: they can be drawn again.

        Returns:
            Its name: another one than requested if the disk refuses that.

        Raises:
            StoreError: the disk is full or the folder can't be written.
        """
        try:
            self._place_picture(name, content)
        except StoreError as error:
            if getattr(error.__cause__, "errno", None) not in _NAME_REFUSED:
                raise
            safe = self._renamed[name] = safe_overlay_name(name)
            self._place_picture(safe, content)
            log.warning("the disk of %s refuses the name %r: the overlay is %s", self.out, name, safe)
            return safe
        return name

    def take_renamed_pictures(self) -> dict[str, str]:
        """Return the new names of pictures since the last call, by the name refused by the disk."""
        renamed, self._renamed = self._renamed, {}
        return renamed

    def _place_picture(self, name: str, content: bytes) -> None:
        final = self.out / name
        try:
            final.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cannot_write(final.parent, error) from error
        with atomic_write_path(final, self._tmp, durable=False) as temporary:
            temporary.write_bytes(content)

    def write_record(self, record: RunRecord) -> Path:
        """Write the run's record, as its last step."""
        final = self.out / RUNS / f"{self.run_id}.json"
        with atomic_write_path(final, self._tmp) as temporary:
            temporary.write_text(json.dumps(record.as_json(), indent=2) + "\n", encoding="utf-8")
        return final

    def drop_records(self, keep: int) -> int:
        """Remove the records of all but the newest `keep` runs, never the newest: it names the input folder.

        Returns:
            The number of removed records.
        """
        old = record_files(self.out)[: -max(1, keep)]
        for file in old:
            file.unlink()
        return len(old)

    def _prepare_run(self) -> None:
        if self._repair:
            self._set_damaged_aside()
        if not self._rebind:
            check_source(self.out, self.source)
        for leftover in self._tmp.iterdir():  # other files in tmp/ are not ours
            if TEMPORARY_NAME.fullmatch(leftover.name) or PART_NAME.fullmatch(leftover.name):
                leftover.unlink()
        taken = [run_id_of_part(part) for part in part_files(self.out)]
        self.run_id = next_run_id(taken + [file.stem for file in record_files(self.out)])

    def _set_damaged_aside(self) -> None:
        for part in part_files(self.out):
            try:
                read_part(part)
            except StoreError as error:
                (self.out / DAMAGED).mkdir(exist_ok=True)
                os.replace(part, self.out / DAMAGED / part.name)
                log.warning("set aside in %s/: %s", DAMAGED, error)


def check_source(out: Path, source: Path) -> None:
    """Check that a results folder belongs to an input folder.

    Raises:
        ConfigError: it belongs to another one.
    """
    bound = input_folder_of_results(out)
    if bound is not None and bound != os.fspath(source):
        raise ConfigError(
            f"{out} holds results of {bound}, not of {source}; give another --out, or --rebind if the archive has moved"
        )


def input_folder_of_results(out: Path) -> str | None:
    """Return the input folder of the newest run: named in its record, or in the parts of a killed run."""
    newest = next(newest_run_records(out), None)
    parts = part_files(out)
    if parts and (newest is None or run_id_of_part(parts[-1]) > newest.summary.run_id):
        metadata = read_part_metadata(parts[-1])
        return os.fsdecode(metadata[b"input"]) if b"input" in metadata else None
    return newest.summary.input if newest else None


def was_pruned_since(out: Path, run_id: str) -> bool:
    """Tell whether a compaction after this run has dropped the rows of deleted photos."""
    later = [part for part in part_files(out) if run_id_of_part(part) > run_id]
    return any(_PRUNED in read_part_metadata(part) for part in later)
