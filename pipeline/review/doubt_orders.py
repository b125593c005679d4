"""The orders of daily work: by doubt, by chance, the audit, and the usual mixture of them."""

import numpy as np

from pipeline.records import Doubles
from pipeline.review.answer_orders import rank_disputed
from pipeline.review.near_duplicates import push_back_near_duplicates
from pipeline.review.ranking import IN_AUDIT, QueueInput, Ranking, sort_rows
from pipeline.review.rows import Integers

_AUDIT_EVERY = 10  # photos of the mixed order
_HEAD = 500  # photos cleared of near-duplicates, a day's work; the maps of more would take long to read

ALL_REVIEWED = "every photo of this order is reviewed; --second-opinion shows those reviewed by others"


def rank_by_margin(queue: QueueInput) -> Ranking:
    """Rank by the lead of the best label over the second, the least first; near-duplicates are moved apart."""
    chosen, left_out = queue.choose_doubtful()
    rows = sort_rows(np.flatnonzero(chosen), measure_lead(queue))
    head = rows[:_HEAD]
    head = head[push_back_near_duplicates(queue.source.read_maps(head), queue.rows.label_codes[head])]
    return Ranking(np.concatenate([head, rows[_HEAD:]]), lambda row: _explain_lead(queue, row), ALL_REVIEWED, left_out)


def rank_by_score(queue: QueueInput) -> Ranking:
    """Rank by the score of the model's label, the least first."""
    chosen, left_out = queue.choose_doubtful()
    scores = queue.rows.scores
    rows = sort_rows(np.flatnonzero(chosen), scores)
    return Ranking(rows, lambda row: f"score {scores[row]:.2f}", ALL_REVIEWED, left_out)


def rank_at_random(queue: QueueInput) -> Ranking:
    """Rank by content hash: a fair sample, the same one for everybody and as the archive grows."""
    rows = sort_rows(np.flatnonzero(queue.is_open), queue.rows.content_hashes)
    return Ranking(rows, lambda row: "at random", ALL_REVIEWED)


def rank_audit(queue: QueueInput) -> Ranking:
    """Rank the photos of the audit by their place in it, so the part done so far is a fair sample too."""
    rows = sort_rows(np.flatnonzero(queue.is_audit_open), queue.rows.audit_positions)
    nothing = "every photo of the audit is answered; a larger share adds some: --audit"
    if queue.config.where is not None:
        nothing = "the audit is a sample of all photos; leave out --where"
    elif not queue.is_audit.any():
        nothing = "no photo is in the audit; give it a larger share: --audit 0.1"
    return Ranking(rows, lambda row: "audit", nothing)


def rank_mixed(queue: QueueInput) -> Ranking:
    """Rank by margin with a photo of the audit in every tenth place, after the disputes of other people."""
    margin, audit, disputed = rank_by_margin(queue), rank_audit(queue), rank_disputed(queue)
    who = queue.config.person
    first = [row for row in disputed.rows.tolist() if who not in queue.truth_of_row[row].who]
    rest = interleave(margin.rows, audit.rows)

    def explain(row: int) -> str:
        return (disputed if row in first else margin).explain(row)

    return Ranking(
        np.concatenate([np.array(first, np.int64), rest[~np.isin(rest, first)]]),
        explain,
        ALL_REVIEWED,
        {reason: count for reason, count in margin.left_out.items() if reason != IN_AUDIT},
    )


def interleave(rows: Integers, audit: Integers) -> Integers:
    """Put a photo of the audit in every tenth place, while there are some; what is left over follows."""
    places = np.concatenate(
        [
            np.arange(len(rows)) + np.arange(len(rows)) // (_AUDIT_EVERY - 1),
            (np.arange(len(audit)) + 1) * _AUDIT_EVERY - 1,
        ]
    )
    mixed: Integers = np.concatenate([rows, audit])[np.argsort(places, kind="stable")]
    return mixed


def measure_lead(queue: QueueInput) -> Doubles:
    """Return the lead of each row's best label over the second, 0..1.

    With sigmoid scores several labels may be right at once: there it is the distance of the score nearest to 0.5 from
    it, doubled.
    """
    top = queue.top_scores
    lead = queue.rows.margins.astype(np.float64)
    if top.is_multi_label.any():
        distance = np.ones(len(lead))
        np.minimum.at(distance, top.rows, 2 * np.abs(top.scores - 0.5))
        lead = np.where(top.is_multi_label, distance, lead)
    return lead


def _explain_lead(queue: QueueInput, row: int) -> str:
    labels, scores = (queue.rows.value(name, row) for name in ("top_labels", "top_scores"))
    if queue.top_scores.is_multi_label[row]:
        place = int(np.argmin(np.abs(np.array(scores) - 0.5)))
        return f"{labels[place]} or not: score {scores[place]:.2f}"
    return f"margin {queue.rows.margins[row]:.2f}: {' or '.join(labels[:2])}"
