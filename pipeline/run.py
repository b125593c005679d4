"""The run: a folder of photos in, a table and overlays out. The loop in `_process_photos` shows all of it."""

import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pipeline.callable_module import make_callable
from pipeline.config import RunConfig
from pipeline.decision import OUTCOMES, Decision, add_decision
from pipeline.locale_encoding import check_name_encoding
from pipeline.model.open import OpenedModel, open_model
from pipeline.model.targets import Targets
from pipeline.overlays.draw import overlay_look
from pipeline.overlays.writer import OverlayWriter
from pipeline.photos.loader import PhotoLoader
from pipeline.photos.source import Source
from pipeline.planning.find_photos import find_photos
from pipeline.planning.fingerprint import fingerprint, photo_fingerprint
from pipeline.planning.make_plan import make_plan
from pipeline.planning.plan import Plan, PlanSettings
from pipeline.planning.plan_schema import refs_of_plan
from pipeline.planning.targets import LabelCheck, choose_targets, expect_labels
from pipeline.progress import Progress, Stopwatch
from pipeline.records import ImageRef, Prediction
from pipeline.report.agreement import MOST_NAMED, compare_with_reviews
from pipeline.report.drift import Profiler, drift_warnings, earlier_profiles
from pipeline.results.folder import ResultsFolder, check_source
from pipeline.results.report_age import report_is_current
from pipeline.results.restamp import restamp
from pipeline.results.rows import RowBuilder
from pipeline.results.run_record import RunRecord, RunSummary, current_time, current_versions
from pipeline.results.schema import Row
from pipeline.results.table_writer import TableWriter

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PreparedRun:
    """Everything known about a run before its first photo.

    Attributes:
        config: all settings.
        clock: seconds spent in each stage.
        source: the photos of the input folder.
        model: the checkpoint, not loaded yet.
        targets: labels to explain.
        fingerprint: of all settings with an effect on the model's numbers.
        decision: saved with the model, or None.
    """

    config: RunConfig
    clock: Stopwatch
    source: Source
    model: OpenedModel
    targets: Targets
    fingerprint: str
    decision: Decision | None

    def fingerprint_of(self, path: str) -> str:
        """Return the fingerprint of one photo."""
        return add_decision(photo_fingerprint(self.fingerprint, self.targets, path), self.decision)

    def build_rows(self, run_id: str) -> RowBuilder:
        """Return the builder of the rows of a run."""
        config, head = self.config, self.model.checkpoint.read_head()
        return RowBuilder(
            head.labels, config.model, config.method[0], run_id, self.fingerprint_of, self.targets.versus,
            head.scoring, self.decision,
        )  # fmt: skip


def run(config: RunConfig, *, stop: Callable[[], bool] = lambda: False) -> RunSummary:
    """Process a folder: one row and one overlay for each photo without a current row.

    Args:
        config: all settings.
        stop: asked between batches; once true, the run commits its open part and ends, interrupted.

    Raises:
        VitrolloutError: nothing could be processed, or not all; everything committed stays.
    """
    # 1. the photos, the model, the labels to explain
    prepared = _prepare_run(config)
    log.info("%s; other photos need another --model", prepared.model.description)
    if prepared.decision:
        log.info("decision of the model: %s", prepared.decision.describe())
    with ResultsFolder(config.out, config.input, rebind=config.rebind, repair=config.repair) as results:
        # 2. what is left to do; rows of touched files get their new mtime, and all rows the current decision
        plan = _plan_run(prepared)
        rows = prepared.build_rows(results.run_id)
        restamp(results, plan.touched, rows.judge_again)
        log.info("%d photos in %s: %s", plan.found, config.input, plan.describe())
        # 3. photos -> model -> maps -> overlays and table
        profiler = _process_photos(prepared, plan, results, rows, stop) if len(plan.pending) else Profiler()
        # 4. the record, with a comparison to earlier runs
        summary = _summarise_run(prepared, plan, results.run_id, profiler, interrupted=stop())
        results.write_record(_build_record(prepared, summary, profiler))
        # 5. the report, unless it is current
        del prepared, plan, rows  # the report needs the memory of the plan
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


def _prepare_run(config: RunConfig) -> PreparedRun:
    check_name_encoding()
    clock = Stopwatch()
    with clock("discover"):
        source = find_photos(config)
    model = open_model(config)
    with clock("plan"):
        targets = expect_labels(config, model.checkpoint, choose_targets(config, model.checkpoint))
        run_fingerprint = fingerprint(config, model.checkpoint, model.precision, targets)
        decision = model.read_decision()
    return PreparedRun(config, clock, source, model, targets, run_fingerprint, decision)


def _plan_run(prepared: PreparedRun) -> Plan:
    """Decide about each photo, by its current row."""
    config, expected = prepared.config, prepared.targets.expected
    settings = PlanSettings(
        config.input,
        retry_failed=config.retry_failed,
        sample=config.sample,
        limit=config.limit,
        draws_overlays=config.overlay_size is not None,
    )
    labels = None if expected is None else LabelCheck(config, expected)
    with prepared.clock("plan"):
        return make_plan(prepared.source, config.out, prepared.fingerprint_of, settings, labels)


def _iterate_refs(plan: Plan, config: RunConfig) -> Iterator[ImageRef]:
    for batch in plan.pending.to_batches(max_chunksize=1000):
        yield from refs_of_plan(batch, config.input)


