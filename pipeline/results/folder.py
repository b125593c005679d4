"""A results folder held by one run: its lock, its run id, the commit of parts, records."""

import json
import logging
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

import pyarrow as pa

from pipeline.atomic_files import TEMPORARY_NAME, atomic_write_path, cannot_write, flush_to_disk
from pipeline.errors import StoreError
from pipeline.folder_lock import FolderLock
from pipeline.results.files import ResultsFiles, encode_part
from pipeline.results.input_of_results import PRUNED, check_source
from pipeline.results.names import (
    DAMAGED,
    OVERLAYS,
    PART_NAME,
    RUNS,
    TABLE,
    TMP,
    TURN_SUFFIX,
    next_run_id,
    part_files,
    part_name,
    record_files,
    run_id_of_part,
)
from pipeline.results.open_run import OpenRun, open_run, read_open_runs
from pipeline.results.parts import read_part
from pipeline.results.run_record import RunRecord
from pipeline.results.schema import SCHEMA
from pipeline.storage.files import read_bytes
from pipeline.storage.location import Location

log = logging.getLogger(__name__)

_FOLDERS = (TABLE, OVERLAYS, RUNS, TMP)


class ResultsFolder(ResultsFiles):
    """A results folder held by one run. Entering takes the lock and sweeps tmp/.

    A store of objects has no locks: there two runs at once share the work, and each part is created once.

    Attributes:
        run_id: of this run, later than all earlier ones.
    """

    def __init__(self, out: Location, source: str | Location, *, rebind: bool = False, repair: bool = False) -> None:
        """Remember the settings; nothing is touched before entering.

        Args:
            out: the folder.
            source: its input.
            rebind: accept another input than before.
            repair: set damaged parts aside.
        """
        super().__init__(out, os.fspath(source), run_id="")
        self._rebind = rebind
        self._repair = repair
        self._next_number = 0
        self._after = ""
        busy = f"{out} is held by another run; wait for it, or give another --out"
        self._lock = FolderLock(out, busy=busy) if isinstance(out, Path) else None

    def __enter__(self) -> Self:
        """Take the lock.

        Raises:
            FolderBusyError: another run holds the folder.
            ConfigError: the folder belongs to another input folder, or its store can't be used.
            StoreError: it can't be written.
        """
        if not isinstance(self.out, Path) or self._lock is None:
            self._storage.probe()
            self._prepare_run()
            return self
        try:
            for name in _FOLDERS:
                (self.out / name).mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
            try:
                self._prepare_run()
                self._sweep(self.out / TMP)
            except BaseException:
                self._lock.release()
                raise
        except OSError as error:
            raise cannot_write(self.out, error) from error
        return self

    def __exit__(self, *_: object) -> None:
        if self._lock is not None:
            self._lock.release()

    def open_run(self, record: RunRecord, plan: pa.Table, rows: int) -> OpenRun | None:
        """Write the plan of this run; parts written later get numbers after those of its shards.

        Returns:
            The open run; None if another run was opened since this one began to plan: see `look_again`.

        Args:
            record: the draft of its record.
            plan: the photos.
            rows: photos of a shard.
        """
        opened = open_run(self, record, plan, rows, self._after)
        if opened is not None:
            self._next_number = opened.shards
        return opened

    @property
    def takes_turns(self) -> bool:
        """Whether every run has to be opened, also one without photos: no lock keeps others out."""
        return self._lock is None

    def look_again(self) -> None:
        """Choose another run id, later than all runs there are now."""
        records = record_files(self.out)
        taken = [run_id_of_part(part) for part in part_files(self.out)] + [file.stem for file in records]
        taken += [run.run_id for run in read_open_runs(self.out)]
        self._after = records[-1].stem if records else ""
        self.run_id = next_run_id([*taken, *filter(None, [self.run_id])])

    def create_file(self, name: str, content: bytes) -> bool:
        """Put a file in place; on a disk by a rename, since the lock keeps others out and not every disk has links."""
        if not isinstance(self.out, Path):
            return super().create_file(name, content)
        final = self.out / name
        if final.exists():
            return False
        with atomic_write_path(final, self.out / TMP) as temporary:
            temporary.write_bytes(content)
        return True

    def take_number(self) -> int:
        """Return the next free number of a part."""
        self._next_number += 1
        return self._next_number - 1

    def write_part(self, table: pa.Table, metadata: Mapping[str, str] | None = None) -> None:
        """Commit a table of `SCHEMA` as the part of the next free number.

        Raises:
            StoreError: the disk is full or the folder can't be written.
        """
        while not self.create_part(self.take_number(), table, metadata or {}):
            pass

    def stage_part(self, table: pa.Table, *, pruned: bool = False) -> Location:
        """Write a part to tmp/, not yet a part of the table; raises as `write_part`.

        A store of objects can't rename: there it is a part of the table at once.

        Args:
            table: of `SCHEMA`.
            pruned: the rows of deleted photos have been dropped.
        """
        number = self.take_number()
        metadata = {PRUNED: "true"} if pruned else {}
        if not isinstance(self.out, Path):
            self.create_part(number, table, metadata)
            return self.out / TABLE / part_name(self.run_id, number)
        staged = self.out / TMP / part_name(self.run_id, number)
        with atomic_write_path(staged, self.out / TMP) as temporary:
            temporary.write_bytes(encode_part(table, self._part_metadata(metadata)))
        return staged

    def place_parts(self, staged: Sequence[Location], *, instead_of: Sequence[Location] = ()) -> None:
        """Move staged parts into the table, then remove the parts they replace; raises as `write_part`."""
        if not isinstance(self.out, Path):
            self._storage.delete([f"{TABLE}/{part.name}" for part in instead_of])
            return
        table = self.out / TABLE
        try:
            for part in staged:
                os.replace(str(part), table / part.name)
            flush_to_disk(table)
            for part in instead_of:
                os.unlink(str(part))
        except OSError as error:
            raise cannot_write(table, error) from error

    def empty_parts(self, parts: Sequence[Location]) -> None:
        """Put an empty part under the name of each of these: no late worker can create it again."""
        empty = encode_part(SCHEMA.empty_table(), self._part_metadata({}))
        for part in parts:
            self._storage.put(f"{TABLE}/{part.name}", empty)

    def write_record(self, record: RunRecord) -> None:
        """Write the run's record, as its last step; a record in place stays."""
        content = json.dumps(record.as_json(), indent=2) + "\n"
        self.create_file(f"{RUNS}/{record.summary.run_id}.json", content.encode())

    def drop_records(self, keep: int) -> int:
        """Remove the records of all but the newest `keep` runs, never the newest: it names the input folder.

        Returns:
            The number of removed records.
        """
        old = record_files(self.out)[: -max(1, keep)]
        self._storage.delete([f"{RUNS}/{file.stem}{suffix}" for file in old for suffix in (".json", TURN_SUFFIX)])
        return len(old)

    def _prepare_run(self) -> None:
        if self._repair:
            self._set_damaged_aside()
        if not self._rebind:
            check_source(self.out, self.source)
        self.look_again()

    def _sweep(self, tmp: Path) -> None:
        """Remove what killed processes left in tmp/, unless workers of an open run may be writing there."""
        if not all(run.has_one_writer for run in read_open_runs(self.out)):
            return
        for leftover in tmp.iterdir():  # other files in tmp/ are not ours
            if leftover.is_dir() and TEMPORARY_NAME.fullmatch(leftover.name):
                shutil.rmtree(leftover)
            elif TEMPORARY_NAME.fullmatch(leftover.name) or PART_NAME.fullmatch(leftover.name):
                leftover.unlink()

    def _set_damaged_aside(self) -> None:
        for part in part_files(self.out):
            try:
                read_part(part)
            except StoreError as error:
                self._set_aside(part)
                log.warning("set aside in %s/: %s", DAMAGED, error)

    def _set_aside(self, part: Location) -> None:
        if isinstance(part, Path):
            damaged = part.parents[1] / DAMAGED
            damaged.mkdir(exist_ok=True)
            os.replace(part, damaged / part.name)
        else:
            self._storage.put(f"{DAMAGED}/{part.name}", read_bytes(part))
            self._storage.delete([f"{TABLE}/{part.name}"])
