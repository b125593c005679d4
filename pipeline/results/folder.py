"""The results folder: its lock, its part files and their commit, and what is done already.

OUT/table/part-<run_id>-<00000>.parquet   finished parts and nothing else, ever
OUT/overlays/<path>.png
OUT/thumbnails/                           photo and overlay, small, for the report
OUT/runs/<run_id>.json                    written last
OUT/tmp/                                  being written; swept at the next start
OUT/damaged/                              parts that --repair set aside
OUT/.lock
"""

import json
import logging
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock, Timeout

from pipeline.atomic_files import TEMPORARY_NAME, cannot_write, flush, atomic_write_path
from pipeline.errors import ConfigError, FolderBusyError, StoreError
from pipeline.records import ImageRef
from pipeline.results.read import PART_NAME, part_files, part_metadata, read_part
from pipeline.results.schema import CATEGORY_COLUMNS, FLOAT_LIST_COLUMNS, SCHEMA

log = logging.getLogger(__name__)

_RUN_ID = "%Y%m%dT%H%M%SZ"
_RUN_ID_SHAPE = re.compile(r"\d{8}T\d{6}Z")
_ROW_GROUP = 1024
_DONE_COLUMNS = ["path", "file_bytes", "content_hash", "status", "fingerprint", "run_id"]


@dataclass(frozen=True)
class DoneFile:
    """What the table's current row says of a file, as far as it decides whether the file is done."""

    file_bytes: int
    mtime_ns: int
    content_hash: str | None
    failed: bool
    fingerprint: str
    run_id: str


class ResultsFolder:
    """A results folder held by one run. Entering takes the lock and sweeps tmp/.

    Attributes:
        out: the folder.
        source: the input folder it belongs to.
        run_id: of this run, later than all before.
    """

    def __init__(self, out: Path, source: Path, *, rebind: bool = False, repair: bool = False) -> None:
        """Args: the folder, its input folder, whether that may have moved, and whether to set damaged parts aside."""
        self.out = out
        self.source = source
        self.run_id = ""
        self._tmp = out / "tmp"
        self._rebind = rebind
        self._repair = repair
        self._parts_written = 0
        self._lock = FileLock(out / ".lock", blocking=False)

    def __enter__(self) -> Self:
        """Raises FolderBusyError, ConfigError (it belongs to another input) or StoreError."""
        try:
            for name in ("table", "overlays", "runs", "tmp"):
                (self.out / name).mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
            try:
                if self._repair:
                    self._set_damaged_aside()
                if not self._rebind:
                    check_source(self.out, self.source)
                for leftover in self._tmp.iterdir():  # what else somebody keeps there is not ours
                    if TEMPORARY_NAME.fullmatch(leftover.name) or PART_NAME.fullmatch(leftover.name):
                        leftover.unlink()
                self.run_id = self._next_run_id()
            except BaseException:
                self._lock.release()
                raise
        except Timeout:
            raise FolderBusyError(f"{self.out} is held by another run; wait for it, or give another --out") from None
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

    def stage_part(self, table: pa.Table) -> Path:
        """Write a part to tmp/ without making it one of the table yet; raises as `write_part`."""
        metadata = {**(SCHEMA.metadata or {}), b"input": os.fsencode(self.source)}
        staged = self._tmp / f"part-{self.run_id}-{self._parts_written:05d}.parquet"
        with atomic_write_path(staged, self._tmp) as temporary:
            pq.write_table(
                table.replace_schema_metadata(metadata),
                temporary,
                compression="zstd",
                row_group_size=_ROW_GROUP,
                use_dictionary=CATEGORY_COLUMNS,
                use_byte_stream_split=[f"{name}.list.element" for name in FLOAT_LIST_COLUMNS],
                write_page_checksum=True,  # a flipped bit is damage that is found, not a number that is wrong
            )
        self._parts_written += 1
        return staged

    def place_parts(self, staged: Sequence[Path], *, instead_of: Sequence[Path] = ()) -> None:
        """Make staged parts parts of the table, then remove those whose rows they hold; raises as `write_part`."""
        table = self.out / "table"
        try:
            for part in staged:
                os.replace(part, table / part.name)
            flush(table)
            for part in instead_of:
                part.unlink()
        except OSError as error:
            raise cannot_write(table, error) from error

    def restamp(self, refs: Sequence[ImageRef], done: Mapping[str, DoneFile]) -> None:
        """Give rows whose file has the same content under another mtime that mtime, as rows of this run.

        Args:
            refs: the files.
            done: their current rows, among others.
        """
        mtimes = {ref.path: ref.mtime_ns for ref in refs}
        for part in part_files(self.out) if mtimes else ():
            table = read_part(part)
            keys = zip(table["path"].to_pylist(), table["run_id"].to_pylist(), strict=True)
            current = [path in mtimes and done[path].run_id == run_id for path, run_id in keys]
            table = table.filter(pa.array(current))
            if not len(table):
                continue
            stamps = pa.array([mtimes[path] for path in table["path"].to_pylist()], SCHEMA.field("mtime").type)
            run_ids = pa.array([self.run_id] * len(table), SCHEMA.field("run_id").type)
            table = pa.concat_tables([SCHEMA.empty_table(), table], promote_options="default")  # columns of old parts
            for name, values in (("mtime", stamps), ("run_id", run_ids)):
                table = table.set_column(SCHEMA.get_field_index(name), SCHEMA.field(name), values)
            self.write_part(table)

    def write_picture(self, name: str, content: bytes) -> None:
        """Put a picture in place under OUT. Not flushed to the disk one by one: it can be drawn again.

        Raises:
            StoreError: the disk is full or the folder can't be written.
        """
        final = self.out / name
        try:
            final.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cannot_write(final.parent, error) from error
        with atomic_write_path(final, self._tmp, durable=False) as temporary:
            temporary.write_bytes(content)

    def write_record(self, record: dict[str, Any]) -> Path:
        """Write the run's record, the last thing that a run does."""
        final = self.out / "runs" / f"{self.run_id}.json"
        with atomic_write_path(final, self._tmp) as temporary:
            temporary.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        return final

    def drop_records(self, keep: int) -> int:
        """Remove the records of all but the newest `keep` runs; how many went. The newest names the input folder."""
        old = run_records(self.out)[: -max(1, keep)]
        for record in old:
            record.unlink()
        return len(old)

    def _set_damaged_aside(self) -> None:
        for part in part_files(self.out):
            try:
                read_part(part)
            except StoreError as error:
                (self.out / "damaged").mkdir(exist_ok=True)
                os.replace(part, self.out / "damaged" / part.name)
                log.warning("set aside in damaged/: %s", error)

    def _next_run_id(self) -> str:
        """The time of the start, and always later than every run before, whatever the clock says."""
        taken = [run_id_of(part) for part in part_files(self.out)]
        taken += [record.stem for record in run_records(self.out)]
        now = datetime.now(UTC)
        if taken and now.strftime(_RUN_ID) <= max(taken):
            now = datetime.strptime(max(taken), _RUN_ID) + timedelta(seconds=1)
        return now.strftime(_RUN_ID)


