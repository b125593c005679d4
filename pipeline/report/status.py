"""A results folder at a glance: its last runs, what is in its table, what failed and why."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.results.folder import run_records
from pipeline.results.read import part_files, read_results

_COLUMNS = ["path", "status", "error", "label", "score", "run_id", "processed_at"]


@dataclass(frozen=True)
class Status:
    """What a results folder holds.

    Attributes:
        runs: records of the last runs, newest first.
        photos: current rows.
        failed: of these.
        parts: files of the table.
        labels: photos by label, most frequent first.
        reasons: failed photos by reason, most frequent first.
        failures: (path, reason) of the newest failures.
    """

    runs: Sequence[dict[str, Any]]
    photos: int
    failed: int
    parts: int
    labels: dict[str, int]
    reasons: dict[str, int]
    failures: Sequence[tuple[str, str]]


def read_status(out: Path, *, runs: int = 5, failures: int = 10) -> Status:
    """Read the status of a results folder, at most so many runs and failures of it.

    Raises:
        ConfigError: it is no results folder.
        StoreError: a part is damaged.
    """
    return status_of(out, read_results(out, _COLUMNS), runs=runs, failures=failures)


def status_of(out: Path, frame: pd.DataFrame, *, runs: int = 5, failures: int = 10) -> Status:
    """The status of a results folder whose current rows are at hand, with the columns path to processed_at."""
    failed = frame[frame["status"] == "failed"].sort_values("processed_at", ascending=False, kind="stable")
    labels, reasons = frame["label"].value_counts(), failed["error"].value_counts()
    newest = failed.head(failures)
    return Status(
        runs=[record for file in reversed(run_records(out)[-runs:]) if (record := _read(file))],
        photos=len(frame),
        failed=len(failed),
        parts=len(part_files(out)),
        labels={str(label): int(count) for label, count in labels.items() if count},
        reasons={str(reason): int(count) for reason, count in reasons.items()},
        failures=list(zip(newest["path"], newest["error"], strict=True)),
    )


def status_text(status: Status) -> str:
    """A status for a person at a terminal."""
    parts = [f"{status.photos} photos, {status.failed} failed; {status.parts} parts"]
    if status.labels:
        parts.append("labels: " + ", ".join(f"{label} {count}" for label, count in status.labels.items()))
    parts.append("last runs:\n" + (_runs_table(status.runs) if status.runs else "  none came to its end"))
    parts += [f"unlike the runs before: {change}" for record in status.runs[:1] for change in record["changes"]]
    if status.failed:
        parts.append(
            "failures by reason:\n" + _lines(f"{count:6}  {reason}" for reason, count in status.reasons.items())
        )
        parts.append("newest failures:\n" + _lines(f"{path}: {reason}" for path, reason in status.failures))
    return "\n\n".join(parts)


def _runs_table(records: Sequence[dict[str, Any]]) -> str:
    columns = ["processed", "ok", "failed", "done_before", "seconds", "images_per_second", "interrupted"]
    rows = [{"finished": record["finished_at"], **{name: record[name] for name in columns}} for record in records]
    return pd.DataFrame(rows).to_string(index=False)


def _lines(items: Any) -> str:
    return "\n".join(f"  {item}" for item in items)


def _read(file: Path) -> dict[str, Any] | None:
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        return None
    return record if isinstance(record, dict) and "changes" in record else None
