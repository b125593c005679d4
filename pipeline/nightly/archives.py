"""One night: archive after archive, each like `vitrollout run`; none stops the others."""

import logging
import time
from collections.abc import Callable, Mapping
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
        plan: counts of a preview, see `preview_night`; otherwise None.
    """

    name: str
    exit_code: int
    summary: RunSummary | None = None
    problem: str | None = None
    plan: Mapping[str, int] | None = None


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
    """Log the work of a night, archive by archive, without doing it.

    The counts are named as in a `RunSummary`; to_process are the photos for this night, failed_before those with a
    failed row.
    """
    nights = []
    for archive in config.archive:
        try:
            plan = preview(archive)
        except VitrolloutError as error:
            nights.append(ArchiveNight(archive.name, error.exit_code, problem=str(error)))
            log.error("archive %s: %s", archive.name, error)
        else:
            to_do, done = len(plan.pending), plan.same
            counts = {"to_process": to_do, "done_before": done, "new": plan.new, "changed": plan.changed}
            counts |= {"gone": plan.gone, "failed_before": plan.failed_before}
            nights.append(ArchiveNight(archive.name, 0, plan=counts))
            log.info("archive %s: %d photos to process into %s, %d done", archive.name, to_do, archive.out, done)
    return nights


def _process_archive(archive: ArchiveConfig, config: NightlyConfig, stop: Callable[[], bool]) -> ArchiveNight:
    try:
        summary = run(archive, stop=stop)
        _log_counts(archive, summary)
        problem = _find_problem(archive, summary)
        if not stop():
            _compact_and_trim(archive, config)
    except VitrolloutError as error:
        return ArchiveNight(archive.name, error.exit_code, problem=str(error))
    except Exception as error:  # a fault of ours in one archive must not cost the night of the others
        log.exception("archive %s: a fault in vitrollout", archive.name)
        return ArchiveNight(archive.name, 1, problem=f"{type(error).__name__}: {error}")
    return ArchiveNight(archive.name, 3 if problem else 0, summary, problem)


def find_failures(archive: ArchiveConfig, summary: RunSummary) -> str | None:
    """Return the reason for a failed night: too large a share of its photos failed; None for a good one.

    A photo out of reach for many nights must not fail every quiet one: the photos that failed again are counted
    against all photos of the archive.
    """
    most, again = archive.max_failed_share, summary.failed_again
    failed, processed = summary.failed - again, summary.processed - again
    if failed > most * processed:
        return f"{failed} of {processed} photos failed: {failed / processed:.1%}, more than {most:.1%}"
    if again > most * summary.found:
        return f"{again} of {summary.found} photos failed again: {again / summary.found:.1%}, more than {most:.1%}"
    return None


def _find_problem(archive: ArchiveConfig, summary: RunSummary) -> str | None:
    if problem := find_failures(archive, summary):
        return problem
    if summary.unreadable_folders:
        return f"{summary.unreadable_folders} folders can't be read; their photos are not processed"
    return None


def _log_counts(archive: ArchiveConfig, summary: RunSummary) -> None:
    log.info(
        "archive %s: %d photos new, %d changed, %d the same, %d gone; %d failed tonight, %d of them again; "
        "%d stand failed from earlier nights",
        archive.name,
        summary.new,
        summary.changed,
        summary.done_before,
        summary.gone,
        summary.failed,
        summary.failed_again,
        summary.standing,
    )


def _compact_and_trim(archive: ArchiveConfig, config: NightlyConfig) -> None:
    if count_small_parts(archive.out) > config.compact_above:
        compaction = compact(archive.out)
        log.info("archive %s: compacted %d parts into %d", archive.name, compaction.parts_before, compaction.parts)
    with ResultsFolder(archive.out, archive.input) as results:
        results.drop_records(config.keep_runs)
