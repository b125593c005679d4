"""The run: a folder of photos in, a table and overlays out.

plan     the photos without a current row, as shards       pipeline/planning
work     a shard -> its part of the table, its overlays    pipeline/work.py
finish   counts, comparisons, the record                   pipeline/finish.py
"""

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, compress

from pipeline.callable_module import make_callable
from pipeline.config import RunConfig
from pipeline.cores import available_cores
from pipeline.engines.device_process import DeviceShare
from pipeline.engines.devices import list_devices
from pipeline.engines.processes import drive, share_cores
from pipeline.finish import finish_run
from pipeline.locale_encoding import check_name_encoding
from pipeline.overlays.choice import sample_mask
from pipeline.photos.discover import Discovery
from pipeline.photos.sample import choose_sample
from pipeline.plan import Plan, expect_labels, find_photos, make_plan
from pipeline.progress import Progress, Stopwatch
from pipeline.records import ImageRef
from pipeline.results.files import ResultsFiles
from pipeline.results.folder import ResultsFolder, check_source
from pipeline.results.gone import count_gone
from pipeline.results.names import find_clashing
from pipeline.results.open_run import ONE_PROCESS, PROCESSES, OpenRun, read_open_runs, unlike_settings
from pipeline.results.read import read_done_files
from pipeline.results.report_age import report_is_current
from pipeline.results.run_record import RunRecord, RunSummary, current_time, current_versions
from pipeline.work import Job, RunModel, ShardRunner, open_run_model, start_runner

log = logging.getLogger(__name__)

# Settings without an effect on the rows and pictures of a run: another run with others goes on with its plan.
_HOW_IT_WORKS = (
    "device", "devices", "engine", "ray_address", "workers", "batch_size", "part_seconds", "part_rows", "report",
    "compare_runs", "repair", "rebind", "decode_seconds",
)  # fmt: skip


@dataclass(frozen=True)
class PreparedRun:
    """Everything known about a run before its first photo.

    Attributes:
        config: all settings.
        clock: seconds spent in each stage.
        photos: the files of the input folder.
        model: the model, with all that decides its numbers.
    """

    config: RunConfig
    clock: Stopwatch
    photos: Discovery
    model: RunModel

    def share_devices(self) -> list[DeviceShare]:
        """Share the cores of this machine among the devices of the settings; none: one device, in this process.

        Raises:
            ConfigError: this machine hasn't got them.
        """
        config = self.config
        if config.devices is None:
            return []
        workers = None if config.workers == "auto" else config.workers
        return share_cores(list_devices(config.device, config.devices), available_cores(), workers)


def run(config: RunConfig, *, stop: Callable[[], bool] = lambda: False) -> RunSummary:
    """Process a folder: one row and one overlay for each photo without a current row.

    Args:
        config: all settings.
        stop: asked between batches; once true, the run commits its open part and ends, interrupted.

    Raises:
        VitrolloutError: nothing could be processed, or not all; everything committed stays.
    """
    prepared = _prepare_run(config)
    log.info("%s; other photos need another --model", prepared.model.opened.description)
    if prepared.model.decision:
        log.info("decision of the model: %s", prepared.model.decision.describe())
    with ResultsFolder(config.out, config.input, rebind=config.rebind, repair=config.repair) as results:
        summary = _finish_open_runs(prepared, results, stop)
        if summary is None or not summary.interrupted:
            plan = _plan_run(prepared)
            log.info("%d photos in %s: %s", len(prepared.photos.refs), config.input, plan.describe())
            if summary is None or plan.has_work:
                summary = _process_plan(prepared, plan, results, stop)
            del plan
        del prepared  # the report needs the memory of the plan
        if config.report and not report_is_current(config.out):
            from pipeline.report.write_page import write_report  # imports pandas and jinja2

            write_report(config.out)
    return summary


def preview(config: RunConfig) -> Plan:
    """Plan a run, without a lock and without writing anything.

    Raises:
        VitrolloutError: as `run`, as far as known without loading the model.
    """
    prepared = _prepare_run(config)
    if not config.rebind:
        check_source(config.out, config.input)
    return _plan_run(prepared)


def _finish_open_runs(prepared: PreparedRun, results: ResultsFolder, stop: Callable[[], bool]) -> RunSummary | None:
    """Go on with a run left open under the same settings, and close all others; return its summary, if any."""
    summary = None
    settings = prepared.config.model_dump(mode="json")
    for opened in read_open_runs(results.out):
        if opened.has_one_writer or unlike_settings(opened, settings, prepared.model.fingerprint, _HOW_IT_WORKS):
            opened.seal()
            continue
        log.info("run %s is open: %d of its %d shards are left", opened.run_id, len(opened.missing()), opened.shards)
        summary = _work_and_finish(prepared, opened, results, stop)
    return summary


