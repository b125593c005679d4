"""The end of a run: its photos counted, compared with earlier runs and with reviews, and its record written.

Photos are counted from the metadata of the run's parts, so it doesn't matter who made them, nor when.
"""

import logging
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime

from pipeline.decision import OUTCOMES, without_decision
from pipeline.report.agreement import MOST_NAMED, compare_with_reviews
from pipeline.report.drift import Profiler, drift_warnings, earlier_profiles
from pipeline.results.folder import ResultsFolder
from pipeline.results.names import part_files, run_id_of_part
from pipeline.results.open_run import OpenRun
from pipeline.results.parts import read_part_metadata
from pipeline.results.run_record import PROFILE, RunRecord, RunSummary, current_time
from pipeline.storage.location import Location

log = logging.getLogger(__name__)


def finish_run(
    results: ResultsFolder,
    draft: RunRecord,
    *,
    seconds: float,
    seconds_by_stage: Mapping[str, float] | None = None,
    interrupted: bool = False,
    is_last: bool = True,
) -> RunSummary:
    """Complete the record of a run and write it.

    Args:
        results: the results folder.
        draft: the record as the plan left it.
        seconds: from the start of the run until now.
        seconds_by_stage: time of the main loop.
        interrupted: ended by a signal; the next run does the rest.
        is_last: False: the run stays open, so its record has to wait.
    """
    profiler = read_profile(results.out, draft.summary.run_id)
    summary = replace(
        _summarise_photos(results.out, draft, profiler),
        interrupted=interrupted,
        seconds=round(seconds, 3),
        images_per_second=round(profiler.photos / seconds, 2),
        seconds_by_stage=seconds_by_stage or {},
    )
    if sentence := summary.describe_unfamiliar():
        log.log(logging.WARNING if summary.mostly_unfamiliar else logging.INFO, sentence)
    if is_last:
        profile = profiler.profile().as_json()
        results.write_record(replace(draft, summary=summary, finished_at=current_time(), profile=profile))
    return summary


def _summarise_photos(out: Location, draft: RunRecord, profiler: Profiler) -> RunSummary:
    """Complete a summary by the photos of the run, beside earlier runs and reviews."""
    earlier = earlier_profiles(out, draft.fingerprint, int(draft.settings["compare_runs"]))
    changes = drift_warnings(profiler.profile(), earlier)
    for change in changes:
        log.warning("unlike earlier runs: %s", change)
    standing = draft.summary.standing - profiler.tried_again
    if standing:
        log.warning("photos failed in earlier runs, and no different since: %d; --retry-failed tries them", standing)
    has_decision = without_decision(draft.fingerprint) != draft.fingerprint
    decisions: dict[str, int] = {outcome: profiler.decisions[outcome] for outcome in OUTCOMES} if has_decision else {}
    if profiler.photos and decisions:
        log.info("decisions: %s", ", ".join(f"{outcome} {count}" for outcome, count in decisions.items()))
    unfamiliar = _count_unfamiliar(draft, profiler)
    reviews = compare_with_reviews(out, draft.summary.run_id)
    return replace(
        draft.summary,
        processed=profiler.photos,
        ok=profiler.labels.total(),
        failed=profiler.failed,
        labels=dict(profiler.labels.most_common()),
        decisions=decisions,
        changes=changes,
        standing=standing,
        failed_again=profiler.failed_again,
        reviewed=reviews.photos,
        agreed=reviews.agreed,
        contradicted=len(reviews.contradicted),
        contradicted_photos=reviews.contradicted[:MOST_NAMED],
        unfamiliar=unfamiliar,
    )


def _count_unfamiliar(draft: RunRecord, profiler: Profiler) -> Mapping[str, float] | None:
    if draft.summary.unfamiliar is None:
        return None
    return {"count": profiler.unfamiliar, "share": round(profiler.unfamiliar / max(1, profiler.rated), 4)}


def close_run(results: ResultsFolder, opened: OpenRun) -> None:
    """Close an open run before its end, for a run with other settings; its late workers commit nothing more.

    Its record says that it was interrupted. A run with one writer needs no such care: the holder of the lock is alone.
    """
    if not opened.has_one_writer:
        opened.seal()
        finish_run(results, opened.record, seconds=seconds_since(opened.record), interrupted=True)
    opened.close()


def seconds_since(draft: RunRecord) -> float:
    """Return the time since a run was planned."""
    planned = datetime.fromisoformat(draft.finished_at)
    return max(0.001, (datetime.now(UTC) - planned).total_seconds())


def read_profile(out: Location, run_id: str) -> Profiler:
    """Sum up the photos of a run from the metadata of its parts.

    Raises:
        StoreError: a part is damaged.
    """
    profiler = Profiler()
    for part in part_files(out):
        if run_id_of_part(part) == run_id:
            text = read_part_metadata(part).get(PROFILE.encode())
            if text is not None:  # rows of touched files, and sealed parts, count for nothing
                profiler.add_text(text.decode())
    return profiler
