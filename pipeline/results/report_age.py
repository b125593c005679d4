"""Whether the report in a results folder is still current."""

import os
from collections.abc import Mapping
from contextlib import suppress
from itertools import chain, islice
from pathlib import Path

from pipeline.results.names import PART_NAME, REPORT_PAGE, TABLE
from pipeline.results.run_record import newest_run_records
from pipeline.reviews.files import ReviewMark, review_marks
from pipeline.storage.files import list_files
from pipeline.storage.location import Location


def report_knows_all(out: Location) -> bool:
    """Tell whether the report is newer than every part of the table and every review."""
    pages = [entry.mtime_ns for entry in list_files(out) if entry.name == REPORT_PAGE]
    return bool(pages) and _newest_change(out) < pages[0]


def date_report_after_compaction(out: Location, reviews: Mapping[str, ReviewMark]) -> None:
    """Date a current report after files rewritten with the same content, unless somebody reviewed meanwhile.

    Args:
        out: the results folder.
        reviews: its `review_marks` from before the compaction.
    """
    sessions = {name: mark for name, mark in review_marks(out).items() if name.endswith(".jsonl")}
    if all(reviews.get(name) == mark for name, mark in sessions.items()):
        _date_report(out, _newest_change(out) + 1)


def date_report_before(out: Location, reviews: Mapping[str, ReviewMark]) -> None:
    """Date the report before reviews made while it was written, so the next run writes it again.

    Args:
        out: the results folder.
        reviews: its `review_marks`, taken before the reviews were read for the report.
    """
    if review_marks(out) != reviews:
        _date_report(out, max((mark.mtime_ns for mark in reviews.values()), default=0))


def report_is_current(out: Location) -> bool:
    """Tell whether the report knows every row, and the newest run left the folder like the run before.

    The outcomes of runs count too: the first sentence of the page repeats that of the newest one.
    """
    outcomes = [
        (summary.interrupted, summary.unreadable_folders, summary.left, summary.gone)
        for summary in (record.summary for record in islice(newest_run_records(out), 2))
    ]
    return report_knows_all(out) and outcomes[0] == outcomes[-1]


def _date_report(out: Location, mtime_ns: int) -> None:
    if isinstance(out, Path):  # objects keep the time of their writing
        with suppress(OSError):  # some disks set no times: the next run writes the report again
            os.utime(out / REPORT_PAGE, ns=(mtime_ns, mtime_ns))


def _newest_change(out: Location) -> int:
    """Return the time of the newest part of the table, or of the newest review, in nanoseconds."""
    parts = (entry.mtime_ns for entry in list_files(out / TABLE) if PART_NAME.fullmatch(entry.name))
    return max(chain(parts, (mark.mtime_ns for mark in review_marks(out).values())), default=0)
