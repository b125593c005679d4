"""Runners of simulated devices: real processes and real parts, without a model. One process may die, hang or fail."""

import os
import signal
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import DeviceLostError, StoreError
from pipeline.results.files import ResultsFiles
from pipeline.results.open_run import OpenRun
from pipeline.results.schema import to_table
from pipeline.work import ShardDone
from tests.helpers.tables import FAILED, make_row


@dataclass(frozen=True)
class Accidents:
    """What happens to the processes.

    Attributes:
        notes: folder for a file of each accident, so that it happens once.
        dies_once: shards that end their first process.
        killers: paths of photos that end every process.
        lost: devices that no longer answer.
        never_starts: devices whose process dies at its start.
        disk_full: every commit fails.
    """

    notes: Path
    dies_once: tuple[int, ...] = ()
    killers: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    never_starts: tuple[str, ...] = ()
    disk_full: bool = False


@dataclass
class SimulatedRunner(AbstractContextManager):
    """Commits a row for each photo of a shard."""

    job: OpenRun
    accidents: Accidents
    device: str
    on_batch: object

    def __exit__(self, *_):
        return None

    def run(self, shards, stop):
        for number in shards:
            if stop():
                return
            if self.device in self.accidents.lost:
                raise DeviceLostError(f"device {self.device} no longer answers")
            if number in self.accidents.dies_once:
                self.die_unless_noted(f"shard-{number}")
            for path in self.paths_of(number):
                if path in self.accidents.killers:
                    kill_this_process()
            self.on_batch(1, 0)
            yield self.commit(number, {})

    def run_one_by_one(self, number, broken, on_photo):
        for path in self.paths_of(number):
            on_photo(path)
            if path in self.accidents.killers and path not in broken:
                kill_this_process()
        return self.commit(number, broken)

    def commit(self, number, broken):
        if self.accidents.disk_full:
            raise StoreError("can't write: No space left on device")
        with (self.accidents.notes / "workers").open("a") as workers:
            workers.write(f"{self.device} {os.getpid()} {number}\n")
        rows = [
            make_row(path, run_id=self.job.run_id, **(FAILED | {"error": broken[path]} if path in broken else {}))
            for path in self.paths_of(number)
        ]
        files = ResultsFiles(self.job.out, "photos", self.job.run_id)
        is_ours = files.create_part(number, to_table(rows), {})
        return ShardDone(number, len(rows) - len(broken), len(broken), is_ours)

    def paths_of(self, number):
        return self.job.read_shard(number)["path"].to_pylist()

    def die_unless_noted(self, name):
        try:
            (self.accidents.notes / name).touch(exist_ok=False)
        except FileExistsError:
            return
        kill_this_process()


def kill_this_process():
    os.kill(os.getpid(), signal.SIGKILL)


def start_simulated(run, accidents, device, workers, threads, on_batch):
    """Build a simulated runner, in the process of its device."""
    if device in accidents.never_starts:
        kill_this_process()
    return SimulatedRunner(run, accidents, device, on_batch)
