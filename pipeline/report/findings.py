"""Table and records of a results folder -> the head of its report."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from pipeline.records import UNFAMILIAR_FROM
from pipeline.report.archive import Archive
from pipeline.report.drift import LOW_CONFIDENCE
from pipeline.report.overlay_scale import has_shared_scale
from pipeline.report.status import Status, status_of_archive
from pipeline.report.unfamiliar_photos import UnfamiliarPhotos
from pipeline.reviews.truth import Truth
from pipeline.storage.location import Location

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
        choice: one sentence about the photos in the gallery; empty if it shows all.
        unfamiliar: photos unlike the training photos.
        least_familiar: some of them, the least familiar first.
        map: one sentence about the map of the archive; empty without one.
        one_scale: the newest run drew its overlays on one scale for all photos.
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
    choice: str
    unfamiliar: UnfamiliarPhotos
    least_familiar: Sequence[Example]
    map: str
    one_scale: bool


def gather_findings(out: Location, archive: Archive, truths: Mapping[str, Truth]) -> Findings:
    """Gather the findings of a results folder.

    Args:
        out: the results folder.
        archive: its table.
        truths: what people say about its photos, by content hash.
    """
    status = status_of_archive(out, archive, truths)
    verdict, all_well = _phrase_verdict(status)
    frame, choice = archive.gallery.frame, archive.gallery.choice
    low = frame[frame["score"] < LOW_CONFIDENCE].sort_values("score", kind="stable").head(_MOST_EXAMPLES)
    relabelled = frame[frame["before"].notna()].head(_MOST_EXAMPLES)
    unlike = frame[frame["unfamiliar"] > UNFAMILIAR_FROM]
    unlike = unlike.sort_values("unfamiliar", ascending=False, kind="stable").head(_MOST_EXAMPLES)
    now = relabelled["label"].astype(object).fillna("failed")
    return Findings(
        verdict=verdict,
        all_well=all_well,
        status=status,
        histogram=archive.histogram,
        unsure=archive.unsure,
        least_sure=_list_examples(
            low, (f"{label}, {score:.2f}" for label, score in zip(low["label"], low["score"], strict=True))
        ),
        new=archive.new,
        relabelled=archive.relabelled,
        relabelled_examples=_list_examples(
            relabelled, (f"{before} → {label}" for before, label in zip(relabelled["before"], now, strict=True))
        ),
        choice=choice.describe() if choice.groups else "",
        unfamiliar=archive.unfamiliar,
        least_familiar=_list_examples(unlike, unlike["label"]),
        map=archive.gallery.map.describe(archive.photos - archive.failed) if archive.gallery.map else "",
        one_scale=bool(status.runs) and has_shared_scale(out, status.runs[0]),
    )


def _list_examples(frame: pd.DataFrame, reasons: Iterable[str]) -> list[Example]:
    return [Example(*values) for values in zip(frame.index.tolist(), frame["path"], reasons, strict=True)]


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
