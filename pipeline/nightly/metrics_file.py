"""What monitoring reads: a file for Prometheus' textfile collector, renamed into place."""

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Gauge, write_to_textfile

from pipeline.errors import StoreError
from pipeline.nightly.archives import ArchiveNight
from pipeline.nightly.config import ArchiveConfig, NightlyConfig
from pipeline.results.folder import run_records


def write_metrics_file(config: NightlyConfig, nights: Sequence[ArchiveNight]) -> None:
    """Write `config.metrics_file` after a night, where one is wanted.

    Raises:
        StoreError: it can't be written.
    """
    if config.metrics_file is None:
        return
    registry = CollectorRegistry()

    def gauge(name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"vitrollout_{name}", text, ["archive", *labels], registry=registry)

    exit_code = gauge("exit_code", "How the last night ended: 0 well, 3 too many photos failed, others a fault.")
    success = gauge("last_success_timestamp_seconds", "When a run last did all it had to do.")
    finished = gauge("last_run_timestamp_seconds", "When a run last came to its end, well or not.")
    photos = gauge("photos", "Photos of the last run.", "status")
    rate = gauge("photos_per_second", "Speed of the last run.")
    stages = gauge("stage_seconds", "Where the last run's time went.", "stage")
    changes = gauge("changes", "In how many ways the last run was unlike those before.")
    for archive, night in zip(config.archive, nights, strict=True):
        exit_code.labels(night.name).set(night.exit_code)
        records = list(_newest_first(archive.out))
        for record in records[:1]:
            finished.labels(night.name).set(_finished_at(record))
            photos.labels(night.name, "ok").set(record["ok"])
            photos.labels(night.name, "failed").set(record["failed"])
            photos.labels(night.name, "done_before").set(record["done_before"])
            rate.labels(night.name).set(record["images_per_second"])
            changes.labels(night.name).set(len(record["changes"]))
            for stage, seconds in record["seconds_by_stage"].items():
                stages.labels(night.name, stage).set(seconds)
        for record in _successes(records, archive):
            success.labels(night.name).set(_finished_at(record))
            break
    try:
        write_to_textfile(str(config.metrics_file), registry)
    except OSError as error:
        raise StoreError(f"metrics_file = {config.metrics_file}: {error.strerror}; make its folder writable") from None


def _newest_first(out: Path) -> Iterator[dict[str, Any]]:
    for file in reversed(run_records(out)):
        try:
            record = json.loads(file.read_text(encoding="utf-8"))
        except ValueError:
            continue
        if isinstance(record, dict) and {"finished_at", "changes", "seconds_by_stage"} <= record.keys():
            yield record


def _successes(records: Iterable[dict[str, Any]], archive: ArchiveConfig) -> Iterator[dict[str, Any]]:
    for record in records:
        few_failed = record["failed"] <= archive.max_failed_share * record["processed"]
        if few_failed and not record["interrupted"] and not record["unreadable_folders"]:
            yield record


def _finished_at(record: dict[str, Any]) -> float:
    return datetime.fromisoformat(record["finished_at"]).timestamp()
