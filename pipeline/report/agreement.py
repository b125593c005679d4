"""The labels of a run beside reviews of its photos made under other settings, above all under another model."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.decision import without_decision
from pipeline.errors import DataError, StoreError
from pipeline.results.names import part_files, run_id_of_part
from pipeline.results.parts import read_part
from pipeline.reviews.files import review_marks
from pipeline.storage.location import Location

log = logging.getLogger(__name__)

MOST_NAMED = 20  # contradicted photos in a run's record
_COLUMNS = ("path", "content_hash", "label", "fingerprint")


@dataclass(frozen=True)
class ReviewAgreement:
    """A run's agreement with earlier reviews.

    Attributes:
        photos: photos of the run reviewed beside a row with another fingerprint, not only another decision.
        agreed: of these, photos with the reviewed label.
        contradicted: paths of photos with another label, whose review agreed with the model of its time; sorted.
    """

    photos: int = 0
    agreed: int = 0
    contradicted: Sequence[str] = ()


def compare_with_reviews(out: Location, run_id: str) -> ReviewAgreement:
    """Compare the rows of a run with earlier reviews. Cheap without rows or reviews; imports no pandas.

    Damaged reviews cost a run nothing but this comparison: a warning names the file.
    """
    parts = [part for part in part_files(out) if run_id_of_part(part) == run_id]
    if not parts or not review_marks(out):
        return ReviewAgreement()
    from pipeline.reviews.read import read_truths  # pyarrow's JSON reader and pydantic, only for folders with reviews
    from pipeline.reviews.summary import is_contradicted

    try:
        truths = read_truths(out)
    except (StoreError, DataError) as error:
        log.warning("the labels of this run are not compared with reviews: %s", error)
        return ReviewAgreement()
    agreements, contradicted = [], []
    for part in parts:
        table = read_part(part, _COLUMNS)
        for path, content_hash, label, fingerprint in zip(*(table[name].to_pylist() for name in _COLUMNS), strict=True):
            truth = truths.get(content_hash)
            if truth is None or without_decision(truth.fingerprint) == without_decision(fingerprint):
                continue
            agrees = truth.agrees_with(label)
            if agrees is None:
                continue
            agreements.append(agrees)
            if is_contradicted(label, truth):
                contradicted.append(path)
    if contradicted:
        command = f"vitrollout review {out} --order contradicted"
        log.warning("the new model contradicts %d reviews; see them with %s", len(contradicted), command)
    return ReviewAgreement(len(agreements), sum(agreements), sorted(contradicted))
