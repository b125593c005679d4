"""A metrics file for Prometheus' textfile collector, renamed into place."""

from collections.abc import Sequence
from datetime import datetime

from prometheus_client import CollectorRegistry, Gauge, write_to_textfile

from pipeline.errors import StoreError
from pipeline.nightly.archives import ArchiveNight, find_failures
from pipeline.nightly.config import ArchiveConfig, NightlyConfig
from pipeline.results.run_record import RunRecord, newest_run_records


def write_metrics_file(config: NightlyConfig, nights: Sequence[ArchiveNight]) -> None:
    """Write `config.metrics_file` after a night, if it is set.

    Raises:
        StoreError: it can't be written.
    """
    if config.metrics_file is None:
        return
    registry = CollectorRegistry()

    def gauge(name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"vitrollout_{name}", text, ["archive", *labels], registry=registry)

    exit_code = gauge("exit_code", "Exit code of the last night: 0 success, 3 too many failed photos, others a fault.")
    success = gauge("last_success_timestamp_seconds", "Time of the last run to its end with few enough failures.")
    finished = gauge("last_run_timestamp_seconds", "Time of the last finished run, successful or not.")
    photos = gauge("photos", "Photos of the last run.", "status")
    decisions = gauge("decisions", "Photos of the last run by decision of its model: pass, review, reject.", "decision")
    unfamiliar = gauge("photos_unfamiliar", "Photos of the last run unlike those that its model learned from.")
    standing = gauge("photos_standing_failed", "Photos failed in earlier runs, and failed still.")
    differences = gauge("photos_compared", "Photos new, changed or gone since the run before.", "difference")
    rate = gauge("photos_per_second", "Speed of the last run.")
    stages = gauge("stage_seconds", "Time of the last run by stage.", "stage")
    changes = gauge("changes", "Number of differences of the last run from earlier ones.")
    for archive, night in zip(config.archive, nights, strict=True):
        exit_code.labels(night.name).set(night.exit_code)
        newest = next(newest_run_records(archive.out), None)
        if newest is not None:
            summary = newest.summary
            finished.labels(night.name).set(_finish_time(newest))
            photos.labels(night.name, "ok").set(summary.ok)
            photos.labels(night.name, "failed").set(summary.failed)
            photos.labels(night.name, "done_before").set(summary.done_before)
            for decision, count in summary.decisions.items():
                decisions.labels(night.name, decision).set(count)
            if summary.unfamiliar is not None:
                unfamiliar.labels(night.name).set(summary.unfamiliar["count"])
            standing.labels(night.name).set(summary.standing + summary.failed_again)
            for difference in ("new", "changed", "gone"):
                differences.labels(night.name, difference).set(getattr(summary, difference))
            rate.labels(night.name).set(summary.images_per_second)
            changes.labels(night.name).set(len(summary.changes))
            for stage, seconds in summary.seconds_by_stage.items():
                stages.labels(night.name, stage).set(seconds)
        successes = (record for record in newest_run_records(archive.out) if _is_success(record, archive))
        if last_success := next(successes, None):
            success.labels(night.name).set(_finish_time(last_success))
    try:
        write_to_textfile(str(config.metrics_file), registry)
    except OSError as error:
        raise StoreError(f"metrics_file = {config.metrics_file}: {error.strerror}; make its folder writable") from None


def _is_success(record: RunRecord, archive: ArchiveConfig) -> bool:
    summary = record.summary
    return find_failures(archive, summary) is None and not summary.interrupted and not summary.unreadable_folders


def _finish_time(record: RunRecord) -> float:
    return datetime.fromisoformat(record.finished_at).timestamp()
