"""Whether the report in a results folder is still current."""

from itertools import islice
from pathlib import Path

from pipeline.results.names import REPORT_PAGE, part_files
from pipeline.results.run_record import newest_run_records


def report_knows_all(out: Path) -> bool:
    """Tell whether the report is newer than every part of the table."""
    try:
        written = (out / REPORT_PAGE).stat().st_mtime_ns
        return all(part.stat().st_mtime_ns < written for part in part_files(out))
    except FileNotFoundError:
        return False


def report_is_current(out: Path) -> bool:
    """Tell whether the report knows every row, and the newest run left the folder like the run before.

    The outcomes of runs count too: the first sentence of the page repeats that of the newest one.
    """
    outcomes = [
        (summary.interrupted, summary.unreadable_folders, summary.left, summary.gone)
        for summary in (record.summary for record in islice(newest_run_records(out), 2))
    ]
    return report_knows_all(out) and outcomes[0] == outcomes[-1]
