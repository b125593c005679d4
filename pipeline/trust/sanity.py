"""Does a map depend on what it claims to explain? (Adebayo et al., NeurIPS 2018, arXiv:1810.03292, sec. 3)"""

import copy
from dataclasses import replace

import numpy as np
import torch
from scipy.stats import spearmanr

from pipeline.model.classifier import Classifier
from pipeline.records import Floats


def with_shuffled_weights(classifier: Classifier, seed: int) -> Classifier:
    """The same classifier with the values of every weight tensor shuffled: of its size, but without what it learnt."""
    network, encoder = copy.deepcopy((classifier.network, classifier.encoder))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weights in network.parameters():
            order = torch.randperm(weights.numel(), generator=generator).to(weights.device)
            weights.copy_(weights.flatten()[order].view_as(weights))
    return replace(classifier, network=network, encoder=encoder)


def likeness(one: Floats, other: Floats) -> float:
    """Rank correlation of two maps, -1..1: 1, the same order of cells; NaN where one of them is even."""
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return float("nan")
    return float(spearmanr(one.ravel(), other.ravel()).statistic)
