"""The run: a folder of photos in, a table and overlays out. The loop in `_process_photos` shows all of it."""

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from pipeline.callable_module import make_callable
from pipeline.config import RunConfig
from pipeline.errors import ConfigError
from pipeline.model.open import OpenedModel, open_model
from pipeline.model.targets import Targets
from pipeline.overlays.draw import OverlayLook
from pipeline.overlays.writer import OverlayWriter
from pipeline.photos.discover import Discovery, discover
from pipeline.photos.loader import PhotoLoader, available_cores
from pipeline.plan import Plan, choose_targets, fingerprint, make_plan, photo_fingerprint
from pipeline.progress import Progress, Stopwatch
from pipeline.report.drift import Profiler, drift_warnings, earlier_profiles
from pipeline.results.folder import ResultsFolder, check_source, report_knows_all
from pipeline.results.read import read_done_files
from pipeline.results.rows import RowBuilder
from pipeline.results.run_record import RunRecord, RunSummary, current_time, current_versions, newest_run_records
from pipeline.results.table_writer import TableWriter

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """Everything known about a run before its first photo.

    Attributes:
        config: all settings.
        clock: seconds spent in each stage.
        photos: the files of the input folder.
        model: the checkpoint, not loaded yet.
        targets: labels to explain.
        fingerprint: of all settings with an effect on the numbers.
    """

    config: RunConfig
    clock: Stopwatch
    photos: Discovery
    model: OpenedModel
    targets: Targets
    fingerprint: str

    def fingerprint_of(self, path: str) -> str:
        """Return the fingerprint of one photo."""
        return photo_fingerprint(self.fingerprint, self.targets, path)


def run(config: RunConfig, *, stop: Callable[[], bool] = lambda: False) -> RunSummary:
    """Process a folder: one row and one overlay for each photo without a current row.

    Args:
        config: all settings.
        stop: asked between batches; once true, the run commits its open part and ends, interrupted.

    Raises:
        VitrolloutError: nothing could be processed, or not all; everything committed stays.
    """
    # 1. the photos, the model, the labels to explain
    job = _prepare_job(config)
    log.info("%s; other photos need another --model", job.model.description)
    with ResultsFolder(config.out, config.input, rebind=config.rebind, repair=config.repair) as results:
        # 2. what is left to do
        plan = _plan_job(job, results)
        log.info("%d photos in %s, %d to process", len(job.photos.refs), config.input, len(plan.pending))
        # 3. photos -> model -> maps -> overlays and table
        profiler = _process_photos(job, plan, results, stop) if plan.pending else Profiler()
        # 4. the record, with a comparison to earlier runs
        summary = _summarise_run(job, plan, results.run_id, profiler, interrupted=stop())
        results.write_record(_build_record(job, summary, profiler))
        # 5. the report, unless it is current
        del job, plan  # the report needs the memory of the list of photos
        if config.report and not _report_is_current(config.out):
            from pipeline.report.write_page import write_report  # imports pandas and jinja2

            write_report(config.out)
    return summary


def preview(config: RunConfig) -> Plan:
    """Plan a run, without a lock and without writing anything.

    Raises:
        VitrolloutError: as `run`, as far as known without loading the model.
    """
    job = _prepare_job(config)
    if not config.rebind:
        check_source(config.out, config.input)
    return _plan_job(job)


def _prepare_job(config: RunConfig) -> Job:
    clock = Stopwatch()
    with clock("discover"):
        photos = find_photos(config)
    model = open_model(config)
    targets = choose_targets(config, model.checkpoint, photos.refs)
    with clock("plan"):
        run_fingerprint = fingerprint(config, model.checkpoint, model.precision, targets)
    return Job(config, clock, photos, model, targets, run_fingerprint)


def _plan_job(job: Job, results: ResultsFolder | None = None) -> Plan:
    """Decide about each file; with `results`, give the rows of touched files their new mtime."""
    config = job.config
    with job.clock("plan"):
        done = read_done_files(config.out)
        plan = make_plan(
            job.photos.refs, done, job.fingerprint_of, retry_failed=config.retry_failed, limit=config.limit
        )
        if results is not None:
            results.restamp(plan.touched, done)
    return plan


