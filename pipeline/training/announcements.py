"""What the log says before and after a training."""

import logging
import math
from collections import Counter
from collections.abc import Mapping, Sequence

from pipeline.labelled.csv_table import list_some
from pipeline.labelled.near_duplicates import difference_hash, find_near_duplicates, warn_of_near_duplicates
from pipeline.labelled.splits import split_counts
from pipeline.training.advice import is_of_little_use
from pipeline.training.config import FinetuneConfig
from pipeline.training.pixel_cache import CachedSplit
from pipeline.training.prepare import PreparedTraining
from pipeline.training.result import FinetuneResult
from pipeline.training.validation import Metrics

log = logging.getLogger(__name__)

_FEW_PHOTOS = 10


def announce_start(config: FinetuneConfig, ready: PreparedTraining) -> None:
    """Name the model and the photos, and warn of photos on both sides and of small classes."""
    leak = ready.findings.leak
    if config.tile is None and (leak is None or not leak.is_serious):  # windows of a pattern look alike
        _warn_of_near_duplicates(ready.splits)
    classifier, counts = ready.classifier, split_counts(ready.photos)
    labels = classifier.labels
    head = "kept, its classes are the same" if classifier.head_kept else f"new, for {len(labels)} classes"
    if added := classifier.new_classes:
        head = f"kept for its {len(labels) - len(added)} classes, new for {', '.join(added)}"
    log.info(
        "start: %s, %d of %d blocks, input %d px, head %s",
        config.model, classifier.blocks, classifier.blocks_before, ready.recipe.input_size, head,
    )  # fmt: skip
    for split, per_label in counts.items():
        listed = ", ".join(f"{label} {per_label[label]}" for label in labels)
        log.info("%s: %d photos (%s)", split, per_label.total(), listed)
    _warn_about_small_classes(counts, labels)


def announce_end(measured: Mapping[str, Metrics], result: FinetuneResult) -> None:
    """Say what the model is good for, and what to try next."""
    split = "test" if "test" in measured else "validation"
    metrics = measured[split]
    if is_of_little_use(metrics):
        figures = f"a macro F1 of {metrics.macro_f1:.2f}"
        if math.isfinite(metrics.false_alarms):
            figures += f", and {metrics.false_alarms:.0%} false alarms where 99% of the defects are found"
        log.warning("this model is of little use yet: on %s, it has %s", split, figures)
    for sentence in result.advice:
        log.info("%s", sentence)


def _warn_of_near_duplicates(splits: dict[str, CachedSplit]) -> None:
    """Warn of photos that look the same on both sides of a split, by the pixels decoded for the training."""
    placed = [
        (photo, entry, split.cache)
        for split in splits.values()
        for photo, entry in zip(split.photos, split.entries, strict=True)
    ]
    found = find_near_duplicates(
        [difference_hash(cache.read(entry).transpose(1, 2, 0)) for _, entry, cache in placed],
        [photo.split or "" for photo, _, _ in placed],
        [photo.group or photo.name for photo, _, _ in placed],
    )
    warn_of_near_duplicates(found, [photo.name for photo, _, _ in placed])


def _warn_about_small_classes(counts: Mapping[str, Counter[str]], labels: Sequence[str]) -> None:
    """Name the classes with too few photos to learn or to judge."""
    held_out = "test" if "test" in counts else "validation"
    if missing := [label for label in labels if not counts[held_out][label]]:
        log.warning(
            "no photo of %s is in the %s split, so its figures say nothing of them; add photos, or merge classes",
            list_some(map(repr, missing)), held_out,
        )  # fmt: skip
    few = {label: sum(per_label[label] for per_label in counts.values()) for label in labels}
    if small := [f"{label!r} ({count})" for label, count in few.items() if count < _FEW_PHOTOS]:
        log.warning("few photos of %s: too few to learn from and to judge by; a class needs %d or more",
                    list_some(small), _FEW_PHOTOS)  # fmt: skip
