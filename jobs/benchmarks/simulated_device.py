"""A device that sleeps instead of computing, for measuring what is around it; parts are written as by a real one."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.planning.plan_schema import PLAN_SCHEMA
from pipeline.results.files import ResultsFiles
from pipeline.results.folder import ResultsFolder
from pipeline.results.open_run import PROCESSES, OpenRun
from pipeline.results.run_record import RunRecord, RunSummary
from pipeline.results.schema import SCHEMA
from pipeline.work import ShardDone

PHOTO_SECONDS = 0.005
_BATCH = 20


class SimulatedDevice(AbstractContextManager["SimulatedDevice"]):
    """Sleeps for each photo of a shard, then commits its part."""

    def __init__(self, run: OpenRun, on_batch: Callable[[int, int], None]) -> None:
        """Remember the run."""
        self._run, self._on_batch = run, on_batch
        self._files = ResultsFiles(run.out, run.record.summary.input, run.run_id)

    def __exit__(self, *_: object) -> None:
        return None

    def run(self, shards: Iterable[int], stop: Callable[[], bool]) -> Iterator[ShardDone]:
        """Work on shards."""
        for number in shards:
            paths = self._run.read_shard(number)["path"].combine_chunks()
            for start in range(0, len(paths), _BATCH):
                if stop():
                    return
                time.sleep(PHOTO_SECONDS * min(_BATCH, len(paths) - start))
                self._on_batch(_BATCH, 0)
            is_ours = self._files.create_part(number, _fill_table(SCHEMA, paths), {})
            yield ShardDone(number, len(paths), 0, is_ours)

    def run_one_by_one(self, shard: int, broken: Mapping[str, str], on_photo: Callable[[str], None]) -> ShardDone:
        """Refuse: nothing dies in a measurement."""
        raise NotImplementedError


def start_simulated_device(
    run: OpenRun, device: str, workers: int, threads: int | None, on_batch: Callable[[int, int], None]
) -> Any:
    """Build the simulated device, in a process of its own."""
    return SimulatedDevice(run, on_batch)


def open_simulated_run(out: Path, photos: int, shard: int) -> OpenRun:
    """Plan a run over photos that don't exist, in shards of this many."""
    source = out / "photos"
    summary = RunSummary(
        "", str(source), str(out), found=photos, done_before=0, processed=0, ok=0, failed=0, unreadable_folders=0,
        interrupted=False, seconds=0.0, images_per_second=0.0,
    )  # fmt: skip
    plan = _fill_table(PLAN_SCHEMA, pa.array([f"{number:08}.png" for number in range(photos)]))
    with ResultsFolder(out, source) as results:
        record = RunRecord(summary, finished_at="2026-01-01T00:00:00+00:00", engine=PROCESSES)
        opened = results.open_run(record, plan, shard)
    assert opened is not None
    return opened


def _fill_table(schema: pa.Schema, paths: pa.Array) -> pa.Table:
    """Return a table of photos known by their paths alone."""
    names = pa.schema([pa.field(it.name, it.type) for it in schema])
    columns = [paths.cast(it.type) if it.name == "path" else pa.nulls(len(paths), it.type) for it in schema]
    return pa.Table.from_arrays(columns, schema=names)