def _process_photos(job: Job, plan: Plan, results: ResultsFolder, stop: Callable[[], bool]) -> Profiler:
    """Take the pending photos through the model into the table; return their profile."""
    config, targets, clock, profiler = job.config, job.targets, job.clock, Profiler()
    with clock("model"):
        # transformers takes seconds to import: only once there is something to do
        from pipeline.maps.passes import MapPlan
        from pipeline.model.predictor import build_predictor, split_by_photo

        classifier = job.model.load(rescale=config.rescale)
    map_plan = MapPlan(config.method, config.head_fusion, config.discard_ratio, targets.versus)
    predictor = build_predictor(classifier, map_plan, config.batch_size, targets)
    rows = RowBuilder(
        classifier.labels, config.model, config.method[0], results.run_id, job.fingerprint_of, targets.versus
    )
    spec = classifier.load_spec(
        overlay_size=config.overlay_size, exact_decode=config.exact_decode, max_pixels=config.max_pixels
    )
    workers = available_cores() if config.workers == "auto" else config.workers
    look = OverlayLook(config.style, config.overlay_opacity, config.colormap)
    batch_size = predictor.batch_size
    with (
        PhotoLoader(spec, workers=workers, decode_seconds=config.decode_seconds) as loader,
        # a whole batch may wait: its overlays are drawn while the device computes the next one
        OverlayWriter(results, look, threads=workers, waiting=batch_size) as overlays,
        TableWriter(results, rows=config.part_rows, seconds=config.part_seconds, before_commit=overlays.flush) as table,
        Progress(len(plan.pending)) as progress,
    ):
        pending = targets.check(plan.pending)
        batches = clock.over("photos", loader.batches(pending, batch_size, stop))
        for batch, output in predictor.predict_ahead(batches):
            with clock("model"):
                predictions = split_by_photo(batch.samples, output.result())
            finished, failures = [], list(batch.failures)
            with clock("overlays"):
                for prediction in predictions:
                    if failure := prediction.failure:
                        failures.append(failure)
                        continue
                    box = classifier.geometry.map_box(prediction.sample.width, prediction.sample.height)
                    finished.append(rows.build_ok(prediction, box, overlays.submit(prediction, box)))
            for failure in failures:
                log.warning("%s: %s", failure.ref.path, failure.reason, extra={"path": failure.ref.path})
            progress.advance(ok=len(finished), failed=len(failures))
            finished += [rows.build_failed(failure) for failure in failures]
            with clock("table"):
                table.add(finished)
            profiler.add(finished)
    return profiler


def _summarise_run(job: Job, plan: Plan, run_id: str, profiler: Profiler, *, interrupted: bool) -> RunSummary:
    """Sum up a run, and compare it with earlier ones."""
    config, clock = job.config, job.clock
    changes = drift_warnings(profiler.profile(), earlier_profiles(config.out, job.fingerprint, config.compare_runs))
    for change in changes:
        log.warning("unlike earlier runs: %s", change)
    return RunSummary(
        run_id=run_id,
        input=os.fspath(config.input),
        out=os.fspath(config.out),
        found=len(job.photos.refs),
        done_before=plan.done + len(plan.touched),
        processed=profiler.photos,
        ok=profiler.labels.total(),
        failed=profiler.failed,
        unreadable_folders=len(job.photos.unreadable),
        interrupted=interrupted,
        seconds=round(clock.total(), 3),
        images_per_second=round(profiler.photos / clock.total(), 2),
        labels=dict(profiler.labels.most_common()),
        changes=changes,
        seconds_by_stage=clock.by_stage(),
    )


def _build_record(job: Job, summary: RunSummary, profiler: Profiler) -> RunRecord:
    return RunRecord(
        summary,
        finished_at=current_time(),
        unreadable=job.photos.unreadable,
        profile=profiler.profile().as_json(),
        purpose=job.model.checkpoint.purpose,
        precision=job.model.precision,
        device=job.model.device,
        fingerprint=job.fingerprint,
        settings=job.config.model_dump(mode="json"),
        versions=current_versions(),
    )


def _report_is_current(out: Path) -> bool:
    """Tell whether the report knows every row, and the run before left the folder like this one."""
    outcomes = [
        (record.summary.interrupted, record.summary.unreadable_folders, record.summary.left)
        for record in islice(newest_run_records(out), 2)
    ]
    return report_knows_all(out) and outcomes[0] == outcomes[-1]


def find_photos(config: RunConfig) -> Discovery:
    """Find the photos of a run's input folder.

    Raises:
        ConfigError: there are none.
    """
    photos = discover(config.input, pattern=config.pattern, follow_links=config.follow_links, skip=config.out)
    if photos.refs:
        return photos
    if photos.unreadable:
        name, reason = next(iter(photos.unreadable.items()))
        raise ConfigError(f"no photos in {config.input}: folder {name} can't be read ({reason})")
    matching = f" matching {config.pattern}" if config.pattern else ""
    raise ConfigError(f"no photos in {config.input}{matching}; the README lists the supported file types")


# importing this file sets `pipeline.run` to the module, so the module itself must be callable
make_callable(__name__, f"{__name__}:run", "pipeline.config:RunConfig")
