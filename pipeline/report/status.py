"""A results folder at a glance: its last runs, the photos in its table, failures and their reasons."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.decision import OUTCOMES
from pipeline.report.training_photos import find_training_photos
from pipeline.results.folder import was_pruned_since
from pipeline.results.names import part_files
from pipeline.results.read import read_results
from pipeline.results.run_record import RunRecord, newest_run_records
from pipeline.reviews.read import read_truths
from pipeline.reviews.summary import ReviewSummary, summarise_reviews
from pipeline.reviews.truth import Truth

_COLUMNS = ["path", "content_hash", "status", "error", "label", "score", "run_id", "processed_at", "decision"]


@dataclass(frozen=True)
class Status:
    """The content of a results folder.

    Attributes:
        runs: records of the last runs, newest first.
        photos: number of current rows.
        failed: number of failed ones among them.
        broken: of these, failed by their own bytes; the others were out of reach, and each run tries them again.
        gone: rows without a photo when the newest run looked; `compact --prune` drops them.
        parts: number of files in the table.
        labels: photos by label, most frequent first.
        decisions: photos by decision: pass, review and reject; empty without decisions.
        reasons: failed photos by reason, most frequent first.
        failures: (path, reason) of the newest failures.
        reviews: people's decisions in numbers; None without any.
    """

    runs: Sequence[RunRecord]
    photos: int
    failed: int
    broken: int
    gone: int
    parts: int
    labels: dict[str, int]
    decisions: dict[str, int]
    reasons: dict[str, int]
    failures: Sequence[tuple[str, str]]
    reviews: ReviewSummary | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the status for programs, with the records as in their files."""
        reviews = self.reviews and self.reviews.as_json()
        return asdict(self) | {"runs": [record.as_json() for record in self.runs], "reviews": reviews}

    def describe_failures(self) -> str:
        """Return the failed photos by kind: `3 broken, 2 out of reach, tried again by the next run`."""
        kinds = []
        if self.broken:
            kinds.append(f"{self.broken:,} broken")
        if self.failed > self.broken:
            kinds.append(f"{self.failed - self.broken:,} out of reach, tried again by the next run")
        return ", ".join(kinds)


def read_status(out: Path, *, runs: int = 5, failures: int = 10) -> Status:
    """Read the status of a results folder.

    Args:
        out: the results folder.
        runs: number of the last runs to read, at most.
        failures: number of the newest failures to list, at most.

    Raises:
        ConfigError: it is not a results folder.
        StoreError: a part or a file of reviews is damaged.
    """
    return status_of_rows(out, read_results(out, _COLUMNS), read_truths(out), runs=runs, failures=failures)


def status_of_rows(
    out: Path, frame: pd.DataFrame, truths: Mapping[str, Truth], *, runs: int = 5, failures: int = 10
) -> Status:
    """Return the status of a results folder from its current rows and reviews.

    Args:
        out: the results folder.
        frame: its current rows, with the columns of `_COLUMNS`.
        truths: what people say about its photos, by content hash.
        runs, failures: as of `read_status`.
    """
    failed = frame[frame["status"] == "failed"].sort_values("processed_at", ascending=False, kind="stable")
    labels, reasons = frame["label"].value_counts(), failed["error"].value_counts()
    newest = failed.head(failures)
    return Status(
        runs=list(islice(newest_run_records(out), runs)),
        photos=len(frame),
        failed=len(failed),
        broken=_count_broken(out, failed),
        gone=min(len(frame), _count_gone(out)),
        parts=len(part_files(out)),
        decisions=_count_decisions(frame),
        labels={str(label): int(count) for label, count in labels.items() if count},
        reasons={str(reason): int(count) for reason, count in reasons.items()},
        failures=list(zip(newest["path"], newest["error"], strict=True)),
        reviews=_summarise_reviews(out, frame, truths),
    )


def _count_decisions(frame: pd.DataFrame) -> dict[str, int]:
    decisions = frame["decision"].dropna()
    return {outcome: int((decisions == outcome).sum()) for outcome in OUTCOMES} if len(decisions) else {}


def _summarise_reviews(out: Path, frame: pd.DataFrame, truths: Mapping[str, Truth]) -> ReviewSummary | None:
    if not truths:
        return None
    summary = summarise_reviews(frame, truths, trained_on=find_training_photos(out))
    return summary if summary.any else None


def _count_broken(out: Path, failed: pd.DataFrame) -> int:
    """Count the failed rows with a content hash, which only a file's own bytes give them."""
    if failed.empty:
        return 0
    hashes = read_results(out, ["path", "content_hash"], [("status", "==", "failed")]).set_index("path")
    return int(hashes["content_hash"].reindex(failed["path"]).notna().sum())


def _count_gone(out: Path) -> int:
    """Return the number of rows without a photo, as counted by the newest run; 0 once they are pruned."""
    newest = next(newest_run_records(out), None)
    if newest is None or was_pruned_since(out, newest.summary.run_id):
        return 0
    return newest.summary.gone


def format_status(status: Status) -> str:
    """Format a status for a terminal."""
    kinds = f" ({status.describe_failures()})" if status.failed else ""
    gone = f"; {status.gone} of the photos are gone, compact --prune drops their rows" if status.gone else ""
    paragraphs = [f"{status.photos} photos, {status.failed} failed{kinds}; {status.parts} parts{gone}"]
    if status.labels:
        paragraphs.append("labels: " + ", ".join(f"{label} {count}" for label, count in status.labels.items()))
    if status.decisions:
        counts = ", ".join(f"{outcome} {count}" for outcome, count in status.decisions.items())
        paragraphs.append(f"decisions: {counts}")
    if status.reviews:
        paragraphs.append(f"reviews: {status.reviews.describe()}")
    paragraphs.append("last runs:\n" + (_format_runs(status.runs) if status.runs else "  none has finished yet"))
    paragraphs += [f"unlike earlier runs: {change}" for record in status.runs[:1] for change in record.summary.changes]
    if status.failed:
        reasons = (f"{count:6}  {reason}" for reason, count in status.reasons.items())
        failures = (f"{path}: {reason}" for path, reason in status.failures)
        paragraphs.append("failures by reason:\n" + _indent_lines(reasons))
        paragraphs.append("newest failures:\n" + _indent_lines(failures))
    return "\n\n".join(paragraphs)


def _format_runs(records: Sequence[RunRecord]) -> str:
    columns = ["processed", "ok", "failed", "done_before", "new", "changed", "gone", "standing"]
    columns += ["seconds", "images_per_second", "interrupted"]
    rows = [
        {"finished": record.finished_at, **{name: getattr(record.summary, name) for name in columns}}
        for record in records
    ]
    return pd.DataFrame(rows).to_string(index=False)


def _indent_lines(lines: Iterable[str]) -> str:
    return "\n".join(f"  {line}" for line in lines)