def done_files(out: Path) -> dict[str, DoneFile]:
    """The current row of each path, as far as it decides what is left to do."""
    done: dict[str, DoneFile] = {}
    for part in part_files(out):
        table = read_part(part, [*_DONE_COLUMNS, "mtime"])
        mtimes = table["mtime"].cast(pa.int64()).to_pylist()
        columns = (table[name].to_pylist() for name in _DONE_COLUMNS)
        for mtime, path, size, content_hash, status, fingerprint, run_id in zip(mtimes, *columns, strict=True):
            if path not in done or done[path].run_id <= run_id:
                done[path] = DoneFile(size, mtime, content_hash, status == "failed", fingerprint, run_id)
    return done


def run_records(out: Path) -> list[Path]:
    """The records of a results folder's runs, oldest first; whatever else somebody keeps there is not ours."""
    return sorted(file for file in (out / "runs").glob("*.json") if _RUN_ID_SHAPE.fullmatch(file.stem))


def check_source(out: Path, source: Path) -> None:
    """Raises ConfigError where the results folder belongs to another input folder."""
    bound = input_folder_of_results(out)
    if bound is not None and bound != os.fspath(source):
        raise ConfigError(
            f"{out} holds results of {bound}, not of {source}; give another --out, or --rebind if the archive has moved"
        )


def input_folder_of_results(out: Path) -> str | None:
    """The input folder of the newest run: its record names it, and so do parts of a run that was killed."""
    newest: tuple[str, str] | None = None
    for record in run_records(out):
        try:
            newest = (record.stem, str(json.loads(record.read_text(encoding="utf-8"))["input"]))
        except (ValueError, KeyError, TypeError):
            continue  # no record of ours
    parts = part_files(out)
    if parts and (newest is None or run_id_of(parts[-1]) > newest[0]):
        metadata = part_metadata(parts[-1])
        return os.fsdecode(metadata[b"input"]) if b"input" in metadata else None
    return newest[1] if newest else None


def report_knows_all(out: Path) -> bool:
    """Whether there is a report that is newer than every part of the table."""
    try:
        written = (out / "report.html").stat().st_mtime_ns
        return all(part.stat().st_mtime_ns < written for part in part_files(out))
    except FileNotFoundError:
        return False


def run_id_of(part: Path) -> str:
    """The run, or the compaction, that wrote a part."""
    return part.stem.split("-")[1]
