"""Does a map depend on the model, and on the label? (Adebayo et al., NeurIPS 2018, arXiv:1810.03292, sec. 3)"""

import copy
import math
from dataclasses import replace

import numpy as np
import torch
from scipy.stats import spearmanr

from pipeline.model.classifier import Classifier
from pipeline.records import Floats


def shuffle_weights(classifier: Classifier, seed: int) -> Classifier:
    """Copy a classifier and shuffle the values inside each weight tensor: same sizes, nothing learnt."""
    network, encoder = copy.deepcopy((classifier.network, classifier.encoder))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weights in network.parameters():
            order = torch.randperm(weights.numel(), generator=generator).to(weights.device)
            weights.copy_(weights.flatten()[order].view_as(weights))
    return replace(classifier, network=network, encoder=encoder)


def rank_correlation(first: Floats, second: Floats) -> float:
    """Compute the rank correlation of two maps, -1..1; 1: the same order of cells; NaN if one of them is uniform."""
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return math.nan
    return float(spearmanr(first.ravel(), second.ravel()).statistic)
