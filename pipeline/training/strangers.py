"""Held-out photos of a kind that no training photo shows: another product, another camera."""

from collections.abc import Mapping, Sequence

import numpy as np

from pipeline.model.familiarity import fit_familiarity
from pipeline.records import UNFAMILIAR_FROM, Floats
from pipeline.training.probe import ProbeData

MANY = 0.05  # of a split
_KEPT_ASIDE = 1 / 3  # of the groups of training photos, for comparison
_FEWEST_ASIDE = 50  # photos: fewer don't tell the strangest hundredth


def measure_strangers(train: ProbeData, held_out: Mapping[str, ProbeData], seed: int) -> dict[str, float]:
    """Measure the share of photos in each split that are unlike the training photos, by frozen features.

    A third of the training groups is kept aside; a photo is a stranger if 99% of these are more typical of the others.

    Args:
        train: features (n, F) of the training photos.
        held_out: those of other splits, by name.
        seed: of the groups kept aside.

    Returns:
        By split, 0..1; nothing if there are too few training photos.
    """
    groups = np.random.default_rng(seed).permutation(np.unique(train.groups))
    is_aside = np.isin(train.groups, groups[: round(_KEPT_ASIDE * len(groups))])
    if is_aside.sum() < _FEWEST_ASIDE:
        return {}
    known = train.select(~is_aside)
    familiarity = fit_familiarity(known.features, known.label_ids.tolist(), train.features[is_aside])

    def share_of_strangers(features: Floats) -> float:
        return float((familiarity.unfamiliarity(features) > UNFAMILIAR_FROM).mean())

    return {split: share_of_strangers(data.features) for split, data in held_out.items()}


def describe_strangers(shares: Mapping[str, float]) -> Sequence[str]:
    """Return a sentence on each split with many strangers, and what to do."""
    consequences = {"validation": "they can choose a worse epoch", "test": "its figures are worse for it"}
    return [
        f"{share:.0%} of the {split} photos are unlike all training photos (another product, camera or light?), and "
        f"{consequences[split]}: put some of their kind into training"
        for split, share in shares.items()
        if share > MANY
    ]
