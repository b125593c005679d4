"""An open run: planned, not finished yet. Its photos stand in a plan of shards, each to become the part of its number.

OUT/runs/<run_id>.plan.parquet   the photos, one row group a shard
OUT/runs/<run_id>.open           its draft record; in place after the plan, removed after the final record

The part of a shard is created under a name of its own, once: that is the commit. A worker that comes late, or works on
a shard a second time, finds the name taken. To close a run before its end, the missing parts are created empty
(sealed), so its late workers are refused everywhere.
"""

import io
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import StoreError, one_line
from pipeline.results.files import ResultsFiles
from pipeline.results.names import (
    OPEN_SUFFIX,
    PLAN_SUFFIX,
    RUN_ID_SHAPE,
    RUNS,
    TABLE,
    part_files,
    part_name,
    run_id_of_part,
)
from pipeline.results.run_record import RunRecord, parse_run_record
from pipeline.results.schema import SCHEMA
from pipeline.storage.files import file_status, list_names, open_parquet, read_bytes
from pipeline.storage.location import Location
from pipeline.storage.storage import open_storage

ONE_PROCESS = "one process"  # the engine that needs no protection against late workers
PROCESSES = "processes"  # of this machine, one a device
RAY = "ray"  # actors of a cluster, one a device
WORKERS = "workers"  # jobs of a scheduler

_PART_NUMBER = re.compile(r"-(\d+)\.parquet$")


class PlanGoneError(StoreError):
    """The plan of a run is gone: another process has finished the run, or closed it."""


@dataclass(frozen=True)
class OpenRun:
    """A planned run.

    Attributes:
        out: the results folder.
        record: the draft of its record: counts of the plan, nothing processed yet.
        shards: number of shards in the plan.
    """

    out: Location
    record: RunRecord
    shards: int

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self.record.summary.run_id

    @property
    def has_one_writer(self) -> bool:
        """Whether only the holder of the folder's lock writes its parts."""
        return self.record.engine == ONE_PROCESS

    def committed(self) -> set[int]:
        """List the numbers of the parts in the table, sealed ones too."""
        return {part_number(part.name) for part in part_files(self.out) if run_id_of_part(part) == self.run_id}

    def missing(self) -> list[int]:
        """List the shards without a part."""
        return sorted(set(range(self.shards)) - self.committed())

    def read_shard(self, number: int) -> pa.Table:
        """Read the photos of one shard, with the columns of the plan.

        Raises:
            PlanGoneError: the run has been finished or closed.
            StoreError: the plan is damaged.
        """
        with self._open_plan() as plan:
            return plan.read_row_group(number)

    def is_committed(self, number: int) -> bool:
        """Tell whether a shard has its part, by one look at it."""
        return file_status(self.out / TABLE / part_name(self.run_id, number)) is not None

    def count_photos(self, shards: Iterable[int]) -> int:
        """Count the photos of some shards."""
        with self._open_plan() as plan:
            return sum(plan.metadata.row_group(number).num_rows for number in shards)

    def close(self) -> None:
        """Remove the plan and the draft; the run is no longer open."""
        storage = open_storage(self.out)
        storage.delete([f"{RUNS}/{self.run_id}{suffix}" for suffix in (OPEN_SUFFIX, PLAN_SUFFIX)])

    def seal(self) -> None:
        """Create the missing parts empty, and close the run: its late workers commit nothing more."""
        files = ResultsFiles(self.out, self.record.summary.input, self.run_id)
        if not self.has_one_writer:
            for number in self.missing():
                files.create_part(number, SCHEMA.empty_table(), {})
        self.close()

    @contextmanager
    def _open_plan(self) -> Iterator[pq.ParquetFile]:
        file = self.out / RUNS / f"{self.run_id}{PLAN_SUFFIX}"
        try:
            with pq.ParquetFile(open_parquet(file), metadata=_read_metadata(file)) as plan:
                yield plan
        except FileNotFoundError:
            raise PlanGoneError(f"the plan {file} is gone: another process has finished or closed this run") from None
        except (pa.ArrowException, OSError) as error:
            raise StoreError(f"the plan {file} can't be read: {one_line(error)}; run again") from error


@lru_cache(maxsize=4)
def _read_metadata(plan: Location) -> pq.FileMetaData:
    """Read where the shards of a plan lie: megabytes for millions of photos, so once for all shards."""
    with pq.ParquetFile(open_parquet(plan)) as file:
        return file.metadata


def open_run(files: ResultsFiles, record: RunRecord, plan: pa.Table, rows: int) -> OpenRun | None:
    """Write the plan of a run and its draft record.

    Args:
        files: of the run, in its results folder.
        record: the draft; it gets the run's id.
        plan: the photos.
        rows: photos of a shard.

    Returns:
        The open run; None if another process has just taken the run id.
    """
    buffer = io.BytesIO()
    pq.write_table(plan, buffer, row_group_size=rows, compression="zstd")
    if not files.create_file(f"{RUNS}/{files.run_id}{PLAN_SUFFIX}", buffer.getvalue()):
        return None
    draft = replace(record, summary=replace(record.summary, run_id=files.run_id))
    opened = OpenRun(files.out, draft, -(-len(plan) // rows))
    content = json.dumps(draft.as_json() | {"shards": opened.shards}, indent=2) + "\n"
    return opened if files.create_file(f"{RUNS}/{files.run_id}{OPEN_SUFFIX}", content.encode()) else None


def read_open_runs(out: Location) -> list[OpenRun]:
    """Read the open runs of a results folder, oldest first.

    Raises:
        StoreError: a draft can't be read.
    """
    return list(_parse_drafts(out))


def _parse_drafts(out: Location) -> Iterator[OpenRun]:
    for name in list_names(out / RUNS):
        run_id = name.removesuffix(OPEN_SUFFIX)
        if run_id == name or not RUN_ID_SHAPE.fullmatch(run_id):
            continue
        try:
            content = read_bytes(out / RUNS / name)
        except FileNotFoundError:
            continue  # finished meanwhile
        record, shards = parse_run_record(content), _parse_shards(content)
        if record is None or shards is None:
            raise StoreError(f"{out / RUNS / name} is no draft of a run; remove it, then run again")
        yield OpenRun(out, record, shards)


def _parse_shards(content: bytes) -> int | None:
    try:
        parsed: Any = json.loads(content)
        return int(parsed["shards"])
    except (ValueError, KeyError, TypeError):
        return None


def part_number(name: str) -> int:
    """Return the number in the name of a part."""
    match = _PART_NUMBER.search(name)
    assert match, name
    return int(match[1])


def is_like(run: OpenRun, settings: dict[str, Any], fingerprint: str, ignored: Sequence[str]) -> bool:
    """Tell whether a run was planned with settings of the same results; those that change no result are ignored."""
    planned = {name: value for name, value in run.record.settings.items() if name not in ignored}
    wanted = {name: value for name, value in settings.items() if name not in ignored}
    return run.record.fingerprint == fingerprint and planned == wanted
