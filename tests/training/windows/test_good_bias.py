"""The bias of the good class after a training with hard negatives."""

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from pipeline.training.windows.good_bias import fit_bias


@pytest.mark.parametrize("shift", [-2.0, 0.0, 1.5])
def test_a_shift_of_one_class_is_found_and_taken_back(shift):
    """Labels drawn from the probabilities of some logits: these have the lowest loss, whatever is added to a class."""
    random = np.random.default_rng(0)
    logits = torch.from_numpy(random.normal(0, 2, (20_000, 3)))
    shares = logits.softmax(1).cumsum(1).numpy()
    label_ids = torch.from_numpy((random.random((20_000, 1)) > shares[:, :2]).sum(axis=1))
    logits[:, 1] += shift
    assert fit_bias(logits, label_ids, 1) == pytest.approx(-shift, abs=0.1)


def test_the_loss_is_never_higher():
    generator = torch.Generator().manual_seed(1)
    logits, label_ids = torch.randn(50, 4, generator=generator), torch.randint(4, (50,), generator=generator)
    moved = logits.clone()
    moved[:, 2] += fit_bias(logits, label_ids, 2)
    assert cross_entropy(moved, label_ids) <= cross_entropy(logits, label_ids)
