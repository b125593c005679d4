"""The best scores of all rows in one array, and what they say of labels beyond the best."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.records import Doubles
from pipeline.review.rows import Flags, Integers

_MORE_THAN_ONE = 1.001  # sum of the scores of a softmax, with rounding


@dataclass(frozen=True)
class TopScores:
    """The best labels of n photos with their scores, m in all.

    Attributes:
        table: with top_labels, top_scores and fingerprint, n rows; every row has a score.
        renamed: current names of labels by earlier ones.
    """

    table: pa.Table
    renamed: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def rows(self) -> Integers:
        """The photo of each score, (m,), rising; the best score of a photo comes first."""
        rows: Integers = pc.list_parent_indices(self.table["top_scores"].combine_chunks()).to_numpy().astype(np.int64)
        return rows

    @cached_property
    def scores(self) -> Doubles:
        """The scores, (m,), 0..1."""
        scores: Doubles = pc.list_flatten(self.table["top_scores"].combine_chunks()).to_numpy().astype(np.float64)
        return scores

    @cached_property
    def sums(self) -> Doubles:
        """The sum of each photo's listed scores, (n,)."""
        return np.bincount(self.rows, self.scores, len(self.table)).astype(np.float64)

    @cached_property
    def is_multi_label(self) -> Flags:
        """Photos with sigmoid scores, (n,): several labels may be right at once."""
        is_larger = self.sums > _MORE_THAN_ONE
        if not is_larger.any():
            return is_larger
        fingerprints = self.table["fingerprint"].cast(pa.string())
        of_sigmoids: Flags = pc.is_in(fingerprints, pc.unique(fingerprints.filter(pa.array(is_larger)))).to_numpy()
        return of_sigmoids

    @cached_property
    def limits(self) -> Doubles:
        """The highest possible score of a label beyond the listed ones, (n,)."""
        least = np.ones(len(self.table))
        np.minimum.at(least, self.rows, self.scores)
        rest = np.where(self.is_multi_label, 1, np.maximum(0, 1 - self.sums))
        return np.minimum(least, rest)

    def look_up(self, rows: Integers, labels: Sequence[str]) -> Doubles:
        """Return the scores of labels.

        Args:
            rows: (p,) photos.
            labels: (p,) a label for each, by its current name.

        Returns:
            (p,), 0..1: the highest possible score for a label beyond the listed ones; NaN for a label unknown to the
            model, never among the best of any photo.
        """
        listed = pc.list_flatten(self.table["top_labels"].combine_chunks()).dictionary_encode()
        names = [self.renamed.get(name, name) for name in listed.dictionary.to_pylist()]
        code_of = {name: code for code, name in enumerate(names)}
        codes = np.array([code_of.get(label, -1) for label in labels], np.int64)
        keys = self.rows * len(names) + np.array([code_of[name] for name in names])[listed.indices.to_numpy()]
        wanted = rows * len(names) + codes
        order = np.argsort(keys, kind="stable")  # fast on these: they almost rise
        nearest = order[np.minimum(np.searchsorted(keys, wanted, sorter=order), len(keys) - 1)]
        scores = np.where(keys[nearest] == wanted, self.scores[nearest], self.limits[rows])
        return np.where(codes < 0, np.nan, scores)
