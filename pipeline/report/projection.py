"""Embeddings -> two dimensions, for the map of the archive."""

import logging
import warnings
from dataclasses import dataclass

import numpy as np

from pipeline.records import Doubles, Floats

log = logging.getLogger(__name__)

_FEWEST_FOR_UMAP = 50  # photos; with fewer, neighbourhoods say little
_SEED = 0


@dataclass(frozen=True)
class Projection:
    """Points in two dimensions.

    Attributes:
        points: (n, 2).
        method: how they were computed, for the page.
    """

    points: Doubles
    method: str


def project_embeddings(embeddings: Floats) -> Projection:
    """Project embeddings to two dimensions: by UMAP if the extra is installed, else by PCA.

    Args:
        embeddings: (n, D), n at least 1.
    """
    if len(embeddings) >= _FEWEST_FOR_UMAP:
        try:
            return Projection(_compute_umap(embeddings), "UMAP")
        except ImportError as error:
            log.debug("the map of the archive is drawn by PCA; vitrollout[umap] has UMAP: %s", error)
    points, share = compute_pca(embeddings)
    return Projection(points, f"PCA, {share:.0%} of the variance")


def compute_pca(embeddings: Floats) -> tuple[Doubles, float]:
    """Project embeddings on their two principal components; the sign makes each component's largest weight positive.

    Args:
        embeddings: (n, D), n at least 1; missing components are 0.

    Returns:
        Points (n, 2), and their share of the variance (0..1); 1 for equal embeddings.
    """
    centred = embeddings.astype(np.float64)
    centred -= centred.mean(axis=0)
    variances, axes = np.linalg.eigh(centred.T @ centred)  # (D,), (D, D), ascending
    axes = axes[:, :-3:-1]  # (D, 2 or 1)
    axes = axes * np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])])
    points = np.zeros((len(embeddings), 2))
    points[:, : axes.shape[1]] = centred @ axes
    total = variances.sum()
    return points, float(variances[-2:].sum() / total) if total > 0 else 1.0


def _compute_umap(embeddings: Floats) -> Doubles:
    from umap import UMAP  # 5 s: it compiles

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a seed means one thread
        points: Doubles = UMAP(random_state=_SEED).fit_transform(embeddings).astype(np.float64)
    return points
