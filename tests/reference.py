"""Rollouts written down once more from their definitions, slowly: full products, one image, numpy in float64.

Nothing here may call the project's own functions, or the tests that compare with it would prove nothing.
"""

import numpy as np


def fused(heads, head_fusion):
    """(heads, N, N) -> (N, N)."""
    return {"mean": np.mean, "max": np.max, "min": np.min}[head_fusion](np.asarray(heads, np.float64), axis=0)


def discarded(attention, discard_ratio, protected):
    """Zero the floor(ratio * N * N) lowest entries, except those in the protected columns."""
    weakest = np.argsort(attention, axis=None, kind="stable")[: int(np.floor(discard_ratio * attention.size))]
    dropped = np.zeros(attention.shape, bool)
    dropped.flat[weakest] = True
    dropped[:, list(protected)] = False
    return np.where(dropped, 0, attention)


def row_normalised(attention):
    """Â = rownorm(A + I)."""
    with_identity = attention + np.eye(len(attention))
    return with_identity / with_identity.sum(axis=1)[:, None]


def rollout_tokens(layers, *, method="rollout", head_fusion="mean", discard_ratio=0.0, readout=(0,)):
    """One image.

    Args:
        layers: L arrays (heads, N, N), first layer first.
        readout: positions of the tokens that the classifier reads; () for all.

    Returns:
        (N,) values of all tokens.
    """
    hats = [row_normalised(discarded(fused(heads, head_fusion), discard_ratio, readout)) for heads in layers]
    product = np.eye(len(hats[0]))
    if method == "rollout":  # R = Â_L ... Â_2 Â_1
        for hat in hats:
            product = hat @ product
        return product[list(readout)].mean(axis=0) if readout else product.mean(axis=0)
    for hat in hats:  # the article: R = Â_1 Â_2 ... Â_L
        product = product @ hat
    return 1 - product[:, :2].mean(axis=1)


def rollout_map(layers, grid, *, prefix, **settings):
    """One image: (grid_h, grid_w), the last grid_h * grid_w tokens."""
    tokens = rollout_tokens(layers, **settings)
    assert len(tokens) == prefix + grid[0] * grid[1]
    return tokens[prefix:].reshape(grid)
