"""Three sentences after a training: what holds the model back, what to try next, and which labels to look at again."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from pipeline.training.choose_recipe import MOST_EPOCHS
from pipeline.training.findings import Findings
from pipeline.training.prepare import PreparedTraining
from pipeline.training.validation import Metrics, best_epoch, has_stalled, worst_classes

_LISTED = 5  # labels to look at again
_LITTLE_USE = 0.7  # macro F1
_MANY_FALSE_ALARMS = 0.2


def advise(
    ready: PreparedTraining, measured: Mapping[str, Metrics], judged: Sequence[Metrics], minutes: float | None
) -> tuple[str, str, str]:
    """Write the three sentences.

    Args:
        ready: the prepared training.
        measured: metrics of the saved model by split.
        judged: validations of the training, the starting point first if it was a candidate.
        minutes: the time given; None without a limit.
    """
    split = "test" if "test" in measured else "validation"
    return (
        _describe_weakness(ready, measured[split], split),
        _describe_next_step(ready, judged, minutes),
        _describe_labels(ready.findings),
    )


def is_of_little_use(metrics: Metrics) -> bool:
    """Tell whether the figures are too bad for an inspection."""
    return metrics.macro_f1 < _LITTLE_USE or metrics.false_alarms > _MANY_FALSE_ALARMS


def _describe_weakness(ready: PreparedTraining, metrics: Metrics, split: str) -> str:
    """Name the worst class with its number of photos, and the price of finding nearly all defects."""
    (worst,) = worst_classes(metrics, 1)
    label = ready.data.labels[worst]
    counts = Counter(photo.label for photo in ready.splits["train"].photos)
    in_training = counts[label]
    photos = "1 photo" if in_training == 1 else f"{in_training} photos"
    sentence = f"{label} is recognised worst (F1 {metrics.f1[worst]:.2f} on {split}), learnt from {photos}"
    if in_training < max(counts.values()):
        sentence += ": more photos of it help most"
    if math.isfinite(metrics.false_alarms):
        sentence += f"; finding 99% of the defects costs {metrics.false_alarms:.0%} false alarms among good photos"
    return f"{sentence}."


def _describe_next_step(ready: PreparedTraining, judged: Sequence[Metrics], minutes: float | None) -> str:
    """Name the first of the usual remedies that fits."""
    recipe, leak = ready.recipe, ready.findings.leak
    beat_start = best_epoch(judged, recipe.best_by) > 1
    if minutes is not None and recipe.epochs < MOST_EPOCHS:
        more = f"--minutes {max(1, 2 * minutes):g}"
    else:
        more = f"--epochs {2 * recipe.epochs}"
    if leak is not None and leak.is_serious:
        return f"{leak.describe()}."
    if ready.findings.strangers:
        return f"{ready.findings.strangers[0]}."
    if recipe.epochs == 0:
        return f"The time was enough for the starting point alone; try {more}, or a smaller --input-size."
    if recipe.judges_start and not beat_start:
        return "Fine-tuning did not beat the linear probe or head it started from: more photos help, not more training."
    if not has_stalled(judged, recipe.best_by, 1):
        return f"The last epoch was the best one, so more of them may help: {more}."
    return "More photos help most, above all of what the model gets wrong: vitrollout review, then finetune again."


def _describe_labels(findings: Findings) -> str:
    """List the photos whose labels are contradicted most."""
    doubts = [*findings.twins, *findings.contradicted]
    if not doubts:
        return "No label of a training photo is clearly contradicted."
    return f"Labels to look at again: {'; '.join(doubts[:_LISTED])}."
