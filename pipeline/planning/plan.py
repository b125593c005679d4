"""The plan of a run, as values: the photos to process, and counts of all others."""

from dataclasses import dataclass, field

import pyarrow as pa

from pipeline.results.restamp import TouchedRows
from pipeline.storage.location import Location


@dataclass(frozen=True)
class Plan:
    """The photos found, sorted by the work they need.

    Attributes:
        pending: photos to process, sorted by path; columns of `PLAN_SCHEMA`.
        touched: rows of photos with the same content under another mtime, or another decision, to be rewritten.
        found: number of all photos.
        done: number of photos with nothing to do.
        new: number of photos without a row.
        changed: number of photos with other bytes than in their row.
        failed_before: number of photos with a failed row.
        gone: number of rows without a photo.
        rejudged: number of photos of `touched` with another decision than in their row.
    """

    pending: pa.Table
    touched: TouchedRows = field(default_factory=TouchedRows)
    found: int = 0
    done: int = 0
    new: int = 0
    changed: int = 0
    failed_before: int = 0
    gone: int = 0
    rejudged: int = 0

    @property
    def has_work(self) -> bool:
        """Whether any row will be written."""
        return bool(len(self.pending) or len(self.touched))

    @property
    def same(self) -> int:
        """Number of photos with a row for their bytes."""
        return self.done + len(self.touched)

    def describe(self) -> str:
        """Return the counts for the log."""
        rejudged = f" ({self.rejudged} under another decision)" if self.rejudged else ""
        return (
            f"{self.new} new, {self.changed} changed, {self.same} the same{rejudged}, "
            f"{self.gone} gone; {self.failed_before} failed before; {len(self.pending)} to process"
        )


@dataclass(frozen=True)
class PlanSettings:
    """The settings of a run with an effect on its plan.

    Attributes:
        source: the input: a folder, a list, or the URL of a prefix.
        retry_failed: process failed photos again.
        sample: process only a sample of this many of all photos; None: all.
        limit: process at most this many photos; None: all.
        draws_overlays: whether overlays are drawn: then pending photos with clashing names are found.
        sampled_overlays: draw overlays only for a sample of this many of the pending photos; None: no sample is drawn.
    """

    source: Location | str
    retry_failed: bool = False
    sample: int | None = None
    limit: int | None = None
    draws_overlays: bool = True
    sampled_overlays: int | None = None
