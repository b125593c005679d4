"""Photos with a doubtful label, ranked by the probability the model gives it.

This is the self-confidence of Kuan & Mueller (DataPerf workshop, ICML 2022). There is no threshold, and no label is
changed: a person decides. Photos used for the training of the model are left out, since it has learnt their labels,
wrong ones too.
"""

from collections.abc import Sequence

import numpy as np

from pipeline.records import Doubles, Floats
from pipeline.review.ranking import IN_TEST_GROUPS, QueueInput, Ranking
from pipeline.review.rows import Integers

_TRAINED_ON = "used for the training of the model, which has learnt their labels"
_UNKNOWN = "labelled with a class unknown to the model"
_NOTHING = (
    "suspects need labels of photos not used for the model's training; name a CSV path,label: --labels, or review some"
)


def rank_suspects(queue: QueueInput) -> Ranking:
    """Rank the photos with a label by the probability the model gives it, the least first."""
    rows, labels, source, left_out = _gather_given_labels(queue)
    trained = queue.source.is_trained_on[rows]
    probabilities = queue.top_scores.look_up(rows, labels)
    is_unknown = np.isnan(probabilities) & ~trained
    left_out |= {_TRAINED_ON: len(set(rows[trained].tolist())), _UNKNOWN: len(set(rows[is_unknown].tolist()))}
    probabilities[trained] = np.nan
    ranked, pairs = order_suspects(rows, probabilities, queue.rows.scores)
    label_of = {row: labels[pair] for row, pair in zip(ranked.tolist(), pairs.tolist(), strict=True)}
    probability_of = dict(zip(ranked.tolist(), probabilities[pairs].tolist(), strict=True))
    return Ranking(
        ranked,
        lambda row: f"{source} {label_of[row]}, the model gives it {probability_of[row]:.2f}",
        _NOTHING,
        left_out,
    )


def order_suspects(rows: Integers, probabilities: Doubles, scores: Floats | Doubles) -> tuple[Integers, Integers]:
    """Order photos by the probability of their given label.

    Args:
        rows: (p,), photo of each given label; a photo may have several.
        probabilities: (p,), of each given label, 0..1; NaN leaves it out.
        scores: (n,), of the model's own label; among equal probabilities, the surest comes first.

    Returns:
        The photos, each once, and the place of its least probable label among the p.
    """
    order = np.lexsort([rows, -scores[rows], probabilities])
    order = order[~np.isnan(probabilities[order])]
    _, first = np.unique(rows[order], return_index=True)
    pairs = order[np.sort(first)]
    return rows[pairs], pairs


def _gather_given_labels(queue: QueueInput) -> tuple[Integers, Sequence[str], str, dict[str, int]]:
    """Gather photos, their given labels, who says so, and photos left out: of the CSV, or of earlier reviews."""
    if queue.config.labels is not None:
        chosen, left_out = queue.choose_doubtful()
        rows, labels = queue.source.read_given_labels()
        kept = chosen[rows]
        return (
            rows[kept],
            [label for label, keep in zip(labels, kept, strict=True) if keep],
            f"{queue.config.labels.name} says",
            left_out,
        )
    is_test = queue.source.is_test
    reviewed = queue.rows_with(lambda truth: truth.label is not None)
    rows = reviewed[~is_test[reviewed]]
    labels = [queue.truth_of_row[row].label or "" for row in rows.tolist()]
    return rows, labels, "reviewed as", {IN_TEST_GROUPS: len(reviewed) - len(rows)}
