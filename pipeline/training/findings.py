"""What the probe's features say about the data: siblings on both sides of a split, and labels to look at again."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter

from pipeline.atomic_files import atomic_write_path
from pipeline.training.doubtful_labels import (
    describe_contradicted,
    describe_twins,
    find_contradicted,
    find_contradicting_twins,
)
from pipeline.training.leaks import Leak, measure_leak
from pipeline.training.probe import predict_out_of_fold
from pipeline.training.starting_point import Embedded, StartingPoint
from pipeline.training.strangers import describe_strangers, measure_strangers

log = logging.getLogger(__name__)

_FILE = "findings.json"  # in the working folder, for a resumed training
_MOST_LISTED = 10


@dataclass(frozen=True)
class Findings:
    """Doubts about a data set.

    Attributes:
        leak: siblings on both sides of the split; None: not measured.
        contradicted: training photos whose label is contradicted, in words, the most doubtful first.
        twins: pairs of training photos that look the same under different labels, in words.
        strangers: splits with many photos unlike the training photos, in words.
    """

    leak: Leak | None = None
    contradicted: tuple[str, ...] = ()
    twins: tuple[str, ...] = ()
    strangers: tuple[str, ...] = ()


def find_doubts(start: StartingPoint, test: Embedded | None, *, seeks_siblings: bool = True) -> Findings:
    """Look for siblings across the splits, for doubtful labels among the training photos, and for strangers elsewhere.

    Args:
        start: with the features of training and validation.
        test: those of the test photos; None without a test split.
        seeks_siblings: False: photos of different parts may look alike, as windows of a pattern do.
    """
    labels, train = start.classifier.labels, start.train
    parts = [part for part in (train, start.validation, test) if part is not None]
    leak = _find_siblings(parts) if seeks_siblings else None
    names = [photo.name for photo in train.photos]
    probabilities = np.exp(predict_out_of_fold(train.data, start.strength, start.recipe.seed))
    contradicted = find_contradicted(probabilities, train.data.label_ids, _MOST_LISTED)
    twins = find_contradicting_twins(train.data.features, train.data.label_ids, _MOST_LISTED)
    held_out = {"validation": start.validation.data} | ({"test": test.data} if test else {})
    strangers = describe_strangers(measure_strangers(train.data, held_out, start.recipe.seed))
    for sentence in strangers:
        log.warning("%s", sentence)
    return Findings(
        leak,
        tuple(describe_contradicted(contradicted, names, labels)),
        tuple(describe_twins(twins, names, [photo.label for photo in train.photos])),
        tuple(strangers),
    )


def _find_siblings(parts: Sequence[Embedded]) -> Leak:
    photos = [photo for part in parts for photo in part.photos]
    return measure_leak(
        np.concatenate([part.data.features for part in parts]),
        [photo.label for photo in photos],
        [photo.split or "" for photo in photos],
        [photo.name for photo in photos],
        [photo.group for photo in photos],
    )


def read_findings(work: Path) -> Findings:
    """Read the findings of an unfinished training; empty ones without any."""
    file = work / _FILE
    return TypeAdapter(Findings).validate_json(file.read_bytes()) if file.is_file() else Findings()


def write_findings(findings: Findings, work: Path) -> None:
    """Keep the findings for a resumed training.

    Raises:
        StoreError: the folder can't be written.
    """
    with atomic_write_path(work / _FILE, work) as temporary:
        temporary.write_bytes(TypeAdapter(Findings).dump_json(findings, indent=1))
