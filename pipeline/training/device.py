"""The device and the precision of a training."""

import platform
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

from pipeline.cores import available_cores
from pipeline.model.device import Precision, choose_device, choose_precision, limit_torch_threads

_AUTOCAST_TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class TrainingDevice:
    """A device, and the precision of its forward passes; weights stay float32.

    Attributes:
        name: a device as torch names it.
        precision: fp32, or the type of matrix products under torch's autocast.
    """

    name: str
    precision: Precision

    @classmethod
    def choose(cls, precision: str) -> Self:
        """Choose the fastest device of this machine. Apple's GPUs always train in fp32."""
        device = choose_device("auto")
        if device == "cpu":
            limit_torch_threads()
        return cls(device, "fp32" if device == "mps" else choose_precision(precision, device))

    def autocast(self) -> AbstractContextManager[Any]:
        """Return the context of a forward pass."""
        if self.precision == "fp32":
            return nullcontext()
        return torch.autocast(self.name, dtype=_AUTOCAST_TYPES[self.precision])

    def random_states(self) -> dict[str, Tensor]:
        """Return the states of torch's random generators, by device: dropout and stochastic depth draw from them."""
        states = {"cpu": torch.get_rng_state()}
        if self.name != "cpu":
            states[self.name] = torch.get_device_module(self.name).get_rng_state()
        return states

    def restore_random_states(self, states: dict[str, Tensor]) -> None:
        """Continue the random numbers of a checkpoint; states of other devices are ignored."""
        torch.set_rng_state(states["cpu"])
        if self.name != "cpu" and self.name in states:
            torch.get_device_module(self.name).set_rng_state(states[self.name])

    def describe(self) -> str:
        """Name the hardware for the model card."""
        if self.name == "cuda":
            return torch.cuda.get_device_name(self.name)
        precision = "bf16" if self.precision == "bf16" else "fp32"
        return f"{available_cores()} CPU cores ({platform.machine()}), {precision}"
