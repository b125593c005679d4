"""The run: a folder of photos in, a table and overlays out.

plan     the photos without a current row, in shards       pipeline/prepare.py, planning/
work     a shard -> its part of the table, its overlays    pipeline/work.py; on several devices, engines/
finish   counts, comparisons, the record                   pipeline/finish.py
"""

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from pipeline.callable_module import make_callable
from pipeline.config import RunConfig
from pipeline.engines.job import Job
from pipeline.finish import close_run, finish_run
from pipeline.planning.plan import Plan
from pipeline.prepare import PreparedRun, draft_record, plan_run, prepare_run
from pipeline.progress import Progress
from pipeline.results.files import ResultsFiles
from pipeline.results.folder import ResultsFolder
from pipeline.results.input_of_results import check_source
from pipeline.results.open_run import ONE_PROCESS, PROCESSES, OpenRun, PlanGoneError, read_open_runs
from pipeline.results.report_age import report_is_current
from pipeline.results.restamp import restamp
from pipeline.results.run_record import RunSummary
from pipeline.storage.location import Location
from pipeline.storage.storage import check_reachable
from pipeline.work import ShardRunner

log = logging.getLogger(__name__)


def run(config: RunConfig, *, stop: Callable[[], bool] = lambda: False) -> RunSummary:
    """Process a folder: one row and one overlay for each photo without a current row.

    Args:
        config: all settings.
        stop: asked between batches; once true, the run commits its open part and ends, interrupted.

    Raises:
        VitrolloutError: nothing could be processed, or not all; everything committed stays.
    """
    prepared = _prepare_and_log(config)
    with ResultsFolder(config.out, config.input, rebind=config.rebind, repair=config.repair) as results:
        summary = None
        while summary is None:
            summary = _finish_open_runs(prepared, results, stop)
            if summary is None or not summary.interrupted:
                results.look_again()
                plan = _plan_and_log(prepared)
                if summary is None or plan.has_work:
                    summary = _process_plan(prepared, plan, results, stop)
                del plan  # the report needs its memory
        if config.report:
            update_report(config.out)
    return summary


def preview(config: RunConfig) -> Plan:
    """Plan a run, without a lock and without writing anything.

    Raises:
        VitrolloutError: as `run`, as far as known without loading the model.
    """
    prepared = prepare_run(config)
    check_reachable(config.out)
    if not config.rebind:
        check_source(config.out, config.input)
    return plan_run(prepared)


def update_report(out: Location) -> None:
    """Write the report of a results folder unless it is current."""
    if not report_is_current(out):
        from pipeline.report.write_page import write_report  # imports pandas and jinja2

        write_report(out)


def _prepare_and_log(config: RunConfig) -> PreparedRun:
    prepared = prepare_run(config)
    log.info("%s; other photos need another --model", prepared.model.opened.description)
    prepared.model.method.log_reason()
    prepared.model.tile.log_reason()
    if prepared.model.decision:
        log.info("decision of the model: %s", prepared.model.decision.describe())
    return prepared


def _plan_and_log(prepared: PreparedRun) -> Plan:
    plan = plan_run(prepared)
    log.info("%d photos in %s: %s", plan.found, prepared.config.input, plan.describe())
    return plan


def _name_engine(prepared: PreparedRun) -> str:
    """Name those who work on the shards: only a folder of this machine has a lock, and so a single writer."""
    if prepared.devices:
        return prepared.devices.engine
    return ONE_PROCESS if isinstance(prepared.config.out, Path) else PROCESSES


def _finish_open_runs(prepared: PreparedRun, results: ResultsFolder, stop: Callable[[], bool]) -> RunSummary | None:
    """Go on with a run left open under the same settings, and close all others; return its summary, if any."""
    summary = None
    for opened in read_open_runs(results.out):
        if opened.has_one_writer or not prepared.is_like(opened):
            close_run(results, opened)
            continue
        log.info("run %s is open: %d of its %d shards are left", opened.run_id, len(opened.missing()), opened.shards)
        summary = _work_and_finish(prepared, opened, results, stop)
    return summary


def _process_plan(
    prepared: PreparedRun, plan: Plan, results: ResultsFolder, stop: Callable[[], bool]
) -> RunSummary | None:
    """Take the pending photos of a plan through the model; rewrite the rows of touched files.

    Returns:
        What was done; None if another run was opened meanwhile: then the next plan comes after that one.
    """
    draft, opened = draft_record(prepared, plan, results.run_id, _name_engine(prepared)), None
    if len(plan.pending) or results.takes_turns:
        opened = results.open_run(draft, plan.pending, prepared.config.part_rows)
        if opened is None:
            log.info("another run was opened meanwhile: looking again")
            return None
    restamp(results, plan.touched, prepared.model.build_rows(results.run_id).judge_again)
    if opened is not None:
        return _work_and_finish(prepared, opened, results, stop)
    clock = prepared.clock
    return finish_run(results, draft, seconds=clock.total(), seconds_by_stage=clock.by_stage(), interrupted=stop())


def _work_and_finish(
    prepared: PreparedRun, opened: OpenRun, results: ResultsFolder, stop: Callable[[], bool]
) -> RunSummary:
    """Work on the missing shards of an open run and finish it. With several writers it stays open if interrupted."""
    clock, missing = prepared.clock, opened.missing()
    try:
        if missing:
            _work_on_shards(prepared, opened, missing, results, stop)
    except PlanGoneError:
        log.info("run %s: another process has finished or closed it", opened.run_id)
    stays_open = stop() and not opened.has_one_writer and bool(opened.missing())
    summary = finish_run(
        results,
        opened.record,
        seconds=clock.total(),
        seconds_by_stage=clock.by_stage(),
        interrupted=stop(),
        is_last=not stays_open,
    )
    if not stays_open:
        opened.close()
    return summary


def _work_on_shards(
    prepared: PreparedRun, opened: OpenRun, shards: Sequence[int], results: ResultsFolder, stop: Callable[[], bool]
) -> None:
    with Progress(opened.count_photos(shards)) as progress:
        if prepared.devices and not opened.has_one_writer:
            job = Job(prepared.config, opened)
            with prepared.clock("work"):
                prepared.devices.drive(job, shards, lambda done: progress.advance(done.ok, done.failed), stop)
            return
        files = results if opened.has_one_writer else ResultsFiles(results.out, results.source, opened.run_id)
        runner = ShardRunner(opened, prepared.model, files, on_batch=progress.advance, clock=prepared.clock)
        with runner:
            for _ in runner.run(shards if opened.has_one_writer else _skip_committed(opened, shards), stop):
                pass


def _skip_committed(opened: OpenRun, shards: Sequence[int]) -> Iterator[int]:
    """Yield shards still without a part at their turn: other runs may work on them too, so each starts elsewhere."""
    start = os.getpid() % max(1, len(shards))
    for shard in (*shards[start:], *shards[:start]):
        if not opened.is_committed(shard):
            yield shard


# importing this file sets `pipeline.run` to the module, so the module itself must be callable
make_callable(__name__, f"{__name__}:run", "pipeline.config:RunConfig")
