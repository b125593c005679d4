"""Photos in families say less than as many photos alone: how much less, for intervals from numbers of photos.

A share has the interval of an effective number of trials, as in surveys of whole households (Korn & Graubard, Survey
Methodology 1998): the number for which independent photos would vary as much as the families do.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pipeline.evaluation.metrics import Ids
from pipeline.labelled.splits import LabelledPhoto


def number_families(photos: Sequence[LabelledPhoto]) -> Ids:
    """Number the families of photos, (n,); a photo without a group is one by itself."""
    keys = [("photo", photo.name) if photo.group is None else ("group", photo.group) for photo in photos]
    numbers: dict[tuple[str, str], int] = {}
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], np.int64)


def list_members(families: Ids) -> list[Ids]:
    """List the photos of each family, by index."""
    order = np.argsort(families, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(families[order])) + 1) if len(order) else []


def count_effective(families: Ids) -> float:
    """Count the photos that n photos stand for at least, all members of a family being equal (Kish 1965)."""
    sizes = np.unique(families, return_counts=True)[1].astype(float)
    return float(sizes.sum() ** 2 / (sizes**2).sum()) if len(sizes) else 0.0


def effective_share(is_hit: npt.NDArray[np.bool_], families: Ids) -> tuple[float, float]:
    """Return hits and trials of independent photos that would leave the share as uncertain.

    Args:
        is_hit: (n,).
        families: (n,) family of each photo.
    """
    trials = len(is_hit)
    least = count_effective(families)
    if least == trials:  # no families
        return float(is_hit.sum()), float(trials)
    share = float(is_hit.mean())
    numbers = np.unique(families, return_inverse=True)[1]
    sizes, hits = np.bincount(numbers), np.bincount(numbers, weights=is_hit)
    families_count = len(sizes)
    spread = float(((hits - share * sizes) ** 2).sum()) * families_count / max(1, families_count - 1) / trials**2
    if share in (0.0, 1.0):
        effective = least
    else:
        effective = float(np.clip(share * (1 - share) / spread, least, trials)) if spread > 0 else float(trials)
    return share * effective, effective
