"""The device and the precision of a training."""

import torch

from pipeline.training.device import TrainingDevice


def test_autocast_follows_the_precision():
    layer, pixels = torch.nn.Linear(4, 4), torch.ones(2, 4)
    for precision, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        with TrainingDevice("cpu", precision).autocast():
            assert layer(pixels).dtype == dtype


def test_random_numbers_continue():
    device = TrainingDevice("cpu", "fp32")
    states = device.random_states()
    numbers = torch.rand(3)
    device.restore_random_states(states | {"cuda": states["cpu"]})  # from another machine
    assert torch.equal(torch.rand(3), numbers)


def test_hardware_in_words():
    assert TrainingDevice("cpu", "fp32").describe().endswith(", fp32")
    assert " CPU cores (" in TrainingDevice("cpu", "bf16").describe()
