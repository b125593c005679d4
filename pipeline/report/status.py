"""A results folder at a glance: its last runs, the photos in its table, failures and their reasons."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.report.archive import Archive, read_archive
from pipeline.report.training_photos import find_training_photos
from pipeline.report.unfamiliar_photos import UnfamiliarPhotos
from pipeline.results.input_of_results import was_pruned_since
from pipeline.results.open_run import read_open_runs
from pipeline.results.run_record import RunRecord, newest_run_records
from pipeline.reviews.read import read_truths
from pipeline.reviews.summary import ReviewSummary, summarise_reviews
from pipeline.reviews.truth import Truth
from pipeline.storage.location import Location, parse_location


@dataclass(frozen=True)
class OpenShards:
    """A run not finished yet: the number of shards done, and of all shards."""

    run_id: str
    done: int
    shards: int

    def describe(self) -> str:
        """Return one line: `run 20260101T000000Z is open: 12 of 40 shards done`."""
        return f"run {self.run_id} is open: {self.done:,} of {self.shards:,} shards done"


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
        open_runs: planned runs not finished yet, oldest first.
        unfamiliar: photos unlike the training photos.
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
    open_runs: Sequence[OpenShards] = ()
    unfamiliar: UnfamiliarPhotos | None = None

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


def read_status(out: str | Location, *, runs: int = 5, failures: int = 10) -> Status:
    """Read the status of a results folder.

    Args:
        out: the results folder, or its URL.
        runs: number of the last runs to read, at most.
        failures: number of the newest failures to list, at most.

    Raises:
        ConfigError: it is not a results folder.
        StoreError: a part or a file of reviews is damaged.
    """
    out = parse_location(out)
    truths = read_truths(out)
    return status_of_archive(out, read_archive(out, truths, failures=failures), truths, runs=runs)


def status_of_archive(out: Location, archive: Archive, truths: Mapping[str, Truth], *, runs: int = 5) -> Status:
    """Return the status of a results folder from its table and reviews.

    Args:
        out: the results folder.
        archive: its table.
        truths: what people say about its photos, by content hash.
        runs: as of `read_status`.
    """
    return Status(
        runs=list(islice(newest_run_records(out), runs)),
        photos=archive.photos,
        failed=archive.failed,
        broken=archive.broken,
        gone=min(archive.photos, _count_gone(out)),
        parts=archive.parts,
        labels=archive.labels,
        decisions=archive.decisions,
        reasons=archive.reasons,
        failures=archive.failures,
        reviews=_summarise_reviews(out, archive, truths),
        open_runs=[OpenShards(run.run_id, len(run.committed()), run.shards) for run in read_open_runs(out)],
        unfamiliar=archive.unfamiliar,
    )


def _summarise_reviews(out: Location, archive: Archive, truths: Mapping[str, Truth]) -> ReviewSummary | None:
    if not truths or not isinstance(out, Path):
        return None
    summary = summarise_reviews(archive.reviewed, truths, trained_on=find_training_photos(out))
    return summary if summary.any else None


def _count_gone(out: Location) -> int:
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
    if status.unfamiliar and status.unfamiliar.sentence:
        paragraphs.append(f"unfamiliar: {status.unfamiliar.sentence}")
    if status.reviews:
        paragraphs.append(f"reviews: {status.reviews.describe()}")
    paragraphs.append("last runs:\n" + (_format_runs(status.runs) if status.runs else "  none has finished yet"))
    if status.open_runs:
        paragraphs.append("\n".join(run.describe() for run in status.open_runs))
    newest = (record.summary.describe_unfamiliar() for record in status.runs[:1])
    paragraphs += [f"newest run: {sentence}" for sentence in newest if sentence]
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
    if any(record.summary.unfamiliar for record in records):
        for row, record in zip(rows, records, strict=True):
            row["unfamiliar"] = f"{record.summary.unfamiliar['count']}" if record.summary.unfamiliar else "-"
    return pd.DataFrame(rows).to_string(index=False)


def _indent_lines(lines: Iterable[str]) -> str:
    return "\n".join(f"  {line}" for line in lines)
