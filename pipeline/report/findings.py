"""Table and records of a results folder -> what the head of its report says."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.report.drift import LOW_CONFIDENCE
from pipeline.report.status import Status, status_of
from pipeline.results.folder import run_id_of
from pipeline.results.read import part_files, read_rows
from pipeline.results.run_record import photos_left

_BINS = 20
_FEW = 10  # of anything that is listed in full elsewhere


@dataclass(frozen=True)
class Example:
    """A photo that the report points at: its row in the gallery, path, and why it is named."""

    row: int
    path: str
    why: str


@dataclass(frozen=True)
class Findings:
    """What the head of a report says.

    Attributes:
        verdict: one sentence: did it work?
        all_well: nothing failed, nothing was left undone.
        status: counts, reasons of failures, the last runs.
        histogram: photos by score, in equal bins from 0 to 1.
        unsure: photos with a score below `LOW_CONFIDENCE`.
        least_sure: some of them, the lowest score first.
        new: photos that the newest run was the first to see.
        relabelled: (label before, label now, photos) of those whose label the newest run changed.
        relabelled_examples: some of them.
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


def gather_findings(out: Path, frame: pd.DataFrame) -> Findings:
    """Gather the findings of a results folder.

    Args:
        out: the results folder.
        frame: its current rows, sorted by path as the gallery has them.
    """
    status = status_of(out, frame)
    verdict, all_well = _verdict(status)
    low = frame[frame["score"] < LOW_CONFIDENCE].sort_values("score", kind="stable")
    least_sure = low.head(_FEW)
    new, changed = _since_the_run_before(out, frame)
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
        ][:_FEW],
    )


def _since_the_run_before(out: Path, frame: pd.DataFrame) -> tuple[int, pd.DataFrame]:
    """How many photos are new to the newest run; path, before and now of those with another label, by row.

    Of nothing after a compaction, which drops the rows before.
    """
    runs = frame["run_id"].astype(str)
    compacted = any(run_id_of(part) > runs.max() for part in part_files(out))
    tonight = frame[(runs == runs.max()) & (not compacted)]
    rows = read_rows(out, ["path", "label", "run_id"]).assign(run_id=lambda rows: rows["run_id"].astype(str))
    earlier = rows[rows["path"].isin(tonight["path"]) & (rows["run_id"] < runs.max())]
    newest = earlier.sort_values("run_id", kind="stable").drop_duplicates("path", keep="last").set_index("path")
    before = newest["label"].astype(object).fillna("failed").reindex(tonight["path"])
    now = tonight["label"].astype(object).fillna("failed")
    labels = pd.DataFrame({"path": tonight["path"], "before": before.to_numpy(), "now": now})
    new = labels["before"].isna()
    return int(new.sum()), labels[~new & (labels["before"] != labels["now"])]


def _verdict(status: Status) -> tuple[str, bool]:
    last: dict[str, Any] = status.runs[0] if status.runs else {}
    photos = f"{status.photos:,} photos" if status.photos != 1 else "1 photo"
    if not last:
        return f"No run has come to its end yet; done so far: {photos}.", False
    if last["interrupted"]:
        return f"The last run was interrupted; done so far: {photos}. Run the same command again to go on.", False
    if last["unreadable_folders"]:
        return f"Done: {photos}; folders that could not be read: {last['unreadable_folders']}.", False
    if left := photos_left(last):
        return f"Done so far: {photos}; {left:,} are left. Run the same command again to go on.", False
    if status.failed:
        return f"{status.failed:,} of {photos} failed; the others are done.", False
    return f"All done: {photos}.", True