def _process_plan(prepared: PreparedRun, plan: Plan, results: ResultsFolder, stop: Callable[[], bool]) -> RunSummary:
    """Take the pending photos of a plan through the model; rewrite the rows of touched files."""
    config, draft = prepared.config, _draft_record(prepared, plan, results.run_id)
    opened = results.open_run(draft, plan.as_table(prepared.model.targets), config.part_rows) if plan.pending else None
    results.restamp(plan.touched, plan.rows, prepared.model.build_rows(results.run_id).judge_again)
    if opened is None:
        clock = prepared.clock
        return finish_run(results, draft, seconds=clock.total(), seconds_by_stage=clock.by_stage(), interrupted=stop())
    return _work_and_finish(prepared, opened, results, stop)


def _work_and_finish(
    prepared: PreparedRun, opened: OpenRun, results: ResultsFolder, stop: Callable[[], bool]
) -> RunSummary:
    """Work on the missing shards of an open run and finish it. With several writers it stays open if interrupted."""
    clock, missing = prepared.clock, opened.missing()
    if missing:
        _work_on_shards(prepared, opened, missing, results, stop)
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
    prepared: PreparedRun, opened: OpenRun, missing: list[int], results: ResultsFolder, stop: Callable[[], bool]
) -> None:
    if opened.record.engine != ONE_PROCESS and (shares := prepared.share_devices()):
        with Progress(opened.count_photos(missing)) as progress:
            start = partial(start_runner, Job(prepared.config, opened))
            drive(start, missing, shares, lambda done: progress.advance(done.ok, done.failed), stop)
        return
    files = results if opened.has_one_writer else ResultsFiles(results.out, results.source, opened.run_id)
    with (
        Progress(opened.count_photos(missing)) as progress,
        ShardRunner(opened, prepared.model, files, on_batch=progress.advance, clock=prepared.clock) as runner,
    ):
        for _ in runner.run(missing, stop):
            pass


def _prepare_run(config: RunConfig) -> PreparedRun:
    check_name_encoding()
    clock = Stopwatch()
    with clock("discover"):
        photos = find_photos(config)
    model = open_run_model(config)
    with clock("plan"):
        targets = expect_labels(config, model.opened.checkpoint, model.targets, photos.refs)
    photos = replace(photos, refs=targets.check(photos.refs))
    return PreparedRun(config, clock, photos, replace(model, targets=targets))


def _plan_run(prepared: PreparedRun) -> Plan:
    """Decide about each file, by its current row."""
    config, refs = prepared.config, prepared.photos.refs
    with prepared.clock("plan"):
        done = read_done_files(config.out)
        plan = make_plan(refs, done, prepared.model.fingerprint_of, retry_failed=config.retry_failed)
        plan = replace(plan, pending=_choose_pending(prepared, plan))
        paths = {ref.path for ref in refs}
        clashing = find_clashing([ref.path for ref in plan.pending], chain(paths, done))
        gone = count_gone(config.input, done, paths)
        return replace(plan, gone=gone, clashing=clashing, sampled=_sample_overlays(prepared, plan), rows=done)


def _choose_pending(prepared: PreparedRun, plan: Plan) -> list[ImageRef]:
    """Select the pending photos of the settings `sample` and `limit`."""
    config, pending = prepared.config, plan.pending
    if config.sample is not None:
        sample = choose_sample(prepared.photos.refs, config.sample)
        pending = [ref for ref in pending if ref.path in sample]
    return pending[: config.limit]


def _sample_overlays(prepared: PreparedRun, plan: Plan) -> frozenset[str]:
    """Choose the pending photos of `overlays = sample:N`; none with another setting."""
    paths = [ref.path for ref in plan.pending]
    count = prepared.model.overlays.count
    return frozenset(compress(paths, sample_mask(paths, count))) if count else frozenset()


def _draft_record(prepared: PreparedRun, plan: Plan, run_id: str) -> RunRecord:
    """Return the record of a run before its first photo."""
    config, photos, model = prepared.config, prepared.photos, prepared.model
    summary = RunSummary(
        run_id=run_id,
        input=os.fspath(config.input),
        out=os.fspath(config.out),
        found=len(photos.refs),
        done_before=plan.done + len(plan.touched),
        processed=0,
        ok=0,
        failed=0,
        unreadable_folders=len(photos.unreadable),
        interrupted=False,
        seconds=0.0,
        images_per_second=0.0,
        new=plan.new,
        changed=plan.changed,
        gone=plan.gone,
        standing=len(plan.failed_before),
        rejudged=plan.rejudged,
        left_out=photos.left_out,
    )
    return RunRecord(
        summary,
        finished_at=current_time(),
        unreadable=photos.unreadable,
        purpose=model.opened.checkpoint.purpose,
        precision=model.opened.precision,
        device=model.opened.device,
        fingerprint=model.fingerprint,
        settings=config.model_dump(mode="json"),
        versions=current_versions(),
        engine=PROCESSES if prepared.share_devices() else ONE_PROCESS,
    )


# importing this file sets `pipeline.run` to the module, so the module itself must be callable
make_callable(__name__, f"{__name__}:run", "pipeline.config:RunConfig")
