"""One night: archive after archive, each like `vitrollout run`; none stops the others."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from pipeline.errors import VitrolloutError
from pipeline.nightly.config import ArchiveConfig, NightlyConfig
from pipeline.results.compact import compact, count_small_parts
from pipeline.results.folder import ResultsFolder
from pipeline.results.run_record import RunSummary
from pipeline.run import preview, run

log = logging.getLogger(__name__)

# Exit codes from the least to the worst; the night ends with the worst of its archives.
_SEVERITY = (0, 3, 75, 2, 1)


@dataclass(frozen=True)
class ArchiveNight:
    """The outcome of a night for one archive.

    Attributes:
        name: of the archive.
        exit_code: as of `vitrollout run`, but failed photos count only above `max_failed_share`.
        summary: the outcome of the run; None if it did not begin or did not finish.
        problem: reason for an `exit_code` other than 0, or for an archive left out; otherwise None.
    """

    name: str
    exit_code: int
    summary: RunSummary | None = None
    problem: str | None = None


def nightly(config: NightlyConfig, *, stop: Callable[[], bool] = lambda: False) -> list[ArchiveNight]:
    """Process every archive; never raises for one of them.

    Args:
        config: the night.
        stop: asked between batches and archives; once true, finished work is committed and the night ends.
    """
    end = None if config.stop_after is None else time.monotonic() + config.stop_after.total_seconds()

    def time_is_up() -> bool:
        return end is not None and time.monotonic() >= end

    nights = []
    for archive in config.archive:
        if stop() or time_is_up():
            reason = "interrupted" if stop() else f"the time budget of {config.stop_after} is used up"
            night = ArchiveNight(archive.name, 0, problem=f"not begun: {reason}")
        else:
            log.info("archive %s", archive.name)
            night = _process_archive(archive, config, lambda: stop() or time_is_up())
        if night.problem:
            log.log(logging.ERROR if night.exit_code else logging.WARNING, "archive %s: %s", night.name, night.problem)
        nights.append(night)
    return nights


def worst_exit_code(nights: list[ArchiveNight]) -> int:
    """Return the exit code of the night as a whole."""
    return max((night.exit_code for night in nights), key=_SEVERITY.index, default=0)


def preview_night(config: NightlyConfig) -> list[ArchiveNight]:
    """Log the work of a night, archive by archive, without doing it."""
    nights = []
    for archive in config.archive:
        try:
            plan = preview(archive)
        except VitrolloutError as error:
            nights.append(ArchiveNight(archive.name, error.exit_code, problem=str(error)))
            log.error("archive %s: %s", archive.name, error)
        else:
            nights.append(ArchiveNight(archive.name, 0))
            to_do = len(plan.pending)
            log.info("archive %s: %d photos to process into %s, %d done", archive.name, to_do, archive.out, plan.done)
    return nights


def _process_archive(archive: ArchiveConfig, config: NightlyConfig, stop: Callable[[], bool]) -> ArchiveNight:
    try:
        summary = run(archive, stop=stop)
        problem = _find_problem(archive, summary)
        if not stop():
            _compact_and_trim(archive, config)
    except VitrolloutError as error:
        return ArchiveNight(archive.name, error.exit_code, problem=str(error))
    except Exception as error:  # a fault of ours in one archive must not cost the night of the others
        log.exception("archive %s: a fault in vitrollout", archive.name)
        return ArchiveNight(archive.name, 1, problem=f"{type(error).__name__}: {error}")
    return ArchiveNight(archive.name, 3 if problem else 0, summary, problem)


def _find_problem(archive: ArchiveConfig, summary: RunSummary) -> str | None:
    most = archive.max_failed_share
    if summary.failed > most * summary.processed:
        share = summary.failed / summary.processed
        return f"{summary.failed} of {summary.processed} photos failed: {share:.1%}, more than {most:.1%}"
    if summary.unreadable_folders:
        return f"{summary.unreadable_folders} folders can't be read; their photos are not processed"
    return None


def _compact_and_trim(archive: ArchiveConfig, config: NightlyConfig) -> None:
    if count_small_parts(archive.out) > config.compact_above:
        compaction = compact(archive.out)
        log.info("archive %s: compacted %d parts into %d", archive.name, compaction.parts_before, compaction.parts)
    with ResultsFolder(archive.out, archive.input) as results:
        results.drop_records(config.keep_runs)
