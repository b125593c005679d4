"""Table and records of a results folder -> the head of its report."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.report.drift import LOW_CONFIDENCE
from pipeline.report.status import Status, status_of_rows
from pipeline.results.names import part_files, run_id_of_part
from pipeline.results.read import read_labels_before
from pipeline.reviews.truth import Truth

_BINS = 20
_MOST_EXAMPLES = 10  # of lists available in full elsewhere


@dataclass(frozen=True)
class Example:
    """A photo named in the report: its row in the gallery, its path, and the reason."""

    row: int
    path: str
    why: str


@dataclass(frozen=True)
class Findings:
    """The content of a report's head.

    Attributes:
        verdict: one sentence: did it work?
        all_well: nothing failed, nothing was left undone.
        status: counts, reasons of failures, the last runs.
        histogram: photos by score, in equal bins from 0 to 1.
        unsure: number of photos with a score below `LOW_CONFIDENCE`.
        least_sure: some of them, the lowest score first.
        new: number of photos first seen by the newest run.
        relabelled: (label before, label now, photos) of the labels changed by the newest run.
        relabelled_examples: some of these photos.
    """

    verdict: str
    all_well: bool
    status: Status
    histogram: Sequence[int]
    unsure: int
    least_sure: Sequence[Example]
    new: int
    relabelled: Sequence[tuple[str, str, int]]
    relabelled_examples: Sequence[Example]


def gather_findings(out: Path, frame: pd.DataFrame, truths: Mapping[str, Truth]) -> Findings:
    """Gather the findings of a results folder.

    Args:
        out: the results folder.
        frame: its current rows, sorted by path like the gallery.
        truths: what people say about its photos, by content hash.
    """
    status = status_of_rows(out, frame, truths)
    verdict, all_well = _phrase_verdict(status)
    low = frame[frame["score"] < LOW_CONFIDENCE].sort_values("score", kind="stable")
    least_sure = low.head(_MOST_EXAMPLES)
    new, changed = _compare_with_run_before(out, frame)
    pairs = list(zip(changed["before"], changed["now"], strict=True))
    return Findings(
        verdict=verdict,
        all_well=all_well,
        status=status,
        histogram=np.histogram(frame["score"].dropna(), bins=_BINS, range=(0, 1))[0].tolist(),
        unsure=len(low),
        least_sure=[
            Example(row, path, f"{label}, {score:.2f}")
            for row, path, label, score in zip(
                least_sure.index.tolist(), least_sure["path"], least_sure["label"], least_sure["score"], strict=True
            )
        ],
        new=new,
        relabelled=[(before, now, photos) for (before, now), photos in Counter(pairs).most_common()],
        relabelled_examples=[
            Example(row, path, f"{before} → {now}")
            for row, path, (before, now) in zip(changed.index.tolist(), changed["path"], pairs, strict=True)
        ][:_MOST_EXAMPLES],
    )


def _compare_with_run_before(out: Path, frame: pd.DataFrame) -> tuple[int, pd.DataFrame]:
    """Return the number of photos new to the newest run, and path, before and now of relabelled ones, by row.

    After a compaction there is nothing to compare with: it drops the earlier rows.
    """
    runs = frame["run_id"].astype(str)
    newest = runs.max()
    is_compacted = any(run_id_of_part(part) > newest for part in part_files(out))
    tonight = frame[(runs == newest) & (not is_compacted)]
    before = read_labels_before(out, str(newest)).reindex(tonight["path"])
    now = tonight["label"].astype(object).fillna("failed")
    labels = pd.DataFrame({"path": tonight["path"], "before": before.to_numpy(), "now": now})
    is_new = labels["before"].isna()
    return int(is_new.sum()), labels[~is_new & (labels["before"] != labels["now"])]


def _phrase_verdict(status: Status) -> tuple[str, bool]:
    """Return the first sentence of the report, and whether all is well."""
    photos = f"{status.photos:,} photos" if status.photos != 1 else "1 photo"
    if not status.runs:
        return f"No run has finished yet; done so far: {photos}.", False
    last = status.runs[0].summary
    if last.interrupted:
        return f"The last run was interrupted; done so far: {photos}. Run the same command again to go on.", False
    if last.unreadable_folders:
        return f"Done: {photos}; folders that could not be read: {last.unreadable_folders}.", False
    if last.left:
        return f"Done so far: {photos}; {last.left:,} are left. Run the same command again to go on.", False
    gone = f" Gone since: {status.gone:,}." if status.gone else ""
    if status.failed:
        reasons = status.describe_failures()
        return f"{status.failed:,} of {photos} failed: {reasons}; the others are done.{gone}", False
    return f"All done: {photos}.{gone}", True
