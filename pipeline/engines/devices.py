"""The devices of this machine: the settings `device` and `devices` -> names as torch has them."""

from typing import Literal

from pipeline.errors import ConfigError
from pipeline.model.device import choose_device


def list_devices(device: str, devices: Literal["all"] | int | tuple[int, ...]) -> list[str]:
    """List the devices to work on, of one kind.

    Args:
        device: the kind: auto, cpu, cuda or mps. Several processes may share a CPU.
        devices: how many of them, or their numbers.

    Raises:
        ConfigError: this machine hasn't got them.
    """
    kind, _, number = device.partition(":")
    if number:
        raise ConfigError(f"devices = {_format(devices)}: with --device {device} there is one; give --device {kind}")
    kind = choose_device(kind)
    if kind == "cpu":
        if isinstance(devices, tuple):
            raise ConfigError(f"devices = {_format(devices)}: a CPU has no numbers; give how many processes share it")
        return ["cpu"] * (1 if devices == "all" else devices)
    present = _count_present(kind)
    wanted = tuple(range(present if devices == "all" else devices)) if not isinstance(devices, tuple) else devices
    if missing := [number for number in wanted if number >= present]:
        there = f"{kind}:0 to {kind}:{present - 1}" if present > 1 else f"one {kind} device"
        raise ConfigError(f"devices = {_format(devices)}: there is no {kind}:{missing[0]}; this machine has {there}")
    return [f"{kind}:{number}" for number in wanted] if kind == "cuda" else [kind]


def _count_present(kind: str) -> int:
    import torch

    return torch.cuda.device_count() if kind == "cuda" else 1


def _format(devices: Literal["all"] | int | tuple[int, ...]) -> str:
    return ",".join(map(str, devices)) if isinstance(devices, tuple) else str(devices)