def _process_photos(
    prepared: PreparedRun, plan: Plan, results: ResultsFolder, rows: RowBuilder, stop: Callable[[], bool]
) -> Profiler:
    """Take the pending photos through the model into the table; return their profile."""
    config, targets, clock = prepared.config, prepared.targets, prepared.clock
    paths = plan.pending["path"]
    profiler = Profiler(frozenset(paths.filter(plan.pending["failed_before"]).to_pylist()))
    with clock("model"):
        # transformers takes seconds to import: only once there is something to do
        from pipeline.maps.passes import MapPlan
        from pipeline.model.predictor import build_predictor, split_by_photo

        classifier = prepared.model.load(rescale=config.rescale)
    map_plan = MapPlan(config.method, config.head_fusion, config.discard_ratio, targets.versus)
    predictor = build_predictor(classifier, map_plan, config.batch_size, targets)
    spec = classifier.load_spec(
        overlay_size=config.overlay_size,
        exact_decode=config.exact_decode,
        max_pixels=config.max_pixels,
        white_level=config.white_level,
    )
    with (
        PhotoLoader(spec, workers=config.workers, decode_seconds=config.decode_seconds) as loader,
        OverlayWriter(
            results,
            overlay_look(config),
            threads=loader.workers,
            waiting=predictor.batch_size,  # a whole batch: its overlays are drawn while the device computes the next
            clashing=frozenset(paths.filter(plan.pending["clashes"]).to_pylist()),
        ) as overlays,
        TableWriter(results, rows=config.part_rows, seconds=config.part_seconds, before_commit=overlays.flush) as table,
        Progress(len(plan.pending)) as progress,
    ):

        def finish_photo(prediction: Prediction) -> Row:
            box = classifier.geometry.map_box(prediction.sample.width, prediction.sample.height)
            return rows.build_ok(prediction, box, overlays.submit(prediction, box))

        batches = clock.over("photos", loader.batches(_iterate_refs(plan, config), predictor.batch_size, stop))
        for batch, output in predictor.predict_ahead(batches):
            with clock("model"):
                predictions = split_by_photo(batch.samples, output.result())
            failures = [*batch.failures, *filter(None, (prediction.failure for prediction in predictions))]
            with clock("overlays"):
                batch_rows = [finish_photo(prediction) for prediction in predictions if not prediction.failure]
            for failure in failures:
                log.warning("%s: %s", failure.ref.path, failure.reason, extra={"path": failure.ref.path})
            progress.advance(ok=len(batch_rows), failed=len(failures))
            batch_rows += [rows.build_failed(failure) for failure in failures]
            with clock("table"):
                table.add(batch_rows)
            profiler.add(batch_rows)
    return profiler


def _summarise_run(
    prepared: PreparedRun, plan: Plan, run_id: str, profiler: Profiler, *, interrupted: bool
) -> RunSummary:
    """Sum up a run, and compare it with earlier ones."""
    config, clock = prepared.config, prepared.clock
    fingerprint = add_decision(prepared.fingerprint, prepared.decision)
    changes = drift_warnings(profiler.profile(), earlier_profiles(config.out, fingerprint, config.compare_runs))
    for change in changes:
        log.warning("unlike earlier runs: %s", change)
    standing = plan.count_standing(profiler.photos)
    if standing:
        log.warning("photos failed in earlier runs, and no different since: %d; --retry-failed tries them", standing)
    decisions: dict[str, int] = (
        {outcome: profiler.decisions[outcome] for outcome in OUTCOMES} if prepared.decision else {}
    )
    if profiler.photos and decisions:
        log.info("decisions: %s", ", ".join(f"{outcome} {count}" for outcome, count in decisions.items()))
    reviews = compare_with_reviews(config.out, run_id)
    return RunSummary(
        run_id=run_id,
        input=os.fspath(config.input),
        out=os.fspath(config.out),
        found=plan.found,
        done_before=plan.same,
        processed=profiler.photos,
        ok=profiler.labels.total(),
        failed=profiler.failed,
        unreadable_folders=len(prepared.source.unreadable),
        interrupted=interrupted,
        seconds=round(clock.total(), 3),
        images_per_second=round(profiler.photos / clock.total(), 2),
        labels=dict(profiler.labels.most_common()),
        decisions=decisions,
        changes=changes,
        seconds_by_stage=clock.by_stage(),
        new=plan.new,
        changed=plan.changed,
        gone=plan.gone,
        standing=standing,
        failed_again=profiler.failed_again,
        rejudged=plan.rejudged,
        left_out=prepared.source.left_out,
        reviewed=reviews.photos,
        agreed=reviews.agreed,
        contradicted=len(reviews.contradicted),
        contradicted_photos=reviews.contradicted[:MOST_NAMED],
    )


def _build_record(prepared: PreparedRun, summary: RunSummary, profiler: Profiler) -> RunRecord:
    return RunRecord(
        summary,
        finished_at=current_time(),
        unreadable=prepared.source.unreadable,
        profile=profiler.profile().as_json(),
        purpose=prepared.model.checkpoint.purpose,
        precision=prepared.model.precision,
        device=prepared.model.device,
        fingerprint=add_decision(prepared.fingerprint, prepared.decision),
        settings=prepared.config.model_dump(mode="json"),
        versions=current_versions(),
    )


# importing this file sets `pipeline.run` to the module, so the module itself must be callable
make_callable(__name__, f"{__name__}:run", "pipeline.config:RunConfig")
