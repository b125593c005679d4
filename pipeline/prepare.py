"""A run before its first photo: its source, its model, its plan, the draft of its record."""

import os
from dataclasses import dataclass, replace

from pipeline.config import RunConfig
from pipeline.engines.choose import Devices, choose_devices, settle_precision
from pipeline.locale_encoding import check_name_encoding
from pipeline.photos.source import Source
from pipeline.planning.find_photos import find_photos
from pipeline.planning.make_plan import make_plan
from pipeline.planning.plan import Plan, PlanSettings
from pipeline.planning.targets import LabelCheck, expect_labels
from pipeline.progress import Stopwatch
from pipeline.results.open_run import OpenRun, is_like
from pipeline.results.run_record import RunRecord, RunSummary, current_time, current_versions
from pipeline.run_model import RunModel, open_run_model

# Settings without an effect on the rows and pictures of a run: a run with others goes on with its plan.
_HOW_IT_WORKS = (
    "device", "devices", "engine", "ray_address", "workers", "batch_size", "part_seconds", "part_rows", "report",
    "compare_runs", "repair", "rebind", "decode_seconds", "name", "max_failed_share",
)  # fmt: skip


@dataclass(frozen=True)
class PreparedRun:
    """Everything known about a run before its plan.

    Attributes:
        config: all settings.
        clock: seconds spent in each stage.
        source: the photos.
        model: the model, with all that decides its numbers.
        devices: several, a process each; None: one device, in this process.
    """

    config: RunConfig
    clock: Stopwatch
    source: Source
    model: RunModel
    devices: Devices | None

    def is_like(self, run: OpenRun) -> bool:
        """Tell whether an open run was planned for the same results."""
        return is_like(run, self.config.model_dump(mode="json"), self.model.fingerprint, _HOW_IT_WORKS)


def prepare_run(config: RunConfig, *, computes_here: bool = True) -> PreparedRun:
    """Find the first photos, the model and the devices of a run.

    Args:
        config: all settings.
        computes_here: False: jobs of a scheduler do, with devices of their own.

    Raises:
        VitrolloutError: nothing can be processed.
    """
    check_name_encoding()
    clock = Stopwatch()
    devices = choose_devices(config) if computes_here else None
    config = settle_precision(config, devices)
    with clock("discover"):
        source = find_photos(config)
    model = open_run_model(config, computes_here=computes_here and (devices is None or devices.are_here))
    config = model.config  # with the method chosen for the model
    if not computes_here:
        config = config.model_copy(update={"precision": model.opened.precision})
    with clock("plan"):
        targets = expect_labels(config, model.opened.checkpoint, model.targets)
    return PreparedRun(config, clock, source, replace(model, targets=targets), devices)


def plan_run(prepared: PreparedRun) -> Plan:
    """Decide about each photo, by its current row."""
    config, expected = prepared.config, prepared.model.targets.expected
    settings = PlanSettings(
        config.input,
        retry_failed=config.retry_failed,
        sample=config.sample,
        limit=config.limit,
        draws_overlays=prepared.model.overlays.kind != "none",
        sampled_overlays=prepared.model.overlays.count or None,
    )
    labels = None if expected is None else LabelCheck(config, expected)
    with prepared.clock("plan"):
        return make_plan(prepared.source, config.out, prepared.model.fingerprint_of, settings, labels)


def draft_record(prepared: PreparedRun, plan: Plan, run_id: str, engine: str) -> RunRecord:
    """Return the record of a run before its first photo."""
    config, source, model = prepared.config, prepared.source, prepared.model
    summary = RunSummary(
        run_id=run_id,
        input=os.fspath(config.input),
        out=os.fspath(config.out),
        found=plan.found,
        done_before=plan.same,
        processed=0,
        ok=0,
        failed=0,
        unreadable_folders=len(source.unreadable),
        interrupted=False,
        seconds=0.0,
        images_per_second=0.0,
        new=plan.new,
        changed=plan.changed,
        gone=plan.gone,
        standing=plan.failed_before,
        rejudged=plan.rejudged,
        left_out=source.left_out,
        unfamiliar={"count": 0, "share": 0.0} if model.familiarity else None,
    )
    return RunRecord(
        summary,
        finished_at=current_time(),
        unreadable=source.unreadable,
        purpose=model.opened.checkpoint.purpose,
        precision=model.opened.precision,
        device=model.opened.device,
        fingerprint=model.fingerprint,
        settings=config.model_dump(mode="json"),
        versions=current_versions(),
        engine=engine,
        method_source=model.method.source,
    )
