"""A run in three commands, for schedulers: plan once, work in many jobs at once, finish once.

The jobs share nothing but the results folder. Each may be killed and started again at any time, also twice at once.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pipeline.config import RunConfig
from pipeline.engines.choose import share_machine
from pipeline.engines.job import Job
from pipeline.errors import ConfigError, VitrolloutError
from pipeline.finish import close_run, finish_run, seconds_since
from pipeline.prepare import PreparedRun, draft_record, plan_run, prepare_run
from pipeline.progress import Progress
from pipeline.results.folder import ResultsFolder
from pipeline.results.open_run import WORKERS, OpenRun, read_open_runs
from pipeline.results.restamp import restamp
from pipeline.results.run_record import RunSummary, newest_run_records
from pipeline.run import update_report
from pipeline.storage.location import Location
from pipeline.work import ShardDone

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PlannedRun:
    """A run ready to be worked on.

    Attributes:
        run_id: its id.
        shards: number of its shards; 0: there is nothing to work on, and the run is finished.
        shards_left: shards without a part.
        photos_left: photos in them.
    """

    run_id: str
    shards: int
    shards_left: int
    photos_left: int


@dataclass(frozen=True)
class WorkDone:
    """The outcome of one job.

    Attributes:
        run_id: of the run; None: no run is open.
        shards, ok, failed: shards done by this job, and their photos.
        shards_left: shards of this job without a part.
    """

    run_id: str | None
    shards: int = 0
    ok: int = 0
    failed: int = 0
    shards_left: int = 0


def plan_shards(config: RunConfig) -> PlannedRun:
    """Plan a run, or find the one open under the same settings; all other open runs are closed.

    Raises:
        VitrolloutError: as of `run`; the device and its precision are looked for by the jobs.
    """
    if config.engine == "ray":
        raise ConfigError("engine = ray: Ray needs no plan of its own; use vitrollout run")
    prepared = prepare_run(config, computes_here=False)
    prepared.model.method.log_reason()
    with ResultsFolder(config.out, config.input, rebind=config.rebind, repair=config.repair) as results:
        while True:
            for opened in read_open_runs(results.out):
                if prepared.is_like(opened) and not opened.has_one_writer:
                    return _describe_open_run(opened)
                close_run(results, opened)
            if (planned := _write_plan(prepared, results)) is not None:
                return planned
            results.look_again()


def work_on_shards(
    out: Location, turn: int, of: int, changes: dict[str, Any], stop: Callable[[], bool] = lambda: False
) -> WorkDone:
    """Work on every n-th shard of the open run of a results folder; those with a part are left out.

    Args:
        out: the results folder.
        turn: number of the first shard, from 1.
        of: n.
        changes: settings of this machine, in place of those of the plan: device, devices, workers, batch_size.
        stop: asked between batches; once true, the work ends.

    Raises:
        VitrolloutError: a fault of this machine; everything committed stays.
    """
    runs = _read_runs_of_jobs(out)
    if not runs:
        _check_any_run(out)
        log.info("no run is open in %s: nothing to do", out)
        return WorkDone(None)
    opened = runs[-1]
    config = _restore_config(opened, {"out": out, "devices": None, **changes})
    shards = [number for number in opened.missing() if number % of == turn - 1]
    done: list[ShardDone] = []
    with Progress(opened.count_photos(shards)) as progress:

        def count(shard: ShardDone) -> None:
            done.append(shard)
            progress.advance(shard.ok, shard.failed)

        if shards:
            share_machine(config).drive(Job(config, opened), shards, count, stop)
    ok, failed = sum(shard.ok for shard in done), sum(shard.failed for shard in done)
    return WorkDone(opened.run_id, len(done), ok, failed, len(shards) - len(done))


def finish_open_runs(out: Location) -> RunSummary:
    """Finish the open run of a results folder: counts, comparisons, record, report.

    Returns:
        Its summary; that of the newest run if none is open.

    Raises:
        ConfigError: the folder holds no run.
        VitrolloutError: shards are missing.
    """
    for opened in _read_runs_of_jobs(out):
        if missing := opened.missing():
            raise VitrolloutError(
                f"run {opened.run_id}: {len(missing)} of {opened.shards} shards have no part yet; run work again, "
                "then finish"
            )
        with ResultsFolder(out, opened.record.summary.input) as results:
            finish_run(results, opened.record, seconds=seconds_since(opened.record))
            opened.close()
            if opened.record.settings["report"]:
                update_report(out)
    return _check_any_run(out)


def _check_any_run(out: Location) -> RunSummary:
    """Return the summary of the newest run.

    Raises:
        ConfigError: the folder holds no run.
    """
    newest = next(newest_run_records(out), None)
    if newest is None:
        raise ConfigError(f"{out}: holds no run; plan one first")
    return newest.summary


def _write_plan(prepared: PreparedRun, results: ResultsFolder) -> PlannedRun | None:
    """Plan a run; None if another one was opened meanwhile."""
    plan = plan_run(prepared)
    log.info("%d photos in %s: %s", plan.found, prepared.config.input, plan.describe())
    draft, opened = draft_record(prepared, plan, results.run_id, WORKERS), None
    if len(plan.pending) or results.takes_turns:
        opened = results.open_run(draft, plan.pending, prepared.config.part_rows)
        if opened is None:
            return None
    restamp(results, plan.touched, prepared.model.build_rows(results.run_id).judge_again)
    if opened is not None and opened.shards:
        return _describe_open_run(opened)
    summary = finish_run(results, opened.record if opened else draft, seconds=prepared.clock.total())
    if opened is not None:
        opened.close()
    if prepared.config.report:
        update_report(results.out)
    return PlannedRun(summary.run_id, shards=0, shards_left=0, photos_left=0)


def _describe_open_run(opened: OpenRun) -> PlannedRun:
    missing = opened.missing()
    log.info("run %s is open: %d of its %d shards are left", opened.run_id, len(missing), opened.shards)
    return PlannedRun(opened.run_id, opened.shards, len(missing), opened.count_photos(missing))


def _read_runs_of_jobs(out: Location) -> list[OpenRun]:
    return [run for run in read_open_runs(out) if not run.has_one_writer]


def _restore_config(opened: OpenRun, changes: dict[str, Any]) -> RunConfig:
    """Build the settings of a planned run on this machine."""
    planned = {name: value for name, value in opened.record.settings.items() if name in RunConfig.model_fields}
    return RunConfig(**(planned | changes | {"engine": "local"}))
